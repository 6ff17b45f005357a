"""Finding the messages in a buffer of records, with an index's help or without."""

from __future__ import annotations

import struct
from array import array
from typing import NamedTuple

import numpy as np

from robodf.io.mcap.records import MESSAGE_HEAD, RECORD_HEAD, Op

# What precedes the payload of a message.
MESSAGE = np.dtype(
    [
        ("op", "u1"),
        ("length", "<u8"),
        ("channel_id", "<u2"),
        ("sequence", "<u4"),
        ("log_time", "<u8"),
        ("publish_time", "<u8"),
    ]
)
assert MESSAGE.itemsize == MESSAGE_HEAD
_HEAD = struct.Struct("<BQ")
_SMALLEST_MESSAGE = MESSAGE_HEAD - RECORD_HEAD


class Walk(NamedTuple):
    """Offsets of whole records in a buffer: messages, schemas and channels; and where the walk ended.

    `heads` are the messages' own, rows of `MESSAGE`.
    """

    messages: np.ndarray  # int64
    heads: np.ndarray
    definitions: array[int]
    end: int


def walk(buffer: bytes, start: int = 0, end: int | None = None, only: frozenset[int] | None = None) -> Walk:
    """Go from record to record; stops at the first that is not whole, cannot be one, or is not in `only`."""
    end = len(buffer) if end is None else end
    head = _HEAD.unpack_from
    messages = array("q")  # a hostile chunk may be all heads: 8 bytes each, not a Python int
    definitions = array("q")
    at = start
    last = end - RECORD_HEAD
    while at <= last:
        op, length = head(buffer, at)
        after = at + RECORD_HEAD + length
        if after > end or op == 0 or (only is not None and op not in only):
            break
        if op == Op.MESSAGE:
            if length < _SMALLEST_MESSAGE:
                break
            messages.append(at)
        elif op in (Op.SCHEMA, Op.CHANNEL):
            definitions.append(at)
        at = after
    found = np.frombuffer(messages, dtype=np.int64)
    return Walk(found, message_heads(buffer, found), definitions, at)


def message_heads(buffer: bytes, offsets: np.ndarray) -> np.ndarray:
    """The heads of the messages at `offsets`, each of which leaves room for one, as `MESSAGE` rows."""
    room = len(buffer) - MESSAGE_HEAD + 1
    if room <= 0 or not len(offsets):
        return np.empty(0, dtype=MESSAGE)
    # As opaque values: field by field NumPy copies them five times slower.
    return np.ndarray((room,), f"V{MESSAGE_HEAD}", buffer, strides=(1,))[offsets].view(MESSAGE)


def walk_indexed(buffer: bytes, offsets: np.ndarray) -> Walk:
    """As `walk`, but jumping over the messages that an index names.

    The result is that of `walk`, whatever the index says: its messages must tile the buffer together
    with the records found between them, or else the buffer is walked without it.
    """
    offsets = offsets.astype(np.uint64)
    if len(offsets) > 1 and not bool((offsets[1:] > offsets[:-1]).all()):
        offsets = np.sort(offsets)
    if not len(offsets) or int(offsets[-1]) > len(buffer) - MESSAGE_HEAD:
        return walk(buffer)
    at = offsets.astype(np.int64)
    heads = message_heads(buffer, at)
    length = heads["length"]
    fits = (heads["op"] == Op.MESSAGE) & (length >= _SMALLEST_MESSAGE)
    if not bool((fits & (length <= len(buffer))).all()):
        return walk(buffer)
    after = at + RECORD_HEAD + length.astype(np.int64)
    starts = np.concatenate(([0], after))
    ends = np.concatenate((at, [len(buffer)]))
    if bool((starts > ends).any()):
        return walk(buffer)
    definitions = array("q")
    extra: list[np.ndarray] = []
    stop = len(buffer)
    for gap in np.flatnonzero(starts < ends).tolist():
        found = walk(buffer, int(starts[gap]), int(ends[gap]))
        last = gap == len(starts) - 1
        if found.end != ends[gap] and not last:
            return walk(buffer)  # an entry points into the middle of a record
        definitions += found.definitions
        if len(found.messages):
            extra.append(found.messages)
        if last:
            stop = found.end
    if extra:
        at = np.sort(np.concatenate([at, *extra]))
        heads = message_heads(buffer, at)
    return Walk(at, heads, definitions, stop)
