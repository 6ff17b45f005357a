"""Small numbers as Parquet packs them: runs and packed bits mixed (levels, codes of a dictionary), and deltas."""

from __future__ import annotations

import numpy as np

from robodf.io.parquet_pages.thrift import Compact

_WIDEST = 32
_LARGEST_BLOCK = 1 << 20  # values of a block of deltas; writers make some hundreds


def hybrid(data: memoryview, width: int, count: int) -> np.ndarray:
    """`count` numbers of `width` bits, as uint32; ValueError where there are fewer.

    >>> hybrid(memoryview(bytes([0x08, 0x01, 0x03, 0b10_01_00_01, 0])), 2, 7).tolist()
    [1, 1, 1, 1, 1, 0, 1]
    """
    if not 0 <= width <= _WIDEST:
        raise ValueError(f"numbers of {width} bits")
    found = np.empty(count, np.uint32)
    if width == 0:
        found[:] = 0
        return found
    wide = (width + 7) // 8
    reader = Compact(data)
    done = 0
    while done < count:
        head = reader.varint()
        at = reader.at
        if head & 1:
            size = (head >> 1) * width  # bytes of groups of 8
            some = min(count - done, (head >> 1) * 8)
            needed = (some * width + 7) // 8
            if not some or at + needed > len(data):
                raise ValueError("packed numbers that are not there")
            found[done : done + some] = unpacked(data[at : at + needed], width, some)
            reader.at = at + size
        else:
            some = min(count - done, head >> 1)
            if not some or at + wide > len(data):
                raise ValueError("a run that is not there")
            value = int.from_bytes(data[at : at + wide], "little")
            if value >> width:
                raise ValueError(f"{value} in a run of numbers of {width} bits")
            found[done : done + some] = value
            reader.at = at + wide
        done += some
    return found


def unpacked(data: memoryview, width: int, count: int) -> np.ndarray:
    """`count` numbers of `width` bits each, the low bits first; the bytes are there."""
    if width in (8, 16, 32):
        return np.frombuffer(data, f"<u{width // 8}", count).astype(np.uint32)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width, bitorder="little").reshape(count, width)
    if width <= 8:
        return np.packbits(bits, axis=1, bitorder="little")[:, 0].astype(np.uint32)
    padded = np.zeros((count, 64 if width > 32 else 32), np.uint8)
    padded[:, :width] = bits
    packed = np.packbits(padded, axis=1, bitorder="little")
    return packed.view("<u8" if width > 32 else "<u4")[:, 0]


def deltas(data: memoryview, most: int) -> tuple[np.ndarray, int]:
    """The int64 numbers of a DELTA_BINARY_PACKED stream, at most `most`, and where it ends."""
    reader = Compact(data)
    block, parts, count, first = reader.varint(), reader.varint(), reader.varint(), reader.number()
    if not 0 < block <= _LARGEST_BLOCK or block % 128 or not 0 < parts <= block // 32 or block % parts:
        raise ValueError(f"blocks of {block} deltas in {parts} parts")
    size = block // parts
    if size % 32 or count > most:
        raise ValueError(f"{count} deltas in parts of {size}, where {most} values were told")
    found = np.empty(count, np.int64)
    if not count:
        return found, reader.at
    found[0], done = _wrapped(first), 1
    while done < count:
        least = _wrapped(reader.number())
        widths = bytes(data[reader.at : reader.at + parts])
        reader.at += parts
        if len(widths) < parts:
            raise ValueError("deltas that are not there")
        for width in widths:
            if done == count:
                break  # parts without a value are not written
            needed = size * width // 8
            if width > 64 or reader.at + needed > len(data):
                raise ValueError("deltas that are not there")
            some = min(size, count - done)
            packed = _wide(data[reader.at : reader.at + needed], width, size)[:some] if width else np.zeros(some, "u8")
            found[done : done + some] = packed.view(np.int64) + least
            reader.at += needed
            done += some
    return np.cumsum(found), reader.at  # of int64: it wraps as the format says


def _wide(data: memoryview, width: int, count: int) -> np.ndarray:
    return np.ascontiguousarray(unpacked(data, width, count)).astype(np.uint64)


def _wrapped(value: int) -> np.int64:
    return np.uint64(value & 0xFFFF_FFFF_FFFF_FFFF).astype(np.int64)
