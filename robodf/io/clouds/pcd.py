"""PCD files of the Point Cloud Library, versions .5 to .7: ascii, binary and binary_compressed.

The format is that of https://pointclouds.org/documentation/tutorials/pcd_file_format.html and of `pcl::PCDReader`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib import import_module
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.clouds.header import BLOCK, POLARS, Box, CloudHeader, blocks, distinct, numbers, picked, text_values
from robodf.io.clouds.text_lines import lines

if TYPE_CHECKING:
    import numpy as np

    from robodf.io.files import FileReader

_LONGEST = 1 << 20  # bytes of a header
_KEYS = "VERSION FIELDS COLUMNS SIZE TYPE COUNT WIDTH HEIGHT VIEWPOINT POINTS DATA".split()
_ENCODINGS = ("ascii", "binary", "binary_compressed")
_MOST_COUNT = 1 << 16  # numbers of one field: histograms have some hundreds
_LZF_RATIO = 88  # three bytes stand for 264 at most


class Field(NamedTuple):
    """A field: its name among the columns (None: padding), NumPy's type, and how many numbers it has."""

    name: str | None
    kind: str
    count: int

    @property
    def size(self) -> int:
        return int(self.kind[1]) * self.count


class Body(NamedTuple):
    """Where the points begin, on which line, and how they are written."""

    offset: int
    line: int
    encoding: str
    fields: tuple[Field, ...]

    @property
    def step(self) -> int:
        return sum(field.size for field in self.fields)

    @property
    def places(self) -> dict[str, tuple[int, Field]]:
        """For each named field: the bytes before it in a point."""
        ends = accumulate((field.size for field in self.fields), initial=0)
        return {field.name: (at, field) for at, field in zip(ends, self.fields) if field.name is not None}


def sniff(head: bytes, size: int) -> bool:
    """Whether a file that begins so is one: the first line of a comment is usual, but need not be there."""
    first = next((line for line in head.splitlines() if line.strip() and not line.startswith(b"#")), b"")
    return head.startswith(b"# .PCD") or (first.split()[:1] == [b"VERSION"] and b"FIELDS" in head)


def header(file: FileReader) -> CloudHeader:
    said, offset, line = _said(file)
    fields = _fields(file.path, said)
    (encoding,) = _words(file.path, said, "DATA", 1)
    if encoding.lower() not in _ENCODINGS:
        raise FileFormatError(f"{file.path}: DATA {encoding} is none of {', '.join(_ENCODINGS)}")
    body = Body(offset, line, encoding.lower(), fields)
    points, width, height = _points(file, said, body)
    if body.encoding == "binary_compressed":
        _lzf(file.path)
    return CloudHeader(
        "pcd",
        points,
        tuple((name, _dtype(field)) for name, (_, field) in body.places.items()),
        body,
        width,
        height,
        _viewpoint(file.path, said),
    )


def read(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any, box: Box | None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    read = {"ascii": _ascii, "binary": _binary, "binary_compressed": _compressed}[header.body.encoding]
    yield from read(file, header, names, take)


# -- the header -----------------------------------------------------------------------------------------------


def _said(file: FileReader) -> tuple[dict[str, list[str]], int, int]:
    """The words of each line of the header, the offset of what follows it, and the number of the line there."""
    head = b""
    while b"\nDATA" not in head and len(head) < min(file.size, _LONGEST):
        head += file.read_at(len(head), min(max(4096, len(head)), file.size - len(head)))
    if not file.size:
        raise FileFormatError(f"{file.path}: is empty: no PCD file")
    said: dict[str, list[str]] = {}
    at = line = 0
    while at < len(head):
        end = head.find(b"\n", at)
        if end < 0 and len(head) < file.size:
            head += file.read_at(len(head), min(4096, file.size - len(head)))
            end = head.find(b"\n", at)
        end = len(head) if end < 0 else end
        if end - at > _LONGEST:
            break
        text = head[at:end].decode("latin-1").strip()
        at, line = end + 1, line + 1
        if not text or text.startswith("#"):
            continue
        key, *words = text.split()
        key = key.upper()
        if key not in _KEYS:
            raise FileFormatError(f"{file.path}: line {line} of the header is no line of a PCD file: {text[:60]!r}")
        said["FIELDS" if key == "COLUMNS" else key] = words
        if key == "DATA":
            return said, min(at, file.size), line + 1
    raise FileFormatError(f"{file.path}: the header of a PCD file ends with a line DATA, which is not there")


def _fields(path: str, said: dict[str, list[str]]) -> tuple[Field, ...]:
    """PCL leaves out fields named `_`: they fill the gaps of a struct of C."""
    names = said.get("FIELDS")
    if not names:
        raise FileFormatError(f"{path}: the header of a PCD file has a line FIELDS, which is not there")
    given = [said.get(key) or [usual] * len(names) for key, usual in (("SIZE", "4"), ("TYPE", "F"), ("COUNT", "1"))]
    for key, words in zip(("SIZE", "TYPE", "COUNT"), given):
        if len(words) != len(names):
            raise FileFormatError(f"{path}: {key} has {len(words)} words for {len(names)} fields")
    own = iter(distinct(name for name in names if name != "_"))
    found = []
    for name, size, kind, count in zip(names, *given):
        number = kind.lower() + size
        if number not in POLARS:
            raise FileFormatError(f"{path}: the field {name!r} is of TYPE {kind} and SIZE {size}, which is no number")
        many = _whole(path, "COUNT", count)
        if not 0 <= many <= _MOST_COUNT:
            raise FileFormatError(f"{path}: the field {name!r} has COUNT {count}, which is no number of numbers")
        # PCL wrote 0 for one number.
        found.append(Field(None if name == "_" else next(own), number, max(many, 1)))
    return tuple(found)


def _points(file: FileReader, said: dict[str, list[str]], body: Body) -> tuple[int, int | None, int | None]:
    """How many points there are, and the width and height of the cloud where they say the same."""
    numbers = {key: _whole(file.path, key, said[key][0]) for key in ("WIDTH", "HEIGHT", "POINTS") if said.get(key)}
    width, height = numbers.get("WIDTH"), numbers.get("HEIGHT", 1)
    grid = None if width is None else width * height
    points = numbers.get("POINTS", grid)
    if points is None:
        raise FileFormatError(f"{file.path}: the header says neither POINTS nor WIDTH")
    if grid not in (None, points) and _held(file, body) == grid:
        points = grid  # the data tell which of the two is right
    assert points is not None
    _check_size(file, body, points)
    return (points, width, height) if grid == points else (points, None, None)


def _held(file: FileReader, body: Body) -> int | None:
    """How many points the bytes of the file are; None where only reading tells."""
    if body.encoding == "binary":
        return (file.size - body.offset) // body.step
    return _sizes(file, body)[1] // body.step if body.encoding == "binary_compressed" else None


def _check_size(file: FileReader, body: Body, points: int) -> None:
    """A header that says more than the file can hold is told before memory is taken."""
    left = file.size - body.offset
    if body.encoding == "binary_compressed":
        _, large = _sizes(file, body) if points else (0, 0)
        if large != points * body.step:
            raise FileFormatError(
                f"{file.path}: {points} points of {body.step} bytes are not the {large} bytes of data that the file "
                f"states at offset {body.offset}"
            )
        return
    least = body.step if body.encoding == "binary" else 2 * sum(f.count for f in body.fields) - 1
    if points * least > left:
        raise FileFormatError(
            f"{file.path}: {points} points need {points * least} bytes at offset {body.offset}, but the file has {left}"
        )


def _sizes(file: FileReader, body: Body) -> tuple[int, int]:
    """The bytes of the compressed data and those that they stand for."""
    small, large = struct.unpack("<II", file.read_at(body.offset, 8))
    left = file.size - body.offset - 8
    if small > left:
        raise FileFormatError(f"{file.path}: {small} compressed bytes at offset {body.offset + 8}, there are {left}")
    if large > small * _LZF_RATIO:
        raise FileFormatError(f"{file.path}: {small} bytes cannot stand for {large}: the file is damaged")
    return small, large


def _viewpoint(path: str, said: dict[str, list[str]]) -> tuple[float, ...] | None:
    words = said.get("VIEWPOINT")
    if not words:
        return None
    try:
        found = tuple(float(word) for word in words)
    except ValueError:
        found = ()
    if len(found) != 7:
        raise FileFormatError(f"{path}: VIEWPOINT has seven numbers, not {' '.join(words)[:80]!r}")
    return found


def _words(path: str, said: dict[str, list[str]], key: str, count: int) -> list[str]:
    words = said.get(key, [])
    if len(words) != count:
        raise FileFormatError(f"{path}: {key} is followed by {count} word, not {' '.join(words)[:60]!r}")
    return words


def _whole(path: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise FileFormatError(f"{path}: {key} is a number, not {text[:40]!r}")
    return int(text)


def _dtype(field: Field) -> pl.DataType:
    return POLARS[field.kind] if field.count == 1 else pl.Array(POLARS[field.kind], field.count)


# -- the points -----------------------------------------------------------------------------------------------


def _binary(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    import numpy as np

    body, places = header.body, header.body.places
    step = body.step
    for first, last, which in blocks(take, header.points, max(1, BLOCK // step)):
        found: dict[str, np.ndarray] = {}
        if names:
            data = file.read_at(body.offset + first * step, (last - first) * step)
            for name in names:
                at, field = places[name]
                item = int(field.kind[1])
                view = np.ndarray((last - first, field.count), "<" + field.kind, data, at, (step, item))[which]
                found[name] = np.ascontiguousarray(view[:, 0] if field.count == 1 else view)
        yield numbers(which, first), found


def _compressed(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """All of the first field, then all of the second and so on: they are inflated together."""
    import numpy as np

    body, places, points = header.body, header.body.places, header.points
    data = _inflated(file, body) if names and points else b""
    for first, last, which in blocks(take, points, max(1, BLOCK // body.step)):
        found: dict[str, np.ndarray] = {}
        for name in names:
            at, field = places[name]
            begin = at * points + first * field.size
            view = np.frombuffer(data, "<" + field.kind, (last - first) * field.count, begin)
            view = view.reshape(last - first, field.count)[which]
            found[name] = np.ascontiguousarray(view[:, 0] if field.count == 1 else view)
        yield numbers(which, first), found


def _lzf(path: str) -> Any:
    try:
        return import_module("lzf")
    except ImportError as error:
        raise ImportError(f"{path} is compressed, which needs python-neo-lzf: pip install 'robodf[clouds]'") from error


def _inflated(file: FileReader, body: Body) -> bytes:
    small, large = _sizes(file, body)
    try:
        data = _lzf(file.path).decompress(file.read_at(body.offset + 8, small), large)
    except ValueError as error:
        raise FileFormatError(f"{file.path}: the compressed data at offset {body.offset + 8}: {error}") from error
    if data is None or len(data) != large:
        raise FileFormatError(f"{file.path}: the compressed data at offset {body.offset + 8} is not {large} bytes")
    return data


def _ascii(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    import numpy as np

    body = header.body
    kinds = [field.kind for field in body.fields for _ in range(field.count)]
    starts = dict(zip([field.name for field in body.fields], accumulate((f.count for f in body.fields), initial=0)))
    first = 0
    end = take.stop if isinstance(take, range) else int(take[-1]) + 1 if len(take) else 0
    for rows in lines(file, body.offset, body.line):
        rows = [row for row in rows if not row[1][0].startswith(b"#")]
        last = first + len(rows)
        if last > header.points:
            raise FileFormatError(
                f"{file.path}: line {rows[header.points - first][0]} is one more than the {header.points} points that "
                "the header says"
            )
        which = picked(take, first, last)
        if which is not None:
            some = rows[which] if isinstance(which, slice) else [rows[k] for k in which.tolist()]
            columns = text_values(file.path, some, kinds)
            found = {}
            for name in names:
                at, (_, field) = starts[name], body.places[name]
                many = columns[at : at + field.count]
                found[name] = many[0] if field.count == 1 else np.stack(many, axis=1)
            yield numbers(which, first), found
        first = last
        if first >= end and end < header.points:
            return  # what follows is not wanted
    if first < header.points:
        raise FileFormatError(f"{file.path}: has {first} points, not the {header.points} that the header says")
