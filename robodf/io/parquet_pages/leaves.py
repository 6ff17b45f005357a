"""Which columns of a file are read by pages: flat ones, and structs of flat ones, of the types that are plain bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

_NUMBERS = {"INT32": "<i4", "INT64": "<i8", "FLOAT": "<f4", "DOUBLE": "<f8"}
_INTEGERS: dict[type, tuple[str, int, bool]] = {  # how a file holds them
    pl.Int8: ("INT32", 8, True),
    pl.Int16: ("INT32", 16, True),
    pl.Int32: ("INT32", 32, True),
    pl.Int64: ("INT64", 64, True),
    pl.UInt8: ("INT32", 8, False),
    pl.UInt16: ("INT32", 16, False),
    pl.UInt32: ("INT32", 32, False),
    pl.UInt64: ("INT64", 64, False),
}
_OTHERS: dict[type, str] = {pl.Float32: "FLOAT", pl.Float64: "DOUBLE", pl.Boolean: "BOOLEAN"}


@dataclass(frozen=True)
class Leaf:
    """One leaf column: the names that lead to it, its type, and the definition level of a value that is not null.

    A level of at least `outer` says that the struct around it is there (0: there is none, or it is never null).
    """

    path: tuple[str, ...]
    dtype: pl.DataType
    physical: str
    width: int  # bytes of a value of FIXED_LEN_BYTE_ARRAY
    most: int
    outer: int

    @property
    def of_bytes(self) -> bool:
        """Whether its values differ in size, or are bytes at all."""
        return self.physical in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")

    @property
    def numbers(self) -> np.dtype:
        """The numbers that a file holds; booleans are told one by one."""
        return np.dtype(_NUMBERS.get(self.physical, bool))

    @property
    def value_bytes(self) -> int:
        """The bytes of a value that has a fixed size."""
        return self.width if self.physical == "FIXED_LEN_BYTE_ARRAY" else self.numbers.itemsize


def leaves_of(footer: Any, name: str, dtype: pl.DataType) -> tuple[Leaf, ...] | None:
    """The leaves of a column in a file, as fields of a struct in order; None where it is not read by pages.

    That is where it is not there, not exactly of this type, or nested deeper.
    """
    import pyarrow as pa

    fields = dict(dtype) if isinstance(dtype, pl.Struct) else {}
    if "." in name or any("." in field for field in fields):
        return None  # the path of a leaf would not tell a dot from a struct
    try:
        field = footer.schema.to_arrow_schema().field(name)
    except (KeyError, pa.ArrowException, OSError, ValueError):  # twice there, or of a type that Arrow lacks
        return None
    outer = int(field.nullable)
    if not isinstance(dtype, pl.Struct):
        return _leaves(footer, {name: dtype}, {name: outer}, 0)
    if not pa.types.is_struct(field.type) or [f.name for f in field.type] != list(fields):
        return None
    levels = {f"{name}.{f.name}": outer + f.nullable for f in field.type}
    types = {f"{name}.{key}": of for key, of in fields.items()}
    return _leaves(footer, types, levels, outer)


def _leaves(footer: Any, types: dict[str, Any], levels: dict[str, int], outer: int) -> tuple[Leaf, ...] | None:
    found: dict[str, Leaf] = {}
    for number in range(footer.num_columns):
        column = footer.schema.column(number)
        dtype = types.get(column.path)
        if dtype is None:
            continue
        right = column.max_repetition_level == 0 and column.max_definition_level == levels[column.path]
        if column.path in found or not right or not _holds(column, dtype):
            return None
        found[column.path] = Leaf(
            tuple(column.path.split(".")),
            dtype,
            column.physical_type,
            max(0, column.length or 0),
            levels[column.path],
            outer,
        )
    return tuple(found[path] for path in types) if len(found) == len(types) and found else None


def _holds(column: Any, dtype: pl.DataType) -> bool:
    """Whether Polars has a leaf as this type, value by value."""
    logical, physical = column.logical_type.type, column.physical_type
    plain = logical == "NONE" and column.converted_type in ("NONE", "UTF8", None)
    if isinstance(dtype, pl.Binary):
        fixed = physical == "FIXED_LEN_BYTE_ARRAY" and 0 < (column.length or 0) < 1 << 31
        return plain and column.converted_type != "UTF8" and (physical == "BYTE_ARRAY" or fixed)
    if isinstance(dtype, pl.String):
        return physical == "BYTE_ARRAY" and logical == "STRING"
    if type(dtype) in _INTEGERS:
        kind, bits, signed = _INTEGERS[type(dtype)]
        if physical != kind:
            return False
        if plain and column.converted_type != "UTF8":
            return signed and bits in (32, 64)
        return logical == "INT" and column.converted_type == f"{'' if signed else 'U'}INT_{bits}"
    return plain and _OTHERS.get(type(dtype)) == physical
