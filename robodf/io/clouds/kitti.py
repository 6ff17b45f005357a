"""The clouds of KITTI: files of x, y, z and reflectance as little-endian float32, with no header."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.clouds.header import BLOCK, Box, CloudHeader, blocks, numbers

if TYPE_CHECKING:
    import numpy as np

    from robodf.io.files import FileReader

_FIELDS = ("x", "y", "z", "intensity")
_STEP = 16


def header(file: FileReader) -> CloudHeader:
    if file.size % _STEP:
        raise FileFormatError(f"{file.path}: {file.size} bytes are no whole points of {_STEP}: no cloud of KITTI")
    points = file.size // _STEP
    return CloudHeader("kitti", points, tuple((name, pl.Float32()) for name in _FIELDS), None, points, 1)


def read(
    file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any, box: Box | None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    import numpy as np

    for first, last, which in blocks(take, header.points, BLOCK // _STEP):
        found: dict[str, np.ndarray] = {}
        if names:
            data = file.read_at(first * _STEP, (last - first) * _STEP)
            table = np.frombuffer(data, "<f4").reshape(-1, len(_FIELDS))
            found = {name: np.ascontiguousarray(table[which, _FIELDS.index(name)]) for name in names}
        yield numbers(which, first), found
