"""Lists to rows, structs to columns, wide to long and back."""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.compat import explode_options
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.expr import Call, Col, Expr, substitute
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.spread import Rows, Spread


@node
class Explode(Plan):
    """One row for each element of the list columns; an empty list gives no row, a null list one null row."""

    input: Plan
    columns: tuple[str, ...]

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].explode(list(self.columns), **explode_options())

    @lazy
    def schema(self) -> Schema:
        return {
            name: getattr(dtype, "inner", dtype) if name in self.columns else dtype
            for name, dtype in self.input.schema.items()
        }

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out.union(self.columns),)  # an element decides how many rows there are, asked for or not

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or predicate.columns & set(self.columns):
            return None
        return self.replace(input=Filter(self.input, predicate))

    def spread(self) -> tuple[Spread, ...]:
        return (Rows(),)

    def passes(self, column: str) -> str | None:
        return column if column not in self.columns else None

    def estimate(self, *rows: float) -> float:
        return rows[0] * 8

    def label(self) -> str:
        return f"Explode {', '.join(self.columns)}"


@node
class Unnest(Plan):
    """The fields of struct columns as columns in their place."""

    input: Plan
    columns: tuple[str, ...]

    rowwise_cost = True
    keeps_rows = True
    same_count = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].unnest(list(self.columns))

    @lazy
    def sources(self) -> dict[str, tuple[str, Expr]]:
        """For each output column, the input column that it comes from and how."""
        found: dict[str, tuple[str, Expr]] = {}
        for name, dtype in self.input.schema.items():
            if name in self.columns and isinstance(dtype, pl.Struct):
                for f in dtype.fields:
                    found[f.name] = (name, Call("struct.field", (Col(name), f.name)))
            else:
                found[name] = (name, Col(name))
        return found

    def needs(self, out: Names) -> tuple[Names, ...]:
        # The struct stays even where no field of it is asked for: Polars must find what it is told to unnest.
        return (frozenset(self.columns).union(self.sources[name][0] for name in out),)

    def push(self, predicate: Expr) -> Plan | None:
        below = {name: e for name, (_, e) in self.sources.items()}
        return self.replace(input=Filter(self.input, substitute(predicate, below)))

    def push_limit(self, n: int) -> Plan | None:
        from robodf.plan.nodes.project import limited

        return limited(self, n)

    def count(self) -> int | None:
        return self.input.count()

    def spread(self) -> tuple[Spread, ...]:
        return (Rows(),)

    def passes(self, column: str) -> str | None:
        return column if column not in self.columns else None

    def label(self) -> str:
        return f"Unnest {', '.join(self.columns)}"


@node
class Pivot(Plan):
    """One column for each of the given values of `on`."""

    input: Plan
    on: tuple[str, ...]
    on_columns: tuple[Any, ...]
    index: tuple[str, ...]
    values: tuple[str, ...]
    aggregate: Any
    separator: str

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].pivot(
            list(self.on),
            on_columns=list(self.on_columns),
            index=list(self.index),
            values=list(self.values),
            aggregate_function=self.aggregate.polars if isinstance(self.aggregate, Expr) else self.aggregate,
            maintain_order=True,
            separator=self.separator,
        )

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (frozenset(self.on) | frozenset(self.index) | frozenset(self.values),)

    def in_memory(self) -> str | None:
        return "it holds one row of each group"

    def label(self) -> str:
        return f"Pivot {', '.join(self.on)} values=[{', '.join(self.values)}] index=[{', '.join(self.index)}]"


@node
class Unpivot(Plan):
    """The columns `on` as rows of (variable, value). No order: Polars' streaming engine turns batch by batch."""

    input: Plan
    on: tuple[str, ...]
    index: tuple[str, ...]
    variable: str
    value: str

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].unpivot(
            list(self.on), index=list(self.index) or None, variable_name=self.variable, value_name=self.value
        )

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (frozenset(self.on) | (out & frozenset(self.index)),)

    def prune(self, out: Names) -> Plan:
        return self.replace(index=tuple(name for name in self.index if name in out))

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or not predicate.columns <= frozenset(self.index):
            return None
        return self.replace(input=Filter(self.input, predicate))

    def count(self) -> int | None:
        rows = self.input.count()
        return None if rows is None else rows * len(self.on)

    def spread(self) -> tuple[Spread, ...]:
        return (Rows(),)

    def passes(self, column: str) -> str | None:
        return column if column in self.index else None

    def estimate(self, *rows: float) -> float:
        return rows[0] * len(self.on)

    def label(self) -> str:
        return f"Unpivot [{', '.join(self.on)}] index=[{', '.join(self.index)}]"
