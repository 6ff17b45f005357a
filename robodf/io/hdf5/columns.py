"""Elements of HDF5 as Polars columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.hdf5.datatype import Type

if TYPE_CHECKING:
    from robodf.io.hdf5.heaps import Texts

_NUMBERS = {
    "i1": pl.Int8, "i2": pl.Int16, "i4": pl.Int32, "i8": pl.Int64,
    "u1": pl.UInt8, "u2": pl.UInt16, "u4": pl.UInt32, "u8": pl.UInt64,
    "f2": pl.Float32, "f4": pl.Float32, "f8": pl.Float64,
}  # fmt: skip

LONG_TEXT = 256
"""A fixed-length text of more bytes is Binary: files keep JPEG images so, padded with zeros."""


def polars_type(kind: Type, item: tuple[int, ...] = ()) -> pl.DataType:
    """The type of the column of such elements, or of rows of shape `item`; numbers of 16 bits widen to Float32."""
    inner: pl.DataType
    if kind.kind == "number":
        assert kind.dtype is not None
        inner = _NUMBERS[kind.dtype.str[1:]]()
    elif kind.kind == "bool":
        inner = pl.Boolean()
    elif kind.kind == "texts" or (kind.kind == "text" and kind.size <= LONG_TEXT):
        inner = pl.String()
    elif kind.kind == "record":
        inner = pl.Struct({name: polars_type(t) for name, _, t in kind.fields})
    elif kind.kind == "array":
        assert kind.base is not None
        return polars_type(kind.base, item + kind.dims)
    else:
        inner = pl.Binary()
    return pl.Array(inner, item) if item else inner


def to_series(raw: np.ndarray, item: tuple[int, ...], kind: Type, texts: Texts) -> pl.Series:
    """A column from bytes (rows, bytes of a row); FileFormatError for texts that are none."""
    rows = len(raw)
    wanted = polars_type(kind, item)
    count = 1
    for n in item:
        count *= n
    if not rows or not count:
        return pl.Series(values=[] if not rows else [_nothing(item)] * rows, dtype=wanted)
    if kind.kind == "array":
        assert kind.base is not None
        return to_series(raw, item + kind.dims, kind.base, texts)
    elements = np.ascontiguousarray(raw).reshape(rows * count, kind.size)
    flat = _flat(elements, kind, texts)
    return flat.reshape((rows, *item)) if item else flat


def _nothing(item: tuple[int, ...]) -> list:
    made: list = []
    for n in reversed(item[: item.index(0)]):
        made = [made] * n
    return made


def _flat(elements: np.ndarray, kind: Type, texts: Texts) -> pl.Series:
    if kind.kind == "number":
        assert kind.dtype is not None
        numbers = elements.reshape(-1).view(kind.dtype)
        native = kind.dtype.newbyteorder("=")
        if native.str[1:] == "f2":
            native = np.dtype("f4")
        return pl.Series(values=numbers.astype(native, copy=False))
    if kind.kind == "bool":
        return pl.Series(values=elements.reshape(-1) != 0)
    if kind.kind == "record":
        parts = [to_series(elements[:, at : at + t.size], (), t, texts).alias(name) for name, at, t in kind.fields]
        return pl.DataFrame(parts).to_struct()
    if kind.kind == "text":
        # bytes.rstrip of the padding alone: zeros inside of a text are its own.
        width = kind.size
        data = elements.tobytes()
        pad = b" " if kind.spaces else b"\0"
        found = [data[k : k + width].rstrip(pad) for k in range(0, len(data), width)]
        return _as_texts(found, texts) if width <= LONG_TEXT else pl.Series(found, dtype=pl.Binary)
    if kind.kind in ("texts", "bytes"):
        data = elements.tobytes()
        found = [texts.get(data[k : k + 16]) for k in range(0, len(data), 16)]
        return pl.Series(found, dtype=pl.Binary) if kind.kind == "bytes" else _as_texts(found, texts)
    data = elements.tobytes()
    return pl.Series([data[k : k + kind.size] for k in range(0, len(data), kind.size)], dtype=pl.Binary)


def _as_texts(found: list[bytes], texts: Texts) -> pl.Series:
    try:
        return pl.Series([v.rstrip(b"\0").decode() for v in found], dtype=pl.String)
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{texts.path}: a text that is not UTF-8 ({error})") from error
