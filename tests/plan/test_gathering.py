"""Columns that are fetched by locators, put beside rows in any order, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from robodf.errors import FileFormatError
from robodf.plan import gathering
from robodf.plan.gathering import Gathering

TYPES = {"x": pl.Binary(), "s": pl.Struct({"a": pl.UInt64()})}


class Rows:
    """Values of `size` bytes in frames of three rows; every call is written down."""

    def __init__(self, size: int = 8):
        self.size, self.calls, self.given, self.closed = size, [], 0, 0  # type: ignore[var-annotated]

    def fetch(self, wanted: np.ndarray) -> Iterator[pl.DataFrame]:
        assert wanted.dtype == np.uint64
        assert (np.diff(wanted.astype(np.int64)) > 0).all()
        self.calls.append(wanted.tolist())
        try:
            for first in range(0, len(wanted), 3):
                some = wanted[first : first + 3].tolist()
                self.given += len(some)
                yield pl.DataFrame(
                    {"x": [str(n).encode().rjust(self.size) for n in some], "s": [{"a": n} for n in some]}, schema=TYPES
                )
        finally:
            self.closed += 1


def beside(source: Rows, locators: list[int | None], most: int = gathering.PIECE) -> list[pl.DataFrame]:
    rows = pl.DataFrame({"row": range(len(locators))}, schema={"row": pl.Int64()})
    frames = list(Gathering(source.fetch, TYPES, most).beside(rows, pl.Series(locators, dtype=pl.UInt64)))
    found = pl.concat([pl.DataFrame(schema={"row": pl.Int64(), **TYPES}), *frames])
    assert found["row"].to_list() == list(range(len(locators)))
    assert [None if x is None else int(x) for x in found["x"]] == locators
    assert [None if s is None else s["a"] for s in found["s"]] == locators
    assert source.closed == len(source.calls)
    return frames


@pytest.mark.parametrize(
    "locators",
    [
        [],
        [5],
        [None],
        [None, None, 4],
        [1, 2, 3, 5, 8, 13, 21],
        [1, 1, 1, 2, 2, 3],
        [None, 1, None, None, 2, 2, None, 3, 9, 11, None],
        [1 << 40, (1 << 40) + 1, 1 << 63],
    ],
)
def test_in_order_each_is_read_once_and_handed_on_as_it_comes(locators: list[int | None]) -> None:
    source = Rows()
    frames = beside(source, locators)
    wanted = sorted({n for n in locators if n is not None})
    assert source.calls == ([wanted] if wanted else [])
    assert all(frame.height for frame in frames)
    assert len(frames) >= len(wanted) // 3


@pytest.mark.parametrize(
    "locators",
    [[5, 1], [3, 2, 1, None], [9, None, 9, 1, 1, 4], [None, 2, 1], [n * 37 % 100 for n in range(100)]],
)
def test_in_another_order_each_is_read_once_in_that_of_the_source(locators: list[int | None]) -> None:
    source = Rows()
    beside(source, locators)
    assert source.calls == [sorted({n for n in locators if n is not None})]


def test_rows_that_are_large_are_read_in_smaller_pieces() -> None:
    source = Rows(size=1000)
    beside(source, [n * 37 % 1000 for n in range(1000)], most=50_000)
    assert max(map(len, source.calls[1:])) <= 128
    assert len(source.calls) < 60
    assert source.given < 1200  # what a piece that was too large had read is read again


def test_one_row_may_be_larger_than_a_piece() -> None:
    source = Rows(size=5000)
    beside(source, [3, 9, 1, 2, 7, 5, 4, 0], most=1000)
    assert source.calls[-3:] == [[5], [4], [0]]


def test_rows_that_repeat_are_handed_on_in_bounded_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_FRAME", 10_000)
    for locators in ([1] * 500 + [2] * 500, [2] * 500 + [1] * 500):
        source = Rows(size=1000)
        frames = beside(source, locators)  # type: ignore[arg-type]
        assert max(frame.height for frame in frames) <= 10
        assert source.given <= 4


@pytest.mark.parametrize("locators", [[1, 2, 3], [3, 2, 1]])
def test_a_source_that_gives_other_rows_or_columns_is_an_error(locators: list[int]) -> None:
    rows = pl.DataFrame({"row": locators})
    series = pl.Series(locators, dtype=pl.UInt64)

    def short(wanted: np.ndarray) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"x": [1, 2]})

    def other(wanted: np.ndarray) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"x": ["a", "b", "c"]})

    with pytest.raises(FileFormatError, match="3 rows were to be fetched, 2 were there"):
        list(Gathering(short, {"x": pl.Int64()}).beside(rows, series))
    with pytest.raises(FileFormatError, match="fetched the columns"):
        list(Gathering(other, {"x": pl.Int64()}).beside(rows, series))
