"""Sets of 64-bit numbers as Roaring bitmaps, in the portable form.

The format: https://github.com/RoaringBitmap/RoaringFormatSpec. Its files may come from anywhere: each count is checked
against the bytes that are there, and the numbers against how many there may be, before memory is taken.
"""

from __future__ import annotations

import numpy as np

_RUNS, _PLAIN = 12347, 12346
_FEW_RUNS = 4  # with less no places of containers are told
_ARRAY = 4096  # numbers up to which a container is an array


def positions_of(data: bytes, most: int) -> np.ndarray:
    """The numbers of a set, ascending, as int64. ValueError for what is damaged, or has more than `most` of them."""
    reader = _Reader(data)
    found, before, left = [], -1, most
    for _ in range(reader.number(8)):
        high = reader.number(4)
        if not before < high < 1 << 31:
            raise ValueError("its parts are not in order")
        before = high
        for part in _of_32_bits(reader, left):
            left -= len(part)
            found.append(part + (high << 32))
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes follow it")
    return np.concatenate(found) if found else np.zeros(0, np.int64)


class _Reader:
    def __init__(self, data: bytes):
        self._data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise ValueError("it is cut")
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def numbers(self, count: int) -> np.ndarray:
        return np.frombuffer(self.take(2 * count), "<u2").astype(np.int64)


def _of_32_bits(reader: _Reader, most: int) -> list[np.ndarray]:
    """The numbers of each container."""
    cookie = reader.number(4)
    if cookie & 0xFFFF == _RUNS:
        count = (cookie >> 16) + 1
        marks = np.frombuffer(reader.take((count + 7) // 8), np.uint8)
        runs = np.unpackbits(marks, bitorder="little")[:count].astype(bool)
    elif cookie == _PLAIN:
        count = reader.number(4)
        if count > 1 << 16:
            raise ValueError(f"it has {count} containers")
        runs = np.zeros(count, bool)
    else:
        raise ValueError(f"it begins with {cookie}")
    keys, sizes = reader.numbers(2 * count).reshape(count, 2).T
    sizes = sizes + 1
    if (np.diff(keys) <= 0).any():
        raise ValueError("its containers are not in order")
    if not runs.any() or count >= _FEW_RUNS:
        reader.take(4 * count)  # where each container begins, which follows from the sizes
    found = []
    for key, size, run in zip(keys.tolist(), sizes.tolist(), runs.tolist()):
        most -= size
        if most < 0:
            raise ValueError("it has more numbers than it should")
        found.append(_container(reader, size, run) + (key << 16))
    return found


def _container(reader: _Reader, size: int, run: bool) -> np.ndarray:
    if run:
        starts, lengths = reader.numbers(2 * reader.number(2)).reshape(-1, 2).T
        if (starts + lengths >= 1 << 16).any() or (starts[1:] <= (starts + lengths)[:-1]).any():
            raise ValueError("its runs are not in order")
        lengths = lengths + 1
        if int(lengths.sum()) != size:
            raise ValueError("its runs are not as long as it says")
        firsts = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        return firsts + np.arange(size)
    if size > _ARRAY:
        bits = np.unpackbits(np.frombuffer(reader.take(8192), np.uint8), bitorder="little")
        found = np.flatnonzero(bits)
        if len(found) != size:
            raise ValueError("a container has other numbers than it says")
        return found
    found = reader.numbers(size)
    if (np.diff(found) <= 0).any():
        raise ValueError("its numbers are not in order")
    return found
