"""Messages of a chunk as columns, and what can be known of them without reading it."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.files import FileReader
from robodf.io.logs.choosing import among, between, inside
from robodf.io.logs.model import ChunkIndex, Messages, check_on_error, select_chunks
from robodf.io.mcap.load import IndexEntries, load_chunk, parse_index
from robodf.io.mcap.records import MESSAGE_HEAD, RECORD_HEAD
from robodf.io.mcap.summary import McapSummary
from robodf.io.mcap.walk import MESSAGE, walk, walk_indexed


class Index(NamedTuple):
    """Messages of one chunk in the order of the file, without their payloads."""

    channel_id: np.ndarray  # uint16
    log_time: np.ndarray  # uint64, ns
    offset: np.ndarray  # int64, of the record in the uncompressed chunk: 31 bytes before the payload


def read_chunk(
    file: FileReader,
    summary: McapSummary,
    chunk: ChunkIndex,
    channels: frozenset[int] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
    limit: int | None = None,
    *,
    on_error: str = "raise",
    problems: list[str] | None = None,
    check_crc: bool = True,
) -> Messages:
    """The first `limit` messages of `channels` with `start_time <= log_time < end_time`, in file order.

    Reads the chunk and its indexes at once; threads may read chunks of one file side by side. The
    indexes only save walking: what is returned is what the chunk's records say. Its checksum is compared
    (a fifth to a half of the price of decompressing); with `check_crc=False` only where the two disagree or there is no
    index.

    A damaged chunk raises FileFormatError with `on_error="raise"`; with `"skip"` or `"collect"` the
    whole records in it are returned and the loss is appended to `problems`.

    >>> import os, tempfile
    >>> from robodf.io.files import open_file
    >>> from robodf.io.mcap.summary import read_summary
    >>> from robodf.io.mcap.writer import McapWriter
    >>> name = os.path.join(tempfile.mkdtemp(), "a.mcap")
    >>> with McapWriter(name) as out:
    ...     imu = out.add_channel("/imu", "json", out.add_schema("Imu", "jsonschema", b"{}"))
    ...     for t in range(5):
    ...         out.write(imu, log_time=t, data=b'{"t": %d}' % t)
    >>> with open_file(name) as file:
    ...     summary = read_summary(file)
    ...     m = read_chunk(file, summary, summary.chunks[0], frozenset([imu]), start_time=2, end_time=4)
    >>> m.log_time.tolist(), [m.payload(i) for i in range(len(m))]
    ([2, 3], [b'{"t": 2}', b'{"t": 3}'])
    """
    check_on_error(on_error)
    try:
        buffer, index, problem, crc = load_chunk(file, chunk)
    except FileFormatError as error:
        if on_error == "raise":
            raise
        if problems is not None:
            problems.append(str(error))
        return _messages(np.empty(0, dtype=MESSAGE), np.empty(0, dtype=np.int64), b"")
    entries = parse_index(chunk, index) if index else None
    found = walk(buffer) if entries is None else walk_indexed(buffer, entries.offset)
    heads = found.heads
    if problem is None and found.end != len(buffer):
        problem = f"the record at byte {found.end} of its {len(buffer)} uncompressed bytes is damaged"
    if problem is None and crc and (check_crc or not _agree(chunk, entries, found.messages, heads)):
        if zlib.crc32(buffer) != crc:
            problem = "its checksum does not match its bytes"
    known = np.zeros(1 << 16, dtype=bool)
    known[list(summary.channels)] = True
    keep = known[heads["channel_id"]]
    if problem is None and not bool(keep.all()):
        strange = int(heads["channel_id"][~keep][0])
        problem = f"it has messages of channel {strange}, which the file does not define"
    if problem is not None:
        text = f"{file.path}: chunk at offset {chunk.offset}: {problem}"
        if on_error == "raise":
            raise FileFormatError(f"{text}; pass on_error='skip' or 'collect' to read the rest")
        if problems is not None:
            problems.append(f"{text}; {len(heads)} messages before that are readable")
    if channels is not None:
        keep &= among(heads["channel_id"], channels)
    keep = between(heads["log_time"], start_time, end_time, keep)
    if bool(keep.all()):
        return _messages(heads[:limit], found.messages[:limit], buffer)
    rows = np.flatnonzero(keep)[:limit]
    return _messages(heads[rows], found.messages[rows], buffer)


def index_only(
    file: FileReader,
    summary: McapSummary,
    chunk: ChunkIndex,
    channels: frozenset[int] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
    *,
    on_error: str = "raise",
    problems: list[str] | None = None,
) -> Index:
    """Channel, time and place of messages from the MessageIndex records, in file order.

    Nothing is decompressed, unless the chunk has no indexes or they contradict what is known of it;
    `on_error` and `problems` are for that case, as in `read_chunk`.
    """
    entries = None
    if chunk.message_index_length and not chunk.bare:
        index = file.read_at(chunk.offset + chunk.length, chunk.message_index_length)
        entries = parse_index(chunk, index)
    if entries is None:
        bounds = channels, start_time, end_time
        found = read_chunk(file, summary, chunk, *bounds, on_error=on_error, problems=problems)
        return Index(found.channel_id, found.log_time, found.offset - MESSAGE_HEAD)
    channel_id, log_time, offset = entries
    keep = np.ones(len(channel_id), dtype=bool)
    if channels is not None:
        keep = among(channel_id, channels)
    keep = between(log_time, start_time, end_time, keep)
    if not bool(keep.all()):
        channel_id, log_time, offset = channel_id[keep], log_time[keep], offset[keep]
    offset = offset.astype(np.int64)
    if len(offset) > 1 and not bool((offset[1:] > offset[:-1]).all()):
        order = np.argsort(offset, kind="stable")
        return Index(channel_id[order], log_time[order], offset[order])
    return Index(channel_id, np.ascontiguousarray(log_time), offset)


HEADS = frozenset(["log_time"])
"""What `heads` knows of messages beside their channels."""


def heads(file: FileReader, summary: McapSummary, chunk: ChunkIndex) -> Messages | None:
    """The messages of a chunk by its MessageIndex records, in file order, with nothing but channel and time.

    None where these cannot be the whole truth: then only reading the chunk tells.
    """
    if not chunk.message_index_length or chunk.bare or chunk.counts is None:
        return None
    entries = parse_index(chunk, file.read_at(chunk.offset + chunk.length, chunk.message_index_length))
    if entries is None:
        return None
    channel_id, log_time, offset = entries
    if not bool(among(channel_id, frozenset(summary.channels)).all()):
        return None
    order = np.argsort(offset, kind="stable")
    return Messages.without_payloads(channel_id[order], log_time[order])


def count(
    summary: McapSummary,
    file: FileReader,
    channels: frozenset[int] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
    *,
    on_error: str = "raise",
    problems: list[str] | None = None,
) -> int:
    """How many messages of `channels` have `start_time <= log_time < end_time`.

    Nothing is read where the summary vouches for the numbers; otherwise the message indexes of the
    chunks that the range cuts. Damage inside a chunk's body is not looked for.
    """
    statistics = summary.statistics
    if statistics is not None and _covers(summary, start_time, end_time):
        per_channel = statistics.channel_message_counts
        if channels is None:
            return statistics.message_count
        if sum(per_channel.values()) == statistics.message_count:
            return sum(n for c, n in per_channel.items() if c in channels)
    total = 0
    for chunk in select_chunks(summary, channels, start_time, end_time):
        if chunk.counts is not None and inside(chunk, start_time, end_time):
            total += sum(n for c, n in chunk.counts.items() if channels is None or c in channels)
        else:
            bounds = channels, start_time, end_time
            found = index_only(file, summary, chunk, *bounds, on_error=on_error, problems=problems)
            total += len(found.channel_id)
    return total


def _agree(chunk: ChunkIndex, entries: IndexEntries | None, offsets: np.ndarray, heads: np.ndarray) -> bool:
    """Whether the records are those that the indexes speak of; sums do, whatever the order is.

    The records are believed where they differ, but then their checksum is worth its price.
    """
    if entries is None:
        return chunk.counts is not None and sum(chunk.counts.values()) == len(heads)
    return len(entries.offset) == len(heads) and all(
        int(said.sum(dtype=np.uint64)) == int(found.sum(dtype=np.uint64))
        for said, found in (
            (entries.offset, offsets),
            (entries.log_time, heads["log_time"]),
            (entries.channel_id, heads["channel_id"]),
        )
    )


def _covers(summary: McapSummary, start_time: int | None, end_time: int | None) -> bool:
    return all(
        inside(chunk, start_time, end_time)
        for chunk in summary.chunks
        if chunk.counts is None or any(chunk.counts.values())
    )


def _messages(heads: np.ndarray, at: np.ndarray, buffer: bytes) -> Messages:
    return Messages(
        np.ascontiguousarray(heads["channel_id"]),
        np.ascontiguousarray(heads["sequence"]),
        np.ascontiguousarray(heads["log_time"]),
        np.ascontiguousarray(heads["publish_time"]),
        at + MESSAGE_HEAD,
        heads["length"].astype(np.int64) - (MESSAGE_HEAD - RECORD_HEAD),
        buffer,
    )
