"""Groups and datasets: the headers of objects, and the messages in them that robodf needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from robodf.errors import FileFormatError
from robodf.io.hdf5.datatype import Type
from robodf.io.hdf5.datatype import parse as parse_type
from robodf.io.hdf5.file import UNDEFINED, Hdf5File

SPACE, LINK_INFO, TYPE, OLD_FILL, FILL, LINK, EXTERNAL, LAYOUT = 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8
FILTERS, ATTRIBUTE, MORE, SYMBOLS, ATTRIBUTES = 0xB, 0xC, 0x10, 0x11, 0x15

WRONG = (struct.error, IndexError, ValueError, OverflowError, KeyError)
"""What the parsing of nonsense raises; FileFormatError is a ValueError and passes."""

_MOST_BLOCKS, _MOST_BYTES, _MOST_RANK = 256, 16 << 20, 32


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    shared: bool
    at: int  # the address of its body
    body: bytes


@dataclass(frozen=True, slots=True)
class Filter:
    number: int
    name: str
    optional: bool
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements are: compact (in `data`), contiguous, chunked (`index` says how chunks are found) or virtual.

    `chunk` is the shape of a chunk; `address` is that of the data or of the index; `extra` is the index's own.
    """

    kind: str
    address: int = UNDEFINED
    bytes: int = 0
    chunk: tuple[int, ...] = ()
    index: str = ""
    extra: tuple[int, ...] = ()
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset without its data. `problem` says why its data cannot be read, where it cannot."""

    address: int
    shape: tuple[int, ...] | None  # None: it has no elements at all
    type: Type
    layout: Layout
    filters: tuple[Filter, ...] = ()
    fill: bytes = b""
    problem: str = ""

    @property
    def rows(self) -> int:
        return self.shape[0] if self.shape else 0

    @property
    def item(self) -> tuple[int, ...]:
        """The shape of a row."""
        return self.shape[1:] if self.shape else ()

    @property
    def row_bytes(self) -> int:
        size = self.type.size
        for n in self.item:
            size *= n
        return size


@dataclass(slots=True)
class Group:
    """Where the links of a group are kept."""

    address: int
    symbols: tuple[int, int] | None = None  # B-tree and heap of names
    links: list[Link] = field(default_factory=list)
    dense: tuple[int, int] | None = None  # fractal heap and B-tree by name


@dataclass(frozen=True, slots=True)
class Link:
    """A name in a group. `address` is None where it leads elsewhere: `target` says where."""

    name: str
    address: int | None
    target: str = ""


def messages(file: Hdf5File, address: int) -> list[Message]:
    """The messages of the object header at an address, in order."""
    try:
        return _messages(file, address)
    except WRONG as error:
        if isinstance(error, FileFormatError):
            raise
        raise file.bad(address, f"not an object header ({error})") from error


def _messages(file: Hdf5File, address: int) -> list[Message]:
    head = file.up_to(address, 512)
    if head[:4] == b"OHDR":
        return _messages_2(file, address, head)
    if len(head) < 16 or head[0] != 1 or head[1]:
        raise file.bad(address, "no object header")
    count, _, size = struct.unpack_from("<HII", head, 2)
    found: list[Message] = []
    blocks, total, k = [(address + 16, size)], 0, 0
    while k < len(blocks) and len(found) < count:
        at, size = blocks[k]
        k, total = k + 1, total + size
        if k > _MOST_BLOCKS or total > _MOST_BYTES:
            raise file.bad(address, "an object header without an end")
        data = head[16 : 16 + size] if k == 1 and size + 16 <= len(head) else file.read(at, size)
        pos = 0
        while pos + 8 <= size and len(found) < count:
            kind, length, flags = struct.unpack_from("<HHB", data, pos)
            body = data[pos + 8 : pos + 8 + length]
            if len(body) != length:
                raise file.bad(at + pos, f"a message of {length} bytes in a header block of {size}")
            found.append(Message(kind, bool(flags & 2), at + pos + 8, body))
            if kind == MORE:
                blocks.append(struct.unpack_from("<QQ", body))
            pos += 8 + length
    return found


def _messages_2(file: Hdf5File, address: int, head: bytes) -> list[Message]:
    if head[4] != 2:
        raise file.bad(address, f"an object header of version {head[4]}")
    flags = head[5]
    at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(head[at : at + width], "little")
    extra = 2 if flags & 4 else 0
    found: list[Message] = []
    blocks, total, k = [(address + at + width, size)], 0, 0
    while k < len(blocks):
        at, size = blocks[k]
        k, total = k + 1, total + size
        if k > _MOST_BLOCKS or total > _MOST_BYTES:
            raise file.bad(address, "an object header without an end")
        data, pos = file.read(at, size), 0
        if k > 1:
            if data[:4] != b"OCHK":
                raise file.bad(at, "no continuation of an object header")
            pos, data = 4, data[:-4]
        while pos + 4 + extra <= len(data):
            kind, length, mark = struct.unpack_from("<BHB", data, pos)
            pos += 4 + extra
            body = data[pos : pos + length]
            if len(body) != length:
                raise file.bad(at + pos, f"a message of {length} bytes in a header block of {size}")
            found.append(Message(kind, bool(mark & 2), at + pos, body))
            if kind == MORE:
                blocks.append(struct.unpack_from("<QQ", body))
            pos += length
    return found


def group(file: Hdf5File, address: int, found: list[Message] | None = None) -> Group | None:
    """The group whose header is at an address, or None where that is none."""
    found = messages(file, address) if found is None else found
    made = Group(address)
    is_group = False
    try:
        for m in found:
            if m.kind == SYMBOLS:
                made.symbols, is_group = struct.unpack_from("<QQ", m.body), True
            elif m.kind == LINK:
                made.links.append(link(m.body))
                is_group = True
            elif m.kind == LINK_INFO:
                is_group = True
                flags = m.body[1]
                heap, tree = struct.unpack_from("<QQ", m.body, 10 if flags & 1 else 2)
                if heap != UNDEFINED:
                    made.dense = heap, tree
    except WRONG as error:
        raise file.bad(address, f"not a group ({error})") from error
    return made if is_group else None


def link(data: bytes) -> Link:
    """A link message."""
    if data[0] != 1:
        raise ValueError(f"a link of version {data[0]}")
    flags, at, kind = data[1], 2, 0
    if flags & 8:
        kind, at = data[at], at + 1
    at += (8 if flags & 4 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(data[at : at + width], "little")
    at += width
    raw = data[at : at + length]
    if len(raw) != length:
        raise ValueError("the name of a link is cut off")
    name, at = raw.decode(), at + length
    if kind == 0:
        return Link(name, struct.unpack_from("<Q", data, at)[0])
    (length,) = struct.unpack_from("<H", data, at)
    value = data[at + 2 : at + 2 + length]
    if kind == 1:
        return Link(name, None, "another name: " + value.decode("utf-8", "replace"))
    if kind == 64:
        return Link(
            name, None, "another file: " + value[1:].rstrip(b"\0").replace(b"\0", b", ").decode("utf-8", "replace")
        )
    return Link(name, None, f"a link of kind {kind}")


def dataset(file: Hdf5File, address: int, found: list[Message] | None = None) -> Dataset | None:
    """The dataset whose header is at an address, or None where that is none."""
    found = messages(file, address) if found is None else found
    by_kind = {m.kind: m for m in reversed(found)}
    if not {SPACE, TYPE, LAYOUT} <= set(by_kind):
        return None
    try:
        shape = space(body(file, by_kind[SPACE]))
        kind, _ = parse_type(body(file, by_kind[TYPE]))
        if not 0 < kind.size <= 1 << 30:
            raise ValueError(f"elements of {kind.size} bytes")
        layout = _layout(by_kind[LAYOUT].body, len(shape or ()))
        filters = _filters(body(file, by_kind[FILTERS])) if FILTERS in by_kind else ()
        fill = _fill(by_kind, file)
    except WRONG as error:
        if isinstance(error, FileFormatError):
            raise
        raise file.bad(address, f"not a dataset ({error})") from error
    problem = kind.problem and f"robodf does not read {kind.problem}"
    if EXTERNAL in by_kind:
        problem = "its data is in other files, which robodf does not open"
    elif layout.kind == "virtual":
        problem = "it is made of datasets of other files, which robodf does not open"
    elif layout.index in ("growing", "tree2"):
        problem = (
            "its chunks are indexed as libver='latest' does it of datasets that can grow, which robodf does not read: "
            "h5repack --high=V18 makes a copy that it reads"
        )
    elif layout.kind == "unknown":
        problem = f"its data has a layout that robodf does not read (version {layout.extra[0]})"
    return Dataset(address, shape, kind, layout, filters, fill if len(fill) == kind.size else b"", problem)


def body(file: Hdf5File, message: Message, version_at_most: int = 3) -> bytes:
    """The body of a message, or of the one that it stands for: a type that many datasets share."""
    if not message.shared:
        return message.body
    version = message.body[0]
    if version == 1:
        (address,) = struct.unpack_from("<Q", message.body, 8)
    elif version in (2, 3) and (version == 2 or message.body[1] == 2):
        (address,) = struct.unpack_from("<Q", message.body, 2)
    else:
        raise ValueError("a message in the heap of shared messages, which robodf does not read")
    for other in messages(file, address):
        if other.kind == message.kind and not other.shared:
            return other.body
    raise ValueError(f"no message of kind {message.kind} at offset {address}")


def space(data: bytes) -> tuple[int, ...] | None:
    """The shape of a dataspace message; None of a null dataspace."""
    version, rank, _ = data[0], data[1], data[2]
    if rank > _MOST_RANK or version not in (1, 2):
        raise ValueError(f"a dataspace of version {version} with {rank} dimensions")
    if version == 2 and data[3] == 2:
        return None
    shape = struct.unpack_from(f"<{rank}Q", data, 8 if version == 1 else 4)
    if any(n >= 1 << 48 for n in shape):
        raise ValueError(f"a shape of {shape}")
    return shape


def _layout(data: bytes, rank: int) -> Layout:
    version = data[0]
    if version in (1, 2):
        dims, kind = data[1], data[2]
        at = 8 if kind == 0 else 16
        sizes = struct.unpack_from(f"<{dims}I", data, at)
        if kind == 0:
            (size,) = struct.unpack_from("<I", data, at + 4 * dims)
            return Layout("compact", data=data[at + 4 * dims + 4 :][:size])
        (address,) = struct.unpack_from("<Q", data, 8)
        if kind == 1:
            return Layout("contiguous", address, -1)
        return Layout("chunked", address, chunk=_chunk(sizes, rank), index="tree")
    if version not in (3, 4, 5):
        return Layout("unknown", extra=(version,))
    kind = data[1]
    if kind == 0:
        (size,) = struct.unpack_from("<H", data, 2)
        return Layout("compact", data=data[4 : 4 + size])
    if kind == 1:
        return Layout("contiguous", *struct.unpack_from("<QQ", data, 2))
    if kind == 3:
        return Layout("virtual")
    if kind != 2:
        raise ValueError(f"a layout of class {kind}")
    if version == 3:
        dims, address = struct.unpack_from("<BQ", data, 2)
        return Layout("chunked", address, chunk=_chunk(struct.unpack_from(f"<{dims}I", data, 11), rank), index="tree")
    flags, dims, width = data[2], data[3], data[4]
    if not 1 <= width <= 8:
        raise ValueError(f"sizes of chunks in {width} bytes")
    sizes = tuple(int.from_bytes(data[5 + k * width : 5 + (k + 1) * width], "little") for k in range(dims))
    at = 5 + dims * width
    index, at = data[at], at + 1
    extra: tuple[int, ...] = (flags,)
    if index == 1 and flags & 2:
        extra, at = (flags, *struct.unpack_from("<QI", data, at)), at + 12
    names = {1: ("single", 0), 2: ("implicit", 0), 3: ("fixed", 1), 4: ("growing", 5), 5: ("tree2", 6)}
    if index not in names:
        raise ValueError(f"an index of chunks of kind {index}")
    name, skipped = names[index]
    if skipped:
        extra = (flags, *data[at : at + skipped])
    (address,) = struct.unpack_from("<Q", data, at + skipped)
    return Layout("chunked", address, chunk=_chunk(sizes, rank), index=name, extra=extra)


def _chunk(sizes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    chunk = sizes[:-1]  # the last is the size of an element
    if len(chunk) != rank or not all(0 < n < 1 << 32 for n in chunk):
        raise ValueError(f"chunks of {chunk} of a dataset of {rank} dimensions")
    return chunk


def _filters(data: bytes) -> tuple[Filter, ...]:
    version, count = data[0], data[1]
    at, found = (8 if version == 1 else 2), []
    for _ in range(count):
        (number,) = struct.unpack_from("<H", data, at)
        at += 2
        length = 0
        if version == 1 or number >= 256:
            (length,) = struct.unpack_from("<H", data, at)
            at += 2
        flags, values = struct.unpack_from("<HH", data, at)
        at += 4
        name = data[at : at + length].split(b"\0")[0].decode("utf-8", "replace")
        at += (length + 7) // 8 * 8 if version == 1 else length
        found.append(Filter(number, name, bool(flags & 1), struct.unpack_from(f"<{values}I", data, at)))
        at += 4 * values + (4 if version == 1 and values % 2 else 0)
    return tuple(found)


def _fill(by_kind: dict[int, Message], file: Hdf5File) -> bytes:
    if FILL in by_kind:
        data = body(file, by_kind[FILL])
        if data[0] == 3:
            at = 2 if data[1] & 0x20 else None
        else:
            at = 4 if data[0] == 1 or data[3] else None
        if at is None:
            return b""
        (size,) = struct.unpack_from("<i", data, at)
        return data[at + 4 : at + 4 + max(size, 0)]
    if OLD_FILL in by_kind:
        data = body(file, by_kind[OLD_FILL])
        (size,) = struct.unpack_from("<I", data)
        return data[4 : 4 + size]
    return b""
