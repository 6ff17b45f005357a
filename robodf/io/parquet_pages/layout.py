"""Where the values of a column lie in a file: its chunks, from the footer, and the pages of a chunk.

The pages come from the offset index, where the file has one that holds together. Otherwise the headers of the pages
are read one after the other, which is cheap in a local file alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.counting import read as counter
from robodf.io.files import FileReader, StorageOptions, fingerprint, open_file
from robodf.io.parquet_footer import Footer, read_footer
from robodf.io.parquet_pages.kept import Kept
from robodf.io.parquet_pages.thrift import Compact, Cut

DATA, _INDEX, DICTIONARY, DATA_V2 = range(4)  # types of pages
_CODECS = {0: "UNCOMPRESSED", 1: "SNAPPY", 2: "GZIP", 4: "BROTLI", 6: "ZSTD", 7: "LZ4"}
_ENCODINGS = frozenset([0, 2, 3, 4, 5, 6, 8, 9])
"""Those that `page` reads, and the BIT_PACKED of levels (4) that some footers list and no flat column has."""

_HEADER, _LONGEST_HEADER = 512, 1 << 24  # bytes read for a page header at first, and at most: it may hold statistics
_LOCATION = np.array([0x16, 0x15, 0x16, 0], np.uint8)  # what stands between the three numbers of a page location


Path = tuple[str, ...]
"""The names that lead to a leaf column."""


@dataclass(frozen=True)
class Chunk:
    """The values of one leaf column in one row group: bytes `start` to `end`, of which pages of data from `data` on."""

    start: int
    data: int
    end: int
    rows: int
    size: int  # without compression, headers and all
    codec: str
    index: tuple[int, int] | None  # where the offset index lies, and its length
    understood: bool = True

    @property
    def bytes(self) -> int:
        return self.end - self.start


class Pages(NamedTuple):
    """The data pages of a chunk in order: where each begins, its bytes with the header, and its first row."""

    offsets: np.ndarray
    sizes: np.ndarray
    firsts: np.ndarray  # one more than there are pages: the last is the number of rows

    @property
    def rows(self) -> np.ndarray:
        return np.diff(self.firsts)


class Layout:
    """What the footer of one file says. `firsts` are the first rows of its row groups, and the number of all rows."""

    def __init__(self, path: str, key: tuple, footer: Footer):
        self.path, self.key, self.footer = path, key, footer
        metadata = footer.metadata
        rows = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        if min(rows, default=0) < 0 or sum(rows) >= 1 << 62:
            raise FileFormatError(f"{path}: its footer is damaged: row groups of {min(rows)} to {max(rows)} rows")
        self.firsts = np.cumsum([0, *rows])
        self._places: dict[Path, list[int] | None] = {}
        self._chunks: dict[tuple[int, Path], Chunk] = {}

    def chunk(self, group: int, path: Path) -> Chunk | None:
        """The chunk of a leaf column in a row group; None where it is not found.

        FileFormatError where it cannot be in the file.
        """
        found = self._chunks.get((group, path))
        if found is None:
            places = self._chunks_of(path)
            if places is None:
                return None
            found = self._chunks[group, path] = self._read_chunk(group, places[group], path)
        return found

    def _chunks_of(self, path: Path) -> list[int] | None:
        """Where in the footer what is said of each chunk of a column goes on after its path.

        pyarrow does not say where offset indexes lie, and ends the process over a chunk whose footer was damaged.
        Reading the whole footer in Python takes 15 us for each chunk of each column. So the paths are looked for, which
        every chunk has: there are as many as row groups, or the column is not read by pages.
        """
        if path not in self._places:
            names = [name.encode() for name in path]
            short = len(names) < 15 and all(len(name) < 128 for name in names)
            told = bytes([0x19, len(names) << 4 & 0xF0 | 8]) + b"".join(bytes([len(n) & 127]) + n for n in names)
            found: list[int] = []
            at = self.footer.raw.find(told)
            while at >= 0 and len(found) < len(self.firsts):
                found.append(at + len(told))
                at = self.footer.raw.find(told, at + len(told))
            self._places[path] = found if short and len(found) == len(self.firsts) - 1 else None
        return self._places[path]

    def _read_chunk(self, group: int, place: int, path: Path) -> Chunk:
        reader = Compact(self.footer.raw, place)
        try:
            facts = reader.struct(field=3)  # the rest of ColumnMetaData
            chunk = reader.struct(field=3)  # the rest of ColumnChunk, of which that is the third field
            values, size, length, data = (whole(facts, field) for field in (5, 6, 7, 9))
            start = min(data, whole(facts, 11)) if facts.get(11) else data
            index = (whole(chunk, 4), whole(chunk, 5)) if 4 in chunk else None
        except ValueError as error:
            raise self._damaged(group, path, str(error)) from None
        if not 4 <= start <= data <= start + length <= self.footer.start:
            raise self._damaged(group, path, f"it lies at {start} to {start + length}, of {self.footer.start} bytes")
        if index is not None and not 4 <= index[0] <= index[0] + index[1] <= self.footer.start:
            raise self._damaged(group, path, f"its index lies at {index[0]}, of {self.footer.start} bytes")
        rows = int(self.firsts[group + 1] - self.firsts[group])
        codec = _CODECS.get(facts.get(4, -1), "")
        told = facts.get(13)  # the encodings of its pages
        told = [one.get(2) for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        understood = bool(codec) and values == rows and _ENCODINGS.issuperset(told)
        return Chunk(start, data, start + length, rows, size, codec, index, understood)

    def _damaged(self, group: int, path: Path, why: str) -> FileFormatError:
        return FileFormatError(f"{self.path}: its footer is damaged at {'.'.join(path)!r} of row group {group}: {why}")

    def pages(self, file: FileReader, group: int, path: Path) -> Pages | None:
        """The pages of a chunk, read from the file when they are asked for first; None: it is not read by pages."""
        chunk = self.chunk(group, path)
        if chunk is None or not chunk.understood:
            return None
        key = (*self.key, group, path)
        found = _pages.get(key)
        if found is None:
            if chunk.index is not None:
                found = from_index(file.read_at(*chunk.index), chunk)
            if found is None:
                if file.local is None:
                    return None  # each header would be a request
                found = walked(file, chunk)
            _pages.put(key, found, sum(a.nbytes for a in found) + 200)
        return found


def layout_of(path: str, storage: StorageOptions, state: tuple | None = None) -> tuple[Layout, FileReader]:
    """What is known of a file, and the file; FileFormatError where it is not the one of `state` any more."""
    file = open_file(path, storage)
    file.counter = counter
    found = fingerprint(path, storage)
    if state is not None and found != state:
        raise FileFormatError(f"{path}: was changed since the query was planned; make the frame anew")
    key = (path, found)
    layout = _layouts.get(key)
    if layout is None:
        layout = Layout(path, key, read_footer(file))
        _layouts.put(key, layout, 4 * len(layout.footer.raw) + 1000)
    return layout, file


_layouts: Kept[Layout] = Kept(64 << 20)
_pages: Kept[Pages] = Kept(64 << 20)


def from_index(data: bytes, chunk: Chunk) -> Pages | None:
    """The pages that an offset index tells; None where they are not exactly the chunk."""
    locations = _plain_locations(data)
    if locations is None:
        try:
            told = Compact(data).struct().get(1)
        except ValueError:
            return None
        if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
            return None
        rows = [[one.get(1), one.get(2), one.get(3)] for one in told]
        if not all(isinstance(n, int) and 0 <= n < 1 << 62 for row in rows for n in row):
            return None
        locations = np.array(rows, np.int64).reshape(-1, 3)
    offsets, sizes, firsts = locations.T
    if not len(offsets):
        return None if chunk.rows or chunk.data != chunk.end else Pages(offsets, sizes, np.zeros(1, np.int64))
    # A chunk whose pages follow each other to its end: what was changed in one place shows.
    together = np.array_equal(offsets[1:], (offsets + sizes)[:-1]) and offsets[-1] + sizes[-1] == chunk.end
    if not together or not chunk.start <= offsets[0] or (sizes <= 0).any():
        return None
    if offsets[0] != chunk.data and chunk.data != chunk.start:
        return None
    if firsts[0] != 0 or (np.diff(firsts) <= 0).any() or firsts[-1] >= chunk.rows:
        return None
    return Pages(offsets, sizes, np.append(firsts, chunk.rows))


def _plain_locations(data: bytes) -> np.ndarray | None:
    """Offset, size and first row of each page, all at once; None where a writer did not write it the plain way."""
    if not data or data[0] != 0x19:  # field 1, a list
        return None
    try:
        reader = Compact(data, 2)
        count = data[1] >> 4 if data[1] >> 4 < 15 else reader.varint()
    except (ValueError, IndexError):
        return None
    all_bytes = np.frombuffer(data, np.uint8)[reader.at :]
    ends = np.flatnonzero(all_bytes < 0x80)[: 7 * count] + 1
    if data[1] & 15 != 12 or not count or len(ends) < 7 * count:
        return None
    starts = np.append(0, ends[:-1])
    lengths = (ends - starts).reshape(count, 7)
    heads = all_bytes[starts.reshape(count, 7)[:, ::2]]
    if (lengths[:, ::2] != 1).any() or (heads != _LOCATION).any() or lengths.max() > 9:
        return None
    at = starts.reshape(count, 7)[:, 1::2]
    lengths = lengths[:, 1::2]
    found = np.zeros((count, 3), np.int64)
    for k in range(int(lengths.max())):
        there = lengths > k
        found[there] |= (all_bytes[(at + k)[there]] & 0x7F).astype(np.int64) << (7 * k)
    return (found >> 1) ^ -(found & 1)


def walked(file: FileReader, chunk: Chunk) -> Pages:
    """The pages of a chunk from their headers, which tell the sizes."""
    offsets, sizes, firsts = [], [], [0]
    at = chunk.start
    while at < chunk.end and firsts[-1] < chunk.rows:
        header, length = page_header(file, at, chunk)
        kind = header.get(1)
        try:
            size = length + whole(header, 3)
            rows = whole(header.get(5 if kind == DATA else 8), 1) if kind in (DATA, DATA_V2) else 0
        except ValueError as error:
            raise FileFormatError(f"{file.path}: the page at offset {at}: {error}") from None
        if at + size > chunk.end:
            raise FileFormatError(f"{file.path}: the page at offset {at} is longer than its column")
        if rows:
            offsets.append(at)
            sizes.append(size)
            firsts.append(firsts[-1] + rows)
        at += size
    if firsts[-1] != chunk.rows:
        raise FileFormatError(
            f"{file.path}: the pages from offset {chunk.start} on hold {firsts[-1]} of {chunk.rows} rows"
        )
    return Pages(np.array(offsets, np.int64), np.array(sizes, np.int64), np.array(firsts, np.int64))


def page_header(file: FileReader, at: int, chunk: Chunk) -> tuple[dict[int, Any], int]:
    """The header of the page at an offset, and its length; FileFormatError where there is none."""
    size = _HEADER
    while True:
        some = file.read_at(at, min(size, chunk.end - at))
        reader = Compact(some)
        try:
            return reader.struct(), reader.at
        except Cut as error:
            if len(some) < size or size >= _LONGEST_HEADER:
                raise FileFormatError(f"{file.path}: no page at offset {at}: it {error}") from None
            size *= 8
        except ValueError as error:
            raise FileFormatError(f"{file.path}: no page at offset {at}: {error}") from None


def whole(struct: Any, field: int) -> int:
    """A count or a size in a page header; ValueError where there is none."""
    found = struct.get(field) if isinstance(struct, dict) else None
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise ValueError(f"{found!r} where its header has a count")
    return found
