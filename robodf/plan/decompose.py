"""Aggregates in two steps: of the values in each partition, then of what these gave."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Schema
from robodf.plan.expr import Call, Col, Expr, Lit
from robodf.plan.resolve import Named
from robodf.plan.rowwise import reads_one_row
from robodf.plan.types import type_of

_AGAIN = frozenset("sum min max any all".split())  # the same function of the answers
_COUNTS = frozenset("len count null_count".split())
_ENDS = frozenset("first last".split())
_NO_ORDER = (
    _AGAIN | _COUNTS | frozenset("mean median quantile std var n_unique approx_n_unique arg_unique_count".split())
)


class _Decomposing:
    """Collects the columns of the first step while aggregates are stated over them."""

    def __init__(self, schema: Schema, in_groups: bool):
        self.schema, self.in_groups = schema, in_groups
        self.partials: dict[Expr, str] = {}

    def final(self, e: Expr) -> Expr | None:
        """`e` over the columns of the first step, or None where it cannot be taken apart."""
        if isinstance(e, Lit):
            return e
        if not isinstance(e, Call):
            return None
        if e.fn == "pl.len" and not e.args and not e.options:
            return self._total(e)
        if e.args and isinstance(e.args[0], Expr) and _of_rows(e.args[0]):
            return self._aggregate(e, e.args[0])
        if not reads_one_row(e.fn, e.args, dict(e.options)) or any(isinstance(v, Expr) for _, v in e.options):
            return None
        args = [self.final(a) if isinstance(a, Expr) else a for a in e.args]
        bad = any(new is None for new, a in zip(args, e.args) if isinstance(a, Expr))
        return None if bad or not _has_aggregate(e) else Call(e.fn, tuple(args), e.options)

    def _aggregate(self, e: Call, values: Expr) -> Expr | None:
        if e.options or len(e.args) > 1:
            return None
        if e.fn in _COUNTS:
            return self._total(e)
        dtype = type_of(values, self.schema)
        if e.fn in _AGAIN:
            plain = dtype.is_numeric() or dtype.is_temporal() or isinstance(dtype, (pl.String, pl.Boolean))
            return Call(e.fn, (self._partial(e),)) if plain else None
        if e.fn in _ENDS:
            # Of no rows there is a first value too, null, which a partition without rows would put before the others.
            return Call(e.fn, (self._partial(e),)) if self.in_groups else None
        if e.fn == "mean" and (dtype.is_float() or dtype.is_integer() or isinstance(dtype, pl.Boolean)):
            wide = Call("cast", (values, pl.Float64()))
            total = Call("sum", (self._partial(Call("sum", (wide,))),))
            count = Call("sum", (self._partial(Call("count", (values,))),))
            some = Call("__gt__", (count, Lit(0)))
            mean = Call("pl.when", (some, Call("__truediv__", (total, count)), Lit(None)))
            return Call("cast", (mean, type_of(e, self.schema)))
        return None

    def _total(self, e: Expr) -> Expr:
        return Call("cast", (Call("sum", (self._partial(e),)), type_of(e, self.schema)))

    def _partial(self, e: Expr) -> Col:
        return Col(self.partials.setdefault(e, f"__robodf_part_{len(self.partials)}"))


def decompose(aggs: Named, schema: Schema, *, in_groups: bool) -> tuple[Named, Named] | None:
    """The aggregates of the first step, and `aggs` stated over their columns; None where one cannot be taken apart."""
    work = _Decomposing(schema, in_groups)
    finals = []
    for name, e in aggs:
        final = work.final(_bare(e))
        if final is None or not isinstance(name, str):
            return None
        finals.append((name, final))
    return tuple((name, e) for e, name in work.partials.items()), tuple(finals)


def order_free(e: Expr) -> bool:
    """True where the order of the rows of a group does not matter to an aggregate of it."""
    e = _bare(e)
    if isinstance(e, Lit) or (isinstance(e, Call) and e.fn == "pl.len"):
        return True
    if not isinstance(e, Call):
        return False
    if e.args and isinstance(e.args[0], Expr) and _of_rows(e.args[0]) and e.fn in _NO_ORDER:
        return True
    inner = [a for a in (*e.args, *(v for _, v in e.options)) if isinstance(a, Expr)]
    return bool(inner) and reads_one_row(e.fn, e.args, dict(e.options)) and all(map(order_free, inner))


def _bare(e: Expr) -> Expr:
    while isinstance(e, Call) and e.fn == "alias":
        e = e.args[0]
    return e


def _of_rows(e: Expr) -> bool:
    """True of values of rows, each by itself, of all rows of the group or of those that satisfy a condition."""
    if isinstance(e, Call) and e.fn in ("filter", "drop_nulls", "drop_nans") and not e.options:
        return all(isinstance(a, Expr) and a.rowwise for a in e.args) and bool(e.columns)
    return e.rowwise and bool(e.columns)


def _has_aggregate(e: Expr) -> bool:
    return not e.rowwise
