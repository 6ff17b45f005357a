"""ROS 1 messages with the definition that their connection carries.

The text has the fields of the type, then each type it uses under a line of '=' and a line `MSG: pkg/Name`.
Columns are those of ROS 2 (see `ros2.py`), so `byte` is UInt8 here too, although ROS 1 calls it signed.

| ROS 1 | column |
|---|---|
| time | Datetime("ns"), its seconds are unsigned; null where nsecs is 1e9 or more |
| duration | Duration("ns"); null where nsecs is 1e9 or more, of either sign |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from robodf.io.messages.cdr import Message
from robodf.io.messages.cdr_batch import ROS1
from robodf.io.messages.decoder import Decoder, Fields, Problem, Schema, project
from robodf.io.messages.payloads import Payloads
from robodf.io.messages.ros2 import NUMBERS, Builder, SchemaTextError
from robodf.io.messages.walk import read, spread

ENCODING = "ros1msg"

_MOST_SCHEMA_BYTES = 1 << 20
_MOST_LINES = 100_000

_STAMPS: dict[str, tuple[pl.DataType, tuple[str, str]]] = {
    "builtin_interfaces/msg/Time": (pl.Datetime("ns"), ("u4", "u4")),
    "builtin_interfaces/msg/Duration": (pl.Duration("ns"), ("i4", "i4")),
}
_SHORT_NAMES = {
    "time": "builtin_interfaces/msg/Time",
    "duration": "builtin_interfaces/msg/Duration",
    "Header": "std_msgs/msg/Header",
}
_SECTION = re.compile(r"^={10,}[ \t]*\n[ \t]*MSG:[ \t]*([\w/]+)[ \t]*$", re.MULTILINE)
_FIELD = re.compile(r"([A-Za-z][\w/]*)(\[\d{0,10}\])?\s+([A-Za-z]\w*)")
_CONSTANT = re.compile(r"\w+\s+\w+\s*=")
# Bags that were written without definitions have nothing, '*' or the MD5 sum of the type in their place.
_NO_DEFINITION = re.compile(r"\s*(\*|[0-9a-f]{32})?\s*")


@dataclass(frozen=True)
class Ros1Decoder(Decoder):
    """Decodes ROS 1 messages of the type `type_name` (`pkg/Name` or `pkg/msg/Name`)."""

    type_name: str
    schema_data: bytes

    @property
    def name(self) -> str:
        return "ROS 1"

    @property
    def reason(self) -> str:
        return ""

    @property
    def tree(self) -> Message:
        return compiled(self.type_name, self.schema_data)

    @property
    def schema(self) -> Schema:
        return {name: node.dtype for name, node in self.tree.nodes.items() if node.dtype is not None}

    def decode(
        self, payloads: Payloads, fields: Fields | None, schema: Schema, problems: list[Problem]
    ) -> pl.DataFrame:
        wanted = project(self.schema, fields)
        found: list[Problem] = []
        part = read(self.tree, payloads, np.arange(len(payloads)), "<", ROS1, fields, found)
        problems.extend(sorted(found))
        return spread([part], len(payloads), wanted)


@lru_cache(maxsize=256)
def compiled(type_name: str, schema_data: bytes) -> Message:
    """The tree of a message type; raises SchemaTextError where the definition does not give one."""
    if len(schema_data) > _MOST_SCHEMA_BYTES:
        raise SchemaTextError(f"the definition has {len(schema_data)} bytes, more than {_MOST_SCHEMA_BYTES}")
    try:
        text = schema_data.decode("utf-8")
    except UnicodeDecodeError:
        # Comments in other encodings are common in old packages; names are ASCII.
        text = schema_data.decode("latin-1")
    name = _full_name(type_name)
    types = _known_types()
    if not _NO_DEFINITION.fullmatch(text):
        types = {**types, **_parse(name, text)}
    elif name not in types:
        raise SchemaTextError("the recording has no definition of this type, and it is not a well-known one")
    return Builder(types, ROS1, _STAMPS).message("", name, ())


def _full_name(name: str) -> str:
    """`pkg/Name` and `pkg/msg/Name` as `pkg/msg/Name`."""
    parts = name.split("/")
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else name


def _parse(name: str, text: str) -> dict[str, Any]:
    """The fields of all types in a definition, in the form of the parsers of rosbags."""
    text = text.replace("\r\n", "\n")
    if text.count("\n") > _MOST_LINES:
        raise SchemaTextError(f"the definition has more than {_MOST_LINES} lines")
    first, *others = _SECTION.split(text)
    sections = [(name, first), *((_full_name(n), body) for n, body in zip(others[::2], others[1::2]))]
    types: dict[str, Any] = {}
    for section, body in sections:
        fields = [field for line in body.split("\n") if (field := _field(section, line)) is not None]
        if types.setdefault(section, ([], fields)) != ([], fields):
            raise SchemaTextError(f"{section} is defined twice")
    return types


def _field(section: str, line: str) -> tuple[str, Any] | None:
    """The name and type of a field; None for a line without one."""
    line = line.strip()
    if _CONSTANT.match(line):  # the value of a string constant is all that follows, '#' too
        return None
    line = line.partition("#")[0].strip()
    if not line:
        return None
    match = _FIELD.fullmatch(line)
    if match is None:
        shown = line if len(line) <= 100 else line[:99] + "…"
        raise SchemaTextError(f"the definition of {section} has a line that is not a field: {shown!r}")
    kind, brackets, field = match.groups()
    single = (1, (kind, 0)) if kind in NUMBERS or kind == "string" else (2, _type_name(section, kind))
    if brackets is None:
        return field, single
    return field, (4, (single, 0)) if brackets == "[]" else (3, (single, int(brackets[1:-1])))


def _type_name(section: str, name: str) -> str:
    if name in _SHORT_NAMES:
        return _SHORT_NAMES[name]
    return _full_name(name) if "/" in name else "".join(section.rpartition("/")[:2]) + name


@lru_cache(maxsize=1)
def _known_types() -> dict[str, Any]:
    from rosbags.typesys import Stores, get_typestore

    transforms = ([], [("transforms", (4, ((2, "geometry_msgs/msg/TransformStamped"), 0)))])
    types = dict(get_typestore(Stores.ROS1_NOETIC).fielddefs)
    return {**types, "tf/msg/tfMessage": transforms, "tf2_msgs/msg/TFMessage": transforms}
