"""The perceptual hash of images: 64 bits of which those of images that look alike differ in few."""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.plan import kernels
from robodf.plan.expr import Expr


def phash(image: Any) -> Expr:
    """The perceptual hash (pHash) of each image, as UInt64, named `phash`. Needs `pip install 'robodf[images]'`.

    Images that look alike have hashes that differ in few of the 64 bits; two images of different things differ in
    about 32. Takes a column (name or expression) of

    - bytes (Binary): encoded images in JPEG, PNG, WebP, BMP, GIF (its first picture), PGM/PPM, TIFF or
      JPEG 2000;
    - a struct with a field `data` of such bytes: sensor_msgs/CompressedImage, foxglove.CompressedImage;
    - a struct `{height, width, encoding, step, data}` of raw pixels: sensor_msgs/Image, with the encodings mono8, 8UC1,
      rgb8, bgr8, 8UC3, rgba8, bgra8, 8UC4, mono16, 16UC1 and 32FC1 (8UC3 and 8UC4 are taken as bgr8 and bgra8; if
      `is_bigendian` is there, it counts);
    - UInt64: hashes, which stay as they are.

    Null where the image is null, cannot be decoded, has less bytes than it says, or more than 2**26 pixels by its
    header. Nothing is raised for bad bytes. Turning that EXIF asks for is not applied; transparency is not looked at.

    A decoder is asked for luma only, and of a JPEG for an eighth of its size where that leaves 32 x 32 pixels: it then
    reads the frequencies that the hash is of, and no others. So the hash of an image and that of the same image in
    another format are close, not equal (1.4 bits apart on average for photos). The same bytes have the same hash on
    every machine, as long as decoders agree: all after decoding is done in integers.

    From luma Y (BT.601; a depth image as it is; a float image stretched between its least and greatest finite value):
    means over the 32 x 32 equal parts of the image, in 1/256; their DCT-II, with cosines in 1/8192; of that the
    8 x 8 lowest frequencies, the one of the mean among them. A bit is 1 where a frequency is above the median of the
    64 (the mean of the two in the middle). The highest bit is that of the mean, then those of the lowest vertical
    frequency by rising horizontal one, and so on. The bit of the mean is always 1, so an image that is the same all
    over has the hash 2**63: black frames and white frames are all equal.

    Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.

    Raises SchemaError, when the query runs, for a column of another type.

    >>> import robodf as rd
    >>> from robodf.dedup.phash import phash
    >>> pgm = b"P5 64 48 255 " + bytes(x * y % 256 for y in range(48) for x in range(64))
    >>> df = rd.from_dict({"image": [pgm, b"P5 2 2 255 " + bytes(4), b"no image", None]})
    >>> df.select(phash("image")).collect()["phash"].to_list()
    [9224250818276391281, 9223372036854775808, None, None]
    """
    return kernels.call("phash", image).alias("phash")  # type: ignore[return-value]


def _phash(images: pl.Series) -> pl.Series:
    from robodf.dedup.luma import hashes  # NumPy and Pillow take a while to import

    return hashes(images)


kernels.register("phash", kernels.Kernel(_phash, lambda: pl.UInt64(), total=True))
