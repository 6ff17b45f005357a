"""Many images on one: a contact sheet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from robodf.errors import OptionError, SchemaError
from robodf.images.raw import FIELDS
from robodf.ros.points import COLUMNS

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

GAP = 4
_BACKGROUND = 32
_MISSING = 64


_AT_ONCE = 8  # rows, whose images are held in full size

MOST_PIXELS = 1 << 26
"""Of a whole sheet: three bytes each."""


def small_images(df: PipelineDataFrame, column: str, size: int) -> list[np.ndarray | None]:
    """The images of a column, each at most `size` pixels high and wide."""
    from robodf.preview.pictures import pictures_of

    drawn = {*COLUMNS["ros"], *COLUMNS["foxglove"], *FIELDS} if column == "data" else ()  # a message is its columns
    wanted = df.select([name for name in df.columns if name == column or name in drawn])
    found: list[np.ndarray | None] = []
    for frame in wanted.iter_batches(_AT_ONCE):
        pictures = pictures_of(frame, column)
        found += [None] * frame.height if pictures is None else list(pictures(size))
    if found and all(image is None for image in found):
        raise SchemaError(
            f"contact_sheet: no image is in the first {len(found)} rows of {column!r} ({df.schema[column]})"
        )
    return found


class ContactSheet:
    """Small images in rows, in the order of the frame: shows in a notebook, and is saved as PNG or JPEG.

    `pixels` is the whole, uint8 (height, width, 3); `count` says how many images are on it.
    """

    def __init__(self, images: list[np.ndarray | None], columns: int, size: int):
        rows = -(-len(images) // columns)
        across = min(columns, max(1, len(images)))
        shape = (rows * (size + GAP) + GAP, across * (size + GAP) + GAP, 3)
        self.pixels = np.full(shape, _BACKGROUND, np.uint8)
        self.count = len(images)
        for number, image in enumerate(images):
            top, left = (n * (size + GAP) + GAP for n in divmod(number, columns))
            if image is None:  # grey, so that the others stay in their places
                self.pixels[top : top + size, left : left + size] = _MISSING
                continue
            height, width = image.shape[:2]
            top, left = top + (size - height) // 2, left + (size - width) // 2
            self.pixels[top : top + height, left : left + width] = image

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"ContactSheet of {self.count} images, {width} x {height} pixels: .save('sheet.png')"

    def _repr_html_(self) -> str:
        """The sheet as JPEG; one that would have more than 1 MB is made smaller until it has not."""
        from PIL import Image

        from robodf.preview.table import BYTES, image_tag

        shown = Image.fromarray(self.pixels)
        while True:
            found = image_tag(np.asarray(shown)) or ""
            if found and len(found) <= BYTES:
                return found
            shown = shown.resize((max(1, shown.width * 2 // 3), max(1, shown.height * 2 // 3)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as PNG or JPEG, as the ending of `path` says: .png, .jpg or .jpeg."""
        from robodf.images.encode import encoded

        name = os.fspath(path)
        format = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}.get(os.path.splitext(name)[1].lower())
        if format is None:
            raise OptionError(f"save: a contact sheet is written to .png, .jpg or .jpeg, not {name!r}")
        data = encoded(self.pixels, format, 90)
        if data is None:
            raise OptionError(
                f"save: {self.pixels.shape[1]} x {self.pixels.shape[0]} pixels are more than {format} holds"
            )
        with open(name, "wb") as file:
            file.write(data)
