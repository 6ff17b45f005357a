"""What every message decoder says and does, and the questions asked of message schemas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias

import polars as pl

from robodf.errors import SchemaError, column_not_found
from robodf.io.messages.payloads import Payloads

Fields: TypeAlias = dict[str, "Fields | None"]
"""A projection: the wanted fields, each with the wanted fields below it or None for all of them."""

Schema: TypeAlias = dict[str, pl.DataType]

Problem: TypeAlias = tuple[int, str]
"""The row of a payload that could not be decoded, and why."""

STAMP = pl.Datetime("ns")

# Nulls of fixed size take as much memory as values: a wider array becomes a List, so that a file full of
# broken messages cannot ask for more than this per message and column.
ARRAY_BYTES = 32 * 1024


class Decoder(ABC):
    """Turns the payloads of one channel into columns, one per top-level field of the message.

    A decoder is small, picklable and cheap to make. `name` is what `explain()` prints, `reason` says why
    messages stay raw ('' where they do not). `schema` holds the columns, None where only the data can tell.
    """

    name: str
    reason: str = ""
    schema: Schema | None

    def infer(self, sample: Payloads) -> Schema:
        """The schema of these messages; payloads that cannot be decoded do not count."""
        assert self.schema is not None, f"{type(self).__name__} must infer its schema"
        return self.schema

    @abstractmethod
    def decode(
        self, payloads: Payloads, fields: Fields | None, schema: Schema, problems: list[Problem]
    ) -> pl.DataFrame:
        """The wanted fields of all payloads: `len(payloads)` rows, in schema order.

        `fields` is a projection (None: all); a struct column has only its wanted fields. `schema` is the
        decoder's own or what `infer` gave. A payload that cannot be decoded is null in every column, and is
        appended to `problems` as (row, message); what lies in fields that are not asked for is read only as
        far as needed to find the others. Raises ColumnNotFoundError for a field that does not exist.
        """


def project(schema: Mapping[str, Any], fields: Fields | None) -> Schema:
    """The schema of a projection, in the order of `schema`, through Struct, List and Array columns."""
    if fields is None:
        return {name: _project_type(name, dtype, None) for name, dtype in schema.items()}
    for name in fields:
        if name not in schema:
            raise column_not_found(name, schema, "the message.")
    return {name: _project_type(name, schema[name], fields[name]) for name in schema if name in fields}


def _project_type(name: str, dtype: Any, fields: Fields | None) -> pl.DataType:
    if isinstance(dtype, pl.Struct):
        if fields is not None and not fields:
            raise SchemaError(f"the projection of {name!r} names no field; give None for all of them")
        return pl.Struct(project({f.name: f.dtype for f in dtype.fields}, fields))
    if isinstance(dtype, pl.List):
        return pl.List(_project_type(name, dtype.inner, fields))
    if isinstance(dtype, pl.Array):
        return pl.Array(_project_type(name, dtype.inner, fields), dtype.size)
    if fields is not None:
        raise SchemaError(f"{name!r} is {dtype} and has no fields: {', '.join(fields)} cannot be asked of it")
    # Inside of nested types both `pl.Int8` and `pl.Int8()` occur.
    return dtype() if isinstance(dtype, type) else dtype


def header_stamp(schema: Mapping[str, pl.DataType]) -> tuple[str, ...] | None:
    """Where the message says when it was measured: a path to a Datetime('ns') column, or None.

    >>> header_stamp({"header": pl.Struct({"stamp": pl.Datetime("ns"), "frame_id": pl.String()})})
    ('header', 'stamp')
    """
    header = schema.get("header")
    if isinstance(header, pl.Struct) and any(f.name == "stamp" and f.dtype == STAMP for f in header.fields):
        return ("header", "stamp")
    for name in ("stamp", "timestamp"):
        if schema.get(name) == STAMP:
            return (name,)
    return None
