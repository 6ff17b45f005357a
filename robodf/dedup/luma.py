"""Images into small luma pictures, and these into perceptual hashes. See `phash` for what the hash is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from math import cos, pi
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import SchemaError
from robodf.images.pillow import HEAD, MOST_PIXELS, opened, undecodable
from robodf.images.raw import FIELDS, described, layout
from robodf.ros.payloads import payloads

SIDE = 32
_LOW = 8
_AT_ONCE = 256  # images; only the memory that it takes depends on it
_STRIP = 1 << 18  # pixels of a raw image turned into luma at once

# The frequencies as integers, so that sums are exact in any order: 2**24 * (2**13 * 2**5)**2 is less than 2**63.
_DCT = np.array([[round(8192 * cos(pi * (2 * x + 1) * k / 64)) for x in range(SIDE)] for k in range(_LOW)], np.int64)


def hashes(images: pl.Series) -> pl.Series:
    """The perceptual hash of each image, null where there is none; SchemaError for a type that holds no images."""
    dtype = images.dtype
    if dtype in (pl.UInt64, pl.Null):
        return images.cast(pl.UInt64)
    if isinstance(dtype, pl.Struct):
        names = {field.name for field in dtype.fields}
        if names >= FIELDS:
            return _hashed(described(images, "phash"), raw_luma)
        if "data" in names:
            images = images.struct.field("data")
    if images.dtype != pl.Binary:
        raise SchemaError(
            "phash takes encoded images (Binary), raw ones (a struct with height, width, encoding, step and data) or "
            f"hashes (UInt64), not {dtype}"
        )
    return _hashed(payloads(images), luma)


def _hashed(images: Iterator[Any], small: Callable[[Any], np.ndarray | None]) -> pl.Series:
    """Decoders do not hold the GIL, so threads are of use."""

    def means(image: Any) -> np.ndarray | None:
        found = None if image is None else small(image)
        return None if found is None else area_means(found)

    made = [pl.Series([], dtype=pl.UInt64)]
    with ThreadPoolExecutor(pl.thread_pool_size(), "robodf-phash") as pool:
        while batch := list(islice(images, _AT_ONCE)):
            found = list(pool.map(means, batch))
            some = np.array([m for m in found if m is not None], np.int64).reshape(-1, SIDE, SIDE)
            values = iter(hash_of(some).tolist())
            made.append(pl.Series([None if m is None else next(values) for m in found], dtype=pl.UInt64))
    return pl.concat(made)


def hash_of(means: np.ndarray) -> np.ndarray:
    """(n,) uint64: the hashes of n pictures (n, 32, 32) int64 of at most 2**24."""
    low = (_DCT @ (means @ _DCT.T)).reshape(-1, _LOW * _LOW)
    # Above the mean of the two in the middle is above the lower of them.
    middle = np.partition(low, 31, axis=1)[:, 31:32]
    bits = low > middle
    bits[:, 0] = True  # it always is, but where all is black
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(-1)


def area_means(picture: np.ndarray) -> np.ndarray:
    """(32, 32) int64: the means over equal parts of a picture of unsigned integers, in 1/256, rounded down."""
    area = 1
    # The longer side first: one that is shorter than 32 is then repeated where it takes no memory.
    for axis in (0, 1) if picture.shape[0] >= picture.shape[1] else (1, 0):
        if picture.shape[axis] < SIDE:
            picture = np.repeat(picture, SIDE, axis)
        length = picture.shape[axis]
        area *= length
        first, part = np.divmod(np.arange(SIDE + 1) * length, SIDE)
        whole = np.add.reduceat(picture, first[:-1], axis, dtype=np.int64)
        # A part ends within a pixel: that many 32nds of it belong to this part, and not to the next.
        ends = picture.take(np.minimum(first, length - 1), axis).astype(np.int64)
        ends *= part[:, None] if axis == 0 else part
        picture = SIDE * whole + np.diff(ends, axis=axis)
    return picture * 256 // area


def luma(data: Any) -> np.ndarray | None:
    """The luma of an encoded image, of a JPEG as small as its decoder makes it; None where it cannot be decoded."""
    try:
        with opened(data, bytes(data[:HEAD]), MOST_PIXELS) as image:
            if image is None:
                return None
            # Of a JPEG: the decoder's own 1/2, 1/4 or 1/8 of the size, and no colours. Others ignore it.
            image.draft("L", (SIDE, SIDE))
            image.load()
            return _plain(image)
    except undecodable():
        return None


def _plain(image: Any) -> np.ndarray | None:
    """The pixels of an image that Pillow has loaded, as unsigned integers."""
    if image.mode == "F":
        return _stretched(np.asarray(image))
    if image.mode.startswith("I"):  # 16 bits, which Pillow's own conversion to luma cuts off
        return np.clip(np.asarray(image), 0, 0xFFFF).astype(np.uint16)
    image.info.pop("transparency", None)  # of a palette; Pillow warns of it
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _stretched(values: np.ndarray) -> np.ndarray:
    """Floats into 16 bits between the least and the greatest; what is not finite is the least."""
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint16)
    least, greatest = values[finite].min(), values[finite].max()
    if not greatest > least:
        return np.zeros(values.shape, np.uint16)
    scaled = (np.where(finite, values, least) / 2 - least / 2) / (greatest / 2 - least / 2)
    return np.floor(scaled * 0xFFFF).astype(np.uint16)


def raw_luma(image: tuple) -> np.ndarray | None:
    """The luma of (data, height, width, step, encoding, is_bigendian); None where they do not fit together."""
    found = layout(image, MOST_PIXELS)
    if found is None:
        return None
    data, (shape, strides, dtype, colours) = image[0], found
    height, width = shape
    if colours is None:
        pixels = np.ndarray(shape, dtype, data, strides=strides)
        return _stretched(pixels) if dtype.kind == "f" else pixels.astype(np.uint16)
    if len(colours) == 1:
        return np.ndarray(shape, dtype, data, strides=strides)
    made = np.empty(shape, np.uint8)
    planes = [np.ndarray(shape, dtype, data, c, strides) for c in colours[:3]]
    rows = max(1, _STRIP // width)
    for first in range(0, height, rows):
        red, green, blue = (p[first : first + rows].astype(np.uint32) for p in planes)
        # BT.601 as Pillow computes it, so that the pixels of a PNG and of a raw image are the same.
        made[first : first + rows] = red * 19595 + green * 38470 + blue * 7471 + 0x8000 >> 16
    return made
