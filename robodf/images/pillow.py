"""Encoded images through Pillow, where nothing that a file says is believed before it is checked."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MOST_PIXELS = 1 << 26
"""Of an image by its header; one with more is not decoded."""

HEAD = 16
"""Bytes by which a format is recognised."""

FORMATS = "JPEG, PNG, WebP, BMP, GIF, PBM/PGM/PPM, TIFF or JPEG 2000"

_WEBP = 30  # bytes of its header


@cache
def undecodable() -> tuple[type[Exception], ...]:
    """What Pillow raises on bytes that are not what they should be, and on images that it cannot write."""
    from PIL.Image import DecompressionBombError

    return (
        OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, AttributeError,
        MemoryError, RuntimeError, AssertionError, struct.error, zlib.error, Warning, DecompressionBombError,
    )  # fmt: skip


def check_pillow(who: str) -> None:
    """ImportError, on the user's line, where Pillow is not installed."""
    if importlib.util.find_spec("PIL") is None:
        raise ImportError(f"{who} needs Pillow: pip install 'robodf[images]'")


def is_image(head: bytes, size: int = 0) -> bool:
    """Whether a file that starts so is an image of a format that is decoded. Needs no Pillow.

    >>> is_image(b"P5 64 48 255 "), is_image(b"P500,x"), is_image(b"BMW,3")
    (True, False, False)
    """
    name = format_of(head)
    if name == "bmp":  # two letters that a text may start with
        return head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    return name is not None


def format_of(head: bytes) -> str | None:
    """The format by the first bytes: jpeg, png, webp, bmp, gif, ppm, jpeg2000, tiff; None where it is none of these."""
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM":
        return "bmp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#" and len(head) > 2:
        return "ppm"
    if head[:4] == b"\xff\x4f\xff\x51" or head[:12] == b"\0\0\0\x0cjP  \r\n\x87\n":
        return "jpeg2000"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    return None


def _reader(head: bytes) -> Callable[[Any], Any] | None:
    """Pillow's reader by the first bytes.

    Not `Image.open`: it warns of large images by itself, and has formats that run other programs.
    """
    try:
        from PIL import (
            BmpImagePlugin,
            GifImagePlugin,
            Jpeg2KImagePlugin,
            JpegImagePlugin,
            PngImagePlugin,
            PpmImagePlugin,
            TiffImagePlugin,
            WebPImagePlugin,
        )
    except ImportError as error:
        raise ImportError("images are decoded by Pillow: pip install 'robodf[images]'") from error

    return {
        "jpeg": JpegImagePlugin.JpegImageFile,
        "png": PngImagePlugin.PngImageFile,
        "webp": WebPImagePlugin.WebPImageFile if WebPImagePlugin.SUPPORTED else None,
        "bmp": BmpImagePlugin.BmpImageFile,
        "gif": GifImagePlugin.GifImageFile,
        "ppm": PpmImagePlugin.PpmImageFile,
        "jpeg2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
        "tiff": TiffImagePlugin.TiffImageFile,
    }.get(format_of(head) or "")


@contextmanager
def opened(file: Any, head: bytes, most: int | None = None) -> Iterator[Any]:
    """The image of a file object or bytes, its header read; None where it is none, or has more than `most` pixels.

    Pillow raises one of `undecodable()` here, and while the image is used.
    """
    reader = _reader(head)
    if reader is None:
        yield None
        return
    with reader(file if hasattr(file, "read") else BytesIO(file)) as image:
        width, height = image.size
        yield image if 0 < width * height <= (MOST_PIXELS if most is None else most) else None


def decoded(data: Any, size: tuple[int, int] | None = None, nearest: bool = False) -> np.ndarray | None:
    """What `decode` gives, None where it raises."""
    try:
        return decode(data, size, nearest)
    except undecodable():
        return None


def decode(data: Any, size: tuple[int, int] | None = None, nearest: bool = False) -> np.ndarray:
    """The pixels of an encoded image in an encoding of `IMAGE`, resized to (height, width).

    One of `undecodable()` where it has none.
    """
    with opened(data, bytes(data[:HEAD])) as image:
        if image is None:
            raise ValueError(f"no image of {FORMATS} and at most {MOST_PIXELS} pixels")
        if size is not None and not nearest:
            # Of a JPEG: the decoder's own 1/2, 1/4 or 1/8 that is still large enough. Others ignore it.
            image.draft(None, (size[1], size[0]))
        image.load()
        found = resized(image, size, nearest)
        if found is None:
            raise ValueError(f"numbers of mode {image.mode} that do not fit into 16 bits")
        return found


def header(file: Any) -> tuple[int, int, str, str]:
    """Width, height, Pillow's mode and the format of a file object, from its header; one of `undecodable()` if none."""
    head = file.read(_WEBP)
    kind = format_of(head)
    if kind == "webp":  # Pillow would read all of it
        return *_webp(head), kind
    file.seek(0)
    with opened(file, head, 1 << 62) as image:
        if image is None or kind is None:
            raise ValueError(f"no image of {FORMATS}")
        return *image.size, image.mode, kind


def _webp(head: bytes) -> tuple[int, int, str]:
    """RFC 9649, 2.5 to 2.7: the first chunk is VP8 (lossy), VP8L (lossless) or VP8X (with transparency, moving)."""
    if len(head) < _WEBP:
        raise ValueError("cut off in its header")
    kind, body = head[12:16], head[20:]
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF, "RGB"
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, "RGBA" if bits >> 28 & 1 else "RGB"
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
        return width, height, "RGBA" if body[0] & 0x10 else "RGB"
    raise ValueError("no picture in its first chunk")


def resized(image: Any, size: tuple[int, int] | None, nearest: bool = False) -> np.ndarray | None:
    """A loaded image of Pillow as an array of `IMAGE`, in another size where one is given."""
    import numpy as np

    plain = _plain(image)
    if plain is None:
        return None
    if size is not None and plain.size != (size[1], size[0]):
        from PIL.Image import Resampling

        # A mean of two depths is a place where nothing is.
        near = nearest or plain.mode == "I;16"
        plain = plain.resize((size[1], size[0]), Resampling.NEAREST if near else Resampling.BILINEAR)
    return np.asarray(plain)


def _plain(image: Any) -> Any:
    """In a mode that `IMAGE` has an encoding for: L, RGB, RGBA or I;16; None where that would lose what it says."""
    mode = image.mode
    if mode in ("L", "RGB", "RGBA", "I;16"):
        return image
    if mode == "1":
        return image.convert("L")
    if mode.startswith("I"):  # Pillow's own conversion to 8 bits cuts off what is above
        return _sixteen(image)
    if mode == "F":
        return None
    if mode in ("LA", "La", "PA", "RGBa") or (mode == "P" and "transparency" in image.info):
        return image.convert("RGBA")
    return image.convert("RGB")


def _sixteen(image: Any) -> Any:
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        return None
    return Image.fromarray(values.astype(np.uint16))
