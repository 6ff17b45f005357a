"""The row and the values that a traced function is called with.

A value computes an expression that gives what Python would give for each row. Where Polars would give something
else (NaN is the largest number there, `==` on null gives null, small integers wrap around), either the expression is
written so that it agrees, or the value notes a doubt and the function runs row by row. Once a method of expressions
was called, as in `x["name"].str.contains("arm")`, the function can only mean expressions, and doubts no longer count.

Where Python raises, an expression gives null or infinity: a missing value in arithmetic or in `<`, a division by
zero, an index outside of a list. Integers of 64 bits wrap around where Python's grow.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import column_not_found
from robodf.plan.expr import Call, Col, Expr, Lit, Method, conjunction, conjuncts

CONSTANTS = (bool, int, float, str, bytes, type(None), datetime, date, time, timedelta, np.float64, np.int64, np.bool_)

_ROW_TYPES = (bool, int, float, str, bytes, type(None), list, dict, datetime, date, time, timedelta, Decimal)
_PYTHON_NAMES = frozenset(name for kind in _ROW_TYPES for name in dir(kind))
_INT64 = range(-(2**63), 2**63)
_ORDER = {"__lt__", "__le__", "__gt__", "__ge__"}
_MIRROR = {"__lt__": "__gt__", "__le__": "__ge__", "__gt__": "__lt__", "__ge__": "__le__"}


class Refused(Exception):
    """The function is not traced, for this reason."""


class Tracer:
    """What is known while a function is traced: the schema, and whether expressions must be meant."""

    def __init__(self, schema: Mapping[str, Any]):
        self.schema = dict(schema)
        self.empty = pl.LazyFrame(schema=self.schema)
        self.written = False  # a method of expressions was called
        self.doubt = ""

    def doubts(self, why: str) -> None:
        self.doubt = self.doubt or why

    def dtype(self, e: Expr) -> Any:
        return self.empty.select(e.polars.alias("value")).collect_schema()["value"]


class Row:
    """`x` in `lambda x: x["a"] > 1`."""

    __iter__ = None  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tracer: Tracer):
        self._tracer = tracer

    def __getitem__(self, name: Any) -> Value:
        if not isinstance(name, str):
            raise Refused(f"it reads x[{type(name).__name__}]; a row has names")
        if name not in self._tracer.schema:
            raise column_not_found(name, self._tracer.schema, "the function's row")
        return Value(self._tracer, Col(name))

    def keys(self) -> list[str]:
        """The columns: what `{**x}` asks for."""
        return list(self._tracer.schema)

    def __getattr__(self, name: str) -> Any:
        raise Refused(f"it uses .{name} of the row")

    def __str__(self) -> str:
        raise Refused("it makes a text of the row")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise Refused("it compares the whole row")


class _Bound:
    """`x["a"].str`, or `x["a"].str.contains` before the call."""

    def __init__(self, tracer: Tracer, method: Method):
        self._tracer, self._method = tracer, method

    def __getattr__(self, name: str) -> _Bound:
        return _Bound(self._tracer, getattr(self._method, name))

    def __call__(self, *args: Any, **options: Any) -> Value:
        self._tracer.written = True
        made = self._method(*map(_plain, args), **{name: _plain(v) for name, v in options.items()})
        return Value(self._tracer, made)


class Value:
    """A value of the row, or one computed from it."""

    __iter__ = None  # type: ignore[assignment]
    __array_ufunc__ = None

    def __init__(self, tracer: Tracer, expr: Expr):
        self._tracer, self._expr = tracer, expr
        self._dtype = tracer.dtype(expr)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _PYTHON_NAMES and not self._tracer.written:
            raise Refused(f".{name} is a method of Python's values too, and means something else there")
        return _Bound(self._tracer, getattr(self._expr, name))

    def __getitem__(self, key: Any) -> Value:
        dtype = self._dtype
        if isinstance(dtype, pl.Struct) and isinstance(key, str):
            fields = [f.name for f in dtype.fields]
            if key not in fields:
                raise column_not_found(key, fields, f"{self._expr!r}")
            return Value(self._tracer, Call("struct.field", (self._expr, key)))
        if isinstance(dtype, (pl.List, pl.Array)) and type(key) is int and key in range(-(2**31), 2**31):
            space = "list" if isinstance(dtype, pl.List) else "arr"
            return Value(self._tracer, Call(f"{space}.get", (self._expr, key), (("null_on_oob", True),)))
        raise Refused(f"it reads [{key!r}] of {dtype}")

    def __bool__(self) -> bool:
        raise Refused("it decides on a value (and, or, not, if)")

    def __str__(self) -> str:
        raise Refused("it makes a text of a value")

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        raise Refused("it makes a text of a value")

    def __invert__(self) -> Value:
        if self._dtype == pl.Boolean or self._tracer.written:
            return self._make("__invert__", self._expr)
        return self._make("__invert__", self._widened("~").expr)

    def __neg__(self) -> Value:
        return self._make("__neg__", self._expr if self._tracer.written else self._widened("-").expr)

    def __pos__(self) -> Value:
        return self._make("__pos__", self._expr if self._tracer.written else self._widened("+").expr)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return _equal(self, other, "eq_missing")

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return _equal(self, other, "ne_missing")

    __hash__ = None  # type: ignore[assignment]

    @property
    def expr(self) -> Expr:
        """The expression so far."""
        return self._expr

    @property
    def dtype(self) -> Any:
        """The type of the expression."""
        return self._dtype

    def _make(self, fn: str, *args: Any) -> Value:
        return Value(self._tracer, Call(fn, args))

    def _widened(self, symbol: str) -> Value:
        """The value in the type in which Polars calculates as Python does."""
        dtype = self._dtype
        if dtype in (pl.Int64, pl.Float64):
            return self
        if dtype == pl.Float32:
            return self._cast(pl.Float64())
        if dtype.is_integer() and dtype not in (pl.UInt64, pl.Int128, pl.UInt128):
            return self._cast(pl.Int64())
        self._tracer.doubts(f"{symbol} on {dtype} is not the same in Python and Polars")
        return self

    def _cast(self, dtype: Any) -> Value:
        return Value(self._tracer, Call("cast", (self._expr, dtype), (("strict", False),)))


def _plain(value: Any) -> Any:
    """An argument of a method, without the wrappers."""
    if isinstance(value, Value):
        return value.expr
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (Row, _Bound)):
        raise Refused("it passes the row or a method on")
    return value


def constant(value: Any) -> Any:
    """The constant as a Python value; Refused where it is none."""
    if isinstance(value, np.generic) and type(value) in CONSTANTS:
        value = value.item()
    if type(value) not in CONSTANTS:
        raise Refused(f"it uses a {type(value).__name__}")
    return value


def _native(fn: str, left: Any, right: Any, tracer: Tracer) -> Value:
    sides = [side.expr if isinstance(side, Value) else Lit(constant(side)) for side in (left, right)]
    return Value(tracer, Call(fn, tuple(sides)))


# -- arithmetic ---------------------------------------------------------------------------------------------


def _arithmetic(fn: str, symbol: str, left: Any, right: Any) -> Value:
    tracer = (left if isinstance(left, Value) else right)._tracer
    if not tracer.written:
        left, right = _agreeing(fn, symbol, left, right, tracer)
    return _native(fn, left, right, tracer)


def _agreeing(fn: str, symbol: str, left: Any, right: Any, tracer: Tracer) -> tuple[Any, Any]:
    """The operands changed so that the operator gives what Python gives, or a doubt."""
    kinds = [_kind(side) for side in (left, right)]
    why = f"{symbol} on {' and '.join(kinds)} is not the same in Python and Polars"
    if fn in ("__and__", "__or__", "__xor__"):
        if kinds == ["bool", "bool"]:
            return left, right
        if kinds != ["int", "int"]:
            tracer.doubts(why)
            return left, right
    elif (fn == "__add__" and kinds == ["str", "str"]) or _times(kinds, fn):
        return left, right
    elif not set(kinds) <= {"int", "float"} or fn == "__pow__" or _rounds_otherwise(fn, kinds):
        tracer.doubts(why)
        return left, right
    for side in (left, right):
        if type(side) is int and side not in _INT64:
            tracer.doubts("it calculates with an integer of more than 64 bits")
    return tuple(s._widened(symbol) if isinstance(s, Value) else s for s in (left, right))  # type: ignore[return-value]


def _times(kinds: list[str], fn: str) -> bool:
    """Sums and differences of times that Python has too; with a time zone it goes by the clock, Polars does not."""
    if fn in ("__add__", "__sub__") and kinds in (["datetime", "duration"], ["duration", "duration"]):
        return True
    return fn == "__sub__" and kinds in (["datetime", "datetime"], ["date", "date"])


def _rounds_otherwise(fn: str, kinds: list[str]) -> bool:
    """1.0 // 0.1 is 9.0 in Python and 10.0 in Polars."""
    return fn in ("__floordiv__", "__mod__") and "float" in kinds


def _kind(side: Any) -> str:
    if not isinstance(side, Value):
        value = constant(side)
        if isinstance(value, datetime):
            return "datetime" if value.tzinfo is None else f"datetime of {value.tzinfo}"
        names = {timedelta: "duration", bytes: "bytes"}
        return names.get(type(value), type(value).__name__)
    dtype = side.dtype
    if dtype.is_integer():
        return "int"
    if dtype.is_float():
        return "float"
    if isinstance(dtype, pl.Datetime):
        return "datetime" if dtype.time_zone is None else f"datetime of {dtype.time_zone}"
    names = {
        pl.Boolean: "bool",
        pl.String: "str",
        pl.Binary: "bytes",
        pl.Date: "date",
        pl.Time: "time",
        pl.Duration: "duration",
    }
    return next((name for kind, name in names.items() if dtype == kind), str(dtype))


def _install_arithmetic() -> None:
    symbols = zip("add sub mul truediv floordiv mod pow and or xor".split(), "+ - * / // % ** & | ^".split())
    for name, symbol in symbols:
        fn = f"__{name}__"
        setattr(Value, fn, lambda self, other, fn=fn, symbol=symbol: _arithmetic(fn, symbol, self, other))
        setattr(Value, f"__r{name}__", lambda self, other, fn=fn, symbol=symbol: _arithmetic(fn, symbol, other, self))


_install_arithmetic()


# -- comparisons --------------------------------------------------------------------------------------------


def _equal(left: Value, right: Any, fn: str) -> Value:
    """== and !=, which are never null in Python."""
    tracer = left._tracer
    if not isinstance(right, Value) and constant(right) is None:
        return left._make("is_null" if fn == "eq_missing" else "is_not_null", left.expr)
    if not tracer.written:
        left, right = _comparable(left, right, "==", tracer)
        if isinstance(right, Value) and left.dtype.is_float():
            tracer.doubts("== on two floats is not the same in Python and Polars where both are NaN")
    return _native(fn, left, right, tracer)


def _ordered(fn: str, left: Value, right: Any) -> Value:
    """<, <=, > and >=, which are false for NaN in Python; in Polars NaN is larger than all."""
    tracer = left._tracer
    if tracer.written:
        return _native(fn, left, right, tracer)
    left, right = _comparable(left, right, fn, tracer)
    made = _native(fn, left, right, tracer)
    larger = left if fn in ("__gt__", "__ge__") else right
    if isinstance(larger, Value) and larger.dtype.is_float():
        return _arithmetic("__and__", "&", made, larger._make("is_not_nan", larger.expr))
    return made


def _comparable(left: Value, right: Any, fn: str, tracer: Tracer) -> tuple[Value, Any]:
    """The two sides in types that Polars compares as Python does, or a doubt."""
    if isinstance(left.dtype, (pl.Enum, pl.Categorical)):
        left = left._cast(pl.String())  # their order is that of the categories
    if isinstance(right, Value) and isinstance(right.dtype, (pl.Enum, pl.Categorical)):
        right = right._cast(pl.String())
    if not isinstance(right, Value):
        right = constant(right)
    kinds = {_kind(left), _kind(right)}
    numbers = kinds <= {"int", "float"}
    if not numbers and (len(kinds) > 1 or left.dtype.is_nested() or left.dtype.is_decimal() or left.dtype == pl.Null):
        tracer.doubts(f"it compares {' and '.join(sorted(kinds))}")
    elif numbers and isinstance(right, Value):
        if left.dtype == right.dtype:
            return left, right
        left, right = left._widened("comparing"), right._widened("comparing")
        if len(kinds) > 1:
            tracer.doubts("comparing integers and floats is not the same in Python and Polars")
    elif numbers:
        return _against_number(left, right, tracer)  # type: ignore[arg-type] - of these kinds
    return left, right


def _against_number(left: Value, number: int | float, tracer: Tracer) -> tuple[Value, Any]:
    if left.dtype.is_float():
        if isinstance(number, int):
            if not -(2**53) <= number <= 2**53:
                tracer.doubts("it compares floats with an integer of more than 53 bits")
            number = float(number) if -(2**53) <= number <= 2**53 else number
        if isinstance(number, float) and math.isnan(number):
            tracer.doubts("it compares with NaN")
        # The constant would be rounded to the column's type, and Python does not do that.
        fits = left.dtype == pl.Float32 and isinstance(number, float) and _fits_float32(number)
        exact = left.dtype == pl.Float64 or fits
        return (left if exact else left._widened("comparing")), number
    if isinstance(number, float):
        if not math.isfinite(number):
            tracer.doubts("it compares integers with NaN or infinity")
            return left, number
        if number.is_integer():
            number = int(number)  # exact, also above 2**53
        else:
            return left._widened("comparing"), number
    if number in _range_of(left.dtype):
        return left, number
    if number not in _INT64:
        tracer.doubts("it compares with an integer of more than 64 bits")
    return left._widened("comparing"), number


def _fits_float32(number: float) -> bool:
    try:
        return struct.unpack("f", struct.pack("f", number))[0] == number
    except OverflowError:
        return False


def _range_of(dtype: Any) -> range:
    bits = {pl.Int8: 8, pl.Int16: 16, pl.Int32: 32, pl.Int64: 64}.get(type(dtype))
    if bits:
        return range(-(2 ** (bits - 1)), 2 ** (bits - 1))
    bits = {pl.UInt8: 8, pl.UInt16: 16, pl.UInt32: 32, pl.UInt64: 64}.get(type(dtype))
    return range(2**bits) if bits else range(0)


for _fn in _ORDER:
    setattr(Value, _fn, lambda self, other, fn=_fn: _ordered(fn, self, other))


def as_condition(e: Expr) -> Expr:
    """A filter with `==` in the form that sources understand: a filter drops null and false alike."""
    parts = []
    for part in conjuncts(e):
        if isinstance(part, Call) and part.fn == "eq_missing" and isinstance(part.args[1], Lit):
            part = Call("__eq__", part.args)
        parts.append(part)
    return conjunction(parts)
