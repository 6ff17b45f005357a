"""Writes FlatBuffers and their binary schemas from plain Python values, by the `flatbuffers` package."""

from __future__ import annotations

import struct
from typing import Any

import flatbuffers

BASES = ["", "utype", "bool", "byte", "ubyte", "short", "ushort", "int", "uint", "long", "ulong", "float", "double"]
SIZES = dict(zip(BASES[1:], [1, 1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8]))
CODES = dict(zip(BASES[1:], "B?bBhHiIqQfd"))
NAMES = dict(zip(BASES[1:], "Uint8 Bool Int8 Uint8 Int16 Uint16 Int32 Uint32 Int64 Uint64 Float32 Float64".split()))
Shape = dict[str, Any]
"""By name: a table as {field: type}, a struct as a list of (field, type), an enum as {number: name}, a union as
("union", {number: (name, type)}). Types: `int`, `string`, `t.Name`, `[T]`, `{T:N}` (in structs); in tables also
(`int`, default), where the default None stands for `= null`."""


def table(b: Any, slots: dict[int, tuple[str, Any]]) -> int:
    """A table of these slots: each a kind of slot of the builder, and its value."""
    b.StartObject(max(slots, default=-1) + 1)
    for slot, (kind, value) in slots.items():
        if kind == "Struct":
            b.PrependStructSlot(slot, value(b), 0)
        else:
            getattr(b, f"Prepend{kind}Slot")(slot, value, None)
    return b.EndObject()


def vector(b: Any, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for one in reversed(offsets):
        b.PrependUOffsetTRelative(one)
    return b.EndVector()


def size_of(shape: Shape, kind: str) -> int:
    if kind.startswith("{"):
        inner, count = kind[1:-1].split(":")
        return size_of(shape, inner) * int(count)
    if isinstance(shape.get(kind), list):
        return sum(size_of(shape, inner) for _, inner in shape[kind])
    return SIZES["ubyte" if isinstance(shape.get(kind), dict | tuple) else kind]


def binary_schema(shape: Shape) -> bytes:
    """The .bfbs; structs are packed without padding, enums are of ubyte."""
    b = flatbuffers.Builder(0)
    objects = [name for name, one in shape.items() if isinstance(one, list) or not _is_enum(one)]
    enums = [name for name, one in shape.items() if name not in objects]

    def base_of(kind: str) -> tuple[int, int]:
        if kind == "string":
            return 13, -1
        if kind in objects:
            return 15, objects.index(kind)
        if kind in enums:
            return (16 if isinstance(shape[kind], tuple) else 4), enums.index(kind)
        if kind.startswith("utype "):
            return 1, enums.index(kind.split()[1])
        return BASES.index(kind), -1

    def type_of(kind: str) -> int:
        base, element, index, count = 0, 0, -1, 0
        if kind[0] in "[{":
            inner, _, many = kind[1:-1].partition(":")
            base, count = (14, 0) if kind[0] == "[" else (17, int(many))
            element, index = base_of(inner)
        else:
            base, index = base_of(kind)
        return table(b, {0: ("Int8", base), 1: ("Int8", element), 2: ("Int32", index), 3: ("Uint16", count)})

    rows = []
    for name in objects:
        fields, place = [], 0
        pairs = shape[name] if isinstance(shape[name], list) else list(shape[name].items())
        for number, (field, what) in enumerate(pairs):
            kind, default = what if isinstance(what, tuple) else (what, 0)
            text = b.CreateString(field)
            slots = {0: ("UOffsetTRelative", text), 1: ("UOffsetTRelative", type_of(kind))}
            slots |= {2: ("Uint16", number), 3: ("Uint16", place if isinstance(shape[name], list) else 4 + 2 * number)}
            slots |= {4: ("Int64", int(default or 0)), 5: ("Float64", float(default or 0))}
            slots |= {6: ("Bool", field == "deprecated"), 11: ("Bool", default is None)}
            fields.append(table(b, slots))
            place += size_of(shape, kind) if isinstance(shape[name], list) else 0
        slots = {0: ("UOffsetTRelative", b.CreateString(name)), 1: ("UOffsetTRelative", vector(b, fields[::-1]))}
        rows.append(table(b, slots | {2: ("Bool", isinstance(shape[name], list)), 4: ("Int32", place)}))
    enum_rows = []
    for name in enums:
        union = isinstance(shape[name], tuple)
        values = []
        for number, one in (shape[name][1] if union else shape[name]).items():
            text = b.CreateString(one[0] if union else one)
            slots = {0: ("UOffsetTRelative", text), 1: ("Int64", number)}
            values.append(table(b, slots | ({3: ("UOffsetTRelative", type_of(one[1]))} if union else {})))
        slots = {0: ("UOffsetTRelative", b.CreateString(name)), 1: ("UOffsetTRelative", vector(b, values))}
        enum_rows.append(table(b, slots | {2: ("Bool", union)}))
    lists = {0: ("UOffsetTRelative", vector(b, rows)), 1: ("UOffsetTRelative", vector(b, enum_rows))}
    b.Finish(table(b, lists), file_identifier=b"BFBS")
    return bytes(b.Output())


def _is_enum(one: Any) -> bool:
    return isinstance(one, tuple) or (isinstance(one, dict) and all(isinstance(key, int) for key in one) and one != {})


def message(shape: Shape, name: str, value: dict[str, Any]) -> bytes:
    """A message; unions as (number, value), absent fields left out."""
    b = flatbuffers.Builder(0)
    b.Finish(_table(b, shape, name, value))
    return bytes(b.Output())


def _table(b: Any, shape: Shape, name: str, value: dict[str, Any]) -> int:
    slots: dict[int, tuple[str, Any]] = {}
    for number, (field, what) in enumerate(shape[name].items()):
        kind = what[0] if isinstance(what, tuple) else what
        if field not in value:
            continue
        if isinstance(shape.get(kind), tuple):
            choice, inner = value[field]
            slots[number - 1] = ("Uint8", choice)
            slots[number] = ("UOffsetTRelative", _offset(b, shape, shape[kind][1][choice][1], inner))
        elif isinstance(shape.get(kind), list):
            slots[number] = ("Struct", lambda b, kind=kind, field=field: _struct(b, shape, kind, value[field]))
        elif kind in NAMES or (kind in shape and _is_enum(shape[kind])):
            slots[number] = (NAMES.get(kind, "Uint8"), value[field])
        else:
            slots[number] = ("UOffsetTRelative", _offset(b, shape, kind, value[field]))
    return table(b, slots)


def _offset(b: Any, shape: Shape, kind: str, value: Any) -> int:
    if kind == "string":
        return b.CreateString(value)
    if kind == "[ubyte]":
        return b.CreateByteVector(value)
    if kind[0] != "[":
        return _struct(b, shape, kind, value) if isinstance(shape[kind], list) else _table(b, shape, kind, value)
    inner = kind[1:-1]
    if inner == "string" or (inner in shape and isinstance(shape[inner], dict) and not _is_enum(shape[inner])):
        return vector(b, [_offset(b, shape, inner, item) for item in value])
    size = size_of(shape, inner)
    b.StartVector(size, len(value), 1)
    for item in reversed(value):
        _inline(b, shape, inner, item)
    return b.EndVector()


def _struct(b: Any, shape: Shape, kind: str, value: Any) -> int:
    b.Prep(1, size_of(shape, kind))
    _inline(b, shape, kind, value)
    return b.Offset()


def _inline(b: Any, shape: Shape, kind: str, value: Any) -> None:
    """Packed, last field first, because a buffer is written from its end."""
    if kind.startswith("{"):
        inner = kind[1:-1].split(":")[0]
        for item in reversed(value):
            _inline(b, shape, inner, item)
    elif isinstance(shape.get(kind), list):
        for field, inner in reversed(shape[kind]):
            _inline(b, shape, inner, value[field])
    else:
        packed = struct.pack("<" + CODES.get(kind, "B"), value)
        b.Prep(1, len(packed))
        b.head = b.head - len(packed)
        b.Bytes[b.head : b.head + len(packed)] = packed
