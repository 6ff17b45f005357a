"""Decompression of chunks whose declared sizes cannot be believed."""

from __future__ import annotations

import bz2

from robodf.io.mcap.inflate import inflate as inflate_common

_PIECE = 1 << 20
_SMALL = 4 << 10


def inflate(compression: str, data: bytes | memoryview, size: int) -> tuple[bytes, str | None]:
    """`(bytes, None)` where `data` holds exactly `size` bytes, else what could be had and what is wrong.

    No more than `size + 1` bytes are ever produced, and memory grows with what really comes out.
    """
    if compression in ("none", "lz4"):
        return inflate_common(compression, data, size)
    if compression != "bz2":
        return b"", f"its compression is {compression!r}; bags know 'none', 'bz2' and 'lz4'"
    out, problem = _bz2(data, size, len(data))
    if problem is not None:
        out, problem = _bz2(data, size, _SMALL)
    return out, problem


def _bz2(data: bytes | memoryview, size: int, feed: int) -> tuple[bytes, str | None]:
    """Decompress `feed` bytes at a time; where that fails, what the checksums of blocks vouch for.

    Several streams may follow each other, as in files made by parallel compressors.
    """
    decoder = bz2.BZ2Decompressor()
    parts: list[bytes] = []
    got = sure = at = 0
    starved = True
    problem = f"it decompresses to more than the {size} bytes it says"
    try:
        while got <= size:
            piece = b""
            if starved:
                if at >= len(data):
                    problem = f"its bz2 data ends after {got} of {size} bytes"
                    break
                piece = data[at : at + feed]
                at += len(piece)
            asked = min(_PIECE, size + 1 - got)
            part = decoder.decompress(piece, max_length=asked)
            parts.append(part)
            got += len(part)
            # Output comes in blocks, each compared with its checksum when the last byte of it is out.
            starved = len(part) < asked
            if starved:
                sure = got
            if decoder.eof:
                at -= len(decoder.unused_data)
                if at == len(data):
                    problem = None if got == size else f"it decompresses to {got} bytes where it says {size}"
                    break
                decoder, starved = bz2.BZ2Decompressor(), True
    except (OSError, ValueError) as error:
        problem = f"its bz2 data is damaged after {sure} bytes ({error})"
    out = b"".join(parts)
    return (out, None) if problem is None else (out[: min(sure, size)], problem)
