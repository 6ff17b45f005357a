"""Lengths of time as users write them, in the units of the column that they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import polars as pl

from robodf.errors import OptionError, SchemaError
from robodf.plan.comparison import IN_UNIT, instant
from robodf.plan.expr import Call, Col, Expr, Lit

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9,
          "h": 3_600 * 10**9, "d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|μs|ms|s|m|h|d|w)\s*", re.IGNORECASE)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*hz", re.IGNORECASE)
_LIMIT = 1 << 63
_EXACT = 1 << 54  # microseconds: 570 years on each side of 1970, well inside of what a datetime holds


def nanoseconds_of(value: Any, option: str) -> int:
    """A length of time in ns: a timedelta, or a text such as "20ms", "-1.5s" or "1h30m" (a day is 24 hours).

    OptionError for what is no length of time, or is finer than a nanosecond.

    >>> nanoseconds_of("-1.5ms", "by")
    -1500000
    """
    if isinstance(value, timedelta):
        # pandas' Timedelta is one too, and has nanoseconds.
        whole = (value.days * 86_400 + value.seconds) * 10**9 + value.microseconds * 1_000
        return _bounded(whole + getattr(value, "nanoseconds", 0), value, option)
    if not isinstance(value, str):
        raise OptionError(f'{option} is a timedelta or a text such as "20ms" or "1h30m", not {value!r}')
    text = value.strip()
    sign, text = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text) or len(text) > 100:
        raise OptionError(f"{option}={value!r} is no length of time such as '20ms', '-1.5s' or '1h30m'")
    total = sum((Fraction(number) * _UNITS[unit.lower()] for number, unit in parts), Fraction(0))
    if total.denominator != 1:
        raise OptionError(f"{option}={value!r} is finer than a nanosecond")
    return _bounded(sign * int(total), value, option)


def _bounded(found: int, value: Any, option: str) -> int:
    if not -_LIMIT < found < _LIMIT:
        raise OptionError(f"{option}={value!r} is longer than 292 years, which 64 bits of nanoseconds do not hold")
    return found


def period_of(value: Any, option: str) -> int:
    """The time between ticks in ns: a length of time, or a rate such as "50hz" (to the nearest nanosecond).

    >>> period_of("50hz", "every"), period_of("20ms", "every")
    (20000000, 20000000)
    """
    rate = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if rate is not None and Fraction(rate.group(1)):
        found = _bounded(round(10**9 / Fraction(rate.group(1))), value, option)
    else:
        found = nanoseconds_of(value, option) if rate is None else 0
    if found <= 0:
        raise OptionError(f"{option}={value!r} must be longer than nothing")
    return found


def is_time(dtype: pl.DataType) -> bool:
    """True of the types that robodf's operators on time take: points in time, lengths of time, and integers."""
    return isinstance(dtype, (pl.Datetime, pl.Duration)) or dtype.is_integer()


def check_time(name: str, dtype: pl.DataType, doing: str) -> None:
    """SchemaError where a column cannot be the time of rows."""
    if not is_time(dtype):
        raise SchemaError(
            f"{doing}: the column {name!r} is {dtype}; a time is a Datetime, a Duration or an integer. Cast it first"
        )


def in_units(value: Any, dtype: pl.DataType, option: str, name: str) -> int:
    """A length of time in the units that the column `name` counts; of a column of integers, a whole number."""
    if dtype.is_integer():
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise OptionError(f"{option}={value!r}: {name!r} is a column of integers, so give a whole number")
        return int(value)
    length = nanoseconds_of(value, option)
    whole, rest = divmod(length, IN_UNIT[dtype.time_unit])  # type: ignore[attr-defined]
    if rest:
        raise OptionError(
            f"{option}={value!r} is finer than the {dtype.time_unit} that {name!r} counts: "  # type: ignore[attr-defined]
            f'cast it, with_columns(rd.col("{name}").dt.cast_time_unit("ns"))'
        )
    return whole


def shifted(name: str, units: int, dtype: pl.DataType) -> Expr:
    """The column `name` of that type, later by a number of its units; it stays of its type."""
    op = "__sub__" if units < 0 else "__add__"
    if dtype.is_integer() and dtype != pl.Int64:
        # Polars' own sums of small or unsigned integers begin again at the other end; the cast fails instead.
        wide = Call(op, (Call("cast", (Col(name), pl.Int128())), Lit(abs(units), pl.Int128())))
        return Call("cast", (wide, dtype))
    # Not a timedelta: added to nanoseconds it makes microseconds of them.
    kind = dtype if dtype.is_integer() else pl.Duration(dtype.time_unit)  # type: ignore[attr-defined]
    return Call(op, (Col(name), Lit(abs(units), kind)))


def point(nanoseconds: int, dtype: pl.DataType) -> Lit:
    """The first moment of a column of times that is not before a time given in ns, as a constant of its type."""
    units = -(-nanoseconds // IN_UNIT[dtype.time_unit])  # type: ignore[attr-defined]
    return moment(max(-_LIMIT, min(units, _LIMIT - 1)), dtype)


def moment(units: int, dtype: pl.DataType) -> Lit:
    """A point in time, given in the units of a column of times, as a constant of its type."""
    micros, rest = divmod(units * IN_UNIT[dtype.time_unit], 1_000)  # type: ignore[attr-defined]
    if rest == 0 and dtype.time_zone is None and abs(micros) < _EXACT:  # type: ignore[attr-defined]
        return Lit(datetime(1970, 1, 1) + timedelta(microseconds=micros), dtype)  # the same, and people can read it
    return Lit(units, dtype)


def units_of(value: Lit, dtype: pl.DataType) -> tuple[int, int] | None:
    """(units, how many of them the constant's own unit has) of a constant time or length in the units of `dtype`.

    None for another kind of constant, another time zone, or one in finer units than those of `dtype`.
    """
    unit = IN_UNIT[dtype.time_unit]  # type: ignore[attr-defined]
    kind = pl.Duration if isinstance(value.value, timedelta) else pl.Datetime
    own = value.dtype
    if own is None and isinstance(value.value, (timedelta, datetime)) and not getattr(value.value, "tzinfo", None):
        own = kind("us")
    if type(own) is not type(dtype) or getattr(own, "time_zone", None) != getattr(dtype, "time_zone", None):
        return None
    step, rest = divmod(IN_UNIT[own.time_unit], unit)  # type: ignore[union-attr]
    if rest:
        return None
    if type(value.value) is int:
        return value.value * step, step
    if isinstance(value.value, timedelta) and kind is type(own):
        whole, rest = divmod(nanoseconds_of(value.value, "a timedelta"), unit)
    elif isinstance(value.value, datetime) and kind is type(own) and value.value.tzinfo is None:
        whole, rest = divmod(instant(value.value, "a time") or 0, unit)
    else:
        return None
    return None if rest else (whole, step)


def exact_times(e: Expr, schema: Mapping[str, pl.DataType]) -> Expr:
    """A condition in which times in ns are compared with constants in coarser units by their ns.

    Versions of Polars round the column to the units of the constant, or do not: one second and 1 ns is not at or before
    one second. (`>=` and `<` come to the same either way.)
    """
    if not isinstance(e, Call) or e.options:
        return e
    if e.fn in ("__and__", "__or__", "__invert__"):
        parts = tuple(exact_times(a, schema) if isinstance(a, Expr) else a for a in e.args)
        return e if all(a is b for a, b in zip(parts, e.args)) else Call(e.fn, parts)
    if e.fn not in ("__gt__", "__le__", "__eq__", "__ne__"):
        return e
    column, bound = e.args
    if not isinstance(column, Col) or not isinstance(bound, Lit) or type(bound.value) is not datetime:
        return e
    dtype = schema.get(column.ref)
    if not isinstance(dtype, pl.Datetime) or dtype.time_unit != "ns" or dtype.time_zone is not None:
        return e
    limit = units_of(bound, dtype)
    return e if limit is None or limit[1] == 1 else Call(e.fn, (column, moment(limit[0], dtype)))
