"""Schemas of Iceberg: fields by id, their types in Polars, and single values as metadata has them.

The format: https://iceberg.apache.org/spec/#schemas-and-data-types, and appendices C and D for single values.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.plan.comparison import IN_UNIT, instant

_DEEPEST = 64

_PLAIN: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "date": pl.Date(),
    "time": pl.Time(),
    "timestamp": pl.Datetime("us"),
    "timestamptz": pl.Datetime("us", "UTC"),
    "timestamp_ns": pl.Datetime("ns"),
    "timestamptz_ns": pl.Datetime("ns", "UTC"),
    "string": pl.String(),
    "uuid": pl.Binary(),
    "binary": pl.Binary(),
    "unknown": pl.Null(),
}
_DECIMAL = re.compile(r"decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)")
_FIXED = re.compile(r"fixed\[\d+\]")


@dataclass(frozen=True)
class Field:
    """A column, or what is nested in one: `parts` are fields of a struct, the element of a list, a map's key and value.

    `kind` is struct, list or map, or the name of a plain type. `default` is what rows have that were written before the
    field was added, as JSON has it.
    """

    id: int
    name: str
    kind: str
    dtype: pl.DataType
    parts: tuple[Field, ...] = ()
    required: bool = False
    default: Any = None

    def walk(self) -> Iterator[Field]:
        """Itself and all that is nested in it."""
        yield self
        for part in self.parts:
            yield from part.walk()


def fields_of(schema: Any, where: str) -> tuple[Field, ...]:
    """The columns of a schema. FileFormatError for what is no schema, or has a type that is not known here."""
    try:
        found = tuple(_field(one, where, 0) for one in schema["fields"])
        ids = [field.id for column in found for field in column.walk()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{where}: its schema is damaged: {error!r}") from error
    names = [column.name for column in found]
    if len(set(ids)) < len(ids) or len(set(names)) < len(names):
        raise FileFormatError(f"{where}: its schema is damaged: it has a column twice")
    return found


def _field(told: Any, where: str, depth: int, name: str = "", id: str = "id", type: str = "type") -> Field:
    number, of, name = told[id], told[type], name or told["name"]
    if depth > _DEEPEST or not isinstance(number, int) or isinstance(number, bool) or not isinstance(name, str):
        raise ValueError(f"a field {name!r} of the id {number!r}, {depth} deep")
    required, default = told.get("required", False) is True, told.get("initial-default")
    if isinstance(of, str):
        return Field(number, name, of, plain(of, f"{where}: column {name!r}"), (), required, default)
    kind = of["type"]
    if kind == "struct":
        parts = tuple(_field(one, where, depth + 1) for one in of["fields"])
        dtype: pl.DataType = pl.Struct({part.name: part.dtype for part in parts})
        if len(dict(dtype)) < len(parts):
            raise ValueError(f"{name!r} has a field twice")
    elif kind == "list":
        parts = (_field(of, where, depth + 1, "element", "element-id", "element"),)
        dtype = pl.List(parts[0].dtype)
    elif kind == "map":
        parts = tuple(_field(of, where, depth + 1, one, f"{one}-id", one) for one in ("key", "value"))
        dtype = pl.List(pl.Struct({part.name: part.dtype for part in parts}))
    else:
        raise ValueError(f"{name!r} is of the type {kind!r}")
    return Field(number, name, kind, dtype, parts, required, default)


def plain(kind: str, where: str) -> pl.DataType:
    """The type in Polars of one that is not nested. FileFormatError where there is none."""
    found = _PLAIN.get(kind)
    decimal = _DECIMAL.fullmatch(kind)
    if decimal is not None and int(decimal[2]) <= int(decimal[1]) <= 38:
        return pl.Decimal(int(decimal[1]), int(decimal[2]))
    if found is None and _FIXED.fullmatch(kind):
        return pl.Binary()
    if found is None:
        raise FileFormatError(
            f"{where} is of the type {kind}, which robodf does not read: read a version without it, or write a copy "
            "in which it is a string or binary with its own engine"
        )
    return found


def bound(dtype: pl.DataType, data: bytes) -> Any:
    """A bound in a manifest, as `Known` has it; None where it tells nothing of a column of this type.

    Those of columns that were widened since are as short as they were.

    >>> bound(pl.Int64(), bytes([255, 255, 255, 255])), bound(pl.String(), b"arm"), bound(pl.Float32(), b"")
    (-1, 'arm', None)
    """
    if isinstance(dtype, pl.String):
        try:
            return data.decode()
        except UnicodeDecodeError:
            return None
    if dtype == pl.Boolean:
        return data != b"\0" if len(data) == 1 else None
    if isinstance(dtype, pl.Date) or dtype == pl.Int32 or dtype == pl.Int64 or isinstance(dtype, pl.Datetime):
        wide = dtype == pl.Int64 or isinstance(dtype, pl.Datetime)
        sizes = (4, 8) if dtype == pl.Int64 else (8,) if wide else (4,)  # a date that became a time is no time
        return int.from_bytes(data, "little", signed=True) if len(data) in sizes else None
    if dtype.is_float() and len(data) in ((4, 8) if dtype == pl.Float64 else (4,)):
        found = struct.unpack("<f" if len(data) == 4 else "<d", data)[0]
        return found if found == found else None
    return None


def constant(field: Field, told: Any, where: str) -> Any:
    """A default in a schema, as `literal` takes it. FileFormatError for what is none of the type."""
    try:
        return _constant(field, told)
    except (ValueError, TypeError, OverflowError, InvalidOperation) as error:
        raise FileFormatError(
            f"{where}: the default {told!r} of the column {field.name!r} is no {field.kind}"
        ) from error


def _constant(field: Field, told: Any) -> Any:
    kind, dtype = field.kind, field.dtype
    if kind in ("boolean", "int", "long", "string", "float", "double"):
        wanted = {"boolean": bool, "string": str}.get(kind, (int, float) if dtype.is_float() else int)
        if not isinstance(told, wanted) or (kind != "boolean" and isinstance(told, bool)):
            raise ValueError(told)
        return float(told) if dtype.is_float() else told
    if not isinstance(told, str):
        raise ValueError(told)
    if kind == "date":
        return (date.fromisoformat(told) - date(1970, 1, 1)).days
    if kind == "time":
        at = time.fromisoformat(told)
        return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000_000 + at.microsecond * 1_000
    if isinstance(dtype, pl.Datetime):
        found = instant(told, "initial-default")
        return None if found is None else found // IN_UNIT[dtype.time_unit]
    if isinstance(dtype, pl.Decimal):
        return Decimal(told)
    if isinstance(dtype, pl.Binary):
        return bytes.fromhex(told.replace("-", "") if kind == "uuid" else told)
    raise ValueError(told)


def of_partition(dtype: pl.DataType, value: Any) -> Any:
    """The value of a partition, as Avro has it, as `literal` takes it; ValueError for what is none of the type."""
    if value is None:
        return None
    if isinstance(dtype, pl.Decimal) and isinstance(value, bytes):
        return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-dtype.scale)
    whole = dtype.is_integer() or isinstance(dtype, (pl.Date, pl.Datetime, pl.Time))
    wanted = bool if dtype == pl.Boolean else int if whole else float if dtype.is_float() else None
    if type(value) is not (wanted or (str if isinstance(dtype, pl.String) else bytes)):
        raise ValueError(f"the value {value!r} of a partition by a column of {dtype}")
    return value * 1_000 if isinstance(dtype, pl.Time) else value


def literal(dtype: pl.DataType, value: Any) -> pl.Expr:
    """A constant: of dates and times the number that Polars holds."""
    if value is None:
        return pl.lit(None).cast(dtype)
    if isinstance(dtype, (pl.Date, pl.Datetime, pl.Time)):
        return pl.lit(value, pl.Int32 if isinstance(dtype, pl.Date) else pl.Int64).cast(dtype)
    return pl.lit(value, dtype)
