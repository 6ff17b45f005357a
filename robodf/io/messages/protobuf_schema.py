"""A serialized FileDescriptorSet as the tree of nodes of one message type.

It comes out of a recording and is as hostile as the rest of it: the `protobuf` package parses and checks it in
a pool of its own, and what becomes of it is bounded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from robodf.io.messages.columns import SchemaDataError
from robodf.io.messages.protobuf_fields import (
    NUMBERS,
    Bytes,
    Field,
    Json,
    Message,
    Node,
    Number,
    Stamp,
    Text,
    Wrapper,
)

_MOST_SCHEMA_BYTES = 1 << 22
_MOST_FIELDS = 20_000
_MOST_DEPTH = 50
_MOST_NAME = 1000

_KNOWN = "google.protobuf."
_TIMES = {_KNOWN + "Timestamp": pl.Datetime("ns"), _KNOWN + "Duration": pl.Duration("ns")}
_TIME_FIELDS = [("seconds", 1, "INT64"), ("nanos", 2, "INT32")]
_JSON = ("Struct", "Value", "ListValue")
_WRAPPERS = {
    _KNOWN + f"{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}
# The files that a writer may leave out of the set, because every Protobuf has them.
_KNOWN_FILES = {
    f"google/protobuf/{name}.proto": f"google.protobuf.{name}_pb2"
    for name in ("any", "descriptor", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
}


@dataclass(frozen=True)
class Compiled:
    """The tree of a message type, and the class by which the `protobuf` package parses it."""

    tree: Message
    message_class: Any


@lru_cache(maxsize=256)
def compiled(type_name: str, schema_data: bytes) -> Compiled:
    """The message type of a FileDescriptorSet; raises SchemaDataError where it cannot be had."""
    from google.protobuf import message_factory

    if len(schema_data) > _MOST_SCHEMA_BYTES:
        raise SchemaDataError(f"the schema has {len(schema_data)} bytes, more than {_MOST_SCHEMA_BYTES}")
    descriptor = _descriptor(type_name.removeprefix("."), schema_data)
    tree = _Builder().message("", descriptor, ())
    return Compiled(tree, message_factory.GetMessageClass(descriptor))


def _descriptor(type_name: str, schema_data: bytes) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool
    from google.protobuf.message import DecodeError

    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(schema_data).file
    except DecodeError as error:
        raise SchemaDataError(f"the schema is no FileDescriptorSet: {error}") from error
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in _in_order({file.name: file for file in files}):
            pool.Add(file)
        return pool.FindMessageTypeByName(type_name)
    except KeyError as error:
        raise SchemaDataError(f"the schema does not define {type_name}") from error
    except (TypeError, ValueError) as error:
        raise SchemaDataError(f"the schema cannot be read: {_short(error)}") from error


def _in_order(files: dict[str, Any]) -> list[Any]:
    """The files, each behind those that it imports."""
    ordered: list[Any] = []
    state: dict[str, bool] = {}  # False: its imports are being visited
    stack = list(files)[::-1]
    while stack:
        name = stack[-1]
        if name in state:
            if not state[name]:
                state[name] = True
                ordered.append(files[name])
            stack.pop()
            continue
        if name not in files:
            files[name] = _known_file(name)
        state[name] = False
        for imported in files[name].dependency:
            if state.get(imported) is False:
                raise SchemaDataError(f"{_short(imported)} imports itself")
            if imported not in state:
                stack.append(imported)
    return ordered


def _known_file(name: str) -> Any:
    from importlib import import_module

    from google.protobuf import descriptor_pb2

    if name not in _KNOWN_FILES:
        raise SchemaDataError(f"the schema imports {_short(name)}, which is not in it")
    file = descriptor_pb2.FileDescriptorProto()
    import_module(_KNOWN_FILES[name]).DESCRIPTOR.CopyToProto(file)
    return file


def _short(what: object) -> str:
    text = " ".join(str(what).split())
    return text if len(text) <= 200 else text[:199] + "…"


class _Builder:
    """Makes the tree of nodes, within bounds: a schema of a few lines can stand for a tree without end."""

    def __init__(self) -> None:
        self.fields = 0

    def message(self, path: str, descriptor: Any, above: tuple[str, ...]) -> Message:
        if len(above) > _MOST_DEPTH:
            raise SchemaDataError(f"messages are nested more than {_MOST_DEPTH} deep")
        is_map = descriptor.GetOptions().map_entry
        above = (*above, descriptor.full_name)
        fields: dict[str, Field] = {}
        for one in descriptor.fields:
            self.fields += 1
            if self.fields > _MOST_FIELDS:
                raise SchemaDataError(f"the message has more than {_MOST_FIELDS} fields")
            inner = f"{path}.{one.name}" if path else one.name
            node = self.node(inner, one, above)
            oneof = one.containing_oneof
            fields[one.name] = Field(
                one.name,
                inner,
                one.number,
                node,
                bool(one.is_repeated),
                # What a map entry leaves out has its default: only a message can be missing.
                bool(one.has_presence) and not (is_map and isinstance(node, Number | Text | Bytes)),
                oneof.name if oneof is not None and len(oneof.fields) > 1 else None,
            )
        return Message(path or descriptor.full_name, fields, is_map)

    def node(self, path: str, field: Any, above: tuple[str, ...]) -> Node:
        kind = _type_name(field)
        if kind in NUMBERS:
            names: dict[int, str] | None = None
            closed = False
            if kind == "ENUM":
                names = {}
                for value in field.enum_type.values:
                    if len(value.name) > _MOST_NAME:
                        raise SchemaDataError(f"{path} has a value with a name of {len(value.name)} characters")
                    names.setdefault(value.number, value.name)
                closed = bool(field.enum_type.is_closed)
            return Number(*NUMBERS[kind], names, closed)
        if kind == "STRING":
            return Text()
        if kind == "BYTES":
            return Bytes()
        if kind == "GROUP":
            raise SchemaDataError(f"{path} is a group, which is not read")
        message = field.message_type
        name = message.full_name
        if name in above:
            return Bytes()
        if name.startswith(_KNOWN) and message.name in _JSON:
            return Json(message.name)
        fields = [(one.name, one.number, _type_name(one)) for one in message.fields]
        if name in _TIMES and fields == _TIME_FIELDS:
            return Stamp(self.message(path, message, above), _TIMES[name])
        if name in _WRAPPERS and [one[:2] for one in fields] == [("value", 1)] and not message.fields[0].is_repeated:
            return Wrapper(self.message(path, message, above))
        return self.message(path, message, above)


@lru_cache(maxsize=1)
def _type_names() -> dict[int, str]:
    from google.protobuf import descriptor_pb2

    return {number: name.removeprefix("TYPE_") for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()}


def _type_name(field: Any) -> str:
    return _type_names()[field.type]
