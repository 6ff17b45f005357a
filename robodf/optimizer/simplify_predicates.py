"""Conditions in their plainest form."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from robodf.plan.base import Plan, Schema
from robodf.plan.durations import exact_times, moment, units_of
from robodf.plan.expr import Call, Expr, Lit, conjunction, conjuncts, freeze
from robodf.plan.nodes.filter import Filter
from robodf.plan.types import type_of

_NEGATED = {"__lt__": "__ge__", "__le__": "__gt__", "__gt__": "__le__", "__ge__": "__lt__", "__eq__": "__ne__",
            "__ne__": "__eq__", "is_null": "is_not_null", "is_not_null": "is_null"}  # fmt: skip
_FLIPPED = {"__lt__": "__gt__", "__le__": "__ge__", "__gt__": "__lt__", "__ge__": "__le__", "__eq__": "__eq__",
            "__ne__": "__ne__"}  # fmt: skip
_METHODS = {name: f"__{name}__" for name in ("lt", "le", "gt", "ge", "eq", "ne", "and", "or")} | {
    "and_": "__and__", "or_": "__or__", "not_": "__invert__"}  # fmt: skip
_ORDER = ("__lt__", "__le__", "__gt__", "__ge__", "__eq__")
_BOUNDS = {"both": ("__ge__", "__le__"), "left": ("__ge__", "__lt__"), "right": ("__gt__", "__le__"),
           "none": ("__gt__", "__lt__")}  # fmt: skip


def simplify_predicates(plan: Plan) -> Plan | None:
    """Split conditions into plain comparisons of a column with a constant, which sources understand.

    Before::

        Filter ~(5 >= col("t")) & col("x").is_between(1, 2) & True

    After::

        Filter (col("t") > 5) & (col("x") >= 1) & (col("x") <= 2)

    A shifted time is compared unshifted: `col("log_time") + c >= x` becomes `col("log_time") >= x - c`. (For times so
    near the end of 64 bits, the years 1677 and 2262, that the sum would wrap around, the second is the true answer.)

    `~(a > b)` is `a <= b` also for nulls (both are null) and for NaN (Polars orders it above all numbers).
    """
    if not isinstance(plan, Filter):
        return None
    parts = [part for part in conjuncts(_simplify(plan.where)) if not _is_true(part)]
    parts = [exact_times(_unshift(part, plan.input.schema), plan.input.schema) for part in parts]
    if not parts:
        return plan.input
    new = conjunction(dict.fromkeys(parts))
    return None if new is plan.where else Filter(plan.input, new)


def _is_true(e: Expr) -> bool:
    return isinstance(e, Lit) and e.value is True


def _simplify(e: Expr) -> Expr:
    if not isinstance(e, Call):
        return e
    if e.fn in _METHODS and not e.options and all(isinstance(a, Expr) or not isinstance(a, str) for a in e.args):
        return _simplify(Call(_METHODS[e.fn], tuple(_operand(a) for a in e.args)))
    if e.fn in ("__and__", "__or__"):
        a, b = (_simplify(_operand(x)) for x in e.args)
        if a is b:
            return a
        return e if a is e.args[0] and b is e.args[1] else Call(e.fn, (a, b))
    if e.fn == "__invert__":
        return _negate(_simplify(e.args[0]), e)
    if e.fn in _FLIPPED:
        a, b = map(_constant, e.args)
        if isinstance(a, Lit) and not isinstance(b, Lit):
            return Call(_FLIPPED[e.fn], (b, a))
        return e if a is e.args[0] and b is e.args[1] else Call(e.fn, (a, b))
    if e.fn == "is_between":
        return _between(e)
    return e


def _constant(e: Any) -> Any:
    """A constant as such: without a name, which matters to nobody here, and `pl.datetime(2024, 1, 2)` as its value."""
    if isinstance(e, Call) and e.fn == "alias" and isinstance(e.args[0], Lit):
        return e.args[0]
    if isinstance(e, Call) and e.fn == "pl.datetime" and not e.options and all(type(a) is int for a in e.args):
        try:
            return Lit(datetime(*e.args))
        except (ValueError, TypeError):  # no such day: Polars says what is wrong with it
            return e
    return e


def _negate(inner: Expr, whole: Call) -> Expr:
    if isinstance(inner, Call) and inner.fn in _NEGATED:
        return Call(_NEGATED[inner.fn], inner.args)
    if isinstance(inner, Call) and inner.fn == "__invert__" and _is_condition(inner.args[0]):
        return inner.args[0]
    return whole if inner is whole.args[0] else Call("__invert__", (inner,))


def _is_condition(e: Any) -> bool:
    """~~x is x for truth values; for integers too, yet nothing is won there."""
    return isinstance(e, Call) and (e.fn in _NEGATED or e.fn in ("__and__", "__or__"))


def _between(e: Call) -> Expr:
    options = dict(e.options)
    args = [*e.args[1:], *(options.pop(n) for n in ("lower_bound", "upper_bound") if n in options)]
    closed = options.pop("closed", args[2] if len(args) == 3 else "both")
    if options or len(args) not in (2, 3) or closed not in _BOUNDS:
        return e
    low, high = _BOUNDS[closed]
    return Call("__and__", (Call(low, (e.args[0], _operand(args[0]))), Call(high, (e.args[0], _operand(args[1])))))


def _operand(value: Any) -> Expr:
    return value if isinstance(value, Expr) else Lit(freeze(value))


def _unshift(e: Expr, schema: Schema) -> Expr:
    """`time + length <op> constant` as `time <op> constant - length`, where that is exact."""
    if not isinstance(e, Call) or e.fn not in _ORDER or e.options or not isinstance(e.args[1], Lit):
        return e
    shifted, bound = e.args
    if not isinstance(shifted, Call) or shifted.fn not in ("__add__", "__sub__") or shifted.options:
        return e
    time, by = shifted.args
    if shifted.fn == "__add__" and isinstance(time, Lit):
        time, by = by, time
    if not isinstance(by, Lit) or isinstance(time, Lit) or not time.transparent:
        return e
    dtype = type_of(time, schema)
    if not isinstance(dtype, pl.Datetime):
        return e
    length, limit = units_of(by, pl.Duration(dtype.time_unit)), units_of(bound, dtype)
    if length is None or length[1] != 1 or limit is None:  # a length in coarser units makes the sum coarser too
        return e
    # Of a constant in coarser units: versions of Polars round the times or do not, and only these two do not care.
    if limit[1] > 1 and e.fn not in ("__ge__", "__lt__"):
        return e
    units = limit[0] + (-length[0] if shifted.fn == "__add__" else length[0])
    return Call(e.fn, (time, moment(units, dtype))) if -(1 << 63) <= units < 1 << 63 else e
