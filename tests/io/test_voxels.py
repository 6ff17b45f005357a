"""One point for each cube of a grid: against a naive loop."""

from __future__ import annotations

import math
import random
from typing import Any

import polars as pl
import pytest

import robodf as rd
from robodf.errors import OptionError, SchemaError

POINT = {"x": pl.Float32(), "y": pl.Float64(), "z": pl.Float32(), "ring": pl.UInt8(), "rgb": pl.Float32(),
         "intensity": pl.Float64()}  # fmt: skip


def clouds(seed: int, rows: int) -> list[Any]:
    rng = random.Random(seed)

    def point() -> dict[str, Any]:
        where = {axis: rng.choice((rng.uniform(-2, 2), 0.5, -0.0, 0.0)) for axis in "xyz"}
        if rng.random() < 0.1:
            where["y"] = rng.choice((math.nan, math.inf, None))  # type: ignore[arg-type]
        return {**where, "ring": rng.randrange(256), "rgb": rng.random(), "intensity": rng.choice((None, rng.random()))}

    return [rng.choice((None, [], [point() for _ in range(rng.randrange(300))])) for _ in range(rows)]


def naive(cloud: Any, size: float, keep: str) -> Any:
    if cloud is None:
        return None
    cubes: dict[tuple, list[dict]] = {}
    for p in cloud:
        if all(p[a] is not None and math.isfinite(p[a]) for a in "xyz"):
            cubes.setdefault(tuple(math.floor(p[a] / size) for a in "xyz"), []).append(p)
    if keep == "first":
        return [points[0] for points in cubes.values()]
    made = []
    for points in cubes.values():
        means = {}
        for name in ("x", "y", "z", "intensity"):
            known = [p[name] for p in points if p[name] is not None]
            means[name] = sum(known) / len(known) if known else None
        made.append({**points[0], **means})
    return made


@pytest.mark.parametrize("keep", ["mean", "first"])
@pytest.mark.parametrize("size", [0.25, 1, 7.5])
def test_as_a_loop_does_it(keep: str, size: float) -> None:
    given = pl.Series("cloud", clouds(1, 20), dtype=pl.List(pl.Struct(POINT)))
    found = rd.from_polars(given.to_frame()).select(rd.voxel_downsample("cloud", size, keep=keep)).collect()["cloud"]
    assert found.dtype == given.dtype
    for cloud, made in zip(given.to_list(), found.to_list()):
        expected = naive(cloud, size, keep)
        assert (made is None) == (expected is None)
        assert len(made or ()) == len(expected or ())
        for a, b in zip(made or (), expected or ()):
            assert a.keys() == b.keys()
            assert all(a[k] is b[k] is None or a[k] == pytest.approx(b[k], rel=1e-6, abs=1e-6) for k in a)


def test_it_does_not_depend_on_the_rows_beside() -> None:
    given = pl.DataFrame({"cloud": pl.Series(clouds(2, 30), dtype=pl.List(pl.Struct(POINT)))})
    down = rd.voxel_downsample("cloud", 0.5)
    whole = rd.from_polars(given).select(down).collect()["cloud"].to_list()
    assert [rd.from_polars(given[k : k + 1]).select(down).collect()["cloud"].to_list()[0] for k in range(30)] == whole


def test_far_points_and_small_cubes() -> None:
    points = [{"x": 1e300, "y": 0.0, "z": 0.0}, {"x": -1e300, "y": 0.0, "z": 0.0}]
    df = rd.from_dict({"cloud": [points]})
    assert df.select(rd.voxel_downsample("cloud", 1e-300)).collect()["cloud"].to_list() == [points]


def test_what_is_no_cloud() -> None:
    df = rd.from_dict({"a": [1], "b": [[{"x": 1.0, "y": 2.0}]]})
    for column in ("a", "b"):
        with pytest.raises(SchemaError, match="structs with numbers x, y and z"):
            df.select(rd.voxel_downsample(column, 1)).collect()
    for size in (0, -1, math.nan, math.inf, True, "1"):
        with pytest.raises(OptionError, match="size is a length above 0"):
            rd.voxel_downsample("a", size)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="keep is one of mean, first"):
        rd.voxel_downsample("a", 1, keep="last")


def test_point_rows_are_grouped_by_the_same_cubes(tmp_path: Any) -> None:
    import samples_clouds as samples

    path = tmp_path / "a.pcd"
    path.write_bytes(samples.pcd("binary"))
    cubes = [(rd.col(a) / 5).floor().alias(f"cube_{a}") for a in "xyz"]
    rows = rd.read_points(path).group_by("path", *cubes).agg(rd.col("x").mean()).collect()
    (cloud,) = rd.read_clouds(path).select(rd.voxel_downsample("cloud", 5)).collect()["cloud"]
    assert sorted(rows["x"].to_list()) == pytest.approx(sorted(cloud.struct.field("x").to_list()), rel=1e-6)
