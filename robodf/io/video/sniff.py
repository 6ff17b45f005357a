"""Whether a file is a video, by its first bytes."""

from __future__ import annotations

_PICTURES = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis", b"jp2 ", b"jpx ")
"""Brands (ISO/IEC 14496-12, 4.3) of files that hold pictures, and of other boxes than video's."""

_STARTS = (b"FLV\x01", b"DKIF\0\0", b"YUV4MPEG2 ", b"\0\0\x01\xba", b"\0\0\x01\xb3")
"""FLV, IVF, Y4M, an MPEG program stream, MPEG-1 and -2 video."""

_UNITS = (
    b"\x09",  # H.264: an access unit delimiter
    b"\x27", b"\x47", b"\x67",  # a sequence parameter set
    b"\x40\x01", b"\x42\x01", b"\x46\x01",  # H.265: parameter sets, an access unit delimiter
)  # fmt: skip
"""What a raw stream of H.264 (ITU-T H.264, 7.3.1) or H.265 (ITU-T H.265, 7.3.1.2) begins with, after a start code."""

_SYNC, _PACKETS = 0x47, 8
"""What each packet of an MPEG transport stream begins with, and how many are looked at: it is a letter, too."""


def is_video(head: bytes, size: int) -> bool:
    """Whether a file that begins so is one. Of an MP4 the brand says so; a file of QuickTime may have none.

    >>> is_video(bytes([0, 0, 0, 32]) + b"ftypdash", 1000), is_video(bytes([0, 0, 0, 32]) + b"ftypheic", 1000)
    (True, False)
    """
    first, kind = int.from_bytes(head[:4]), head[4:8]
    if kind == b"ftyp":
        return head[8:12] not in _PICTURES
    if kind in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return first in (0, 1) or 8 <= first <= size
    if head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    if head[:3] == b"\0\0\x01" or head[:4] == b"\0\0\0\x01":
        return head[3 + (head[2] == 0) :].startswith(_UNITS)
    return _packets(head, 188, 0) or _packets(head, 192, 4)


def _packets(head: bytes, length: int, at: int) -> bool:
    """Whether packets of an MPEG transport stream follow each other, in a stream as it is or with times (M2TS)."""
    marks = head[at::length]
    return len(marks) >= _PACKETS and all(mark == _SYNC for mark in marks)
