"""Frames below each other."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import UNKNOWN, Bounds, either
from robodf.plan.expr import Col, Expr
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.rows import Slice
from robodf.plan.spread import Appended, Spread


@node
class Concat(Plan):
    """The rows of each input after those of the one before.

    `how` is vertical (same columns and types), vertical_relaxed (types widened), diagonal (missing columns are null)
    or diagonal_relaxed.
    """

    parts: tuple[Plan, ...]
    how: str

    rowwise_cost = True
    repeats = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return pl.concat(list(inputs), how=self.how, rechunk=False)  # type: ignore[arg-type]

    @lazy
    def schema(self) -> Schema:
        if self.how == "vertical":
            return self.parts[0].schema
        return dict(self.lower(*(pl.LazyFrame(schema=p.schema) for p in self.parts)).collect_schema())

    def needs(self, out: Names) -> tuple[Names, ...]:
        return tuple(out & p.schema.keys() or frozenset(list(p.schema)[:1]) for p in self.parts)

    def prune(self, out: Names) -> Plan:
        # The inputs may come back with columns that only their filters read: they must be alike again.
        if self.how.startswith("vertical"):
            names = [n for n in self.schema if n in out] or list(self.schema)[:1]
            return self.replace(parts=tuple(_exactly(p, names) for p in self.parts))
        return self.replace(parts=tuple(_exactly(p, [n for n in p.schema if n in out]) for p in self.parts))

    def push(self, predicate: Expr) -> Plan | None:
        for part in self.parts:
            if any(part.schema.get(name) != self.schema[name] for name in predicate.columns):
                return None
        return self.replace(parts=tuple(Filter(p, predicate) for p in self.parts))

    def push_limit(self, n: int) -> Plan | None:
        new = tuple(p if (known := _at_most(p)) is not None and known <= n else Slice(p, 0, n) for p in self.parts)
        if all(a is b for a, b in zip(new, self.parts)):
            return None
        return self.replace(parts=new)

    def count(self) -> int | None:
        total = 0
        for part in self.parts:
            rows = part.count()
            if rows is None:
                return None
            total += rows
        return total

    def spread(self) -> tuple[Spread, ...]:
        return (Appended(),)

    def range_of(self, column: str) -> Bounds:
        having = [p for p in self.parts if column in p.schema]  # the rows of the others are null there
        if any(p.schema[column] != self.schema[column] for p in having):
            return UNKNOWN
        return either(p.range_of(column) for p in having)

    def label(self) -> str:
        return f"Concat of {len(self.parts)}{'' if self.how == 'vertical' else ', ' + self.how}"


def _exactly(plan: Plan, names: list[str]) -> Plan:
    return plan if list(plan.schema) == names or not names else Select(plan, tuple((n, Col(n)) for n in names))


def _at_most(plan: Plan) -> int | None:
    """A bound on the rows of `plan` that a limit would not lower."""
    while plan.keeps_rows or plan.same_count:
        plan = plan.inputs()[0]
    limit = getattr(plan, "limit", None) if not isinstance(plan, Slice) else plan.length
    return limit if limit is not None else plan.count()
