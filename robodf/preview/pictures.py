"""Small pictures of what a column holds: images, encoded or raw, and clouds from above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from robodf.compat import explode_options
from robodf.images.pillow import HEAD, MOST_PIXELS, is_image, opened, resized, undecodable
from robodf.images.raw import FIELDS, array, described, layout
from robodf.plan.expr import as_expr
from robodf.ros.payloads import payloads
from robodf.ros.points import COLUMNS, points

Pictures = Callable[[int], Iterator[np.ndarray | None]]
"""From the longest side in pixels to uint8 arrays (height, width, 3), None where there is none to draw."""

_MOST_POINTS = 200_000  # of a cloud that are drawn
_FEW = 5000  # points are drawn larger
_DARK = (24, 24, 32)
# Anchors of the colour map viridis (matplotlib, CC0), from low to high; the first is lighter, to be seen on the dark.
_VIRIDIS = np.array([(90, 60, 160), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)


def pictures_of(frame: pl.DataFrame, name: str) -> Pictures | None:
    """What draws the values of a column; None where they are nothing to draw. Decodes nothing yet."""
    series = frame.get_column(name)
    dtype = series.dtype
    if name == "data" and dtype == pl.Binary:  # the columns of a message
        if set(frame.columns) >= FIELDS:
            there = [c for c in frame.columns if c in FIELDS or c == "is_bigendian"]
            return _raw(frame.select(pl.struct(there)).to_series())
        for kind, columns in COLUMNS.items():
            if set(columns) <= set(frame.columns):
                return _clouds(frame, as_expr(points(layout=kind)).polars)
    if isinstance(dtype, pl.Struct):
        fields = {field.name: field.dtype for field in dtype.fields}
        if fields.keys() >= FIELDS and fields["data"] == pl.Binary:
            return _raw(series)
        for kind, columns in COLUMNS.items():
            if set(columns) <= fields.keys():
                return _clouds(frame, as_expr(points(layout=kind, cloud=name)).polars)
        if fields.get("data") == pl.Binary:
            return _encoded(series.struct.field("data"))
        return None
    if dtype == pl.Binary:
        return _encoded(series)
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        numbers = {field.name for field in dtype.inner.fields if field.dtype.is_numeric()}
        return _clouds(frame, pl.col(name)) if {"x", "y"} <= numbers else None
    if isinstance(dtype, pl.Array) and dtype.shape[2:] in ((1,), (3,), (4,)) and _inner(dtype) == pl.UInt8:
        return lambda side: (None if row is None else _small(row.to_numpy(), side) for row in series)
    return None


def _inner(dtype: Any) -> Any:
    while isinstance(dtype, pl.Array):
        dtype = dtype.inner
    return dtype


# -- images ---------------------------------------------------------------------------------------------------


def _encoded(data: pl.Series) -> Pictures | None:
    heads = (bytes(value[:32]) for value in payloads(data) if value is not None)
    if not any(is_image(head) for head in heads):
        return None
    return lambda side: (None if value is None else _thumbnail(value, side) for value in payloads(data))


def _thumbnail(data: memoryview, side: int) -> np.ndarray | None:
    try:
        with opened(data, bytes(data[:HEAD])) as image:
            if image is None:
                return None
            width, height = image.size
            image.draft(None, (min(side, width), min(side, height)))
            image.load()
            return _small(_stretched(np.asarray(image)) if image.mode[0] in "IF" else resized(image, None), side)
    except undecodable():
        return None


def _raw(images: pl.Series) -> Pictures:
    return lambda side: (None if row is None else _small(_pixels(row), side) for row in described(images, "preview"))


def _pixels(image: tuple) -> np.ndarray | None:
    found = layout(image, MOST_PIXELS)
    if found is None or found.colours is not None:
        return array(image, MOST_PIXELS)
    return _stretched(np.ndarray(found.shape, found.dtype, image[0], strides=found.strides))


def _stretched(numbers: np.ndarray) -> np.ndarray:
    """Depth and other numbers as grey, dark where they are least; what is not finite is black."""
    values = numbers.astype(np.float64)
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(values.shape, np.uint8)
    least, greatest = np.percentile(values[known], [1, 99])
    scaled = (np.where(known, values, least) - least) / max(greatest - least, 1e-300)
    return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def _small(image: np.ndarray | None, side: int) -> np.ndarray | None:
    """As RGB, its longer side at most `side`; what is transparent lies on white."""
    from PIL import Image

    if image is None or 0 in image.shape:
        return None
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.dtype == np.uint16:
        image = _stretched(image)
    made = Image.fromarray(np.ascontiguousarray(image))
    made.thumbnail((side, side), Image.Resampling.BILINEAR)
    if made.mode == "RGBA":
        made = Image.alpha_composite(Image.new("RGBA", made.size, "white"), made)
    return np.asarray(made.convert("RGB"))


# -- clouds ---------------------------------------------------------------------------------------------------


def _clouds(frame: pl.DataFrame, cloud: pl.Expr) -> Pictures:
    def draw(side: int) -> Iterator[np.ndarray | None]:
        for row in range(frame.height):
            found = frame[row].select(cloud).to_series()
            if found.is_null().all():
                yield None
                continue
            yield from_above(found.explode(**explode_options()).struct.unnest(), side)

    return draw


def from_above(cloud: pl.DataFrame, side: int) -> np.ndarray | None:
    """A cloud seen from above, x up and y to the left, as robots have it (REP 103), coloured by z.

    The 98 hundredths of the points in the middle fill the picture; both axes have one scale.
    """
    if cloud.height > _MOST_POINTS:
        cloud = cloud.gather_every(-(-cloud.height // _MOST_POINTS))
    x, y = (cloud[name].cast(pl.Float64).to_numpy() for name in "xy")
    z = cloud["z"].cast(pl.Float64).to_numpy() if "z" in cloud.columns else np.zeros(len(x))
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    if not known.any():
        return None
    x, y, z = x[known], y[known], z[known]
    (left, right), (low, high) = np.percentile(y, [1, 99]), np.percentile(x, [1, 99])
    half = max(right - left, high - low, 1e-9) * 0.55
    columns = np.floor((0.5 - (y - (left + right) / 2) / (2 * half)) * side)
    rows = np.floor((0.5 - (x - (low + high) / 2) / (2 * half)) * side)
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    order = np.argsort(z[inside], kind="stable")  # the highest point of a pixel is drawn last
    made = np.full((side, side, 3), _DARK, np.uint8)
    down, across = rows[inside].astype(int)[order], columns[inside].astype(int)[order]
    colours = _colours(z)[inside][order]
    for right, below in ((1, 1), (0, 1), (1, 0), (0, 0)) if len(x) < _FEW else ((0, 0),):
        made[np.minimum(down + below, side - 1), np.minimum(across + right, side - 1)] = colours
    return made


def _colours(z: np.ndarray) -> np.ndarray:
    least, greatest = np.percentile(z, [1, 99])
    at = np.clip((z - least) / max(greatest - least, 1e-9), 0, 1) * (len(_VIRIDIS) - 1)
    return np.stack([np.interp(at, range(len(_VIRIDIS)), _VIRIDIS[:, c]) for c in range(3)], -1).astype(np.uint8)
