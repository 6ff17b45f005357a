"""Finished pieces of a query in a folder that all nodes see, so that a later run computes only what is missing.

    <path>/<key>/marker.json              written by the driver: a worker that does not see it is on other storage
    <path>/<key>/<stage>/<piece>.arrow    one finished piece: its buckets, each readable alone (see piece_file.py)
    <path>/<key>/manifest.json            written last: the whole is complete

A piece appears whole or not at all: it is written under a name of its own beside its place, then renamed. Pieces are
pure functions of the plan that the key names, so two writers of one piece write the same rows and the last one stays.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

import robodf
from robodf.errors import FileFormatError, NoFilesError, OptionError
from robodf.io.files import FileReader, is_remote, open_file
from robodf.physical.piece_file import Index, read_bucket, read_index, write_piece
from robodf.physical.piece_folder import LocalFolder, folder_of

_MARKER, _MANIFEST, _LOCK = "marker.json", "manifest.json", "lock"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}\Z")
_PIECE = re.compile(r"(0|[1-9][0-9]{0,17})\.arrow\Z")
_LARGEST_JSON = 64 << 20
_NO_LOCKS = {errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_AT_ONCE = 16  # indexes that are read at the same time: they are small, and a store may be far away

_seen: set[tuple[str, str]] = set()  # stores whose marker this process saw
_held: dict[str, int] = {}  # locks that this process holds


@dataclass(frozen=True)
class Stage:
    """One stage of a complete store: its pieces, rows in all, and the schema as a text."""

    pieces: int
    rows: int
    schema: str


@dataclass(frozen=True)
class Manifest:
    """What a complete store says of itself. `created` is in seconds since 1970."""

    key: str
    stages: dict[str, Stage]
    created: float
    versions: dict[str, str]


class PieceStore:
    """The finished pieces of the query that `key` names, in the folder `path`: a folder on storage that all nodes
    share, or a URL of fsspec.

    Making one makes the folder; pickled, it is the same store elsewhere, where the folder must be there already.
    Pieces are numbered within a stage; a piece is one frame or more (buckets), and what was written is read back
    exactly, whatever its types. Of two runs on one path and key a file system lets one in (`locked`); in an object
    store both go on, each piece is that of the last writer, and all are right.

    >>> import tempfile
    >>> import polars as pl
    >>> store = PieceStore(tempfile.mkdtemp(), "a1b2")
    >>> store.write("scan", 0, [pl.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [3]})])
    >>> store.done("scan"), store.rows("scan", 0), store.read("scan", 0, 1).rows(), store.complete()
    ({0}, [2, 1], [(3,)], None)
    >>> store.finish().stages["scan"]
    Stage(pieces=1, rows=3, schema='x: Int64')
    >>> store.remove()
    """

    def __init__(self, path: str | os.PathLike[str], key: str, storage_options: Mapping[str, Any] | None = None):
        _check_name("key", key)
        text = _absolute(path)
        self.path, self.key, self.storage_options = text, key, dict(storage_options or {})
        self.folder = f"{text.rstrip('/')}/{key}"
        self._files = folder_of(self.folder, self.storage_options)
        # Behind a URL all see the same folder, or none. On a disk of its own a node may have one of an earlier run.
        token = "shared" if is_remote(text) else secrets.token_hex(16)
        if isinstance(self._files, LocalFolder):
            os.makedirs(self.folder, exist_ok=True)
        self._put_json(_MARKER, {"format": 1, "token": token, "created": time.time()}, first=True)
        self.token = str(self._json(_MARKER, lambda said: said["token"]))

    def __repr__(self) -> str:
        return f"PieceStore({self.folder!r})"

    def __robodf_key__(self) -> str:
        return f"pieces of {self.key}"  # what is computed of them does not depend on where they are

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_files"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._files = folder_of(self.folder, self.storage_options)

    # -- pieces -----------------------------------------------------------------------------------------------

    def done(self, stage: str) -> set[int]:
        """The numbers of the pieces of a stage that are finished."""
        self._check_shared()
        _check_name("stage", stage)
        return {int(match[1]) for name in self._files.names(stage) if (match := _PIECE.match(name))}

    def write(self, stage: str, piece: int, frames: list[pl.DataFrame]) -> None:
        """Publish a piece: its buckets, in order. Writing it again puts the same in its place.

        Raises OptionError for columns of Python objects, and the OSError of a disk that is full; the piece is then as
        it was before.
        """
        self._check_shared()
        name = self._name(stage, piece)
        self._files.put(f"{stage}/{piece}.arrow", lambda file: write_piece(file, name, frames))

    def read(self, stage: str, piece: int, bucket: int | None = None) -> pl.DataFrame:
        """One bucket of a piece, without reading the others; all of them, one after the other, for None.

        Raises FileFormatError where the file is not what was written, NoFilesError where the piece is not there.
        """
        with self._piece(stage, piece) as (file, index):
            count = len(index.rows)
            if bucket is None:
                return pl.concat([read_bucket(file, index, b) for b in range(count)])
            if not 0 <= bucket < count:
                raise OptionError(f"{stage}/{piece}: no bucket {bucket}, it has {count}")
            return read_bucket(file, index, bucket)

    def rows(self, stage: str, piece: int) -> list[int]:
        """How many rows each bucket of a piece has, from its index alone."""
        with self._piece(stage, piece) as (_, index):
            return list(index.rows)

    @contextlib.contextmanager
    def _piece(self, stage: str, piece: int) -> Iterator[tuple[FileReader, Index]]:
        self._check_shared()
        name = self._name(stage, piece)
        try:
            with open_file(self._files.full(f"{stage}/{piece}.arrow"), self.storage_options) as file:
                yield file, read_index(file, name)
        except NoFilesError:
            raise NoFilesError(f"{self.folder}: the piece {stage}/{piece} is not finished, or was removed") from None
        except FileFormatError as error:
            raise self._damaged(error) from error

    def _name(self, stage: str, piece: int) -> str:
        _check_name("stage", stage)
        if type(piece) is not int or not 0 <= piece < 10**18:
            raise OptionError(f"a piece is a number from 0, not {piece!r}")
        return f"{self.key}/{stage}/{piece}"

    # -- the whole --------------------------------------------------------------------------------------------

    def finish(self) -> Manifest:
        """Say that all pieces are there. What writers that died left behind is removed."""
        self._check_shared()
        if isinstance(self._files, LocalFolder):
            self._files.clean()
        pieces = [(stage, piece) for stage in self._stages() for piece in sorted(self.done(stage))]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            indexes = list(pool.map(lambda p: self._index(*p), pieces))
        stages: dict[str, Stage] = {}
        for (stage, _), index in zip(pieces, indexes):
            known = stages.get(stage, Stage(0, 0, index.schema))
            stages[stage] = Stage(known.pieces + 1, known.rows + sum(index.rows), known.schema)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        versions = {"robodf": robodf.__version__, "polars": pl.__version__, "python": python}
        manifest = Manifest(self.key, stages, time.time(), versions)
        self._put_json(_MANIFEST, asdict(manifest))
        return manifest

    def _stages(self) -> list[str]:
        return [n for n in sorted(self._files.names()) if n not in (_MARKER, _MANIFEST, _LOCK) and _NAME.match(n)]

    def _index(self, stage: str, piece: int) -> Index:
        with self._piece(stage, piece) as (_, index):
            return index

    def complete(self) -> Manifest | None:
        """The manifest where the whole is complete, else None; FileFormatError where pieces of it are gone."""
        self._check_shared()
        if _MANIFEST not in self._files.names():
            return None

        def made(said: Any) -> Manifest:
            stages = {
                str(n): Stage(int(s["pieces"]), int(s["rows"]), str(s["schema"])) for n, s in said["stages"].items()
            }
            versions = {str(n): str(v) for n, v in said["versions"].items()}
            return Manifest(str(said["key"]), stages, float(said["created"]), versions)

        manifest = self._json(_MANIFEST, made)
        for name, stage in manifest.stages.items():
            there = len(self.done(name))
            if there != stage.pieces:
                error = FileFormatError(f"{self.folder}/{name}: has {there} pieces, its manifest says {stage.pieces}")
                raise self._damaged(error)
        return manifest

    def remove(self) -> None:
        """Remove the folder of this key; OptionError where another run is filling it."""
        with self.locked() if self.folder not in _held else contextlib.nullcontext():
            _seen.discard((self.folder, self.token))
            self._files.remove()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """For the one run that fills the store; OptionError where another one does.

        Behind a URL, or where the file system has no locks, all are let in: see the class.
        """
        if not isinstance(self._files, LocalFolder):
            yield
            return
        import fcntl

        handle = os.open(f"{self.folder}/{_LOCK}", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                who = os.pread(handle, 300, 0).decode("utf-8", "replace") or "another process"
                raise OptionError(
                    f"{self.folder} is being filled by {who}: wait for it, or give another folder"
                ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} of {socket.gethostname()}".encode(), 0)
            _held[self.folder] = handle
            try:
                yield
            finally:
                del _held[self.folder]
        finally:
            os.close(handle)

    # -- small files ------------------------------------------------------------------------------------------

    def _put_json(self, name: str, said: dict[str, Any], first: bool = False) -> None:
        data = json.dumps(said, indent=1).encode()
        self._files.put(name, lambda file: file.write(data), first)

    def _json(self, name: str, read: Callable[[Any], Any]) -> Any:
        path = self._files.full(name)
        try:
            with open_file(path, self.storage_options) as file:
                if file.size > _LARGEST_JSON:
                    raise self._damaged(FileFormatError(f"{path}: has {file.size} bytes"))
                data = file.read_at(0, file.size)
            return read(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            if isinstance(error, FileFormatError):
                raise
            raise self._damaged(FileFormatError(f"{path}: is not what robodf wrote there")) from error

    def _damaged(self, error: FileFormatError) -> FileFormatError:
        return FileFormatError(f"{error}. The checkpoint is damaged: delete the folder {self.folder} and run again.")

    def _check_shared(self) -> None:
        if (self.folder, self.token) in _seen:
            return
        try:
            token = self._json(_MARKER, lambda said: said["token"])
        except NoFilesError:
            token = None
        if token != self.token:
            raise OptionError(
                f"{self.folder}: this process (on {socket.gethostname()}) does not see the folder that the driver "
                "made: a checkpoint must be on storage that all nodes share, such as NFS or an object store (or "
                "somebody removed the folder while the query ran)"
            )
        _seen.add((self.folder, self.token))


def stale(
    path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> list[tuple[str, int, float]]:
    """`(key, size in bytes, seconds since it last changed)` of each store in a folder, the oldest first.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> _ = PieceStore(folder, "a1b2")
    >>> [key for key, size, age in stale(folder)]
    ['a1b2']
    """
    text = _absolute(path)
    now, found = time.time(), []
    for key in folder_of(text, storage_options).names():
        inside = folder_of(f"{text.rstrip('/')}/{key}", storage_options)
        if not _NAME.match(key) or _MARKER not in inside.names():
            continue
        files = list(inside.files())
        if files:
            found.append((key, sum(size for size, _ in files), now - max(changed for _, changed in files)))
    return sorted(found, key=lambda entry: (-entry[2], entry[0]))


def _absolute(path: str | os.PathLike[str]) -> str:
    """The path as workers in other folders see it."""
    text = os.fspath(path)
    if is_remote(text):
        return text
    return os.path.abspath(os.path.expanduser(text.removeprefix("file://").removeprefix("local://")))


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or not _NAME.match(name) or name in (_MARKER, _MANIFEST, _LOCK):
        raise OptionError(f"a {what} is a name of at most 120 letters, digits, '_', '-' and '.', not {name!r}")
