"""One row that sums up all rows: `df.mean()` and its like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from robodf.frame.base import FrameBase
from robodf.plan.base import Schema
from robodf.plan.expr import Call, Col, Lit

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


class Summing(FrameBase):
    """Lazy frames of one row, a value for each column; null where Polars has none for the type of the column."""

    def _one_row(self, function: str) -> PipelineDataFrame:
        calls = (Call(function, (Col(name),)) for name in self._plan.schema)
        known = [e if _has(e, self._plan.schema) else Call("alias", (Lit(None), next(iter(e.columns)))) for e in calls]
        return self.select(*known)  # type: ignore[attr-defined]

    def sum(self) -> PipelineDataFrame:
        """The sum of each column.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, 2], "b": [0.5, 1.0]}).sum().collect().rows()
        [(3, 1.5)]
        """
        return self._one_row("sum")

    def mean(self) -> PipelineDataFrame:
        """The mean of each column."""
        return self._one_row("mean")

    def median(self) -> PipelineDataFrame:
        """The median of each column."""
        return self._one_row("median")

    def min(self) -> PipelineDataFrame:
        """The least value of each column."""
        return self._one_row("min")

    def max(self) -> PipelineDataFrame:
        """The greatest value of each column."""
        return self._one_row("max")

    def std(self) -> PipelineDataFrame:
        """The sample standard deviation of each column."""
        return self._one_row("std")

    def var(self) -> PipelineDataFrame:
        """The sample variance of each column."""
        return self._one_row("var")

    def null_count(self) -> PipelineDataFrame:
        """The number of nulls in each column."""
        return self._one_row("null_count")

    def n_unique(self) -> PipelineDataFrame:
        """The number of different values of each column."""
        return self._one_row("n_unique")


def _has(e: Call, schema: Schema) -> bool:
    """True where Polars has the function for the type of the column."""
    try:
        pl.DataFrame(schema=schema).clear(1).select(e.polars)  # some types are refused only when it runs
    except pl.exceptions.InvalidOperationError:
        return False
    return True
