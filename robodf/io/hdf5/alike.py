"""The same name in thousands of groups that are alike, such as `actions` of each demo, found for all at once.

A file of 10,000 demos has as many groups, each with its B-tree, heap of names and headers. Walking them one by one
takes longer than reading their data. So the first demo is walked, and of the others the bytes at the same places are
compared with its: where they are equal but for sizes and addresses, these are taken as arrays. Where they differ, that
demo is walked on its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.hdf5.file import UNDEFINED, Hdf5File
from robodf.io.hdf5.heaps import Attribute, attribute, children, names_heap
from robodf.io.hdf5.objects import (
    ATTRIBUTE,
    FILL,
    FILTERS,
    LAYOUT,
    MORE,
    SPACE,
    TYPE,
    Dataset,
    Layout,
    dataset,
    group,
    messages,
)

NOT_THERE = UNDEFINED

_LONGEST_HEADER = 4096
_IGNORED = (0x0, 0xE, 0x12, 0xC)  # free room, times of change, attributes: they say nothing of the data
_SIZED = (SPACE, LAYOUT)


@dataclass
class Alike:
    """One path in many groups. `like` is the first that is there, `rows`, `places` and `sizes` are of all.

    `others` are those that are not like it but in the number of rows (None: a group, or not there at all). `broken`
    says of the ones that could not be read why.
    """

    count: int
    like: Dataset | None = None
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    places: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    chunk_rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    others: dict[int, Dataset | None] = field(default_factory=dict)
    broken: dict[int, FileFormatError] = field(default_factory=dict)

    def __getitem__(self, k: int) -> Dataset | None:
        """The dataset of group `k`; its FileFormatError where it is broken."""
        if k in self.broken:
            raise self.broken[k]
        if k in self.others:
            return self.others[k]
        assert self.like is not None
        rows, place, like = int(self.rows[k]), int(self.places[k]), self.like
        if like.layout.kind == "contiguous":
            layout = Layout("contiguous", place, rows * like.row_bytes)
        else:
            layout = Layout("chunked", place, chunk=(int(self.chunk_rows[k]), *like.layout.chunk[1:]), index="tree")
        return Dataset(like.address, (rows, *like.item), like.type, layout, like.filters, like.fill)

    @property
    def nbytes(self) -> int:
        return int(self.rows.nbytes + self.places.nbytes + self.chunk_rows.nbytes) + 500 * len(self.others)


def find(file: Hdf5File, groups: np.ndarray, name: str) -> np.ndarray:
    """The addresses of the headers called `name` in the groups at these addresses; NOT_THERE where there is none.

    A link out of the file counts as not there. FileFormatError where a group is damaged.
    """
    found = np.full(len(groups), NOT_THERE, np.uint64)
    left = np.arange(len(groups))[groups != NOT_THERE]
    if len(left) > 8:
        done = _find_alike(file, groups[left], name.encode(), found, left)
        left = left[~done]
    for k in left.tolist():
        one = group(file, int(groups[k]))
        for link in children(file, one) if one is not None else ():
            if link.name == name and link.address is not None:
                found[k] = link.address
    return found


def _word(data: np.ndarray, at: int) -> np.ndarray:
    """The eight bytes at a place of each row, as numbers."""
    return np.ascontiguousarray(data[:, at : at + 8]).view("<u8").reshape(-1)


def _is(data: np.ndarray, at: int, expected: bytes) -> np.ndarray:
    return (data[:, at : at + len(expected)] == np.frombuffer(expected, np.uint8)).all(axis=1)


def _inside(file: Hdf5File, addresses: np.ndarray, length: int) -> np.ndarray:
    return addresses <= np.uint64(max(0, file.size - length)) if file.size >= length else addresses < 0


def _find_alike(file: Hdf5File, groups: np.ndarray, name: bytes, into: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Fill in what is found in plain groups of old kind, whose names lie where the first one's do; which were done."""
    done = np.zeros(len(groups), bool)

    def narrowed(kept: np.ndarray, sound: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return kept[sound], *(a[sound] for a in arrays)

    kept = np.arange(len(groups))
    kept, at = narrowed(kept, _inside(file, groups, 40), groups)
    head = file.gather(at, 40)
    # Headers of version 1. The symbol table, of 16 bytes, is the first message, or the first of the next block, where
    # attributes push it.
    sound = _is(head, 0, b"\1\0") & (head[:, 2] > 0) & (head[:, 20] & 2 == 0)
    moved = _is(head, 16, b"\x10\0\x10\0") & (head[:, 2] > 1)
    next_block = _word(head, 24)
    moved &= _inside(file, next_block, 24) & (_word(head, 32) >= 24)
    head[moved, 16:40] = file.gather(next_block[moved], 24)
    sound &= _is(head, 16, b"\x11\0\x10\0") & (head[:, 20] & 2 == 0)
    kept, head = narrowed(kept, sound, head)
    tree, heap = _word(head, 24), _word(head, 32)
    kept, tree, heap = narrowed(kept, _inside(file, tree, 48) & _inside(file, heap, 32), tree, heap)
    if not len(kept):
        return done
    node = file.gather(tree, 48)
    sound = _is(node, 0, b"TREE\0\0") & (node[:, 6] > 0) & (node[:, 7] == 0)
    kept, node, tree, heap = narrowed(kept, sound, node, tree, heap)
    if not len(kept):
        return done
    placed = _placed(file, int(tree[0]), int(heap[0]), name)
    if placed is None:
        return done
    branch, entry, name_at = placed
    sound = node[:, 6] > branch
    kept, tree, heap = narrowed(kept, sound, tree, heap)
    child_at = tree + np.uint64(32 + 16 * branch)
    kept, child_at, heap = narrowed(kept, _inside(file, child_at, 8), child_at, heap)
    child = file.gather(child_at, 8).view("<u8").reshape(-1)
    size = 8 + 40 * (entry + 1)
    kept, child, heap = narrowed(kept, _inside(file, child, size), child, heap)
    symbols = file.gather(child, size)
    line = 8 + 40 * entry
    # A node with that entry, whose name is at the same place of the heap, and which is no link by name (kind 2).
    sound = _is(symbols, 0, b"SNOD\1") & (symbols[:, 6] > entry) & (_word(symbols, line) == name_at)
    sound &= symbols[:, line + 16] != 2
    kept, symbols, heap = narrowed(kept, sound, symbols, heap)
    names = file.gather(heap, 32)
    sound = _is(names, 0, b"HEAP\0") & (_word(names, 8) >= np.uint64(name_at + len(name) + 1))
    kept, symbols, names = narrowed(kept, sound, symbols, names)
    text_at = _word(names, 24)
    kept, symbols, text_at = narrowed(kept, _inside(file, text_at, name_at + len(name) + 1), symbols, text_at)
    text = file.gather(text_at + np.uint64(name_at), len(name) + 1)
    kept, symbols = narrowed(kept, _is(text, 0, name + b"\0"), symbols)
    into[where[kept]] = _word(symbols, line + 8)
    done[kept] = True
    return done


def _placed(file: Hdf5File, tree: int, heap: int, name: bytes) -> tuple[int, int, int] | None:
    """Under which branch of a B-tree of one level a name is, as which entry, and where its text is in the heap."""
    start, size = names_heap(file, heap)
    names = file.read(start, size)
    used = int.from_bytes(file.read(tree + 6, 2), "little")
    for branch in range(used):
        (node,) = struct.unpack("<Q", file.read(tree + 32 + 16 * branch, 8))
        head = file.read(node, 8)
        if head[:4] != b"SNOD":
            return None
        count = int.from_bytes(head[6:8], "little")
        entries = file.read(node + 8, 40 * count)
        for entry in range(count):
            (at,) = struct.unpack_from("<Q", entries, 40 * entry)
            if names[at : at + len(name) + 1] == name + b"\0":
                return branch, entry, at
    return None


# -- datasets -------------------------------------------------------------------------------------------------


def datasets(file: Hdf5File, addresses: np.ndarray) -> Alike:
    """The datasets whose headers are at these addresses (NOT_THERE: none)."""
    made = Alike(len(addresses), others=dict.fromkeys(np.nonzero(addresses == NOT_THERE)[0].tolist()))
    made.rows = np.full(len(addresses), -1, np.int64)
    made.places = np.full(len(addresses), UNDEFINED, np.uint64)
    made.chunk_rows = np.zeros(len(addresses), np.int64)
    left = np.nonzero(addresses != NOT_THERE)[0]
    while len(left):
        k = int(left[0])
        mould = _mould(file, int(addresses[k])) if len(left) > 8 and made.like is None else None
        if mould is None:
            _alone(file, made, k, int(addresses[k]))
            left = left[1:]
            continue
        made.like = mould.like
        left = left[~mould.take(file, made, left, addresses[left])]
    return made


def _alone(file: Hdf5File, made: Alike, k: int, address: int) -> None:
    try:
        made.others[k] = found = dataset(file, address)
    except FileFormatError as error:
        made.broken[k] = error
        return
    if found is not None and found.shape:
        made.rows[k] = found.rows


class _Mould:
    """The header of one dataset, and which of its bytes others may have otherwise."""

    def __init__(self, like: Dataset, head: bytes, free: np.ndarray, dims_at: int, place_at: int):
        self.like, self._dims_at, self._place_at = like, dims_at, place_at
        self._head = np.frombuffer(head, np.uint8)
        self._fixed = np.nonzero(~free)[0]

    def take(self, file: Hdf5File, made: Alike, which: np.ndarray, addresses: np.ndarray) -> np.ndarray:
        """Note those that are like the mould; which these are."""
        like = self.like
        length = len(self._head)
        done = _inside(file, addresses, length)
        head = file.gather(addresses[done], length)
        same = (head[:, self._fixed] == self._head[self._fixed]).all(axis=1)
        rows, place = _word(head, self._dims_at), _word(head, self._place_at)
        same &= rows < 1 << 40
        if like.layout.kind == "contiguous":
            # So many bytes as the rows take, all in the file, or none at all yet.
            row, total = np.uint64(like.row_bytes), _word(head, self._place_at + 8)
            same &= (total == rows * row) & (rows <= np.uint64(file.size // max(like.row_bytes, 1)))
            same &= (place <= np.uint64(file.size) - np.minimum(total, np.uint64(file.size))) & (place != UNDEFINED)
            chunk_rows = np.zeros(len(rows), np.int64)
        else:
            at = self._place_at + 8
            chunk_rows = np.ascontiguousarray(head[:, at : at + 4]).view("<u4").reshape(-1).astype(np.int64)
            same &= chunk_rows > 0
        kept = which[done][same]
        made.rows[kept], made.places[kept] = rows[same].astype(np.int64), place[same]
        made.chunk_rows[kept] = chunk_rows[same]
        done[done] = same
        return done


def _mould(file: Hdf5File, address: int) -> _Mould | None:
    """The mould that a dataset makes, or None where its header is of another kind, or in several blocks."""
    try:
        found = messages(file, address)
        like = dataset(file, address, found)
    except FileFormatError:
        return None
    head = file.up_to(address, 16)
    if like is None or like.problem or not like.shape or head[:2] != b"\1\0":
        return None
    size = struct.unpack_from("<I", head, 8)[0] + 16
    by_kind = {m.kind: m for m in reversed(found)}
    layout, space = by_kind[LAYOUT], by_kind[SPACE]
    plain = layout.body[0] == 3 and like.layout.kind in ("contiguous", "chunked") and space.body[0] == 1
    shared = any(m.shared for m in found if m.kind in (SPACE, TYPE, FILTERS, FILL, LAYOUT))
    whole = size <= _LONGEST_HEADER and all(
        address + 16 <= m.at and m.at + len(m.body) <= address + size for m in found
    )
    if not plain or shared or not whole:
        return None
    free = np.zeros(size, bool)
    free[4:8] = True  # how many names it has
    for m in found:
        at = m.at - address
        if m.kind in _IGNORED:
            free[at : at + len(m.body)] = True
    dims_at = space.at - address + 8
    free[dims_at : dims_at + 8] = True
    if space.body[2] & 1:  # the greatest size that the rows may grow to
        most = dims_at + 8 * len(like.shape)
        free[most : most + 8] = True
    place_at = layout.at - address + (2 if like.layout.kind == "contiguous" else 3)
    free[place_at : place_at + (16 if like.layout.kind == "contiguous" else 12)] = True
    return _Mould(like, file.read(address, size), free, dims_at, place_at)


# -- attributes -----------------------------------------------------------------------------------------------


def attribute_bytes(file: Hdf5File, groups: np.ndarray, name: str) -> tuple[Attribute, np.ndarray, np.ndarray] | None:
    """An attribute of groups that are alike: the first one's, which groups have it so, and its bytes in these.

    None where the first has none, or keeps it elsewhere than in its first blocks.
    """
    if len(groups) <= 8:
        return None
    first = int(groups[0])
    head = file.up_to(first, 40)
    found = messages(file, first)
    if len(head) < 40 or head[:2] != b"\1\0" or not found:
        return None
    moved = found[0].kind == MORE
    start, room = struct.unpack_from("<QQ", head, 24) if moved else (first, 16 + struct.unpack_from("<I", head, 8)[0])
    for m in found:
        if m.kind == ATTRIBUTE and not m.shared and start < m.at and m.at + len(m.body) <= start + room:
            like = attribute(file, m.body)
            if like.name == name:
                break
    else:
        return None
    size = like.type.size if like.shape == () else 0
    if not size or len(like.data) < size:
        return None
    kept = np.nonzero(_inside(file, groups, 40))[0]
    heads = file.gather(groups[kept], 40)
    sound = _is(heads, 0, b"\1\0")
    if moved:
        sound &= _is(heads, 16, b"\x10\0\x10\0") & (_word(heads, 32) == room)
    else:
        sound &= (heads[:, 8:12] == np.frombuffer(head[8:12], np.uint8)).all(axis=1)
    kept, heads = kept[sound], heads[sound]
    length = 8 + len(m.body)
    at = (_word(heads, 24) if moved else groups[kept]) + np.uint64(m.at - 8 - start)
    inside = _inside(file, at, length)
    kept, at = kept[inside], at[inside]
    data = file.gather(at, length)
    value = length - len(like.data)
    mould = np.frombuffer(file.read(m.at - 8, length), np.uint8)
    same = (data[:, :value] == mould[:value]).all(axis=1)
    return like, kept[same], data[same, value : value + size]
