"""Between which values a column lies, as far as predicates and metadata tell: for planning by time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from robodf.plan.comparison import as_comparison, nanoseconds
from robodf.plan.expr import Call, Expr, Lit

Bounds = tuple[int | None, int | None]
"""The least and the greatest value there can be (inclusive), in the column's own unit; None: not known.

Nulls are not counted. Both may be wider than what the rows have, never narrower.
"""

UNKNOWN: Bounds = (None, None)

_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000}


def both(a: Bounds, b: Bounds) -> Bounds:
    """The bounds of what satisfies both."""
    lows, highs = [x for x in (a[0], b[0]) if x is not None], [x for x in (a[1], b[1]) if x is not None]
    return max(lows, default=None), min(highs, default=None)


def either(parts: Iterable[Bounds]) -> Bounds:
    """The bounds of what satisfies one of them; unknown for none at all."""
    lows, highs = zip(*parts)
    return (
        None if any(x is None for x in lows) else min(lows),
        None if any(x is None for x in highs) else max(highs),
    )


def narrowed(known: Bounds, predicates: Iterable[Expr], column: str, dtype: pl.DataType) -> Bounds:
    """`known`, for the rows that also satisfy the predicates."""
    for predicate in predicates:
        found = as_comparison(predicate)
        if found is not None and found[0] == column:
            known = both(known, _of(found[1], found[2], slack(predicate, dtype), dtype))
    return known


def _of(op: str, constant: Any, slack: int, dtype: pl.DataType) -> Bounds:
    if op == "in":
        each = [_of("==", value, slack, dtype) for value in constant]
        return either(each) if each else UNKNOWN
    if dtype.is_integer():
        if type(constant) is not int:
            return UNKNOWN
        low = high = constant
    elif isinstance(dtype, pl.Datetime):
        at = nanoseconds(constant)
        if at is None:
            return UNKNOWN
        unit = _UNITS[dtype.time_unit]
        low, high = (at - slack) // unit, -(-(at + slack) // unit)
    else:
        return UNKNOWN
    # `<` and `>` are taken as `<=` and `>=`: one unit more is nothing.
    return {"<": (None, high), "<=": (None, high), ">": (low, None), ">=": (low, None), "==": (low, high)}.get(
        op, UNKNOWN
    )


def slack(predicate: Expr, dtype: pl.DataType) -> int:
    """By how many ns a comparison of times may be off: Polars compares in the coarser of the two units."""
    if not isinstance(dtype, pl.Datetime):
        return 0
    constant = predicate.args[1] if isinstance(predicate, Call) else None
    given = constant.dtype if isinstance(constant, Lit) else None
    unit = given.time_unit if isinstance(given, pl.Datetime) else "us"
    return 0 if unit == dtype.time_unit else max(_UNITS[unit], _UNITS[dtype.time_unit])
