"""ZIP archives as rows: one row a member, found by the central directory."""

from __future__ import annotations

import bz2
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.archives.members import MOST_BYTES, Archives
from robodf.io.coalesce import coalesced
from robodf.io.counting import read as counter
from robodf.io.file_object import open_object
from robodf.io.files import FileReader, Paths, list_files, open_file
from robodf.io.logs.local_copy import MAX_EXPANSION

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

ALWAYS_ALLOWED = 64 << 20
"""Bytes that a member may become, however small it is compressed."""

_LOCAL = struct.Struct("<4s22xHH")  # APPNOTE 4.3.7: signature, ..., lengths of name and extra field
_SPARE = 512  # bytes of an extra field that are read with the rest
_WINDOW = 1 << 27
_STORED, _DEFLATE, _BZIP2, _LZMA, _ZSTD = 0, 8, 12, 14, 93
_PRIVATE = {"_method": pl.UInt16(), "_flags": pl.UInt16(), "_crc": pl.UInt32()}

# What the standard library raises on a directory that is not what it should be.
_DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, struct.error, ValueError, OSError, EOFError,
           LookupError, OverflowError)  # fmt: skip


def read_zip(paths: Paths, *, on_error: str = "raise", storage_options: dict | None = None) -> PipelineDataFrame:
    """A lazy frame of ZIP archives, one row a file in them.

    Columns: path, member, size, compressed_size, modified, offset, data. Rows are in the order of the central
    directory; folders are left out. `member` is the name as the archive has it (nothing is written by it), `modified`
    its time, of no time zone and to two seconds, `offset` where it starts.
    `data` has its bytes, which are read for those rows alone that are left: a filter on member or size chooses first.

    Stored, deflated, bzip2, LZMA and zstd members are read, ZIP64 too, and their checksums compared. A FileFormatError
    is a directory that is damaged, and for `data` a member that is encrypted, differs from its checksum or its size,
    has 2 GiB or more, or grows to more than 200 times its size and 64 MiB. With on_error="skip" or "collect" such a
    member is null, an unreadable archive gives no rows, and both are listed in `df.errors`.

    Files of other formats inside an archive are read by their path, as in `rd.read_csv("zip://*.csv::a.zip")`.

    >>> import robodf as rd, pathlib, tempfile, zipfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.zip")
    >>> with zipfile.ZipFile(name, "w") as archive:
    ...     archive.writestr("one.txt", "1")
    ...     archive.writestr("two/three.txt", "23")
    >>> df = rd.read_zip(name)
    >>> df.filter(rd.col("size") > 1).select("member", "data").collect().rows()
    [('two/three.txt', b'23')]
    """
    from robodf.io.read import from_source

    files = list_files(paths, (".zip",), storage_options)
    return from_source(ZipFiles.of(files, storage_options, on_error))


@dataclass(frozen=True)
class ZipFiles(Archives):
    """Members of ZIP archives."""

    __hash__ = Archives.__hash__

    @property
    def name(self) -> str:
        return "zip"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {
            "path": pl.String(), "member": pl.String(), "size": pl.UInt64(), "compressed_size": pl.UInt64(),
            "modified": pl.Datetime("ns"), "offset": pl.UInt64(), "data": pl.Binary(),
        }  # fmt: skip

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(("data",))

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        with open_object(path, dict(self.storage)) as file:
            try:
                with zipfile.ZipFile(file) as archive:
                    found, end = archive.infolist(), archive.start_dir
            except FileFormatError:
                raise
            except _DAMAGE as error:
                raise FileFormatError(f"{path}: not a ZIP archive that can be read: {error}") from error
        _check_places(path, found, end)
        rows = [
            (i.filename, i.file_size, i.compress_size, _time(i.date_time), i.header_offset, i.compress_type,
             i.flag_bits, i.CRC)
            for i in found if not i.filename.endswith("/")
        ]  # fmt: skip
        light = {name: dtype for name, dtype in self.schema.items() if name not in ("path", "data")}
        return pl.DataFrame(rows, schema={**light, **_PRIVATE}, orient="row")

    def read_cells(
        self, path: str, table: pl.DataFrame, columns: tuple[str, ...]
    ) -> Iterator[tuple[bytes | FileFormatError | None, ...]]:
        with open_file(path, dict(self.storage)) as file:
            file.counter = counter
            wanted = (row for row in table.iter_rows(named=True) if _refused(row) is None)
            near = coalesced(file, (_place(file, row) for row in wanted))
            for row in table.iter_rows(named=True):
                try:
                    yield (member_bytes(near, row),)
                except FileFormatError as error:
                    yield (error,)


def _check_places(path: str, found: list[zipfile.ZipInfo], end: int) -> None:
    """Members that share bytes are how a small archive claims to hold terabytes."""
    before, name = 0, ""
    for info in sorted(found, key=lambda i: i.header_offset):
        last = info.header_offset + _LOCAL.size + info.compress_size
        if info.header_offset < before:
            raise FileFormatError(
                f"{path}: the members {name!r} and {info.filename!r} share bytes at offset {info.header_offset}: "
                "it is damaged or made to expand without end"
            )
        if last > end:
            raise FileFormatError(
                f"{path}: the member {info.filename!r} at offset {info.header_offset} has {info.compress_size} bytes, "
                f"but the directory starts at {end}: it is damaged"
            )
        before, name = last, info.filename


def _time(parts: tuple[int, ...]) -> datetime | None:
    try:
        return datetime(*parts)  # type: ignore[arg-type]
    except ValueError:  # such as month 0
        return None


def member_bytes(file: FileReader, row: dict) -> bytes:
    """The bytes of a member; FileFormatError where they are not what the directory says."""
    size, packed, offset = row["size"], row["compressed_size"], row["offset"]
    what = f"{file.path}: the member {row['member']!r} at offset {offset}"
    refused = _refused(row)
    if refused is not None:
        raise FileFormatError(f"{what} {refused}")
    data = file.read_at(*_place(file, row))
    start = _body_at(data, what)
    body = data[start : start + packed]
    if len(body) < packed:
        body = file.read_at(offset + start, packed)
    try:
        found = _inflated(body, row["_method"], size)
    except FileFormatError as error:
        raise FileFormatError(f"{what} {error}") from error
    except (zlib.error, OSError, ValueError, EOFError, lzma.LZMAError, MemoryError) as error:
        raise FileFormatError(f"{what} is damaged: {error}") from error
    if zlib.crc32(found) != row["_crc"]:
        raise FileFormatError(f"{what} differs from its checksum: it is damaged")
    return found


def _refused(row: dict) -> str | None:
    """Why the bytes of a member are not read."""
    size, packed = row["size"], row["compressed_size"]
    if row["_flags"] & 1:
        return "is encrypted; unpack the archive with its password"
    if size > MOST_BYTES:
        return f"has {size} bytes, where {MOST_BYTES} are the most that a row may have"
    if size > max(ALWAYS_ALLOWED, MAX_EXPANSION * packed):
        return f"has {packed} bytes that become {size}, which is not believed; unpack the archive if it is right"
    return None


def _place(file: FileReader, row: dict) -> tuple[int, int]:
    """Offset and length of what is read of a member: its header, with room for what that may have, and its bytes."""
    whole = _LOCAL.size + 4 * len(row["member"]) + _SPARE + row["compressed_size"]
    return row["offset"], min(whole, file.size - row["offset"])


def member_start(file: FileReader, row: dict) -> int:
    """The offset of the bytes of a member, which are within the archive."""
    offset = row["offset"]
    what = f"{file.path}: the member {row['member']!r} at offset {offset}"
    return offset + _body_at(file.read_at(offset, min(_LOCAL.size, file.size - offset)), what)


def _body_at(data: bytes, what: str) -> int:
    if len(data) < _LOCAL.size or data[:4] != b"PK\3\4":
        raise FileFormatError(f"{what} does not start as a member does: the archive is damaged")
    _, name, extra = _LOCAL.unpack_from(data)
    return _LOCAL.size + name + extra


def _inflated(body: bytes, method: int, size: int) -> bytes:
    """Exactly `size` bytes, and not a byte more is made of them."""
    ended = True
    if method == _STORED:
        found = body
    elif method == _DEFLATE:
        deflate = zlib.decompressobj(-15)
        found, ended = deflate.decompress(body, size + 1), deflate.eof
    elif method == _BZIP2:
        bzip2 = bz2.BZ2Decompressor()
        found, ended = bzip2.decompress(body, size + 1), bzip2.eof
    elif method == _LZMA:
        found = _lzma(body, size)
    elif method == _ZSTD:
        import zstandard

        try:
            with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(body) as reader:
                found = reader.read(size + 1)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    else:
        raise FileFormatError(
            f"is compressed by method {method}, which is not read: stored, deflate, bzip2, LZMA and zstd are"
        )
    if len(found) != size or not ended:
        raise FileFormatError(f"does not become the {size} bytes that the directory says: it is damaged")
    return found


def _lzma(body: bytes, size: int) -> bytes:
    """APPNOTE 5.8.8: a version, the length of the properties (5), and these: lc, lp, pb in a byte, the dictionary."""
    if len(body) < 9 or body[2:4] != b"\5\0":
        raise FileFormatError("is damaged: its LZMA properties are not there")
    first, dictionary = body[4], int.from_bytes(body[5:9], "little")
    if first >= 9 * 5 * 5 or dictionary > _WINDOW:
        raise FileFormatError(f"is damaged, or its LZMA dictionary of {dictionary} bytes is too large")
    filters = [
        {"id": lzma.FILTER_LZMA1, "lc": first % 9, "lp": first // 9 % 5, "pb": first // 45, "dict_size": dictionary}
    ]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters).decompress(body[9:], size + 1)
