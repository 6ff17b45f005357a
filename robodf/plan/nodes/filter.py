"""Rows that satisfy a condition."""

from __future__ import annotations

import threading

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import Bounds, narrowed
from robodf.plan.durations import exact_times
from robodf.plan.expr import Expr, conjunction, conjuncts, paths_of
from robodf.plan.node import lazy, node
from robodf.plan.spread import AS_INPUT, Groups, Rows, Spread, window_keys
from robodf.plan.work import work_of


@node
class Filter(Plan):
    """The rows for which `where` is true (not false, not null), in order."""

    input: Plan
    where: Expr

    rowwise_cost = True
    passes_paths = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].filter(exact_times(self.where, self.input.schema).polars)

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        return self.where.rowwise

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out | paths_of(self.where),)

    def push(self, predicate: Expr) -> Plan | None:
        # Where this filter reads other rows (x > x.mean()), dropping rows below it would change what it sees.
        if not self.where.rowwise:
            return None
        below = self.input.push(predicate)
        return None if below is None else Filter(below, self.where)

    def push_all(self, predicates: list[Expr]) -> tuple[Plan, list[Expr]]:
        # Its own condition goes on with them: or each filter of a chain would rebuild all that lies below it.
        if not self.where.rowwise:
            return self, predicates
        own = conjuncts(self.where)
        candidates = [part for part in own if part.movable and part.columns] + predicates
        below, refused = push_into(self.input, candidates)
        if len(refused) == len(candidates):
            return self, predicates
        stay = {id(part) for part in refused}
        moved = {id(part) for part in candidates} - stay
        rest = [part for part in own if id(part) not in moved]
        plan = Filter(below, conjunction(rest)) if rest else below
        return plan, [part for part in predicates if id(part) in stay]

    def spread(self) -> tuple[Spread, ...]:
        if self.where.rowwise:
            return (Rows(),)
        keys = window_keys((self.where,))
        return () if keys is None else (Groups((keys,), AS_INPUT),)

    def passes(self, column: str) -> str | None:
        return column

    @property
    def work(self) -> str:
        return work_of((self.where,))

    def estimate(self, *rows: float) -> float:
        return rows[0] / 3

    def range_of(self, column: str) -> Bounds:
        return narrowed(self.input.range_of(column), conjuncts(self.where), column, self.schema[column])

    def label(self) -> str:
        return f"Filter {self.where!r}"


_DEEPEST = 50  # nodes that predicates pass in one go; plans may be deeper than Python recurses
_here = threading.local()  # how many nodes the predicates of this thread are passing


def push_into(plan: Plan, predicates: list[Expr]) -> tuple[Plan, list[Expr]]:
    """`plan` with the predicates applied as far below as they may go, and those that it does not let pass."""
    depth = getattr(_here, "depth", 0)
    if depth >= _DEEPEST:
        return filtered(plan, predicates), []  # the rule goes on from there
    _here.depth = depth + 1
    try:
        return plan.push_all(predicates)
    finally:
        _here.depth = depth


def filtered(plan: Plan, predicates: list[Expr]) -> Plan:
    """The rows of `plan` for which all predicates are true, one filter a predicate."""
    for predicate in predicates:
        plan = Filter(plan, predicate)
    return plan


def with_filters(plan: Plan, predicates: list[Expr]) -> Plan:
    """`plan` filtered by all predicates: those that may move inside or below it, the rest on top, in their order."""
    movable = [p for p in predicates if p.movable and p.columns]
    if not movable:
        return filtered(plan, predicates)
    below, refused = push_into(plan, movable)
    moved = {id(p) for p in movable} - {id(p) for p in refused}
    return filtered(below, [p for p in predicates if id(p) not in moved])
