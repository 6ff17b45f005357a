"""Columns that are fetched by locators, put beside the rows that name them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import numpy as np
import polars as pl

from robodf.errors import FileFormatError

PIECE = 256 << 20
"""Bytes that are fetched at once for rows whose order is not that of the source."""

_FRAME = 32 << 20  # bytes of the frames that are handed on, where rows repeat
_FIRST_ROWS = 256  # of the first piece, which tells how large rows are

Fetch = Callable[[np.ndarray], Iterator[pl.DataFrame]]
"""Frames for locators that ascend, one row for each, in their order."""


class Gathering:
    """Fetches columns of the types `types` for rows in any order, named once, often or not at all.

    >>> fetch = lambda wanted: iter([pl.DataFrame({"x": [int(n) * 10 for n in wanted]})])
    >>> rows = pl.DataFrame({"a": ["p", "q", "r"]})
    >>> made = Gathering(fetch, {"x": pl.Int64()}).beside(rows, pl.Series([7, None, 3], dtype=pl.UInt64))
    >>> pl.concat(made).rows()
    [('p', 70), ('q', None), ('r', 30)]
    """

    def __init__(self, fetch: Fetch, types: dict[str, pl.DataType], most: int = PIECE):
        self._fetch, self._types, self._most = fetch, types, most
        self._rows = _FIRST_ROWS  # of the next piece

    def beside(self, rows: pl.DataFrame, locators: pl.Series) -> Iterator[pl.DataFrame]:
        """The rows with the columns beside them, in their order. Where the locators ascend, frame by frame as read."""
        there = locators.is_not_null().to_numpy()
        named = locators.drop_nulls().to_numpy()
        if bool((named[1:] >= named[:-1]).all()):
            yield from self._in_order(rows, there, named)
            return
        at = np.zeros(rows.height, np.uint64)
        at[there] = named
        first = 0
        while first < rows.height:
            part = slice(first, min(first + self._rows, rows.height))
            whole, wanted = self._piece(at[part][there[part]])
            if whole is None:
                continue  # fewer rows: these are too large together
            place = np.searchsorted(wanted, at[part])
            yield from self._spread(rows[part], whole, place, there[part])
            first = part.stop

    def _in_order(self, rows: pl.DataFrame, there: np.ndarray, named: np.ndarray) -> Iterator[pl.DataFrame]:
        wanted, place_of = np.unique(named, return_inverse=True)
        place = np.zeros(rows.height, np.int64)
        place[there] = place_of
        place = np.maximum.accumulate(place)  # a row that names nothing goes with the one before
        first = done = 0
        for frame in self._frames(wanted):
            last = int(np.searchsorted(place, done + frame.height))
            part = slice(first, last)
            yield from self._spread(rows[part], frame, place[part] - done, there[part])
            first, done = last, done + frame.height
        if first < rows.height:  # none names anything
            yield from self._spread(rows[first:], self._nothing, place[first:], there[first:])

    def _piece(self, named: np.ndarray) -> tuple[pl.DataFrame | None, np.ndarray]:
        """What some rows name, in one frame; None where that is too much, and fewer rows are to be tried."""
        wanted = np.unique(named)
        frames, size, done = [self._nothing], 0, 0
        with closing(self._frames(wanted)) as source:
            for frame in source:
                frames.append(frame)
                size += int(frame.estimated_size())
                done += frame.height
                if size > self._most and done < len(wanted):
                    self._rows = max(1, min(len(named) // 2, self._most * done // (2 * size)))
                    return None, wanted
        if done:
            fitting = self._most * done // max(size, 1)
            self._rows = max(1, min(fitting, 8 * self._rows))
        return pl.concat(frames, rechunk=False), wanted

    def _frames(self, wanted: np.ndarray) -> Generator[pl.DataFrame, None, None]:
        if not len(wanted):
            return
        given = 0
        source = self._fetch(wanted)
        try:
            for frame in source:
                if dict(frame.schema) != self._types:
                    raise FileFormatError(f"fetched the columns {dict(frame.schema)}, not {self._types}")
                given += frame.height
                if frame.height:
                    yield frame
        finally:
            close = getattr(source, "close", None)  # generators have it
            if close is not None:
                close()
        if given != len(wanted):
            raise FileFormatError(f"{len(wanted)} rows were to be fetched, {given} were there; have the files changed?")

    def _spread(
        self, rows: pl.DataFrame, found: pl.DataFrame, place: np.ndarray, there: np.ndarray
    ) -> Iterator[pl.DataFrame]:
        """Each row with the one of `found` at its place, in frames of bounded size."""
        if bool(there.all()) and len(place) == found.height and bool((place == np.arange(len(place))).all()):
            if rows.height:
                yield rows.hstack(found)
            return
        if not there.all():
            place = np.where(there, place, found.height)
            found = pl.concat([found, pl.DataFrame({name: [None] for name in self._types}, schema=self._types)])
        step = max(1, _FRAME * found.height // max(int(found.estimated_size()), 1))
        for first in range(0, rows.height, step):
            some = pl.Series(place[first : first + step].astype(np.uint32))
            yield rows[first : first + step].hstack(found[some])

    @property
    def _nothing(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self._types)
