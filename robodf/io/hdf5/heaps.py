"""The names in a group, its attributes, and texts of any length: the heaps of HDF5 and the trees over them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.hdf5.datatype import Type
from robodf.io.hdf5.datatype import parse as parse_type
from robodf.io.hdf5.file import UNDEFINED, Hdf5File
from robodf.io.hdf5.objects import ATTRIBUTE, ATTRIBUTES, TYPE, WRONG, Group, Link, Message, body, link, messages, space

_MOST_HEAP = 256 << 20  # bytes of names or of texts in one piece


def children(file: Hdf5File, found: Group) -> list[Link]:
    """The links of a group, in the order of the file."""
    try:
        links = list(found.links)
        if found.symbols is not None:
            links += _symbols(file, *found.symbols)
        if found.dense is not None:
            heap = _FractalHeap(file, found.dense[0])
            links += [link(heap.object(record[4:11])) for record in _records(file, found.dense[1], 5, 11)]
        return links
    except WRONG as error:
        if isinstance(error, FileFormatError):
            raise
        raise file.bad(found.address, f"a group that cannot be listed ({error})") from error


def names_heap(file: Hdf5File, address: int) -> tuple[int, int]:
    """The address and the size of the names of a group."""
    head = file.read(address, 32)
    if head[:4] != b"HEAP" or head[4]:
        raise file.bad(address, "no heap of names")
    size, _, data = struct.unpack_from("<QQQ", head, 8)
    if size > file.size or size > _MOST_HEAP:
        raise file.bad(address, f"a heap of {size} bytes of names")
    return data, size


def symbol_nodes(file: Hdf5File, tree: int) -> list[int]:
    """The addresses of the symbol table nodes under a B-tree, in order."""
    found: list[int] = []
    pending: list[tuple[int, int | None]] = [(tree, None)]
    seen = 0
    while pending:
        address, level = pending.pop()
        seen += 1
        if seen > file.size // 24:
            raise file.bad(tree, "a B-tree with more nodes than the file can hold")
        head = file.read(address, 24)
        if head[:4] != b"TREE" or head[4] != 0 or (level is not None and head[5] != level):
            raise file.bad(address, "no node of a B-tree of names")
        used = int.from_bytes(head[6:8], "little")
        data = np.frombuffer(file.read(address + 24, 16 * used + 8), "<u8")
        places = data[1::2][:used].tolist()
        if head[5]:
            pending += [(place, head[5] - 1) for place in reversed(places)]
        else:
            found += places
    return found


def _symbols(file: Hdf5File, tree: int, heap: int) -> Iterator[Link]:
    data, size = names_heap(file, heap)
    names = file.read(data, size)
    nodes = symbol_nodes(file, tree)
    full = 8 + 80 * file.leaf_k
    if len(nodes) > 8 and max(nodes) <= file.size - full:
        pieces = file.gather(np.array(nodes, np.uint64), full).tobytes()
        held = [pieces[k : k + full] for k in range(0, len(pieces), full)]
    else:
        held = [file.up_to(address, full) for address in nodes]
    for address, node in zip(nodes, held):
        if node[:4] != b"SNOD":
            raise file.bad(address, "no node of symbols")
        count = int.from_bytes(node[6:8], "little")
        if 8 + 40 * count > len(node):
            raise file.bad(address, f"{count} symbols in a node of {len(node)} bytes")
        for at, where, kind, place in _ENTRY.iter_unpack(node[8 : 8 + 40 * count]):
            end = names.find(b"\0", at) if at < size else -1
            if end < 0:
                raise file.bad(address, f"a name at {at} of {size} bytes of names")
            name = names[at:end].decode()
            if kind == 2:
                yield Link(name, None, "another name: " + _text_at(file, names, place, address))
            else:
                yield Link(name, where)


_ENTRY = struct.Struct("<QQIxxxxI12x")  # where its name is, its header, what is cached, the name that a link leads to


def _text_at(file: Hdf5File, names: bytes, at: int, address: int) -> str:
    end = names.find(b"\0", at) if at < len(names) else -1
    if end < 0:
        raise file.bad(address, f"a name at {at} of {len(names)} bytes of names")
    return names[at:end].decode()


# -- the newer kind: B-trees of version 2 over fractal heaps ---------------------------------------------------


def _records(file: Hdf5File, address: int, kind: int, size: int) -> list[bytes]:
    """All records of a B-tree of version 2."""
    head = file.read(address, 38)
    if head[:4] != b"BTHD" or head[5] != kind:
        raise file.bad(address, "no B-tree of version 2 of the kind that is needed")
    node_size, record_size, depth = struct.unpack_from("<IHH", head, 6)
    root, count, total = struct.unpack_from("<QHQ", head, 16)
    if record_size < size or not record_size or node_size < 10 or node_size > _MOST_HEAP:
        raise file.bad(address, f"records of {record_size} bytes in nodes of {node_size}")
    if total > file.size // record_size or depth > 32:
        raise file.bad(address, f"{total} records in {depth} levels")
    if root == UNDEFINED or not total:
        return []
    # How wide the counts in the pointers of inner nodes are follows from how many records fit below.
    most = [(node_size - 10) // record_size]
    widths = [0]
    below = [most[0]]
    for _ in range(depth):
        wide = (below[-1].bit_length() + 7) // 8 if len(below) > 1 else 0
        pointer = 8 + _width(most[0]) + wide
        here = (node_size - 10 - pointer) // (record_size + pointer)
        widths.append(wide)
        most.append(here)
        below.append((here + 1) * below[-1] + here)
    found: list[bytes] = []
    seen = 0

    def walk(at: int, held: int, level: int) -> None:
        nonlocal seen
        seen += 1
        if seen > file.size // 10 or held > most[level] or len(found) > total:
            raise file.bad(at, "a B-tree with more records than it says")
        data = file.read(at, min(node_size, file.size - at))
        if data[:4] != (b"BTIN" if level else b"BTLF"):
            raise file.bad(at, "no node of a B-tree of version 2")
        records = [data[6 + k * record_size : 6 + (k + 1) * record_size] for k in range(held)]
        if not level:
            found.extend(records)
            return
        at_pointer = 6 + held * record_size
        narrow = _width(most[0])
        for k in range(held + 1):
            (place,) = struct.unpack_from("<Q", data, at_pointer)
            inside = int.from_bytes(data[at_pointer + 8 : at_pointer + 8 + narrow], "little")
            at_pointer += 8 + narrow + widths[level]
            walk(place, inside, level - 1)
            if k < held:
                found.append(records[k])

    walk(root, count, depth)
    if len(found) != total or any(len(r) != record_size for r in found):
        raise file.bad(address, f"a B-tree of {total} records holds {len(found)}")
    return found


def _width(most: int) -> int:
    return (most.bit_length() + 7) // 8


class _FractalHeap:
    """Objects of a heap that grows by blocks of doubling size."""

    def __init__(self, file: Hdf5File, address: int):
        self._file, self._address = file, address
        head = file.read(address, 146)
        if head[:4] != b"FRHP" or head[4]:
            raise file.bad(address, "no fractal heap")
        id_size, filters, flags = struct.unpack_from("<HHB", head, 5)
        self._width, self._start, self._most, self._bits = struct.unpack_from("<HQQH", head, 110)
        self._root, self._rows = struct.unpack_from("<QH", head, 132)
        if filters:
            raise file.bad(address, "a compressed heap of names, which robodf does not read")
        sound = 0 < self._start <= self._most <= _MOST_HEAP and 0 < self._width <= 1024 and 0 < self._bits <= 64
        if not sound or self._start & (self._start - 1) or self._most & (self._most - 1):
            raise file.bad(address, "a fractal heap of impossible sizes")
        self._offset_bytes = (self._bits + 7) // 8
        self._length_bytes = min((self._most.bit_length() + 6) // 8, _width(struct.unpack_from("<I", head, 10)[0]))
        self._blocks: list[tuple[int, int, int]] = []  # offset in the heap, size, address
        if self._root != UNDEFINED:
            if self._rows:
                self._indirect(self._root, self._rows, 0, 0)
            else:
                self._blocks.append((0, self._start, self._root))
        self._starts = np.array([b[0] for b in self._blocks], np.int64)

    def _row_size(self, row: int) -> int:
        return self._start << max(0, row - 1)

    def _indirect(self, address: int, rows: int, offset: int, depth: int) -> None:
        direct = self._most.bit_length() - self._start.bit_length() + 2  # rows of direct blocks
        if depth > 8 or rows > 64:
            raise self._file.bad(address, "a fractal heap without an end")
        head = 5 + 8 + self._offset_bytes
        data = self._file.read(address, head + 8 * rows * self._width)
        if data[:4] != b"FHIB":
            raise self._file.bad(address, "no indirect block of a heap")
        places = np.frombuffer(data, "<u8", rows * self._width, head).tolist()
        for k, place in enumerate(places):
            row = k // self._width
            size = self._row_size(row)
            if place != UNDEFINED:
                if row < direct:
                    self._blocks.append((offset, size, place))
                else:
                    below = size.bit_length() - (self._start * self._width).bit_length() + 1
                    self._indirect(place, below, offset, depth + 1)
                if len(self._blocks) > self._file.size // 8:
                    raise self._file.bad(address, "a heap of more blocks than the file can hold")
            offset += size

    def object(self, number: bytes) -> bytes:
        """The bytes of an object by its heap id."""
        kind = number[0] >> 4 & 3
        if kind == 2:  # in the id itself
            return number[1 : 2 + (number[0] & 15)]
        if kind != 0:
            raise self._file.bad(self._address, "an object outside of its heap, which robodf does not read")
        at = int.from_bytes(number[1 : 1 + self._offset_bytes], "little")
        length = int.from_bytes(number[1 + self._offset_bytes :][: self._length_bytes], "little")
        k = int(np.searchsorted(self._starts, at, "right")) - 1 if at < 1 << 62 else -1
        if k < 0 or at + length > self._blocks[k][0] + self._blocks[k][1]:
            raise self._file.bad(self._address, f"no object of {length} bytes at {at} of the heap")
        return self._file.read(self._blocks[k][2] + at - self._blocks[k][0], length)


# -- attributes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attribute:
    name: str
    type: Type
    shape: tuple[int, ...] | None
    data: bytes


def attributes(file: Hdf5File, address: int, found: list[Message] | None = None) -> dict[str, Attribute]:
    """The attributes of an object, by name."""
    found = messages(file, address) if found is None else found
    bodies = [m.body for m in found if m.kind == ATTRIBUTE]
    try:
        for m in found:
            if m.kind == ATTRIBUTES:
                heap, tree = struct.unpack_from("<QQ", m.body, 4 if m.body[1] & 1 else 2)
                if heap != UNDEFINED:
                    store = _FractalHeap(file, heap)
                    bodies += [store.object(record[:8]) for record in _records(file, tree, 8, 17)]
        made = [attribute(file, data) for data in bodies]
    except WRONG as error:
        if isinstance(error, FileFormatError):
            raise
        raise file.bad(address, f"attributes that cannot be read ({error})") from error
    return {a.name: a for a in made}


def attribute(file: Hdf5File, data: bytes) -> Attribute:
    """An attribute message."""
    version, flags, name_size, type_size, space_size = struct.unpack_from("<BBHHH", data)
    if not 1 <= version <= 3:
        raise ValueError(f"an attribute of version {version}")
    pad = (lambda n: (n + 7) // 8 * 8) if version == 1 else (lambda n: n)
    at = 9 if version == 3 else 8
    name = data[at : at + name_size].split(b"\0")[0].decode()
    at += pad(name_size)
    kind = data[at : at + type_size]
    if version > 1 and flags & 1:
        kind = body(file, Message(TYPE, True, 0, kind))
    at += pad(type_size)
    shape = space(data[at : at + space_size])
    at += pad(space_size)
    return Attribute(name, parse_type(kind)[0], shape, data[at:])


# -- texts of any length ------------------------------------------------------------------------------------


class Texts:
    """The global heap: what elements of any length point to. Collections are read once each, while they are few."""

    def __init__(self, file: Hdf5File):
        self._file, self.path = file, file.path
        self._known: dict[int, tuple[bytes, dict[int, tuple[int, int]]]] = {}

    def get(self, reference: bytes) -> bytes:
        """What 16 bytes (length, address of a collection, number) point to; what points nowhere is empty."""
        length, address, number = struct.unpack("<IQI", reference)
        if not address or not length:
            return b""
        if address not in self._known:
            if len(self._known) >= 64:
                self._known.clear()
            self._known[address] = self._collection(address)
        data, places = self._known[address]
        at, size = places.get(number, (0, -1))
        if size < length:
            raise self._file.bad(address, f"no object {number} of {length} bytes in this collection of the global heap")
        return data[at : at + length]

    def _collection(self, address: int) -> tuple[bytes, dict[int, tuple[int, int]]]:
        head = self._file.read(address, 16)
        size = int.from_bytes(head[8:16], "little")
        if head[:4] != b"GCOL" or not 16 <= size <= _MOST_HEAP:
            raise self._file.bad(address, "no collection of the global heap")
        data = self._file.read(address, size)
        places: dict[int, tuple[int, int]] = {}
        at = 16
        while at + 16 <= size:
            number, _, _, length = struct.unpack_from("<HHIQ", data, at)
            if not number:
                break
            if at + 16 + length > size:
                raise self._file.bad(address + at, "an object that is longer than its collection of the global heap")
            places[number] = at + 16, length
            at += 16 + (length + 7) // 8 * 8
        return data, places


def values(file: Hdf5File, found: Attribute) -> Any:
    """The value of an attribute in Python: a number, a text, bytes, a list of these, or None where it has none."""
    from robodf.io.hdf5.columns import to_series

    shape = found.shape
    if shape is None or found.type.problem:
        return None
    count = 1
    for n in shape:
        count *= n
    if count * found.type.size > len(found.data):
        raise FileFormatError(f"{file.path}: the attribute {found.name!r} is cut off")
    if not count:
        return []
    raw = np.frombuffer(found.data, np.uint8, count * found.type.size).reshape(count, found.type.size)
    column = to_series(raw, (), found.type, Texts(file))
    return column[0] if shape == () else column.to_list()
