"""A binary FlatBuffers schema (.bfbs) as the tree of nodes of one table.

It is itself a FlatBuffer, of the tables in FlatBuffers' `reflection.fbs`; the numbers of the fields below are
those of that file. It comes out of a recording: every offset is checked against the buffer before it is
followed, and what becomes of it is bounded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache

import polars as pl

from robodf.io.messages.columns import SchemaDataError
from robodf.io.messages.decoder import ARRAY_BYTES
from robodf.io.messages.flatbuffers_fields import (
    FixedArray,
    Inline,
    Member,
    Node,
    Scalar,
    Stamp,
    StructNode,
    Table,
    Text,
    Union,
    Vector,
)

_MOST_SCHEMA_BYTES = 1 << 22
_MOST_FIELDS = 20_000
_MOST_DEPTH = 50
_MOST_TABLES = 200_000
_MOST_NAME = 1000

_UTYPE, _BOOL, _UBYTE, _DOUBLE, _STRING, _VECTOR, _OBJ, _UNION, _ARRAY = 1, 2, 4, 12, 13, 14, 15, 16, 17
_NUMBERS: dict[int, tuple[str, pl.DataType]] = {
    _UTYPE: ("<u1", pl.UInt8()),
    _BOOL: ("?", pl.Boolean()),
    3: ("<i1", pl.Int8()),
    _UBYTE: ("<u1", pl.UInt8()),
    5: ("<i2", pl.Int16()),
    6: ("<u2", pl.UInt16()),
    7: ("<i4", pl.Int32()),
    8: ("<u4", pl.UInt32()),
    9: ("<i8", pl.Int64()),
    10: ("<u8", pl.UInt64()),
    11: ("<f4", pl.Float32()),
    _DOUBLE: ("<f8", pl.Float64()),
}
_TIMES: dict[tuple[str, tuple[tuple[str, int], ...]], pl.DataType] = {
    ("foxglove.Time", (("sec", 8), ("nsec", 8))): pl.Datetime("ns"),
    ("foxglove.Duration", (("sec", 7), ("nsec", 8))): pl.Duration("ns"),
}


@lru_cache(maxsize=256)
def compiled(type_name: str, schema_data: bytes) -> Table:
    """The tree of a table in a .bfbs; raises SchemaDataError where it cannot be had."""
    if len(schema_data) > _MOST_SCHEMA_BYTES:
        raise SchemaDataError(f"the schema has {len(schema_data)} bytes, more than {_MOST_SCHEMA_BYTES}")
    if schema_data[4:8] != b"BFBS":
        raise SchemaDataError("the schema is no binary FlatBuffers schema (BFBS)")
    return _Builder(_Schema(schema_data)).root(type_name)


class _Reader:
    """Checked access to the tables of a schema."""

    def __init__(self, data: bytes):
        self.data = data
        self.tables = 0

    def number(self, kind: str, pos: int) -> int:
        return self._unpack(kind, pos)

    def real(self, pos: int) -> float:
        return self._unpack("d", pos)

    def _unpack(self, kind: str, pos: int):
        if pos < 0 or pos + struct.calcsize("<" + kind) > len(self.data):
            raise SchemaDataError("the schema is broken: an offset lies outside of it")
        return struct.unpack_from("<" + kind, self.data, pos)[0]

    def follow(self, pos: int) -> int:
        return pos + self.number("I", pos)

    def text(self, pos: int) -> str:
        start = self.follow(pos)
        size = self.number("I", start)
        if size > min(_MOST_NAME, len(self.data) - start - 4):
            raise SchemaDataError(f"the schema has a name of {size} bytes")
        try:
            name = self.data[start + 4 : start + 4 + size].decode("utf-8")
        except UnicodeDecodeError as error:
            raise SchemaDataError("the schema has a name that is not UTF-8") from error
        if not name or "\0" in name:
            raise SchemaDataError("the schema has a name that no column can have")
        return name

    def table(self, pos: int) -> _Row:
        self.tables += 1
        if self.tables > _MOST_TABLES:
            raise SchemaDataError("the schema is too large")
        vtable = pos - self.number("i", pos)
        return _Row(self, pos, vtable, self.number("H", vtable))

    def items(self, pos: int) -> range:
        """The positions of the offsets in a vector of tables."""
        start = self.follow(pos)
        count = self.number("I", start)
        if count * 4 > len(self.data) - start - 4:
            raise SchemaDataError("the schema is broken: a vector runs past its end")
        return range(start + 4, start + 4 + count * 4, 4)


@dataclass(frozen=True)
class _Row:
    """One table; the methods take the number of a field in it."""

    reader: _Reader
    pos: int
    vtable: int
    size: int

    def at(self, field: int) -> int | None:
        slot = 4 + 2 * field
        offset = self.reader.number("H", self.vtable + slot) if slot + 2 <= self.size else 0
        return self.pos + offset if offset else None

    def number(self, field: int, kind: str, default: int = 0) -> int:
        at = self.at(field)
        return default if at is None else self.reader.number(kind, at)

    def real(self, field: int) -> float:
        at = self.at(field)
        return 0.0 if at is None else self.reader.real(at)

    def text(self, field: int) -> str:
        at = self.at(field)
        if at is None:
            raise SchemaDataError("the schema has something without a name")
        return self.reader.text(at)

    def table(self, field: int) -> _Row | None:
        at = self.at(field)
        return None if at is None else self.reader.table(self.reader.follow(at))

    def tables(self, field: int) -> list[_Row]:
        at = self.at(field)
        if at is None:
            return []
        return [self.reader.table(self.reader.follow(item)) for item in self.reader.items(at)]


@dataclass(frozen=True)
class _Type:
    base: int
    element: int
    index: int
    count: int

    @staticmethod
    def of(row: _Row | None) -> _Type:
        if row is None:
            return _Type(0, 0, -1, 0)
        return _Type(row.number(0, "B"), row.number(1, "B"), row.number(2, "i", -1), row.number(3, "H"))


@dataclass(frozen=True)
class _Field:
    name: str
    type: _Type
    id: int
    offset: int
    integer: int
    real: float
    optional: bool


@dataclass
class _Object:
    name: str
    is_struct: bool
    size: int
    fields: list[_Field]


@dataclass
class _Schema:
    """The objects (tables and structs) and enums of a schema, read when they are first asked for."""

    data: bytes
    objects: dict[int, _Object] = field(default_factory=dict)
    enums: dict[int, dict[int, tuple[str, _Type]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reader = _Reader(self.data)
        root = self.reader.table(self.reader.follow(0))
        self.object_rows = root.tables(0)
        self.enum_rows = root.tables(1)

    def index(self, name: str) -> int:
        for i, row in enumerate(self.object_rows):
            if row.text(0) == name:
                return i
        raise SchemaDataError(f"the schema does not define {name}")

    def object(self, index: int) -> _Object:
        if index not in self.objects:
            if not 0 <= index < len(self.object_rows):
                raise SchemaDataError("the schema is broken: it names an object that is not in it")
            row = self.object_rows[index]
            fields = [
                _Field(
                    one.text(0), _Type.of(one.table(1)), one.number(2, "H"), one.number(3, "H"), one.number(4, "q"),
                    one.real(5), bool(one.number(11, "B")),
                )
                for one in row.tables(1)
                if not one.number(6, "B")
            ]  # fmt: skip
            fields.sort(key=lambda one: one.id)
            self.objects[index] = _Object(row.text(0), bool(row.number(2, "B")), row.number(4, "i"), fields)
        return self.objects[index]

    def enum(self, index: int) -> dict[int, tuple[str, _Type]]:
        """By number: the name of a value, and the type of a member of a union."""
        if index not in self.enums:
            if not 0 <= index < len(self.enum_rows):
                raise SchemaDataError("the schema is broken: it names an enum that is not in it")
            found: dict[int, tuple[str, _Type]] = {}
            for one in self.enum_rows[index].tables(1):
                found.setdefault(one.number(1, "q"), (one.text(0), _Type.of(one.table(3))))
            self.enums[index] = found
        return self.enums[index]


class _Builder:
    """Makes the tree of nodes, within bounds: a schema of a few lines can stand for a tree without end."""

    def __init__(self, schema: _Schema):
        self.schema = schema
        self.fields = 0

    def root(self, name: str) -> Table:
        index = self.schema.index(name)
        if self.schema.object(index).is_struct:
            raise SchemaDataError(f"{name} is a struct: a message must be a table")
        node = self.object("", index, ())
        assert isinstance(node, Table)
        return node

    def object(self, path: str, index: int, above: tuple[int, ...]) -> Table | StructNode | Stamp:
        if len(above) > _MOST_DEPTH:
            raise SchemaDataError(f"tables are nested more than {_MOST_DEPTH} deep")
        kind = self.schema.object(index)
        shape = tuple((one.name, one.type.base) for one in kind.fields)
        if kind.is_struct and (kind.name, shape) in _TIMES and [one.offset for one in kind.fields] == [0, 4]:
            return Stamp(_TIMES[kind.name, shape])
        members: dict[str, Member] = {}
        used = 0
        for one in kind.fields:
            self.fields += 1
            if self.fields > _MOST_FIELDS:
                raise SchemaDataError(f"the message has more than {_MOST_FIELDS} fields")
            inner = f"{path}.{one.name}" if path else one.name
            if one.name in members:
                raise SchemaDataError(f"{kind.name} has two fields named {one.name!r}")
            node = self.node(inner, one, (*above, index))
            if node is None:
                continue
            if kind.is_struct:
                used += node.size
                if not isinstance(node, Inline) or max(one.offset + node.size, used) > kind.size:
                    raise SchemaDataError(f"{inner} does not fit into its struct")
                members[one.name] = Member(inner, node, one.offset, None)
            else:
                default = None
                if isinstance(node, Scalar) and not one.optional:
                    default = node.default(one.integer, one.real)
                members[one.name] = Member(inner, node, 4 + 2 * one.id, default)
        if kind.is_struct:
            if not members or kind.size < 1:
                raise SchemaDataError(f"{kind.name} is a struct of nothing")
            return StructNode(path, members, kind.size)
        return Table(path or kind.name, members)

    def node(self, path: str, one: _Field, above: tuple[int, ...]) -> Node | None:
        kind = one.type
        if kind.base == _VECTOR:
            item = None if kind.element in (_UNION, _VECTOR) else self.single(path, kind.element, kind.index, above)
            return None if item is None else Vector(path, item, kind.element == _UBYTE and kind.index < 0)
        if kind.base == _ARRAY:
            item = self.single(path, kind.element, kind.index, above)
            if not isinstance(item, Inline) or not kind.count:
                raise SchemaDataError(f"{path} is an array of what has no fixed size")
            return FixedArray(item, kind.count, max(item.width, item.size) * kind.count > ARRAY_BYTES)
        if kind.base == _UNION:
            return self.union(path, one, above)
        return self.single(path, kind.base, kind.index, above)

    def single(self, path: str, base: int, index: int, above: tuple[int, ...]) -> Node | None:
        if base in _NUMBERS:
            names = None
            if index >= 0:
                names = {number: name for number, (name, _) in self.schema.enum(index).items()}
            return Scalar(*_NUMBERS[base], names)
        if base == _STRING:
            return Text(path)
        if base == _OBJ:
            return None if index in above else self.object(path, index, above)
        raise SchemaDataError(f"{path} is of the base type {base}, which is not read")

    def union(self, path: str, one: _Field, above: tuple[int, ...]) -> Node | None:
        if one.id < 1:
            raise SchemaDataError(f"{path} is a union without a type")
        members: dict[int, tuple[str, Node]] = {}
        for number, (name, kind) in self.schema.enum(one.type.index).items():
            if kind.base in (_STRING, _OBJ):
                node = self.single(f"{path}.{name}", kind.base, kind.index, above)
                if node is not None and name not in (known for known, _ in members.values()):
                    members[number] = (name, node)
        return Union(members, 4 + 2 * (one.id - 1)) if members else None
