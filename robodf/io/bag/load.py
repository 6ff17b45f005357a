"""One chunk and its index records, from the file into memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robodf.io.bag.inflate import inflate
from robodf.io.bag.records import (
    INDEX_ENTRY,
    LARGEST_HEADER,
    SMALLEST,
    BadRecord,
    Op,
    chunk_header,
    index_count,
    read_head,
)
from robodf.io.bag.walk import Walk, walk, walk_indexed
from robodf.io.files import FileReader
from robodf.io.logs.model import ChunkIndex

# The length of a chunk is a u32, so no honest chunk with its index is much larger.
LARGEST_CHUNK = (4 << 30) + LARGEST_HEADER
# Up to this size a chunk and its index are read at once; of a larger one the header is looked at first.
_ONE_READ = 64 << 20


class Entries(NamedTuple):
    """What the index records of one chunk say, in their order: one value per message."""

    conn: np.ndarray  # uint32
    time: np.ndarray  # uint64, ns
    offset: np.ndarray  # int64, of the message record in the uncompressed chunk, or in the buffer that holds it


class Loaded(NamedTuple):
    """The records of a chunk and what its index says of them (None where it cannot be believed).

    `buffer` may hold more than the chunk; offsets are those in the buffer.
    `problem` says what is lost, `note` what is only strange.
    """

    buffer: bytes
    found: Walk
    entries: Entries | None
    problem: str | None
    note: str | None


def load_chunk(file: FileReader, chunk: ChunkIndex) -> Loaded:
    """Read a chunk and the index behind it at once, decompress it as far as that goes, and find its messages."""
    if chunk.bare:
        return _walked(file.read_at(chunk.offset, chunk.length), 0, chunk.length, None, None, None)
    room = chunk.length + chunk.message_index_length
    data = file.read_at(chunk.offset, min(room, _ONE_READ))
    try:
        head = read_head(data, 0, len(data))
        compression, size = chunk_header(head)
    except BadRecord as error:
        return _walked(b"", 0, 0, None, str(error), None)
    problem = note = None
    end = head.data + head.length
    if end > room:
        problem = f"it is cut off: {room - head.data} of {head.length} bytes of its data are there"
        end = room
    behind = room - end
    if behind > chunk.message_index_length + _ONE_READ:
        problem, behind = _unexplained(behind), 0
    if end + behind > len(data):
        data += file.read_at(chunk.offset + len(data), end + behind - len(data))
    buffer, start, stop, damage = data, head.data, end, None
    if compression != "none" or size != end - head.data:  # or else messages can be had without a copy
        buffer, damage = inflate(compression, memoryview(data)[head.data : end], size)
        start, stop = 0, len(buffer)
    entries = None
    if behind:
        try:
            entries = parse_index(data, end, end + behind, size)
            entries.offset[:] += start
        except BadRecord as error:
            if behind == chunk.message_index_length:
                note = f"its index is damaged ({error}), so its messages were looked for without it"
            else:
                problem = problem or _unexplained(behind)
    return _walked(buffer, start, stop, entries, problem or damage, note)


def _walked(
    buffer: bytes, start: int, end: int, entries: Entries | None, problem: str | None, note: str | None
) -> Loaded:
    found = walk(buffer, start, end) if entries is None else walk_indexed(buffer, entries.offset, start, end)
    if problem is None and found.end != end:
        problem = f"the record at byte {found.end - start} of its {end - start} uncompressed bytes is damaged"
    return Loaded(buffer, found, entries, problem, note)


def _unexplained(length: int) -> str:
    return f"{length} bytes behind it are not its index, and messages may be lost with them"


def parse_index(data: bytes, at: int, end: int, chunk_size: int) -> Entries:
    """The entries of the index records between `at` and `end`; BadRecord where there is anything but those.

    Connection records may be among them: readers need nothing from there that they do not know.
    """
    conns: list[int] = []
    counts: list[int] = []
    parts: list[np.ndarray] = []
    while at < end:
        head = read_head(data, at, end)
        after = head.data + head.length
        if after > end:
            raise BadRecord(f"a record of {after - at} bytes where {end - at} are left")
        if head.op == Op.INDEX:
            conns.append(head.u32(b"conn"))
            counts.append(index_count(head))
            parts.append(np.frombuffer(data, INDEX_ENTRY, counts[-1], head.data))
        elif head.op != Op.CONNECTION:
            raise BadRecord(f"a record of op {head.op:#04x}")
        at = after
    entries = np.concatenate(parts) if parts else np.empty(0, INDEX_ENTRY)
    if len(entries) and int(entries["offset"].max()) > chunk_size - SMALLEST:
        raise BadRecord(f"a message at byte {entries['offset'].max()} of a chunk of {chunk_size}")
    time = entries["sec"].astype(np.uint64) * np.uint64(1_000_000_000) + entries["nsec"]
    return Entries(np.repeat(np.array(conns, np.uint32), counts), time, entries["offset"].astype(np.int64))
