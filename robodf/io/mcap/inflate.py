"""Decompression of chunks whose declared sizes cannot be believed."""

from __future__ import annotations

from typing import Any

# A chunk is held in memory whole, so one that says it is larger is not read.
MAX_CHUNK_SIZE = 4 << 30
_PIECE = 1 << 20
# Up to this size the output is taken in one allocation, whatever the compressed size.
_TRUSTED_SIZE = 64 << 20
_TRUSTED_RATIO = 256


def inflate(compression: str, data: bytes | memoryview, size: int) -> tuple[bytes, str | None]:
    """`(bytes, None)` where `data` holds exactly `size` bytes, else what could be had and what is wrong.

    No more than `size + 1` bytes are ever produced, and memory grows with what really comes out.
    """
    if size > MAX_CHUNK_SIZE:
        return b"", f"it says it has {size} bytes uncompressed, more than the {MAX_CHUNK_SIZE} that are read"
    if compression in ("", "none"):
        out = bytes(data[:size])
        return out, None if len(data) == size else f"{len(data)} bytes where it says {size}"
    if compression == "lz4":
        out, problem = _lz4(data, size)
    elif compression == "zstd":
        out, problem = _zstd(data, size)
    else:
        return b"", f"its compression is {compression!r}; MCAP knows 'lz4', 'zstd' and '' (none)"
    if len(out) > size:
        return out[:size], f"it decompresses to more than the {size} bytes it says"
    if problem is None and len(out) < size:
        problem = f"it decompresses to {len(out)} bytes where it says {size}"
    return out, problem


def _one_go(size: int, compressed: int) -> bool:
    return size <= _TRUSTED_SIZE or size <= _TRUSTED_RATIO * compressed


def _lz4(data: bytes | memoryview, size: int) -> tuple[bytes, str | None]:
    from lz4.frame import LZ4FrameDecompressor

    if _one_go(size, len(data)):
        try:
            decoder = LZ4FrameDecompressor()
            out = decoder.decompress(data, max_length=size + 1)
        except RuntimeError:
            pass  # again in pieces, to keep what precedes the damage
        else:
            if len(out) < size and not decoder.eof:
                return out, f"its lz4 frame ends after {len(out)} of {size} bytes"
            return out, None
        feed = 4096
    else:
        feed = len(data)
    return _lz4_pieces(LZ4FrameDecompressor(), data, size, feed)


def _lz4_pieces(decoder: Any, data: bytes | memoryview, size: int, feed: int) -> tuple[bytes, str | None]:
    parts: list[bytes] = []
    got, at = 0, 0
    try:
        while got <= size and not decoder.eof:
            piece = b""
            if decoder.needs_input:
                if at >= len(data):
                    return b"".join(parts), f"its lz4 frame ends after {got} of {size} bytes"
                piece = bytes(data[at : at + feed])
                at += feed
            part = decoder.decompress(piece, max_length=min(_PIECE, size + 1 - got))
            parts.append(part)
            got += len(part)
    except RuntimeError as error:
        return b"".join(parts), f"its lz4 data is damaged after {got} bytes ({error})"
    return b"".join(parts), None


def _zstd(data: bytes | memoryview, size: int) -> tuple[bytes, str | None]:
    import zstandard

    try:
        stated = zstandard.get_frame_parameters(data).content_size
        unknown = stated == zstandard.CONTENTSIZE_UNKNOWN
        # A frame that states another size than the chunk does would be allocated as the frame says.
        if (unknown or stated == size) and size and _one_go(size, len(data)):
            out = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
            if len(out) == size:
                return out, None
    except zstandard.ZstdError:
        pass  # again in pieces, to keep what precedes the damage
    window = max(1 << 27, 1 << max(size - 1, 1).bit_length())
    parts: list[bytes] = []
    got = 0
    try:
        decoder = zstandard.ZstdDecompressor(max_window_size=min(window, 1 << 31))
        with decoder.stream_reader(data, read_across_frames=True) as reader:
            step = 4096  # small at first: what a failing call had decoded is lost with it
            while got <= size and (part := reader.read(min(step, size + 1 - got))):
                parts.append(part)
                got += len(part)
                step = min(max(step, got // 64), _PIECE)
    except zstandard.ZstdError as error:
        return b"".join(parts), f"its zstd data is damaged after {got} bytes ({error})"
    return b"".join(parts), None
