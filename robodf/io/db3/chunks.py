"""Messages of a piece of a database as columns, and how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.db3.database import Database, complaints, database
from robodf.io.db3.inflate import inflated
from robodf.io.db3.pieces import Db3Chunk
from robodf.io.db3.summary import Db3Summary
from robodf.io.files import FileReader
from robodf.io.logs.choosing import inside
from robodf.io.logs.model import ChunkIndex, Messages, check_on_error, select_chunks

_I64 = 1 << 63
_U64 = 1 << 64
_LENGTH = "CASE WHEN typeof(data) = 'blob' THEN length(data) END"

Statement = tuple[str, list[int]]  # what follows FROM, and its values


def read_chunk(
    file: FileReader,
    summary: Db3Summary,
    chunk: ChunkIndex,
    channels: frozenset[int] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
    limit: int | None = None,
    *,
    on_error: str = "raise",
    problems: list[str] | None = None,
) -> Messages:
    """The first `limit` messages of `channels` with `start_time <= log_time < end_time`, by (timestamp, id).

    SQLite is asked for these rows only. Each call has its own connection: threads may read side by side.

    A damaged piece raises FileFormatError with `on_error="raise"`; with `"skip"` or `"collect"` the messages before
    the damage are returned and the loss is appended to `problems`. So it is with single messages whose payload is
    no BLOB, or cannot be decompressed: the others are returned.

    >>> import os, sqlite3, tempfile
    >>> from robodf.io.files import open_file
    >>> from robodf.io.db3 import read_summary
    >>> name = os.path.join(tempfile.mkdtemp(), "a.db3")
    >>> bag = sqlite3.connect(name)
    >>> _ = bag.executescript('''
    ...     CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT);
    ...     CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);
    ...     CREATE INDEX timestamp_idx ON messages (timestamp ASC);
    ...     INSERT INTO topics VALUES(1, '/imu', 'sensor_msgs/msg/Imu', 'cdr');
    ...     INSERT INTO messages(topic_id, timestamp, data) VALUES(1, 10, x'00'), (1, 30, x'02'), (1, 20, x'01');''')
    >>> bag.close()
    >>> with open_file(name) as file:
    ...     summary = read_summary(file)
    ...     m = read_chunk(file, summary, summary.chunks[0], start_time=15)
    >>> m.log_time.tolist(), [m.payload(i) for i in range(len(m))]
    ([20, 30], [b'\\x01', b'\\x02'])
    """
    check_on_error(on_error)
    assert isinstance(chunk, Db3Chunk)
    whole = channels is None or channels.issuperset(summary.channels)
    topics = (
        None
        if channels is None or whole
        else [summary.topic_ids[c] for c in sorted(channels) if c < len(summary.topic_ids)]
    )
    rows = _Rows(summary, limit if summary.indexed else None)
    faults: list[str] = []
    try:
        with database(file, on_error) as db:
            for rest, values in _statements(summary, chunk, topics, start_time, end_time):
                if not rows.read(db, rest, values):
                    break
    except FileFormatError as error:
        faults.append(f"{error}; {len(rows.ends)} messages before that are readable")
    if rows.wrong:
        faults.append(f"{file.path}: {rows.wrong} messages have a timestamp, topic or payload of another type")
    found, lost = rows.messages(file.path)
    faults += lost
    if not summary.indexed:
        found = _in_order(found, limit)
    if not faults and chunk.rows is not None and whole and limit is None and start_time is None and end_time is None:
        if len(found) != chunk.rows:
            faults.append(f"{file.path}: {len(found)} messages where there were {chunk.rows}; the file has changed")
    if len(found) > 1 and summary.indexed and bool((np.diff(found.log_time.view(np.int64)) < 0).any()):
        faults.append(f"{file.path}: the database is damaged: its time index is not in order")
    if faults and on_error == "raise":
        raise FileFormatError(f"{faults[0]}; pass on_error='skip' or 'collect' to read the rest")
    if problems is not None:
        problems.extend(faults)
    return found


HEADS = frozenset(["log_time", "publish_time", "sequence", "size"])
"""What `heads` knows of messages beside their channels."""


def heads(file: FileReader, summary: Db3Summary, chunk: ChunkIndex) -> Messages | None:
    """The messages of a piece without their payloads, which SQLite does not read: only how long they are.

    None where only the payloads tell: of compressed ones.
    """
    if summary.compression:
        return None
    assert isinstance(chunk, Db3Chunk)
    rows = _Rows(summary, None, payloads=False)
    with database(file) as db:
        for rest, values in _statements(summary, chunk, None, None, None):
            rows.read(db, rest, values)
    if rows.wrong or (chunk.rows is not None and len(rows.ends) != chunk.rows):
        return None
    found, _ = rows.messages(file.path)
    if not summary.indexed:
        return _in_order(found, None)
    return None if bool((np.diff(found.log_time.view(np.int64)) < 0).any()) else found


def count(
    summary: Db3Summary,
    file: FileReader,
    channels: frozenset[int] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
) -> int:
    """How many messages of `channels` have `start_time <= log_time < end_time`.

    Nothing is read where the summary knows; of the other pieces, the time index, and the heads of the messages
    where it is about some topics. Damage to payloads is not looked for.
    """
    wanted = frozenset(summary.channels) if channels is None else channels & summary.channels.keys()
    whole = wanted == summary.channels.keys()
    if start_time is None and end_time is None:
        if whole and summary.message_count is not None:
            return summary.message_count
        if summary.channel_counts is not None:
            return sum(n for c, n in summary.channel_counts.items() if c in wanted)
    topics = None if whole else [summary.topic_ids[c] for c in sorted(wanted)]
    total = 0
    left: list[Db3Chunk] = []
    for chunk in select_chunks(summary, wanted, start_time, end_time):
        assert isinstance(chunk, Db3Chunk)
        whole_chunk = inside(chunk, start_time, end_time)
        if whole_chunk and chunk.counts is not None:
            total += sum(n for c, n in chunk.counts.items() if c in wanted)
        elif whole_chunk and whole and chunk.rows is not None:
            total += chunk.rows
        else:
            left.append(chunk)
    if left:
        with database(file) as db:
            for chunk in left:
                for rest, values in _statements(summary, chunk, topics, start_time, end_time):
                    total += db.row(f"SELECT count(timestamp) FROM {rest}", values)[0]
    return total


def _in_order(found: Messages, limit: int | None) -> Messages:
    """Messages in order of id put in order of time, and the first `limit` of those."""
    rows = np.argsort(found.log_time.view(np.int64), kind="stable")[:limit]
    time = found.log_time[rows]
    return Messages(
        found.channel_id[rows], found.sequence[rows], time, time, found.offset[rows], found.length[rows], found.buffer
    )


def _statements(
    summary: Db3Summary, chunk: Db3Chunk, topics: list[int] | None, start: int | None, end: int | None
) -> Iterator[Statement]:
    """The rows of a piece as what follows FROM, several of them in order.

    The plus signs keep SQLite from using another index than that of time, or from using that where it is not believed.
    """
    these = ""
    if topics is not None:
        these = f" AND +topic_id IN ({', '.join(map(str, topics))})"
    (low, low_id), (high, high_id) = chunk.first, chunk.last
    for since, until in _ranges(start, end):
        if not summary.indexed:
            bounds = [*chunk.ids, max(low, since), min(high, until), low, low_id, high, high_id]
            yield (
                "messages NOT INDEXED WHERE _rowid_ BETWEEN ? AND ? AND timestamp BETWEEN ? AND ? "
                f"AND (timestamp > ? OR _rowid_ >= ?) AND (timestamp < ? OR _rowid_ <= ?){these}",
                bounds,
            )
        elif low == high:
            if since <= low <= until:
                yield f"messages WHERE timestamp = ? AND _rowid_ BETWEEN ? AND ?{these}", [low, low_id, high_id]
        else:
            if since <= low <= until:
                yield f"messages WHERE timestamp = ? AND _rowid_ >= ?{these}", [low, low_id]
            after, before = max(low + 1, since), min(high - 1, until)
            if after <= before:
                yield f"messages WHERE timestamp BETWEEN ? AND ?{these}", [after, before]
            if since <= high <= until:
                yield f"messages WHERE timestamp = ? AND _rowid_ <= ?{these}", [high, high_id]


def _ranges(start: int | None, end: int | None) -> Iterator[tuple[int, int]]:
    """The timestamps of a time range, both ends included: negative ones are given as 2**64 more."""
    start = max(start or 0, 0)
    end = _U64 if end is None else min(end, _U64)
    for shift, first, behind in ((_U64, -_I64, 0), (0, 0, _I64)):
        low, high = max(start - shift, first), min(end - shift, behind) - 1
        if low <= high:
            yield low, high


class _Rows:
    """Rows as they come from SQLite, checked one by one; each payload is copied once, into one buffer."""

    def __init__(self, summary: Db3Summary, limit: int | None, payloads: bool = True):
        self.channel_of = {topic: channel for channel, topic in enumerate(summary.topic_ids)}
        # Sorting is left to NumPy: SQLite would give nothing of a piece before it has all of it.
        self.order = "timestamp, _rowid_" if summary.indexed else "_rowid_"
        self.zstd = summary.compression == "zstd"
        self.left = limit
        self.payloads = payloads
        self.buffer = BytesIO()
        self.ends: list[int] = []
        self.times: list[int] = []
        self.channels: list[int] = []
        self.wrong = 0

    def read(self, db: Database, rest: str, values: list[int]) -> bool:
        """Take the rows of a statement; False when the limit is reached."""
        left = -1 if self.left is None else self.left
        if left == 0:
            return False
        channel_of, write = self.channel_of.get, self.buffer.write
        ends, times, channels = self.ends, self.times, self.channels
        kind: Any = bytes if self.payloads else int
        size = ends[-1] if ends else 0
        with complaints(db.name):
            wanted = "data" if self.payloads else _LENGTH
            for data, time, topic in db.run(
                f"SELECT {wanted}, timestamp, topic_id FROM {rest} ORDER BY {self.order}", values
            ):
                channel = channel_of(topic)
                if type(data) is not kind or type(time) is not int or channel is None:
                    self.wrong += 1
                    continue
                size += len(data) if self.payloads else data
                if size > db.size:  # the pages of two payloads are never the same
                    raise FileFormatError(f"{db.name}: the database is damaged: its payloads are larger than the file")
                if self.payloads:
                    write(data)
                ends.append(size)
                times.append(time)
                channels.append(channel)
                left -= 1
                if left == 0:
                    break
        self.left = None if self.left is None else left
        return left != 0

    def messages(self, name: str) -> tuple[Messages, list[str]]:
        """The rows as columns, without those that cannot be decompressed, which are told."""
        n = len(self.ends)
        channel = np.fromiter(self.channels, np.uint16, n)
        time = np.fromiter(self.times, np.int64, n).view(np.uint64)
        end = np.fromiter(self.ends, np.int64, n)
        offset = np.concatenate([[0], end[:-1]]).astype(np.int64) if n else end
        buffer = self.buffer.getvalue()
        faults: list[str] = []
        if self.zstd and self.payloads:
            payloads, bad, reason = inflated(memoryview(buffer)[a:b] for a, b in zip(offset.tolist(), self.ends))
            if bad:
                keep = np.ones(n, bool)
                keep[bad] = False
                channel, time = channel[keep], time[keep]
                faults.append(f"{name}: {len(bad)} messages cannot be decompressed: {reason}")
            end = np.cumsum(np.fromiter(map(len, payloads), np.int64, len(payloads)))
            offset = end - np.fromiter(map(len, payloads), np.int64, len(payloads))
            buffer = b"".join(payloads)
        sequence = np.zeros(len(channel), np.uint32)  # the database has none, nor a time of publishing
        return Messages(channel, sequence, time, time, offset, end - offset, buffer), faults
