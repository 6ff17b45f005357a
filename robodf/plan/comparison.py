"""Predicates in the form that sources can use: a column against a constant."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from typing import Any

import polars as pl

from robodf.errors import OptionError
from robodf.plan.expr import Call, Col, Expr, Lit

_OPS = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">=", "__eq__": "==", "__ne__": "!=", "is_in": "in"}


IN_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000}


class Nanoseconds(int):
    """A point in time as nanoseconds since 1970: what a `datetime` is too coarse for."""


def as_comparison(predicate: Expr) -> tuple[str, str, Any] | None:
    """(column, op, constant) of `column op constant`, with op one of < <= > >= == != in; None for anything else.

    For `in` the constant is a tuple; a point in time is a datetime, a date or `Nanoseconds`. Simplified predicates have
    the column on the left already.
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
    constant = value.value
    if isinstance(value.dtype, pl.Datetime) and type(constant) is int:  # as in `pl.lit(5, pl.Datetime("ns"))`
        constant = Nanoseconds(constant * IN_UNIT[value.dtype.time_unit])
    return column.ref, _OPS[predicate.fn], constant


def nanoseconds(value: Any) -> int | None:
    """A point in time as nanoseconds since 1970: a datetime (naive: UTC), a date, or None for anything else.

    Exact: datetimes have microseconds (those of pandas nanoseconds), and no float is involved.
    """
    if isinstance(value, Nanoseconds):
        return int(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        delta = aware - datetime(1970, 1, 1, tzinfo=timezone.utc)
        fine = delta.microseconds * 1_000 + getattr(value, "nanosecond", 0)
        return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + fine
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days * 86_400 * 1_000_000_000
    return None


_FRACTION = re.compile(r"(?<=:\d\d[.,])\d+")


def instant(value: Any, option: str) -> int | None:
    """A user's point in time as ns since 1970: a datetime, a date, an ISO text, or an integer of ns; None stays None.

    A time without a zone is UTC. Texts are read to the nanosecond. OptionError for anything else.

    >>> instant("1970-01-01T00:00:01.000000005", "start")
    1000000005
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _from_text(value, option)
    if isinstance(value, (datetime, date)):
        if value == value:  # pandas' NaT is a datetime too, and no point in time
            return nanoseconds(value)
    elif hasattr(value, "__index__") and not isinstance(value, bool):  # NumPy's integers too
        return int(value)
    raise OptionError(f"{option} is a datetime, a date, an ISO text or an integer of nanoseconds, not {value!r}")


def _from_text(text: str, option: str) -> int:
    # Python reads six digits of a second and leaves out the rest without a word.
    fraction = _FRACTION.search(text)
    digits = fraction.group() if fraction else ""
    try:
        whole = datetime.fromisoformat(_FRACTION.sub("0", text) if fraction else text)
    except ValueError as error:
        raise OptionError(f"{option}={text!r} is no time such as '2025-09-10T13:03:56.5'") from error
    if digits[9:].strip("0"):
        raise OptionError(f"{option}={text!r} is finer than a nanosecond")
    found = nanoseconds(whole)
    assert found is not None
    return found + int(digits[:9].ljust(9, "0") or 0)
