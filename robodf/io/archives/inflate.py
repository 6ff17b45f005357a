"""Compressed files read from the front, in bounded steps, and no further than is believed."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from robodf.errors import FileFormatError
from robodf.io.logs.local_copy import ALWAYS_ALLOWED, MAX_EXPANSION

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

_STEP = 1 << 18
_FEED = 4 << 10  # a zstd block of 4 bytes may become 128 KiB: so little at a time keeps the memory bounded
_WINDOW = 1 << 27
_DAMAGE = (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError)


def compression(head: bytes) -> str | None:
    """The name of the compression of a file that starts so, None where it is none."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


class Forward:
    """The bytes of a compressed file: read and skipped, never backwards.

    >>> import gzip
    >>> file = Forward(io.BufferedReader(io.BytesIO(gzip.compress(b"0123456789"))), "a.gz", 30)
    >>> file.skip(2)
    2
    >>> file.read(3), file.at, file.read(100)
    (b'234', 5, b'56789')
    """

    def __init__(self, file: io.BufferedReader, path: str, size: int):
        self.at = 0
        self._path = path
        self._pieces = _inflated(file, path, size)
        self._rest = memoryview(b"")

    def read(self, count: int) -> bytes:
        """`count` bytes, less where the file ends."""
        parts = []
        while count:
            part = self._next(count)
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def skip(self, count: int) -> int:
        """How many bytes were skipped: less than `count` where the file ends."""
        left = count
        while left and (part := self._next(left)):
            left -= len(part)
        return count - left

    def _next(self, most: int) -> memoryview:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return self._rest
            self._rest = memoryview(piece)
        part, self._rest = self._rest[:most], self._rest[most:]
        self.at += len(part)
        return part


def _inflated(file: io.BufferedReader, path: str, size: int) -> Iterator[bytes]:
    """Pieces of what the file holds; FileFormatError for damage, and for more than `MAX_EXPANSION` times its size."""
    kind = compression(file.peek(6)[:6])
    if kind is None:
        raise FileFormatError(f"{path}: not a compressed file of {', '.join(MAGIC.values())}")
    most = max(ALWAYS_ALLOWED, MAX_EXPANSION * size)
    total = 0
    try:
        for piece in _zstd_steps(file) if kind == "zstd" else _steps(file, _MAKERS[kind]):
            total += len(piece)
            if total > most:
                raise FileFormatError(
                    f"{path}: {size} bytes of {kind} become more than {most} bytes, which is not believed; "
                    "decompress it yourself if it is right"
                )
            yield piece
    except FileFormatError:
        raise
    except _DAMAGE as error:
        said = str(error) or type(error).__name__
        raise FileFormatError(f"{path}: its {kind} data is damaged after {total} decompressed bytes: {said}") from error


_MAKERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: _Gzip(),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_WINDOW * 2),
}


class _Gzip:
    """zlib's decompressor with the interface of the other two."""

    def __init__(self) -> None:
        self._made = zlib.decompressobj(31)
        self._left = b""
        self._full = False

    def decompress(self, data: bytes, most: int) -> bytes:
        out = self._made.decompress(self._left + data, most)
        self._left = self._made.unconsumed_tail
        self._full = len(out) == most
        return out

    @property
    def eof(self) -> bool:
        return self._made.eof

    @property
    def needs_input(self) -> bool:
        return not self._left and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._made.unused_data


def _steps(file: io.BufferedReader, make: Callable[[], Any]) -> Iterator[bytes]:
    """One compressed stream after the other."""
    data = b""
    decoder: Any = None
    while True:
        if not data and (decoder is None or decoder.needs_input):
            data = file.read(_STEP)
            if not data:
                if decoder is not None:
                    raise EOFError("it is cut off")
                return
        if decoder is None:
            data = data.lstrip(b"\0")  # padding, which gzip and xz allow
            if not data:
                continue
            decoder = make()
        out = decoder.decompress(data, _STEP)
        data = b""
        if decoder.eof:
            data, decoder = decoder.unused_data, None
        if out:
            yield out


def _zstd_steps(file: io.BufferedReader) -> Iterator[bytes]:
    import zstandard

    decoder: Any = None
    while data := file.read(_FEED):
        while data:
            if decoder is None:
                decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
            try:
                out = decoder.decompress(data)
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from error
            data = b""
            if decoder.eof:
                data, decoder = decoder.unused_data, None
            if out:
                yield out
    if decoder is not None:
        raise EOFError("it is cut off")
