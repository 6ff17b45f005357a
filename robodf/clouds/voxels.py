"""Fewer points of a cloud: one for each cube of a grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.compat import explode_options
from robodf.dedup import asked
from robodf.errors import OptionError, SchemaError
from robodf.plan import kernels
from robodf.plan.expr import as_expr

if TYPE_CHECKING:
    import numpy as np

KEEP = ("mean", "first")
_PACKED = ("rgb", "rgba")  # colours as bytes in a float: their mean is no colour


def voxel_downsample(cloud: Any, size: float, *, keep: str = "mean") -> pl.Expr:
    """One point for each cube of the grid that has points, of each cloud: a column of List(Struct) with x, y and z.

    Cubes have sides of `size`, in the unit of the coordinates, and the cube of a point is the whole part of
    coordinate / size, downwards: the grid of `pcl::VoxelGrid` (Rusu and Cousins, "3D is here: Point Cloud Library",
    ICRA 2011), which begins at the origin. The point of a cube has, with `keep="mean"`, the means of the fields that
    are floats (but not of rgb and rgba, which hold packed bytes), and of all other fields the value of its first point;
    with `keep="first"` it is the first point. Cubes are in the order of their first points. Points with a coordinate
    that is null, NaN or infinite are left out. The type of the column stays as it is.

    >>> import robodf as rd
    >>> cloud = [{"x": 0.1, "y": 0.0, "z": 0.0}, {"x": 0.3, "y": 0.0, "z": 0.0}, {"x": -0.1, "y": 0.0, "z": 0.0}]
    >>> df = rd.from_dict({"cloud": [cloud]}).select(rd.voxel_downsample("cloud", 0.5))
    >>> [p["x"] for p in df.collect()["cloud"][0]]
    [0.2, -0.1]
    """
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 < size < math.inf:
        raise OptionError(f"voxel_downsample: size is a length above 0, not {size!r}")
    if keep not in KEEP:
        raise OptionError(f"voxel_downsample: keep is one of {', '.join(KEEP)}, not {keep!r}")
    return kernels.call("clouds.voxels", as_expr(cloud), size=float(size), keep=keep)  # type: ignore[return-value]


def _run(clouds: pl.Series, *, size: float, keep: str, engine: str | None = None) -> pl.Series:
    import numpy as np

    from robodf.gpu.kernels import grouped as on_device

    inner = clouds.dtype.inner if isinstance(clouds.dtype, pl.List) else None
    fields = {f.name: f.dtype for f in inner.fields} if isinstance(inner, pl.Struct) else {}
    if not all(name in fields and fields[name].is_numeric() for name in "xyz"):
        raise SchemaError(f"voxel_downsample: a cloud is a list of structs with numbers x, y and z, not {clouds.dtype}")
    lengths = clouds.list.len().fill_null(0).to_numpy()
    rows = np.repeat(np.arange(len(clouds)), lengths)
    points = clouds.filter(pl.Series(lengths > 0, dtype=pl.Boolean)).explode(**explode_options())
    table = points.struct.unnest()
    where = table.select(pl.col("x", "y", "z").cast(pl.Float64)).to_numpy()
    finite = np.flatnonzero(np.isfinite(where).all(axis=1))
    with np.errstate(over="ignore"):
        cubes = np.floor(where[finite] / size)
    with asked.during(engine or asked.engine()):
        order, starts = on_device(rows[finite], cubes) or groups(rows[finite], cubes, np)
    firsts = order[starts]
    by_first = np.argsort(firsts)
    kept = table[finite[firsts[by_first]]]
    if keep == "mean" and len(starts):
        means = [
            _means(table.get_column(name)[finite[order]], starts)[by_first]
            for name, dtype in fields.items()
            if dtype.is_float() and name not in _PACKED
        ]
        kept = kept.with_columns(means)
    return _lists(clouds, rows[finite[firsts[by_first]]], kept)


def groups(rows: Any, cubes: Any, xp: Any) -> tuple[Any, Any]:
    """The points sorted by row and cube, and where in that order each cube starts, with its first point.

    `xp` is the module of the arrays, NumPy or CuPy. Both sort stably: the first point of a cube stays the first.
    """
    order = xp.lexsort(xp.stack([cubes[:, 2], cubes[:, 1], cubes[:, 0], rows.astype(xp.float64)]))
    if not len(order):
        return order, order
    sorted_rows, sorted_cubes = rows[order], cubes[order]
    new = (xp.diff(sorted_rows) != 0) | (xp.diff(sorted_cubes, axis=0) != 0).any(axis=1)
    return order, xp.concatenate([xp.zeros(1, xp.int64), xp.flatnonzero(new) + 1])


def _means(values: pl.Series, starts: np.ndarray) -> pl.Series:
    """The mean of each run of values, nulls left out."""
    import numpy as np

    known = values.is_not_null().to_numpy()
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(values.fill_null(0).cast(pl.Float64).to_numpy(), starts)
        counts = np.add.reduceat(known.astype(np.int64), starts)
        means = sums / np.maximum(counts, 1)
    found = pl.Series(values.name, means).cast(values.dtype)
    return found if known.all() else found.set(pl.Series(counts == 0), None)


def _lists(clouds: pl.Series, rows: np.ndarray, points: pl.DataFrame) -> pl.Series:
    """The points of each row as a list, none for a row without, null where the cloud was null."""
    made = pl.DataFrame({"row": pl.Series(rows, dtype=pl.Int64), "cloud": points.to_struct()})
    lists = made.group_by("row", maintain_order=True).agg("cloud")
    every = pl.DataFrame({"row": pl.arange(len(clouds), dtype=pl.Int64, eager=True), "null": clouds.is_null()})
    joined = every.join(lists, on="row", how="left", maintain_order="left")
    filled = pl.col("cloud").fill_null(pl.lit([], clouds.dtype))
    return joined.select(pl.when(~pl.col("null")).then(filled)).to_series().alias(clouds.name)


kernels.register("clouds.voxels", kernels.Kernel(_run, None, total=True, on_gpu=True))
