"""Payloads that a recorder compressed one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_SIZE = 1 << 30  # decompressed bytes of one piece
_STEP = 1 << 20


def inflated(payloads: Iterable[memoryview]) -> tuple[list[bytes], list[int], str]:
    """`(payloads, bad, reason)`: the decompressed ones, the numbers of those that cannot be, and why the first cannot.

    At most MAX_SIZE bytes are produced, whatever the frames say of themselves.
    """
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    done: list[bytes] = []
    bad: list[int] = []
    reason = ""
    left = MAX_SIZE
    for number, data in enumerate(payloads):
        try:
            size = zstandard.frame_content_size(data)
            if size > left:
                raise zstandard.ZstdError(f"more than {MAX_SIZE} bytes would come out of a few MiB")
            out = decoder.decompress(data) if size > 0 else _stream(decoder, data, left)
        except zstandard.ZstdError as error:
            bad.append(number)
            reason = reason or str(error)
        else:
            left -= len(out)
            done.append(out)
    return done, bad, reason


def _stream(decoder: Any, data: memoryview, most: int) -> bytes:
    """A frame that does not say its size; ZstdError where it is cut off or larger than `most`."""
    import zstandard

    with decoder.stream_reader(data) as reader:
        parts = []
        got = 0
        while part := reader.read(_STEP):
            parts.append(part)
            got += len(part)
            if got > most:
                raise zstandard.ZstdError(f"more than {MAX_SIZE} bytes would come out of a few MiB")
    if not got and zstandard.frame_content_size(data) != 0:
        raise zstandard.ZstdError("it is cut off")
    return b"".join(parts)
