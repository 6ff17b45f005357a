"""Groups and what is computed of each: by key, by time windows, by rolling windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from robodf import compat
from robodf.plan.base import Names, Plan, same_schema
from robodf.plan.decompose import decompose, order_free
from robodf.plan.expr import Call, Col, Expr, substitute
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.unique import constant_in_groups
from robodf.plan.resolve import Named, lowered
from robodf.plan.spread import FIRST_SEEN, Groups, Order, Phases, Spread


class _Grouped(Plan):
    input: Plan
    keys: Named
    aggs: Named

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (frozenset().union(*(e.columns for _, e in (*self.keys, *self._kept(out)))),)

    def prune(self, out: Names) -> Plan:
        kept = self._kept(out)
        return self if len(kept) == len(self.aggs) else self.replace(aggs=kept)

    def _kept(self, out: Names) -> Named:
        return tuple(p for p in self.aggs if (p[0] in out if isinstance(p[0], str) else any(n in out for n in p[0])))

    def push(self, predicate: Expr) -> Plan | None:
        defined = {name: e for name, e in self.keys if isinstance(name, str)}
        below = {name: e.ref for name, e in defined.items() if isinstance(e, Col)}
        if not predicate.columns or not predicate.columns <= below.keys():
            return None
        moved = substitute(predicate, {name: Col(ref) for name, ref in below.items()})
        if not constant_in_groups(moved, frozenset(below.values()), self.input.schema):
            return None
        return self.replace(input=Filter(self.input, moved))

    @property
    def work(self) -> str:
        return "group"  # how many groups there are nobody knows; with few of them a GPU gains less

    def _by_keys(self, order: Order) -> tuple[Groups, ...]:
        plain = all(isinstance(name, str) and e.rowwise and e.columns for name, e in self.keys)
        return (Groups((tuple(e for _, e in self.keys),), order),) if self.keys and plain else ()

    def spread(self) -> tuple[Spread, ...]:
        return self._by_keys(None)

    def passes(self, column: str) -> str | None:
        return next((n for n, e in self.keys if isinstance(n, str) and isinstance(e, Col) and e.ref == column), None)

    def in_memory(self) -> str | None:
        return "it holds one row of each group"

    def _text(self) -> str:
        show = lambda named: ", ".join(f"{n}={e!r}" if not isinstance(e, Col) else e.ref for n, e in named)  # noqa: E731
        return f"by [{show(self.keys)}] agg [{show(self.aggs)}]"


@node
class GroupBy(_Grouped):
    """One row for each value of the keys. No order, unless `ordered`: then by first appearance."""

    input: Plan
    keys: Named
    aggs: Named
    ordered: bool

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        aggs = lowered(self.aggs)
        ordered = self.ordered or compat.ordered_groups(aggs)
        return inputs[0].group_by(lowered(self.keys), maintain_order=ordered).agg(aggs)

    @property
    def forgets_order(self) -> bool:  # type: ignore[override]
        return not self.ordered and all(order_free(e) for _, e in self.aggs)

    def spread(self) -> tuple[Spread, ...]:
        if not self.ordered:
            return self._by_keys(None)
        return tuple(replace(way, order=FIRST_SEEN, first=self._with_first) for way in self._by_keys(None))

    def _with_first(self, column: str) -> Plan:
        return self.replace(aggs=(*self.aggs, (column, Call("min", (Col(column),)))), ordered=False)

    def phases(self) -> Phases | None:
        found = decompose(self.aggs, self.input.schema, in_groups=True)
        if found is None or not self.spread():
            return None
        partials, finals = found
        keys = tuple((name, Col(name)) for name, _ in self.keys if isinstance(name, str))
        first = self.replace(aggs=partials)
        last = GroupBy(first, keys, finals, self.ordered)
        if not same_schema(last.schema, self.schema):  # such as a sum of a sum that is wider
            return None
        return Phases(lambda part: first.replace(input=part), lambda all_: last.replace(input=all_))

    def estimate(self, *rows: float) -> float:
        return rows[0] / 10

    def label(self) -> str:
        return f"GroupBy {self._text()}{' in order' if self.ordered else ''}"


@node
class GroupByDynamic(_Grouped):
    """One row for each time window and value of the keys; the index column must be sorted within each key."""

    input: Plan
    index: str
    keys: Named
    aggs: Named
    options: tuple[tuple[str, Any], ...]

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        grouped = inputs[0].group_by_dynamic(self.index, group_by=lowered(self.keys) or None, **dict(self.options))
        return grouped.agg(lowered(self.aggs))

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (_Grouped.needs(self, out)[0] | {self.index},)

    def label(self) -> str:
        return f"GroupByDynamic on {self.index} {self._text()} {_options(self.options)}"


@node
class Rolling(_Grouped):
    """For each row, the rows of the window that ends there; the index column must be sorted within each key."""

    input: Plan
    index: str
    keys: Named
    aggs: Named
    options: tuple[tuple[str, Any], ...]

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        grouped = inputs[0].rolling(self.index, group_by=lowered(self.keys) or None, **dict(self.options))
        answer = grouped.agg(lowered(self.aggs))
        # With keys Polars 1.44 and 2.1 take the index for sorted, which it is within each key only, and their streaming
        # engine then groups it wrongly. Passed through coalesce it is any column.
        return answer.with_columns(pl.coalesce(self.index, self.index)) if self.keys else answer

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (_Grouped.needs(self, out)[0] | {self.index},)

    def label(self) -> str:
        return f"Rolling on {self.index} {self._text()} {_options(self.options)}"


def _options(options: tuple[tuple[str, Any], ...]) -> str:
    return " ".join(f"{name}={value}" for name, value in options if value is not None)


@node
class Aggregate(Plan):
    """One row: expressions over all rows."""

    input: Plan
    aggs: Named

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].select(lowered(self.aggs))

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (frozenset().union(*(e.columns for _, e in self.aggs)),)

    @property
    def forgets_order(self) -> bool:  # type: ignore[override]
        return all(order_free(e) for _, e in self.aggs)

    def phases(self) -> Phases | None:
        found = decompose(self.aggs, self.input.schema, in_groups=False)
        if found is None:
            return None
        partials, finals = found
        first = Aggregate(self.input, partials)
        last = Aggregate(first, finals)
        if not partials or not same_schema(last.schema, self.schema):
            return None
        return Phases(lambda part: first.replace(input=part), lambda all_: last.replace(input=all_))

    def estimate(self, *rows: float) -> float:
        return 1

    @lazy
    def _names(self) -> str:
        return ", ".join(f"{n}={e!r}" for n, e in self.aggs)

    def label(self) -> str:
        return f"Aggregate [{self._names}]"
