"""The fields of Protobuf messages as Arrow columns: each node makes one column of many values at once."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from robodf.io.messages.cdr_batch import not_utf8
from robodf.io.messages.columns import lists, names_of, placed, strings, structs, times
from robodf.io.messages.decoder import Fields
from robodf.io.messages.payloads import ragged
from robodf.io.messages.protobuf_wire import (
    FIXED32,
    FIXED64,
    LEN,
    VARINT,
    Batch,
    Found,
    Wanted,
    packed_varints,
    varints,
    walk,
)

if TYPE_CHECKING:
    import pyarrow as pa


class Node(ABC):
    """A type of values; `wire` is how one lies in a message, `width` what a null takes in Arrow, in bytes."""

    dtype: pl.DataType
    wire: int = LEN
    width: int = 8

    @abstractmethod
    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None) -> pa.Array:
        """The values that lie at `pos` of payload `row`. A size of 0 at `batch.zeros` is the default value."""


class Number(Node):
    """A number, bool or enum. `names` are those of an enum, `closed` if it may have no other values."""

    def __init__(
        self, wire: int, kind: str, zigzag: bool, dtype: pl.DataType, names: dict[int, str] | None, closed: bool
    ):
        self.wire = wire
        self.kind = np.dtype(kind)
        self.zigzag = zigzag
        self.names = names
        self.closed = closed
        self.dtype = dtype
        if names:
            self.width = max(8, *(len(name.encode()) for name in names.values()))

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None) -> pa.Array:
        if self.wire != VARINT:
            return self._array(batch, row, batch.view(self.kind.str)[pos])
        long = np.flatnonzero(size > 9)
        if len(long):
            batch.odd[row[long[batch.data[pos[long] + 9] > 1]]] = True
        return self._array(batch, row, self._integers(varints(batch.data, batch.view("<u8"), pos, size)))

    def read_packed(self, batch: Batch, row: np.ndarray, found: Found, path: str) -> tuple[np.ndarray, pa.Array]:
        """How many numbers there are in each chunk, and the numbers."""
        sizes = found.size
        if self.wire == VARINT:
            # A number cut off at the end would go on in the next chunk.
            cut = (sizes > 0) & (batch.data[found.pos + np.maximum(sizes, 1) - 1] >= 0x80)
            raw = ragged(batch.data, found.pos, np.where(cut, 0, sizes))
            values, counts, broken = packed_varints(raw, np.where(cut, 0, sizes))
            values = self._integers(values)
            broken |= cut
        else:
            raw = ragged(batch.data, found.pos, sizes)
            counts = sizes // self.kind.itemsize
            broken = counts * self.kind.itemsize != sizes
            if broken.any():
                raw = ragged(batch.data, found.pos, counts * self.kind.itemsize)
            values = raw.view(self.kind)
        batch.odd[row[broken]] = True
        row = np.repeat(row, counts)
        if self.names is not None:  # one byte becomes a name
            keep = batch.afford(row, np.ones(len(row), dtype=np.int64), self.width, path) > 0
            if not keep.all():
                counts = np.bincount(np.repeat(np.arange(len(counts)), counts)[keep], minlength=len(counts))
                row, values = row[keep], values[keep]
        return counts, self._array(batch, row, values)

    def _integers(self, values: np.ndarray) -> np.ndarray:
        if self.kind.kind == "b":
            return values != 0
        unsigned = values.astype(f"u{self.kind.itemsize}")
        if self.zigzag:
            unsigned = (unsigned >> unsigned.dtype.type(1)) ^ -(unsigned & unsigned.dtype.type(1))
        return unsigned.view(self.kind)

    def _array(self, batch: Batch, row: np.ndarray, values: np.ndarray) -> pa.Array:
        import pyarrow as pa

        if self.names is None:
            return pa.array(values)
        if self.closed:
            batch.odd[row[~np.isin(values, list(self.names))]] = True
        return names_of(values, self.names, None)


class Text(Node):
    dtype = pl.String()

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None) -> pa.Array:
        import pyarrow as pa

        raw = ragged(batch.data, pos, size)
        bad = not_utf8(raw, size)
        if bad.any():
            batch.odd[row[bad]] = True
            size = np.where(bad, 0, size)
            raw = ragged(batch.data, pos, size)
        return strings(pa.large_string(), size, raw, None)


class Bytes(Node):
    dtype = pl.Binary()

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None) -> pa.Array:
        import pyarrow as pa

        return strings(pa.large_binary(), size, ragged(batch.data, pos, size), None)


class Json(Node):
    """`google.protobuf.Struct`, `Value` or `ListValue` as JSON text."""

    dtype = pl.String()

    def __init__(self, type_name: str):
        self.type_name = type_name

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None) -> pa.Array:
        import pyarrow as pa
        from google.protobuf import struct_pb2
        from google.protobuf.message import DecodeError

        kind = getattr(struct_pb2, self.type_name)
        data = batch.data.data
        texts: list[str | None] = []
        for i, first, length in zip(row.tolist(), pos.tolist(), size.tolist()):
            try:
                texts.append(json.dumps(_plain(kind.FromString(data[first : first + length])), ensure_ascii=False))
            except DecodeError:
                batch.odd[i] = True
                texts.append(None)
        return pa.array(texts, pa.large_string())


def _plain(value: Any) -> Any:
    name = value.DESCRIPTOR.name
    if name == "Struct":
        return {key: _plain(value.fields[key]) for key in sorted(value.fields)}
    if name == "ListValue":
        return [_plain(item) for item in value.values]
    kind = value.WhichOneof("kind")
    if kind in ("struct_value", "list_value"):
        return _plain(getattr(value, kind))
    if kind in (None, "null_value"):
        return None
    found = getattr(value, kind)
    # Whole numbers look whole: the message does not tell 1 from 1.0.
    return int(found) if isinstance(found, float) and abs(found) < 2**53 and found == int(found) else found


@dataclass(eq=False)
class Field:
    """A field of a message. `oneof` is the name of the group of which only one field may be there."""

    name: str
    path: str
    number: int
    node: Node
    repeated: bool
    presence: bool
    oneof: str | None = None

    @property
    def dtype(self) -> pl.DataType:
        return pl.List(self.node.dtype) if self.repeated else self.node.dtype

    @property
    def packable(self) -> bool:
        return self.repeated and self.node.wire != LEN

    @property
    def wires(self) -> int:
        return 1 << self.node.wire | (1 << LEN if self.packable else 0)

    def read(self, batch: Batch, row: np.ndarray, found: Found, fields: Fields | None) -> pa.Array:
        """One value per message; `row` are the payloads of the messages."""
        if self.repeated:
            return self._read_list(batch, row, found, fields)
        height = len(row)
        if len(found.message) == height:
            return self.node.read(batch, row, found.pos, found.size, fields)
        if self.presence:
            values = self.node.read(batch, row[found.message], found.pos, found.size, fields)
            return placed(values, found.message, height)
        pos = np.full(height, batch.zeros)
        size = np.zeros(height, dtype=np.int64)
        pos[found.message], size[found.message] = found.pos, found.size
        return self.node.read(batch, row, pos, size, fields)

    def _read_list(self, batch: Batch, row: np.ndarray, found: Found, fields: Fields | None) -> pa.Array:
        mine = row[found.message]
        if isinstance(self.node, Number):
            counts, values = self.node.read_packed(batch, mine, found, self.path)
            per_message = np.bincount(found.message, weights=counts, minlength=len(row)).astype(np.int64)
            return lists(per_message, values)
        keep = batch.afford(mine, np.ones(len(mine), dtype=np.int64), self.node.width, self.path) > 0
        if not keep.all():
            found, mine = Found(*(part[keep] for part in found)), mine[keep]
        if isinstance(self.node, Message) and self.node.is_map:
            values = self.node.read_map(batch, mine, found, fields)
        else:
            values = self.node.read(batch, mine, found.pos, found.size, fields)
        return lists(np.bincount(found.message, minlength=len(row)), values)


@dataclass(eq=False)
class Message(Node):
    """A message: a Struct of its fields; a Boolean that says that it is there where it can have no fields."""

    path: str
    fields: dict[str, Field]
    is_map: bool = False
    dtype: pl.DataType = field(init=False)
    width: int = field(init=False)

    def __post_init__(self) -> None:
        shown = {name: one.dtype for name, one in self.fields.items()}
        self.dtype = pl.Struct(shown) if shown else pl.Boolean()
        self.width = sum(8 if one.repeated else one.node.width for one in self.fields.values()) or 1

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None) -> pa.Array:
        import pyarrow as pa

        columns = self.read_columns(batch, row, pos, size, fields)
        return structs(columns) if columns else pa.array(np.ones(len(row), dtype=bool))

    def read_columns(
        self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None
    ) -> dict[str, pa.Array]:
        wanted = [one for name, one in self.fields.items() if fields is None or name in fields]
        chosen = {one.name for one in wanted}
        groups = {one.oneof for one in wanted if one.oneof is not None}
        # A later member of a oneof unsets the earlier ones, also one that nobody asked for.
        # The package drops map entries with anything but a key and a value.
        others = [
            one for one in self.fields.values() if (self.is_map or one.oneof in groups) and one.name not in chosen
        ]
        places: Wanted = {one.number: (place, one.wires) for place, one in enumerate(wanted + others)}
        found = walk(batch, row, pos, pos + size, places, closed=self.is_map)
        self._refuse_doubles(batch, row, wanted + others, found)
        if self.is_map:
            self._refuse_missing(batch, row, wanted, found)
        columns = {}
        for one, values in zip(wanted, found):
            inner = None if fields is None else fields[one.name]
            columns[one.name] = one.read(batch, row, _last(one, values), inner)
            # What was marked while reading stays in its place: its payload is taken out as a whole.
        return columns

    def _refuse_doubles(self, batch: Batch, row: np.ndarray, among: list[Field], found: list[Found]) -> None:
        """Messages with a field that is there twice, or with two fields of a oneof, are odd."""
        groups: dict[str, list[np.ndarray]] = {}
        for one, values in zip(among, found):
            if not one.repeated:
                groups.setdefault(one.oneof or f" {one.name}", []).append(values.message)
        for places in groups.values():
            if sum(map(len, places)) > 1:
                together = places[0] if len(places) == 1 else np.sort(np.concatenate(places))
                twice = together[1:] == together[:-1]
                if twice.any():
                    batch.odd[row[together[1:][twice]]] = True

    def _refuse_missing(self, batch: Batch, row: np.ndarray, among: list[Field], found: list[Found]) -> None:
        """A message that a map entry leaves out is an empty one, but not null."""
        for one, values in zip(among, found):
            if one.presence and len(values.message) < len(row):
                missing = np.ones(len(row), dtype=bool)
                missing[values.message] = False
                batch.odd[row[missing]] = True

    def read_map(self, batch: Batch, row: np.ndarray, found: Found, fields: Fields | None) -> pa.Array:
        """The entries of maps. Those with a key that is there twice are odd, because the last one counts."""
        with_key = fields if fields is None else {**fields, "key": None}
        columns = self.read_columns(batch, row, found.pos, found.size, with_key)
        twice = found.message[1:] == found.message[:-1]
        if twice.any():
            pairs = pl.DataFrame({"message": found.message, "key": pl.Series(values=pl.from_arrow(columns["key"]))})
            batch.odd[row[pairs.is_duplicated().to_numpy()]] = True
        if fields is not None and "key" not in fields:
            del columns["key"]
        return structs(columns)


def _last(one: Field, found: Found) -> Found:
    """One value per message: the last, of a payload that is odd because it has several."""
    if one.repeated or len(found.message) < 2:
        return found
    keep = np.append(found.message[1:] != found.message[:-1], True)
    return found if keep.all() else Found(*(part[keep] for part in found))


class Stamp(Node):
    """`google.protobuf.Timestamp` or `Duration`; null where it is not valid."""

    def __init__(self, message: Message, dtype: pl.DataType):
        self.message = message
        self.dtype = dtype

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None) -> pa.Array:
        columns = self.message.read_columns(batch, row, pos, size, None)
        seconds, nanos = (columns[name].to_numpy(zero_copy_only=False) for name in ("seconds", "nanos"))
        if isinstance(self.dtype, pl.Datetime):
            ok = (nanos >= 0) & (nanos < 1_000_000_000)
        else:
            signs = (seconds <= 0) & (nanos <= 0) | (seconds >= 0) & (nanos >= 0)
            ok = signs & (np.abs(nanos.astype(np.int64)) < 1_000_000_000)
        return times(seconds, nanos, ok, self.dtype)


class Wrapper(Node):
    """`google.protobuf.DoubleValue` and its like: the value in it."""

    def __init__(self, message: Message):
        self.message = message
        self.dtype = message.fields["value"].dtype

    def read(self, batch: Batch, row: np.ndarray, pos: np.ndarray, size: np.ndarray, fields: Fields | None) -> pa.Array:
        return self.message.read_columns(batch, row, pos, size, None)["value"]


NUMBERS: dict[str, tuple[int, str, bool, pl.DataType]] = {
    "DOUBLE": (FIXED64, "<f8", False, pl.Float64()),
    "FLOAT": (FIXED32, "<f4", False, pl.Float32()),
    "INT64": (VARINT, "<i8", False, pl.Int64()),
    "UINT64": (VARINT, "<u8", False, pl.UInt64()),
    "INT32": (VARINT, "<i4", False, pl.Int32()),
    "FIXED64": (FIXED64, "<u8", False, pl.UInt64()),
    "FIXED32": (FIXED32, "<u4", False, pl.UInt32()),
    "BOOL": (VARINT, "?", False, pl.Boolean()),
    "UINT32": (VARINT, "<u4", False, pl.UInt32()),
    "ENUM": (VARINT, "<i4", False, pl.String()),
    "SFIXED32": (FIXED32, "<i4", False, pl.Int32()),
    "SFIXED64": (FIXED64, "<i8", False, pl.Int64()),
    "SINT32": (VARINT, "<i4", True, pl.Int32()),
    "SINT64": (VARINT, "<i8", True, pl.Int64()),
}
"""By Protobuf type: the wire type, the numpy type, whether it is zigzag coded, the Polars type."""
