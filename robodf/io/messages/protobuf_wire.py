"""Where the fields of Protobuf messages lie, found in many messages at once.

All messages take one step at a time from tag to tag; those that are at the same tag are stepped together. So
no Python object is made per message, and a field that is not asked for is only stepped over.

Only plain messages are walked. What Protobuf also allows but no writer does (a field given twice, a tag in
more bytes than needed, a field of another wire type, groups) makes a payload *odd*: it is left to the
`protobuf` package, which knows all the rules.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from robodf.io.messages.columns import Budget
from robodf.io.messages.payloads import Payloads, list_offsets

VARINT, FIXED64, LEN, FIXED32 = 0, 1, 2, 5

# Behind the payloads lie zeros, so that a varint may be read as a word, and an absent number is a zero.
PADDING = 64
# With fewer messages at one place than this, a Python loop over them beats a numpy step.
_FEW = 12
_MOST_TAG = 1 << 32

_TOP = np.uint64(0x8080808080808080)
_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
# Seven bits of each byte, then fourteen of each two, then 28 of each four, moved together.
_FOLDS = [
    (np.uint64(0x007F007F007F007F), np.uint64(0x7F007F007F007F00), np.uint64(1)),
    (np.uint64(0x00003FFF00003FFF), np.uint64(0x3FFF00003FFF0000), np.uint64(2)),
    (np.uint64(0x000000000FFFFFFF), np.uint64(0x0FFFFFFF00000000), np.uint64(4)),
]


class Found(NamedTuple):
    """Values of one field: value `i` belongs to message `message[i]` and is `data[pos[i] : pos[i] + size[i]]`."""

    message: np.ndarray
    pos: np.ndarray
    size: np.ndarray


Wanted: TypeAlias = dict[int, tuple[int, int]]
"""By field number: the place of the field in the result and the wire types it may have, as bits."""


class Batch:
    """The payloads under one walk; `odd` are those that it could not read, `problems` those that nobody should."""

    def __init__(self, payloads: Payloads):
        self.data = np.concatenate([payloads.data, np.zeros(PADDING, np.uint8)])
        self.zeros = len(payloads.data)
        self.start = payloads.offset
        self.end = payloads.offset + payloads.length
        self.odd = np.zeros(len(payloads), dtype=bool)
        self.problems: dict[int, str] = {}
        self.budget = Budget(payloads.length)

    def view(self, dtype: str) -> np.ndarray:
        """The data as values of `dtype` that start at every byte: indexed by byte position."""
        kind = np.dtype(dtype)
        return np.ndarray((len(self.data) - kind.itemsize + 1,), dtype=kind, buffer=self.data, strides=(1,))

    def afford(self, row: np.ndarray, counts: np.ndarray, size: int, path: str) -> np.ndarray:
        """`counts`, but 0 for payloads that would take too much memory: they become problems."""
        ok = self.budget.spend(row, counts, size)
        if ok.all():
            return counts
        for i in np.unique(row[~ok]).tolist():
            self.problems[i] = f"{path} has so many items with so many fields that they are not read"
        return np.where(ok, counts, 0)


def varint_sizes(data: np.ndarray, words: np.ndarray, pos: np.ndarray) -> np.ndarray | int:
    """How many bytes the varints at `pos` have; 11 where they have more than 10."""
    if not len(pos) or data[pos].max() < 0x80:
        return 1
    ends = ~words[pos] & _TOP
    sizes = (np.bitwise_count((ends & -ends) - np.uint64(1)).astype(np.int64) + 1) >> 3
    rest = np.flatnonzero(ends == 0)
    if len(rest):
        ninth, tenth = data[pos[rest] + 8], data[pos[rest] + 9]
        sizes[rest] = np.where(ninth < 0x80, 9, np.where(tenth < 0x80, 10, 11))
    return sizes


def varints(data: np.ndarray, words: np.ndarray, pos: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The varints at `pos`, as uint64."""
    if not len(pos) or sizes.max() <= 1:
        return data[pos].astype(np.uint64)
    drop = ((8 - np.clip(sizes, 1, 8)) << 3).astype(np.uint64)
    found = (words[pos] << drop) >> drop & _LOW
    for low, high, shift in _FOLDS:
        found = (found & low) | ((found & high) >> shift)
    rest = np.flatnonzero(sizes > 8)
    if len(rest):
        found[rest] |= (data[pos[rest] + 8].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(56)
        rest = rest[sizes[rest] > 9]
        found[rest] |= data[pos[rest] + 9].astype(np.uint64) << np.uint64(63)
    return found


def walk(
    batch: Batch, row: np.ndarray, start: np.ndarray, end: np.ndarray, wanted: Wanted, closed: bool = False
) -> list[Found]:
    """Where the values of the wanted fields lie in the messages `data[start[i] : end[i]]` of payload `row[i]`.

    The values of each field are ordered by message, then as they were written. Messages are odd if they have
    other fields and are `closed`.
    """
    pieces: list[list[Found]] = [[] for _ in range(max((place for place, _ in wanted.values()), default=-1) + 1)]
    data, words = batch.data, batch.view("<u8")
    message = np.flatnonzero(start < end)
    pos, stop = start[message], end[message]
    while len(message):
        if len(message) < _FEW:
            _one_by_one(batch, row, message, pos, stop, wanted, closed, pieces)
            break
        tag, behind, odd = _tags(data, words, pos)
        kinds = _distinct(tag)
        if len(kinds) * _FEW > len(message) * 4:  # too different to be stepped together
            _one_by_one(batch, row, message, pos, stop, wanted, closed, pieces)
            break
        if len(kinds) == 1:
            begin, pos = _values(data, words, kinds[0] & 7, behind)
            if odd is not None:
                pos = np.where(odd, stop + 1, pos)
            _take(kinds[0], message, begin, pos, stop, wanted, closed, pieces)
        else:
            pos = np.empty_like(behind)
            for kind in kinds:
                mine = np.flatnonzero(tag == kind)
                begin, after = _values(data, words, kind & 7, behind[mine])
                if odd is not None:
                    after = np.where(odd[mine], stop[mine] + 1, after)
                pos[mine] = _take(kind, message[mine], begin, after, stop[mine], wanted, closed, pieces)
        alive = pos < stop
        if not alive.all():
            batch.odd[row[message[pos > stop]]] = True
            message, pos, stop = message[alive], pos[alive], stop[alive]
    return [_joined(found) for found in pieces]


def _tags(data: np.ndarray, words: np.ndarray, pos: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    tag = data[pos]
    if tag.max() < 0x80:
        return tag.astype(np.int64), pos + 1, (tag < 8) if tag.min() < 8 else None
    sizes = np.asarray(varint_sizes(data, words, pos))
    tag = varints(data, words, pos, sizes)
    needed = 1 + sum((tag >> np.uint64(7 * k) != 0).astype(np.int64) for k in range(1, 5))
    odd = (tag < 8) | (tag >= _MOST_TAG) | (sizes != needed)
    return np.where(odd, 0, tag).astype(np.int64), pos + np.minimum(sizes, 10), odd


def _distinct(tag: np.ndarray) -> list[int]:
    first = int(tag[0])
    if (tag == first).all():
        return [first]
    if tag.max() < 1 << 14:
        return np.flatnonzero(np.bincount(tag)).tolist()
    return np.unique(tag).tolist()


def _values(data: np.ndarray, words: np.ndarray, wire: int, pos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the values behind a tag begin, and where they end: -1 added to nothing is behind every payload."""
    if wire == VARINT:
        sizes = varint_sizes(data, words, pos)
        return pos, pos + (sizes if isinstance(sizes, int) else np.where(sizes > 10, len(data), sizes))
    if wire == FIXED64:
        return pos, pos + 8
    if wire == FIXED32:
        return pos, pos + 4
    if wire == LEN:
        sizes = varint_sizes(data, words, pos)
        if isinstance(sizes, int):
            begin = pos + 1
            return begin, begin + data[pos]
        length = varints(data, words, pos, sizes)
        length = np.where((sizes > 5) | (length > len(data)), len(data), length).astype(np.int64)
        begin = pos + np.minimum(sizes, 10)
        return begin, begin + length
    return pos, pos + len(data)


def _take(
    tag: int,
    message: np.ndarray,
    begin: np.ndarray,
    behind: np.ndarray,
    stop: np.ndarray,
    wanted: Wanted,
    closed: bool,
    pieces: list[list[Found]],
) -> np.ndarray:
    """Keeps the values behind a tag if they are wanted; `behind` lies past `stop` where the payload is odd."""
    field = wanted.get(tag >> 3)
    if field is None and not closed:
        return behind
    place, wires = field or (0, 0)
    if not wires >> (tag & 7) & 1:
        behind[:] = stop + 1
        return behind
    ok = behind <= stop
    if ok.all():
        pieces[place].append(Found(message, begin, behind - begin))
    else:
        pieces[place].append(Found(message[ok], begin[ok], (behind - begin)[ok]))
    return behind


def _one_by_one(
    batch: Batch,
    row: np.ndarray,
    message: np.ndarray,
    pos: np.ndarray,
    stop: np.ndarray,
    wanted: Wanted,
    closed: bool,
    pieces: list[list[Found]],
) -> None:
    """The rest of the walk, one message after the other."""
    data = batch.data.data
    found: list[tuple[list[int], list[int], list[int]]] = [([], [], []) for _ in pieces]
    for i, at, end in zip(message.tolist(), pos.tolist(), stop.tolist()):
        while at < end:
            tag, after = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            if not number or tag >= _MOST_TAG or (after - at - 1) * 7 >= tag.bit_length():
                break
            begin = after
            if wire == LEN:
                length, begin = _varint(data, after)
                after = begin + length if begin - after <= 5 else end + 1
            elif wire == VARINT:
                after = _varint(data, after)[1]
            elif wire == FIXED64:
                after += 8
            elif wire == FIXED32:
                after += 4
            else:
                break
            if after > end:
                break
            field = wanted.get(number)
            if field is None:
                if closed:
                    break
            else:
                if not field[1] >> wire & 1:
                    break
                messages, places, sizes = found[field[0]]
                messages.append(i)
                places.append(begin)
                sizes.append(after - begin)
            at = after
        if at != end:
            batch.odd[row[i]] = True
    for piece, (messages, places, sizes) in zip(pieces, found):
        if messages:
            piece.append(Found(*(np.array(part, dtype=np.int64) for part in (messages, places, sizes))))


def _varint(data: memoryview, pos: int) -> tuple[int, int]:
    """The varint at `pos` and where it ends; one of more than 10 bytes ends behind every payload."""
    byte = data[pos]
    if byte < 0x80:
        return byte, pos + 1
    value = byte & 0x7F
    for shift in range(7, 70, 7):
        pos += 1
        byte = data[pos]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos + 1
    return 0, len(data) + 1


def _joined(pieces: list[Found]) -> Found:
    if not pieces:
        none = np.empty(0, dtype=np.int64)
        return Found(none, none, none)
    if len(pieces) == 1:
        return pieces[0]
    message = np.concatenate([piece.message for piece in pieces])
    order = np.argsort(message, kind="stable")
    pos = np.concatenate([piece.pos for piece in pieces])
    size = np.concatenate([piece.size for piece in pieces])
    return Found(message[order], pos[order], size[order])


def packed_varints(raw: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The varints in chunks of whole varints, that lie one after the other in `raw`.

    Returns their values, how many each chunk has, and which chunks are broken.
    """
    ends = raw < 0x80
    before = list_offsets(ends)
    offsets = list_offsets(sizes)
    counts = before[offsets[1:]] - before[offsets[:-1]]
    last = np.flatnonzero(ends)
    first = np.empty_like(last)
    first[:1] = 0
    first[1:] = last[:-1] + 1
    length = last - first + 1
    padded = np.concatenate([raw, np.zeros(PADDING, np.uint8)])
    words = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    values = varints(padded, words, first, np.minimum(length, 10))
    broken = np.zeros(len(sizes), dtype=bool)
    bad = (length > 10) | (length == 10) & (raw[last] > 1)
    broken[np.repeat(np.arange(len(sizes)), counts)[bad]] = True
    return values, counts, broken
