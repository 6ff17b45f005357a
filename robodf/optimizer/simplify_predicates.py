"""Conditions in their plainest form."""

from __future__ import annotations

from typing import Any

from robodf.plan.base import Plan
from robodf.plan.expr import Call, Expr, Lit, conjunction, conjuncts, freeze
from robodf.plan.nodes.filter import Filter

_NEGATED = {"__lt__": "__ge__", "__le__": "__gt__", "__gt__": "__le__", "__ge__": "__lt__", "__eq__": "__ne__",
            "__ne__": "__eq__", "is_null": "is_not_null", "is_not_null": "is_null"}  # fmt: skip
_FLIPPED = {"__lt__": "__gt__", "__le__": "__ge__", "__gt__": "__lt__", "__ge__": "__le__", "__eq__": "__eq__",
            "__ne__": "__ne__"}  # fmt: skip
_METHODS = {name: f"__{name}__" for name in ("lt", "le", "gt", "ge", "eq", "ne", "and", "or")} | {
    "and_": "__and__", "or_": "__or__", "not_": "__invert__"}  # fmt: skip
_BOUNDS = {"both": ("__ge__", "__le__"), "left": ("__ge__", "__lt__"), "right": ("__gt__", "__le__"),
           "none": ("__gt__", "__lt__")}  # fmt: skip


def simplify_predicates(plan: Plan) -> Plan | None:
    """Split conditions into plain comparisons of a column with a constant, which sources understand.

    Before::

        Filter ~(5 >= col("t")) & col("x").is_between(1, 2) & True

    After::

        Filter (col("t") > 5) & (col("x") >= 1) & (col("x") <= 2)

    `~(a > b)` is `a <= b` also for nulls (both are null) and for NaN (Polars orders it above all numbers).
    """
    if not isinstance(plan, Filter):
        return None
    parts = [part for part in conjuncts(_simplify(plan.where)) if not _is_true(part)]
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
    if e.fn in _FLIPPED and isinstance(e.args[0], Lit) and not isinstance(e.args[1], Lit):
        return Call(_FLIPPED[e.fn], (e.args[1], e.args[0]))
    if e.fn == "is_between":
        return _between(e)
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
