"""One chunk and its message indexes, from the file into memory."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from robodf.io.files import FileReader
from robodf.io.logs.model import ChunkIndex, times_known
from robodf.io.mcap import records
from robodf.io.mcap.inflate import MAX_CHUNK_SIZE, inflate
from robodf.io.mcap.records import RECORD_HEAD, Fields, Op

_HEAD = struct.Struct("<BQ")
_INDEX_HEAD = struct.Struct("<BQHI")


class Loaded(NamedTuple):
    """The records of a chunk, its MessageIndex records, and what is wrong with the former.

    `crc` is the checksum that the chunk states for `buffer`, 0 for none.
    """

    buffer: bytes
    index: bytes
    problem: str | None
    crc: int = 0


class IndexEntries(NamedTuple):
    """What the MessageIndex records of one chunk say, in their order: one value per message."""

    channel_id: np.ndarray  # uint16
    log_time: np.ndarray  # uint64, ns
    offset: np.ndarray  # uint64, of the message record in the uncompressed chunk


def load_chunk(file: FileReader, chunk: ChunkIndex) -> Loaded:
    """Read a chunk and the indexes behind it at once, and decompress it as far as that goes."""
    if chunk.bare:
        return Loaded(file.read_at(chunk.offset, chunk.length), b"", None)
    if chunk.length > MAX_CHUNK_SIZE:
        return Loaded(b"", b"", f"it has {chunk.length} bytes, more than the {MAX_CHUNK_SIZE} that are read")
    data = file.read_at(chunk.offset, chunk.length + chunk.message_index_length)
    index = data[chunk.length :]
    if chunk.length < RECORD_HEAD:
        return Loaded(b"", index, "it is cut off")
    op, length = _HEAD.unpack_from(data)
    if op != Op.CHUNK:
        return Loaded(b"", index, f"there is a record of opcode {op:#04x}, not a chunk")
    problem = None
    if RECORD_HEAD + length != chunk.length:
        problem = f"its record has {RECORD_HEAD + length} bytes, of which {chunk.length} are there"
    end = min(RECORD_HEAD + length, chunk.length)
    head = records.chunk_header(Fields(file.path, data, RECORD_HEAD, end, chunk.offset, "chunk"))
    at = RECORD_HEAD + head.data_offset
    if head.compressed_size > end - at:
        problem = f"it is cut off: {end - at} of {head.compressed_size} compressed bytes are there"
    body = memoryview(data)[at : min(end, at + head.compressed_size)]
    buffer, damage = inflate(head.compression, body, head.uncompressed_size)
    return Loaded(buffer, index, problem or damage, head.uncompressed_crc)


def index_fits(entries: int, length: int) -> bool:
    """Whether a MessageIndex record of `length` can have `entries` bytes of them, 16 each.

    Bytes may pad it, but with room for one more entry its count is not to be believed.
    """
    return entries % 16 == 0 and 0 <= length - 6 - entries < 16


def parse_index(chunk: ChunkIndex, index: bytes) -> IndexEntries | None:
    """The entries of a chunk's MessageIndex records; None where they cannot be the whole truth."""
    ids: list[int] = []
    counts: list[int] = []
    parts: list[np.ndarray] = []
    at = 0
    while at < len(index):
        if at + _INDEX_HEAD.size > len(index):
            return None
        op, length, channel_id, size = _INDEX_HEAD.unpack_from(index, at)
        after = at + RECORD_HEAD + length
        if op != Op.MESSAGE_INDEX or after > len(index) or not index_fits(size, length):
            return None
        if size:
            pairs = np.frombuffer(index, "<u8", size // 8, at + _INDEX_HEAD.size).reshape(-1, 2)
            ids.append(channel_id)
            counts.append(len(pairs))
            parts.append(pairs)
        at = after
    if not parts:
        return None
    entries = parts[0] if len(parts) == 1 else np.concatenate(parts)
    log_time, offset = entries[:, 0], entries[:, 1]
    if int(offset.max()) > chunk.uncompressed_size - records.MESSAGE_HEAD:
        return None
    if times_known(chunk):
        if int(log_time.min()) < chunk.start_time or int(log_time.max()) > chunk.end_time:
            return None
    if chunk.counts is not None and dict(zip(ids, counts)) != {c: n for c, n in chunk.counts.items() if n}:
        return None
    return IndexEntries(np.repeat(np.array(ids, dtype=np.uint16), counts), log_time, offset)
