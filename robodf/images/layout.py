"""What a column of decoded images is, the same for frames of video, image files and messages.

`IMAGE` is a struct: height and width in pixels, `encoding` ("mono8", "rgb8", "rgba8", "mono16"), `step` (bytes of a
row) and `data` (height * step bytes, row by row from the top). These are the fields of sensor_msgs/Image, so that
images of logs and of files are handled alike. Images of one column may differ in size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from robodf.ros.payloads import payloads

IMAGE = pl.Struct(
    {"height": pl.UInt32(), "width": pl.UInt32(), "encoding": pl.String(), "step": pl.UInt32(), "data": pl.Binary()}
)

_ENCODINGS = {(1, "uint8"): "mono8", (3, "uint8"): "rgb8", (4, "uint8"): "rgba8", (1, "uint16"): "mono16"}
_SHAPES = {name: (channels, np.dtype(dtype)) for (channels, dtype), name in _ENCODINGS.items()}


def to_column(images: Iterable[np.ndarray | None]) -> pl.Series:
    """A column of images from arrays (height, width) or (height, width, channels); None is null.

    ValueError for arrays that are no images: uint8 of 1, 3 or 4 channels, uint16 of one.

    >>> to_column([np.zeros((2, 3, 3), np.uint8)])[0]["encoding"]
    'rgb8'
    """
    rows: list[dict | None] = []
    for image in images:
        if image is None:
            rows.append(None)
            continue
        channels = 1 if image.ndim == 2 else image.shape[2] if image.ndim == 3 else 0
        encoding = _ENCODINGS.get((channels, image.dtype.name))
        if encoding is None:
            raise ValueError(f"an array of shape {image.shape} and type {image.dtype} is no image")
        step = image.shape[1] * channels * image.dtype.itemsize
        rows.append(
            {"height": image.shape[0], "width": image.shape[1], "encoding": encoding, "step": step,
             "data": np.ascontiguousarray(image).tobytes()}
        )  # fmt: skip
    return pl.Series(rows, dtype=IMAGE)


def to_arrays(images: pl.Series) -> Iterator[np.ndarray | None]:
    """The images of a column as arrays, (height, width) or (height, width, channels), without a copy.

    None for null, and for a row whose size, step and data do not fit together.

    >>> [a.shape for a in to_arrays(to_column([np.zeros((2, 3, 3), np.uint8)]))]
    [(2, 3, 3)]
    """
    fields = images.struct.unnest()
    facts = fields.select("height", "width", "encoding", "step").iter_rows()
    for (height, width, encoding, step), data in zip(facts, payloads(fields.get_column("data"))):
        if data is None or None in (height, width, step) or encoding not in _SHAPES:
            yield None
            continue
        channels, dtype = _SHAPES[encoding]
        row = width * channels * dtype.itemsize
        if step < row or len(data) < height * step:
            yield None
            continue
        lines = np.frombuffer(data, np.uint8, height * step).reshape(height, step)[:, :row]
        image = np.ascontiguousarray(lines).view(dtype) if step != row else lines.reshape(-1).view(dtype)
        yield image.reshape((height, width) if channels == 1 else (height, width, channels))
