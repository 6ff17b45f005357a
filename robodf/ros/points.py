"""The points of a cloud message: bytes with a layout into numbers.

A `sensor_msgs/PointCloud2` describes its own bytes: `height` rows of `width` points, `row_step` and `point_step` bytes
apart, and for each field an offset in the point, a type and a count. All of it comes out of a file and is checked
against the size of the bytes before a point is read or memory is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from robodf.errors import OptionError
from robodf.plan import kernels
from robodf.plan.expr import Col, as_expr

COLUMNS = {
    "ros": ("height", "width", "fields", "is_bigendian", "point_step", "row_step", "data"),
    "foxglove": ("point_stride", "fields", "data"),
}
"""The columns of a message that say where its points lie, by layout."""

NUMPY = {
    pl.Int8: "i1", pl.Int16: "i2", pl.Int32: "i4", pl.Int64: "i8",
    pl.UInt8: "u1", pl.UInt16: "u2", pl.UInt32: "u4", pl.UInt64: "u8",
    pl.Float32: "f4", pl.Float64: "f8",
}  # fmt: skip


def points(
    fields: Iterable[str] | Mapping[str, Any] = ("x", "y", "z"),
    *,
    drop_nan: bool = False,
    layout: str = "ros",
    cloud: Any = None,
) -> pl.Expr:
    """The points of each cloud, as `List(Struct)` with one Float32 for each of `fields`, named `points`.

    `fields` is a list of names, or a dict of the types that are wanted: `{"x": pl.Float32, "ring": pl.UInt16}`.
    A field of another type is converted; a value that an integer type cannot hold is null. A field that the cloud does
    not have is null in each point. Of a field of several numbers (`count`) a plain type takes the first, and
    `{"normal": pl.Array(pl.Float32, 3)}` takes all (null where there are not 3).

    Organized clouds come row by row. `drop_nan` leaves out the points that have NaN in one of the fields: that is how
    a lidar marks a ray without echo. A cloud whose layout does not fit its bytes is null: a field beyond the end of
    the point, an unknown type, fewer bytes than height, width and steps say. `row_step` counts only where there are
    several rows.

    `layout` is "ros" for sensor_msgs/PointCloud2 (columns height, width, fields, is_bigendian, point_step, row_step
    and data), "foxglove" for foxglove.PointCloud (point_stride, fields, data; its pose is not applied). `cloud` names
    a struct column that holds the message where it is not the row itself.

    >>> import numpy as np, robodf as rd
    >>> field = lambda name, offset: {"name": name, "offset": offset, "datatype": 7, "count": 1}
    >>> df = rd.from_dict({
    ...     "height": [1], "width": [2], "fields": [[field("x", 0), field("y", 4)]], "is_bigendian": [False],
    ...     "point_step": [8], "row_step": [16], "data": [np.array([1, 2, 3, 4], "<f4").tobytes()],
    ... })
    >>> df.select(rd.ros.points(["x", "y"])).explode("points").unnest("points").collect().rows()
    [(1.0, 2.0), (3.0, 4.0)]
    """
    if layout not in COLUMNS:
        raise OptionError(f"points: layout is one of {', '.join(COLUMNS)}, not {layout!r}")
    wanted = _wanted(fields)
    message = None if cloud is None else as_expr(cloud)
    args = [Col(name) if message is None else message.struct.field(name) for name in COLUMNS[layout]]
    return kernels.call(f"ros.points_{layout}", *args, wanted=wanted, drop_nan=bool(drop_nan)).alias("points")


def _wanted(fields: Iterable[str] | Mapping[str, Any]) -> dict[str, pl.DataType]:
    if isinstance(fields, str):
        raise OptionError(f"points: fields is a list of names or a dict of types; write [{fields!r}]")
    table = dict(fields) if isinstance(fields, Mapping) else dict.fromkeys(fields, pl.Float32)
    if not table or not all(isinstance(name, str) for name in table):
        raise OptionError(f"points: fields names at least one field, by text; it is {fields!r}")
    for name, dtype in table.items():
        inner = dtype.inner if isinstance(dtype, pl.Array) else dtype
        if inner not in NUMPY or (isinstance(dtype, pl.Array) and not 0 < dtype.size <= 256):
            raise OptionError(f"points: {name!r} can be a number type or an Array of up to 256 of them, not {dtype}")
    return dict(pl.Schema(table))


def _dtype(wanted: dict[str, pl.DataType], drop_nan: bool) -> pl.DataType:
    return pl.List(pl.Struct(wanted))


def _kernel(layout: str) -> kernels.Kernel:
    def run(*columns: pl.Series, **options: Any) -> pl.Series:
        from robodf.ros import clouds  # NumPy takes a while to import

        return getattr(clouds, layout)(*columns, **options)

    return kernels.Kernel(run, _dtype, total=True)


for _layout in COLUMNS:
    kernels.register(f"ros.points_{_layout}", _kernel(_layout))
