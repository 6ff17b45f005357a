"""What the decoders that walk many messages at once share: rows set aside, and the arrays that come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from robodf.io.messages.decoder import Schema
from robodf.io.messages.payloads import list_offsets

if TYPE_CHECKING:
    import pyarrow as pa

# A message that stands for much more than it holds (a list of thousands of empty messages with many fields, a
# list that names one text again and again) is refused: this is what its columns may take, in bytes.
_FREE_BYTES = 1 << 16
_BYTES_PER_BYTE = 256


class SchemaDataError(ValueError):
    """A schema in bytes that does not give a message type; the message says why."""


class Budget:
    """The memory that the columns of each payload may take, by the size of the payload."""

    def __init__(self, length: np.ndarray):
        self.left = length * _BYTES_PER_BYTE + _FREE_BYTES

    def spend(self, row: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
        """Takes `counts[i] * size` bytes for payload `row[i]`; True where its payload has that much left."""
        # As float, because a hostile sum can wrap around in int64.
        asked = np.bincount(row, weights=counts * float(size), minlength=len(self.left))
        within = asked <= self.left
        self.left = np.where(within, self.left - asked.astype(np.int64, copy=False), 0)
        return within[row]


def validity(absent: np.ndarray | None) -> pa.Buffer | None:
    """The validity bitmap of an Arrow array that is null where `absent`."""
    import pyarrow as pa

    return None if absent is None else pa.array(~absent).buffers()[1]


def strings(kind: pa.DataType, sizes: np.ndarray, raw: np.ndarray, absent: np.ndarray | None) -> pa.Array:
    """An array of large_binary or large_string, whose values lie one after the other in `raw`."""
    import pyarrow as pa

    buffers = [validity(absent), pa.py_buffer(list_offsets(sizes)), pa.py_buffer(np.ascontiguousarray(raw))]
    return pa.Array.from_buffers(kind, len(sizes), buffers)


def lists(counts: np.ndarray, values: pa.Array, absent: np.ndarray | None = None) -> pa.Array:
    import pyarrow as pa

    kind = pa.large_list(values.type)
    buffers = [validity(absent), pa.py_buffer(list_offsets(counts))]
    return pa.Array.from_buffers(kind, len(counts), buffers, children=[values])


def structs(columns: dict[str, pa.Array]) -> pa.Array:
    import pyarrow as pa

    return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def placed(values: pa.Array, at: np.ndarray, height: int) -> pa.Array:
    """`values` at the ascending places `at` among `height` rows, null elsewhere."""
    import pyarrow as pa

    if len(at) == height:
        return values
    index = np.zeros(height, dtype=np.int64)
    absent = np.ones(height, dtype=bool)
    index[at] = np.arange(len(at))
    absent[at] = False
    return values.take(pa.array(index, mask=absent))


def times(seconds: np.ndarray, nanos: np.ndarray, ok: np.ndarray, dtype: pl.DataType) -> pa.Array:
    """Datetime or Duration in ns, null where not `ok` or where 64 bits cannot hold it."""
    import pyarrow as pa

    ok = ok & (seconds > -9_223_372_035) & (seconds < 9_223_372_035)
    ns = np.where(ok, seconds, 0).astype(np.int64) * 1_000_000_000 + np.where(ok, nanos, 0).astype(np.int64)
    kind = pa.timestamp("ns") if isinstance(dtype, pl.Datetime) else pa.duration("ns")
    return pa.array(ns, mask=~ok).cast(kind)


def names_of(values: np.ndarray, names: dict[int, str], absent: np.ndarray | None) -> pa.Array:
    """The names of the values of an enum; the digits of a value without one."""
    import pyarrow as pa

    found, place = np.unique(values, return_inverse=True)
    texts = pa.array([names.get(value, str(value)) for value in found.tolist()], pa.large_string())
    return texts.take(pa.array(place.reshape(-1), pa.int64(), mask=absent))


def table(columns: dict[str, pa.Array], height: int) -> pl.DataFrame:
    import pyarrow as pa

    if not columns:
        return pl.DataFrame(height=height)
    return pl.DataFrame(pl.from_arrow(pa.table(columns)))


def spread(parts: list[tuple[np.ndarray, pl.DataFrame]], height: int, wanted: Schema) -> pl.DataFrame:
    """The rows of the parts in their places among `height` rows, null elsewhere."""
    if not wanted:
        return pl.DataFrame(height=height)
    frames = [frame for _, frame in parts if frame.height] or [pl.DataFrame(schema=wanted)]
    place = np.full(height, -1, dtype=np.int64)
    taken = np.concatenate([rows for rows, _ in parts])
    place[taken] = np.arange(len(taken))
    index = pl.Series(place, dtype=pl.Int64)
    index = index.set(index < 0, None)
    return pl.concat(frames).select(pl.all().gather(index))
