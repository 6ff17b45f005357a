"""Decoded images as files keep them, and as arrays of one shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, SchemaError, hint
from robodf.images.decode import in_threads
from robodf.images.pillow import MOST_PIXELS, check_pillow, undecodable
from robodf.plan import kernels
from robodf.plan.expr import Expr

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("jpeg", "png")


def encode_image(image: Any, format: str = "jpeg", *, quality: int = 90) -> Expr:
    """Decoded images as bytes of JPEG or PNG, named `data`.

    Takes a column of what `decode` and the readers of images and video give, or of sensor_msgs/Image. PNG keeps the
    pixels. JPEG keeps about what is seen: `quality` is 1 to 100; it has no transparency, which is left out. Null where
    the image is null or its size, step and data do not fit, and for JPEG of 16 bits, which it does not have.

    Needs Pillow: `pip install 'robodf[images]'`.

    >>> import robodf as rd
    >>> df = rd.from_dict({"data": [b"P5 4 2 255 " + bytes(range(8))]}).select(rd.decode("data"))
    >>> png = df.select(rd.encode_image("image", "png"))
    >>> png.select(rd.ros.image_size("data")).collect()["image_size"].to_list()
    [{'width': 4, 'height': 2, 'encoding': 'png'}]
    >>> png.select(rd.decode("data")).collect().equals(df.collect())
    True
    """
    check_pillow("encode_image")
    if format not in FORMATS:
        raise OptionError(f"encode_image: format is jpeg or png, not {format!r}{hint(str(format), FORMATS)}")
    if type(quality) is not int or not 1 <= quality <= 100:
        raise OptionError(f"encode_image: quality is 1 to 100, not {quality!r}")
    # What does not matter makes no other expression.
    kept = quality if format == "jpeg" else 0
    return kernels.call("images.encode", image, format=format, quality=kept).alias("data")  # type: ignore[return-value]


def pixels(image: Any, shape: tuple[int, ...]) -> Expr:
    """Decoded images as arrays of one shape, named `pixels`: Array(UInt8, shape), for training.

    `shape` is (height, width, 3) for rgb8, (height, width, 4) for rgba8, (height, width, 1) or (height, width) for
    mono8. Nothing is resized or converted: an image of another size or encoding is null, and so is null itself. Give
    `rd.decode` a size first where sizes differ.

    >>> import robodf as rd
    >>> df = rd.from_dict({"data": [b"P6 2 1 255 abcdef", b"P5 2 1 255 ab"]})
    >>> df.select(rd.pixels(rd.decode("data"), shape=(1, 2, 3))).collect()["pixels"].to_list()
    [[[[97, 98, 99], [100, 101, 102]]], None]
    """
    whole = isinstance(shape, (tuple, list)) and all(type(n) is int and n > 0 for n in shape)
    if not whole or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise OptionError(f"pixels: shape is (height, width, channels) with 1, 3 or 4 channels, not {shape!r}")
    if shape[0] * shape[1] > MOST_PIXELS:
        raise OptionError(f"pixels: shape={shape!r} has more than {MOST_PIXELS} pixels")
    return kernels.call("images.pixels", image, shape=tuple(shape)).alias("pixels")  # type: ignore[return-value]


def encoded(image: np.ndarray, format: str, quality: int) -> bytes | None:
    """The bytes of an array (height, width) or (height, width, channels); None where the format does not have it."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    if format == "jpeg":
        if image.dtype != np.uint8:
            return None
        image = image[:, :, :3] if image.ndim == 3 else image
    out = BytesIO()
    try:
        made = Image.fromarray(np.ascontiguousarray(image))
        if format == "jpeg":
            made.save(out, "JPEG", quality=quality)
        else:
            made.save(out, "PNG")
    except undecodable():  # such as a picture wider than JPEG has numbers for
        return None
    return out.getvalue()


def _arrays(images: pl.Series, who: str) -> Any:
    from robodf.images.raw import FIELDS, array, described

    if images.dtype == pl.Null:
        return iter([None] * len(images))
    if not isinstance(images.dtype, pl.Struct) or not {f.name for f in images.dtype.fields} >= FIELDS:
        raise SchemaError(
            f"{who} takes decoded images (a struct with height, width, encoding, step and data), not {images.dtype}; "
            "rd.decode makes them"
        )
    return (None if row is None else array(row, MOST_PIXELS) for row in described(images, who))


def _encode(images: pl.Series, *, format: str, quality: int) -> pl.Series:
    found = in_threads(lambda a: None if a is None else encoded(a, format, quality), _arrays(images, "encode_image"))
    return pl.Series(list(found), dtype=pl.Binary)


def _pixels(images: pl.Series, *, shape: Any) -> pl.Series:
    import numpy as np

    wanted = tuple(shape)
    held = wanted[:2] if len(wanted) == 3 and wanted[2] == 1 else wanted
    made = np.zeros((len(images), *wanted), np.uint8)
    fits = np.zeros(len(images), bool)
    for row, image in enumerate(_arrays(images, "pixels")):
        if image is not None and image.dtype == np.uint8 and image.shape == held:
            made[row] = image.reshape(wanted)
            fits[row] = True
    if not len(images):
        return pl.Series([], dtype=_shape(shape=shape))
    known = pl.Series(fits)
    return pl.select(pl.when(known).then(pl.Series(made))).to_series()


def _shape(*, shape: Any) -> pl.DataType:
    return pl.Array(pl.UInt8, tuple(shape))


kernels.register("images.encode", kernels.Kernel(_encode, lambda **_: pl.Binary(), total=True))
kernels.register("images.pixels", kernels.Kernel(_pixels, _shape, total=True))
