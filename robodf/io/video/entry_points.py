"""Whether decoding can start at a packet that its container calls a key frame.

Some writers call every packet one, and with intra refresh no single picture is whole. A picture that is decoded from
such a place on looks right and is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

_MOST_UNITS = 256  # of a packet, before its first picture


def starts(codec: str, extradata: bytes) -> Callable[[memoryview], bool | None] | None:
    """A function of the bytes of a packet: True where decoding can start at it, None where it shows no picture.

    None for codecs whose containers are to be believed.
    """
    if codec == "h264":
        return _of_units(extradata, 4, _h264)
    if codec == "hevc":
        return _of_units(extradata, 21, _hevc)
    if codec in ("av1", "libdav1d"):
        return _av1
    if codec == "vp8":
        return _vp8
    if codec == "vp9":
        return _vp9
    return None


def closed(codec: str) -> Callable[[memoryview], bool]:
    """A function of a packet at which decoding can start: whether what follows it needs nothing before it.

    After others come pictures that are shown before it and need what is before it.
    """
    if codec == "h264":
        idr = _of_units(b"", 4, _h264_idr)
    elif codec == "hevc":
        idr = _of_units(b"", 21, _hevc_idr)
    else:
        return lambda packet: True
    return idr


def _of_units(extradata: bytes, at: int, decide: Callable[[memoryview], bool | None]) -> Callable[[memoryview], bool]:
    """For NAL units behind their length (the configuration record says how long that is), or after start codes."""
    prefixed = len(extradata) > at and extradata[0] == 1
    length = (extradata[at] & 3) + 1 if prefixed else 0

    def starts_here(packet: memoryview) -> bool:
        for unit in _prefixed(packet, length) if prefixed else _annex_b(packet):
            found = decide(unit)
            if found is not None:
                return found
        return False

    return starts_here


def _prefixed(packet: memoryview, length: int) -> Iterator[memoryview]:
    at = 0
    for _ in range(_MOST_UNITS):
        if at + length >= len(packet):
            return
        size = int.from_bytes(packet[at : at + length])
        yield packet[at + length : at + length + size]
        at += length + size


def _annex_b(packet: memoryview) -> Iterator[memoryview]:
    data = bytes(packet)
    at = data.find(b"\0\0\1")
    for _ in range(_MOST_UNITS):
        if at < 0:
            return
        after = data.find(b"\0\0\1", at + 3)
        yield packet[at + 3 : after if after >= 0 else len(data)]
        at = after


def _h264(unit: memoryview) -> bool | None:
    """ITU-T H.264, table 7-1: an IDR picture, or a picture at which recovery is said to be complete at once."""
    kind = unit[0] & 0x1F if unit else 0
    if kind == 6:
        return True if _recovers(unit[1:]) else None
    return kind == 5 if 1 <= kind <= 5 else None


def _h264_idr(unit: memoryview) -> bool | None:
    kind = unit[0] & 0x1F if unit else 0
    return kind == 5 if 1 <= kind <= 5 else None


def _recovers(messages: memoryview) -> bool:
    """ITU-T H.264, D.1.8: a recovery point after no frame. The message is first in its unit, or behind others."""
    at = 0
    while at + 2 < len(messages):
        kind, size = messages[at], messages[at + 1]
        if kind == 6:
            return bool(messages[at + 2] & 0x80)  # recovery_frame_cnt is 0: the code of one bit
        if kind == 0xFF or size == 0xFF:
            return False
        at += 2 + size
    return False


def _hevc(unit: memoryview) -> bool | None:
    """ITU-T H.265, table 7-1: types 0 to 31 are slices, 16 to 21 those of pictures where decoding can start."""
    kind = unit[0] >> 1 & 0x3F if unit else 63
    return 16 <= kind <= 21 if kind <= 31 else None


def _hevc_idr(unit: memoryview) -> bool | None:
    """ITU-T H.265, 7.4.2.2: 16 to 18 are pictures after which leading ones are left out, 19 and 20 have none."""
    kind = unit[0] >> 1 & 0x3F if unit else 63
    return 16 <= kind <= 20 if kind <= 31 else None


def _av1(packet: memoryview) -> bool:
    """AV1 specification, 5.3 and 5.9.2: the first frame header is of a key frame that is shown."""
    at = 0
    for _ in range(_MOST_UNITS):
        if at >= len(packet):
            return False
        head = packet[at]
        kind, at = head >> 3 & 15, at + (2 if head & 4 else 1)
        size, shift = len(packet) - at, 0
        if head & 2:
            size = 0
            while at < len(packet) and shift < 56:
                size |= (packet[at] & 0x7F) << shift
                at, shift = at + 1, shift + 7
                if packet[at - 1] < 0x80:
                    break
        if kind in (3, 6):  # a frame header, a frame
            return at < len(packet) and packet[at] & 0xF0 in (0x10,)
        at += size
    return False


def _vp8(packet: memoryview) -> bool | None:
    """RFC 6386, 9.1: the lowest bit is 0 for a key frame; the fifth says that it is shown."""
    if len(packet) < 3:
        return False
    return not packet[0] & 1 if packet[0] >> 4 & 1 else None


def _vp9(packet: memoryview) -> bool:
    """VP9 bitstream specification, 6.2: no frame is repeated, and it is a key frame."""
    if not len(packet) or packet[0] >> 6 != 2:
        return False
    further = 5 if packet[0] & 0x30 == 0x30 else 4  # bits before; of profile 3 one is reserved
    return packet[0] >> (7 - further) & 1 == 0 and packet[0] >> (6 - further) & 1 == 0
