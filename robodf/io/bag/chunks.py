"""Messages of a chunk as columns, and how many there are."""

from __future__ import annotations

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.bag.load import Entries, Loaded, load_chunk, parse_index
from robodf.io.bag.records import BadRecord
from robodf.io.bag.summary import BagSummary
from robodf.io.files import FileReader
from robodf.io.logs.choosing import between, inside
from robodf.io.logs.model import ChunkIndex, Messages, check_on_error, select_chunks, times_known

_LARGEST_CHUNK_SIZE = (1 << 32) - 1


def read_chunk(
    file: FileReader,
    summary: BagSummary,
    chunk: ChunkIndex,
    channels: frozenset[int] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
    limit: int | None = None,
    *,
    on_error: str = "raise",
    problems: list[str] | None = None,
) -> Messages:
    """The first `limit` messages of `channels` with `start_time <= log_time < end_time`, in file order.

    Reads the chunk and its index at once; threads may read chunks of one file side by side. The index only
    saves walking: what is returned is what the chunk's records say, and where those differ from an index,
    `problems` is told. A bag has one time a message, which is both `log_time` and `publish_time`, and no sequence
    numbers: `sequence` is 0 (`header.seq` is part of the message).

    A damaged chunk raises FileFormatError with `on_error="raise"`; with `"skip"` or `"collect"` the
    whole records in it are returned and the loss is appended to `problems`.

    >>> import os, tempfile
    >>> from rosbags.rosbag1 import Writer
    >>> from robodf.io.bag import read_summary
    >>> from robodf.io.files import open_file
    >>> name = os.path.join(tempfile.mkdtemp(), "a.bag")
    >>> with Writer(name) as out:
    ...     tick = out.add_connection("/tick", "std_msgs/msg/UInt8", msgdef="uint8 data", md5sum="7")
    ...     for t in range(5):
    ...         out.write(tick, t, bytes([t]))
    >>> with open_file(name) as file:
    ...     summary = read_summary(file)
    ...     m = read_chunk(file, summary, summary.chunks[0], frozenset([0]), start_time=2, end_time=4)
    >>> m.log_time.tolist(), [m.payload(i) for i in range(len(m))]
    ([2, 3], [b'\\x02', b'\\x03'])
    """
    check_on_error(on_error)
    try:
        loaded = load_chunk(file, chunk)
    except FileFormatError as error:
        if on_error == "raise":
            raise
        if problems is not None:
            problems.append(str(error))
        none = np.empty(0, np.int64)
        time = none.astype(np.uint64)
        return Messages(none.astype(np.uint16), none.astype(np.uint32), time, time, none, none, b"")
    found, problem = loaded.found.messages, loaded.problem
    channel_id, keep = _channels(summary, found.conn)
    if problem is None and not bool(keep.all()):
        strange = int(found.conn[~keep][0])
        problem = f"it has messages of connection {strange}, which the file does not define"
    place = f"{file.path}: chunk at offset {chunk.offset}"
    if problem is not None:
        if on_error == "raise":
            raise FileFormatError(f"{place}: {problem}; pass on_error='skip' or 'collect' to read the rest")
        if problems is not None:
            problems.append(f"{place}: {problem}; {int(keep.sum())} messages in it are readable")
    note = loaded.note or _contradiction(chunk, loaded, channel_id)
    if note is not None and problem is None and problems is not None:
        problems.append(f"{place}: {note}")
    if channels is not None:
        table = np.zeros(1 << 16, dtype=bool)
        table[[c for c in channels if 0 <= c < 1 << 16]] = True
        keep &= table[channel_id]
    keep = between(found.time, start_time, end_time, keep)
    if bool(keep.all()):
        rows = slice(limit)
    else:
        rows = np.flatnonzero(keep)[:limit]
    log_time = found.time[rows]
    return Messages(
        channel_id[rows],
        np.zeros(len(log_time), np.uint32),
        log_time,
        log_time,
        found.start[rows],
        found.length[rows],
        loaded.buffer,
    )


HEADS = frozenset(["log_time", "publish_time", "sequence"])
"""What `heads` knows of messages beside their channels."""


def heads(file: FileReader, summary: BagSummary, chunk: ChunkIndex) -> Messages | None:
    """The messages of a chunk by the index behind it, in file order, with nothing but channel and time.

    None where that cannot be the whole truth: then only reading the chunk tells.
    """
    entries = _entries(file, summary, chunk)
    if entries is None:
        return None
    channel_id, known = _channels(summary, entries.conn)
    if not bool(known.all()):
        return None
    order = np.argsort(entries.offset, kind="stable")
    return Messages.without_payloads(channel_id[order], entries.time[order])


def count(
    summary: BagSummary,
    file: FileReader,
    channels: frozenset[int] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
    *,
    on_error: str = "raise",
    problems: list[str] | None = None,
) -> int:
    """How many messages of `channels` have `start_time <= log_time < end_time`.

    Nothing is read where the summary vouches for the numbers; otherwise the indexes of the chunks that the range
    cuts. Damage inside a chunk's body is not looked for.
    """
    total = 0
    for chunk in select_chunks(summary, channels, start_time, end_time):
        if chunk.counts is not None and inside(chunk, start_time, end_time):
            wanted = summary.channels.keys() if channels is None else channels & summary.channels.keys()
            total += sum(n for c, n in chunk.counts.items() if c in wanted)
            continue
        entries = _entries(file, summary, chunk)
        if entries is None:
            bounds = channels, start_time, end_time
            total += len(read_chunk(file, summary, chunk, *bounds, on_error=on_error, problems=problems))
            continue
        channel_id, keep = _channels(summary, entries.conn)
        if channels is not None:
            keep &= np.isin(channel_id, list(channels))
        total += int(between(entries.time, start_time, end_time, keep).sum())
    return total


def _entries(file: FileReader, summary: BagSummary, chunk: ChunkIndex) -> Entries | None:
    """The index behind a chunk; None where it is not what the summary says of it."""
    if chunk.bare or not chunk.message_index_length:
        return None
    data = file.read_at(chunk.offset + chunk.length, chunk.message_index_length)
    try:
        entries = parse_index(data, 0, len(data), _LARGEST_CHUNK_SIZE)
    except BadRecord:
        return None
    return entries if _tally(summary, entries.conn) == chunk.counts and _within(chunk, entries.time) else None


def _tally(summary: BagSummary, conn: np.ndarray) -> dict[int, int]:
    conns, counts = np.unique(conn, return_counts=True)
    return {summary.connections.get(c, -1): n for c, n in zip(conns.tolist(), counts.tolist())}


def _within(chunk: ChunkIndex, time: np.ndarray) -> bool:
    return not len(time) or (chunk.start_time <= int(time.min()) and int(time.max()) <= chunk.end_time)


def _contradiction(chunk: ChunkIndex, loaded: Loaded, channel_id: np.ndarray) -> str | None:
    """Where the indexes differ from the records, which are believed."""
    found, entries = loaded.found.messages, loaded.entries
    if chunk.counts is not None:
        counts = np.bincount(channel_id, minlength=1)
        if any(n != (counts[c] if c < len(counts) else 0) for c, n in chunk.counts.items()) or (
            sum(chunk.counts.values()) != len(channel_id)
        ):
            return f"the file's index counts {sum(chunk.counts.values())} messages in it, by topic, of {len(found.at)}"
    if times_known(chunk) and not _within(chunk, found.time):
        return "it has messages at times outside of those in the file's index: reading by time may miss them"
    if entries is not None and not (
        len(entries.conn) == len(found.at)
        and all(
            int(said.sum(dtype=np.uint64)) == int(real.sum(dtype=np.uint64))
            for said, real in ((entries.conn, found.conn), (entries.time, found.time), (entries.offset, found.at))
        )
    ):
        return "its messages are not those of the index behind it"
    return None


def _channels(summary: BagSummary, conn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The channel (uint16) of each connection, and whether it is defined."""
    known = sorted(summary.connections.items())
    if not known:
        return np.zeros(len(conn), np.uint16), np.zeros(len(conn), bool)
    conns = np.array([c for c, _ in known], np.uint32)
    ids = np.array([i for _, i in known], np.uint16)
    at = np.minimum(np.searchsorted(conns, conn), len(conns) - 1)
    return ids[at], conns[at] == conn
