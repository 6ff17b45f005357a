"""The times of a clock that is a rate: multiples of its period since 1970 at which some stream has a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from robodf.align.match import Track
from robodf.align.way import Way
from robodf.errors import QueryError

MOST_TICKS = 100_000_000
"""In one group; more are the work of a wrong time stamp."""


@dataclass(frozen=True)
class Ticks:
    """Tick k is at round(k * period), so that no error adds up; `first` and `last` bound the times (inclusive).

    `period` is (numerator, denominator) in units of the time column, at least 1 and of a denominator below 2**31.
    """

    period: tuple[int, int]
    first: int | None = None
    last: int | None = None

    @property
    def _limits(self) -> tuple[int, int]:
        # Near the ends of int64 a time one tick further, or off by a rounding, would not be a number any more.
        spare = 4 * (self.period[0] // self.period[1] + 1) + (1 << 13)
        return -(1 << 63) + spare, (1 << 63) - 1 - spare

    def times(self, k: np.ndarray) -> np.ndarray:
        """The times of ticks by number, in int64 arithmetic throughout."""
        p, q = self.period
        whole, part = divmod(p, q)
        turns, rest = np.divmod(k, q)
        return turns * p + rest * whole + (rest * part + q // 2) // q

    def at_or_after(self, times: np.ndarray) -> np.ndarray:
        """The number of the first tick that is not before each time."""
        period = float(Fraction(*self.period))
        k = np.floor(times / period).astype(np.int64)
        k += np.floor((times - self.times(k)) / period).astype(np.int64)  # the rest is small, and so exact
        while (early := self.times(k) < times).any():
            k[early] += 1
        while (late := self.times(k - 1) >= times).any():
            k[late] -= 1
        return k

    def ranges(self, ways: tuple[Way, ...], tracks: list[Track], group: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the ticks of a group as ranges (first, one past the last), apart from each other.

        These are the ticks at which some stream has a match. Where a stream without tolerance goes on matching forever,
        only those from the first sample of the group to its last.
        """
        samples = [t.of(group) for t in tracks]
        low, high = self._limits
        low = low if self.first is None else max(low, self.first)
        high = high if self.last is None else min(high, self.last)
        there = [s for s in samples if len(s)]
        if not there:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        if not all(way.local for way in ways):
            low, high = max(low, min(int(s[0]) for s in there)), min(high, max(int(s[-1]) for s in there))
        if low > high:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        # Samples closer than the tolerance make one span: there are far fewer spans than samples to look at then.
        spans = [_merged(*_spans(way, s)) for way, s in zip(ways, samples) if len(s)]
        starts = np.concatenate([np.clip(a, low, None) for a, _ in spans])
        ends = np.concatenate([np.clip(b, None, high) for _, b in spans])
        kept = starts <= ends
        starts, ends = self.at_or_after(starts[kept]), self.at_or_after(ends[kept] + 1)
        return self._apart(starts, ends)

    def _apart(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ranges made one where they touch, empty ones left out."""
        kept = starts < ends
        starts, ends = _merged(starts[kept], ends[kept])
        total = float((ends.astype(np.float64) - starts.astype(np.float64)).sum())
        if total > MOST_TICKS:
            raise QueryError(
                f"align: the clock would have {total:,.0f} ticks in one group, more than {MOST_TICKS:,}: some time is "
                "far from the others. Give tolerance=, give start= and end=, or drop the rows with that time"
            )
        return starts, ends


def _merged(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ranges in order, those that overlap or touch made one."""
    if not len(starts):
        return starts, ends
    if (starts[1:] < starts[:-1]).any():
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
    ends = np.maximum.accumulate(ends)
    new = starts[1:] > ends[:-1]
    return starts[np.concatenate([[True], new])], ends[np.concatenate([new, [True]])]


def pieces(starts: np.ndarray, ends: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The numbers in the ranges, in order, in arrays of at most `size`."""
    sums = np.concatenate([[0], np.cumsum(ends - starts)])
    for done in range(0, int(sums[-1]), size):
        stop = min(done + size, int(sums[-1]))
        first, last = np.searchsorted(sums, done, "right") - 1, np.searchsorted(sums, stop, "left")
        counts = np.minimum(sums[first + 1 : last + 1], stop) - np.maximum(sums[first:last], done)
        begin = starts[first:last] + np.maximum(done - sums[first:last], 0)
        offsets = np.arange(stop - done) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(begin, counts) + offsets


_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


def _spans(way: Way, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The times (first, last) at which the samples of one stream are a match; they may overlap."""
    reach = way.tolerance
    if way.method == "none":
        return times, times
    if reach is None:
        everything = {"previous": (times[0], _HIGHEST), "next": (_LOWEST, times[-1]), "nearest": (_LOWEST, _HIGHEST)}
        low, high = everything.get(way.method, (times[0], times[-1]))
        return np.array([low], np.int64), np.array([high], np.int64)
    earlier = np.maximum(times, _LOWEST + reach) - reach
    later = np.minimum(times, _HIGHEST - reach) + reach
    if way.method == "previous":
        return times, later
    if way.method == "next":
        return earlier, times
    if way.method == "nearest":
        return earlier, later
    between = np.maximum(times[:-1], earlier[1:]), np.minimum(times[1:], later[:-1])
    kept = between[0] <= between[1]
    return np.concatenate([times, between[0][kept]]), np.concatenate([times, between[1][kept]])
