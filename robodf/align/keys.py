"""Which rows belong together: the values of the `by` columns as small numbers, and the rows of each in one piece."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from robodf.compat import looked_up

_ID = "__robodf_group"


@dataclass(frozen=True)
class Parts:
    """The rows of a frame group by group: `order[edges[i]:edges[i + 1]]` are the rows of group `ids[i]`.

    Without `order` the rows are so ordered already. The rows of a group keep their order.
    """

    order: np.ndarray | None
    ids: list[int]
    edges: list[int]


class Groups:
    """The distinct values of the columns `by` in several frames; null is a value as any other.

    Without columns everything is one group.
    """

    def __init__(self, frames: list[pl.DataFrame], by: tuple[str, ...]):
        self.by = by
        heads = [_runs(frame, by)[0] for frame in frames] if by else []
        self.table = pl.concat(heads).unique(maintain_order=True).with_row_index(_ID) if by else pl.DataFrame()

    def parts(self, frame: pl.DataFrame) -> Parts:
        """The rows of `frame` by group. Values that none of the frames had are group -1."""
        if not self.by:
            return Parts(None, [0], [0, frame.height])
        heads, lengths = _runs(frame, self.by)
        # Recordings come in runs: only the first row of each is looked up.
        found = looked_up(heads, self.table, self.by)
        ids = found[_ID].cast(pl.Int64).fill_null(-1).to_numpy()
        order = None
        if len(np.unique(ids)) < len(ids):
            rows = np.repeat(ids, lengths)
            small = rows.astype(np.int16) if self.table.height < 1 << 15 else rows  # then NumPy sorts in linear time
            order = np.argsort(small, kind="stable")
            ids, lengths = np.unique(rows, return_counts=True)
        return Parts(order, ids.tolist(), [0, *np.cumsum(lengths).tolist()])

    def sorted_ids(self) -> list[int]:
        """The groups by value, null first: an order that does not depend on which rows the frames had."""
        return self.table.sort(self.by)[_ID].to_list() if self.by else [0]

    def values(self, ids: np.ndarray) -> pl.DataFrame:
        """The `by` columns of rows of these groups."""
        return self.table.select(self.by)[pl.Series(ids, dtype=pl.get_index_type())]


def _runs(frame: pl.DataFrame, by: tuple[str, ...]) -> tuple[pl.DataFrame, np.ndarray]:
    """The first row of each run of equal `by` values, and the lengths of the runs."""
    if frame.height == 0:
        return frame.select(by), np.zeros(0, np.int64)
    other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in by)
    starts = np.flatnonzero(frame.select(other).to_series().to_numpy())
    if len(starts) == 0 or starts[0] != 0:  # a first row of null is like the null that the shift put before it
        starts = np.concatenate([[0], starts])
    lengths = np.diff(np.concatenate([starts, [frame.height]]))
    return frame.select(by)[pl.Series(starts, dtype=pl.get_index_type())], lengths
