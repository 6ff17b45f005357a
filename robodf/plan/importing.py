"""A user's `pl.Expr` as robodf's nodes, so that `pl.col("x") > 1` is pushed down like `rd.col("x") > 1`.

Polars shows an expression only as JSON, whose form may change. So nothing is taken on trust: what was built is
lowered again, and kept only if Polars finds it equal to the user's expression. Otherwise the whole expression
stays as it is, a `Native`, which runs but is not pushed into sources.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from robodf.plan.expr import Call, Col, Expr, Lit, Native

_MOST_BYTES = 1 << 22
"""Larger expressions hold data (a list of a million ids): reading their JSON would take seconds."""

_BINARY = {
    "Plus": "__add__",
    "Minus": "__sub__",
    "Multiply": "__mul__",
    "TrueDivide": "__truediv__",
    "RustDivide": "__truediv__",
    "FloorDivide": "__floordiv__",
    "Modulus": "__mod__",
    "And": "__and__",
    "Or": "__or__",
    "Xor": "__xor__",
    "Eq": "__eq__",
    "NotEq": "__ne__",
    "Lt": "__lt__",
    "LtEq": "__le__",
    "Gt": "__gt__",
    "GtEq": "__ge__",
    "EqValidity": "eq_missing",
    "NotEqValidity": "ne_missing",
}
_BOOLEAN = {
    "Not": "__invert__",
    "IsNull": "is_null",
    "IsNotNull": "is_not_null",
    "IsNan": "is_nan",
    "IsNotNan": "is_not_nan",
    "IsFinite": "is_finite",
    "IsInfinite": "is_infinite",
}
_SIMPLE = {"Negate": "__neg__", "Abs": "__abs__"}
_CLOSED = {"Both": "both", "Left": "left", "Right": "right", "None": "none"}
_UNITS = {"Nanoseconds": "ns", "Microseconds": "us", "Milliseconds": "ms"}
_VALUES = (bool, int, float, str, bytes, datetime, date, timedelta, time, Decimal)


class _Unknown(Exception):
    """A part that is not understood."""


def import_polars(e: pl.Expr) -> Expr:
    """`e` in robodf's nodes where all of it is understood, else `Native(e)`.

    >>> import polars as pl
    >>> import_polars(pl.col("a").is_in([1, 2]) & (pl.col("b") > 0.5))
    col("a").is_in([1, 2]) & (col("b") > 0.5)
    >>> import_polars(pl.col("a").sum())
    polars[col("a").sum()]
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the form is unstable: it is checked below
            text = e.meta.serialize(format="json")
        if len(text) > _MOST_BYTES:
            return Native(e)
        made = _expr(json.loads(text))
        return made if made.polars.meta.eq(e) else Native(e)
    except (_Unknown, RecursionError, ValueError, TypeError, pl.exceptions.PolarsError):
        # An expression with a Python function has no JSON; one that Polars refuses was read wrongly.
        return Native(e)


def _expr(tree: Any) -> Expr:
    if not isinstance(tree, dict) or len(tree) != 1:
        raise _Unknown
    ((kind, body),) = tree.items()
    reader = _READERS.get(kind)
    if reader is None:
        raise _Unknown
    try:
        return reader(body)
    except (KeyError, IndexError, AttributeError) as error:  # this version of Polars writes it another way
        raise _Unknown from error


def _column(body: Any) -> Expr:
    if not isinstance(body, str):
        raise _Unknown
    return Col(body)


def _alias(body: Any) -> Expr:
    inner, name = body
    return Call("alias", (_expr(inner), name))


def _binary(body: Any) -> Expr:
    return Call(_BINARY[body["op"]], (_expr(body["left"]), _expr(body["right"])))


def _ternary(body: Any) -> Expr:
    branches = [_expr(body["predicate"]), _expr(body["truthy"])]
    otherwise = body["falsy"]
    while isinstance(otherwise, dict) and "Ternary" in otherwise:
        inner = otherwise["Ternary"]
        branches += [_expr(inner["predicate"]), _expr(inner["truthy"])]
        otherwise = inner["falsy"]
    return Call("pl.when", (*branches, _expr(otherwise)))


def _cast(body: Any) -> Expr:
    dtype = _dtype(body["dtype"]["Literal"])
    options: tuple = ()
    if body["options"] == "NonStrict":
        options = (("strict", False),)
    elif body["options"] == "Overflowing":
        options = (("wrap_numerical", True),)
    elif body["options"] != "Strict":
        raise _Unknown
    return Call("cast", (_expr(body["expr"]), dtype), options)


def _dtype(form: Any) -> Any:
    if isinstance(form, str):
        dtype = getattr(pl, form, None)
        if isinstance(dtype, type) and issubclass(dtype, pl.DataType) and not dtype.is_nested():
            return dtype
    elif isinstance(form, dict) and len(form) == 1:
        ((kind, body),) = form.items()
        if kind == "Datetime":
            unit, zone = body
            return pl.Datetime(_UNITS[unit], zone["inner"] if zone else None)  # type: ignore[arg-type]
        if kind == "Duration":
            return pl.Duration(_UNITS[body])  # type: ignore[arg-type]
        if kind == "Decimal":
            precision, scale = body
            return pl.Decimal(precision, scale)
    raise _Unknown


def _call(body: Any) -> Expr:
    inputs, what = body["input"], body["function"]
    if isinstance(what, str):
        (only,) = inputs
        return Call(_SIMPLE[what], (_expr(only),))
    ((kind, form),) = what.items()
    if kind == "Boolean" and isinstance(form, str):
        (only,) = inputs
        return Call(_BOOLEAN[form], (_expr(only),))
    if kind == "Boolean" and "IsIn" in form:
        return _is_in(inputs, form["IsIn"]["nulls_equal"])
    if kind == "Boolean" and "IsBetween" in form:
        value, low, high = map(_expr, inputs)
        return Call("is_between", (value, low, high), (("closed", _CLOSED[form["IsBetween"]["closed"]]),))
    if kind == "Pow":
        base, exponent = inputs
        return Call("__pow__", (_expr(base), _expr(exponent)))
    if kind == "StructExpr" and isinstance(form["FieldByName"], str):
        (only,) = inputs
        return Call("struct.field", (_expr(only), form["FieldByName"]))
    raise _Unknown


def _is_in(inputs: list, nulls_equal: bool) -> Expr:
    value, others = inputs
    literal = others["Literal"]
    if nulls_equal or "List" not in literal.get("Scalar", {}):
        raise _Unknown
    items = _evaluated(others).to_list()[0]
    if not all(item is None or isinstance(item, _VALUES) for item in items):
        raise _Unknown
    return Call("is_in", (_expr(value), tuple(items)))


def _literal(body: Any) -> Expr:
    if "Dyn" in body:  # a number without a type: it takes that of what it meets
        ((kind, value),) = body["Dyn"].items()
        if kind not in ("Int", "Float") or value is None:  # JSON has no NaN and no infinities
            raise _Unknown
        return Lit(int(value) if kind == "Int" else float(value))
    if "Scalar" not in body or "List" in body["Scalar"] or "Struct" in body["Scalar"]:
        raise _Unknown
    column = _evaluated({"Literal": body})
    value, dtype = column.to_list()[0], column.dtype
    if value is not None and not isinstance(value, _VALUES):
        raise _Unknown
    original = _deserialized({"Literal": body})
    for made in (Lit(value), Lit(value, dtype)):  # the second where the type is not the one that Python's value has
        if made.polars.meta.eq(original):
            return made
    raise _Unknown  # nanoseconds, which Python's datetime does not hold


def _deserialized(tree: Any) -> pl.Expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pl.Expr.deserialize(io.BytesIO(json.dumps(tree).encode()), format="json")


def _evaluated(tree: Any) -> pl.Series:
    return pl.select(_deserialized(tree).alias("value")).to_series()


_READERS: dict[str, Callable[[Any], Expr]] = {
    "Column": _column,
    "Literal": _literal,
    "Alias": _alias,
    "BinaryExpr": _binary,
    "Ternary": _ternary,
    "Cast": _cast,
    "Function": _call,
}
