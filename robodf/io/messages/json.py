"""JSON messages: one object per payload.

All payloads of a batch are parsed in one call, joined by newlines. Only where that call finds something it
does not like are they parsed one by one, to tell which ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from robodf.io.messages.decoder import Decoder, Fields, Problem, Schema, project
from robodf.io.messages.json_schema import declared_schema, inferred_schema
from robodf.io.messages.payloads import Payloads, list_offsets, ragged

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["JsonDecoder", "declared_schema"]

_MOST_SAMPLES = 1000
# The offsets of the parser's strings have 32 bits.
_MOST_BULK_BYTES = 1 << 30
_SPACE = np.zeros(256, dtype=bool)
_SPACE[list(b" \t\n\r")] = True
_MOST_PADDING = 8


class _MisfitError(ValueError):
    """A JSON value that its column cannot hold."""


@dataclass(frozen=True)
class JsonDecoder(Decoder):
    """Decodes JSON objects. A field that the schema does not have is left out, a missing one is null; a value
    that does not fit its type (a string in a number, 1.5 in an integer) makes the row a problem. `NaN` and
    `Infinity`, which are not JSON but are written by many, are read."""

    declared: Schema | None

    @property
    def name(self) -> str:
        return "JSON"

    @property
    def reason(self) -> str:
        return ""

    @property
    def schema(self) -> Schema | None:
        return self.declared

    def infer(self, sample: Payloads) -> Schema:
        """The declared schema, else that of the first 1000 payloads of the sample."""
        if self.declared is not None:
            return self.declared
        messages = []
        for i in range(min(len(sample), _MOST_SAMPLES)):
            try:
                messages.append(_object(sample[i]))
            except (ValueError, RecursionError):
                continue  # `decode` tells which payloads are broken
        return inferred_schema(messages)

    def decode(
        self, payloads: Payloads, fields: Fields | None, schema: Schema, problems: list[Problem]
    ) -> pl.DataFrame:
        wanted = project(schema, fields)
        if not wanted or not len(payloads):
            return pl.DataFrame(schema=wanted) if wanted else pl.DataFrame(height=len(payloads))
        table = _bulk(payloads, wanted)
        if table is None:
            table = _one_by_one(payloads, wanted, problems)
        return pl.DataFrame(pl.from_arrow(table)).select(list(wanted)).cast(wanted)  # type: ignore[arg-type]


def _bulk(payloads: Payloads, wanted: Schema) -> pa.Table | None:
    """All payloads parsed at once; None where they cannot be, or where a row might not be a payload."""
    import pyarrow as pa
    import pyarrow.json

    joined, plain = _joined(payloads)
    if joined is None:
        return None
    options = pyarrow.json.ParseOptions(
        explicit_schema=pa.schema([(name, _arrow_type(dtype)) for name, dtype in wanted.items()]),
        newlines_in_values=not plain,
        unexpected_field_behavior="ignore",
    )
    read = pyarrow.json.ReadOptions(use_threads=False, block_size=len(joined) + 1)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(joined), read_options=read, parse_options=options)
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == len(payloads) else None


def _joined(payloads: Payloads) -> tuple[pa.Buffer | None, bool]:
    """The payloads as lines, and whether each is one line; None where one of them is no object.

    Each must begin with `{` and end with `}`: then a line break between two payloads can never lie inside of
    an object (`}\\n{` is nowhere valid in one), so as many objects as payloads means one object for each.
    """
    import pyarrow as pa

    data = payloads.data
    first, last = payloads.offset.copy(), payloads.offset + payloads.length - 1
    if (payloads.length < 2).any() or int(payloads.length.sum()) + len(payloads) > _MOST_BULK_BYTES:
        return None, False
    for _ in range(_MOST_PADDING):
        before, after = _SPACE[data[first]] & (first < last), _SPACE[data[last]] & (first < last)
        if not before.any() and not after.any():
            break
        first, last = first + before, np.maximum(last - after, first)
    if (data[first] != ord("{")).any() or (data[last] != ord("}")).any():
        return None, False
    length = last - first + 1
    ends = list_offsets(length + 1)[1:] - 1
    text = np.empty(int(length.sum()) + len(length), dtype=np.uint8)
    inside = np.ones(len(text), dtype=bool)
    inside[ends] = False
    text[inside] = ragged(data, first, length)
    text[ends] = ord("\n")
    try:
        str(text, "utf-8")  # type: ignore[call-overload]
    except UnicodeDecodeError:
        return None, False
    return pa.py_buffer(text), int((text == ord("\n")).sum()) == len(length)


def _one_by_one(payloads: Payloads, wanted: Schema, problems: list[Problem]) -> pa.Table:
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    for i in range(len(payloads)):
        try:
            value = _object(payloads[i])
            row = {name: _fit(value.get(name), dtype, name) for name, dtype in wanted.items()}
        except (ValueError, RecursionError) as error:
            problems.append((i, str(error) if isinstance(error, _MisfitError) else f"not JSON: {error}"))
            row = {}
        rows.append(row)
    kind = pa.struct([(name, _arrow_type(dtype)) for name, dtype in wanted.items()])
    return pa.Table.from_struct_array(pa.array(rows, kind))


def _object(payload: memoryview) -> dict[str, Any]:
    value = json.loads(str(payload, "utf-8"), parse_int=_integer)
    if not isinstance(value, dict):
        raise _MisfitError(f"the payload is a JSON {type(value).__name__}, not an object")
    return value


def _integer(digits: str) -> int | float:
    # Beyond a float's range it is infinite like 1e400; Python itself refuses to read more than 4300 digits.
    return int(digits) if len(digits) < 300 else float(digits)


def _fit(value: Any, dtype: pl.DataType, path: str) -> Any:
    """`value` as its column holds it; raises _MisfitError where it would have to change."""
    if value is None:
        return None
    if isinstance(dtype, pl.Struct):
        if isinstance(value, dict):
            return {f.name: _fit(value.get(f.name), f.dtype, f"{path}.{f.name}") for f in dtype.fields}  # type: ignore[arg-type]
    elif isinstance(dtype, pl.List):
        if isinstance(value, list):
            return [_fit(item, dtype.inner, path) for item in value]  # type: ignore[arg-type]
    elif isinstance(dtype, pl.String):
        if isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value):
            return value
    elif isinstance(value, bool):
        if isinstance(dtype, pl.Boolean):
            return value
    elif isinstance(dtype, pl.Int64):
        if isinstance(value, int | float) and value == value and abs(value) < 2**63 and value == int(value):
            return int(value)
    elif isinstance(dtype, pl.Float64):
        if isinstance(value, int | float):
            return float(value)
    raise _MisfitError(f"{path}: {_short(value)} does not fit {dtype}")


def _short(value: Any) -> str:
    text = ascii(value) if isinstance(value, str | int | float) else f"a JSON {type(value).__name__}"
    return text if len(text) <= 60 else text[:59] + "…"


def _arrow_type(dtype: pl.DataType) -> pa.DataType:
    import pyarrow as pa

    if isinstance(dtype, pl.Struct):
        return pa.struct([(field.name, _arrow_type(field.dtype)) for field in dtype.fields])  # type: ignore[arg-type]
    if isinstance(dtype, pl.List):
        return pa.list_(_arrow_type(dtype.inner))  # type: ignore[arg-type]
    scalars = {
        pl.String: pa.string(),
        pl.Int64: pa.int64(),
        pl.Float64: pa.float64(),
        pl.Boolean: pa.bool_(),
    }
    return scalars[type(dtype)]
