"""Temporary copies on the local disk, for readers that need a plain local file. They live until the process ends."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Callable, Hashable, Iterator

from robodf.errors import FileFormatError
from robodf.io.files import FileReader

MAX_EXPANSION = 200  # compressed recordings grow 2 to 50 times
ALWAYS_ALLOWED = 1 << 30  # bytes that a compressed file may become, however small it is
_STEP = 8 << 20
_FEED = 4 << 10  # a zstd block of 4 bytes may become 128 KiB: so little at a time keeps the memory bounded
_WINDOW = 1 << 27
_SPARE = 64 << 20  # bytes of the disk that are left alone

_lock = threading.Lock()
_making: dict[Hashable, threading.Lock] = {}
_made: dict[Hashable, str] = {}
_folder: str | None = None


def local_copy(source: FileReader, name: str, on_error: str = "raise") -> str:
    """The path of a local file with the bytes of `source`, decompressed where `name` ends with .zst or .zstd.

    It is made once for each state of the file (size, time of change; ends of the file where it is remote), in
    bounded steps, and deleted when the process ends.

    Raises FileFormatError for zstd data that is damaged, cut off or grows beyond 200 times its size (and 1 GiB), and
    OSError where the disk has no room. With `on_error="skip"` or `"collect"` what precedes the damage is kept; the
    reader of the file then reports that it is cut off.

    >>> import pathlib, tempfile, zstandard
    >>> from robodf.io.files import open_file
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.db3.zstd")
    >>> _ = path.write_bytes(zstandard.compress(b"0123456789"))
    >>> with open_file(path) as file:
    ...     copy = local_copy(file, "a.db3.zstd")
    >>> pathlib.Path(copy).read_bytes()
    b'0123456789'
    """
    compressed = name.lower().endswith((".zst", ".zstd"))
    tolerant = compressed and on_error != "raise"
    key = ("copy", source.path, source.size, _mark(source), compressed, tolerant)

    def write(path: str) -> None:
        with open(path, "wb") as out:
            for piece in _inflated(source, name, tolerant) if compressed else _pieces(source):
                out.write(piece)

    return made_once(key, None if compressed else source.size, write)


def made_once(key: Hashable, size: int | None, write: Callable[[str], None]) -> str:
    """The temporary file of this key; `write(path)` fills it, once in this process, whichever thread comes first.

    `size` in bytes is what it will need, where that is known: OSError before anything is written if the disk is full.
    """
    with _lock:
        making = _making.setdefault(key, threading.Lock())
    with making:
        if key not in _made:
            folder = _temporary_folder()
            check_room(folder, size or 0)
            handle, path = tempfile.mkstemp(dir=folder)
            os.close(handle)
            try:
                write(path)
            except BaseException:
                os.unlink(path)
                raise
            _made[key] = path
        return _made[key]


def check_room(folder: str, size: int) -> None:
    """OSError where the disk of `folder` has no room for `size` more bytes."""
    free = shutil.disk_usage(folder).free
    if size + _SPARE > free:
        raise OSError(
            f"a temporary copy of {size} bytes does not fit into {folder}, which has {free} bytes left; "
            f"set TMPDIR to a folder on a larger disk"
        )


def _temporary_folder() -> str:
    global _folder
    with _lock:
        if _folder is None:
            _folder = tempfile.mkdtemp(prefix="robodf-")
            atexit.register(_remove, _folder, os.getpid())
        return _folder


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child must not delete what its parent reads
        shutil.rmtree(folder, ignore_errors=True)


def _renew_locks() -> None:
    """In a forked child: a lock that another thread held would never be released."""
    global _lock
    _lock = threading.Lock()
    _making.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _mark(source: FileReader) -> tuple[int, ...]:
    """What changes when a file of the same size does."""
    if source.local is not None:
        status = os.stat(source.local)
        return status.st_mtime_ns, status.st_ino
    edge = min(source.size, 64 << 10)
    return zlib.crc32(source.read_at(0, edge)), zlib.crc32(source.read_at(source.size - edge, edge))


def _pieces(source: FileReader, step: int = _STEP) -> Iterator[bytes]:
    for at in range(0, source.size, step):
        yield source.read_at(at, min(step, source.size - at))


def _inflated(source: FileReader, name: str, tolerant: bool) -> Iterator[bytes]:
    """The frames of a zstd file, one behind the other."""
    import zstandard

    most = max(ALWAYS_ALLOWED, MAX_EXPANSION * source.size)
    folder = _temporary_folder()
    written = checked = 0
    decoder = None
    problem = f"is empty ({source.size} bytes)" if source.size == 0 else None
    try:
        for piece in _pieces(source, 1 << 20):
            for at in range(0, len(piece), _FEED):
                data = piece[at : at + _FEED]
                while data:
                    if decoder is None:
                        decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
                    out = decoder.decompress(data)
                    data = b""
                    if decoder.eof:
                        data, decoder = decoder.unused_data, None
                    written += len(out)
                    if written > most:
                        raise FileFormatError(
                            f"{name}: {source.size} bytes of zstd become more than {most} bytes, which is not "
                            f"believed; decompress it yourself if it is right"
                        )
                    if written - checked >= _SPARE // 2:
                        check_room(folder, 0)
                        checked = written
                    if out:
                        yield out
    except zstandard.ZstdError as error:
        problem = f"its zstd data is damaged after {written} decompressed bytes ({error})"
    if problem is None and decoder is not None:
        problem = f"its zstd data is cut off after {written} decompressed bytes"
    if problem is not None and not (tolerant and written):
        raise FileFormatError(f"{name}: {problem}")
