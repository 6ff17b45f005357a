"""Rows from and to Ray Data."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import OptionError, SchemaError
from robodf.io.ray_datasets import RayDataset, dataset_of, from_ray, table_of, to_ray
from robodf.io.source import Request

pytestmark = [
    pytest.mark.ray,
    # Ray Data warns of its own defaults.
    pytest.mark.filterwarnings("ignore:`use_[a-z0-9_]+` is deprecated:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _quiet(ray_cluster: Any) -> None:
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True


def _read(source: Any, columns: tuple[str, ...] | None = None, limit: int | None = None) -> pl.DataFrame:
    return source.scan(Request(columns or tuple(source.schema), limit=limit)).collect()


def test_blocks_become_a_dataset_and_rows_again_in_order() -> None:
    import ray

    frames = [pl.DataFrame({"a": [i, i + 1], "s": ["x", None]}) for i in range(0, 10, 2)]
    dataset = dataset_of([ray.put(table_of(f)) for f in frames])
    assert dataset.count() == 10
    source = from_ray(dataset)
    assert source.schema == {"a": pl.Int64(), "s": pl.String()}
    assert _read(source).equals(pl.concat(frames))
    assert _read(source, ("s",), 3)["s"].to_list() == ["x", None, "x"]
    assert source.count(()) == 10
    splits = list(source.splits(Request(("a",))))
    assert [s.rows for s in splits] == [2] * 5
    part = source.part((splits[3], splits[1]))
    assert _read(part)["a"].to_list() == [6, 7, 2, 3]
    assert part.schema == source.schema


def test_a_part_is_read_on_a_worker() -> None:
    import ray

    source = from_ray(dataset_of([ray.put(table_of(pl.DataFrame({"a": [i]}))) for i in range(3)]))
    splits = list(source.splits(Request(("a",))))

    @ray.remote
    def read(part: RayDataset) -> list:
        return part.scan(Request(("a",))).collect()["a"].to_list()

    assert ray.get([read.remote(source.part((s,))) for s in splits]) == [[0], [1], [2]]


def test_a_lazy_dataset_runs_when_it_is_read() -> None:
    import ray

    source = from_ray(ray.data.range(100, override_num_blocks=4).map_batches(lambda b: {"id": b["id"] * 2}))
    assert source.schema == {"id": pl.Int64()}
    assert source.count(()) is None
    assert _read(source)["id"].to_list() == list(range(0, 200, 2))
    splits = list(source.splits(Request(("id",))))
    assert sum(s.rows or 0 for s in splits) == 100
    read = [v for s in splits for v in _read(source.part((s,)))["id"].to_list()]
    assert read == list(range(0, 200, 2))


def test_tensors_become_arrays() -> None:
    import ray

    flat = np.arange(12, dtype=np.float32).reshape(4, 3)
    deep = np.arange(48, dtype=np.uint8).reshape(4, 2, 3, 2)
    source = from_ray(ray.data.from_numpy([deep[:1], deep[1:]]))
    assert source.schema == {"data": pl.Array(pl.UInt8, (2, 3, 2))}
    assert np.array_equal(_read(source)["data"].to_numpy(), deep)
    source = from_ray(ray.data.from_items([{"v": row, "truth": row > 5} for row in flat]))
    assert source.schema == {"v": pl.Array(pl.Float32, 3), "truth": pl.Array(pl.Boolean, 3)}
    assert _read(source)["v"].to_list() == flat.tolist()
    assert _read(source)["truth"].to_list() == (flat > 5).tolist()


def test_null_tensors_stay_null() -> None:
    import pyarrow as pa
    import ray

    kind = pa.fixed_shape_tensor(pa.int32(), (2, 2))
    column = pa.ExtensionArray.from_storage(kind, pa.array([[1, 2, 3, 4], None, [5, 6, 7, 8]], kind.storage_type))
    source = from_ray(dataset_of([ray.put(pa.table({"t": column})), ray.put(pa.table({"t": column.slice(1, 1)}))]))
    assert source.schema == {"t": pl.Array(pl.Int32, (2, 2))}
    assert _read(source)["t"].to_list() == [[[1, 2], [3, 4]], None, [[5, 6], [7, 8]], None]


def test_what_polars_cannot_take_is_an_error() -> None:
    import ray

    several = [{"v": np.zeros((2, 2))}, {"v": np.zeros((3, 1))}]
    for items in (several, [{"v": object()}, {"v": {1, 2}}]):
        with pytest.raises(SchemaError, match=r"column 'v' is .*map_batches"):
            from_ray(ray.data.from_items(items, override_num_blocks=1))
    with pytest.raises(OptionError, match="not DataFrame"):
        from_ray(pl.DataFrame({"a": [1]}))  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="no columns"):
        from_ray(ray.data.from_items([]))


def test_blocks_of_other_types_are_fitted() -> None:
    import ray

    frames = [pl.DataFrame({"a": [1], "b": ["x"]}), pl.DataFrame({"a": [None], "b": [None]})]
    source = from_ray(dataset_of([ray.put(table_of(f)) for f in frames]))
    assert _read(source).rows() == [(1, "x"), (None, None)]


def test_a_frame_becomes_a_dataset() -> None:
    df = rd.from_dict({"a": list(range(10)), "c": ["x", "y"] * 5}).filter(rd.col("a") > 2)
    dataset = to_ray(df, batch_size=3)
    assert dataset.num_blocks() == 3
    assert dataset.take_all() == df.to_dicts()
    assert to_ray(df.filter(rd.col("a") > 99)).schema().names == ["a", "c"]
    kinds = pl.DataFrame({"c": pl.Series(["x"], dtype=pl.Categorical), "e": pl.Series(["x"], dtype=pl.Enum(["x"]))})
    assert from_ray(to_ray(rd.from_polars(kinds))).schema == {"c": pl.String(), "e": pl.String()}
    with pytest.raises(SchemaError, match=r"column 'a' is Int128"):
        table_of(pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}))
