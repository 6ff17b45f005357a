"""What the columns of a frame are in LeRobot: features with a type and a shape."""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.compat import explode_options
from robodf.errors import QueryError, SchemaError
from robodf.images.layout import IMAGE
from robodf.io.lerobot.cameras import REFERENCE
from robodf.io.messages.encoder import first_true

OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""The columns that every data set has, made anew when one is written."""

_TYPES = {
    pl.Float32: "float32", pl.Float64: "float64", pl.Int8: "int8", pl.Int16: "int16", pl.Int32: "int32",
    pl.Int64: "int64", pl.UInt8: "uint8", pl.UInt16: "uint16", pl.UInt32: "uint32", pl.UInt64: "uint64",
    pl.Boolean: "bool", pl.String: "string",
}  # fmt: skip
DEFAULTS = {name: {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None} for name in OWN}


def check_column(name: str, dtype: pl.DataType) -> None:
    """SchemaError for a column that LeRobot has no feature for."""
    if dtype in (IMAGE, REFERENCE):
        return
    if "/" in name:
        raise SchemaError(f"to_lerobot: LeRobot has no feature with a '/' in its name: rename the column {name!r}")
    inner = dtype
    while isinstance(inner, (pl.List, pl.Array)):
        inner = inner.inner  # type: ignore[assignment]
    if type(inner) not in _TYPES or (isinstance(inner, pl.String) and inner is not dtype):
        raise SchemaError(
            f"to_lerobot: LeRobot has no feature of the type {dtype} of column {name!r}; cast it to numbers, booleans, "
            "text or vectors of numbers, decode it to images, or drop it"
        )


class Vector:
    """One column of values on its way: it learns its shape from the first rows, and holds the others to it."""

    def __init__(self, name: str, dtype: pl.DataType):
        self.name = name
        self.dtype = dtype
        self.shape: tuple[int, ...] | None = None if isinstance(dtype, pl.List) else _known(dtype)

    @property
    def kind(self) -> str:
        """The name of the type of a value."""
        inner = self.dtype
        while isinstance(inner, (pl.List, pl.Array)):
            inner = inner.inner  # type: ignore[assignment]
        return _TYPES[type(inner)]

    @property
    def feature(self) -> dict[str, Any]:
        """Its description in info.json."""
        return {"dtype": self.kind, "shape": list(self.shape or (1,)), "names": None}

    def checked(self, column: pl.Series, first: int) -> pl.Series:
        """The values as they are written: a vector of one is a number, as LeRobot has it. QueryError for a null row."""
        if column.null_count():
            row = first + first_true(column.is_null())
            raise QueryError(f"to_lerobot: row {row} has null in column {self.name!r}; fill it, or drop such rows")
        if not isinstance(column.dtype, (pl.List, pl.Array)):
            return column
        found = self._shape_of(column, first)
        if self.shape is None:
            self.shape = found
        if found != self.shape:
            raise QueryError(f"to_lerobot: from row {first} on column {self.name!r} has the shape {list(found)}, where "
                             f"{list(self.shape)} came before")  # fmt: skip
        if found == (1,):
            return column.explode(**explode_options()) if isinstance(column.dtype, pl.List) else column.arr.first()
        return column

    def _shape_of(self, column: pl.Series, first: int) -> tuple[int, ...]:
        shape: list[int] = []
        rows = column
        each = 1  # values of a row at this depth
        while isinstance(rows.dtype, (pl.List, pl.Array)):
            if isinstance(rows.dtype, pl.Array):
                length = rows.dtype.size
                rows = rows.explode(**explode_options()) if length else rows.clear()
            else:
                lengths = rows.list.len()
                length = int(lengths[0]) if len(lengths) else 0
                if (lengths != length).any():
                    row = first + first_true(lengths != length) // each
                    raise QueryError(
                        f"to_lerobot: column {self.name!r} has {lengths.min()} to {lengths.max()} "
                        f"values (row {row}): LeRobot has vectors of one length; pad or cut them"
                    )
                rows = rows.explode(**explode_options()) if length else rows.clear()
            shape.append(length)
            each *= max(1, length)
            if not length:
                raise QueryError(f"to_lerobot: column {self.name!r} has vectors without values (row {first}); drop it")
            if rows.null_count():
                row = first + first_true(rows.is_null()) // each
                raise QueryError(f"to_lerobot: row {row} has null inside column {self.name!r}; fill it")
        return tuple(shape)


def _known(dtype: pl.DataType) -> tuple[int, ...] | None:
    """The shape that a type tells."""
    shape: list[int] = []
    while isinstance(dtype, pl.Array):
        shape.append(dtype.size)
        dtype = dtype.inner  # type: ignore[assignment]
    return None if isinstance(dtype, pl.List) else tuple(shape) or (1,)


def video_feature(width: int, height: int, codec: str, pixels: str, fps: float) -> dict[str, Any]:
    """The description of a camera whose frames are in videos."""
    return {
        "dtype": "video",
        "shape": [height, width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": height, "video.width": width, "video.codec": codec, "video.pix_fmt": pixels,
            "video.is_depth_map": False, "video.fps": int(fps) if fps == int(fps) else fps, "video.channels": 3,
            "has_audio": False,
        },
    }  # fmt: skip


def image_feature(height: int, width: int, channels: int) -> dict[str, Any]:
    """The description of a camera whose frames are pictures in the Parquet files."""
    return {"dtype": "image", "shape": [height, width, channels], "names": ["height", "width", "channels"]}
