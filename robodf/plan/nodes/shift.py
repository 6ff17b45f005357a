"""Times corrected by another offset for each recording."""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import Bounds
from robodf.plan.durations import moment, units_of
from robodf.plan.expr import Call, Col, Expr, Lit
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.spread import Rows, Spread

_LOWER, _UPPER = ("__ge__", "__gt__", "__eq__"), ("__le__", "__lt__", "__eq__")


@node
class ShiftTimes(Plan):
    """The column `on` with the offset for the value of `key` added, in the units of `on`; 0 where there is none.

    `pushed` are the conditions on the shifted times that the input is narrowed by already.
    """

    input: Plan
    on: str
    key: str
    offsets: tuple[tuple[Any, int], ...]
    pushed: tuple[Expr, ...] = ()

    rowwise_cost = True
    passes_paths = True
    keeps_rows = True
    same_count = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        time, dtype = pl.col(self.on), self.input.schema[self.on]
        by = pl.col(self.key).replace_strict(dict(self.offsets), default=0, return_dtype=pl.Int64)
        if dtype.is_integer():
            # The cast fails where a sum leaves the type, which has no other place for it.
            wide = time + by if dtype == pl.Int64 else (time.cast(pl.Int128) + by).cast(dtype)
            return inputs[0].with_columns(wide.alias(self.on))
        return inputs[0].with_columns(time + by.cast(pl.Duration(dtype.time_unit)))  # type: ignore[attr-defined]

    @lazy
    def schema(self) -> Schema:
        _ = super().schema  # Polars checks there that the keys are of the type of the column
        return self.input.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out | {self.key},) if self.on in out else (out,)

    def prune(self, out: Names) -> Plan:
        return self if self.on in out else self.input

    def spread(self) -> tuple[Spread, ...]:
        return (Rows(),)

    def passes(self, column: str) -> str | None:
        return column if column != self.on else None

    def push(self, predicate: Expr) -> Plan | None:
        if self.on not in predicate.columns:
            return self.replace(input=Filter(self.input, predicate))
        below = self._around(predicate)
        if below is None or any(p is predicate for p in self.pushed):
            return None
        narrowed = self.replace(input=Filter(self.input, below), pushed=(*self.pushed, predicate))
        return Filter(narrowed, predicate)

    def _around(self, predicate: Expr) -> Expr | None:
        """What is true of the unshifted times of all rows that satisfy a comparison; None where nothing is known."""
        dtype = self.input.schema[self.on]
        if not isinstance(predicate, Call) or predicate.fn not in (*_LOWER, *_UPPER):
            return None
        time, constant = predicate.args
        if time is not Col(self.on) or not isinstance(constant, Lit) or not isinstance(dtype, pl.Datetime):
            return None
        found = units_of(constant, dtype)
        if found is None:
            return None
        first, step = found
        lengths = [0, *(length for _, length in self.offsets)]
        parts = [("__ge__", first - max(lengths))] if predicate.fn in _LOWER else []
        parts += [("__le__", first + step - 1 - min(lengths))] if predicate.fn in _UPPER else []
        if any(not -(1 << 63) <= units < 1 << 63 for _, units in parts):
            return None
        made = [Call(op, (Col(self.on), moment(units, dtype))) for op, units in parts]
        return made[0] if len(made) == 1 else Call("__and__", tuple(made))

    def push_limit(self, n: int) -> Plan | None:
        from robodf.plan.nodes.project import limited

        return limited(self, n)

    def count(self) -> int | None:
        return self.input.count()

    def range_of(self, column: str) -> Bounds:
        low, high = self.input.range_of(column)
        if column != self.on:
            return low, high
        lengths = [0, *(length for _, length in self.offsets)]
        return None if low is None else low + min(lengths), None if high is None else high + max(lengths)

    def label(self) -> str:
        return f"ShiftTimes {self.on} by {self.key}: {len(self.offsets)} offsets"
