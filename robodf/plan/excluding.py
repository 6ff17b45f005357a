"""Which predicates no row can satisfy, where it is known between which values a column of some rows lies.

The one judge of statistics: of row groups by footers, of files by the logs of tables.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

import polars as pl

from robodf.plan.bounds import slack
from robodf.plan.comparison import IN_UNIT, Nanoseconds, as_comparison, nanoseconds
from robodf.plan.expr import Call, Col, Expr, Lit

_EXACT = 1 << 53
"""Integers up to here are floats too."""


class Known(NamedTuple):
    """What is known of a column in some rows; None is not known.

    No value but NaN is less than `low` or above `high`. They are as the column holds them: a date in days since 1970, a
    time in units of the column. Polars has NaN above all numbers.
    """

    low: Any = None
    high: Any = None
    nulls: int | None = None
    nan: bool = True  # there may be some


def excludes(
    predicate: Expr, schema: Mapping[str, pl.DataType], known: Callable[[str], Known | None], rows: int | None
) -> bool:
    """True where no row, of some that `known` tells of by column, satisfies a predicate. `rows` is their number.

    >>> import robodf as rd
    >>> hot = rd.col("t").is_null() | (rd.col("t") > 90)
    >>> excludes(hot, {"t": pl.Int64()}, {"t": Known(10, 40, nulls=0)}.get, 100)
    True
    >>> excludes(hot, {"t": pl.Int64()}, {"t": Known(10, 40)}.get, 100)
    False
    """
    if rows == 0:
        return True
    if not isinstance(predicate, Call) or predicate.options:
        return False
    if predicate.fn in ("__and__", "__or__"):
        parts = (isinstance(p, Expr) and excludes(p, schema, known, rows) for p in predicate.args)
        return any(parts) if predicate.fn == "__and__" else all(parts)
    column = predicate.args[0] if predicate.args else None
    told = known(column.ref) if isinstance(column, Col) else None
    if not isinstance(column, Col) or told is None or column.ref not in schema:
        return False
    only_nulls = told.nulls is not None and told.nulls == rows
    if predicate.fn in ("is_null", "is_not_null"):
        return told.nulls == 0 if predicate.fn == "is_null" else only_nulls
    if predicate.fn == "str.starts_with":
        return only_nulls or _no_start(predicate, told)
    found = as_comparison(predicate)
    if found is None:
        return False
    _, op, value = found
    if only_nulls:
        return True  # to compare a null gives a null
    if op == "in":
        return all(_outside("==", one, told, predicate, schema[column.ref]) for one in value)
    return _outside(op, value, told, predicate, schema[column.ref])


def ordered_alike(dtype: pl.DataType) -> bool:
    """Whether statistics are in the order that Polars compares by: that of an Enum is not that of its texts."""
    return dtype.is_integer() or dtype.is_float() or isinstance(dtype, (pl.Boolean, pl.String, pl.Date, pl.Datetime))


def held(value: Any, dtype: pl.DataType, up: bool = False) -> Any:
    """A bound that Python has as a date or a time, as `Known` has it (`up`: no less); None: it is of another type."""
    if isinstance(dtype, pl.Datetime):
        at, unit = nanoseconds(value) if isinstance(value, datetime) else None, IN_UNIT[dtype.time_unit]
        return None if at is None else -(-at // unit) if up else at // unit
    if isinstance(dtype, pl.Date):
        return (value - date(1970, 1, 1)).days if type(value) is date else None
    return value


def _outside(op: str, value: Any, told: Known, predicate: Expr, dtype: pl.DataType) -> bool:
    """Whether all of what is not null, or none of it, lies where `op value` is not true."""
    if value is None:
        return True
    least, greatest = _taken_for(value, predicate, dtype)
    if least is None or told.low is None or told.high is None:
        return False
    if type(told.low) is not type(least) or type(told.high) is not type(least):
        return False
    unit = IN_UNIT[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
    low, high = (told.low * unit, told.high * unit) if unit > 1 else (told.low, told.high)
    if not low <= high or (dtype.is_float() and told.nan and op in (">", ">=", "!=")):
        return False  # the bounds are wrong, or NaN would do
    return {"<": low >= greatest, "<=": low > greatest, ">": high <= least, ">=": high < least,
            "==": greatest < low or least > high, "!=": low == least == greatest == high}.get(op, False)  # fmt: skip


def _taken_for(value: Any, predicate: Expr, dtype: pl.DataType) -> tuple[Any, Any]:
    """The least and the greatest that Polars may take a constant for beside a column; Nones: it is not comparable.

    Times are nanoseconds: where units differ, versions of Polars round to the coarser one. A literal beside a column of
    32-bit floats is rounded to one, or is not.
    """
    if isinstance(dtype, pl.Datetime):
        fits = isinstance(value, datetime) and (value.tzinfo is None) == (dtype.time_zone is None)
        at = nanoseconds(value) if fits or isinstance(value, Nanoseconds) else None
        by = slack(predicate, dtype)
        return (None, None) if at is None else (at - by, at + by)
    if isinstance(dtype, pl.Date):
        days = held(value, dtype)
        return days, days
    if dtype.is_float():
        if type(value) is int and abs(value) <= _EXACT:
            value = float(value)
        if type(value) is not float or value != value:
            return None, None
        forms = (value, _rounded(value)) if dtype == pl.Float32 else (value,)
        return min(forms), max(forms)
    wanted = int if dtype.is_integer() else bool if dtype == pl.Boolean else str if dtype == pl.String else None
    return (value, value) if type(value) is wanted else (None, None)


def _rounded(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:  # above all 32-bit floats
        return float("inf") if value > 0 else float("-inf")


def _no_start(predicate: Call, told: Known) -> bool:
    """Whether no text between two starts as asked for."""
    prefix = predicate.args[1] if len(predicate.args) == 2 else None
    prefix = prefix.value if isinstance(prefix, Lit) else prefix
    if not isinstance(prefix, str) or not isinstance(told.low, str) or not isinstance(told.high, str):
        return False
    return told.high < prefix or told.low[: len(prefix)] > prefix
