"""The summary that `df.describe()` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

_STATISTICS = ("count", "null_count", "mean", "std", "min", "50%", "max")


def describe(df: PipelineDataFrame) -> pl.DataFrame:
    """One row for each statistic, one column for each column of `df`; computed in one pass."""
    wanted: dict[str, pl.Expr] = {}
    for name, dtype in df.schema.items():
        c = pl.col(name)
        wanted[f"count\0{name}"] = c.count()
        wanted[f"null_count\0{name}"] = c.null_count()
        if dtype.is_numeric() or dtype == pl.Boolean:
            wanted[f"mean\0{name}"] = c.mean()
            wanted[f"std\0{name}"] = c.cast(pl.Float64).std() if dtype == pl.Boolean else c.std()
        if dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.String, pl.Boolean):
            wanted[f"min\0{name}"] = c.min()
            wanted[f"max\0{name}"] = c.max()
        if dtype.is_numeric():
            wanted[f"50%\0{name}"] = c.quantile(0.5, "nearest")
    row = df.select(**wanted).collect().row(0, named=True)
    columns: dict[str, list] = {"statistic": list(_STATISTICS)}
    for name, dtype in df.schema.items():
        values = [row.get(f"{s}\0{name}") for s in _STATISTICS]
        numeric = dtype.is_numeric() or dtype == pl.Boolean
        columns[name] = [None if v is None else (float(v) if numeric else str(v)) for v in values]
    return pl.DataFrame(columns)
