"""Orientations and covariances of the geometry messages.

Angles follow REP-103: right-handed, about the fixed axes x (roll), y (pitch) and z (yaw), in that order, in radians
unless degrees are asked for. The formulas are those of tf2 (`tf2::impl::getEulerYPR`, `tf2::Quaternion::setRPY`,
`tf2::Matrix3x3::setRotation`), made whole where tf2 rounds: it takes the last 0.26 degrees to 90 for 90.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.compat import explode_options
from robodf.errors import OptionError, SchemaError
from robodf.plan import kernels
from robodf.plan.expr import as_expr
from robodf.plan.functions import arctan2, struct, when

# Nearer to straight up or down than this (1.4e-6 rad) roll and yaw cannot be told apart in doubles.
_LOCKED = 1 - 1e-12


def _parts(q: Any) -> tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr]:
    whole = as_expr(q)
    x, y, z, w = (whole.struct.field(name).cast(pl.Float64, strict=False) for name in "xyzw")
    return x, y, z, w


def _is_rotation(squares: pl.Expr) -> pl.Expr:
    return (squares > 0) & squares.is_finite()


def euler(q: Any, *, degrees: bool = False) -> pl.Expr:
    """Roll, pitch and yaw of a quaternion column (struct of x, y, z, w) as `Struct(roll, pitch, yaw)` of Float64.

    The quaternion need not have length one. One of length zero, with NaN, infinity or null, is null. Pitch lies in
    [-90, 90] degrees; where it is 90 (gimbal lock), roll is 0 and yaw has all of the turn.

    >>> import robodf as rd
    >>> df = rd.from_dict({"q": [{"x": 0.0, "y": 0.0, "z": 1.0, "w": 1.0}, {"x": 0.0, "y": 0.0, "z": 0.0, "w": 0.0}]})
    >>> df.select(rd.ros.euler("q", degrees=True).struct.field("yaw").round(6)).collect()["yaw"].to_list()
    [90.0, None]
    """
    x, y, z, w = _parts(q)
    squares = x * x + y * y + z * z + w * w
    sine = (2 * (w * y - x * z) / squares).clip(-1.0, 1.0)
    locked = sine.abs() > _LOCKED
    roll = when(locked).then(0.0).otherwise(arctan2(2 * (w * x + y * z), w * w - x * x - y * y + z * z))
    yaw = arctan2(
        when(locked).then(2 * (z * w)).otherwise(2 * (w * z + x * y)),
        when(locked).then(w * w - z * z).otherwise(w * w + x * x - y * y - z * z),
    )
    angles = {"roll": roll, "pitch": sine.arcsin(), "yaw": yaw}
    fields = (angle.degrees() if degrees else angle for angle in angles.values())
    made = struct(*(angle.alias(name) for name, angle in zip(angles, fields)))
    return when(_is_rotation(squares)).then(made).otherwise(None).alias("euler")


def quaternion(roll: Any, pitch: Any, yaw: Any, *, degrees: bool = False) -> pl.Expr:
    """The quaternion of three columns of angles, as `Struct(x, y, z, w)` of Float64 and length one.

    An angle that is NaN, infinite or null gives null. The inverse of `euler`, up to the sign of the quaternion.

    >>> import robodf as rd
    >>> df = rd.from_dict({"roll": [0.0], "pitch": [0.0], "yaw": [180.0]})
    >>> q = rd.ros.quaternion("roll", "pitch", "yaw", degrees=True)
    >>> df.select(q.struct.field("z")).collect()["z"].to_list()
    [1.0]
    """
    angles = [as_expr(angle).cast(pl.Float64, strict=False) for angle in (roll, pitch, yaw)]
    halves = [(angle.radians() if degrees else angle) / 2 for angle in angles]
    (cr, sr), (cp, sp), (cy, sy) = ((half.cos(), half.sin()) for half in halves)
    made = struct(
        (sr * cp * cy - cr * sp * sy).alias("x"),
        (cr * sp * cy + sr * cp * sy).alias("y"),
        (cr * cp * sy - sr * sp * cy).alias("z"),
        (cr * cp * cy + sr * sp * sy).alias("w"),
    )
    known = angles[0].is_finite() & angles[1].is_finite() & angles[2].is_finite()
    return when(known).then(made).otherwise(None).alias("quaternion")


def rotation_matrix(q: Any) -> pl.Expr:
    """The rotation of a quaternion column (struct of x, y, z, w) as `Array(Float64, (3, 3))`, row by row.

    The matrix turns vectors of the child frame into the parent frame. The quaternion need not have length one; one of
    length zero, with NaN, infinity or null, is null.

    >>> import robodf as rd
    >>> df = rd.from_dict({"q": [{"x": 0.0, "y": 0.0, "z": 1.0, "w": 1.0}]})
    >>> df.select(m=rd.ros.rotation_matrix("q")).collect()["m"].to_list()
    [[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]
    """
    return kernels.call("ros.rotation_matrix", *_parts(q)).alias("rotation_matrix")


def _rotation_matrix(*parts: pl.Series) -> pl.Series:
    import numpy as np

    q = np.stack([part.fill_null(float("nan")).to_numpy() for part in parts])
    with np.errstate(all="ignore"):  # of rows that are null in the end
        squares = (q * q).sum(axis=0)
        x, y, z, w = q
        sx, sy, sz = q[:3] * (2 / squares)
        made = np.empty((len(squares), 3, 3))
        made[:, 0] = np.stack([1 - sy * y - sz * z, sx * y - sz * w, sx * z + sy * w], axis=1)
        made[:, 1] = np.stack([sx * y + sz * w, 1 - sx * x - sz * z, sy * z - sx * w], axis=1)
        made[:, 2] = np.stack([sx * z - sy * w, sy * z + sx * w, 1 - sx * x - sy * y], axis=1)
    valid = pl.Series((squares > 0) & np.isfinite(squares))
    return _spread(pl.Series(made.reshape(-1)).reshape((-1, 3, 3)).filter(valid), valid)


def _spread(values: pl.Series, where: pl.Series) -> pl.Series:
    """The values in the rows of `where`, null in the others."""
    if len(values) == len(where):
        return values
    at = where.cast(pl.Int64).cum_sum() - 1
    return values.gather(at.set(~where, None))


def covariance(values: Any, n: int = 3) -> pl.Expr:
    """A covariance that a message lists row by row (9 numbers for n=3, 36 for n=6) as `Array(Float64, (n, n))`.

    Takes Array and List columns. A list of another length is null. Messages say "unknown" by zeros, and "this is not
    measured at all" by -1 in the first cell (sensor_msgs/Imu): both stay as they are.

    >>> import robodf as rd
    >>> df = rd.from_dict({"c": [[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0], [1.0]]})
    >>> df.select(rd.ros.covariance("c")).collect()["c"].to_list()
    [[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]], None]
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 100:
        raise OptionError(f"covariance: n is the number of rows of the matrix, such as 3 or 6, not {n!r}")
    return kernels.call("ros.square", values, n=n)


def _square(values: pl.Series, *, n: int) -> pl.Series:
    dtype = values.dtype
    if not (isinstance(dtype, (pl.List, pl.Array)) and (dtype.inner.is_numeric() or dtype.inner == pl.Null)):
        raise SchemaError(f"a matrix is made of lists of numbers, not of {dtype}")
    if isinstance(dtype, pl.Array):
        whole = values.is_not_null() & (dtype.size == n * n)
    else:
        whole = (values.list.len() == n * n).fill_null(False)
    cells = values.filter(whole).explode(**explode_options()).cast(pl.Float64)
    return _spread(cells.reshape((-1, n, n)), whole)


kernels.register("ros.square", kernels.Kernel(_square, lambda n: pl.Array(pl.Float64, (n, n)), total=True))
kernels.register(
    "ros.rotation_matrix", kernels.Kernel(_rotation_matrix, lambda: pl.Array(pl.Float64, (3, 3)), total=True)
)
