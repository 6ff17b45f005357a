"""The records of an MCAP file that describe it, parsed with every length checked.

The format: https://mcap.dev/spec. A record is `opcode u8, length u64, content`; numbers are little-endian;
readers ignore opcodes they do not know and bytes after the fields they know.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from robodf.errors import FileFormatError
from robodf.io.logs.model import Channel, ChunkIndex, Schema

MAGIC = b"\x89MCAP0\r\n"
RECORD_HEAD = 9  # opcode and length
FOOTER_SIZE = RECORD_HEAD + 20
MESSAGE_HEAD = RECORD_HEAD + 22  # the payload follows

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_HEAD = struct.Struct("<BQ")


class Op(IntEnum):
    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    ATTACHMENT = 0x09
    ATTACHMENT_INDEX = 0x0A
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


@dataclass(frozen=True, slots=True)
class Header:
    profile: str
    library: str


@dataclass(frozen=True, slots=True)
class Footer:
    summary_start: int
    summary_offset_start: int
    summary_crc: int


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    start_time: int
    end_time: int
    uncompressed_size: int
    uncompressed_crc: int
    compression: str
    compressed_size: int
    data_offset: int  # of the compressed bytes, from the start of the record's content


@dataclass(frozen=True, slots=True)
class Statistics:
    message_count: int
    schema_count: int
    channel_count: int
    attachment_count: int
    metadata_count: int
    chunk_count: int
    start_time: int
    end_time: int
    channel_message_counts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class AttachmentIndex:
    offset: int
    length: int
    log_time: int
    create_time: int
    data_size: int
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class MetadataIndex:
    offset: int
    length: int
    name: str


@dataclass(frozen=True, slots=True)
class Metadata:
    name: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SummaryOffset:
    group_opcode: int
    group_start: int
    group_length: int


class Fields:
    """A cursor over the content of one record, `data[at:end]`, that cannot leave it.

    `base` is the file offset of `data[0]`, for messages.
    """

    __slots__ = ("at", "base", "data", "end", "path", "what")

    def __init__(self, path: str, data: bytes, at: int, end: int, base: int, what: str):
        self.path = path
        self.data = data
        self.at = at
        self.end = end
        self.base = base
        self.what = what

    def error(self, text: str) -> FileFormatError:
        return FileFormatError(f"{self.path}: {self.what} at offset {self.base + self.at}: {text}")

    def take(self, size: int, field: str) -> int:
        """The position of the next `size` bytes, which are then behind the cursor."""
        at = self.at
        if size > self.end - at:
            raise self.error(f"{field} needs {size} bytes, the record has {self.end - at} left")
        self.at = at + size
        return at

    def u8(self, field: str) -> int:
        return self.data[self.take(1, field)]

    def u16(self, field: str) -> int:
        return _U16.unpack_from(self.data, self.take(2, field))[0]

    def u32(self, field: str) -> int:
        return _U32.unpack_from(self.data, self.take(4, field))[0]

    def u64(self, field: str) -> int:
        return _U64.unpack_from(self.data, self.take(8, field))[0]

    def blob(self, field: str) -> bytes:
        size = self.u32(field)
        at = self.take(size, field)
        return self.data[at : at + size]

    def text(self, field: str) -> str:
        # Names that are not UTF-8 stay distinct and printable instead of making the file unreadable.
        return self.blob(field).decode("utf-8", "backslashreplace")

    def text_map(self, field: str) -> dict[str, str]:
        size = self.u32(field)
        end = self.take(size, field) + size
        inner = Fields(self.path, self.data, end - size, end, self.base, self.what)
        found = {}
        while inner.at < end:
            key = inner.text(field)
            found[key] = inner.text(field)
        return found

    def count_map(self, field: str) -> dict[int, int]:
        size = self.u32(field)
        at = self.take(size, field)
        if size % 10:
            raise self.error(f"{field} has {size} bytes, not a multiple of 10")
        return dict(struct.iter_unpack("<HQ", memoryview(self.data)[at : at + size]))


class Record(NamedTuple):
    op: int
    at: int  # of the content in the buffer
    end: int


def iter_records(path: str, data: bytes, base: int, at: int = 0) -> Iterator[Record]:
    """The records of a section that lies wholly in `data`; FileFormatError where one leaves it."""
    while at < len(data):
        if at + RECORD_HEAD > len(data):
            raise FileFormatError(f"{path}: record at offset {base + at} is cut off")
        op, length = _HEAD.unpack_from(data, at)
        start = at + RECORD_HEAD
        if length > len(data) - start:
            raise FileFormatError(
                f"{path}: record at offset {base + at} (opcode {op:#04x}) says it has {length} bytes, "
                f"its section has {len(data) - start} left"
            )
        yield Record(op, start, start + length)
        at = start + length


def header(f: Fields) -> Header:
    return Header(f.text("profile"), f.text("library"))


def footer(f: Fields) -> Footer:
    return Footer(f.u64("summary_start"), f.u64("summary_offset_start"), f.u32("summary_crc"))


def schema(f: Fields) -> Schema:
    return Schema(f.u16("id"), f.text("name"), f.text("encoding"), f.blob("data"))


def channel(f: Fields) -> Channel:
    channel_id, schema_id = f.u16("id"), f.u16("schema_id")
    return Channel(channel_id, f.text("topic"), schema_id, f.text("message_encoding"), f.text_map("metadata"))


def chunk_header(f: Fields) -> ChunkHeader:
    start = f.at
    times = f.u64("message_start_time"), f.u64("message_end_time")
    size, crc = f.u64("uncompressed_size"), f.u32("uncompressed_crc")
    compression, compressed = f.text("compression"), f.u64("records")
    return ChunkHeader(*times, size, crc, compression, compressed, f.at - start)


def chunk_index(f: Fields) -> ChunkIndex:
    times = f.u64("message_start_time"), f.u64("message_end_time")
    place = f.u64("chunk_start_offset"), f.u64("chunk_length")
    offsets = f.count_map("message_index_offsets")
    index_length = f.u64("message_index_length")
    compression = f.text("compression")
    sizes = f.u64("compressed_size"), f.u64("uncompressed_size")
    return ChunkIndex(*times, *place, compression, *sizes, offsets, index_length)


def statistics(f: Fields) -> Statistics:
    return Statistics(
        f.u64("message_count"),
        f.u16("schema_count"),
        f.u32("channel_count"),
        f.u32("attachment_count"),
        f.u32("metadata_count"),
        f.u32("chunk_count"),
        f.u64("message_start_time"),
        f.u64("message_end_time"),
        f.count_map("channel_message_counts"),
    )


def attachment_index(f: Fields) -> AttachmentIndex:
    place = f.u64("offset"), f.u64("length")
    times = f.u64("log_time"), f.u64("create_time")
    return AttachmentIndex(*place, *times, f.u64("data_size"), f.text("name"), f.text("media_type"))


def metadata_index(f: Fields) -> MetadataIndex:
    return MetadataIndex(f.u64("offset"), f.u64("length"), f.text("name"))


def metadata(f: Fields) -> Metadata:
    return Metadata(f.text("name"), f.text_map("metadata"))


def summary_offset(f: Fields) -> SummaryOffset:
    return SummaryOffset(f.u8("group_opcode"), f.u64("group_start"), f.u64("group_length"))
