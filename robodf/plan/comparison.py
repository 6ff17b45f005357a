"""Predicates in the form that sources can use: a column against a constant."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

from robodf.plan.expr import Call, Col, Expr, Lit

_OPS = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">=", "__eq__": "==", "__ne__": "!=", "is_in": "in"}


def as_comparison(predicate: Expr) -> tuple[str, str, Any] | None:
    """(column, op, constant) of `column op constant`, with op one of < <= > >= == != in; None for anything else.

    For `in` the constant is a tuple. Simplified predicates have the column on the left already.
    """
    if not isinstance(predicate, Call) or predicate.fn not in _OPS or len(predicate.args) != 2 or predicate.options:
        return None
    column, value = predicate.args
    if not isinstance(column, Col):
        return None
    if predicate.fn == "is_in":
        return (column.ref, "in", value) if isinstance(value, tuple) else None
    if not isinstance(value, Lit) or isinstance(value.value, tuple):
        return None
    return column.ref, _OPS[predicate.fn], value.value


def nanoseconds(value: Any) -> int | None:
    """A point in time as nanoseconds since 1970: a datetime (naive: UTC), a date, or None for anything else.

    Exact: datetimes have microseconds, and no float is involved.
    """
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        delta = aware - datetime(1970, 1, 1, tzinfo=timezone.utc)
        return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days * 86_400 * 1_000_000_000
    return None
