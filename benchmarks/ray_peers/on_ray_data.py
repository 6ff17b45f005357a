"""The table queries in Ray Data: its own reader, expressions, group-by and join, or its shuffle between Polars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import ray
from ray.data import Dataset
from ray.data.aggregate import Count, Mean, Sum
from ray.data.expressions import col

PACKAGES = ("ray", "pyarrow", "polars")
_partitions: int | None = None
_polars = False


def setup(tuned: bool, polars: bool = False) -> None:
    """Tuned: a cheaper codec, batches that a small machine runs several of, few partitions (the default is 200)."""
    global _partitions, _polars
    _polars = polars
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    if tuned:
        context.shuffle_compression = "lz4"
        context.shuffle_input_batch_bytes = 128 << 20
        _partitions = 8


def group(job: dict[str, Any]) -> Any:
    if _polars:
        partial = _files(job["big"]).map_batches(_partial_groups, batch_size=None, batch_format="pyarrow")
        by_key = partial.repartition(_partitions, keys=["key"])
        return _rows(by_key.map_batches(_final_groups, batch_size=None, batch_format="pyarrow"))
    big = ray.data.read_parquet(job["big"], columns=["key", "amount", "value"])
    wanted = Sum("amount", alias_name="total"), Mean("value", alias_name="mean"), Count(alias_name="n")
    return _rows(big.groupby("key", _partitions).aggregate(*wanted))


def join(job: dict[str, Any]) -> Any:
    if _polars:
        left, right = (_files(job[name]).map_batches(_read, batch_size=None, batch_format="pyarrow")
                       for name in ("big", "small"))  # fmt: skip
        rows = left.join(right, "inner", _partitions or 200, on=("key",))
        return _sums(_rows(rows.map_batches(_by_category, batch_size=None, batch_format="pyarrow")))
    big = ray.data.read_parquet(job["big"], columns=["key", "amount", "value"])
    small = ray.data.read_parquet(job["small"])
    # num_partitions has no default here: what its group-by takes by default
    joined = big.join(small, "inner", _partitions or 200, on=("key",)).with_column(
        "product", col("value") * col("weight")
    )
    wanted = Sum("amount", alias_name="total"), Sum("product", alias_name="weighted"), Count(alias_name="n")
    return _rows(joined.groupby("category", _partitions).aggregate(*wanted))


def _rows(found: Dataset) -> pa.Table:
    tables = ray.get(found.to_arrow_refs())  # type: ignore[call-overload] - Ray's stubs lack lists of Any
    return pa.concat_tables([table for table in tables if table.num_rows])


# -- Polars in the tasks of Ray Data ----------------------------------------------------------------------------


def _files(folder: str) -> Dataset:
    paths = [{"path": str(path)} for path in sorted(Path(folder).glob("*.parquet"))]
    return ray.data.from_items(paths, override_num_blocks=len(paths))


def _frame(table: pa.Table) -> pl.LazyFrame:
    return pl.from_arrow(table, rechunk=False).lazy()  # type: ignore[union-attr]


def _partial_groups(files: pa.Table) -> pa.Table:
    sums = {"total": pl.col("amount").sum(), "sum": pl.col("value").sum(), "n": pl.len()}
    rows = pl.scan_parquet(files["path"].to_pylist())
    return rows.group_by("key").agg(**sums).collect(engine="streaming").to_arrow()


def _final_groups(partial: pa.Table) -> pa.Table:
    summed = _frame(partial).group_by("key").agg(pl.col("total", "sum", "n").sum())
    wanted = summed.select("key", "total", mean=pl.col("sum") / pl.col("n"), n="n")
    return wanted.collect(engine="streaming").to_arrow()


def _read(files: pa.Table) -> pa.Table:
    rows = pl.scan_parquet(files["path"].to_pylist())
    wanted = [name for name in ("key", "amount", "value", "category", "weight") if name in rows.collect_schema()]
    return rows.select(wanted).collect(engine="streaming").to_arrow()


def _by_category(joined: pa.Table) -> pa.Table:
    wanted = {"total": pl.col("amount").sum(), "weighted": (pl.col("value") * pl.col("weight")).sum(), "n": pl.len()}
    return _frame(joined).group_by("category").agg(**wanted).collect(engine="streaming").to_arrow()


def _sums(partial: pa.Table) -> pl.DataFrame:
    return _frame(partial).group_by("category").agg(pl.col("total", "weighted", "n").sum()).collect()
