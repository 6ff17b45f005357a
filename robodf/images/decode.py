"""Encoded and raw images into decoded ones of one layout, row by row."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import polars as pl

from robodf.errors import OptionError, SchemaError, hint
from robodf.images.pillow import MOST_PIXELS, check_pillow
from robodf.plan import kernels
from robodf.plan.expr import Expr

FILTERS = ("bilinear", "nearest")

_VIDEO = frozenset(("h264", "avc", "h265", "hevc", "vp8", "vp9", "av1"))

A = TypeVar("A")
B = TypeVar("B")


def decode(column: Any, size: tuple[int, int] | None = None, *, filter: str = "bilinear") -> Expr:
    """Images as pixels, named `image`: a struct {height, width, encoding, step, data}, as sensor_msgs/Image.

    Takes a column (name or expression) of

    - bytes (Binary): JPEG, PNG, WebP, BMP, GIF (its first picture), PBM/PGM/PPM, TIFF (its first page), JPEG 2000;
    - a struct with a field `data` of such bytes: sensor_msgs/CompressedImage, foxglove.CompressedImage;
    - a struct of raw pixels, sensor_msgs/Image, of which bgr8, 8UC3, bgra8, 8UC4 become rgb8 and rgba8.

    `encoding` is mono8, rgb8, rgba8 (palettes with transparency too) or mono16 (grey of 16 bits, depth). CMYK, YCbCr
    and palettes become rgb8, one bit becomes mono8 of 0 and 255. Pillow cuts colours of 16 bits to 8. Floats (32FC1,
    TIFF of floats) and integers beyond 16 bits have no encoding: null. Turning that EXIF asks for is not applied, so
    that height and width are those of the header.

    `size` is (height, width) in pixels; the shape of the picture is not kept. A JPEG is then decoded at 1/2, 1/4 or 1/8
    where that is still as large, which is several times as fast. filter="bilinear" weighs all pixels that a new one
    covers (Pillow's BILINEAR); "nearest" takes one, as masks of labels need. Images of 16 bits are always taken so.

    Null where the image is null, cannot be decoded whole, or has more than 2**26 pixels by its header: nothing is
    raised for bad bytes. SchemaError, when the query runs, for a column of another type, and for messages that say that
    they are video: a frame of video needs those before it (`df.decode_video`).

    Needs Pillow: `pip install 'robodf[images]'`.

    >>> import robodf as rd
    >>> pgm = b"P5 4 2 255 " + bytes([0, 0, 100, 100] * 2)
    >>> df = rd.from_dict({"data": [pgm, b"no image"]}).select(rd.decode("data", size=(1, 2)))
    >>> df.collect()["image"].to_list()[0]
    {'height': 1, 'width': 2, 'encoding': 'mono8', 'step': 2, 'data': b'\\x0eV'}
    >>> df.collect()["image"].is_null().to_list()
    [False, True]
    """
    check_pillow("decode")
    if filter not in FILTERS:
        raise OptionError(f"decode: filter is one of {', '.join(FILTERS)}, not {filter!r}{hint(str(filter), FILTERS)}")
    wanted = None if size is None else checked_size(size, "decode")
    return kernels.call("images.decode", column, size=wanted, filter=filter).alias("image")  # type: ignore[return-value]


def checked_size(size: Any, who: str) -> tuple[int, int]:
    """(height, width) as two positive integers of at most `MOST_PIXELS` together."""
    whole = isinstance(size, (tuple, list)) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
    if not whole or size[0] * size[1] > MOST_PIXELS:
        raise OptionError(f"{who}: size is (height, width) in pixels, such as (224, 224), not {size!r}")
    return (size[0], size[1])


def in_threads(run: Callable[[A], B], items: Iterable[A], threads: int | None = None) -> Iterator[B]:
    """What `run` makes of each, in order, some ahead of who takes them. Decoders do not hold the GIL."""
    several = threads or pl.thread_pool_size()
    running: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(several, "robodf-images")
    try:
        for item in items:
            running.append(pool.submit(run, item))
            if len(running) > 2 * several:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(images: pl.Series, *, size: Any, filter: str) -> pl.Series:
    from robodf.images.layout import to_column
    from robodf.images.pillow import decoded

    wanted = None if size is None else (size[0], size[1])
    nearest = filter == "nearest"
    dtype = images.dtype
    if dtype == pl.Null:
        return to_column([None] * len(images))
    if isinstance(dtype, pl.Struct):
        from robodf.images.raw import FIELDS, described

        names = {field.name for field in dtype.fields}
        if names >= FIELDS:
            return to_column(in_threads(lambda row: _raw(row, wanted, nearest), described(images, "decode")))
        if "data" in names:
            _refuse_video(images, names)
            images = images.struct.field("data")
    if images.dtype != pl.Binary:
        raise SchemaError(
            "decode takes encoded images (Binary, or a struct with a field data of it) or raw ones (a struct with "
            f"height, width, encoding, step and data), not {dtype}"
        )
    from robodf.ros.payloads import payloads

    found = in_threads(lambda data: None if data is None else decoded(data, wanted, nearest), payloads(images))
    return to_column(found)


def _raw(image: tuple | None, size: tuple[int, int] | None, nearest: bool) -> Any:
    from robodf.images.raw import array

    pixels = None if image is None else array(image, MOST_PIXELS)
    if pixels is None or size is None or pixels.shape[:2] == size:
        return pixels
    import numpy as np
    from PIL import Image

    from robodf.images.pillow import resized

    return resized(Image.fromarray(np.ascontiguousarray(pixels)), size, nearest)


def _refuse_video(images: pl.Series, names: set[str]) -> None:
    """Where all messages are video: of a mixed column the images are decoded, and the rest is null."""
    if "format" not in names or images.struct.schema["format"] != pl.String:
        return
    kinds = images.struct.field("format").drop_nulls().unique().str.to_lowercase().to_list()
    if kinds and _VIDEO.issuperset(kinds):
        raise SchemaError(
            f"decode: these messages are video ({', '.join(sorted(kinds))}), of which a frame cannot be decoded "
            "without those before it: decode takes images alone. df.decode_video(...) decodes them in their order"
        )


def _image_type(**options: Any) -> pl.DataType:
    from robodf.images.layout import IMAGE

    return IMAGE


kernels.register("images.decode", kernels.Kernel(_decode, _image_type, total=True))
