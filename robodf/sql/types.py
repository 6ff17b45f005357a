"""SQL's types, casts, and constants of the type that they are compared with."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
from sqlglot import exp

from robodf.plan.expr import Call, Expr, Lit
from robodf.sql.stage import Query

_TYPES: dict[str, Any] = {
    "TINYINT": pl.Int8, "SMALLINT": pl.Int16, "INT": pl.Int32, "BIGINT": pl.Int64, "INT128": pl.Int128,
    "UTINYINT": pl.UInt8, "USMALLINT": pl.UInt16, "UINT": pl.UInt32, "UBIGINT": pl.UInt64,
    "FLOAT": pl.Float32, "DOUBLE": pl.Float64, "BOOLEAN": pl.Boolean, "BIT": pl.Boolean,
    "TEXT": pl.String, "VARCHAR": pl.String, "CHAR": pl.String, "BPCHAR": pl.String, "NVARCHAR": pl.String,
    "VARBINARY": pl.Binary, "BLOB": pl.Binary, "BINARY": pl.Binary, "DATE": pl.Date, "TIME": pl.Time,
    "TIMESTAMP": pl.Datetime("us"), "TIMESTAMPNTZ": pl.Datetime("us"), "DATETIME": pl.Datetime("us"),
    "TIMESTAMP_S": pl.Datetime("ms"), "TIMESTAMP_MS": pl.Datetime("ms"), "TIMESTAMP_NS": pl.Datetime("ns"),
    "TIMESTAMPTZ": pl.Datetime("us", "UTC"), "TIMESTAMPLTZ": pl.Datetime("us", "UTC"),
}  # fmt: skip
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_UNITS = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def type_of(query: Query, node: exp.DataType) -> pl.DataType:
    """The Polars type that a SQL type names."""
    name = getattr(node.this, "name", str(node.this)).upper()
    inner = node.expressions
    if name in ("ARRAY", "LIST") and inner:
        return pl.List(type_of(query, inner[0]))
    if name == "STRUCT" and inner:
        return pl.Struct([pl.Field(d.name, type_of(query, d.args["kind"])) for d in inner])  # type: ignore[arg-type]
    if name == "DECIMAL":
        sizes = [int(p.this.name) for p in inner] or [18, 3]
        return pl.Decimal(sizes[0], sizes[1] if len(sizes) > 1 else 0)
    if name not in _TYPES:
        raise query.fail(node, f"the type {node.sql()} is not supported")
    found = _TYPES[name]
    return found if isinstance(found, pl.DataType) else found()


def names_type(word: str) -> bool:
    """True of a word that may stand before a text to type it, as in DATE '2024-01-01'."""
    return word.upper() in _TYPES


def is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)


def kind(dtype: pl.DataType) -> str:
    """What a type can be compared with: number, text, time, ..., or null for all."""
    if dtype == pl.Null:
        return "null"
    if dtype.is_numeric():
        return "number"
    if is_text(dtype):
        return "text"
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return "time"
    return str(dtype.base_type()).lower()


def cast(e: Expr, have: pl.DataType, want: pl.DataType, strict: bool = True) -> Expr | None:
    """`e` as `want` by DuckDB's rules; None where there is no such cast. Unless `strict`, what does not fit is null."""
    if have == want:
        return e
    plain = Call("cast", (e, want), (("strict", strict),))
    if have == pl.Null:
        return Lit(None, want)
    if (
        isinstance(e, Lit)
        and isinstance(e.value, str)
        and (want.is_temporal() or want == pl.Boolean or want.is_numeric())
    ):
        found = constant(e.value, want)
        return Lit(None, want) if found is None and not strict else found
    if want == pl.Boolean:
        if have.is_numeric():
            return Call("__ne__", (e, Lit(0)))
        return _to_bool(e, strict) if is_text(have) else None
    if have.is_float() and want.is_integer():
        return Call("cast", (Call("round", (e,)), want), (("strict", strict),))
    if is_text(have):
        return _from_text(Call("cast", (e, pl.String())) if have != pl.String else e, want, strict)
    if have.is_float() and want == pl.String:
        return Call("pl.when", (Call("is_nan", (e,)), Lit("nan"), plain))
    if have.is_temporal() or want.is_temporal():
        return _temporal(e, have, want, plain)
    return plain


def _to_bool(e: Expr, strict: bool) -> Expr:
    options = (("return_dtype", pl.Boolean()),) if strict else (("default", None), ("return_dtype", pl.Boolean()))
    mapping = (tuple(_TRUE + _FALSE), (True,) * len(_TRUE) + (False,) * len(_FALSE))
    return Call("replace_strict", (Call("str.to_lowercase", (e,)), *mapping), options)


def _from_text(e: Expr, want: pl.DataType, strict: bool) -> Expr | None:
    stripped = Call("str.strip_chars", (e,))
    options = (("strict", strict),)
    if want.is_integer():  # '1.5' is a number too, and '9007199254740993' is no float
        whole = Call("cast", (stripped, want), (("strict", False),))
        real = Call("cast", (Call("round", (Call("cast", (stripped, pl.Float64()), options),)), want), options)
        return Call("pl.coalesce", (whole, real))
    if want == pl.Time:
        return Call("str.to_time", (stripped, "%H:%M:%S%.f"), options)
    if want == pl.Date:
        return Call("str.to_date", (Call("str.head", (stripped, 10)), "%Y-%m-%d"), options)
    if isinstance(want, pl.Datetime):
        spaced = Call("str.replace", (stripped, "T", " "), (("literal", True),))
        full = Call("str.replace", (spaced, r"^(\d{4}-\d{2}-\d{2})$", "${1} 00:00:00"))
        made = Call("str.to_datetime", (full, "%Y-%m-%d %H:%M:%S%.f"), (("time_unit", want.time_unit), *options))
        return Call("dt.replace_time_zone", (made, want.time_zone)) if want.time_zone else made
    if want.is_numeric():
        return Call("cast", (stripped, want), options)
    return Call("cast", (e, want), options) if is_text(want) or want == pl.Binary else None


def _temporal(e: Expr, have: pl.DataType, want: pl.DataType, plain: Expr) -> Expr | None:
    if want == pl.String and isinstance(have, pl.Datetime):
        text = Call("dt.strftime", (e, "%Y-%m-%d %H:%M:%S%.f"))
        return Call("str.replace", (text, r"(\.\d*?[1-9])0+$", "${1}"))
    if want == pl.String:
        return plain
    if isinstance(have, pl.Datetime) and isinstance(want, pl.Datetime) and have.time_zone != want.time_zone:
        naive = e if have.time_zone is None else Call("dt.convert_time_zone", (e, "UTC"))
        zoned = Call("dt.replace_time_zone", (naive, None if want.time_zone is None else "UTC"))
        return Call("cast", (zoned, want), (("strict", False),))
    both = (have.base_type(), want.base_type())
    allowed = {(pl.Date, pl.Datetime), (pl.Datetime, pl.Date), (pl.Datetime, pl.Datetime), (pl.Datetime, pl.Time),
               (pl.Duration, pl.Duration)}  # fmt: skip
    return plain if both in allowed else None


def constant(text: str, want: pl.DataType) -> Lit | None:
    """A text constant as a constant of another type, or None where it is none."""
    text = text.strip()
    if want == pl.Boolean:
        return Lit(text.lower() in _TRUE) if text.lower() in _TRUE + _FALSE else None
    try:
        if want.is_integer():
            return Lit(int(text) if text.lstrip("+-").isdigit() else round(float(text)))
        if want.is_numeric():
            return Lit(float(text))
        if want == pl.Time:
            return Lit(dt.time.fromisoformat(text), want)
        if want == pl.Date:
            return Lit(dt.date.fromisoformat(text.replace("/", "-")[:10]), want)
        if isinstance(want, pl.Datetime):
            return _datetime(text, want)
    except (ValueError, OverflowError):
        return None
    return None


def _datetime(text: str, want: pl.DataType) -> Lit | None:
    assert isinstance(want, pl.Datetime)
    head, point, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    finer = rest[6:digits].strip("0")
    parsed = dt.datetime.fromisoformat(f"{head}{point}{rest[:6] if digits > 6 else rest[:digits]}{rest[digits:]}")
    if parsed.tzinfo is not None:
        parsed = parsed.astimezone(dt.timezone.utc)
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.timezone.utc)
    if finer and want.time_unit == "ns":  # Python's times end at microseconds
        since = aware - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
        nanoseconds = (
            (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000 + int(rest[6:9].ljust(3, "0"))
        )
        value = pl.Series([nanoseconds]).cast(pl.Datetime("ns", want.time_zone))
        return Lit(value.cast(pl.Int64).item(), want)
    if want.time_zone is None:
        return Lit(aware.replace(tzinfo=None), want)
    return Lit(aware, want)
