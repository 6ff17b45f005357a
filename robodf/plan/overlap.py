"""Which closed intervals overlap, by sorting: time and memory grow with the input and the answer, not their product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from robodf.compat import looked_up
from robodf.plan.comparison import IN_UNIT

if TYPE_CHECKING:
    import numpy as np

_CODE = "__robodf_code"
_MOST = (1 << 63) - 1


class Spans:
    """The intervals of a frame as integers in the units of `dtype`, with the number of the group of each.

    An interval without a start, without an end, or with the end before the start is in no group (-1).
    """

    def __init__(self, frame: pl.DataFrame, names: tuple[str, str], groups: Groups, dtype: pl.DataType):
        import numpy as np

        start, end = (frame.get_column(name) for name in names)
        there = (start.is_not_null() & end.is_not_null()).to_numpy()
        self.starts = _in_units(start, dtype, up=True)
        self.ends = _in_units(end, dtype, up=False)
        self.valid = there & (self.starts <= self.ends)
        self.groups = np.where(self.valid, groups.of(frame), -1)


class Groups:
    """A number for each value of the columns `by` that occurs in a frame; null equals null."""

    def __init__(self, frame: pl.DataFrame, by: tuple[str, ...]):
        self.by = list(by)
        self.known = frame.select(self.by).unique().with_row_index(_CODE) if by else None

    def of(self, frame: pl.DataFrame) -> np.ndarray:
        """The number of the group of each row; -1 for one that did not occur."""
        import numpy as np

        if self.known is None:
            return np.zeros(frame.height, np.int64)
        found = looked_up(frame.select(self.by), self.known, self.by)
        return found.get_column(_CODE).cast(pl.Int64).fill_null(-1).to_numpy()


class Overlaps:
    """Intervals, ready to be asked which of them overlap others.

    Times become their ranks among all bounds, and a rank and a group one integer, so that one sorted array answers for
    all groups. Of the closed intervals [s, e] and [S, E] that overlap, either S lies in [s, e] or s lies in (S, E]:
    never both, and each is a range in an array sorted by starts.
    """

    def __init__(self, table: Spans):
        import numpy as np

        kept = np.flatnonzero(table.valid)
        starts, ends, groups = table.starts[kept], table.ends[kept], table.groups[kept]
        self.values = np.unique(np.concatenate([starts, ends]))
        self.width = len(self.values) + 1
        self.first = groups * self.width
        self.start_rank, self.end_rank = np.searchsorted(self.values, starts), np.searchsorted(self.values, ends)
        order = np.argsort(self.first + self.start_rank, kind="stable")
        self.order, self.rows = order, kept
        self.by_start = (self.first + self.start_rank)[order]
        self.by_end = np.sort(self.first + self.end_rank)
        self.sorted_starts, self.sorted_ends = starts[order], ends[order]

    def ranges(self, others: Spans) -> tuple[np.ndarray, np.ndarray]:
        """For each of the others, how many intervals end before it, and how many start before or where it ends.

        The first is not greater; the difference is the number of those that overlap it.
        """
        import numpy as np

        first = others.groups * self.width  # of no group: below all that there are, so 0 and 0
        before = np.searchsorted(self.by_end, first + np.searchsorted(self.values, others.starts, "left"), "left")
        begun = np.searchsorted(self.by_start, first + np.searchsorted(self.values, others.ends, "right"), "left")
        return before, begun

    def counts(self, others: Spans) -> np.ndarray:
        """How many intervals overlap each of the others."""
        before, begun = self.ranges(others)
        return begun - before

    def pairs(self, others: Spans, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(row of the others, row of the intervals) of all that overlap, in that order, about `most` at a time."""
        import numpy as np

        total = np.cumsum(self.counts(others))
        begin = 0
        while begin < len(total):
            done = int(total[begin - 1]) if begin else 0
            stop = max(begin + 1, int(np.searchsorted(total, done + most, "right")))
            if total[stop - 1] > done:
                yield self._pairs(others, begin, stop)
            begin = stop

    def _pairs(self, others: Spans, begin: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        first = others.groups[begin:stop] * self.width
        rank = np.searchsorted(self.values, others.starts[begin:stop], "left")  # of the first bound not before it
        after = np.searchsorted(self.values, others.ends[begin:stop], "right")  # of the first bound after it
        # Intervals that start inside one of the others.
        low, high = np.searchsorted(self.by_start, first + rank), np.searchsorted(self.by_start, first + after)
        left, at = _spread(low, high)
        right = self.order[at]
        # Others that start inside an interval, after its start.
        key = first + rank
        order = np.argsort(key, kind="stable")
        key = key[order]
        low = np.searchsorted(key, self.first + self.start_rank + 1, "left")
        high = np.searchsorted(key, self.first + self.end_rank, "right")
        right2, at = _spread(low, np.maximum(low, high))
        left, right = np.concatenate([left, order[at]]), np.concatenate([right, right2])
        turn = np.lexsort((right, left))
        return left[turn] + begin, self.rows[right[turn]]

    def outside(self, others: Spans) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is left of each of the others without the intervals, which must not overlap: (row, start, end).

        A part ends one unit before an interval starts, and starts one unit after it ends.
        """
        import numpy as np

        before, begun = self.ranges(others)
        count = np.where(others.valid, begun - before + 1, 0)
        row = np.repeat(np.arange(len(count)), count)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        has_left, has_right = nth > 0, nth < (count - 1)[row]
        left, right = (before[row] + nth - 1)[has_left], (before[row] + nth)[has_right]
        start, end = others.starts[row], others.ends[row]
        low, high = start.copy(), end.copy()
        kept = np.ones(len(row), bool)
        # Where an interval covers a bound nothing is left there; asked first, the step by one cannot overflow.
        kept[has_left] &= self.sorted_ends[left] < end[has_left]
        kept[has_right] &= self.sorted_starts[right] > start[has_right]
        low[has_left] = self.sorted_ends[left] + 1
        high[has_right] = self.sorted_starts[right] - 1
        kept &= low <= high
        return row[kept], low[kept], high[kept]


def _spread(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each position i with each of the numbers from low[i] to high[i] - 1."""
    import numpy as np

    count = high - low
    at = np.repeat(np.arange(len(count)), count)
    ends = np.cumsum(count)
    return at, np.arange(len(at)) - np.repeat(ends - count, count) + np.repeat(low, count)


def _in_units(series: pl.Series, dtype: pl.DataType, up: bool) -> np.ndarray:
    """Times as integers in the units of `dtype`, rounded up or down to one; what is out of reach is the farthest."""
    import numpy as np

    values = series.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    unit = IN_UNIT.get(getattr(series.dtype, "time_unit", ""), 1)
    wanted = IN_UNIT.get(getattr(dtype, "time_unit", ""), 1)
    if unit > wanted:
        by = unit // wanted
        far = np.abs(np.maximum(values, -_MOST)) > _MOST // by
        return np.where(far, np.where(values > 0, _MOST, -_MOST - 1), np.where(far, 0, values) * by)
    by = wanted // unit
    return -(-values // by) if up else values // by
