"""What the first bytes of compressed images and video say, without decoding them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from robodf.errors import SchemaError
from robodf.plan import kernels
from robodf.plan.expr import as_expr
from robodf.ros.payloads import payloads

_SIZE = pl.Struct({"width": pl.UInt32(), "height": pl.UInt32(), "encoding": pl.String()})
_MOST_SEGMENTS = 512  # of a JPEG before its size, of video before its picture: hostile bytes hold millions


def image_size(data: Any) -> pl.Expr:
    """Size and kind of compressed images, as `Struct(width UInt32, height UInt32, encoding String)`.

    Takes a column of bytes, such as `data` of sensor_msgs/CompressedImage. Reads the header only. `encoding` is
    "jpeg" or "png"; other bytes, and headers that are cut off, are null. The orientation that EXIF may state is not
    applied. (Raw sensor_msgs/Image messages say width, height and encoding themselves.)

    >>> import robodf as rd
    >>> png = b"\\x89PNG\\r\\n\\x1a\\n" + (13).to_bytes(4) + b"IHDR" + (640).to_bytes(4) + (480).to_bytes(4)
    >>> rd.from_dict({"data": [png]}).select(rd.ros.image_size("data")).unnest("image_size").collect().rows()
    [(640, 480, 'png')]
    """
    return kernels.call("ros.image_size", data).alias("image_size")


def is_keyframe(data: Any, format: Any = "format") -> pl.Expr:
    """True for video messages at which a decoder can start, null where the bytes do not say.

    Takes the columns `data` and `format` of foxglove.CompressedVideo (`format` may be `rd.lit("h264")` as well): H.264
    and H.265 in Annex B form. A message is a key frame if its first picture is one: IDR in H.264, one of the
    IRAP types (16 to 21) in H.265. Other formats, and messages without a picture, are null.

    >>> import robodf as rd
    >>> df = rd.from_dict({"format": ["h264", "h264"], "data": [b"\\0\\0\\1\\x65", b"\\0\\0\\0\\1\\x41"]})
    >>> df.select(rd.ros.is_keyframe("data")).collect()["is_keyframe"].to_list()
    [True, False]
    """
    return kernels.call("ros.is_keyframe", data, as_expr(format)).alias("is_keyframe")


def _buffers(data: pl.Series, what: str) -> Iterator[memoryview | None]:
    """The bytes of each row without a copy."""
    if data.dtype != pl.Binary:
        raise SchemaError(f"{what} takes a column of bytes (Binary), not {data.dtype}")
    return payloads(data)


def _image_size(data: pl.Series) -> pl.Series:
    found = [None if bytes_ is None else _jpeg(bytes_) or _png(bytes_) for bytes_ in _buffers(data, "image_size")]
    known = pl.Series([f is not None for f in found], dtype=pl.Boolean)
    columns = zip(*(f or (0, 0, "") for f in found)) if found else ((), (), ())
    made = pl.DataFrame(dict(zip(("width", "height", "encoding"), columns)), schema=dict(_SIZE))
    return made.select(pl.when(known).then(pl.struct(pl.all()))).to_series()


def _png(data: memoryview) -> tuple[int, int, str] | None:
    """ISO/IEC 15948, 5.2 and 11.2.2: the signature, then the chunk IHDR."""
    if len(data) < 24 or data[:8] != b"\x89PNG\r\n\x1a\n" or data[8:16] != b"\0\0\0\x0dIHDR":
        return None
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    return (width, height, "png") if 0 < width < 1 << 31 and 0 < height < 1 << 31 else None


def _jpeg(data: memoryview) -> tuple[int, int, str] | None:
    """ITU-T T.81, annex B: segments of a marker and a length, up to the one that starts a frame (SOF)."""
    if len(data) < 4 or data[:3] != b"\xff\xd8\xff":
        return None
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # which are tables
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            return (width, height, "jpeg") if width and height else None
        elif marker in (0xD9, 0xDA):  # the end, or the picture itself
            return None
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # without a length
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return None


def _h264(first: int) -> bool | None:
    """ITU-T H.264, table 7-1: types 1 to 5 are slices of a picture, 5 those of an IDR picture."""
    kind = first & 0x1F
    return kind == 5 if 1 <= kind <= 5 else None


def _h265(first: int) -> bool | None:
    """ITU-T H.265, table 7-1: types 0 to 31 are slices, 16 to 21 those of pictures where decoding can start."""
    kind = first >> 1 & 0x3F
    return 16 <= kind <= 21 if kind <= 31 else None


_SLICES: dict[str, Callable[[int], bool | None]] = {"h264": _h264, "avc": _h264, "h265": _h265, "hevc": _h265}


def _is_keyframe(data: pl.Series, format: pl.Series) -> pl.Series:
    if format.dtype not in (pl.String, pl.Enum, pl.Categorical):
        raise SchemaError(f"is_keyframe takes the format as text, such as 'h264', not as {format.dtype}")
    found = []
    for bytes_, name in zip(_buffers(data, "is_keyframe"), format.cast(pl.String)):
        slice_of = _SLICES.get((name or "").lower())
        found.append(None if bytes_ is None or slice_of is None else _first_slice(bytes_, slice_of))
    return pl.Series(found, dtype=pl.Boolean)


def _first_slice(data: memoryview, slice_of: Callable[[int], bool | None]) -> bool | None:
    """What the first slice says; units before it are parameters and notes."""
    head, at = bytes(data[:4096]), 0
    for _ in range(_MOST_SEGMENTS):
        at = head.find(b"\0\0\1", at) + 3
        if (at < 3 or at >= len(head)) and len(head) < len(data):
            at, head = max(len(head) - 3, 0) if at < 3 else at - 3, bytes(data)
            at = head.find(b"\0\0\1", at) + 3
        if at < 3 or at >= len(head):
            return None
        found = slice_of(head[at])
        if found is not None:
            return found
    return None


kernels.register("ros.image_size", kernels.Kernel(_image_size, lambda: _SIZE, total=True))
kernels.register("ros.is_keyframe", kernels.Kernel(_is_keyframe, lambda: pl.Boolean(), total=True))
