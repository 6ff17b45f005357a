"""Images that are kept in a Parquet file as those of a picture file, or by the name of one."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator

import numpy as np
import polars as pl

from robodf.errors import FileFormatError, NoFilesError
from robodf.io.error_log import ErrorLog
from robodf.io.files import StorageOptions, open_file
from robodf.io.video.opening import MOST_PIXELS

_KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_LARGEST = 256 << 20


def is_stored_image(dtype: pl.DataType) -> bool:
    """Whether a column is one of images as Hugging Face keeps them: the bytes of a file, or its path."""
    return isinstance(dtype, pl.Struct) and {f.name: f.dtype for f in dtype.fields} == {
        "bytes": pl.Binary,
        "path": pl.String,
    }


def stored_images(
    column: pl.Series, root: str, storage: StorageOptions, path: str, raises: bool, log: ErrorLog
) -> Iterator[np.ndarray | None]:
    """The images of such a column; None for null, and for a broken one where that is no error."""
    fields = column.struct.unnest()
    for data, name in fields.select("bytes", "path").iter_rows():
        if data is None and name is None:
            yield None
            continue
        try:
            yield decoded(data if data is not None else _of_file(root, name, storage), path)
        except (FileFormatError, NoFilesError) as error:
            if raises:
                raise
            log.add(path, str(error))
            yield None


def _of_file(root: str, name: str, storage: StorageOptions) -> bytes:
    """The bytes of a picture file of the data set; a name that leaves its folder is none."""
    parts = name.replace("\\", "/").split("/")
    if os.path.isabs(name) or ".." in parts or ":" in name or "::" in root:
        raise FileFormatError(f"{root}: an image is not in the data set, but in {name[:200]!r}")
    with open_file("/".join([root.rstrip("/"), *parts]), storage) as file:
        if file.size > _LARGEST:
            raise FileFormatError(f"{file.path}: {file.size} bytes are too many for an image")
        return file.read_at(0, file.size)


def decoded(data: bytes, path: str) -> np.ndarray:
    """The pixels of a picture file; FileFormatError, naming the file that holds it, where it is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_KINDS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise FileFormatError(f"{path}: an image of {image.width} x {image.height} pixels is too large")
            if image.mode == "1":
                return np.asarray(image.convert("L"))
            if image.mode in ("L", "RGB", "RGBA"):
                return np.asarray(image)
            if image.mode.startswith("I;16"):
                return np.asarray(image).astype(np.uint16)
            return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, struct.error,
            EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:  # fmt: skip
        raise FileFormatError(f"{path}: an image in it cannot be decoded: {error}") from error
