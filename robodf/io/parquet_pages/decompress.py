"""The bytes of a page without compression: exactly as many as its header says, or an error."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable

from robodf.io.parquet_pages.thrift import Compact

_EXPANSION = {"SNAPPY": 64, "GZIP": 1100, "LZ4": 300, "ZSTD": 1 << 16}
"""More bytes than these of a byte are in no stream of the codec: memory for them is not taken."""


_kept = threading.local()


def decompressed(data: memoryview, size: int, codec: str) -> memoryview:
    """`size` bytes from a page body; ValueError where it does not hold them."""
    if codec == "UNCOMPRESSED":
        if len(data) != size:
            raise ValueError(f"{len(data)} bytes, where its header has {size}")
        return data
    if size == 0:
        return memoryview(b"")
    if size > len(data) * _EXPANSION.get(codec, 1 << 31) + 1024:
        raise ValueError(f"{len(data)} bytes of {codec} cannot hold the {size} of its header")
    import pyarrow as pa

    try:
        found = _CODECS[codec](data, size)
    except (pa.ArrowException, OSError, zlib.error) as error:
        raise ValueError(f"{codec} that cannot be read: {error}") from error
    if len(found) != size:
        raise ValueError(f"{codec} of {len(found)} bytes, where its header has {size}")
    return memoryview(found).cast("B")  # that of pyarrow is of signed bytes


# What pyarrow's codecs do with a stream of fewer bytes differs: some leave the rest of the memory as it was.


def _snappy(data: memoryview, size: int):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    told = Compact(data).varint()
    if told != size:
        raise ValueError(f"SNAPPY of {told} bytes, where its header has {size}")
    return pa.Codec("snappy").decompress(pa.py_buffer(data), size)


def _zstd(data: memoryview, size: int):  # type: ignore[no-untyped-def]
    import pyarrow as pa
    import zstandard

    decompressor = getattr(_kept, "zstd", None)
    if decompressor is None:
        decompressor = _kept.zstd = zstandard.ZstdDecompressor()  # making one takes as long as a page
    try:
        if zstandard.frame_content_size(data) in (-1, size):
            found = decompressor.decompress(data, max_output_size=size)
            if len(found) == size:
                return found
    except zstandard.ZstdError as error:
        raise ValueError(f"ZSTD that cannot be read: {error}") from error
    return pa.Codec("zstd").decompress(pa.py_buffer(data), size)  # of several frames; fails where the sizes differ


def _gzip(data: memoryview, size: int) -> bytes:
    # One object of pyarrow's is not safe in several threads, and zlib tells the size.
    return zlib.decompressobj(wbits=47).decompress(data, size + 1)


def _lz4(data: memoryview, size: int) -> bytes:
    import lz4.block

    try:
        return lz4.block.decompress(data, uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise ValueError(f"LZ4 that cannot be read: {error}") from error


def _brotli(data: memoryview, size: int) -> bytes:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(pa.py_buffer(data)), "brotli") as stream:
        return stream.read(size + 1)


_CODECS: dict[str, Callable] = {
    "SNAPPY": _snappy,
    "ZSTD": _zstd,
    "GZIP": _gzip,
    "LZ4": _lz4,
    "BROTLI": _brotli,
}
