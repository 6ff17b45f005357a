"""The members of an archive as files: what `zip://a.csv::b.zip` and `tar://a.csv::b.tar` name.

They are found by the indexes of `read_zip` and `read_tar`, with the same checks, and not by fsspec's own readers: those
go through the whole archive each time that a member is opened, and believe what it says of itself.
"""

from __future__ import annotations

import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

from fsspec.archive import AbstractArchiveFileSystem

from robodf.errors import FileFormatError, NoFilesError
from robodf.io.archives.chain import split
from robodf.io.archives.tar import TarFiles, opened, refused
from robodf.io.archives.zip import ALWAYS_ALLOWED, ZipFiles, member_bytes, member_start
from robodf.io.file_object import open_object
from robodf.io.files import FileReader, fingerprint, open_file
from robodf.io.logs.local_copy import MAX_EXPANSION, local_copy, made_once

_HELD = 8 << 20  # bytes of a compressed member that stay in memory; a larger one is copied to the disk
_MOST_HELD = 64 << 20  # of all members of an archive
_STEP = 4 << 20
_ARCHIVES = 8  # that are known at the same time

_known: OrderedDict[tuple, Members] = OrderedDict()
_lock = threading.Lock()


def members(kind: str, archive: str, storage: Mapping[str, Any] | None) -> Members:
    """The members of an archive as it is now."""
    options = _of_archive(archive, storage)
    key = (kind, archive, fingerprint(archive, options), repr(sorted(options.items())))
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    made = Members(kind, archive, key[2], options)
    with _lock:
        _known[key] = made
        while len(_known) > _ARCHIVES:
            _known.popitem(last=False)
    return made


def _of_archive(archive: str, storage: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of the file system of the archive: fsspec has those of a chain by protocol."""
    given = dict(storage or {})
    protocol = archive.partition("://")[0] if "://" in archive else "file"
    if isinstance(given.get(protocol), Mapping):
        return dict(given[protocol])
    return {name: value for name, value in given.items() if not isinstance(value, Mapping) or name == "client_kwargs"}


class Members(AbstractArchiveFileSystem):
    """The members of one archive, as a file system of fsspec that is read only."""

    cachable = False
    root_marker = ""

    def __init__(self, kind: str, archive: str, state: tuple, storage: dict[str, Any]):
        super().__init__()
        self.protocol = kind
        self._archive, self._state, self._storage = archive, state, storage
        source = ZipFiles if kind == "zip" else TarFiles
        table = source.of([archive], storage)._table(archive)
        # Of a name that is there several times the last one counts, as where an archive is unpacked.
        self._rows = {_plain(row["member"]): row for row in table.iter_rows(named=True)}
        self.dir_cache: dict[str, dict] | None = None
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._guard = threading.Lock()
        self._file: FileReader = open_file(archive, storage)
        self._packed = kind == "tar" and _is_packed(archive, storage)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path if isinstance(path, list) else str(path).partition("://")[2] or str(path).strip("/")

    def unstrip_protocol(self, name: str) -> str:
        return f"{self.protocol}://{name}"

    def _get_dirs(self) -> None:
        if self.dir_cache is not None:
            return
        found = {
            name: {"name": name, "size": 0, "type": "directory"}
            for name in self._all_dirnames(list(self._rows))
            if name
        }
        for name, row in self._rows.items():
            mark = f"{self._state} {row['offset']}"  # changes when the archive does
            found[name] = {"name": name, "size": row["size"], "type": "file", "mtime": mark}
        self.dir_cache = found

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Bytes of a member; FileFormatError where they are not what the archive says."""
        row = self._row(path)
        first, last = start or 0, row["size"] if end is None else min(end, row["size"])
        count = max(0, last - first)
        if self._plain_bytes(row):
            whole = count == row["size"] and self.protocol == "zip"  # its checksum can be compared
            if whole and row["size"] <= _HELD:
                return member_bytes(self._file, row)
            return self._file.read_at(self._start(row) + first, count)
        if row["size"] <= _HELD:
            return self._in_memory(path, row)[first:last]
        with open(self.member_copy(path), "rb") as file:
            file.seek(first)
            return file.read(count)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> BytesIO:  # type: ignore[override]
        if mode != "rb":
            raise OSError(f"{self._archive}: members of archives are read, not written")
        return BytesIO(self.cat_file(path))

    def member_copy(self, path: str) -> str:
        """The path of a temporary copy of a member, made once and removed when the process ends."""
        row = self._row(path)
        key = ("member", self.protocol, self._archive, self._state, row["offset"], row["size"])

        def write(name: str) -> None:
            with open(name, "wb") as out:
                for piece in self._pieces(row):
                    out.write(piece)

        return made_once(key, row["size"], write)

    def _row(self, path: str) -> dict[str, Any]:
        row = self._rows.get(_plain(self._strip_protocol(path)))
        if row is None:
            raise NoFilesError(f"no file {path!r} in {self._archive}")
        if row["offset"] is None:
            raise refused(self._archive, row["member"], (None, row["size"]))
        return row

    def _plain_bytes(self, row: dict[str, Any]) -> bool:
        if self.protocol == "zip":
            return row["_method"] == 0 and not row["_flags"] & 1 and row["size"] == row["compressed_size"]
        return not self._packed

    def _start(self, row: dict[str, Any]) -> int:
        return row["offset"] if self.protocol == "tar" else member_start(self._file, row)

    def _in_memory(self, path: str, row: dict[str, Any]) -> bytes:
        with self._guard:
            if path in self._held:
                self._held.move_to_end(path)
                return self._held[path]
        data = b"".join(self._pieces(row))
        with self._guard:
            self._held[path] = data
            while sum(map(len, self._held.values())) > _MOST_HELD:
                self._held.popitem(last=False)
        return data

    def _pieces(self, row: dict[str, Any]) -> Iterator[bytes]:
        """All bytes of a member."""
        if self._plain_bytes(row):
            start = self._start(row)
            for at in range(0, row["size"], _STEP):
                yield self._file.read_at(start + at, min(_STEP, row["size"] - at))
        elif self.protocol == "zip":
            # The standard library reads in steps, but knows neither zstd nor bounds.
            yield from [member_bytes(self._file, row)] if row["size"] <= ALWAYS_ALLOWED else self._zip_steps(row)
        else:
            yield from self._tar_steps(row)

    def _zip_steps(self, row: dict[str, Any]) -> Iterator[bytes]:
        what = f"{self._archive}: the member {row['member']!r}"
        if row["size"] > MAX_EXPANSION * row["compressed_size"]:
            raise FileFormatError(
                f"{what} has {row['compressed_size']} bytes that become {row['size']}, which is not believed; "
                "unpack the archive if it is right"
            )
        with open_object(self._archive, self._storage) as file, zipfile.ZipFile(file) as archive:
            info = next(i for i in archive.infolist() if i.header_offset == row["offset"])
            try:
                with archive.open(info) as member:
                    while piece := member.read(_STEP):
                        yield piece
            except FileFormatError:
                raise
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
                raise FileFormatError(f"{what} is damaged or cannot be read: {error}") from error

    def _tar_steps(self, row: dict[str, Any]) -> Iterator[bytes]:
        with opened(self._archive, self._storage) as file:
            file.skip(row["offset"])
            left = row["size"]
            while left:
                piece = file.read(min(_STEP, left))
                if not piece:
                    raise FileFormatError(f"{self._archive}: {row['member']!r} is cut off")
                left -= len(piece)
                yield piece


def _plain(name: str) -> str:
    """A name without what says nothing: `./a//b` is `a/b`."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _is_packed(archive: str, storage: dict[str, Any]) -> bool:
    from robodf.io.archives.inflate import compression

    with open_file(archive, storage) as file:
        return compression(file.read_at(0, min(6, file.size))) is not None


def local_path(path: str, storage: Mapping[str, Any] | None) -> str:
    """A path on the disk with the bytes of a file that Polars cannot open itself."""
    found = split(path)
    if found is not None:
        kind, member, archive = found
        return members(kind, archive, storage).member_copy(member)
    with open_file(path, storage) as file:
        return local_copy(file, "")
