"""Whether a container ends where it says that it does: FFmpeg gives what is there of a cut file, and says nothing."""

from __future__ import annotations

from robodf.io.file_object import open_object
from robodf.io.files import StorageOptions

_MOST = 1 << 20  # boxes: fragments are two each


def missing(path: str, storage: StorageOptions) -> str | None:
    """What is wrong, or None; of MP4, Matroska and AVI, as other containers do not say how long they are."""
    with open_object(path, storage) as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(64)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            return _boxes(file, size, path)
        end = None
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            end = 8 + int.from_bytes(head[4:8], "little")
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            end = _segment(head)
    if end is not None and end > size:
        return f"{path}: cut off: it ends at byte {size}, but says that it has {end}"
    return None


def _boxes(file, size: int, path: str) -> str | None:  # type: ignore[no-untyped-def]
    """ISO/IEC 14496-12, 4.2: a box has its size in 32 bits, in 64 where that is 1, and ends the file where it is 0."""
    at = 0
    for _ in range(_MOST):
        if at + 8 > size:
            break
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[8:16])
        if length == 0:
            break
        if length < 8 or at + length > size:
            kind = head[4:8].decode("latin-1")
            return f"{path}: cut off: the box {kind!r} at byte {at} has {length} bytes, but the file ends at {size}"
        at += length
    return None


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
