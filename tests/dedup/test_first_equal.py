"""The best of equal values in memory: against a dictionary."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from robodf.dedup import exact
from robodf.dedup import first_equal as module
from robodf.dedup.alike import collapse
from robodf.dedup.exact import Exact, by_hash_in_polars, equal_in_memory
from robodf.dedup.first_equal import first_equal, fits

NAN = float("nan")
LONG = "a text of more than twelve bytes"
COLUMNS = {
    "ints": pl.Series([3, -1, 3, None, 2**62, -1, None, 3]),
    "small": pl.Series([1, 2, 1, None, 1, 2, None, 0], dtype=pl.Int8),
    "unsigned": pl.Series([2**64 - 1, 0, 2**64 - 1, None, 1, 0, None, 5], dtype=pl.UInt64),
    "floats": pl.Series([0.0, -0.0, NAN, -NAN, 1.5, 1.5, None, None]),
    "halves": pl.Series([0.0, -0.0, NAN, 1.1, 1.1, None, 2.0, None], dtype=pl.Float32),
    "truths": pl.Series([True, False, None, True, False, None, True, True]),
    "texts": pl.Series(["a", "", LONG, None, "a", "", LONG, "b"]),
    "alike": pl.Series(["same beginning 1", "same beginning 2", "same beginning 1", "same beginning", None, "s"]),
    "bytes": pl.Series([b"\0", b"", b"\0\0", b"\0", b"x" * 40, b"x" * 40, None, b"x" * 39 + b"y"]),
    "days": pl.Series([1, 2, 1, None, 3, 2, None, 1]).cast(pl.Date),
    "times": pl.Series([1000, 2000, 1000, None, 3000, 2000, None, 1000]).cast(pl.Datetime("ns")),
}  # fmt: skip


def _plain(value: object) -> object:
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0
    return value


def expected(values: pl.Series, there: np.ndarray, place: np.ndarray | None) -> list[int]:
    order = range(len(values)) if place is None else np.argsort(place)
    best, first = list(range(len(values))), {}
    for row in order:
        if there[row]:
            best[row] = first.setdefault(_plain(values[int(row)]), int(row))
    return best


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("lone", [False, True])
def test_small_columns(name: str, ranked: bool, lone: bool) -> None:
    values = COLUMNS[name]
    assert fits(values.dtype)
    there = Exact(lone).there(values)
    place = np.argsort(np.argsort([5, 2, 0, 7, 1, 3, 6, 4][: len(values)])) if ranked else None
    assert first_equal(values, there, place).tolist() == expected(values, there, place)
    pieces = pl.concat([values[:3], values[3:]], rechunk=False)  # in chunks, and a slice
    assert first_equal(pieces, there, place).tolist() == expected(values, there, place)
    assert first_equal(values[1:], there[1:], None).tolist() == expected(values[1:], there[1:], None)


@pytest.mark.parametrize("distinct", [1, 700, 40_000])
@pytest.mark.parametrize("kind", [pl.Int64, pl.String])
def test_many_rows(distinct: int, kind: type[pl.DataType]) -> None:
    numbers = np.random.Generator(np.random.PCG64(distinct)).integers(0, distinct, 50_000)
    values = pl.Series(numbers).cast(kind)
    if kind is pl.String:
        values = values + "_and something that does not fit into a view"
    there = np.ones(len(values), bool)
    assert first_equal(values, there, None).tolist() == expected(values, there, None)
    last = np.arange(len(values))[::-1].copy()
    assert first_equal(values, there, last).tolist() == expected(values, there, last)


def test_no_rows() -> None:
    for dtype in (pl.Int64, pl.String):
        assert first_equal(pl.Series([], dtype=dtype), np.empty(0, bool), None).tolist() == []


def test_texts_of_one_hash_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pl.Series(
        ["first", "a second that is long enough", "first", "a second that is long enough", "third", "first"]
    )
    monkeypatch.setattr(module, "_hashes", lambda texts: np.zeros(len(texts), np.uint64))
    there = np.ones(len(values), bool)
    assert first_equal(values, there, None).tolist() == [0, 1, 0, 1, 4, 0]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([[1.0, NAN], [1.0, NAN], [], None, [0.0], [-0.0], [], None]),
        pl.Series([{"a": 1, "b": None}, {"a": 1, "b": None}, {"a": None, "b": None}, {"a": None, "b": None}, None]),
        pl.Series([[1, 2], [1, 2], [2, 1]], dtype=pl.Array(pl.Int32, 2)),
    ],
)
@pytest.mark.parametrize("lone", [False, True])
def test_nested_values(values: pl.Series, lone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = equal_in_memory(values, pl.DataFrame(), None, Exact(lone))
    rows = [repr(v).replace("-0.0", "0.0") for v in values.to_list()]
    there = Exact(lone).there(values)
    assert first.tolist() == [rows.index(r) if t else k for k, (r, t) in enumerate(zip(rows, there))]
    # Whatever the hashes are, values decide.
    zeros = np.zeros((2, len(values)), np.uint64)
    monkeypatch.setattr(exact, "by_hash", lambda same, there, group, place: collapse(zeros, there, group, place))
    for row, best in enumerate(equal_in_memory(values, pl.DataFrame(), None, Exact(lone))):
        assert row == best or rows[row] == rows[best]


def test_without_numba_the_answer_is_the_same() -> None:
    draw = np.random.Generator(np.random.PCG64(3))
    for _ in range(20):
        n = int(draw.integers(0, 200))
        same = draw.integers(0, 4, (2, n)).astype(np.uint64)
        there = draw.random(n) < 0.8
        group = draw.integers(0, 3, n).astype(np.uint32)
        place = draw.permutation(n)
        for g in (None, group):
            for p in (None, place):
                assert by_hash_in_polars(same, there, g, p).tolist() == collapse(same, there, g, p).tolist()
