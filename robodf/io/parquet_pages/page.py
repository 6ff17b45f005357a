"""The values of some rows of one page."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robodf.io.parquet_pages.decompress import decompressed
from robodf.io.parquet_pages.errors import NotUnderstood
from robodf.io.parquet_pages.layout import DATA, DATA_V2, DICTIONARY, Chunk, whole
from robodf.io.parquet_pages.leaves import Leaf
from robodf.io.parquet_pages.runs import deltas, hybrid
from robodf.io.parquet_pages.thrift import Compact

(_PLAIN, _PLAIN_DICTIONARY, _RLE, _DELTA_NUMBERS, _DELTA_LENGTHS, _RLE_DICTIONARY, _SPLIT) = (0, 2, 3, 5, 6, 8, 9)
_MOST_ROWS = 1 << 24  # of a page: runs can tell any number of rows in a few bytes
_LENGTH = struct.Struct("<I")


@dataclass
class Values:
    """Values that are there: pieces of bytes, or an array of numbers."""

    pieces: list[memoryview | bytes] | None = None
    numbers: np.ndarray | None = None


@dataclass
class Rows:
    """Some rows of a page: which have a value, which have the struct around it, and the values."""

    valid: np.ndarray
    outer: np.ndarray
    values: Values


@dataclass
class Table:
    """The values of a page, any of which can be taken: bytes by where they lie, or numbers."""

    data: memoryview
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        found = self.numbers if self.starts is None else self.starts
        assert found is not None
        return len(found)

    def take(self, which: np.ndarray) -> Values:
        if self.starts is None:
            assert self.numbers is not None
            return Values(numbers=self.numbers[which])
        assert self.ends is not None
        data, starts, ends = self.data, self.starts[which].tolist(), self.ends[which].tolist()
        pieces: list[memoryview | bytes] = [data[a:b] for a, b in zip(starts, ends)]
        if 2 * sum(map(len, pieces)) < len(data):
            pieces = [bytes(piece) for piece in pieces]  # the page is not held for a few of its values
        return Values(pieces)


def rows_of_page(
    raw: memoryview, rows: int, wanted: np.ndarray, leaf: Leaf, chunk: Chunk, dictionary: Callable[[], Table]
) -> Rows:
    """The `wanted` of the `rows` of a data page, header and all, which ascend from 0.

    ValueError where the page is not what it should be, NotUnderstood for what is not read here.
    """
    header, body, size = _opened(raw, chunk)
    kind = header.get(1)
    if rows > _MOST_ROWS:
        raise NotUnderstood
    facts = header.get(5 if kind == DATA else 8, {})
    if kind not in (DATA, DATA_V2) or whole(facts, 1) != rows:
        raise ValueError(f"not the page of {rows} rows that should be there")
    if kind == DATA:
        values = decompressed(body, size, chunk.codec)
        levels = None
        if leaf.most:
            if whole(facts, 3) != _RLE:
                raise NotUnderstood
            levels, values = _prefixed(values, "levels")
        encoding = whole(facts, 2)
    else:
        lengths = whole(facts, 5), whole(facts, 6)
        if lengths[1] or sum(lengths) > min(len(body), size):
            raise ValueError("levels that are longer than the page")
        levels, values = body[: lengths[0]], body[lengths[0] :]
        if facts.get(7, True):
            values = decompressed(values, size - lengths[0], chunk.codec)
        elif len(values) != size - lengths[0]:
            raise ValueError(f"{len(body)} bytes, where its header has {size}")
        encoding = whole(facts, 4)
    if not leaf.most:
        valid = outer = np.ones(len(wanted), bool)
        return Rows(valid, outer, _taken(values, encoding, rows, wanted, leaf, dictionary))
    assert levels is not None
    found = hybrid(levels, leaf.most.bit_length(), rows)
    if found.max(initial=0) > leaf.most:
        raise ValueError(f"a level above {leaf.most}")
    there = found == leaf.most
    count = int(there.sum())
    if kind == DATA_V2 and whole(facts, 2) != rows - count:
        raise ValueError(f"{rows - count} nulls, where its header has {facts.get(2)}")
    valid = there[wanted]
    which = wanted if count == rows else (np.cumsum(there) - 1)[wanted[valid]]
    return Rows(valid, found[wanted] >= leaf.outer, _taken(values, encoding, count, which, leaf, dictionary))


def dictionary_of(raw: memoryview, leaf: Leaf, chunk: Chunk) -> Table:
    """The values of a dictionary page, header and all; ValueError as above."""
    header, body, size = _opened(raw, chunk)
    facts = header.get(7)
    if header.get(1) != DICTIONARY or whole(facts, 2) not in (_PLAIN, _PLAIN_DICTIONARY):
        raise ValueError("not the dictionary that should be there")
    return _plain(decompressed(body, size, chunk.codec), whole(facts, 1), leaf)


def _opened(raw: memoryview, chunk: Chunk) -> tuple[dict[int, Any], memoryview, int]:
    """The header of a page, its body, and how long this is without compression."""
    reader = Compact(raw)
    header = reader.struct()
    body, size = raw[reader.at :], whole(header, 2)
    length = whole(header, 3)
    if header.get(1) == DICTIONARY:
        body = body[:length]  # an index page may follow
    if len(body) != length:
        raise ValueError(f"{len(body)} bytes, where its header has {length}")
    if size > chunk.size:
        raise ValueError(f"{size} bytes in a column of {chunk.size}")
    checksum = header.get(4)
    if checksum is not None and zlib.crc32(body) != checksum & 0xFFFF_FFFF:
        raise ValueError("its checksum does not fit")
    return header, body, size


def _taken(
    data: memoryview, encoding: int, count: int, which: np.ndarray, leaf: Leaf, dictionary: Callable[[], Table]
) -> Values:
    """Those of `count` values that are asked for by their numbers."""
    if not count:
        return Values([]) if leaf.of_bytes else Values(numbers=np.zeros(0, leaf.numbers))
    if encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
        if not len(data):
            raise ValueError("codes that are not there")
        codes = hybrid(data[1:], data[0], count)
        table = dictionary()
        if codes.max() >= len(table):
            raise ValueError(f"a code above {len(table)}, the size of its dictionary")
        return table.take(codes[which])
    if encoding == _PLAIN:
        return _plain(data, count, leaf).take(which)
    if encoding == _RLE and leaf.physical == "BOOLEAN":
        runs, _ = _prefixed(data, "values")
        return Values(numbers=hybrid(runs, 1, count)[which].astype(bool))
    if encoding == _DELTA_LENGTHS and leaf.physical == "BYTE_ARRAY":
        lengths, at = deltas(data, count)
        if len(lengths) != count or (lengths < 0).any() or (lengths > len(data)).any():
            raise ValueError("lengths that its values do not have")
        return _laid_out(data[at:], np.cumsum(np.append(0, lengths))).take(which)
    if encoding == _DELTA_NUMBERS and leaf.physical in ("INT32", "INT64"):
        numbers, _ = deltas(data, count)
        if len(numbers) != count:
            raise ValueError(f"{len(numbers)} of {count} values")
        return Values(numbers=numbers[which].astype(leaf.numbers))
    if encoding == _SPLIT and leaf.physical not in ("BYTE_ARRAY", "BOOLEAN"):
        width = leaf.value_bytes
        if len(data) != count * width:
            raise ValueError(f"{len(data)} bytes for {count} values of {width}")
        joined = np.frombuffer(data, np.uint8).reshape(width, count).T.tobytes()
        return _plain(memoryview(joined), count, leaf).take(which)
    raise NotUnderstood


def _plain(data: memoryview, count: int, leaf: Leaf) -> Table:
    """All values of a page of the encoding PLAIN, which has nothing else in it."""
    if leaf.physical == "BYTE_ARRAY":
        if count * 4 > len(data):
            raise ValueError(f"{len(data)} bytes for {count} values")
        starts, at, length_at = [0] * count, 0, _LENGTH.unpack_from
        try:
            for number in range(count):
                at += 4
                starts[number] = at
                at += length_at(data, at - 4)[0]
        except struct.error:
            raise ValueError("values that are longer than the page") from None
        if at != len(data):
            raise ValueError(f"values of {at} bytes, where there are {len(data)}")
        first = np.array(starts, np.int64)
        return Table(data, first, np.append(first[1:] - 4, len(data)) if count else first)
    if leaf.physical == "BOOLEAN":
        if len(data) != (count + 7) // 8:
            raise ValueError(f"{len(data)} bytes for {count} booleans")
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little")
        return Table(data, numbers=bits.astype(bool))
    width = leaf.value_bytes
    if len(data) != count * width:
        raise ValueError(f"{len(data)} bytes for {count} values of {width}")
    if leaf.of_bytes:
        return _laid_out(data, np.arange(count + 1, dtype=np.int64) * width)
    return Table(data, numbers=np.frombuffer(data, leaf.numbers))


def _laid_out(data: memoryview, bounds: np.ndarray) -> Table:
    """Values that lie without a gap; ValueError where they do not fill the bytes."""
    if bounds[-1] != len(data):
        raise ValueError(f"values of {bounds[-1]} bytes, where there are {len(data)}")
    return Table(data, bounds[:-1], bounds[1:])


def _prefixed(data: memoryview, what: str) -> tuple[memoryview, memoryview]:
    """Bytes that have their length in front, and those that follow."""
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size > len(data) - 4:
        raise ValueError(f"{what} that are longer than the page")
    return data[4 : 4 + size], data[4 + size :]
