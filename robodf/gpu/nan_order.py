"""Comparisons of floats, of which Polars holds NaN for the largest and the GPU for unequal to all.

Polars orders NaN above all numbers and equal to itself; cudf-polars compares as IEEE 754 does (NVIDIA/cudf issue
18842). `spelled_out` writes what Polars means in terms that mean the same on both, and `unsafe_comparisons` looks at a
translated query for what does not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import polars as pl

from robodf.plan.base import Schema
from robodf.plan.expr import Call, Expr, Lit
from robodf.plan.node import Node
from robodf.plan.types import type_of

_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}

# -- what is asked of Polars ---------------------------------------------------------------------------------------


def spelled_out(e: Expr, schema: Schema) -> Expr:
    """The same expression with what Polars means by comparisons with NaN written out.

    >>> from robodf import col
    >>> spelled_out(col("x") > 1.5, {"x": pl.Float64()})
    (col("x") > 1.5) | col("x").is_nan()
    """
    done: dict[tuple[int, bool], Any] = {}

    def go(x: Any, negated: bool) -> Any:
        key = (id(x), negated)
        if key not in done:
            below = negated or (isinstance(x, Call) and x.fn in ("__invert__", "not_"))
            done[key] = _spelled(Node.map(x, lambda child: go(child, below)), schema, negated)
        return done[key]

    return go(e, False)


def _spelled(e: Any, schema: Schema, negated: bool) -> Any:
    if not isinstance(e, Call) or len(e.args) != 2 or e.options:
        return e
    op = e.fn.strip("_")
    if op not in _MIRRORED or e.fn not in (op, f"__{op}__"):
        return e
    left, right = e.args
    may = [_may_be_nan(left, schema), _may_be_nan(right, schema)]
    if not any(may):
        return e
    if op in ("lt", "le"):  # a < b is b > a; the names of the output stay those of the left side
        (a, b), may_a, may_b, strict = (right, left), may[1], may[0], op == "lt"
    else:
        (a, b), may_a, may_b, strict = (left, right), may[0], may[1], op == "gt"
    if op in ("eq", "ne"):
        both = _both_nan(a, b) if all(may) else None
        if both is None:
            return e
        return Call("__or__", (e, both)) if op == "eq" else Call("__and__", (e, Call("__invert__", (both,))))
    if not may_a:  # NaN on the smaller side: false on both. But Polars turns ~(b < 1) into b >= 1.
        return Call("__and__", (e, Call("is_not_nan", (b,)))) if negated and _is_constant(a) else e
    largest = Call("is_nan", (a,))
    if may_b or not _is_constant(b):
        largest = Call("__and__", (largest, _beside_nan(b, may_b, strict)))
    return Call("__or__", (e, largest))


def _beside_nan(b: Any, may_be_nan: bool, strict: bool) -> Expr:
    """Whether NaN is larger than `b`, or not smaller where that is not `strict`; null where `b` is null."""
    number = Call("is_not_nan", (b if may_be_nan else Call("cast", (b, pl.Float64())),))
    return number if strict or not may_be_nan else Call("__or__", (Call("is_nan", (b,)), number))


def _is_constant(value: Any) -> bool:
    """True of a constant that is not null."""
    if isinstance(value, Lit):
        value = value.value
    return not isinstance(value, Expr) and value is not None


def _both_nan(a: Any, b: Any) -> Expr:
    return Call("__and__", (Call("is_nan", (a,)), Call("is_nan", (b,))))


def _may_be_nan(value: Any, schema: Schema) -> bool:
    if isinstance(value, Lit):
        value = value.value
    if not isinstance(value, Expr):
        return isinstance(value, float) and math.isnan(value)
    if not value.transparent or not value.columns <= schema.keys():
        return False
    return type_of(value, schema).is_float()


# -- what is asked of cudf-polars ----------------------------------------------------------------------------------

_COMPARE = {"EQUAL": "eq", "NOT_EQUAL": "ne", "LESS": "lt", "LESS_EQUAL": "le", "GREATER": "gt", "GREATER_EQUAL": "ge",
            "NULL_EQUALS": "eq", "NULL_NOT_EQUALS": "ne"}  # fmt: skip
_JOIN = {"NULL_LOGICAL_AND": "and", "NULL_LOGICAL_OR": "or", "BITWISE_XOR": "xor"}
_TEST = {"IsNan", "IsNotNan", "IsNull", "IsNotNull", "Not"}
_MOST_WORLDS = 4096

SAID = "floats are compared, of which NaN is the largest for Polars and unequal to all on the GPU"


def unsafe_comparisons(expression: Any) -> Iterator[str]:
    """What a translated expression (cudf_polars.dsl.expr.Expr) compares that may come out in another way with NaN.

    A condition is tried over every way in which its floats may be numbers, NaN or null, and its comparisons true or
    false: it must say the same under both orders. Conditions that are too large are tried part by part.
    """
    pending = [(expression, False)]
    while pending:
        e, inside = pending.pop()
        logic = _role(e) is not None
        if logic and not inside and not _same(e):
            yield SAID
            return
        pending += [(child, logic) for child in e.children]


def _role(e: Any) -> str | None:
    """What `e` is in a condition; None of what is no part of one."""
    kind = type(e).__name__
    if kind == "BinOp":
        joins = _JOIN.get(e.op.name) if e.dtype.polars_type.is_(pl.Boolean) else None
        return "compare" if e.op.name in _COMPARE else joins
    if kind == "BooleanFunction" and e.name.name in _TEST:
        return "test"
    return "not" if kind == "UnaryFunction" and e.name == "not" and e.dtype.polars_type.is_(pl.Boolean) else None


def _same(e: Any) -> bool:
    floats: dict[Any, tuple[str, ...]] = {}
    free: dict[Any, tuple[bool | None, ...]] = {}
    _collect(e, floats, free)
    if not any("nan" in states for states in floats.values()):
        return True
    worlds = math.prod(map(len, [*floats.values(), *free.values()]))
    if worlds > _MOST_WORLDS:
        return _role(e) in ("and", "or", "xor") and all(_same(child) for child in e.children)
    keys = [*floats, *free]
    for values in itertools.product(*floats.values(), *free.values()):
        world = dict(zip(keys, values))
        if _value(e, world, total=True) != _value(e, world, total=False):
            return False
    return True


def _collect(e: Any, floats: dict[Any, tuple[str, ...]], free: dict[Any, tuple[bool | None, ...]]) -> None:
    """The floats that are compared or tested, with the states that they may be in, and what else may be true."""
    role = _role(e)
    if role in ("and", "or", "xor", "not") or (role == "test" and e.name.name == "Not"):
        for child in e.children:
            _collect(child, floats, free)
    elif role is not None and all(c.dtype.polars_type.is_float() for c in e.children):
        for child in map(_bare, e.children):
            floats[child] = _states(child)
        if role == "compare":
            free[e] = (True, False)
    else:
        free[e] = (True, False, None)


def _bare(e: Any) -> Any:
    """What is cast to a float of some width: that says whether it is NaN, null or a number."""
    while type(e).__name__ == "Cast" and e.dtype.polars_type.is_float():
        e = e.children[0]
    return e


def _states(e: Any) -> tuple[str, ...]:
    if type(e).__name__ == "Literal":
        return ("null" if e.value is None else "nan" if math.isnan(e.value) else "number",)
    return ("number", "nan", "null") if e.dtype.polars_type.is_float() else ("number", "null")


def _value(e: Any, world: dict[Any, Any], total: bool) -> bool | None:
    """Whether a condition holds; `total`: where NaN is the largest, else where it is unequal to all."""
    role = _role(e)
    name = e.name.name if role == "test" else ""
    if role == "not" or name == "Not":
        below = _value(e.children[0], world, total)
        return None if below is None else not below
    if role in ("and", "or", "xor"):
        a, b = (_value(child, world, total) for child in e.children)
        if role == "xor":
            return None if a is None or b is None else a != b
        short = role == "or"
        return short if a is short or b is short else None if a is None or b is None else not short
    if role is None or not all(c.dtype.polars_type.is_float() for c in e.children):
        return world[e]
    states: list[str] = [world[_bare(child)] for child in e.children]
    if name in ("IsNull", "IsNotNull"):
        return (states[0] == "null") == (name == "IsNull")
    if name in ("IsNan", "IsNotNan"):
        return None if states[0] == "null" else (states[0] == "nan") == (name == "IsNan")
    return _compared(e, states[0], states[1], world[e], total)


def _compared(e: Any, left: str, right: str, of_numbers: bool, total: bool) -> bool | None:
    op = _COMPARE[e.op.name]
    if "null" in (left, right):
        return None if not e.op.name.startswith("NULL") else (left == right) == (op == "eq")
    if "nan" not in (left, right):
        return of_numbers
    if not total:
        return op == "ne"
    a, b = left == "nan", right == "nan"
    return {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[op]
