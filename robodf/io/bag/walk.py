"""Finding the messages in a buffer of records, with an index's help or without."""

from __future__ import annotations

import struct
from array import array
from typing import NamedTuple

import numpy as np

from robodf.io.bag.records import SMALLEST, BadRecord, Head, Op, read_head

_U32 = struct.Struct("<I")
# A writer has one layout of message headers; a buffer of many layouts is read record by record after these.
_MOST_LAYOUTS = 16


class Records(NamedTuple):
    """Records as columns; `op` 0: nothing that can be among messages, or behind such a record.

    `conn` and `time` are those of messages.
    """

    at: np.ndarray  # int64, of the record
    op: np.ndarray  # uint8
    conn: np.ndarray  # uint32
    time: np.ndarray  # uint64, ns
    start: np.ndarray  # int64, of the data
    length: np.ndarray  # int64

    def take(self, which: np.ndarray | slice) -> Records:
        return Records(*(column[which] for column in self))


class Walk(NamedTuple):
    """The messages of a buffer in their order, the offsets of its connection records, and where the walk ended."""

    messages: Records
    connections: np.ndarray  # int64
    end: int


def walk(buffer: bytes, start: int = 0, end: int | None = None) -> Walk:
    """Go from record to record; stops at the first that is not whole, or neither a message nor a connection."""
    end = len(buffer) if end is None else end
    number = _U32.unpack_from
    found = array("q")  # a hostile chunk may be all heads: 8 bytes each, not a Python int
    at = start
    last = end - SMALLEST
    while at <= last:
        (header,) = number(buffer, at)
        data = at + header + 4
        if header < SMALLEST - 8 or data + 4 > end:
            break
        after = data + 4 + number(buffer, data)[0]
        if after > end:
            break
        found.append(at)
        at = after
    records = _parse(buffer, np.frombuffer(found, dtype=np.int64))
    bad = np.flatnonzero(records.op == 0)
    if len(bad):
        at = int(records.at[bad[0]])
        records = records.take(slice(int(bad[0])))
    message = records.op == Op.MESSAGE
    if bool(message.all()):
        return Walk(records, records.at[:0], at)
    return Walk(records.take(message), records.at[~message], at)


def walk_indexed(buffer: bytes, offsets: np.ndarray, start: int, end: int) -> Walk:
    """As `walk`, but jumping over the messages that an index names by their offsets in the buffer.

    The result is that of `walk`, whatever the index says: its messages must tile the buffer together
    with the records found between them, or else the buffer is walked without it.
    """
    at = offsets.astype(np.int64)
    if len(at) > 1 and not bool((at[1:] > at[:-1]).all()):
        at.sort()
    if not len(at) or int(at[-1]) > end - SMALLEST:
        return walk(buffer, start, end)
    messages = _parse(buffer, at)
    if not bool((messages.op == Op.MESSAGE).all()):
        return walk(buffer, start, end)
    starts = np.concatenate(([start], messages.start + messages.length))
    ends = np.concatenate((at, [end]))
    gaps = np.flatnonzero(starts < ends)
    if bool((starts > ends).any()) or len(gaps) > 64 + len(at) // 8:  # an index of so little costs more than it saves
        return walk(buffer, start, end)
    connections: list[np.ndarray] = [at[:0]]
    extra: list[Records] = []
    stop = end
    for gap in gaps.tolist():
        found = walk(buffer, int(starts[gap]), int(ends[gap]))
        last = gap == len(starts) - 1
        if found.end != ends[gap] and not last:
            return walk(buffer, start, end)  # an entry points into the middle of a record
        connections.append(found.connections)
        if len(found.messages.at):
            extra.append(found.messages)
        if last:
            stop = found.end
    if extra:
        columns = zip(messages, *extra)
        messages = Records(*(np.concatenate(parts) for parts in columns))
        messages = messages.take(np.argsort(messages.at, kind="stable"))
    return Walk(messages, np.concatenate(connections), stop)


def _parse(buffer: bytes, at: np.ndarray) -> Records:
    """What the records at these offsets are, whatever their headers look like.

    A writer gives all headers of messages one layout, so the first is parsed, and those are taken at once
    that differ from it in nothing but the values.
    """
    count = len(at)
    rows = Records(
        at,
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint32),
        np.zeros(count, np.uint64),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
    )
    rest = np.arange(count)
    layouts = 0
    while len(rest):
        i = int(rest[0])
        try:
            head = read_head(buffer, int(at[i]), len(buffer))
            if head.op == Op.MESSAGE:
                conn, time = head.u32(b"conn"), head.time(b"time")
                if layouts < _MOST_LAYOUTS:
                    layouts += 1
                    rest = _take_alike(buffer, at, rest, head, int(at[i]), rows)
                    continue
                rows.conn[i], rows.time[i] = conn, time
        except BadRecord:
            return rows
        if head.op not in (Op.MESSAGE, Op.CONNECTION) or head.data + head.length > len(buffer):
            return rows
        rows.op[i], rows.start[i], rows.length[i] = head.op, head.data, head.length
        rest = rest[1:]
    return rows


def _take_alike(buffer: bytes, at: np.ndarray, rest: np.ndarray, head: Head, origin: int, rows: Records) -> np.ndarray:
    """Fill in the rows whose headers are laid out as that of `head`, which starts at `origin`; the others of `rest`."""
    size = head.data - origin
    conn, time = (head.fields[name][0] - origin for name in (b"conn", b"time"))
    fixed = np.full(size, 0xFF, np.uint8)
    fixed[conn : conn + 4] = 0
    fixed[time : time + 8] = 0
    fixed[size - 4 :] = 0  # the length of the data
    words = [*range(0, size - 8, 8), size - 8]  # the last may overlap the one before
    layout = np.dtype(
        {
            "names": [*(f"w{w}" for w in words), "conn", "sec", "nsec", "length"],
            "formats": [*("<u8" for _ in words), "<u4", "<u4", "<u4", "<u4"],
            "offsets": [*words, conn, time, time + 4, size - 4],
            "itemsize": size,
        }
    )
    room = len(buffer) - size + 1
    here = at[rest] if len(rest) < len(at) else at
    near = here if int(here[-1]) < room else np.minimum(here, room - 1)
    found = np.ndarray((room,), layout, buffer, strides=(1,))[near]
    alike = near == here
    for w in words:
        mask = int.from_bytes(fixed[w : w + 8].tobytes(), "little")
        if mask:
            template = int.from_bytes(buffer[origin + w : origin + w + 8], "little") & mask
            alike &= (found[f"w{w}"] & np.uint64(mask)) == np.uint64(template)
    every = bool(alike.all())
    others = rest[:0] if every else rest[~alike]
    if not every:
        found, here, rest = found[alike], here[alike], rest[alike]
    to = slice(None) if len(rest) == len(at) else rest
    rows.conn[to] = found["conn"]
    rows.time[to] = found["sec"].astype(np.uint64) * np.uint64(1_000_000_000) + found["nsec"]
    rows.start[to] = here + size
    rows.length[to] = found["length"]
    rows.op[to] = np.where(rows.start[to] + rows.length[to] <= len(buffer), int(Op.MESSAGE), 0)
    return others
