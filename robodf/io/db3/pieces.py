"""The messages of a database cut into pieces of its time order, each a unit of reading."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.db3.database import Database, complaints
from robodf.io.logs.model import ChunkIndex

PIECE = 4 << 20  # bytes of payload in a piece
MOST_ROWS = 1 << 16  # messages in a piece
HEADS_ROWS = 50_000  # up to so many messages are looked at one by one
SCANNED = 256 << 20  # bytes that are read to count the messages of each topic
NO_ID = (-(1 << 63), (1 << 63) - 1)
_LOW = (1 << 32) - 1

Key = tuple[int, int]  # (timestamp, id), which is the order of messages


@dataclass(frozen=True, slots=True)
class Db3Chunk(ChunkIndex):
    """The messages from `first` to `last`, both included, by (timestamp, id).

    `ids` is the range that their ids are in. `rows` is None where some may be unreadable. `offset` is the number of
    messages before this piece, `length` that of payload bytes, estimated where the file is large.
    """

    first: Key = (0, 0)
    last: Key = (0, 0)
    ids: tuple[int, int] = NO_ID
    rows: int | None = None


@dataclass
class Pieces:
    """The pieces of a file. `counts`: messages per topic id. `damage` says what is lost, `notes` what is odd."""

    chunks: tuple[Db3Chunk, ...] = ()
    messages: int = 0
    counts: dict[int, int] | None = None
    indexed: bool = False
    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Heads:
    """Timestamp, id, topic id and payload size of messages."""

    time: np.ndarray
    id: np.ndarray
    topic: np.ndarray
    size: np.ndarray
    wrong: int = 0  # rows whose values are of other types
    gap: int | None = None  # the last id before a damaged page


def find_pieces(db: Database, topic_ids: frozenset[int], on_error: str) -> Pieces:
    """Cut the messages of a database.

    With many messages only the time index is read. With few ones, or without an index that can be believed, the heads
    of all messages, which gives counts for each piece and cuts that follow the sizes.
    """
    notes: list[str] = []
    rows = None
    if _has_index(db):
        try:
            with complaints(db.name):
                rows, times, latest = db.row("SELECT count(*), count(timestamp), max(timestamp) FROM messages")
                page = db.row("PRAGMA page_size")[0]
                if times != rows or (rows and not isinstance(latest, int)):
                    notes.append(f"{db.name}: there are timestamps that are no integers")
                elif rows > HEADS_ROWS or page * rows > SCANNED < db.size:
                    return _by_index(db, rows, min(db.size, page * rows), topic_ids)
        except FileFormatError as error:
            notes.append(f"{error} (in its time index); all messages were looked at instead")
            rows = None
    found = _by_heads(db, rows, topic_ids, on_error)
    found.notes = notes + found.notes
    return found


def _has_index(db: Database) -> bool:
    """Whether the messages in order of time can be had from an index alone."""
    plan = db.run("EXPLAIN QUERY PLAN SELECT timestamp, _rowid_ FROM messages ORDER BY timestamp, _rowid_").fetchall()
    steps = [str(step[3]) for step in plan]
    return len(steps) == 1 and "USING COVERING INDEX" in steps[0]


# -- by the time index ----------------------------------------------------------------------------------------------


def _by_index(db: Database, rows: int, cost: int, topic_ids: frozenset[int]) -> Pieces:
    """FileFormatError where the index is damaged or does not agree with the table."""
    counts = None
    if cost <= SCANNED:
        found = db.run("SELECT topic_id, count(*) FROM messages NOT INDEXED GROUP BY topic_id LIMIT 100000").fetchall()
        counts = {topic: n for topic, n in found if topic in topic_ids}
        if sum(n for _, n in found) != rows:
            raise FileFormatError(f"{db.name}: the time index does not have the messages that the table has")
        if sum(counts.values()) != rows:
            raise FileFormatError(f"{db.name}: there are messages of unknown topics")
    average = max(1, db.size // rows)
    step = min(max(PIECE // average, 1), MOST_ROWS)
    first = _key(db, "", (), 0)
    chunks: list[Db3Chunk] = []
    done = 0
    while first is not None:
        ends = _last_and_next(db, first, step)
        if ends is None:  # the rest
            last = _key(db, "DESC", (), 0)
            held, following = rows - done, None
        else:
            (last, following), held = ends, step
        if last is None or last < first or held <= 0 or (following is not None and following <= last):
            raise FileFormatError(f"{db.name}: the time index is not in order")
        chunks.append(_chunk(first, last, done, held * average, held, None))
        done += held
        first = following
    if done != rows:
        raise FileFormatError(f"{db.name}: the time index is not in order")
    return Pieces(tuple(chunks), rows, counts, True)


_KEYS = "SELECT timestamp, _rowid_ FROM messages {0} ORDER BY timestamp {1}, _rowid_ {1} LIMIT {2} OFFSET {3}"


def _key(db: Database, direction: str, values: tuple[int, ...], skip: int, where: str = "") -> Key | None:
    found = db.run(_KEYS.format(where, direction, 1, skip), values).fetchone()
    if found is not None and not (isinstance(found[0], int) and isinstance(found[1], int)):
        raise FileFormatError(f"{db.name}: there are timestamps that are no integers")
    return found


def _last_and_next(db: Database, first: Key, step: int) -> tuple[Key, Key | None] | None:
    """The last message of the `step` ones from `first`, and the one behind it; None if there are not so many.

    Messages of the same time as the first are asked for by their ids: thousands may have one time.
    """
    same = "WHERE timestamp = ? AND _rowid_ >= ?"
    found = db.run(_KEYS.format(same, "", 2, step - 1), first).fetchall()
    if len(found) < 2:
        ties = db.row(f"SELECT count(_rowid_) FROM messages {same}", first)[0]
        skip = step - 1 - ties - len(found)
        later = db.run(_KEYS.format("WHERE timestamp > ?", "", 2, max(skip, 0)), first[:1]).fetchall()
        if found:  # the last one of this time is the last of the piece
            found += later[:1]
        else:
            found = later
    if not found:
        return None
    if not all(isinstance(value, int) for key in found for value in key):
        raise FileFormatError(f"{db.name}: there are timestamps that are no integers")
    return found[0], (found[1] if len(found) > 1 else None)


# -- by the heads of all messages ------------------------------------------------------------------------------------


def _by_heads(db: Database, indexed: int | None, topic_ids: frozenset[int], on_error: str) -> Pieces:
    """`indexed` is how many messages the time index has, None where there is no usable one."""
    found = Pieces()
    heads, error = _heads(db, on_error)
    if error is not None:
        found.damage.append(error)
    if heads.wrong:
        found.damage.append(f"{db.name}: {heads.wrong} messages have a timestamp, topic or payload of another type")
    if indexed is not None:
        if error is None and indexed > len(heads.time) + heads.wrong:
            lost = indexed - len(heads.time) - heads.wrong
            found.damage.append(f"{db.name}: {lost} messages of the time index are not in the table")
        found.indexed = not found.damage and _agree(db, indexed, heads)
        if not found.indexed:
            found.notes.append(f"{db.name}: the time index does not agree with the table and was not used")
    known = np.isin(heads.topic, np.fromiter(topic_ids, np.int64, len(topic_ids)))
    if not known.all():
        strange = heads.topic[~known]
        found.damage.append(
            f"{db.name}: {len(strange)} messages are of topic {int(strange[0])}, which the file does not define"
        )
        heads = _taken(heads, np.flatnonzero(known))
    heads = _taken(heads, np.lexsort((heads.id, heads.time)))
    found.messages = len(heads.time)
    topics, counts = np.unique(heads.topic, return_counts=True)
    found.counts = dict(zip(topics.tolist(), counts.tolist()))
    numbers = {topic: channel for channel, topic in enumerate(sorted(topic_ids))}
    found.chunks = tuple(_cut(heads, numbers))
    return found


class _HeadRows:
    """Heads as they are read; what precedes damage stays."""

    def __init__(self, db: Database):
        self.db = db
        self.parts: list[np.ndarray] = []  # rows: timestamp, id, topic id, size
        self.total = self.wrong = 0

    def read(self, direction: str, above: int | None) -> None:
        where = "" if above is None else f"WHERE _rowid_ > {above}"
        size = "CASE WHEN typeof(data) = 'blob' THEN length(data) END"
        columns = f"timestamp, _rowid_, topic_id, {size}"
        batch: list[tuple] = []
        try:
            with complaints(self.db.name):
                order = f"ORDER BY _rowid_ {direction}"
                for row in self.db.run(f"SELECT {columns} FROM messages NOT INDEXED {where} {order}"):
                    batch.append(row)
                    if len(batch) == 10_000:
                        self._keep(batch)
                        batch = []
        finally:
            self._keep(batch)

    def _keep(self, batch: list[tuple]) -> None:
        self.total += len(batch)
        if self.total > self.db.size // 4:
            raise FileFormatError(f"{self.db.name}: the database is damaged: it has more messages than bytes for them")
        good = [row for row in batch if set(map(type, row)) == {int}]
        self.wrong += len(batch) - len(good)
        if good:
            self.parts.append(np.array(good, np.int64).T)


def _heads(db: Database, on_error: str) -> tuple[_Heads, str | None]:
    """The heads of all messages by id, and what kept some from being read.

    Around one damaged page, those before it and, from the end of the table backwards, those behind it are readable.
    """
    rows = _HeadRows(db)
    error = gap = None
    try:
        rows.read("ASC", None)
    except FileFormatError as damage:
        if on_error == "raise":
            raise FileFormatError(f"{damage}; pass on_error='skip' or 'collect' to read the rest") from damage
        error = f"{damage}; messages on its damaged pages are lost"
        gap = int(rows.parts[-1][1, -1]) if rows.parts else None
        with suppress(FileFormatError):  # the same damage, met from behind
            rows.read("DESC", gap)
    table = np.concatenate(rows.parts, axis=1) if rows.parts else np.empty((4, 0), np.int64)
    _, unique = np.unique(table[1], return_index=True)
    if len(unique) < table.shape[1] and error is None:
        error = f"{db.name}: the database is damaged: it has two messages of one id"
    time, ids, topic, size = table[:, unique]
    return _Heads(time, ids, topic, size, rows.wrong, gap), error


def _agree(db: Database, indexed: int, heads: _Heads) -> bool:
    """Whether the index has the times and ids of the table; sums are equal then."""
    if indexed != len(heads.time):
        return False
    if not indexed:
        return True
    try:
        with complaints(db.name):
            said = db.row(
                f"SELECT sum(timestamp & {_LOW}), sum(timestamp >> 32), sum(_rowid_ & {_LOW}), "
                f"sum((timestamp & {_LOW >> 16}) * (_rowid_ & {_LOW >> 16})) FROM messages"
            )
    except FileFormatError:
        return False
    mixed = (heads.time & (_LOW >> 16)) * (heads.id & (_LOW >> 16))
    sums = (heads.time & _LOW).sum(), (heads.time >> 32).sum(), (heads.id & _LOW).sum(), mixed.sum()
    return said == tuple(map(int, sums))


def _taken(heads: _Heads, rows: np.ndarray) -> _Heads:
    return _Heads(heads.time[rows], heads.id[rows], heads.topic[rows], heads.size[rows], heads.wrong, heads.gap)


def _cut(heads: _Heads, numbers: dict[int, int]) -> list[Db3Chunk]:
    ends = np.cumsum(heads.size)
    # No piece has messages on both sides of a damaged page: reading it would meet the damage.
    breaks = np.flatnonzero(np.diff(heads.id > heads.gap)) + 1 if heads.gap is not None else np.empty(0, np.int64)
    breaks = np.append(breaks, len(heads.time))
    chunks = []
    start = 0
    while start < len(heads.time):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + PIECE, side="right"))
        stop = min(max(stop, start + 1), start + MOST_ROWS, int(breaks[np.searchsorted(breaks, start, side="right")]))
        part = slice(start, stop)
        topics, counts = np.unique(heads.topic[part], return_counts=True)
        held = {numbers[t]: n for t, n in zip(topics.tolist(), counts.tolist())}
        ids = int(heads.id[part].min()), int(heads.id[part].max())
        first, last = ((int(heads.time[at]), int(heads.id[at])) for at in (start, stop - 1))
        chunks.append(_chunk(first, last, start, int(ends[stop - 1]) - before, stop - start, held, ids))
        start = stop
    return chunks


def _chunk(
    first: Key, last: Key, at: int, size: int, rows: int, counts: dict[int, int] | None, ids: tuple[int, int] = NO_ID
) -> Db3Chunk:
    # Negative times are given as the latest ones, so a piece that has some may have any.
    times = (first[0], last[0]) if first[0] >= 0 else (0, (1 << 64) - 1)
    return Db3Chunk(
        start_time=times[0],
        end_time=times[1],
        offset=at,
        length=size,
        uncompressed_size=size,
        counts=counts,
        first=first,
        last=last,
        ids=ids,
        rows=rows,
    )
