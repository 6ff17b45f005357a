"""The payloads under one walk of a message type, and the arrays that come out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robodf.io.messages.payloads import Payloads, list_offsets, ragged

if TYPE_CHECKING:
    import pyarrow as pa


# Memory of many rows is gathered at once up to this size of one row.
_WIDEST_ITEM = 1 << 30
# Few enough texts or lists in a message to copy them one after the other, all rows at once.
_FEW_PLACES = 64
# Payloads up to this size are copied next to each other once so many values are read out of them.
_GATHERED_BYTES = 4096
_FEW_TAKES = 3
# Blobs that are as long as this on average stay where they are, if they fill half of the buffer.
_BLOB_BYTES = 1024


@dataclass(frozen=True)
class Wire:
    """How values lie in a payload: `header` bytes before the message, and up to `slack` bytes behind it.

    `aligned`: every primitive starts at a multiple of its size. `terminated`: a text ends with a zero byte,
    which its length counts. `filler`: a message without fields has one byte.
    """

    aligned: bool
    terminated: bool
    filler: bool
    header: int
    slack: int


# CDR writers pad a payload to a multiple of four bytes; more than that is a message of another type.
CDR = Wire(aligned=True, terminated=True, filler=True, header=4, slack=3)
ROS1 = Wire(aligned=False, terminated=False, filler=False, header=0, slack=0)


class BrokenPayload(Exception):
    """A reading walk met a payload that does not fit its type: a skipping walk tells which ones."""


class Varying(Exception):
    """The payloads of a `Template` are not alike."""


class Batch:
    """The payloads of one byte order under one walk.

    A reading walk stops with BrokenPayload at the first payload that does not fit. A skipping walk marks
    it, and sends its position to a *sink* of zero bytes behind the buffer, where nothing can go wrong, so
    that one walk finds all of them.
    """

    def __init__(self, payloads: Payloads, rows: np.ndarray, order: str, wire: Wire, reading: bool):
        data = payloads.data
        # Behind the buffer with a gap, so that no position inside of a payload equals it.
        self.sink = len(data) + 8
        self.data = data if reading else np.concatenate([data, np.zeros(8, np.uint8)])
        self.payloads = payloads
        self.start = payloads.offset[rows] + wire.header
        self.end = self.start + (payloads.length[rows] - wire.header)
        self.order = order
        self.wire = wire
        self.reading = reading
        self.broken = np.zeros(len(rows), dtype=bool)
        self.problems: dict[int, str] = {}

    def view(self, dtype: str) -> np.ndarray:
        """The buffer as values of `dtype` that start at every byte: indexed by byte position."""
        kind = np.dtype(dtype)
        room = max(len(self.data) - kind.itemsize + 1, 0)
        return np.ndarray((room,), dtype=kind, buffer=self.data, strides=(1,)) if room else np.empty(0, kind)

    def take(self, dtype: str, pos: np.ndarray) -> np.ndarray:
        """The values of `dtype` at the positions."""
        return self.view(dtype)[pos]

    def slices(self, pos: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The bytes at the positions, one slice after the other."""
        return ragged(self.data, pos, sizes)

    def all_rows(self, counts: np.ndarray) -> np.ndarray:
        """What a walk has found for its payloads, for all rows."""
        return counts

    def positions(self, pos: np.ndarray) -> np.ndarray:
        """Positions of a walk in all rows."""
        return pos

    @property
    def rows(self) -> int:
        """The number of payloads that are read for one that is walked over."""
        return 1

    def align(self, row: np.ndarray, pos: np.ndarray, size: int) -> np.ndarray:
        if size == 1 or not self.wire.aligned:
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
        counts = self.lengths(behind - 4)
        ok = counts * least <= self.end[row] - behind
        behind = self.require(row, ok, behind, f"{what} has a length that the payload cannot hold")
        return np.where(ok, counts, 0), behind

    def lengths(self, pos: np.ndarray) -> np.ndarray:
        """The length words at the positions."""
        return self.take(self.order + "u4", pos).astype(np.int64)

    def terminated(self, pos: np.ndarray) -> np.ndarray:
        """Whether there is a zero byte at the positions."""
        return np.equal(self.take("u1", pos), 0)


class Template(Batch):
    """Payloads of one length that are walked over as one: what is read is read out of all of them.

    Positions are those in the first payload. They hold in the others as long as all length words are the
    same: where one is not, the walk stops with Varying. The values come row by row.
    """

    def __init__(self, payloads: Payloads, rows: np.ndarray, order: str, wire: Wire):
        super().__init__(payloads, rows[:1], order, wire, reading=True)
        self.shift = payloads.offset[rows] - payloads.offset[rows[0]]
        self.length = int(payloads.length[rows[0]])
        self.first = int(payloads.offset[rows[0]])
        self.takes = 0
        # Payloads at even distances, where they are or copied: `pitch` bytes from one to the next.
        self.even: np.ndarray | None = None
        self.pitch = int(self.shift[-1]) // max(len(rows) - 1, 1)
        if self.pitch > 0 and (np.diff(self.shift) == self.pitch).all():
            self.even = self.data[self.first :]

    def positions(self, pos: np.ndarray) -> np.ndarray:
        return (self.shift[:, None] + pos).ravel()

    @property
    def rows(self) -> int:
        return len(self.shift)

    def all_rows(self, counts: np.ndarray) -> np.ndarray:
        return np.tile(counts, self.rows)

    def take(self, dtype: str, pos: np.ndarray) -> np.ndarray:
        step = self._step(pos)
        self.takes += 1
        if self.even is None and self.takes > _FEW_TAKES and self.length <= _GATHERED_BYTES:
            self.even = super().take(f"V{self.length}", self.first + self.shift).view(np.uint8)
            self.pitch = self.length
        if self.even is None or step is None:
            return super().take(dtype, self.positions(pos))
        shape, strides = (self.rows, len(pos)), (self.pitch, step)
        found = np.ndarray(shape, dtype, buffer=self.even, offset=int(pos[0]) - self.first, strides=strides)
        return _copied(found)

    def _step(self, pos: np.ndarray) -> int | None:
        """The distance of the positions where it is the same for all of them."""
        if len(pos) < 2:
            return 0 if len(pos) else None
        steps = np.diff(pos)
        return int(steps[0]) if (steps == steps[0]).all() else None

    def lengths(self, pos: np.ndarray) -> np.ndarray:
        words = super().lengths(pos).reshape(self.rows, -1)
        if (words != words[0]).any():
            raise Varying
        return words[0]

    def terminated(self, pos: np.ndarray) -> np.ndarray:
        return np.logical_and.reduce(super().terminated(pos).reshape(self.rows, -1), axis=0)

    def mark(self, rows: np.ndarray, problem: str) -> None:
        raise Varying

    def slices(self, pos: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        filled = sizes > 0
        pos, sizes = pos[filled], sizes[filled]
        if not len(pos):
            return np.empty(0, np.uint8)
        total = int(sizes.sum())
        if len(pos) > 1 and self._constant(int(pos[0]), int(pos[-1] + sizes[-1]), total):
            return np.tile(ragged(self.data, pos, sizes), len(self.shift))
        if len(pos) > _FEW_PLACES or total > _WIDEST_ITEM:
            return ragged(self.data, self.positions(pos), self.all_rows(sizes))
        if len(pos) == 1:
            return self._columns(int(pos[0]), total)
        out = np.empty((len(self.shift), total), np.uint8)
        first = 0
        for place, size in zip(pos.tolist(), sizes.tolist()):
            out[:, first : first + size] = self._columns(place, size).reshape(-1, size)
            first += size
        return out.ravel()

    def _columns(self, place: int, size: int) -> np.ndarray:
        return self.take(f"V{size}", np.array([place])).view(np.uint8)

    def _constant(self, first: int, last: int, total: int) -> bool:
        """Whether the bytes from `first` to `last`, most of them wanted, are the same in all payloads."""
        if last - first > 4 * total or last - first > _WIDEST_ITEM:
            return False
        found = self._columns(first, last - first).reshape(self.rows, -1)
        return bool((found == found[0]).all())


def _copied(values: np.ndarray) -> np.ndarray:
    """A flat copy, in memory of Arrow: its pool keeps pages, where numpy would get fresh ones for each batch."""
    import pyarrow as pa

    out = np.frombuffer(pa.allocate_buffer(values.nbytes), values.dtype)
    np.copyto(out.reshape(values.shape), values)
    return out


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


def blobs(batch: Batch, pos: np.ndarray, sizes: np.ndarray) -> pa.Array:
    """A Binary array of the bytes at the positions.

    Long ones that fill half of a buffer that cannot change are not copied: the array refers to the buffer.
    """
    import pyarrow as pa

    total = int(sizes.sum()) * batch.rows
    buffer = batch.payloads.unchanging()
    if buffer is None or len(batch.data) >= 1 << 31 or total * 2 <= len(batch.data):
        return byte_strings(pa.large_binary(), batch.all_rows(sizes), batch.slices(pos, sizes))
    pos, sizes = batch.positions(pos), batch.all_rows(sizes)
    filled = sizes > 0
    if total < int(filled.sum()) * _BLOB_BYTES or sizes[filled].min() <= 12:
        return byte_strings(pa.large_binary(), sizes, ragged(batch.data, pos, sizes))
    # A view has the length, the first four bytes, the number of the buffer and the place in it.
    views = np.zeros((len(sizes), 4), np.int32)
    views[:, 0] = sizes
    views[filled, 1] = batch.view("<i4")[pos[filled]]
    views[filled, 3] = pos[filled]
    return pa.Array.from_buffers(pa.binary_view(), len(sizes), [None, pa.py_buffer(views), pa.py_buffer(buffer)])


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
