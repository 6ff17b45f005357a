"""Where the chunks of a dataset are: the indexes of HDF5 from places in the grid to places in the file."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.hdf5.file import UNDEFINED, Hdf5File
from robodf.io.hdf5.objects import WRONG, Dataset


@dataclass(frozen=True, slots=True)
class Chunk:
    address: int
    bytes: int
    skipped: int  # bits of the filters that were not applied


Places = dict[tuple[int, ...], Chunk]
"""Chunks by their place in the grid of chunks; one that is not there holds fill values only."""


def chunk_bytes(found: Dataset) -> int:
    return math.prod(found.layout.chunk) * found.type.size


def places(file: Hdf5File, found: Dataset) -> Places:
    """The chunks of a dataset. FileFormatError where the index is damaged or says more than the file can hold."""
    assert found.shape is not None
    if found.layout.address == UNDEFINED and found.layout.index != "single":
        return {}
    try:
        made = _INDEXES[found.layout.index](file, found)
    except WRONG as error:
        if isinstance(error, FileFormatError):
            raise
        raise file.bad(found.layout.address, f"not an index of chunks ({error})") from error
    for chunk in made.values():
        if chunk.address > file.size or chunk.bytes > file.size - chunk.address:
            raise file.bad(chunk.address, f"a chunk of {chunk.bytes} bytes lies outside of the file")
    return made


def _grid(found: Dataset) -> tuple[int, ...]:
    assert found.shape is not None
    return tuple(-(-n // c) for n, c in zip(found.shape, found.layout.chunk))


def _tree(file: Hdf5File, found: Dataset) -> Places:
    """A B-tree of version 1: each key has the size, the skipped filters and the first element of a chunk."""
    rank = len(found.layout.chunk)
    entry = np.dtype([("size", "<u4"), ("skipped", "<u4"), ("at", "<u8", (rank,)), ("zero", "<u8"), ("child", "<u8")])
    made: Places = {}
    pending: list[tuple[int, int | None]] = [(found.layout.address, None)]
    nodes = 0
    grid = _grid(found)
    while pending:
        address, level = pending.pop()
        nodes += 1
        if nodes > file.size // 24:
            raise file.bad(address, "a B-tree with more nodes than the file can hold")
        data = file.up_to(address, 24 + entry.itemsize * 2 * file.chunk_k)
        if data[:4] != b"TREE" or data[4] != 1 or (level is not None and data[5] != level):
            raise file.bad(address, "no node of a B-tree of chunks")
        level, used = data[5], int.from_bytes(data[6:8], "little")
        if 24 + used * entry.itemsize > len(data):
            data = file.read(address, 24 + used * entry.itemsize)
        entries = np.frombuffer(data, entry, used, 24)
        if level:
            pending += [(int(child), level - 1) for child in reversed(entries["child"].tolist())]
            continue
        for size, skipped, at, _, child in entries.tolist():
            place = tuple(a // c for a, c in zip(at, found.layout.chunk))
            if any(a % c for a, c in zip(at, found.layout.chunk)):
                raise file.bad(address, f"a chunk that begins at {tuple(at)}, which is not on the grid")
            if all(p < n for p, n in zip(place, grid)):  # others are left of a dataset that shrank
                if place in made:
                    raise file.bad(address, f"two chunks at {place}")
                made[place] = Chunk(child, size, skipped)
    return made


def _single(file: Hdf5File, found: Dataset) -> Places:
    if found.layout.address == UNDEFINED:
        return {}
    flags, *filtered = found.layout.extra
    size, skipped = filtered if filtered else (chunk_bytes(found), 0)
    return {(0,) * len(found.layout.chunk): Chunk(found.layout.address, size, skipped)}


def _numbered(found: Dataset, file: Hdf5File, chunks: list[tuple[int, int, int]]) -> Places:
    """Chunks that are numbered row by row of the grid: (address, bytes, skipped) of each."""
    grid = _grid(found)
    made: Places = {}
    for k, (address, size, skipped) in enumerate(chunks):
        if address != UNDEFINED:
            place = tuple(int(n) for n in np.unravel_index(k, grid))
            made[place] = Chunk(address, size, skipped)
    return made


def _implicit(file: Hdf5File, found: Dataset) -> Places:
    size, count = chunk_bytes(found), math.prod(_grid(found))
    if count * size > file.size:
        raise file.bad(found.layout.address, f"{count} chunks of {size} bytes are more than the file has")
    return _numbered(found, file, [(found.layout.address + k * size, size, 0) for k in range(count)])


def _elements(data: bytes, count: int, size: int, width: int, whole: int) -> list[tuple[int, int, int]]:
    """The elements of an array index: an address, and where there are filters a size and the skipped ones."""
    if width == 8 and size == 8:
        return [(a, whole, 0) for a in np.frombuffer(data, "<u8", count).tolist()]
    made = []
    for k in range(count):
        at = k * size
        (address,) = struct.unpack_from("<Q", data, at)
        bytes_ = int.from_bytes(data[at + 8 : at + size - 4], "little")
        (skipped,) = struct.unpack_from("<I", data, at + size - 4)
        made.append((address, bytes_, skipped))
    return made


def _fixed(file: Hdf5File, found: Dataset) -> Places:
    """A fixed array: all elements in one block, or in pages of a block."""
    address = found.layout.address
    head = file.read(address, 28)
    if head[:4] != b"FAHD":
        raise file.bad(address, "no fixed array")
    size, page_bits = head[6], head[7]
    count, block = struct.unpack_from("<QQ", head, 8)
    filtered = head[5] == 1
    if not 8 <= size <= 32 or count * size > file.size or count != math.prod(_grid(found)) or page_bits > 40:
        raise file.bad(address, f"a fixed array of {count} elements of {size} bytes for a grid of {_grid(found)}")
    if block == UNDEFINED:
        return {}
    start = file.read(block, 14)
    if start[:4] != b"FADB":
        raise file.bad(block, "no block of a fixed array")
    per_page = 1 << page_bits
    whole = chunk_bytes(found)
    width = size if filtered else 8
    if count <= per_page:
        return _numbered(found, file, _elements(file.read(block + 14, count * size), count, size, width, whole))
    pages = -(-count // per_page)
    bitmap = file.read(block + 14, -(-pages // 8))
    at = block + 14 + len(bitmap) + 4
    made: list[tuple[int, int, int]] = []
    for page in range(pages):
        here = min(per_page, count - page * per_page)
        if bitmap[page // 8] >> (7 - page % 8) & 1:
            made += _elements(file.read(at, here * size), here, size, width, whole)
        else:
            made += [(UNDEFINED, 0, 0)] * here
        at += here * size + 4
    return _numbered(found, file, made)


_INDEXES = {"tree": _tree, "single": _single, "implicit": _implicit, "fixed": _fixed}
