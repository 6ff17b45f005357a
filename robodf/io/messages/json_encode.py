"""Columns as JSON objects, one a row, and the JSON Schema that describes them.

| column | JSON |
|---|---|
| integers; floats; Boolean | number; number, null where NaN or infinite; boolean |
| String, Categorical, Enum | string |
| Datetime | string, RFC 3339, UTC, with the digits of its unit (`date-time`) |
| Date, Time | string, `2026-11-21`, `12:00:00.000000000` |
| Duration | integer of ns |
| Decimal | string |
| Binary | string, base64 |
| List, Array | array |
| Struct | object |
| null | null |
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from robodf.errors import SchemaError
from robodf.io.messages.decoder import Schema

_DIGITS = {"ns": "%.9f", "us": "%.6f", "ms": "%.3f"}
_MOST_BITS = (pl.Int128, pl.UInt128)


class JsonEncoder:
    """Encodes rows of these columns, in their order.

    >>> encoder = JsonEncoder({"v": pl.Float64(), "id": pl.Int64()})
    >>> encoder.encode(pl.DataFrame({"v": [0.5, None], "id": [1, 2]})).to_list()
    [b'{"v":0.5,"id":1}', b'{"v":null,"id":2}']
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        self._properties = {name: _property(dtype, name) for name, dtype in schema.items()}

    def schema_text(self, title: str) -> bytes:
        """The JSON Schema of the objects. It gives the type of values that are not null."""
        root = {"title": title, "type": "object", "properties": self._properties}
        return json.dumps(root, ensure_ascii=False).encode()

    def encode(self, rows: pl.DataFrame) -> pl.Series:
        """The objects as UTF-8 in a Binary series."""
        if not rows.height:
            return pl.Series("data", [], dtype=pl.Binary)
        fields = [_plain(pl.col(name), dtype).alias(name) for name, dtype in self.schema.items()]
        text = pl.struct(rows.select(fields).get_columns(), eager=True).struct.json_encode()
        return text.cast(pl.Binary).alias("data")


def _property(dtype: Any, path: str) -> dict[str, Any]:
    if isinstance(dtype, pl.Struct):
        inner = {f.name: _property(f.dtype, f"{path}.{f.name}") for f in dtype.fields}
        return {"type": "object", "properties": inner}
    if isinstance(dtype, (pl.List, pl.Array)):
        return {"type": "array", "items": _property(dtype.inner, path)}
    dtype = dtype() if isinstance(dtype, type) else dtype
    if isinstance(dtype, pl.Duration):
        return {"type": "integer", "description": "nanoseconds"}
    if dtype.is_integer() and not isinstance(dtype, _MOST_BITS):
        return {"type": "integer"}
    if dtype.is_float():
        return {"type": "number"}
    if isinstance(dtype, pl.Boolean):
        return {"type": "boolean"}
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Decimal)):
        return {"type": "string"}
    formats = {pl.Datetime: "date-time", pl.Date: "date", pl.Time: "time"}
    if type(dtype) in formats:
        return {"type": "string", "format": formats[type(dtype)]}
    if isinstance(dtype, pl.Binary):
        return {"type": "string", "contentEncoding": "base64"}
    if isinstance(dtype, pl.Null):
        return {"type": "null"}
    raise SchemaError(f"column {path!r} is {dtype}, which has no form in JSON; cast or drop it")


def _plain(e: pl.Expr, dtype: Any) -> pl.Expr:
    """The values as types of JSON."""
    if not _changes(dtype):
        return e
    if isinstance(dtype, pl.Struct):
        fields = [_plain(e.struct.field(f.name), f.dtype).alias(f.name) for f in dtype.fields]
        return pl.when(e.is_not_null()).then(pl.struct(fields))
    if isinstance(dtype, pl.Array):
        return _plain(e.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        return e.list.eval(_plain(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Datetime):
        utc = e if dtype.time_zone is None else e.dt.convert_time_zone("UTC")
        return utc.dt.strftime(f"%Y-%m-%dT%H:%M:%S{_DIGITS[dtype.time_unit]}Z")
    if dtype == pl.Date:
        return e.dt.strftime("%Y-%m-%d")
    if dtype == pl.Time:
        return e.dt.strftime("%H:%M:%S%.9f")
    if isinstance(dtype, pl.Duration):
        return e.cast(pl.Duration("ns")).cast(pl.Int64)
    if dtype == pl.Binary:
        return e.bin.encode("base64")
    if dtype.is_float():
        return pl.when(e.is_finite()).then(e)
    return e.cast(pl.String)  # Categorical, Enum, Decimal


def _changes(dtype: Any) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_changes(f.dtype) for f in dtype.fields)
    if isinstance(dtype, (pl.List, pl.Array)):
        return isinstance(dtype, pl.Array) or _changes(dtype.inner)
    return not (dtype.is_integer() or dtype in (pl.String, pl.Boolean, pl.Null))
