"""Dates, times and intervals."""

from __future__ import annotations

import datetime as dt
import re

import polars as pl
from sqlglot import exp

from robodf.plan.expr import Call, Expr, Lit
from robodf.sql.errors import missing
from robodf.sql.operators import cast
from robodf.sql.stage import Stage

_SECONDS = {"microsecond": 1e-6, "millisecond": 1e-3, "second": 1, "minute": 60, "hour": 3600, "day": 86_400,
            "week": 604_800}  # fmt: skip
_MONTHS = {"month": 1, "quarter": 3, "year": 12, "decade": 120, "century": 1200}
_SHORT = {"us": "microsecond", "usec": "microsecond", "ms": "millisecond", "msec": "millisecond", "s": "second",
          "sec": "second", "m": "minute", "min": "minute", "h": "hour", "hr": "hour", "d": "day", "w": "week",
          "mon": "month", "mons": "month", "y": "year", "yr": "year", "dayofweek": "dow", "weekday": "dow",
          "dayofyear": "doy", "weekofyear": "week", "dayofmonth": "day", "centurie": "century",
          "centuries": "century"}  # fmt: skip
_CLOCK = re.compile(r"^(-?)(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?$")
_PAIR = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def unit(name: str) -> str:
    """`HOURS`, `hr`, `h` as `hour`."""
    name = name.lower()
    for candidate in (name, name.removesuffix("s")):
        if candidate in _SHORT:
            return _SHORT[candidate]
        if candidate in _SECONDS or candidate in _MONTHS or candidate in PARTS:
            return candidate
    return name


# -- parts ----------------------------------------------------------------------------------------------------


def _seconds(e: Expr) -> Expr:
    nanoseconds = Call("dt.epoch", (e, "ns"))
    return Call("__truediv__", (cast(nanoseconds, pl.Float64), Lit(1e9)))


def _fraction(e: Expr, scale: int) -> Expr:
    whole = Call("__mul__", (cast(Call("dt.second", (e,)), pl.Int64), Lit(scale)))
    return Call(
        "__add__", (whole, Call("__floordiv__", (cast(Call("dt.nanosecond", (e,)), pl.Int64), Lit(10**9 // scale))))
    )


PARTS = {
    "year": lambda e: Call("dt.year", (e,)), "month": lambda e: Call("dt.month", (e,)),
    "day": lambda e: Call("dt.day", (e,)), "hour": lambda e: Call("dt.hour", (e,)),
    "minute": lambda e: Call("dt.minute", (e,)), "second": lambda e: Call("dt.second", (e,)),
    "millisecond": lambda e: _fraction(e, 1_000), "microsecond": lambda e: _fraction(e, 1_000_000),
    "nanosecond": lambda e: _fraction(e, 10**9), "epoch": _seconds,
    "quarter": lambda e: Call("dt.quarter", (e,)), "week": lambda e: Call("dt.week", (e,)),
    "doy": lambda e: Call("dt.ordinal_day", (e,)), "isodow": lambda e: Call("dt.weekday", (e,)),
    "dow": lambda e: Call("__mod__", (Call("dt.weekday", (e,)), Lit(7))),
    "isoyear": lambda e: Call("dt.iso_year", (e,)),
    "century": lambda e: Call("dt.century", (e,)),
}  # fmt: skip
"""The parts of a time, by name."""


def part(stage: Stage, node: exp.Expr, name: str, e: Expr) -> Expr:
    """`extract(name from e)`."""
    found = PARTS.get(unit(name))
    if found is None:
        raise stage.query.fail(node, missing("part of a time", name, PARTS, "Parts"))
    dtype = stage.dtype(e)
    if isinstance(dtype, pl.Duration) and unit(name) == "epoch":
        return Call("__truediv__", (cast(Call("dt.total_nanoseconds", (e,)), pl.Float64), Lit(1e9)))
    if dtype == pl.Date:
        e = Call("cast", (e, pl.Datetime("us")))
    elif not isinstance(dtype, pl.Datetime):
        raise stage.query.fail(node, f"{name} is a part of a date or timestamp, not of {dtype}")
    made = found(e)
    return made if unit(name) == "epoch" else cast(made, pl.Int64)


_TRUNCATED = {"microsecond": "1us", "millisecond": "1ms", "second": "1s", "minute": "1m", "hour": "1h", "day": "1d",
              "week": "1w", "month": "1mo", "quarter": "1q", "year": "1y", "decade": "10y",
              "century": "100y"}  # fmt: skip


def truncated(stage: Stage, node: exp.Expr, name: str, e: Expr) -> Expr:
    """`date_trunc(name, e)`: a timestamp."""
    if unit(name) not in _TRUNCATED:
        raise stage.query.fail(node, missing("part of a time", name, _TRUNCATED, "Parts"))
    if stage.dtype(e) == pl.Date:
        e = Call("cast", (e, pl.Datetime("us")))
    return Call("dt.truncate", (e, _TRUNCATED[unit(name)]))


_BUCKETS_FROM = dt.datetime(2000, 1, 3)  # DuckDB's: a Monday


def bucket(width: dt.timedelta, e: Expr, dtype: pl.DataType, origin: dt.datetime) -> Expr:
    """`time_bucket(width, e)`: the start of the bucket of this width that `e` lies in, counted from `origin`."""
    if dtype == pl.Date:
        e = Call("cast", (e, pl.Datetime("us")))
    microsecond = dt.timedelta(microseconds=1)
    every = width // microsecond
    # Polars' buckets begin with 1970.
    shift = ((origin - dt.datetime(1970, 1, 1)) // microsecond) % every
    if not shift:
        return Call("dt.truncate", (e, f"{every}us"))
    offset = Lit(shift * microsecond)
    return Call("__add__", (Call("dt.truncate", (Call("__sub__", (e, offset)), f"{every}us")), offset))


def bucket_origin(given: object) -> dt.datetime | None:
    """Where buckets are counted from: a time, or a length of time after DuckDB's own; None for anything else."""
    if given is None:
        return _BUCKETS_FROM
    if isinstance(given, dt.timedelta):
        return _BUCKETS_FROM + given
    if isinstance(given, dt.datetime):
        return given.replace(tzinfo=None)
    return dt.datetime(given.year, given.month, given.day) if isinstance(given, dt.date) else None


# -- intervals ------------------------------------------------------------------------------------------------


def interval(stage: Stage, node: exp.Interval) -> Expr:
    """An interval of fixed length, as a duration. Months and years have none: they go with a time and + or -."""
    months, length = _parsed(stage, node)
    if months:
        raise stage.query.fail(node, "months and years differ in length: add them to a time, or count in days")
    return length


def shifted(stage: Stage, node: exp.Binary, sign: str) -> Expr | None:
    """`time + INTERVAL '1 month'`, which goes by the calendar; None for all that is not of this form."""
    from robodf.sql.expressions import compile_expr

    operands = [node.this, node.expression]
    if isinstance(operands[0], exp.Interval) and sign == "+":
        operands.reverse()
    if not isinstance(operands[1], exp.Interval):
        return None
    months, length = _parsed(stage, operands[1])
    if not months:
        return None
    e = compile_expr(stage, operands[0])
    dtype = stage.dtype(e)
    if dtype == pl.Date:
        e = Call("cast", (e, pl.Datetime("us")))
    elif not isinstance(dtype, pl.Datetime):
        raise stage.query.fail(node, f"an interval is added to a date or timestamp, not to {dtype}")
    moved = Call("dt.offset_by", (e, f"{months if sign == '+' else -months}mo"))
    if isinstance(length, Lit) and not length.value:
        return moved
    return Call("__add__" if sign == "+" else "__sub__", (moved, length))


def _parsed(stage: Stage, node: exp.Interval) -> tuple[int, Expr]:
    """(months, the rest as a duration)."""
    from robodf.sql.expressions import compile_expr

    amount, named = node.this, node.args.get("unit")
    while isinstance(amount, exp.Paren):
        amount = amount.this
    if named is None:
        if not isinstance(amount, exp.Literal):
            raise stage.query.fail(node, "an interval is written INTERVAL '1 day' or INTERVAL (n) DAY")
        return _from_text(stage, node, amount.name)
    name = unit(named.name)
    if isinstance(amount, exp.Literal):
        return _from_text(stage, node, f"{amount.name} {name}")
    if name not in _SECONDS:
        raise stage.query.fail(node, f"a computed interval is counted in {', '.join(_SECONDS)}")
    return 0, duration(compile_expr(stage, amount), name)


def duration(amount: Expr, name: str) -> Expr:
    """A number of units as a duration in microseconds."""
    count = Call("__mul__", (cast(amount, pl.Float64), Lit(_SECONDS[name] * 1e6)))
    return Call("cast", (cast(Call("round", (count,)), pl.Int64), pl.Duration("us")))


def _from_text(stage: Stage, node: exp.Expr, text: str) -> tuple[int, Expr]:
    clock = _CLOCK.match(text.strip())
    if clock:
        sign, hours, minutes, seconds = clock.groups()
        length = dt.timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds or 0))
        return 0, Lit(-length if sign else length)
    months, length, at = 0, dt.timedelta(), 0
    while at < len(text.rstrip()):
        pair = _PAIR.match(text, at)
        name = unit(pair.group(2)) if pair else ""
        if pair is None or (name not in _SECONDS and name not in _MONTHS):
            raise stage.query.fail(node, f"{text!r} is no interval; write '2 days', '1 hour 30 minutes' or '01:30:00'")
        number = float(pair.group(1))
        if name in _MONTHS:
            if number != int(number):
                raise stage.query.fail(node, "months and years are counted in whole numbers")
            months += int(number) * _MONTHS[name]
        else:
            length += dt.timedelta(microseconds=round(number * _SECONDS[name] * 1e6))
        at = pair.end()
    return months, Lit(length)
