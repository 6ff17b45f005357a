"""Which of two rows is better."""

from __future__ import annotations

import numpy as np
import polars as pl

from robodf.dedup.columns import ROW
from robodf.dedup.how import How


def places(how: How, ranks: pl.DataFrame, fixed: int, rows: int) -> np.ndarray | None:
    """The place of each row in the order of worth, 0 the best; None where that is its number.

    The first `fixed` of the `rows` rows are those of an earlier data set, better than all others in their order.
    `ranks` has the rank columns of the other rows. A null or NaN is worse than any value.
    """
    own = rows - fixed
    if how.keep in ("first", "none") or not own:
        return None
    if how.keep == "last":
        order = np.arange(own - 1, -1, -1, dtype=np.int64)
    else:
        frame = ranks.with_columns(pl.selectors.float().fill_nan(None))
        order = frame.select(
            pl.arg_sort_by(*how.ranks, descending=list(how.descending), nulls_last=True, maintain_order=True)
        )
        order = order.to_series().to_numpy().astype(np.int64)
    place = np.empty(rows, np.int64)
    place[:fixed] = np.arange(fixed)
    place[fixed + order] = np.arange(fixed, rows)
    return place


def order_of(rows: pl.DataFrame, how: How) -> np.ndarray:
    """The place of each row, 0 the best, of rows with ROW (negative in an earlier data set) and ranks: int64.

    Of rows with one number, which may be there several times, the first is best.
    """
    own, number = pl.col(ROW) >= 0, pl.col(ROW)
    later = -number if how.keep == "last" else number
    keys = [own, *(pl.col(n) for n in how.ranks), pl.when(own).then(later).otherwise(-1 - number)]
    order = rows.with_columns(pl.selectors.float().fill_nan(None)).select(
        pl.arg_sort_by(keys, descending=[False, *how.descending, False], nulls_last=True, maintain_order=True)
    )
    place = np.empty(rows.height, np.int64)
    place[order.to_series().to_numpy()] = np.arange(rows.height)
    return place
