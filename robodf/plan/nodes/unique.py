"""One row of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from robodf.dedup.caps import Caps
from robodf.dedup.exact import Exact, has_nothing
from robodf.dedup.how import KEEPS, How
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import Bounds
from robodf.plan.expr import Call, Col, Expr
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.rows import numbered
from robodf.plan.spread import AS_INPUT, Groups, Phases, Spread

if TYPE_CHECKING:
    from robodf.plan.nodes.dedup import Dedup


@node
class Unique(Plan):
    """One row for each value of the columns `on` (None: of all). NaN equals NaN, null equals null, 0.0 equals -0.0.

    `keep` is first, last, any, or none (only the values that occur once). With `ordered` the rows keep their order.
    Rows that have nothing in the columns `lone` (null, or an empty text, bytes or list in all of them) all stay.
    """

    input: Plan
    on: tuple[str, ...] | None
    keep: str
    ordered: bool
    lone: tuple[str, ...] = ()

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        rows, made = inputs[0], []
        if self.lone:
            # Each of them is a kind of its own, by its position in these rows.
            nothing = pl.all_horizontal(has_nothing(pl.col(n), self.input.schema[n]) for n in self.lone)
            rows = numbered(rows, _ALONE, 0).with_columns(pl.when(nothing).then(pl.col(_ALONE)).alias(_ALONE))
            made.append(_ALONE)
        subset = None if self.on is None and not made else [*self.keys, *made]
        # Of several keys, and of nested ones, Polars may give 0.0 for -0.0: then the keys are copies.
        floats = [n for n in self.keys if holds_floats(self.input.schema[n])] if self.ordered else []
        if floats and (len(self.keys) + len(made) > 1 or self.input.schema[floats[0]].is_nested()):
            copies = {n: f"{_COPY}{k}" for k, n in enumerate(floats)}
            rows = rows.with_columns(pl.col(n).alias(copy) for n, copy in copies.items())
            subset = [copies.get(n, n) for n in [*self.keys, *made]]
            made += copies.values()
        kept = rows.unique(subset, keep=self.keep, maintain_order=self.ordered)  # type: ignore[arg-type]
        return kept.drop(made) if made else kept

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.input.schema) if self.on is None else self.on

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out.union(self.keys),)

    def prune(self, out: Names) -> Plan:
        # Columns may be dropped below; then "all columns" must go on meaning all that there were.
        return self.replace(on=self.keys) if self.on is None else self

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or not constant_in_groups(predicate, frozenset(self.keys), self.input.schema):
            return None
        return self.replace(input=Filter(self.input, predicate))

    @property
    def forgets_order(self) -> bool:  # type: ignore[override]
        return not self.ordered and (self.keep in ("any", "none") or set(self.keys) == set(self.input.schema))

    def spread(self) -> tuple[Spread, ...]:
        return (Groups((tuple(map(Col, self.keys)),), AS_INPUT if self.ordered else None),)

    def phases(self) -> Phases | None:
        if self.keep == "none":
            return None
        return Phases(lambda part: self.replace(input=part, on=self.keys), lambda all_: self.replace(input=all_))

    def passes(self, column: str) -> str | None:
        return column

    @property
    def work(self) -> str:
        return "group_many"

    def estimate(self, *rows: float) -> float:
        return rows[0] / 2

    def range_of(self, column: str) -> Bounds:
        return self.input.range_of(column)

    def by_keys(self) -> Dedup | None:
        """The same as a dedup, which holds hashes of the keys rather than rows; None where that has not its order."""
        if not self.ordered or self.lone or self.keep not in KEEPS:
            return None
        from robodf.plan.nodes.dedup import Dedup

        keys = tuple(map(Col, self.keys))
        value = keys[0] if len(keys) == 1 else Call("pl.struct", keys)
        how = How(Exact(lone=False), self.keep, "representative")
        on = "all columns" if self.on is None else ", ".join(self.on)
        return Dedup(self.input, (), (), value, (), (), how, False, f"{on}, keep {self.keep}", Caps())

    def in_memory(self) -> str | None:
        return "it holds one row of each kind"

    def label(self) -> str:
        on = "all columns" if self.on is None else ", ".join(self.on)
        return f"Unique on {on}, keep {self.keep}{', in order' if self.ordered else ''}"


_ALONE = "__robodf_alone"
_COPY = "__robodf_copy_"


def constant_in_groups(predicate: Expr, keys: Names, schema: Schema) -> bool:
    """True where rows that are equal on `keys` give the same answer: then a whole group stays or goes.

    0.0 and -0.0 are one key and yet not the same number, so float keys do not count.
    """
    return all(name in keys and not holds_floats(schema[name]) for name in predicate.columns)


def holds_floats(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(holds_floats(f.dtype) for f in dtype.fields)  # type: ignore[arg-type]
    inner = getattr(dtype, "inner", None)
    return dtype.is_float() if inner is None else holds_floats(inner)
