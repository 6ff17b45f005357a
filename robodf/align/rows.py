"""The frames that come out: the clock's columns, and for each stream its values and their age."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import polars as pl

from robodf.align.blend import blend, blends
from robodf.align.keys import Groups
from robodf.align.match import Match, Track, match, numbers, track
from robodf.align.ticks import Ticks, pieces
from robodf.align.way import Way

STEP = 1 << 17
"""Rows that are made at once."""

_MOST_WORKERS = 4


class Alignment:
    """Streams, held in memory and sorted by time, ready to be looked up at the times of a clock.

    Each frame has the columns `on` and `by`; `on` is of one type in all.
    """

    def __init__(self, streams: list[pl.DataFrame], ways: tuple[Way, ...], on: str, by: tuple[str, ...]):
        self.ways, self.on, self.by = ways, on, by
        self.groups = Groups(streams, by)
        self.tracks: list[Track] = [track(frame, on, self.groups) for frame in streams]
        self.values = [frame.drop(on, *by) for frame in streams]

    def at(self, clock: Iterable[pl.DataFrame], schema: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """The rows of each frame of clock times, with what every stream has then."""
        # Searching and gathering leave Python's lock alone, so pieces are made side by side.
        workers = min(os.cpu_count() or 1, _MOST_WORKERS)
        pool = ThreadPoolExecutor(workers, "robodf-align")
        try:
            waiting: deque[Future[pl.DataFrame]] = deque()
            for piece in clock:
                waiting.append(pool.submit(self._rows, piece, schema))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Without waiting: an abandoned generator may be closed by the garbage collector in one of its own threads.
            pool.shutdown(wait=False, cancel_futures=True)

    def clock(self, ticks: Ticks, dtype: pl.DataType) -> Iterator[pl.DataFrame]:
        """The frames of a clock that is a rate: the columns `by` and `on`, by group and time."""
        waiting: list[tuple[int, np.ndarray]] = []
        rows = 0
        for group in self.groups.sorted_ids():
            for numbers_ in pieces(*ticks.ranges(self.ways, self.tracks, group), STEP):
                if rows + len(numbers_) > STEP:
                    yield self._ticked(waiting, dtype)
                    waiting, rows = [], 0
                waiting.append((group, ticks.times(numbers_)))
                rows += len(numbers_)
        if waiting:
            yield self._ticked(waiting, dtype)

    def _ticked(self, parts: list[tuple[int, np.ndarray]], dtype: pl.DataType) -> pl.DataFrame:
        times = pl.Series(self.on, np.concatenate([times for _, times in parts])).cast(dtype)
        if not self.by:
            return times.to_frame()
        ids = np.repeat([group for group, _ in parts], [len(times) for _, times in parts])
        return self.groups.values(ids).with_columns(times)

    def _rows(self, piece: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        at, valid = piece[self.on], None
        if at.null_count():
            valid, at = at.is_not_null().to_numpy(), at.to_physical().cast(pl.Int64).fill_null(0)
        times, parts = numbers(at), self.groups.parts(piece)
        columns: list[pl.Series] = []
        for way, samples, values in zip(self.ways, self.tracks, self.values):
            found = match(way, samples, parts, times, valid)
            columns += [c.alias(way.prefix + c.name) for c in _values(values, way, found).get_columns()]
            age = _masked(found.age, found.aged, pl.Int64()).cast(schema[way.age])
            columns.append(age.alias(way.age))
        return piece.hstack(columns).select(list(schema))


def _values(frame: pl.DataFrame, way: Way, found: Match) -> pl.DataFrame:
    if not frame.width:
        return frame
    count = len(found.found)
    if not way.blends:
        return _taken(frame, found.before, found.found, count)
    assert found.after is not None
    assert found.weight is not None
    mixed = [name for name, dtype in frame.schema.items() if blends(dtype)]
    before = _taken(frame, found.before, found.found, count)
    after = _taken(frame.select(mixed), found.after, found.found, count)
    rotations = way.method == "slerp"
    return before.with_columns(blend(before[name], after[name], found.weight, rotations) for name in mixed)


def _taken(frame: pl.DataFrame, rows: np.ndarray, there: np.ndarray, count: int) -> pl.DataFrame:
    if not frame.height or not frame.width:
        return frame.clear(count) if frame.width else frame
    return frame.select(pl.all().gather(_masked(rows, there, pl.get_index_type())))


def _masked(values: np.ndarray, there: np.ndarray, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """The values as a column, null where `there` is false."""
    if there.all():
        return pl.Series(values).cast(dtype)
    cleared = pl.Series(np.where(there, values, 0)).cast(dtype)
    return pl.DataFrame({"v": cleared, "ok": there}).select(pl.when("ok").then("v")).to_series()
