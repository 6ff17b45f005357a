"""Columns out of CDR and ROS 1 messages, all messages of a batch at once.

A message type is a tree of nodes. Each node knows how to walk over its value in *many* places at once: it
takes an array of positions, checks them against the ends of their payloads, and gives the positions behind
the value (`skip`), and with `read` also an Arrow array. So no Python object is made per message, and fields
that are not asked for are only stepped over. Alignment is that of plain CDR (XCDR1): every primitive starts
at a multiple of its size, counted from behind the 4 bytes of encapsulation header. ROS 1 aligns nothing, and
does not end its strings with a zero byte: the `Wire` of a tree says so.

Where all payloads have one length, a `Template` walks over the first one only, and reads out of all.

Every count in a payload is checked against what is left of the payload before memory is taken for it.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from robodf.io.messages.cdr_batch import (
    Batch,
    Wire,
    blobs,
    byte_strings,
    even_offsets,
    not_utf8,
    numbers,
    ordered,
    spans,
)
from robodf.io.messages.decoder import Fields
from robodf.io.messages.payloads import list_offsets

if TYPE_CHECKING:
    import pyarrow as pa

# With fewer lists of strings than this, a Python loop over one list beats a numpy step over all of them.
_FEW_LISTS = 8


class Node(ABC):
    """A type in a message; `path` names it in messages, `dtype` is its Polars type.

    `least` is the smallest number of bytes of a value, `static` says that the size depends on the
    alignment alone: then `size_from(phase)` gives it for a start at `phase` (0 to 7) bytes behind a multiple
    of eight, padding before the value included. `width` is the Arrow memory of a null, in bytes.
    """

    path: str
    dtype: pl.DataType | None
    least: int
    static: bool
    width: int

    def size_from(self, phase: int) -> int:
        raise TypeError(f"the size of {self.path} depends on its value")

    @abstractmethod
    def skip(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def read(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pa.Array]: ...


class Primitives(Node):
    """A number, or `count` numbers in a row (`T[N]`)."""

    static = True

    def __init__(self, wire: Wire, path: str, numpy_type: str, dtype: pl.DataType, count: int | None, wide: bool):
        self.wire = wire
        self.path = path
        self.kind = np.dtype(numpy_type)
        self.many = count
        self.wide = wide
        self.size = self.kind.itemsize
        self.least = self.size * (count or 1)
        self.dtype = dtype if count is None else pl.List(dtype) if wide else pl.Array(dtype, count)
        self.width = 8 if wide else self.least

    def size_from(self, phase: int) -> int:
        return (-phase % self.size if self.wire.aligned else 0) + self.least

    def skip(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        return batch.advance(row, batch.align(row, pos, self.size), self.least, self.path)

    def read(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pa.Array]:
        import pyarrow as pa

        pos = batch.align(row, pos, self.size)
        behind = batch.advance(row, pos, self.least, self.path)
        if self.many is None:
            return behind, numbers(batch.take(ordered(batch, self.kind), pos), self.kind)
        # A row of numbers is copied as one opaque value.
        raw = batch.take(f"V{self.least}", pos)
        values = numbers(raw.view(ordered(batch, self.kind)), self.kind)
        if self.wide:
            return behind, pa.LargeListArray.from_arrays(even_offsets(len(raw), self.many), values)
        return behind, pa.FixedSizeListArray.from_arrays(values, self.many)


class PrimitiveList(Node):
    """`T[]` or `T[<=N]` of numbers; `binary` where it is an unbounded list of bytes."""

    static = False
    least = 4
    width = 8

    def __init__(self, path: str, numpy_type: str, dtype: pl.DataType, binary: bool):
        self.path = path
        self.kind = np.dtype(numpy_type)
        self.binary = binary
        self.dtype = pl.Binary() if binary else pl.List(dtype)

    def _find(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        size = self.kind.itemsize
        counts, pos = batch.count(row, pos, size, self.path)
        # An empty list has no element that wants alignment.
        pos = np.where(counts > 0, batch.align(row, pos, size), pos)
        return counts, pos, batch.advance(row, pos, counts * size, self.path)

    def skip(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        return self._find(batch, row, pos)[2]

    def read(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pa.Array]:
        import pyarrow as pa

        counts, pos, behind = self._find(batch, row, pos)
        if self.binary:
            return behind, blobs(batch, pos, counts)
        raw = batch.slices(pos, counts * self.kind.itemsize)
        values = numbers(raw.view(ordered(batch, self.kind)), self.kind)
        return behind, pa.LargeListArray.from_arrays(list_offsets(batch.all_rows(counts)), values)


class Text(Node):
    """`string`: UTF-8, and in CDR a zero byte, both counted; a count of 0 also means empty, as in Fast-CDR."""

    static = False
    least = 4
    width = 8
    dtype = pl.String()

    def __init__(self, path: str):
        self.path = path

    def _find(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        counts, pos = batch.count(row, pos, 1, self.path)
        behind = pos + counts
        if not batch.wire.terminated:
            return counts, pos, behind
        # Where a text has no bytes, the position is that of the end of its length word.
        ok = (counts == 0) | batch.terminated(behind - 1)
        behind = batch.require(row, ok, behind, f"{self.path} is a string without its terminating zero")
        return np.maximum(counts - 1, 0), pos, behind

    def skip(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        return self._find(batch, row, pos)[2]

    def skip_many(self, batch: Batch, row: int, pos: int, count: int) -> tuple[list[int], int]:
        """Where each of `count` strings in a row starts, and where the last one ends (-1: one is broken)."""
        data = batch.data.data
        word = struct.Struct(batch.order + "I").unpack_from
        start, end = int(batch.start[row]), int(batch.end[row])
        most_padding, terminated = 3 if batch.wire.aligned else 0, batch.wire.terminated
        places = []
        for _ in range(count):
            places.append(pos)
            pos += (start - pos) & most_padding
            pos += 4
            if pos > end:
                return places, -1
            size = word(data, pos - 4)[0]
            pos += size
            if pos > end or (terminated and size and data[pos - 1]):
                return places, -1
        return places, pos

    def read(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pa.Array]:
        import pyarrow as pa

        sizes, pos, behind = self._find(batch, row, pos)
        raw = batch.slices(pos, sizes)
        bad = not_utf8(raw, batch.all_rows(sizes))
        if bad.any():
            batch.mark(np.repeat(row, batch.rows)[bad], f"{self.path} is not UTF-8")
            sizes = np.where(bad, 0, sizes)
            raw = batch.slices(pos, sizes)
        return behind, byte_strings(pa.large_string(), batch.all_rows(sizes), raw)


class WideText(Node):
    """`wstring`: a count, then each UTF-16 unit in 4 bytes (what the ROS 2 middlewares agree on)."""

    static = False
    least = 4
    width = 8
    dtype = pl.String()

    def __init__(self, path: str):
        self.path = path

    def skip(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        counts, pos = batch.count(row, pos, 4, self.path)
        return pos + counts * 4

    def read(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pa.Array]:
        import pyarrow as pa

        sizes, pos = batch.count(row, pos, 4, self.path)
        units = batch.slices(pos, sizes * 4).view(batch.order + "u4")
        counts = batch.all_rows(sizes)
        texts = []
        bad = np.zeros(len(counts), dtype=bool)
        for i, (first, last) in enumerate(spans(counts)):
            piece = units[first:last]
            kind, codec = ("<u4", "utf-32-le") if (piece > 0xFFFF).any() else ("<u2", "utf-16-le")
            try:
                texts.append(piece.astype(kind).tobytes().decode(codec))
            except UnicodeDecodeError:
                texts.append("")
                bad[i] = True
        if bad.any():
            batch.mark(np.repeat(row, batch.rows)[bad], f"{self.path} is not UTF-16")
        return pos + sizes * 4, pa.array(texts, pa.large_string())


class Stamp(Node):
    """Seconds and nanoseconds, 4 bytes each, of a point in time or a duration; null where not valid.

    `kinds` are their numpy types: int32 and uint32 in `builtin_interfaces`, other ones in ROS 1.
    """

    static = True
    least = 8
    width = 8

    def __init__(self, wire: Wire, path: str, dtype: pl.DataType, kinds: tuple[str, str]):
        self.wire = wire
        self.path = path
        self.dtype = dtype
        self.kinds = kinds

    def size_from(self, phase: int) -> int:
        return (-phase % 4 if self.wire.aligned else 0) + 8

    def skip(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        return batch.advance(row, batch.align(row, pos, 4), 8, self.path)

    def read(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pa.Array]:
        import pyarrow as pa

        pos = batch.align(row, pos, 4)
        behind = batch.advance(row, pos, 8, self.path)
        pairs = batch.take("V8", pos).view([(name, batch.order + kind) for name, kind in zip("sn", self.kinds)])
        sec, nanosec = pairs["s"].astype(np.int64), pairs["n"].astype(np.int64)
        invalid = np.abs(nanosec) >= 1_000_000_000
        kind = pa.timestamp("ns") if isinstance(self.dtype, pl.Datetime) else pa.duration("ns")
        ns = sec * 1_000_000_000 + nanosec
        return behind, pa.array(ns, mask=invalid if invalid.any() else None).cast(kind)


class Message(Node):
    """A nested message: a struct of its fields. Fields that hold nothing (empty messages) are no columns."""

    def __init__(self, path: str, nodes: dict[str, Node]):
        self.path = path
        self.nodes = nodes
        shown = {name: node.dtype for name, node in nodes.items() if node.dtype is not None}
        self.dtype = pl.Struct(shown) if shown else None
        self.least = sum(node.least for node in nodes.values())
        self.static = all(node.static for node in nodes.values())
        self.width = sum(node.width for node in nodes.values())

    def size_from(self, phase: int) -> int:
        size = 0
        for node in self.nodes.values():
            size += node.size_from((phase + size) & 7)
        return size

    def skip(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        if self.static:
            return batch.advance(row, pos, _sizes(self)[(pos - batch.start[row]) & 7], self.path)
        for node in self.nodes.values():
            pos = node.skip(batch, row, pos)
        return pos

    def read(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pa.Array]:
        import pyarrow as pa

        pos, columns = self.read_columns(batch, row, pos, fields)
        return pos, pa.StructArray.from_arrays(list(columns.values()), list(columns))

    def read_columns(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, dict[str, pa.Array]]:
        columns = {}
        for name, node in self.nodes.items():
            if node.dtype is None or (fields is not None and name not in fields):
                pos = node.skip(batch, row, pos)
            else:
                pos, columns[name] = node.read(batch, row, pos, None if fields is None else fields[name])
        return pos, columns


class Repeated(Node):
    """A list (`T[]`, `T[<=N]`) or array (`T[N]`) of strings, stamps or messages."""

    def __init__(self, path: str, item: Node, count: int | None, wide: bool):
        self.path = path
        self.item = item
        self.many = count
        self.fixed = count is not None and not wide
        self.static = count is not None and item.static
        self.least = 4 if count is None else count * item.least
        self.width = item.width * (count or 0) if self.fixed else 8
        if item.dtype is None:
            self.dtype = None
        else:
            self.dtype = pl.Array(item.dtype, count) if self.fixed and count else pl.List(item.dtype)

    def size_from(self, phase: int) -> int:
        first = self.item.size_from(phase)
        count = self.many or 0
        return first + (count - 1) * self.item.size_from((phase + first) & 7)

    def skip(self, batch: Batch, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        return self._find(batch, row, pos, False)[1]

    def read(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> tuple[np.ndarray, pa.Array]:
        import pyarrow as pa

        counts, behind, places = self._find(batch, row, pos, True)
        _, values = self.item.read(batch, np.repeat(row, counts), places, fields)
        if self.fixed:
            return behind, pa.FixedSizeListArray.from_arrays(values, self.many)
        return behind, pa.LargeListArray.from_arrays(list_offsets(batch.all_rows(counts)), values)

    def _find(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, places: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The number of items, the position behind them, and with `places` that of each item in row order."""
        if self.many is None:
            counts, pos = batch.count(row, pos, self.item.least, self.path)
        else:
            counts = np.full(len(row), self.many)
            pos = batch.require(
                row, batch.end[row] - pos >= self.least, pos, f"{self.path} runs past the end of the payload"
            )
        return (self._evenly if self.item.static else self._one_by_one)(batch, row, pos, counts, places)

    def _evenly(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, counts: np.ndarray, places: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # From the second item on all items start at one phase of their largest alignment, so they have one
        # stride: only the first may differ.
        sizes = _sizes(self.item)
        start = batch.start[row]
        second = pos + sizes[(pos - start) & 7]
        stride = sizes[(second - start) & 7]
        length = np.where(counts > 0, second - pos + (counts - 1) * stride, 0)
        behind = batch.advance(row, pos, length, self.path)
        if not places:
            return counts, behind, pos
        index = np.arange(int(counts.sum())) - np.repeat(list_offsets(counts)[:-1], counts)
        later = np.repeat(second, counts) + (index - 1) * np.repeat(stride, counts)
        return counts, behind, np.where(index == 0, np.repeat(pos, counts), later)

    def _one_by_one(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, counts: np.ndarray, places: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # All first items of the batch, then all second items, ...: as many steps as the longest list is long.
        offsets = list_offsets(counts)[:-1]
        found = np.empty(int(counts.sum()) if places else 0, dtype=np.int64)
        behind = pos.copy()
        active = np.flatnonzero(counts > 0)
        step = 0
        while len(active):
            if isinstance(self.item, Text) and len(active) < _FEW_LISTS:
                self._strings(batch, row, behind, counts, active, step, offsets, found)
                break
            if places:
                found[offsets[active] + step] = behind[active]
            behind[active] = self.item.skip(batch, row[active], behind[active])
            step += 1
            active = active[counts[active] > step]
            if not batch.reading:  # while reading, texts that are not UTF-8 are broken and yet in their place
                active = active[~batch.broken[row[active]]]
        return counts, behind, found

    def _strings(
        self,
        batch: Batch,
        row: np.ndarray,
        behind: np.ndarray,
        counts: np.ndarray,
        active: np.ndarray,
        step: int,
        offsets: np.ndarray,
        found: np.ndarray,
    ) -> None:
        """The rest of few lists of strings, one list after the other."""
        assert isinstance(self.item, Text)
        for i in active.tolist():
            left = int(counts[i]) - step
            places, end = self.item.skip_many(batch, int(row[i]), int(behind[i]), left)
            if end < 0:
                one = np.array([i])
                behind[i] = batch.require(row[one], one < 0, one, f"{self.path} has a broken string")[0]
                continue
            behind[i] = end
            if len(found):
                found[offsets[i] + step : offsets[i] + step + left] = places
            elif batch.rows > 1:  # the texts of the other rows, that nobody reads
                self.item.skip(batch, np.full(left, row[i]), np.array(places, dtype=np.int64))


def _sizes(node: Node) -> np.ndarray:
    return np.array([node.size_from(phase) for phase in range(8)], dtype=np.int64)
