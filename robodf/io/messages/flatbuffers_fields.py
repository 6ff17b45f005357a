"""The fields of FlatBuffers as Arrow columns, those of all messages of a batch at once.

Each node reads its value in many places at once: numpy follows the offsets of all messages together. Every
offset and length is checked against the payload that it lies in before it is followed; where it does not fit,
the payload is broken, and reading goes on in zeros behind the buffer (an empty table, an empty vector).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from robodf.io.messages.cdr_batch import not_utf8
from robodf.io.messages.columns import Budget, lists, names_of, placed, strings, structs, times
from robodf.io.messages.decoder import Fields
from robodf.io.messages.payloads import Payloads, ragged

if TYPE_CHECKING:
    import pyarrow as pa

_PADDING = 16


class Batch:
    """The payloads under one walk. `broken` says which of them are, `problems` why."""

    def __init__(self, payloads: Payloads):
        self.data = np.concatenate([payloads.data, np.zeros(_PADDING, np.uint8)])
        self.zeros = len(payloads.data)
        self.start = payloads.offset
        self.end = payloads.offset + payloads.length
        self.broken = np.zeros(len(payloads), dtype=bool)
        self.problems: dict[int, str] = {}
        self.budget = Budget(payloads.length)

    def read(self, kind: str, pos: np.ndarray) -> np.ndarray:
        """The values at these positions."""
        dtype = np.dtype(kind)
        shape = (len(self.data) - dtype.itemsize + 1,)
        return np.ndarray(shape, dtype=dtype, buffer=self.data, strides=(1,))[pos]

    def integers(self, kind: str, pos: np.ndarray) -> np.ndarray:
        return self.read(kind, pos).astype(np.int64)

    def require(self, row: np.ndarray, ok: np.ndarray, problem: str) -> np.ndarray:
        """`ok`; where it is False, the payload is broken."""
        if not ok.all():
            for i in np.unique(row[~ok]).tolist():
                self.problems.setdefault(i, problem)
            self.broken[row[~ok]] = True
        return ok

    def room(self, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        """The bytes from `pos` to the end of the payload; without bound in the zeros."""
        return np.where(pos == self.zeros, np.iinfo(np.int64).max, self.end[row] - pos)

    def follow(self, row: np.ndarray, pos: np.ndarray, path: str) -> np.ndarray:
        """Where the offsets at `pos` lead to: 4 bytes inside of the payload, or the zeros."""
        step = self.integers("<u4", pos)
        nowhere = pos == self.zeros
        target = np.where(nowhere, pos, pos + step)
        ok = nowhere | (step > 0) & (self.end[row] - target >= 4)
        return np.where(self.require(row, ok, f"{path} lies outside of the payload"), target, self.zeros)

    def counted(self, row: np.ndarray, pos: np.ndarray, size: int, width: int, path: str) -> np.ndarray:
        """The counts at `pos` of items that take `size` bytes in the payload and `width` in Arrow."""
        counts = self.integers("<u4", pos)
        ok = counts * size <= self.room(row, pos) - 4
        counts = np.where(self.require(row, ok, f"{path} has a length that the payload cannot hold"), counts, 0)
        return np.where(self.afford(row, counts, width, path), counts, 0)

    def afford(self, row: np.ndarray, counts: np.ndarray, width: int, path: str) -> np.ndarray:
        """Whether the payloads may take that much memory.

        Offsets may lead to one place again and again, so that a small payload stands for a large message.
        """
        ok = self.budget.spend(row, counts, width)
        return self.require(row, ok, f"{path} stands for so much more than it holds that it is not read")


class Node(ABC):
    """A type of values; `size` is what one takes in place, `width` what a null takes in Arrow, in bytes."""

    dtype: pl.DataType
    size: int = 4
    width: int = 8

    @abstractmethod
    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        """The values at `pos`, where `size` bytes lie in payload `row`."""


class Inline(Node):
    """A value that lies where it is: no offset leads to it."""


class Scalar(Inline):
    """A number, bool or enum."""

    def __init__(self, kind: str, dtype: pl.DataType, names: dict[int, str] | None):
        self.kind = np.dtype(kind)
        self.size = self.kind.itemsize
        self.names = names
        self.dtype = dtype if names is None else pl.String()
        self.width = self.size if names is None else max(8, *(len(name.encode()) for name in names.values()), 8)

    def default(self, integer: int, real: float) -> np.generic:
        with np.errstate(over="ignore"):
            return np.float64(real).astype(self.kind) if self.kind.kind == "f" else np.int64(integer).astype(self.kind)

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        return self.array(self.values(batch, pos), None)

    def values(self, batch: Batch, pos: np.ndarray) -> np.ndarray:
        return batch.read("u1", pos) != 0 if self.kind.kind == "b" else batch.read(self.kind.str, pos)

    def array(self, values: np.ndarray, absent: np.ndarray | None) -> pa.Array:
        import pyarrow as pa

        if self.names is not None:
            return names_of(values, self.names, absent)
        return pa.array(values, mask=absent)


class StructNode(Inline):
    """A struct: its fields at fixed places."""

    def __init__(self, path: str, members: dict[str, Member], size: int):
        self.path = path
        self.members = members
        self.size = size
        self.dtype = pl.Struct({name: one.node.dtype for name, one in members.items()})
        self.width = sum(one.node.width for one in members.values())

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        wanted = {name: one for name, one in self.members.items() if fields is None or name in fields}
        # In the zeros there is not always room for all of a struct, but one of its fields is as zero as another.
        return structs(
            {
                name: one.node.read(
                    batch, row, np.where(pos == batch.zeros, pos, pos + one.place), fields and fields[name]
                )
                for name, one in wanted.items()
            }
        )


class Stamp(Inline):
    """`foxglove.Time` or `foxglove.Duration` (seconds and nanoseconds in 32 bits each); null where not valid."""

    size = 8

    def __init__(self, dtype: pl.DataType):
        self.dtype = dtype

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        seconds = batch.integers("<u4" if isinstance(self.dtype, pl.Datetime) else "<i4", pos)
        nanos = batch.integers("<u4", pos + 4)
        return times(seconds, nanos, nanos < 1_000_000_000, self.dtype)


class FixedArray(Inline):
    """`[T:N]`, which only structs have: Array, or List where a null would take more than 32 KiB."""

    def __init__(self, item: Inline, count: int, wide: bool):
        self.item = item
        self.count = count
        self.wide = wide
        self.size = item.size * count
        self.dtype = pl.List(item.dtype) if wide else pl.Array(item.dtype, count)
        self.width = 8 if wide else item.width * count

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        import pyarrow as pa

        places = np.repeat(pos, self.count)
        step = np.tile(np.arange(self.count) * self.item.size, len(pos))
        places = np.where(places == batch.zeros, places, places + step)
        values = self.item.read(batch, np.repeat(row, self.count), places, fields)
        if self.wide:
            return lists(np.full(len(pos), self.count), values)
        return pa.FixedSizeListArray.from_arrays(values, self.count)


class Text(Node):
    dtype = pl.String()

    def __init__(self, path: str):
        self.path = path

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        import pyarrow as pa

        at = batch.follow(row, pos, self.path)
        sizes = batch.counted(row, at, 1, 1, self.path)
        raw = ragged(batch.data, at + 4, sizes)
        bad = not_utf8(raw, sizes)
        if bad.any():
            batch.require(row, ~bad, f"{self.path} is not UTF-8")
            sizes = np.where(bad, 0, sizes)
            raw = ragged(batch.data, at + 4, sizes)
        return strings(pa.large_string(), sizes, raw, None)


class Vector(Node):
    """`[T]`: List, or Binary where it is `[ubyte]`."""

    def __init__(self, path: str, item: Node, binary: bool):
        self.path = path
        self.item = item
        self.binary = binary
        self.dtype = pl.Binary() if binary else pl.List(item.dtype)

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        import pyarrow as pa

        at = batch.follow(row, pos, self.path)
        size = self.item.size
        counts = batch.counted(row, at, size, max(self.item.width, 1), self.path)
        if self.binary:
            return strings(pa.large_binary(), counts, ragged(batch.data, at + 4, counts), None)
        if isinstance(self.item, Scalar):
            raw = ragged(batch.data, at + 4, counts * size)
            values = raw != 0 if self.item.kind.kind == "b" else raw.view(self.item.kind)
            return lists(counts, self.item.array(values, None))
        before = np.cumsum(counts) - counts
        index = np.arange(int(counts.sum())) - np.repeat(before, counts)
        places = np.repeat(at + 4, counts) + index * size
        return lists(counts, self.item.read(batch, np.repeat(row, counts), places, fields))


class Member(NamedTuple):
    """A field of a struct or table. `place` is where it lies in the struct, or its slot in the vtable; `default` is
    that of a scalar in a table, None where it is null when it is not there."""

    path: str
    node: Node
    place: int
    default: Any


class Table(Node):
    """A table: a Struct of its fields; a Boolean that says that it is there where it can have no fields."""

    def __init__(self, path: str, members: dict[str, Member]):
        self.path = path
        self.members = members
        shown = {name: one.node.dtype for name, one in members.items()}
        self.dtype = pl.Struct(shown) if shown else pl.Boolean()
        self.width = sum(one.node.width for one in members.values()) or 1

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        import pyarrow as pa

        columns = self.read_columns(batch, row, batch.follow(row, pos, self.path), fields)
        return structs(columns) if columns else pa.array(np.ones(len(row), dtype=bool))

    def read_columns(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None
    ) -> dict[str, pa.Array]:
        """The fields of the tables at `pos`, where 4 bytes are inside of the payload."""
        view = _View.of(batch, row, pos, self.path)
        columns = {}
        for name, one in self.members.items():
            if fields is not None and name not in fields:
                continue
            inner = None if fields is None else fields[name]
            at = view.place(one.place, one.node.size, one.path)
            present = at != batch.zeros
            if isinstance(one.node, Scalar):
                values = one.node.values(batch, at)
                if one.default is None:
                    columns[name] = one.node.array(values, ~present)
                else:
                    columns[name] = one.node.array(np.where(present, values, one.default), None)
            elif isinstance(one.node, Union):
                columns[name] = one.node.read_members(view, at, inner)
            else:
                if isinstance(one.node, Inline):  # many fields may lie in one place
                    present &= batch.afford(row, present, one.node.size + one.node.width, one.path)
                here = np.flatnonzero(present)
                columns[name] = placed(one.node.read(batch, row[here], at[here], inner), here, len(row))
        return columns


class _View(NamedTuple):
    """Many tables of one type, with their vtables."""

    batch: Batch
    row: np.ndarray
    pos: np.ndarray
    vtable: np.ndarray
    vtable_size: np.ndarray
    table_size: np.ndarray

    @staticmethod
    def of(batch: Batch, row: np.ndarray, pos: np.ndarray, path: str) -> _View:
        real = pos != batch.zeros
        vtable = pos - batch.integers("<i4", pos)
        ok = ~real | (vtable >= batch.start[row]) & (vtable <= batch.end[row] - 4)
        problem = f"{path} has a vtable that is outside of the payload"
        real &= batch.require(row, ok, problem)
        vtable = np.where(real, vtable, batch.zeros)
        sizes, inner = batch.integers("<u2", vtable), batch.integers("<u2", vtable + 2)
        ok = ~real | (sizes >= 4) & (sizes <= batch.end[row] - vtable) & (inner <= batch.end[row] - pos)
        real &= batch.require(row, ok, problem)
        return _View(batch, row, pos, vtable, np.where(real, sizes, 0), inner)

    def place(self, slot: int, size: int, path: str) -> np.ndarray:
        """Where a field lies; the zeros where the table does not have it."""
        has = slot + 2 <= self.vtable_size
        offset = self.batch.integers("<u2", np.where(has, self.vtable + slot, self.batch.zeros))
        ok = (offset == 0) | (offset >= 4) & (offset + size <= self.table_size)
        has = (offset > 0) & self.batch.require(self.row, ok, f"{path} lies outside of its table")
        return np.where(has, self.pos + offset, self.batch.zeros)


class Union(Node):
    """A union: a Struct of all its members, of which one is not null; null where it is none of them."""

    def __init__(self, members: dict[int, tuple[str, Node]], type_slot: int):
        self.members = members
        self.type_slot = type_slot
        self.dtype = pl.Struct({name: node.dtype for name, node in members.values()})
        self.width = sum(node.width for _, node in members.values())

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, fields: Fields | None) -> pa.Array:
        raise TypeError("a union is read together with its type: read_members")

    def read_members(self, view: _View, at: np.ndarray, fields: Fields | None) -> pa.Array:
        batch = view.batch
        kinds = batch.integers("u1", view.place(self.type_slot, 1, "the type of a union"))
        here = np.flatnonzero((at != batch.zeros) & np.isin(kinds, list(self.members)))
        row, at, kinds = view.row[here], at[here], kinds[here]
        columns = {}
        for number, (name, node) in self.members.items():
            if fields is not None and name not in fields:
                continue
            mine = np.flatnonzero(kinds == number)
            places = at[mine]
            if isinstance(node, Inline):
                places = batch.follow(row[mine], places, "a member of a union")
                ok = batch.room(row[mine], places) >= node.size
                ok = batch.require(row[mine], ok, "a member of a union runs past the end of the payload")
                places = np.where(ok, places, batch.zeros)
            values = node.read(batch, row[mine], places, None if fields is None else fields[name])
            columns[name] = placed(values, mine, len(here))
        return placed(structs(columns), here, len(view.row))
