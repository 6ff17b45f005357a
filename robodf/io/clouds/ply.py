"""PLY files, ascii and binary of both byte orders: the vertices. Faces and other elements are not read.

The format is that of Greg Turk's "The PLY Polygon File Format" (1994) and of the names of types in use since.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from robodf.errors import FileFormatError
from robodf.io.clouds.header import BLOCK, POLARS, Box, CloudHeader, blocks, distinct, numbers, picked, text_values
from robodf.io.clouds.text_lines import lines

if TYPE_CHECKING:
    import numpy as np

    from robodf.io.files import FileReader

_LONGEST = 1 << 20  # bytes of a header
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class Property(NamedTuple):
    """A property: its name, NumPy's type, and that of the length where it is a list."""

    name: str
    kind: str
    length: str | None = None


class Element(NamedTuple):
    """An element: its name, how many there are, and what each has."""

    name: str
    count: int
    properties: tuple[Property, ...]

    @property
    def step(self) -> int | None:
        """The bytes of one, None where they differ."""
        if any(p.length for p in self.properties):
            return None
        return sum(int(p.kind[1]) for p in self.properties)


class Body(NamedTuple):
    """Where the elements begin, on which line, in which byte order ("" for text), those before the vertices, these."""

    offset: int
    line: int
    order: str
    before: tuple[Element, ...]
    vertex: Element


def header(file: FileReader) -> CloudHeader:
    order, elements, offset, line = _said(file)
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise FileFormatError(f"{file.path}: has no element vertex, but {', '.join(names) or 'none at all'}")
    at = names.index("vertex")
    vertex = elements[at]
    for p in vertex.properties:
        if p.length:
            raise FileFormatError(
                f"{file.path}: the vertices have a list property {p.name!r}: points have one number, or a fixed count "
                "of numbers, in each field"
            )
    own = distinct(p.name for p in vertex.properties)
    vertex = vertex._replace(properties=tuple(p._replace(name=name) for p, name in zip(vertex.properties, own)))
    body = Body(offset, line, order, tuple(elements[:at]), vertex)
    _check_size(file, body)
    fields = tuple((p.name, POLARS[p.kind]) for p in vertex.properties)
    return CloudHeader("ply", vertex.count, fields, body, vertex.count, 1)


def read(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any, box: Box | None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    yield from (_binary if header.body.order else _ascii)(file, header, names, take)


# -- the header -----------------------------------------------------------------------------------------------


def _said(file: FileReader) -> tuple[str, list[Element], int, int]:
    """The byte order, the elements, the offset of the first one, and the number of its line."""
    path = file.path
    head = b""
    while b"end_header" not in head and len(head) < min(file.size, _LONGEST):
        head += file.read_at(len(head), min(max(4096, len(head)), file.size - len(head)))
    if not head.startswith(b"ply"):
        raise FileFormatError(f"{path}: does not begin with 'ply'" + ("" if file.size else ": it is empty"))
    end = head.find(b"end_header")
    if end < 0:
        raise FileFormatError(f"{path}: the header of a PLY file ends with 'end_header', which is not there")
    text = head[:end].decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    offset = end + len(b"end_header")
    after = file.read_at(offset, min(64, file.size - offset))
    ending = after[: len(after) - len(after.lstrip(b" \t"))]
    offset += len(ending)
    after = after[len(ending) :]
    # Old Macs ended lines with \r: only where the header does so is \n a part of the data.
    mac = b"\n" not in head[:end]
    offset += 1 if mac or not after.startswith(b"\r\n") else 2
    order, elements = None, []
    for number, line in enumerate(text[1:], 2):
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) >= 2 and words[1] in _ORDERS:
            order = _ORDERS[words[1]]
        elif words[0] == "element" and len(words) == 3 and _is_count(words[2]):
            elements.append(Element(words[1], int(words[2]), ()))
        elif words[0] == "property" and elements:
            last = elements[-1]
            elements[-1] = last._replace(properties=(*last.properties, _property(path, number, words)))
        else:
            raise FileFormatError(f"{path}: line {number} of the header is no line of a PLY file: {line[:80]!r}")
    if order is None:
        raise FileFormatError(f"{path}: the header says no format, such as 'format ascii 1.0'")
    return order, elements, min(offset, file.size), len(text) + 1


def _property(path: str, number: int, words: list[str]) -> Property:
    is_list = len(words) == 5 and words[1] == "list"
    types = words[2:4] if is_list else words[1:2]
    if len(words) != (5 if is_list else 3):
        raise FileFormatError(f"{path}: line {number} of the header is no property: {' '.join(words)[:80]!r}")
    for name in types:
        if name not in _TYPES:
            raise FileFormatError(
                f"{path}: line {number} of the header has the type {name!r}, which PLY does not have: its types are "
                f"{', '.join(_TYPES)}"
            )
    kinds = [_TYPES[name] for name in types]
    if is_list and kinds[0][0] == "f":
        raise FileFormatError(f"{path}: line {number} of the header: the length of a list is a whole number")
    return Property(words[-1], kinds[-1], kinds[0] if is_list else None)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _check_size(file: FileReader, body: Body) -> None:
    """A header that says more than the file can hold is told before memory is taken."""
    left = file.size - body.offset
    for element in (*body.before, body.vertex):
        if body.order:
            least = sum(int((p.length or p.kind)[1]) for p in element.properties)
        else:
            least = 2 * len(element.properties) - 1  # a digit each, and what is between them
        need = element.count * max(least, 0)
        if need > left or (element.count > left and not element.properties):
            raise FileFormatError(
                f"{file.path}: {element.count} of the element {element.name!r} need {need} bytes, but the file has "
                f"{left} left: it is truncated or damaged"
            )
        left -= need


# -- the vertices ---------------------------------------------------------------------------------------------


def _binary(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    import numpy as np

    body, vertex = header.body, header.body.vertex
    offset = body.offset
    for element in body.before if names else ():
        step = element.step
        offset = _past_lists(file, body, element, offset) if step is None else offset + element.count * step
    step = vertex.step
    ends = accumulate((int(p.kind[1]) for p in vertex.properties), initial=0)
    places = {p.name: (at, body.order + p.kind) for at, p in zip(ends, vertex.properties)}
    for first, last, which in blocks(take, vertex.count, max(1, BLOCK // max(step, 1))):
        found: dict[str, np.ndarray] = {}
        if names:
            data = file.read_at(offset + first * step, (last - first) * step)
            for name in names:
                at, kind = places[name]
                view = np.ndarray((last - first,), kind, data, at, (step,))[which]
                found[name] = np.ascontiguousarray(view.astype(view.dtype.newbyteorder("=")))
        yield numbers(which, first), found


def _past_lists(file: FileReader, body: Body, element: Element, offset: int) -> int:
    """The offset of what follows an element with lists: each says how long it is."""
    window = b""
    start = offset

    def at(where: int, size: int) -> bytes:
        nonlocal window, start
        if not start <= where <= start + len(window) - size:
            start = where
            window = file.read_at(where, max(size, min(1 << 20, file.size - where)))
        return window[where - start : where - start + size]

    byte_order = "little" if body.order == "<" else "big"
    for _ in range(element.count):
        for p in element.properties:
            item = int(p.kind[1])
            if p.length is None:
                offset += item
                continue
            size = int(p.length[1])
            count = int.from_bytes(at(offset, size), byte_order, signed=p.length[0] == "i")
            if count < 0:
                raise FileFormatError(f"{file.path}: a list of {count} items at offset {offset}")
            offset += size + count * item
    return offset


def _ascii(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    body, vertex = header.body, header.body.vertex
    kinds = [p.kind for p in vertex.properties]
    skip = sum(element.count for element in body.before)
    end = take.stop if isinstance(take, range) else int(take[-1]) + 1 if len(take) else 0
    first = 0
    for rows in lines(file, body.offset, body.line):
        passed = min(skip, len(rows))
        rows, skip = rows[passed : passed + vertex.count - first], skip - passed
        last = first + len(rows)
        which = picked(take, first, last)
        if which is not None:
            some = rows[which] if isinstance(which, slice) else [rows[k] for k in which.tolist()]
            columns = dict(zip((p.name for p in vertex.properties), text_values(file.path, some, kinds)))
            yield numbers(which, first), {name: columns[name] for name in names}
        first = last
        if first >= end:
            return
    if first < end:
        raise FileFormatError(f"{file.path}: has {first} vertices, not the {vertex.count} that the header says")
