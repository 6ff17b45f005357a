"""The payloads under one walk of a CDR type, and the arrays that come out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from robodf.io.messages.payloads import list_offsets

if TYPE_CHECKING:
    import pyarrow as pa


class BrokenPayload(Exception):
    """A reading walk met a payload that does not fit its type: a skipping walk tells which ones."""


class Batch:
    """The payloads of one byte order under one walk.

    A reading walk stops with BrokenPayload at the first payload that does not fit. A skipping walk marks
    it, and sends its position to a *sink* of zero bytes behind the buffer, where nothing can go wrong, so
    that one walk finds all of them.
    """

    def __init__(self, data: np.ndarray, start: np.ndarray, end: np.ndarray, order: str, reading: bool):
        # Behind the buffer with a gap, so that no position inside of a payload equals it.
        self.sink = len(data) + 8
        self.data = data if reading else np.concatenate([data, np.zeros(8, np.uint8)])
        self.start = start
        self.end = end
        self.order = order
        self.reading = reading
        self.broken = np.zeros(len(start), dtype=bool)
        self.problems: dict[int, str] = {}

    def view(self, dtype: str) -> np.ndarray:
        """The buffer as values of `dtype` that start at every byte: indexed by byte position."""
        kind = np.dtype(dtype)
        room = max(len(self.data) - kind.itemsize + 1, 0)
        return np.ndarray((room,), dtype=kind, buffer=self.data, strides=(1,)) if room else np.empty(0, kind)

    def align(self, row: np.ndarray, pos: np.ndarray, size: int) -> np.ndarray:
        if size == 1:
            return pos
        start = self.start[row]
        return start + ((pos - start + (size - 1)) & -size)

    def require(self, row: np.ndarray, ok: np.ndarray, pos: np.ndarray, problem: str) -> np.ndarray:
        """`pos` where `ok`; elsewhere the payload is broken."""
        if ok.all():
            return pos
        if self.reading:
            raise BrokenPayload(problem)
        self.mark(row[~ok], problem)
        return np.where(ok, pos, self.sink)

    def mark(self, rows: np.ndarray, problem: str) -> None:
        for i in np.unique(rows[~self.broken[rows]]).tolist():
            self.problems[i] = problem
        self.broken[rows] = True

    def advance(self, row: np.ndarray, pos: np.ndarray, size: np.ndarray | int, what: str) -> np.ndarray:
        """The positions `size` bytes further on, inside of the payloads."""
        ok = size <= self.end[row] - pos
        return self.require(row, ok, pos + size, f"{what} runs past the end of the payload")

    def count(self, row: np.ndarray, pos: np.ndarray, least: int, what: str) -> tuple[np.ndarray, np.ndarray]:
        """The length words at `pos`, whose elements take at least `least` bytes each, and where they end."""
        pos = self.align(row, pos, 4)
        behind = self.advance(row, pos, 4, what)
        counts = self.view(self.order + "u4")[behind - 4].astype(np.int64)
        ok = counts * least <= self.end[row] - behind
        behind = self.require(row, ok, behind, f"{what} has a length that the payload cannot hold")
        return np.where(ok, counts, 0), behind


def ordered(batch: Batch, kind: np.dtype) -> str:
    return batch.order + kind.str[1:]


def numbers(values: np.ndarray, kind: np.dtype) -> pa.Array:
    import pyarrow as pa

    if kind.kind == "b":
        return pa.array(values.view(np.uint8) != 0)
    return pa.array(values.astype(kind, copy=False))


def byte_strings(kind: pa.DataType, sizes: np.ndarray, raw: np.ndarray) -> pa.Array:
    import pyarrow as pa

    buffers = [None, pa.py_buffer(list_offsets(sizes)), pa.py_buffer(np.ascontiguousarray(raw))]
    return pa.Array.from_buffers(kind, len(sizes), buffers)


def even_offsets(rows: int, count: int) -> np.ndarray:
    return np.arange(rows + 1, dtype=np.int64) * count


def spans(counts: np.ndarray) -> list[tuple[int, int]]:
    ends = np.cumsum(counts).tolist()
    return list(zip([0, *ends[:-1]], ends))


def not_utf8(raw: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which of the texts, that lie one after the other in `raw`, are not UTF-8."""
    bad = np.zeros(len(sizes), dtype=bool)
    if not len(raw) or raw.max() < 0x80:
        return bad
    # The whole may be valid although a character is cut in two by the border of two texts.
    firsts = raw[list_offsets(sizes)[:-1][sizes > 0]]
    if not ((firsts & 0xC0) == 0x80).any() and decodes(raw):
        return bad
    for i, (first, last) in enumerate(spans(sizes)):
        bad[i] = not decodes(raw[first:last])
    return bad


def decodes(raw: np.ndarray) -> bool:
    try:
        str(raw.data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
