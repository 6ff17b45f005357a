"""The raw messages of one channel: slices of one buffer, no Python object per message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

# Below this mean size an indexed copy is faster than a memcpy per slice (each slice costs a Python object).
_SLICE_BYTES = 96
# So many short slices are copied length by length.
_MANY_SLICES = 1024
_MOST_SIZES = 256
# The index of an indexed copy takes 8 bytes per byte copied: copied in blocks, it stays small.
_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Payloads:
    """Payload `i` is `buffer[offset[i] : offset[i] + length[i]]`; slices may overlap and come in any order.

    `offset` and `length` are int64 arrays of one length, in bytes. Raises ValueError where a slice does not
    lie inside of `buffer`.

    >>> p = Payloads(b"abcdef", np.array([4, 0]), np.array([2, 3]))
    >>> len(p), bytes(p[0]), p.to_series("_raw").to_list()
    (2, b'ef', [b'ef', b'abc'])
    """

    buffer: bytes | memoryview
    offset: np.ndarray
    length: np.ndarray

    def __post_init__(self) -> None:
        for name in ("offset", "length"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.int64))
        if self.offset.ndim != 1 or self.offset.shape != self.length.shape:
            raise ValueError(
                f"offset and length must be flat and alike, not {self.offset.shape} and {self.length.shape}"
            )
        if len(self.offset):
            # Compared without adding, because a hostile sum can wrap around in int64.
            room = len(memoryview(self.buffer).cast("B")) - self.offset
            if self.offset.min() < 0 or self.length.min() < 0 or (self.length > room).any():
                raise ValueError("a payload lies outside of its buffer")

    @classmethod
    def of(cls, messages: list[bytes]) -> Payloads:
        """The payloads of separate byte strings, copied into one buffer."""
        length = np.fromiter(map(len, messages), dtype=np.int64, count=len(messages))
        return cls(b"".join(messages), np.cumsum(length) - length, length)

    def __len__(self) -> int:
        return len(self.offset)

    def __getitem__(self, i: int) -> memoryview:
        start = int(self.offset[i])
        return memoryview(self.buffer).cast("B")[start : start + int(self.length[i])]

    def __iter__(self) -> Iterator[memoryview]:
        return map(self.__getitem__, range(len(self)))

    @property
    def data(self) -> np.ndarray:
        """The buffer as uint8 array, without a copy."""
        return np.frombuffer(self.buffer, dtype=np.uint8)

    def unchanging(self) -> bytes | None:
        """The whole buffer where nobody can change it, so that arrays may refer to it, or None."""
        owner = self.buffer.obj if isinstance(self.buffer, memoryview) else self.buffer
        return owner if isinstance(owner, bytes) and len(owner) == memoryview(self.buffer).nbytes else None

    def to_series(self, name: str) -> pl.Series:
        """The payloads as Binary Series, copied in bulk: the Series does not keep the buffer alive."""
        import pyarrow as pa

        values = ragged(self.data, self.offset, self.length)
        arrow = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(),
            len(self),
            [None, pa.py_buffer(list_offsets(self.length)), pa.py_buffer(values)],
        )
        return pl.Series(name, arrow, dtype=pl.Binary)


def list_offsets(counts: np.ndarray) -> np.ndarray:
    """`[0, c0, c0 + c1, ...]`: the Arrow offsets of lists with these counts."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _by_size(data: np.ndarray, start: np.ndarray, length: np.ndarray, out: np.ndarray, offsets: np.ndarray) -> None:
    """Copies the slices into `out`, all slices of one length at once, each as one opaque value."""
    groups = list_offsets(np.bincount(length))
    order = np.argsort(length.astype(np.uint8), kind="stable")
    for size in range(1, len(groups) - 1):
        group = order[groups[size] : groups[size + 1]]
        if len(group):
            kind = np.dtype(f"V{size}")
            source = np.ndarray((len(data) - size + 1,), kind, buffer=data, strides=(1,))
            target = np.ndarray((len(out) - size + 1,), kind, buffer=out, strides=(1,))
            target[offsets[group]] = source[start[group]]


def ragged(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The slices `data[start[i] : start[i] + length[i]]` of a uint8 array, one after the other, as a copy."""
    offsets = list_offsets(length)
    total = int(offsets[-1])
    if total > len(start) * _SLICE_BYTES:
        view = data.data
        pieces = [view[s : s + n] for s, n in zip(start.tolist(), length.tolist())]
        return np.frombuffer(b"".join(pieces), dtype=np.uint8)
    out = np.empty(total, dtype=np.uint8)
    if len(start) >= _MANY_SLICES and length.max() < _MOST_SIZES:
        _by_size(data, start, length, out, offsets)
        return out
    shift = start - offsets[:-1]
    first = 0
    while first < len(start):
        last = int(np.searchsorted(offsets, offsets[first] + _BLOCK_BYTES, side="right")) - 1
        last = min(max(last, first + 1), len(start))
        low, high = int(offsets[first]), int(offsets[last])
        index = np.repeat(shift[first:last], length[first:last])
        index += np.arange(low, high)
        out[low:high] = data[index]
        first = last
    return out
