"""What a chunk went through when it was written, undone: gzip, shuffle, checksums, LZF, Zstandard, LZ4, Blosc."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

from robodf.io.hdf5.objects import Filter

GZIP, SHUFFLE, FLETCHER, LZF, BLOSC, LZ4, ZSTD = 1, 2, 3, 32000, 32001, 32004, 32015
_NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset", 307: "bzip2", 32008: "bitshuffle", 32013: "zfp", 32026: "blosc2"}

RATIO = 1100
"""How many times larger than its bytes in the file a chunk can be at most, by gzip; others are checked as they go."""


_SMALL = 16 << 10


def problem(filters: tuple[Filter, ...]) -> str:
    """Why chunks of these filters cannot be read, or an empty text."""
    for f in filters:
        if f.number in (GZIP, SHUFFLE, FLETCHER, LZ4, ZSTD):
            continue
        if f.number == LZF:
            package, extra = "lzf", "python-neo-lzf"
        elif f.number == BLOSC:
            package, extra = "numcodecs", "numcodecs"
        else:
            name = _NAMES.get(f.number, f.name or "unknown")
            return f"it is compressed by {name} (filter {f.number}), which is not read: h5repack -f GZIP=4 helps"
        if not _there(package):
            return f"it is compressed by {_LABEL[f.number]}: pip install 'robodf[hdf5]' ({extra})"
    return ""


_LABEL = {LZF: "LZF", BLOSC: "Blosc"}


def _there(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def undo(data: bytes, filters: tuple[Filter, ...], skipped: int, size: int, element: int) -> bytes:
    """The bytes of a chunk, which are `size`; ValueError where they are not.

    Bit k of `skipped` says that filter k was not applied to this chunk.
    """
    for k in reversed(range(len(filters))):
        if not skipped >> k & 1:
            data = _UNDO[filters[k].number](data, filters[k], size, element)
    if len(data) != size:
        raise ValueError(f"a chunk of {len(data)} bytes where {size} are needed")
    return data


def _gzip(data: bytes, _: Filter, size: int, element: int) -> bytes:
    if len(data) <= _SMALL:  # it cannot grow large, and this is quicker
        try:
            return zlib.decompress(data, bufsize=size + 5)
        except zlib.error as error:
            raise ValueError(f"gzip: {error}") from error
    made = zlib.decompressobj()
    try:
        found = made.decompress(data, size + 64)  # a checksum may follow the data
    except zlib.error as error:
        raise ValueError(f"gzip: {error}") from error
    if not made.eof:
        raise ValueError("gzip: the stream is cut off or longer than the chunk")
    return found


def _shuffle(data: bytes, f: Filter, size: int, element: int) -> bytes:
    width = f.values[0] if f.values else element
    if width <= 1 or len(data) < width:
        return data
    whole = len(data) // width
    mixed = np.frombuffer(data, np.uint8, whole * width).reshape(width, whole)
    return mixed.T.tobytes() + data[whole * width :]


def _fletcher(data: bytes, _: Filter, size: int, element: int) -> bytes:
    if len(data) < 4:
        raise ValueError("a chunk without its checksum")
    body, stored = data[:-4], struct.unpack("<I", data[-4:])[0]
    found = _fletcher32(body)
    swapped = (found & 0x00FF00FF) << 8 | (found >> 8) & 0x00FF00FF  # as old versions of HDF5 wrote it
    if stored not in (found, swapped):
        raise ValueError("the checksum of a chunk is wrong")
    return body


def _fletcher32(data: bytes) -> int:
    """Fletcher's sums of 16-bit words, most significant byte first, as the library of HDF5 takes them."""
    words = np.frombuffer(data, ">u2", len(data) // 2).astype(np.uint64)
    first = second = 0
    for start in range(0, len(words), 1 << 16):
        part = words[start : start + (1 << 16)]
        n = len(part)
        weights = np.arange(n, 0, -1, dtype=np.uint64)
        second = (second + n * first + int((part * weights).sum())) % 65535
        first = (first + int(part.sum())) % 65535
    if len(data) % 2:
        first = (first + (data[-1] << 8)) % 65535
        second = (second + first) % 65535
    # Sums that are reduced by folding are never 0 but where all words are.
    any_word = bool(len(data) and (words.any() or data[-1]))
    first, second = (first or 65535 * any_word), (second or 65535 * any_word)
    return second << 16 | first


def _lzf(data: bytes, f: Filter, size: int, element: int) -> bytes:
    import lzf  # type: ignore[import-not-found]

    found = lzf.decompress(data, size + 64)
    if found is None:
        raise ValueError("LZF: the data is larger than the chunk")
    return found


def _zstd(data: bytes, _: Filter, size: int, element: int) -> bytes:
    import zstandard

    try:
        made = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        stated = zstandard.get_frame_parameters(data).content_size
        if stated not in (zstandard.CONTENTSIZE_UNKNOWN, size, size + 4):
            raise ValueError(f"Zstandard: a frame of {stated} bytes")
        if stated != zstandard.CONTENTSIZE_UNKNOWN:
            return made.decompress(data)
        found = bytearray()
        for part in range(0, len(data), 4096):
            found += made.decompress(data[part : part + 4096])
            if len(found) > size + 64:
                raise ValueError("Zstandard: the data is larger than the chunk")
        return bytes(found)
    except zstandard.ZstdError as error:
        raise ValueError(f"Zstandard: {error}") from error


def _lz4(data: bytes, _: Filter, size: int, element: int) -> bytes:
    import lz4.block

    if len(data) < 12:
        raise ValueError("LZ4: the chunk is cut off")
    total, block = struct.unpack_from(">QI", data)
    if total not in (size, size + 4) or not block:
        raise ValueError(f"LZ4: {total} bytes in blocks of {block}")
    at, found = 12, []
    while total:
        wanted = min(block, total)
        (length,) = struct.unpack(">I", data[at : at + 4].ljust(4, b"\0"))
        part = data[at + 4 : at + 4 + length]
        if not length or len(part) != length:
            raise ValueError("LZ4: a block is cut off")
        try:
            piece = part if length == wanted else lz4.block.decompress(part, uncompressed_size=wanted)
        except lz4.block.LZ4BlockError as error:
            raise ValueError(f"LZ4: {error}") from error
        if len(piece) != wanted:
            raise ValueError("LZ4: a block has not the size that it should have")
        found.append(piece)
        at, total = at + 4 + length, total - wanted
    return b"".join(found)


def _blosc(data: bytes, _: Filter, size: int, element: int) -> bytes:
    from numcodecs.blosc import Blosc  # type: ignore[import-not-found]

    if len(data) < 16:
        raise ValueError("Blosc: the chunk is cut off")
    stated, block, held = struct.unpack_from("<III", data, 4)
    if stated not in (size, size + 4) or held != len(data) or block > max(stated, 1):
        raise ValueError(f"Blosc: {stated} bytes in {held} of {len(data)}")
    try:
        return bytes(Blosc().decode(data))
    except RuntimeError as error:
        raise ValueError(f"Blosc: {error}") from error


_UNDO: dict[int, Callable[[bytes, Filter, int, int], bytes]] = {
    GZIP: _gzip, SHUFFLE: _shuffle, FLETCHER: _fletcher, LZF: _lzf, ZSTD: _zstd, LZ4: _lz4, BLOSC: _blosc,
}  # fmt: skip
