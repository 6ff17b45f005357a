"""The octree of a COPC file: which chunks can hold points in a box (https://copc.io, version 1.0)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from robodf.errors import FileFormatError
from robodf.io.clouds.header import Box, Corner

if TYPE_CHECKING:
    from robodf.io.files import FileReader

_ENTRY = struct.Struct("<4iQii")  # level, x, y, z, offset, size, points
_MOST_PAGE = 64 << 20
_PAGE = -1  # points of an entry that names another page


class Tree(NamedTuple):
    """The cube of the root, by how much points may lie outside of their cubes, and the first page of entries."""

    center: Corner
    half: float
    slack: float
    offset: int
    size: int


def nodes(file: FileReader, tree: Tree, box: Box) -> set[int]:
    """The offsets of the chunks whose cubes meet a box; a node's points lie in its cube, or as rounded beside it."""
    low = [middle - tree.half for middle in tree.center]
    found: set[int] = set()
    pages, seen = [(tree.offset, tree.size)], set()
    while pages:
        offset, size = pages.pop()
        if offset in seen or not 0 <= size <= _MOST_PAGE or size % _ENTRY.size:
            raise FileFormatError(f"{file.path}: a page of {size} bytes of its octree at offset {offset}")
        seen.add(offset)
        for level, *cell, at, length, points in _ENTRY.iter_unpack(file.read_at(offset, size)):
            if not 0 <= level < 32:
                raise FileFormatError(f"{file.path}: a node of level {level} in the octree at offset {offset}")
            side = 2 * tree.half / (1 << level)
            if any(
                start + k * side - tree.slack > most or start + (k + 1) * side + tree.slack < least
                for start, k, least, most in zip(low, cell, *box)
            ):
                continue
            if points == _PAGE:
                pages.append((at, length))
            elif points > 0:
                found.add(at)
    return found
