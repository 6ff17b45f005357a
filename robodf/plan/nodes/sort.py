"""Rows in another order."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import Bounds
from robodf.plan.expr import Expr, paths_of
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.spread import Ranges, Spread


@node
class Sort(Plan):
    """The rows ordered by `by`; ties keep their order."""

    input: Plan
    by: tuple[Expr, ...]
    descending: tuple[bool, ...]
    nulls_last: tuple[bool, ...]

    passes_paths = True
    same_count = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].sort(
            [e.polars for e in self.by],
            descending=list(self.descending),
            nulls_last=list(self.nulls_last),
            maintain_order=True,
        )

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out.union(*(paths_of(e) for e in self.by)),)

    def push(self, predicate: Expr) -> Plan | None:
        if not all(e.rowwise for e in self.by):
            return None
        return self.replace(input=Filter(self.input, predicate))

    def spread(self) -> tuple[Spread, ...]:
        return (Ranges(),) if all(e.rowwise for e in self.by) else ()

    def passes(self, column: str) -> str | None:
        return column

    def count(self) -> int | None:
        return self.input.count()

    def range_of(self, column: str) -> Bounds:
        return self.input.range_of(column)

    @property
    def work(self) -> str:
        return "sort"

    def in_memory(self) -> str | None:
        return "a sort holds all rows"

    def label(self) -> str:
        keys = [f"{e!r}{' desc' * d}{' nulls last' * n}" for e, d, n in zip(self.by, self.descending, self.nulls_last)]
        return f"Sort {', '.join(keys)}"
