"""Files of Avro, in which Iceberg keeps what files a table has: records as dicts by field id.

The format: https://avro.apache.org/docs/1.12.0/specification/. Lengths and counts are checked before memory is taken,
and a file that ends anywhere but after a whole block is an error: a record less would be files less.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from robodf.errors import FileFormatError
from robodf.io.files import StorageOptions, open_file

_MAGIC = b"Obj\x01"
_LARGEST_FILE, _LARGEST_BLOCK = 1 << 30, 256 << 20
_DEEPEST = 32  # types within types; Iceberg's own are 5 deep

Decode = Callable[[bytes, int], tuple[Any, int]]
"""A value and where it ends, from bytes and where it begins. IndexError or ValueError where there is none."""

Key = int | str
"""The field id of a field, or its name where it has none."""


def records(path: str, storage: StorageOptions, size: int | None = None) -> Iterator[dict[Key, Any]]:
    """The records of a file, which has `size` bytes where that is known. FileFormatError where it is damaged."""
    with open_file(path, storage) as file:
        if size is not None and file.size != size:
            raise FileFormatError(f"{path}: has {file.size} bytes, where the table says {size}: it is not whole")
        if file.size > _LARGEST_FILE:
            raise FileFormatError(f"{path}: {file.size} bytes are too many for a list of files")
        data = file.read_at(0, file.size)
    try:
        yield from _records(data)
    except IndexError:
        raise FileFormatError(f"{path}: is damaged: a value of it has no end") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error, zlib.error) as error:
        raise FileFormatError(f"{path}: is damaged or no Avro file: {error}") from error


def _records(data: bytes) -> Iterator[dict[Key, Any]]:
    if data[:4] != _MAGIC:
        raise ValueError("it does not begin as one")
    meta, at = _map(_text, _bytes)(data, 4)
    sync, at = data[at : at + 16], at + 16
    if at > len(data):
        raise ValueError("it has no beginning")
    decode = Types().decoder(json.loads(meta["avro.schema"]))
    codec = meta.get("avro.codec", b"null").decode()
    while at < len(data):
        count, at = _long(data, at)
        size, at = _long(data, at)
        if size < 0 or at + size + 16 > len(data) or data[at + size : at + size + 16] != sync:
            raise ValueError(f"the block at byte {at} has no end")
        block = _decompressed(data[at : at + size], codec)
        at += size + 16
        if not 0 <= count <= len(block):
            raise ValueError(f"a block of {len(block)} bytes says that it has {count} records")
        place = 0
        for _ in range(count):
            found, place = decode(block, place)
            yield found
        if place != len(block):
            raise ValueError("a block has more bytes than its records")


def _decompressed(block: bytes, codec: str) -> bytes:
    if codec == "null":
        return block
    if codec == "deflate":
        unpack = zlib.decompressobj(-15)
        found = unpack.decompress(block, _LARGEST_BLOCK)
        if not unpack.eof:
            raise ValueError("a block is cut, or larger than all that a writer makes")
        return found
    if codec == "zstandard":
        import zstandard

        try:
            with zstandard.ZstdDecompressor().stream_reader(block) as reader:
                found = reader.read(_LARGEST_BLOCK + 1)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    elif codec == "snappy":
        import pyarrow as pa

        size = shift = 0
        for byte in block[:5]:  # what a snappy block begins with
            size, shift = size | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                break
        if size > _LARGEST_BLOCK:
            raise ValueError("a block is larger than all that a writer makes")
        try:
            found = pa.Codec("snappy").decompress(block[:-4], decompressed_size=size, asbytes=True)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(str(error)) from error
        if zlib.crc32(found) != int.from_bytes(block[-4:], "big"):
            raise ValueError("a block does not have its checksum")
    else:
        raise ValueError(f"it is compressed by {codec!r}")
    if len(found) > _LARGEST_BLOCK:
        raise ValueError("a block is larger than all that a writer makes")
    return found


# -- values ---------------------------------------------------------------------------------------------------


def _long(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 0x80:  # most are
        return (byte >> 1) ^ -(byte & 1), at
    value, shift = byte & 0x7F, 7
    while byte >= 0x80:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise ValueError("a number has more than 64 bits")
    return (value >> 1) ^ -(value & 1), at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _long(data, at)
    if not 0 <= size <= len(data) - at:
        raise ValueError(f"a value of {size} bytes, where {len(data) - at} are left")
    return data[at : at + size], at + size


def _text(data: bytes, at: int) -> tuple[str, int]:
    found, at = _bytes(data, at)
    return found.decode(), at


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    return data[at] == 1, at + 1


def _null(data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _fixed(size: int) -> Decode:
    if type(size) is not int or not 0 <= size < 1 << 20:
        raise ValueError(f"a type of {size} bytes")

    def decode(data: bytes, at: int) -> tuple[bytes, int]:
        if at + size > len(data):
            raise ValueError("a value has no end")
        return data[at : at + size], at + size

    return decode


def _number(form: str) -> Decode:
    unpack, size = struct.Struct(form).unpack_from, struct.calcsize(form)
    return lambda data, at: (unpack(data, at)[0], at + size)


def _union(options: list[Decode]) -> Decode:
    def decode(data: bytes, at: int) -> tuple[Any, int]:
        which, at = _long(data, at)
        if not 0 <= which < len(options):
            raise ValueError(f"a value of the type {which} of {len(options)}")
        return options[which](data, at)

    return decode


def _counts(data: bytes, at: int) -> tuple[int, int]:
    """How many items come next in an array or a map: each has a byte, or a count could stand for any memory."""
    count, at = _long(data, at)
    if count < 0:
        _, at = _long(data, at)
    if abs(count) > len(data) - at:
        raise ValueError(f"{abs(count)} items, where {len(data) - at} bytes are left")
    return abs(count), at


def _array(item: Decode) -> Decode:
    def decode(data: bytes, at: int) -> tuple[list, int]:
        found = []
        count, at = _counts(data, at)
        while count:
            start = at
            for _ in range(count):
                value, at = item(data, at)
                found.append(value)
            if at - start < count:
                raise ValueError("items without bytes")
            count, at = _counts(data, at)
        return found, at

    return decode


def _map(key: Decode, value: Decode) -> Decode:
    """A map of Avro, or an array of pairs, in which Iceberg has maps by numbers."""

    def decode(data: bytes, at: int) -> tuple[dict, int]:
        found = {}
        count, at = _counts(data, at)
        while count:
            for _ in range(count):
                name, at = key(data, at)
                found[name], at = value(data, at)
            count, at = _counts(data, at)
        return found, at

    return decode


def _record(fields: list[tuple[Key, Decode]]) -> Decode:
    def decode(data: bytes, at: int) -> tuple[dict, int]:
        found = {}
        for key, field in fields:
            found[key], at = field(data, at)
        return found, at

    return decode


_PLAIN: dict[str, Decode] = {
    "null": _null,
    "boolean": _boolean,
    "int": _long,
    "long": _long,
    "float": _number("<f"),
    "double": _number("<d"),
    "bytes": _bytes,
    "string": _text,
}


class Types:
    """Decoders of the types in one schema; a type that was named before may be meant by its name."""

    def __init__(self) -> None:
        self._named: dict[str, Decode] = {}

    def decoder(self, schema: Any, depth: int = 0) -> Decode:
        """What reads values of a type. ValueError for types that are no Avro, hold themselves, or nest without end."""
        if depth > _DEEPEST:
            raise ValueError("its types nest too deep")
        if isinstance(schema, list):
            return _union([self.decoder(option, depth + 1) for option in schema])
        if isinstance(schema, str):
            found = _PLAIN.get(schema) or self._named.get(schema)
            if found is None:
                raise ValueError(f"its schema has a type {schema!r}")
            return found
        kind = schema["type"]
        if isinstance(kind, (dict, list)):
            return self.decoder(kind, depth + 1)
        if kind in ("record", "fixed"):
            found = _fixed(schema["size"]) if kind == "fixed" else self._fields(schema, depth)
            self._named[schema["name"]] = found
            return found
        if kind == "array":
            items = schema["items"]
            if schema.get("logicalType") == "map" and isinstance(items, dict):
                pair = {field["name"]: self.decoder(field["type"], depth + 1) for field in items["fields"]}
                if list(pair) != ["key", "value"]:
                    raise ValueError(f"a map has the fields {list(pair)}")
                return _map(pair["key"], pair["value"])
            return _array(self.decoder(items, depth + 1))
        if kind == "map":
            return _map(_text, self.decoder(schema["values"], depth + 1))
        return self.decoder(kind, depth + 1)

    def _fields(self, schema: dict, depth: int) -> Decode:
        fields = [(field.get("field-id", field["name"]), field["type"]) for field in schema["fields"]]
        if len({key for key, _ in fields}) < len(fields):
            raise ValueError("a record with a field twice")
        return _record([(key, self.decoder(of, depth + 1)) for key, of in fields])
