"""ROS 2 messages (CDR) with their schema as .msg or .idl text.

The text is parsed by `rosbags.typesys`. Nothing in it is executed: rosbags would generate Python code from
it, here it becomes a tree of nodes that `cdr.py` walks.

| ROS 2 | column |
|---|---|
| numbers, bool | the same; `byte` and `char` are UInt8 |
| string, wstring | String |
| T[N] | Array; List where a null would take more than 32 KiB |
| T[], T[<=N] | List; unbounded uint8[] and byte[] are Binary |
| Time, Duration | Datetime("ns"), Duration("ns"); null where nanosec is 1e9 or more |
| message | Struct; a message without fields is left out, at any depth |
| constant | left out |
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from robodf.io.messages.cdr import (
    Message,
    Node,
    PrimitiveList,
    Primitives,
    Repeated,
    Stamp,
    Text,
    WideText,
)
from robodf.io.messages.cdr_batch import CDR, Wire
from robodf.io.messages.decoder import ARRAY_BYTES, Decoder, Fields, Problem, Schema, project
from robodf.io.messages.payloads import Payloads
from robodf.io.messages.walk import read, spread

ENCODINGS = ("ros2msg", "ros2idl")

NUMBERS: dict[str, tuple[str, pl.DataType]] = {
    "bool": ("?", pl.Boolean()),
    "byte": ("u1", pl.UInt8()),
    "char": ("u1", pl.UInt8()),
    "int8": ("i1", pl.Int8()),
    "uint8": ("u1", pl.UInt8()),
    "int16": ("i2", pl.Int16()),
    "uint16": ("u2", pl.UInt16()),
    "int32": ("i4", pl.Int32()),
    "uint32": ("u4", pl.UInt32()),
    "int64": ("i8", pl.Int64()),
    "uint64": ("u8", pl.UInt64()),
    "float32": ("f4", pl.Float32()),
    "float64": ("f8", pl.Float64()),
}
_STAMPS = {
    "builtin_interfaces/msg/Time": (pl.Datetime("ns"), ("i4", "u4")),
    "builtin_interfaces/msg/Duration": (pl.Duration("ns"), ("i4", "u4")),
}
_TIME_FIELDS = [("sec", "int32"), ("nanosec", "uint32")]
# The member that rosidl gives to a message without fields: one byte in CDR.
_FILLER = "structure_needs_at_least_one_member"

# A schema comes out of the file and is as hostile as the rest of it.
_MOST_SCHEMA_BYTES = {"ros2msg": 1 << 20, "ros2idl": 1 << 18}
_MOST_FIELDS = 20_000
_MOST_DEPTH = 50
_MOST_FIXED_ITEMS = 1 << 28

_SEPARATOR = re.compile(r"^={10,}[ \t]*$", re.MULTILINE)
_SERVICE = re.compile(r"^---[ \t]*\n", re.MULTILINE)
# What the IDL parser takes for something else: lists of lists lose a level, a shift may want all memory.
_IDL_COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.DOTALL)
_IDL_REFUSED = {
    "a sequence of sequences": re.compile(r"\bsequence\s*<\s*sequence\b"),
    "an array of sequences": re.compile(r"\bsequence\s*<[^;{}]*>\s*\w+\s*\["),
    "a shift by more than 999": re.compile(r"<<(?!\s*\d{1,3}\b)"),
}
_WIDE_BOUND = re.compile(r"\bwstring<=\d+")


class SchemaTextError(ValueError):
    """A schema text that does not give a message type; the message says why."""


@dataclass(frozen=True)
class Ros2Decoder(Decoder):
    """Decodes CDR messages of the type `type_name` (`pkg/msg/Name` or `pkg/Name`)."""

    schema_encoding: str
    type_name: str
    schema_data: bytes

    @property
    def name(self) -> str:
        return "CDR"

    @property
    def reason(self) -> str:
        return ""

    @property
    def tree(self) -> Message:
        return compiled(self.schema_encoding, self.type_name, self.schema_data)

    @property
    def schema(self) -> Schema:
        return {name: node.dtype for name, node in self.tree.nodes.items() if node.dtype is not None}

    def decode(
        self, payloads: Payloads, fields: Fields | None, schema: Schema, problems: list[Problem]
    ) -> pl.DataFrame:
        wanted = project(self.schema, fields)
        found: list[Problem] = []
        rows, little = _byte_orders(payloads, found)
        parts = []
        for order, mine in (("<", rows[little]), (">", rows[~little])):
            if len(mine):
                parts.append(read(self.tree, payloads, mine, order, CDR, fields, found))
        problems.extend(sorted(found))
        return spread(parts, len(payloads), wanted)


def _byte_orders(payloads: Payloads, problems: list[Problem]) -> tuple[np.ndarray, np.ndarray]:
    """The rows with an encapsulation header that can be read, and for each whether it is little-endian."""
    data = payloads.data
    long = payloads.length >= 4
    rows = np.flatnonzero(long)
    start = payloads.offset if len(rows) == len(long) else payloads.offset[rows]
    high, low = (data[start], data[start + 1]) if len(rows) else (data[:0], data[:0])
    known = (high == 0) & (low <= 1)
    if known.all() and len(rows) == len(long):
        return rows, low == 1
    for row in np.flatnonzero(~long).tolist():
        problems.append((row, "the payload is shorter than the 4 bytes of a CDR header"))
    kind = high.astype(np.int64) << 8 | low
    for row, what in zip(rows[~known].tolist(), kind[~known].tolist()):
        problems.append((row, f"CDR encapsulation 0x{what:04x} is not plain CDR (0x0000 or 0x0001)"))
    return rows[known], low[known] == 1


@lru_cache(maxsize=256)
def compiled(schema_encoding: str, type_name: str, schema_data: bytes) -> Message:
    """The tree of a message type; raises SchemaTextError where the text does not give one."""
    types = _parse(schema_encoding, type_name, schema_data)
    name = _full_name(type_name, types)
    return Builder(types, CDR, _STAMPS).message("", name, ())


def is_standard(type_name: str) -> bool:
    """True of the types whose definitions are known without a schema."""
    return _find(type_name, _known_types()) is not None


def _full_name(type_name: str, types: dict[str, Any]) -> str:
    found = _find(type_name, types)
    if found is None:
        raise SchemaTextError(f"the schema does not define {type_name}")
    return found


def _find(type_name: str, types: dict[str, Any]) -> str | None:
    from rosbags.typesys.msg import normalize_msgtype

    return next(
        (n for n in (type_name, normalize_msgtype(type_name), type_name.replace("::", "/")) if n in types), None
    )


def _parse(schema_encoding: str, type_name: str, schema_data: bytes) -> dict[str, Any]:
    from rosbags.typesys import TypesysError, get_types_from_msg

    most = _MOST_SCHEMA_BYTES[schema_encoding]
    if len(schema_data) > most:
        raise SchemaTextError(f"the schema has {len(schema_data)} bytes, more than {most}")
    known = _known_types()
    try:
        text = schema_data.decode("utf-8").replace("\r\n", "\n")
        if not text.strip() and _find(type_name, known):  # bags of old distributions have no definitions
            return known
        if schema_encoding == "ros2idl":
            found: dict[str, Any] = {}
            for part in _SEPARATOR.split(text):
                part = re.sub(r"\A\s*IDL:[^\n]*\n", "", part)
                if part.strip():
                    found.update(_idl_types(part))
        else:
            text = _SEPARATOR.sub("=" * 80, _WIDE_BOUND.sub("wstring", text))
            if type_name.endswith("_Event") and _SERVICE.search(text):
                text = _service_event(type_name, text)
            found = get_types_from_msg(text, type_name)
    except SchemaTextError:
        raise
    except UnicodeDecodeError as error:
        raise SchemaTextError(f"the schema is not UTF-8: {error}") from error
    except (
        TypesysError,
        ValueError,
        AssertionError,
        RecursionError,
        OverflowError,
        TypeError,
        KeyError,
    ) as error:
        raise SchemaTextError(f"the schema cannot be parsed: {_short(error)}") from error
    return {**known, **found}


def _idl_types(text: str) -> dict[str, Any]:
    """`rosbags.typesys.get_types_from_idl` with a memory.

    The parser tries its rules one after the other from the same place, so that each pair of parentheses in
    an expression takes about 80 times as long as the one around it. Remembering what each rule found at
    each place makes it linear.
    """
    from rosbags.typesys.base import make_typesdict
    from rosbags.typesys.idl import IDLParser

    bare = _IDL_COMMENT.sub(" ", text)
    for what, pattern in _IDL_REFUSED.items():
        if pattern.search(bare):
            raise SchemaTextError(f"the schema has {what}, which cannot be read")
    parser = IDLParser(text)
    for name, rule in inspect.getmembers(parser, inspect.ismethod):
        if list(inspect.signature(rule).parameters) == ["pos"]:
            setattr(parser, name, lru_cache(maxsize=None)(rule))
    return dict(make_typesdict(parser.specification()))


def _service_event(type_name: str, text: str) -> str:
    """The definition of a service event, which bags name `<service>_Event` but describe by the .srv text."""
    service = type_name.removesuffix("_Event")
    short = service.rsplit("/", 1)[-1]
    request, response = _SERVICE.split(text, maxsplit=1)
    event = f"service_msgs/ServiceEventInfo info\n{short}_Request[<=1] request\n{short}_Response[<=1] response\n"
    parts = [event, f"MSG: {service}_Request\n{request}", f"MSG: {service}_Response\n{response}"]
    return ("=" * 80 + "\n").join(part if part.endswith("\n") else part + "\n" for part in parts)


@lru_cache(maxsize=1)
def _known_types() -> dict[str, Any]:
    from rosbags.typesys import Stores, get_typestore

    return dict(get_typestore(Stores.LATEST).fielddefs)


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join([lines[0], *lines[2:]]) if lines else type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


class Builder:
    """Makes the tree of nodes, within bounds: a schema of a few lines can stand for a tree without end.

    `types` are as the parsers of rosbags give them, `stamps` has for the types of times the column type and
    the kinds of their two numbers.
    """

    def __init__(self, types: dict[str, Any], wire: Wire, stamps: dict[str, tuple[pl.DataType, tuple[str, str]]]):
        self.types = types
        self.wire = wire
        self.stamps = stamps
        self.fields = 0

    def message(self, path: str, name: str, above: tuple[str, ...]) -> Message:
        if name in above:
            raise SchemaTextError(f"{name} contains itself")
        if len(above) > _MOST_DEPTH:
            raise SchemaTextError(f"messages are nested more than {_MOST_DEPTH} deep")
        if name not in self.types:
            raise SchemaTextError(f"the schema does not define {name}")
        fields = self.types[name][1]
        if not fields or [field for field, _ in fields] == [_FILLER]:
            fields = [(_FILLER, (1, ("uint8", 0)))] if self.wire.filler else []
        nodes: dict[str, Node] = {}
        for field, description in fields:
            self.fields += 1
            if self.fields > _MOST_FIELDS:
                raise SchemaTextError(f"the message has more than {_MOST_FIELDS} fields")
            inner = f"{path}.{field}" if path else field
            if field in nodes:
                raise SchemaTextError(f"{name} has two fields named {field!r}")
            nodes[field] = self.field(inner, description, (*above, name))
        if list(nodes) == [_FILLER]:
            nodes[_FILLER].dtype = None
        return Message(path or name, nodes)

    def field(self, path: str, description: Any, above: tuple[str, ...]) -> Node:
        kind, what = int(description[0]), description[1]
        if kind in (1, 2):
            return self.single(path, kind, what, above)
        (inner_kind, inner), size = what
        count = size if kind == 3 else None
        if count is not None and not 0 < count <= _MOST_FIXED_ITEMS:
            raise SchemaTextError(f"{path} is an array of {count} items")
        if int(inner_kind) == 1 and inner[0] in NUMBERS:
            code, dtype = NUMBERS[inner[0]]
            if count is not None:
                return Primitives(self.wire, path, code, dtype, count, np.dtype(code).itemsize * count > ARRAY_BYTES)
            return PrimitiveList(path, code, dtype, size == 0 and inner[0] in ("uint8", "byte", "char"))
        item = self.single(path, int(inner_kind), inner, above)
        return Repeated(path, item, count, count is not None and item.width * count > ARRAY_BYTES)

    def single(self, path: str, kind: int, what: Any, above: tuple[str, ...]) -> Node:
        if kind == 1:
            name = what[0]
            if name in NUMBERS:
                return Primitives(self.wire, path, *NUMBERS[name], None, False)
            if name == "string":
                return Text(path)
            if name == "wstring":
                return WideText(path)
            raise SchemaTextError(f"{path} is a {name}, which has no column type")
        if self.wire is CDR and what not in self.types and what.rsplit("/", 1)[-1] == "wstring":
            return WideText(path)  # the .msg parser takes it for the name of a message
        if what in self.stamps and self._is_time(what):
            return Stamp(self.wire, path, *self.stamps[what])
        return self.message(path, what, above)

    def _is_time(self, name: str) -> bool:
        fields = self.types.get(name, ([], []))[1]
        return [(field, d[1][0]) for field, d in fields if int(d[0]) == 1] == _TIME_FIELDS and len(fields) == 2
