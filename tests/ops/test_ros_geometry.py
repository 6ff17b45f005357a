"""Orientations against formulas in plain Python, and against each other."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import OptionError, SchemaError
from robodf.plan.expr import Col

Q = pl.Struct(dict.fromkeys("xyzw", pl.Float64))
NAN, INF = float("nan"), float("inf")


def frame(quaternions: list, dtype: Any = Q) -> rd.PipelineDataFrame:
    rows = [None if q is None else dict(zip("xyzw", q)) for q in quaternions]
    return rd.from_polars(pl.DataFrame({"q": pl.Series(rows, dtype=dtype)}))


def turn(axis: int, angle: float) -> np.ndarray:
    """The matrix of a right-handed turn about one fixed axis."""
    c, s = math.cos(angle), math.sin(angle)
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    m = np.eye(3)
    m[a, a], m[a, b], m[b, a], m[b, b] = c, -s, s, c
    return m


def turned(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """About the fixed axes x, then y, then z."""
    return turn(2, yaw) @ turn(1, pitch) @ turn(0, roll)


def hamilton(q: tuple, v: np.ndarray) -> np.ndarray:
    """v turned by q: the vector part of q v q*, by the products of quaternions."""

    def times(a, b):
        (ax, ay, az, aw), (bx, by, bz, bw) = a, b
        return (
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        )

    n = sum(c * c for c in q)
    x, y, z, w = q
    return np.array(times(times(q, (*v, 0.0)), (-x, -y, -z, w))[:3]) / n


def random_quaternions(count: int) -> list[tuple]:
    rng = random.Random(1)
    return [tuple(rng.gauss(0, 1) * rng.choice([1, 1e-3, 50]) for _ in range(4)) for _ in range(count)]


HALF = math.sqrt(0.5)
KNOWN = [
    ((0, 0, 0, 1), (0, 0, 0)),
    ((0, 0, HALF, HALF), (0, 0, math.pi / 2)),
    ((HALF, 0, 0, HALF), (math.pi / 2, 0, 0)),
    ((0, 0, 1, 0), (0, 0, math.pi)),
    ((0, 0, -7, 7), (0, 0, -math.pi / 2)),
    ((0, math.sin(0.2), 0, math.cos(0.2)), (0, 0.4, 0)),
]


@pytest.mark.parametrize(("q", "angles"), KNOWN)
def test_known_turns(run, q, angles) -> None:
    found = run(frame([q]).select(rd.ros.euler("q")).unnest("euler"))
    assert found.schema == {"roll": pl.Float64, "pitch": pl.Float64, "yaw": pl.Float64}
    assert found.row(0) == pytest.approx(angles, abs=1e-12)
    degrees = run(frame([q]).select(rd.ros.euler(Col("q"), degrees=True)).unnest("euler")).row(0)
    assert degrees == pytest.approx([math.degrees(a) for a in angles], abs=1e-9)


def test_random_turns_against_matrices(run) -> None:
    qs = random_quaternions(500)
    found = run(frame(qs).select(rd.ros.euler("q"), rd.ros.rotation_matrix("q")))
    assert found.schema["rotation_matrix"] == pl.Array(pl.Float64, (3, 3))
    for q, angles, matrix in zip(qs, found["euler"].to_list(), found["rotation_matrix"].to_list()):
        np.testing.assert_allclose(matrix, np.column_stack([hamilton(q, e) for e in np.eye(3)]), atol=1e-12)
        np.testing.assert_allclose(turned(**angles), matrix, atol=1e-9)
        assert abs(angles["pitch"]) <= math.pi / 2


def test_angles_there_and_back(run) -> None:
    rng = random.Random(2)
    angles = [[rng.uniform(-3.1, 3.1), rng.uniform(-1.5, 1.5), rng.uniform(-3.1, 3.1)] for _ in range(300)]
    df = rd.from_polars(pl.DataFrame(angles, schema=["roll", "pitch", "yaw"], orient="row"))
    made = df.select(rd.ros.quaternion("roll", "pitch", "yaw")).select("quaternion", rd.ros.euler("quaternion"))
    found = run(made)
    assert found.schema["quaternion"] == Q
    np.testing.assert_allclose([list(e.values()) for e in found["euler"].to_list()], angles, atol=1e-9)
    lengths = [math.hypot(*q.values()) for q in found["quaternion"].to_list()]
    np.testing.assert_allclose(lengths, 1.0, atol=1e-14)
    in_degrees = df.select(rd.ros.quaternion(*(rd.col(n).degrees() for n in df.columns), degrees=True))
    np.testing.assert_allclose(
        run(in_degrees.unnest("quaternion")).to_numpy(),
        run(made.select("quaternion").unnest("quaternion")).to_numpy(),
        atol=1e-12,
    )


@pytest.mark.parametrize("pitch", [math.pi / 2, -math.pi / 2])
@pytest.mark.parametrize("away", [0.0, 1e-15, 1e-9, 1e-7, 1e-5, 1e-3])
def test_straight_up_and_down(run, pitch: float, away: float) -> None:
    turns = [(roll, pitch - math.copysign(away, pitch), yaw) for roll in (-2.0, 0.0, 1.0) for yaw in (-3.0, 0.5, 3.1)]
    df = rd.from_polars(pl.DataFrame(turns, schema=["roll", "pitch", "yaw"], orient="row"))
    found = run(df.select(rd.ros.euler(rd.ros.quaternion("roll", "pitch", "yaw"))))["euler"].to_list()
    for angles, found_angles in zip(turns, found):
        np.testing.assert_allclose(turned(**found_angles), turned(*angles), atol=1e-5)
        assert abs(found_angles["yaw"]) <= math.pi
        if away < 1e-12:
            assert found_angles["roll"] == 0.0
        if away >= 1e-5:
            np.testing.assert_allclose(list(found_angles.values()), angles, atol=1e-6)


def test_no_rotation_is_null(run) -> None:
    none = [
        (0, 0, 0, 0),
        (NAN, 0, 0, 1),
        (0, 0, 0, INF),
        (None, 0, 0, 1),
        None,
        (1e-200, 0, 0, 0),
        (1e200, 0, 0, 1),
        (-0.0, 0, 0, 0),
    ]
    df = frame([(0, 0, 0, 1), *none])
    found = run(df.select(rd.ros.euler("q"), rd.ros.rotation_matrix("q")))
    assert found["euler"].is_null().to_list() == [False] + [True] * len(none)
    assert found["rotation_matrix"].to_list() == [np.eye(3).tolist()] + [None] * len(none)
    angles = rd.from_dict({"a": [0.0, NAN, INF, None]})
    found = run(angles.select(rd.ros.quaternion("a", 0.0, 0.0)))["quaternion"]
    assert found.to_list() == [{"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}, None, None, None]


def test_other_numbers_than_doubles(run) -> None:
    for dtype in (pl.Float32, pl.Int8):
        df = frame([(0, 0, 1, 1)], pl.Struct(dict.fromkeys("xyzw", dtype)))
        found = run(df.select(rd.ros.euler("q"), m=rd.ros.rotation_matrix("q")))
        assert found["euler"][0]["yaw"] == pytest.approx(math.pi / 2, abs=1e-15)
        assert found["m"].to_list()[0][1] == [1.0, 0.0, 0.0]


def test_a_filter_on_an_angle_reads_the_quaternion_alone_and_goes_down(df) -> None:
    yaw = rd.ros.euler("orientation").struct.field("yaw")
    assert yaw.movable
    assert yaw.transparent
    assert rd.ros.rotation_matrix("orientation").movable
    assert yaw.columns == {"orientation"}


def test_covariance(run) -> None:
    nine = [float(i) for i in range(9)]
    for dtype in (pl.Array(pl.Float64, 9), pl.List(pl.Float32), pl.List(pl.Int16)):
        df = rd.from_polars(pl.DataFrame({"c": pl.Series([nine, None, nine[::-1]]).cast(dtype)}))
        made = df.select(rd.ros.covariance("c"))
        assert made.schema == {"c": pl.Array(pl.Float64, (3, 3))}
        found = run(made)
        assert found.schema == made.schema
        assert found["c"].to_list() == [
            np.reshape(nine, (3, 3)).tolist(),
            None,
            np.reshape(nine[::-1], (3, 3)).tolist(),
        ]
    six = pl.DataFrame({"c": pl.Series([list(range(36))], dtype=pl.Array(pl.Float64, 36))})
    assert run(rd.from_polars(six).select(rd.ros.covariance("c", 6)))["c"].to_list()[0][5][0] == 30.0


def test_covariance_of_another_length_is_null(run) -> None:
    lists = [[], [1.0] * 8, [1.0] * 10, None, [None] + [1.0] * 8, [-1.0] + [0.0] * 8]
    found = run(rd.from_polars(pl.DataFrame({"c": lists})).select(rd.ros.covariance("c")))["c"].to_list()
    assert found[:4] == [None] * 4
    assert found[4][0] == [None, 1.0, 1.0]
    assert found[5][0] == [-1.0, 0.0, 0.0]
    array = pl.DataFrame({"c": pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float64, 2))})
    assert run(rd.from_polars(array).select(rd.ros.covariance("c")))["c"].to_list() == [None]
    assert run(rd.from_polars(array.head(0)).select(rd.ros.covariance("c"))).schema == {
        "c": pl.Array(pl.Float64, (3, 3))
    }


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "3", 101])
def test_covariance_of_an_odd_size(n) -> None:
    with pytest.raises(OptionError, match="number of rows"):
        rd.ros.covariance("c", n)


def test_wrong_columns(run) -> None:
    with pytest.raises((SchemaError, pl.exceptions.PolarsError), match="a matrix is made of lists of numbers"):
        run(rd.from_dict({"c": ["text"]}).select(rd.ros.covariance("c")))
    with pytest.raises(rd.errors.QueryError):
        rd.from_dict({"q": [1.0]}).select(rd.ros.euler("q"))
