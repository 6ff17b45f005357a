"""Whether a container is what it says, as far as FFmpeg does not look.

It gives what is there of a file that is cut off and says nothing, and takes memory for as many samples as a header
claims.
"""

from __future__ import annotations

from typing import Any

from robodf.errors import FileFormatError
from robodf.io.file_object import open_object
from robodf.io.files import StorageOptions
from robodf.io.video.opening import FIRST_BOXES

_MOST = 1 << 20  # boxes: fragments are two each
_PLAIN = (b"mdat", b"free", b"skip", b"wide")  # hold no other boxes
_COUNTS = {b"stsz": 12, b"stz2": 12, b"trun": 8}  # boxes, and where they say how many samples there are
_BLOCK, _LONGEST = 1 << 20, 16


def missing(path: str, storage: StorageOptions) -> str | None:
    """What is cut off, or None; of MP4, Matroska and AVI, as other containers do not say how long they are.

    FileFormatError for headers that cannot be true.
    """
    with open_object(path, storage) as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(64)
        if head[4:8] in FIRST_BOXES:
            return _boxes(file, size, path)
        end = None
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            end = 8 + int.from_bytes(head[4:8], "little")
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            end = _segment(head)
    if end is not None and end > size:
        return f"{path}: cut off: it ends at byte {size}, but says that it has {end}"
    return None


def _boxes(file: Any, size: int, path: str) -> str | None:
    """ISO/IEC 14496-12, 4.2: a box has its size in 32 bits, in 64 where that is 1, and ends the file where it is 0."""
    at = 0
    for _ in range(_MOST):
        if at + 8 > size:
            break
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        end = size if length == 0 else at + length
        if kind not in _PLAIN:
            _check_counts(file, at, min(end, size), size, path)
        if length == 0:
            break
        if length < 8 or end > size:
            return (
                f"{path}: cut off: the box {kind.decode('latin-1')!r} at byte {at} has {length} bytes, "
                f"but the file ends at {size}"
            )
        at = end
    return None


def _check_counts(file: Any, at: int, end: int, size: int, path: str) -> None:
    """FileFormatError for more samples than a file of this size has: FFmpeg takes memory for each before it looks."""
    file.seek(at)
    rest = b""
    while at < end:
        block = rest + file.read(min(_BLOCK, end - at))
        if len(block) == len(rest):
            return
        at += len(block) - len(rest)
        for kind, offset in _COUNTS.items():
            found = block.find(kind)
            while found >= 0:
                count = int.from_bytes(block[found + offset : found + offset + 4])
                if count > 2 * size:
                    raise FileFormatError(
                        f"{path}: near byte {at - len(block) + found}: {count:,} samples in a file of {size:,} bytes"
                    )
                found = block.find(kind, found + 4)
        if b"cmov" in block:
            raise FileFormatError(f"{path}: near byte {at - len(block)}: a compressed header, which is not read")
        rest = block[-_LONGEST:] if at < end else b""


def _segment(head: bytes) -> int | None:
    """RFC 8794, 4: where the one segment behind the EBML header ends; None where it does not say."""
    size, at = _number(head, 4)
    if size is None:
        return None
    at += size
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return None
    size, at = _number(head, at + 4)
    return None if size is None else at + size


def _number(data: bytes, at: int) -> tuple[int | None, int]:
    if at >= len(data) or not data[at]:
        return None, at + 1
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length]) & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length
