"""Column types of JSON messages: from a JSON Schema, or from the messages themselves.

| JSON | column |
|---|---|
| string, whatever its format or encoding | String |
| integer; number | Int64; Float64 |
| boolean | Boolean |
| array | List |
| object | Struct |
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from robodf.io.messages.decoder import Schema

# A schema, and so a set of keys, comes out of the file and is as hostile as the rest of it.
_MOST_DEPTH = 32
_MOST_FIELDS = 10_000
_MOST_SCHEMA_BYTES = 1 << 22

_SCALARS: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}


class _Open(Exception):
    """The JSON Schema leaves the type of some value open."""


def declared_schema(schema_encoding: str, schema_data: bytes) -> Schema | None:
    """The columns that a JSON Schema declares; None where there is none, or where it leaves a type open.

    >>> declared_schema("jsonschema", b'{"type": "object", "properties": {"v": {"type": "number"}}}')
    {'v': Float64}
    """
    if schema_encoding != "jsonschema" or not schema_data.strip() or len(schema_data) > _MOST_SCHEMA_BYTES:
        return None
    try:
        root = json.loads(schema_data)
        dtype = _Reader(root).dtype(root, 0)
    except (ValueError, RecursionError, _Open):  # not JSON, not UTF-8; nested too deep
        return None
    return _columns(dtype) if isinstance(dtype, pl.Struct) else None


class _Reader:
    def __init__(self, root: Any):
        self.root = root
        self.fields = 0

    def dtype(self, node: Any, depth: int) -> pl.DataType:
        """The type that the schema `node` allows besides null; raises _Open where there is not one."""
        # References are followed, so this depth also ends types that contain themselves.
        if not isinstance(node, dict) or depth > _MOST_DEPTH:
            raise _Open
        if "$ref" in node:
            return self.dtype(self._target(node["$ref"]), depth + 1)
        for word in ("anyOf", "oneOf"):
            if word in node:
                return self._common(node[word], depth)
        if "allOf" in node:
            raise _Open
        kinds = node.get("type")
        if kinds is None:
            return self._untyped(node, depth)
        kinds = kinds if isinstance(kinds, list) else [kinds]
        kinds = {kind if isinstance(kind, str) else "" for kind in kinds if kind != "null"}
        if kinds == {"integer", "number"}:
            return pl.Float64()
        if len(kinds) != 1:
            raise _Open
        kind = kinds.pop()
        if kind == "object":
            return self._struct(node, depth)
        if kind == "array":
            return pl.List(self.dtype(node.get("items"), depth + 1))
        if kind not in _SCALARS:
            raise _Open
        return _SCALARS[kind]

    def _untyped(self, node: dict[str, Any], depth: int) -> pl.DataType:
        if isinstance(node.get("properties"), dict):
            return self._struct(node, depth)
        values = node.get("enum", [node["const"]] if "const" in node else [])
        if isinstance(values, list) and values and all(isinstance(v, str | None) for v in values):
            return pl.String()
        raise _Open

    def _struct(self, node: dict[str, Any], depth: int) -> pl.Struct:
        properties = node.get("properties")
        if not isinstance(properties, dict) or not properties:
            raise _Open
        self.fields += len(properties)
        if self.fields > _MOST_FIELDS:
            raise _Open
        return pl.Struct({name: self.dtype(inner, depth + 1) for name, inner in properties.items()})

    def _common(self, options: Any, depth: int) -> pl.DataType:
        if not isinstance(options, list):
            raise _Open
        real = [option for option in options if option != {"type": "null"}]
        if len(real) > 8:  # each may branch again
            raise _Open
        found = [self.dtype(option, depth + 1) for option in real]
        if found and all(dtype == found[0] for dtype in found):
            return found[0]
        raise _Open

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _Open  # nothing is fetched from elsewhere
        node = self.root
        for key in reference[1:].strip("/").split("/"):
            if not key:
                continue
            key = key.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or key not in node:
                raise _Open
            node = node[key]
        return node


def inferred_schema(messages: list[dict[str, Any]]) -> Schema:
    """The columns of these messages: the union of their fields, in the order of first sight.

    Integers and floats make Float64. Where two messages do not agree the first one decides, and the others
    are problems of decoding, so that nothing is lost in silence. Fields that were never anything but null,
    and lists that were always empty, count as strings; objects that were always empty are no columns.
    """
    seen = _Seen()
    for message in messages:
        seen.add(message, 0)
    dtype = seen.dtype()
    return _columns(dtype) if isinstance(dtype, pl.Struct) else {}


class _Seen:
    """What was seen at one place of the messages."""

    __slots__ = ("fields", "item", "kind", "total")

    def __init__(self, total: list[int] | None = None):
        self.kind: str | None = None
        self.fields: dict[str, _Seen] = {}
        self.item: _Seen | None = None
        self.total = total if total is not None else [0]

    def add(self, value: Any, depth: int) -> None:
        kind = _kind(value)
        if kind is None or depth > _MOST_DEPTH:
            return
        if self.kind is None or (self.kind == "integer" and kind == "number"):
            self.kind = kind
        if kind != self.kind:
            return
        if kind == "object":
            for name, inner in value.items():
                if name not in self.fields:
                    if self.total[0] >= _MOST_FIELDS or not _is_text(name):
                        continue
                    self.total[0] += 1
                    self.fields[name] = _Seen(self.total)
                self.fields[name].add(inner, depth + 1)
        elif kind == "array":
            self.item = self.item or _Seen(self.total)
            for inner in value:
                self.item.add(inner, depth + 1)

    def dtype(self) -> pl.DataType | None:
        if self.kind == "object":
            found = {name: seen.dtype() for name, seen in self.fields.items()}
            shown = {name: dtype for name, dtype in found.items() if dtype is not None}
            return pl.Struct(shown) if shown else None
        if self.kind == "array":
            item = self.item.dtype() if self.item else pl.String()
            return None if item is None else pl.List(item)
        return _SCALARS[self.kind or "string"]


def _kind(value: Any) -> str | None:
    for kind, python in (("boolean", bool), ("integer", int), ("number", float), ("string", str)):
        if isinstance(value, python):
            return kind
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else None


def _is_text(name: str) -> bool:
    """Whether a key can be written as UTF-8 (a JSON escape can name half of a surrogate pair)."""
    return not any("\ud800" <= c <= "\udfff" for c in name)


def _columns(struct: pl.Struct) -> Schema:
    return {field.name: field.dtype for field in struct.fields}  # type: ignore[misc]
