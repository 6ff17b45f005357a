"""The records of a ROS 1 bag (format 2.0), parsed with every length checked.

The format: http://wiki.ros.org/Bags/Format/2.0. A record is `header_len u32, header, data_len u32, data`; a header is
fields of `len u32, name=value`, among them `op`. Numbers are little-endian; fields come in any order.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

import numpy as np

MAGIC = b"#ROSBAG V2.0\n"
# The smallest record: a header with nothing but `op`, and no data.
SMALLEST = 16
LARGEST_HEADER = 1 << 20
# An index record of n messages has INDEX_HEAD + 12 * n bytes, unless its writer adds fields of its own.
INDEX_HEAD = 55
INDEX_ENTRY = np.dtype([("sec", "<u4"), ("nsec", "<u4"), ("offset", "<u4")])

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_TIME = struct.Struct("<II")


class Op(IntEnum):
    MESSAGE = 0x02
    BAG_HEADER = 0x03
    INDEX = 0x04
    CHUNK = 0x05
    CHUNK_INFO = 0x06
    CONNECTION = 0x07


class BadRecord(ValueError):
    """What is wrong with a record; whoever knows the file and the offset adds them."""


class Head(NamedTuple):
    """The header of a record in a buffer, and where its data is: `length` bytes at `data`, which may be beyond it.

    `fields` has the place of each value in the buffer: `(start, end)`.
    """

    buffer: bytes
    op: int
    fields: dict[bytes, tuple[int, int]]
    data: int
    length: int

    def value(self, name: bytes) -> bytes:
        if name not in self.fields:
            raise BadRecord(f"its header has no {name.decode()}")
        start, end = self.fields[name]
        return self.buffer[start:end]

    def u32(self, name: bytes) -> int:
        return _U32.unpack(self._sized(name, 4))[0]

    def u64(self, name: bytes) -> int:
        return _U64.unpack(self._sized(name, 8))[0]

    def time(self, name: bytes) -> int:
        """A time in ns."""
        sec, nsec = _TIME.unpack(self._sized(name, 8))
        return sec * 1_000_000_000 + nsec

    def _sized(self, name: bytes, size: int) -> bytes:
        value = self.value(name)
        if len(value) != size:
            raise BadRecord(f"its {name.decode()} has {len(value)} bytes, not {size}")
        return value


def header_length(buffer: bytes, at: int) -> int:
    """The length of the header that starts at `at`, of which 4 bytes are there."""
    (length,) = _U32.unpack_from(buffer, at)
    if not SMALLEST - 8 <= length <= LARGEST_HEADER:
        raise BadRecord(f"a header of {length} bytes")
    return length


def read_head(buffer: bytes, at: int, end: int) -> Head:
    """The header of the record at `at`; BadRecord where it does not end before `end` or is none."""
    if at + 4 > end:
        raise BadRecord(f"only {end - at} bytes of it are there")
    header = at + 4
    stop = header + header_length(buffer, at)
    if stop + 4 > end:
        raise BadRecord(f"only {end - at} bytes of it are there")
    fields = parse_fields(buffer, header, stop)
    if b"op" not in fields or fields[b"op"][1] - fields[b"op"][0] != 1:
        raise BadRecord("its header has no op")
    (length,) = _U32.unpack_from(buffer, stop)
    return Head(buffer, buffer[fields[b"op"][0]], fields, stop + 4, length)


def parse_fields(buffer: bytes, at: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Where the values of the fields between `at` and `end` are; a later field replaces one of the same name."""
    fields: dict[bytes, tuple[int, int]] = {}
    while at < end:
        if at + 4 > end:
            raise BadRecord("its header ends within a field")
        (length,) = _U32.unpack_from(buffer, at)
        at += 4
        if at + length > end:
            raise BadRecord("its header ends within a field")
        equals = buffer.find(b"=", at, at + length)
        if equals < 0:
            raise BadRecord("its header has a field without a name")
        fields[buffer[at:equals]] = equals + 1, at + length
        at += length
    return fields


class ChunkInfo(NamedTuple):
    """What the index says of a chunk: its offset, its times in ns, and messages per connection."""

    offset: int
    start_time: int
    end_time: int
    counts: dict[int, int]


def chunk_info(head: Head) -> ChunkInfo:
    """The whole record; its data must be in the buffer."""
    count = head.u32(b"count")
    if head.u32(b"ver") != 1:
        raise BadRecord(f"a chunk info of version {head.u32(b'ver')}; known is 1")
    if head.length != 8 * count:
        raise BadRecord(f"a chunk info of {count} connections in {head.length} bytes")
    pairs = np.frombuffer(head.buffer, "<u4", 2 * count, head.data).reshape(-1, 2).tolist()
    counts: dict[int, int] = {}
    for conn, messages in pairs:
        if messages:
            counts[conn] = counts.get(conn, 0) + messages
    # Writers leave any times in the info of a chunk without messages.
    times = (head.time(b"start_time"), head.time(b"end_time")) if counts else (0, 0)
    return ChunkInfo(head.u64(b"chunk_pos"), *times, counts)


def chunk_header(head: Head) -> tuple[str, int]:
    """The compression of a chunk, and its size uncompressed."""
    if head.op != Op.CHUNK:
        raise BadRecord(f"there is a record of op {head.op:#04x}, not a chunk")
    return head.value(b"compression").decode("ascii", "replace"), head.u32(b"size")


def index_count(head: Head) -> int:
    """The number of entries of an index record."""
    count = head.u32(b"count")
    if head.u32(b"ver") != 1:
        raise BadRecord(f"an index of version {head.u32(b'ver')}; known is 1")
    if head.length != INDEX_ENTRY.itemsize * count:
        raise BadRecord(f"an index of {count} messages in {head.length} bytes")
    return count
