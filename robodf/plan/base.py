"""The base of the plan nodes: what the planner may ask of any operator."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import polars as pl

from robodf.plan.expr import Expr
from robodf.plan.node import Node

Names = frozenset[str]
Schema = dict[str, pl.DataType]


class Plan(Node):
    """One operator and its inputs: what it does to Polars frames, and the facts that rules ask for.

    A subclass gives `lower`; everything else has a default that is right and makes nothing faster.
    """

    rowwise_cost = False  # True: cheap enough to run twice rather than to keep the result in memory
    passes_paths = False  # True: `needs` understands paths into structs (`Expr.paths`), not only column names
    same_count = False  # True: it has exactly as many rows as its only input
    cuts = False  # True: its inputs run as Polars queries of their own, whose rows it is handed in batches
    keeps_rows = False  # True: row i of the output comes from row i of the input alone, none added or dropped

    def inputs(self) -> tuple[Plan, ...]:
        return self._inputs

    @cached_property
    def _inputs(self) -> tuple[Plan, ...]:
        return tuple(c for c in self.children() if isinstance(c, Plan))

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        """The meaning of the operator, and how every engine runs it."""
        raise NotImplementedError

    @cached_property
    def schema(self) -> Schema:
        """Output columns and types, asked of Polars over empty inputs."""
        return dict(self.lower(*(empty(i.schema) for i in self.inputs())).collect_schema())

    def needs(self, out: Names) -> tuple[Names, ...]:
        """Which columns of each input are needed to give the columns `out`."""
        return tuple(frozenset(i.schema) for i in self.inputs())

    def prune(self, out: Names) -> Plan:
        """The node without the work for columns that are not in `out`; it may still give more than `out`."""
        return self

    def with_inputs(self, inputs: tuple[Plan, ...]) -> Plan:
        """The node over other inputs, given by position."""
        queue = list(inputs)
        return self.map(lambda c: queue.pop(0) if isinstance(c, Plan) else c)

    def push(self, predicate: Expr) -> Plan | None:
        """The node with a movable `predicate` on its output applied inside or below it, or None."""
        return None

    def push_limit(self, n: int) -> Plan | None:
        """A node whose first `n` rows are those of this one, and that makes less work; None where there is none."""
        return None

    def count(self) -> int | None:
        """The exact number of rows where it is known without reading data, else None."""
        return None

    def in_memory(self) -> str | None:
        """Why Polars' streaming engine cannot bound the memory of this operator; None where it can."""
        return None

    def label(self) -> str:
        """One line for `explain()`."""
        return type(self).__name__

    def __repr__(self) -> str:
        return tree(self)


def empty(schema: Schema) -> pl.LazyFrame:
    """A frame of no rows."""
    return pl.LazyFrame(schema=schema)


def lower_all(plan: Plan, done: dict[int, pl.LazyFrame] | None = None) -> pl.LazyFrame:
    """The whole plan as one Polars query; a node with two parents is lowered once."""
    done = {} if done is None else done
    if id(plan) not in done:
        done[id(plan)] = plan.lower(*(lower_all(i, done) for i in plan.inputs()))
    return done[id(plan)]


def plans(root: Plan) -> Iterator[Plan]:
    """Every plan node below and including `root`, each once, parents before children."""
    seen = {id(root)}
    stack = [root]
    while stack:
        top = stack.pop()
        yield top
        for child in reversed(top.inputs()):
            if id(child) not in seen:
                seen.add(id(child))
                stack.append(child)


def tree(plan: Plan, note: Any = lambda plan: "") -> str:
    """The plan as indented text, a shared node printed once and then named."""
    lines: list[str] = []
    seen: dict[int, int] = {}
    parents: dict[int, int] = {}
    _count_parents(plan, parents, set())

    def go(p: Plan, depth: int) -> None:
        if id(p) in seen:
            lines.append(f"{'  ' * depth}(same as #{seen[id(p)]}: {p.label()})")
            return
        mark = ""
        if parents.get(id(p), 0) > 1:
            seen[id(p)] = len(seen) + 1
            mark = f"#{seen[id(p)]} "
        lines.append("  " * depth + mark + p.label() + note(p))
        for child in p.inputs():
            go(child, depth + 1)

    go(plan, 0)
    return "\n".join(lines)


def _count_parents(plan: Plan, parents: dict[int, int], seen: set[int]) -> None:
    for child in plan.inputs():
        parents[id(child)] = parents.get(id(child), 0) + 1
        if id(child) not in seen:
            seen.add(id(child))
            _count_parents(child, parents, seen)
