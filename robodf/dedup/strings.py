"""Where the bytes of a string column lie in memory: what compiled code reads, without a copy of a byte."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from robodf.errors import SchemaError

_INLINE = 12  # bytes up to which a view holds the string itself


class Texts(NamedTuple):
    """The strings of a column, whatever its layout: chunks, slices, views or offsets."""

    at: np.ndarray
    """(n,) int64: the address of the first byte."""
    size: np.ndarray
    """(n,) int64: bytes; -1 for null."""
    owners: tuple[Any, ...]
    """What keeps the addresses valid: they are as long as this object lives."""


def texts(values: pl.Series | pa.Array | pa.ChunkedArray) -> Texts:
    """The strings of a Polars or Arrow column in place.

    Arrow's view of a string is 16 bytes: its length, and then either the string itself (up to 12 bytes) or four bytes
    of it, the number of a buffer and the offset there (Arrow columnar format, "Variable-size Binary View Layout").

    Raises:
        SchemaError: a column of another type.
        ValueError: views or offsets that point out of their buffers.
    """
    if isinstance(values, pl.Series):
        if values.dtype != pl.String:
            raise SchemaError(f"texts are expected, not {values.dtype}: cast the column to String")
        chunks = pa.chunked_array(values).chunks
    else:
        chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    parts = [_chunk(chunk) for chunk in chunks]
    if len(parts) == 1:
        at, size = parts[0]
    else:
        at = np.concatenate([part[0] for part in parts] or [np.empty(0, np.int64)])
        size = np.concatenate([part[1] for part in parts] or [np.empty(0, np.int64)])
    return Texts(at, size, tuple(chunks))


def _chunk(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    if pa.types.is_string_view(chunk.type):
        at, size = _views(chunk)
    elif pa.types.is_large_string(chunk.type):
        at, size = _offsets(chunk, np.int64)
    elif pa.types.is_string(chunk.type):
        at, size = _offsets(chunk, np.int32)
    else:
        raise SchemaError(f"texts are expected, not {chunk.type}: cast the column to String")
    if chunk.null_count:
        size[~chunk.is_valid().to_numpy(zero_copy_only=False)] = -1
    return at, size


def _views(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    _, views, *data = chunk.buffers()
    if not len(chunk):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    fields = np.frombuffer(views, np.uint32, 4 * len(chunk), 16 * chunk.offset).reshape(-1, 4)
    at = views.address + 16 * np.arange(chunk.offset, chunk.offset + len(chunk), dtype=np.int64) + 4
    size = fields[:, 0].astype(np.int64)
    if chunk.null_count:  # what a view of a null says is undefined
        size[~chunk.is_valid().to_numpy(zero_copy_only=False)] = 0
    far = np.flatnonzero(size > _INLINE)
    which, offset = fields[far, 2].astype(np.int64), fields[far, 3].astype(np.int64)
    if far.size:
        _check(which, len(data) - 1 - which)
        ends = np.array([buffer.size for buffer in data], np.int64)
        _check(offset, ends[which] - offset - size[far])
        at[far] = np.array([buffer.address for buffer in data], np.int64)[which] + offset
    return at, size


def _offsets(chunk: pa.Array, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    _, offsets, data = chunk.buffers()
    if not len(chunk):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    edges = np.frombuffer(offsets, dtype, len(chunk) + 1, chunk.offset * np.dtype(dtype).itemsize).astype(np.int64)
    size = np.diff(edges)
    _check(edges, size)
    _check((data.size if data else 0) - edges)
    return edges[:-1] + (data.address if data else 0), size


def _check(*numbers: np.ndarray) -> None:
    """None of them may be below 0."""
    if any((part < 0).any() for part in numbers):
        raise ValueError("a broken Arrow column of strings: lengths or offsets that point out of its buffers")
