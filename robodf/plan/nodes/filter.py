"""Rows that satisfy a condition."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.expr import Expr, paths_of
from robodf.plan.node import lazy, node


@node
class Filter(Plan):
    """The rows for which `where` is true (not false, not null), in order."""

    input: Plan
    where: Expr

    rowwise_cost = True
    passes_paths = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].filter(self.where.polars)

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out | paths_of(self.where),)

    def push(self, predicate: Expr) -> Plan | None:
        # Where this filter reads other rows (x > x.mean()), dropping rows below it would change what it sees.
        if not self.where.rowwise:
            return None
        below = self.input.push(predicate)
        return None if below is None else Filter(below, self.where)

    def label(self) -> str:
        return f"Filter {self.where!r}"
