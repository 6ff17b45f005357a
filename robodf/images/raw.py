"""Raw pixels as sensor_msgs/Image has them, checked before they are used as a layout of memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from robodf.errors import SchemaError
from robodf.ros.payloads import payloads

FIELDS = frozenset(("height", "width", "encoding", "step", "data"))
"""A struct with these fields is a raw image."""

_COLOURS = {
    "mono8": (0,), "8uc1": (0,), "rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "8uc3": (2, 1, 0), "rgba8": (0, 1, 2, 3),
    "bgra8": (2, 1, 0, 3), "8uc4": (2, 1, 0, 3),
}  # fmt: skip
_NUMBERS = {"mono16": "u2", "16uc1": "u2", "32fc1": "f4"}


class Layout(NamedTuple):
    """Where the pixels of an image lie in its bytes; `colours` are red, green, blue and alpha, None for numbers."""

    shape: tuple[int, int]
    strides: tuple[int, int]
    dtype: np.dtype
    colours: tuple[int, ...] | None


def described(images: pl.Series, who: str) -> Iterator[tuple | None]:
    """(data, height, width, step, encoding, is_bigendian) of each raw image, None for null."""
    if images.struct.schema["data"] != pl.Binary:
        raise SchemaError(f"{who} takes the data of raw images as bytes (Binary), not {images.struct.schema['data']}")
    fields = images.struct.unnest()
    big = fields["is_bigendian"] if "is_bigendian" in fields.columns else pl.Series([0]).new_from_index(0, len(images))
    rest = zip(fields["height"], fields["width"], fields["step"], fields["encoding"], big)
    for there, data, facts in zip(images.is_not_null(), payloads(fields["data"]), rest):
        yield (data, *facts) if there and data is not None and None not in facts[:4] else None


def layout(image: tuple, most: int) -> Layout | None:
    """Where the pixels of what `described` gives are; None where they do not fit together or are more than `most`."""
    data, height, width, step, encoding, big = image
    kind = str(encoding).lower()
    colours, number = _COLOURS.get(kind), _NUMBERS.get(kind)
    size = len(colours) if colours else int(number[1]) if number else 0
    # All of it comes out of a file.
    if not size or height <= 0 or width <= 0 or height * width > most:
        return None
    if step < width * size or (height - 1) * step + width * size > len(data):
        return None
    dtype = np.dtype(number or "u1").newbyteorder(">" if big else "<")
    return Layout((height, width), (step, size), dtype, colours)


def array(image: tuple, most: int) -> np.ndarray | None:
    """The pixels in an encoding of `IMAGE`: grey, RGB, RGBA or 16 bits; None where they do not fit, and for floats."""
    found = layout(image, most)
    if found is None or found.dtype.kind == "f":
        return None
    data = image[0]
    if found.colours is None or len(found.colours) == 1:
        pixels = np.ndarray(found.shape, found.dtype, data, strides=found.strides)
        return pixels if found.colours else pixels.astype(np.uint16)
    made = np.ndarray((*found.shape, len(found.colours)), np.uint8, data, strides=(*found.strides, 1))
    return made if found.colours in ((0, 1, 2), (0, 1, 2, 3)) else made[:, :, list(found.colours)]
