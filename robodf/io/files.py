"""Random access to local and remote files, and the expansion of what a user names into files."""

from __future__ import annotations

import glob
import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from robodf.errors import FileFormatError, NoFilesError, OptionError, hint, listing
from robodf.io.archives.chain import split
from robodf.io.counting import Counter
from robodf.io.manifest import MANIFEST, MOST_BYTES, Manifest, decode

StorageOptions = Mapping[str, Any] | None
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_WILDCARD = re.compile(r"[*?\[]")
_DIGITS = re.compile(r"[0-9]{1,4000}")


class _Bytes(Protocol):
    """Where the bytes of one file come from; `read` may return less at the end of the file."""

    def read(self, offset: int, length: int) -> bytes: ...

    def close(self) -> None: ...


class FileReader:
    """One file, read at any offset by any number of threads.

    `path` is the name for messages, `local` the file on this machine's disk (None: it is remote), `size` the bytes it
    had when opened; `bytes_read` and `reads` count what was asked of it, which is what pushdown is measured by.
    """

    def __init__(self, path: str, size: int, source: _Bytes, local: str | None = None):
        self.path = path
        self.local = local
        self.size = size
        self.bytes_read = 0
        self.reads = 0
        self.counter: Counter | None = None  # what else is told of each read
        self._source = source
        self._lock = threading.Lock()

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; FileFormatError where the file does not have them."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FileFormatError(
                f"{self.path}: needs {length} bytes at offset {offset}, but the file has {self.size} bytes: "
                f"it is truncated or damaged"
            )
        if length == 0:
            return b""
        data = self._source.read(offset, length)
        with self._lock:
            self.reads += 1
            self.bytes_read += len(data)
        if self.counter is not None:
            self.counter.add(bytes=len(data))
        if len(data) != length:
            raise FileFormatError(
                f"{self.path}: got {len(data)} of {length} bytes at offset {offset}: the file shrank while being read"
            )
        return data

    def read_into(self, offsets: list[int], lengths: list[int], out: memoryview) -> None:
        """Many pieces of the file into `out`, one after the other: of a local file each costs about a microsecond.

        FileFormatError where the file does not have them.
        """
        for offset, length in zip(offsets, lengths):
            if offset < 0 or length < 0 or offset + length > self.size:
                self.read_at(offset, length)  # says so
        if not isinstance(self._source, _LocalBytes):
            at = 0
            for offset, length in zip(offsets, lengths):
                out[at : at + length] = self.read_at(offset, length)
                at += length
            return
        wanted = sum(lengths)
        got = self._source.read_into(offsets, lengths, out)
        with self._lock:
            self.reads += len(offsets)
            self.bytes_read += got
        if self.counter is not None:
            self.counter.add(bytes=got)
        if got != wanted:
            raise FileFormatError(f"{self.path}: got {got} of {wanted} bytes: the file shrank while being read")

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _LocalBytes:
    """`os.pread`: one descriptor serves all threads, since no position is shared.

    It is closed when the last read that goes on has ended: its number could be that of another file by then.
    """

    def __init__(self, fd: int):
        self._fd = fd
        self._open = True
        self._reading = 0
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            if not self._open:
                raise ValueError("read from a closed file")
            self._reading += 1
        try:
            return self._read(offset, length)
        finally:
            with self._lock:
                self._reading -= 1
                self._close_if_done()

    def _read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]  # the kernel returns at most 2 GiB per call
        got = len(data)
        while got < length and (data := os.pread(self._fd, length - got, offset + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def read_into(self, offsets: list[int], lengths: list[int], out: memoryview) -> int:
        with self._lock:
            if not self._open:
                raise ValueError("read from a closed file")
            self._reading += 1
        try:
            at, fd, preadv = 0, self._fd, os.preadv
            for offset, length in zip(offsets, lengths):
                done = preadv(fd, [out[at : at + length]], offset)
                while done < length:  # the kernel returns at most 2 GiB per call
                    more = preadv(fd, [out[at + done : at + length]], offset + done)
                    if not more:
                        return at + done
                    done += more
                at += length
            return at
        finally:
            with self._lock:
                self._reading -= 1
                self._close_if_done()

    def close(self) -> None:
        with self._lock:
            self._open = False
            self._close_if_done()

    def _close_if_done(self) -> None:
        if not self._open and not self._reading and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    __del__ = close


class _RemoteBytes:
    def __init__(self, fs: Any, name: str):
        self._fs = fs
        self._name = name

    def read(self, offset: int, length: int) -> bytes:
        return self._fs.cat_file(self._name, start=offset, end=offset + length)

    def close(self) -> None:
        """Nothing is held between reads."""


def open_file(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> FileReader:
    """Open one local path or fsspec URL for random access.

    Raises NoFilesError where it does not exist or is a directory.

    >>> import pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.bin")
    >>> _ = name.write_bytes(b"0123456789")
    >>> with open_file(name) as file:
    ...     file.size, file.read_at(2, 3), file.bytes_read
    (10, b'234', 3)
    """
    name = _name(path)
    if not is_remote(name):
        local = _local(name)
        try:
            fd = os.open(local, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except (FileNotFoundError, NotADirectoryError):
            raise _missing(local) from None
        status = os.fstat(fd)
        if os.path.isdir(local):
            os.close(fd)
            raise NoFilesError(f"{local} is a directory, not a file")
        return FileReader(name, status.st_size, _LocalBytes(fd), local)
    fs, inner = filesystem(name, storage_options)
    return FileReader(name, _remote_size(fs, inner, name), _RemoteBytes(fs, inner))


def fingerprint(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> tuple[int, int | str]:
    """`(size in bytes, mtime in ns or etag)`: changes when the file does, so that a cache can tell."""
    name = _name(path)
    if not is_remote(name):
        local = _local(name)
        try:
            status = os.stat(local)
        except (FileNotFoundError, NotADirectoryError):
            raise _missing(local) from None
        return status.st_size, status.st_mtime_ns
    fs, inner = filesystem(name, storage_options)
    try:
        info = fs.info(inner)
    except FileNotFoundError:
        raise NoFilesError(f"no file {name}") from None
    marks = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
    mark = next((info[key] for key in marks if info.get(key)), "")
    return int(info.get("size") or 0), str(mark)


def list_files(paths: Paths, extensions: tuple[str, ...], storage_options: StorageOptions = None) -> list[str]:
    """The files that `paths` names, in natural order (`run_9` before `run_10`), each once.

    `paths` is a file, a glob (`**` goes through directories), a directory (searched recursively for
    `extensions`, such as `(".mcap",)`; names starting with `.` or `_` are left out), or a list of
    those, whose own order is kept. A glob whose last part is `*` or `**` looks for `extensions` too.
    Of a directory with a manifest (`robodf.io.manifest`) it is the files that this lists, in its order, and no other.

    Raises NoFilesError for anything that names no file, FileFormatError for a manifest that is none.

    >>> import os, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("run_10.mcap", "run_9.mcap", "notes.txt"):
    ...     (folder / name).touch()
    >>> [os.path.basename(p) for p in list_files(folder, (".mcap",))]
    ['run_9.mcap', 'run_10.mcap']
    """
    names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not names:
        raise NoFilesError("no files: the list of paths is empty")
    wanted = tuple(e.lower() for e in extensions)
    found: dict[str, str] = {}
    for item in names:
        name = _name(item)
        if is_remote(name):
            for path in _list_remote(name, wanted, storage_options):
                found.setdefault(path, path)
        else:
            for path in _list_local(_local(name), wanted):
                whole = os.path.abspath(path)
                found.setdefault(path if path == whole else whole, path)  # one text of each of a million
    return list(found.values())


def is_remote(path: str) -> bool:
    """Whether a path goes through fsspec: a URL or a chain such as `zip://a.mcap::s3://b/c.zip`."""
    return ("://" in path or "::" in path) and not path.startswith(("file://", "local://"))


def own_path(path: str) -> str:
    """Of a chain the part that names the file itself, else the path.

    >>> own_path("zip://a.csv::b.zip"), own_path("simplecache::s3://b/a.csv"), own_path("a.csv")
    ('zip://a.csv', 's3://b/a.csv', 'a.csv')
    """
    return next((part for part in path.split("::") if "://" in part), path) if "::" in path else path


def natural_key(path: str) -> str:
    """Sorts digits by value: `run_9` comes before `run_10`; equal values by their text.

    One text for each path, as there may be a million of them.
    """
    return _DIGITS.sub(_ordered_digits, path)


def _ordered_digits(found: re.Match[str]) -> str:
    """How many digits, the digits, and their text with its zeros, between characters that no path has."""
    text = found[0]
    value = text.lstrip("0")
    return f"\0{chr(len(value))}{value}{text}\0"


def _name(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(name, str):
        raise OptionError(f"a path is a str or a Path, not {type(path).__name__}")
    if not name:
        raise NoFilesError("no files: the path is empty")
    if "\0" in name:
        raise OptionError(f"a path cannot hold a null byte: {name!r}")
    return name


def _local(name: str) -> str:
    for prefix in ("file://", "local://"):
        name = name.removeprefix(prefix)
    return os.path.expanduser(name)


def _list_local(path: str, extensions: tuple[str, ...]) -> list[str]:
    if os.path.isfile(path):  # before globbing: a name may itself hold `[` or `*`
        return [path]
    if os.path.isdir(path):
        return _listed_local(path, extensions) or _search(path, extensions)
    if not _WILDCARD.search(path):
        if os.path.exists(path):
            raise NoFilesError(f"{path} is neither a file nor a directory")
        raise _missing(path)
    matches = glob.glob(path, recursive=True)
    files = [m for m in matches if os.path.isfile(m)]
    last = os.path.basename(path)
    if last and not last.strip("*"):
        files = [f for f in files if f.lower().endswith(extensions)]
    if not files:
        folders = [m for m in matches if os.path.isdir(m)]
        for folder in folders:
            files += _walk(folder, extensions)[0]
    if not files:
        inside = f"; {len(matches)} other names match it" if matches else ""
        raise NoFilesError(f"no {listing(extensions)} file matches {path}{inside}")
    return sorted(set(files), key=natural_key)


def _listed_local(folder: str, extensions: tuple[str, ...]) -> list[str]:
    """The files of the manifest in a folder; none where it has no manifest."""
    where = os.path.join(folder, MANIFEST)
    try:
        with open(where, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return []
    found = [os.path.join(folder, name) for name in _wanted(decode(data, where), extensions, where)]
    for path in found:
        if not os.path.isfile(path):
            raise NoFilesError(f"no file {path}, which {where} lists: the data set is not complete")
    return found


def _wanted(manifest: Manifest, extensions: tuple[str, ...], where: str) -> list[str]:
    names = [f.path for f in manifest.files]
    wanted = [n for n in names if n.lower().endswith(extensions)]
    if not wanted:
        raise NoFilesError(f"no {listing(extensions)} file in {where}: it lists {listing(names, 8) or 'nothing'}")
    return wanted


def _search(folder: str, extensions: tuple[str, ...]) -> list[str]:
    files, others = _walk(folder, extensions)
    if not files:
        names = sorted((os.path.relpath(path, folder) for path in others), key=natural_key)
        instead = f"it holds {listing(names, 8)}" if others else "it is empty"
        raise NoFilesError(f"no {listing(extensions)} file in {folder}: {instead}")
    return files


def _walk(folder: str, extensions: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The files wanted under a folder, in natural order, and what else is there.

    A folder says itself which of its names are files, so that no file is asked.
    """
    files: list[str] = []
    others: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [folder]
    while pending:
        root = pending.pop()
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
            continue
        seen.add((status.st_dev, status.st_ino))
        folders: list[str] = []
        try:
            entries = os.scandir(root)
        except PermissionError:  # such as the lost+found of a disk
            others.append(root)
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith((".", "_")):
                    continue
                kind = _kind(entry)
                if kind == "folder":
                    folders.append(entry.path)
                elif kind == "file" and entry.name.lower().endswith(extensions):
                    files.append(entry.path)
                else:
                    others.append(entry.path)
        pending += sorted(folders, reverse=True)
    return sorted(files, key=natural_key), others


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
    except OSError:  # a link to itself
        return "other"


def _missing(path: str) -> NoFilesError:
    target = Path(path)
    parent = target.parent
    if not parent.is_dir():
        while not parent.is_dir() and parent != parent.parent:
            parent = parent.parent
        return NoFilesError(f"no file {path}: there is no folder {target.parent} (only {parent})")
    siblings = sorted(os.listdir(parent))
    near = hint(target.name, siblings)
    return NoFilesError(f"no file {path}{near}")


def filesystem(url: str, storage_options: StorageOptions) -> tuple[Any, str]:
    """The fsspec filesystem of a URL, and the name there. Options of S3 may have Polars' names or fsspec's."""
    from fsspec.core import url_to_fs

    found = split(url)
    if found is not None:
        from robodf.io.archives.inside import members

        kind, member, archive = found
        return members(kind, archive, storage_options), member
    try:
        return url_to_fs(url, **_fsspec_options(storage_options))
    except FileNotFoundError:  # the outer file of a chain such as zip://…::…
        raise NoFilesError(f"no file {url}") from None
    except ValueError as error:
        if "protocol" in str(error).lower():
            raise OptionError(f"{url}: {error}") from None
        raise


def _fsspec_options(storage_options: StorageOptions) -> dict[str, Any]:
    """Polars calls the options of S3 `aws_access_key_id` and so on, fsspec `key`; other names are passed on."""
    names = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_session_token": "token"}
    names["aws_endpoint_url"] = "endpoint_url"
    given = dict(storage_options or {})
    options = {names.get(k, k): v for k, v in given.items() if k in names or not k.startswith("aws_")}
    if "aws_region" in given:
        options["client_kwargs"] = {"region_name": given["aws_region"], **options.get("client_kwargs", {})}
    return options


def _remote_size(fs: Any, inner: str, url: str) -> int:
    try:
        info = fs.info(inner)
    except FileNotFoundError:
        raise NoFilesError(f"no file {url}") from None
    if info.get("type") == "directory":
        raise NoFilesError(f"{url} is a directory, not a file")
    size = info.get("size")
    if size is None:
        raise FileFormatError(
            f"{url}: the server does not say how long the file is; download it and read the local copy"
        )
    return int(size)


def _list_remote(url: str, extensions: tuple[str, ...], storage_options: StorageOptions) -> list[str]:
    fs, inner = filesystem(url, storage_options)
    head, _, chain = url.partition("::")

    def full(name: str) -> str:
        path = fs.unstrip_protocol(name)
        return f"{path}::{chain}" if chain else path

    if _WILDCARD.search(head) and not fs.isfile(inner):
        names = [str(n) for n in fs.glob(inner) if fs.isfile(n)]
        if not inner.rsplit("/", 1)[-1].strip("*"):
            names = [n for n in names if n.lower().endswith(extensions)]
        if not names:
            raise NoFilesError(f"no {listing(extensions)} file matches {url}")
        return sorted(map(full, names), key=natural_key)
    if not url.startswith(("http://", "https://")) and fs.isdir(inner):
        names = [str(n) for n in fs.find(inner)]
        root = inner.rstrip("/")
        where = f"{root}/{MANIFEST}"
        if where in names:
            manifest = decode(fs.cat_file(where, start=0, end=MOST_BYTES + 1), full(where))
            return [full(f"{root}/{name}") for name in _wanted(manifest, extensions, full(where))]
        inside = [n for n in names if not _hidden(n.removeprefix(root))]
        wanted = [n for n in inside if n.lower().endswith(extensions)]
        if not wanted:
            others = sorted(n.removeprefix(root).lstrip("/") for n in inside)
            instead = f"it holds {listing(others, 8)}" if others else "it is empty"
            raise NoFilesError(f"no {listing(extensions)} file in {url}: {instead}")
        return sorted(map(full, wanted), key=natural_key)
    if not fs.exists(inner):
        raise NoFilesError(f"no file {url}")
    return [url]


def _hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.strip("/").split("/"))
