"""Images of datasets: decoded ones, and encoded ones that are padded to the longest."""

from __future__ import annotations

import numpy as np
import polars as pl

from robodf.images.layout import IMAGE
from robodf.io.hdf5.objects import Dataset

_ENCODINGS = {(1, 1): "mono8", (3, 1): "rgb8", (4, 1): "rgba8", (1, 2): "mono16"}
_STARTS = (b"\xff\xd8\xff", b"\x89PNG")


def image_column(raw: np.ndarray, found: Dataset) -> pl.Series:
    """Images (height, width[, channels]) of a dataset as `robodf.images.layout.IMAGE`."""
    height, width, *channels = found.item
    count = channels[0] if channels else 1
    size = found.type.size
    if found.type.dtype is not None and found.type.dtype.str.startswith(">") and size > 1:
        raw = raw.reshape(len(raw), -1, size)[:, :, ::-1].reshape(len(raw), -1)
    facts = {
        "height": pl.Series([height], dtype=pl.UInt32),
        "width": pl.Series([width], dtype=pl.UInt32),
        "encoding": pl.Series([_ENCODINGS[count, size]], dtype=pl.String),
        "step": pl.Series([width * count * size], dtype=pl.UInt32),
    }
    rows = [pl.Series(name, one).new_from_index(0, len(raw)) for name, one in facts.items()]
    data = pl.Series("data", [row.tobytes() for row in raw], dtype=pl.Binary)
    return pl.DataFrame([*rows, data]).to_struct().cast(IMAGE)


def without_padding(raw: np.ndarray) -> pl.Series:
    """Encoded images without the zeros that pad them.

    Neither JPEG nor PNG ends with a zero, so that this is exact, whatever the file says of lengths. (The cameras of
    `compress_len` are in the order of the recorder's configuration, which is not in the file.) Other bytes are kept.
    """
    rows = [row.tobytes() for row in raw]
    return pl.Series([r.rstrip(b"\0") if r.startswith(_STARTS) else r for r in rows], dtype=pl.Binary)
