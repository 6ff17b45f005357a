"""The table queries in Polars' streaming engine in one process, for information: no Ray at all."""

from __future__ import annotations

from typing import Any

import polars as pl

PACKAGES = ("polars",)


def setup() -> None:
    pass


def group(job: dict[str, Any]) -> Any:
    big = pl.scan_parquet(f"{job['big']}/*.parquet")
    wanted = {"total": pl.col("amount").sum(), "mean": pl.col("value").mean(), "n": pl.len()}
    return big.group_by("key").agg(**wanted).collect(engine="streaming")


def join(job: dict[str, Any]) -> Any:
    big, small = (pl.scan_parquet(f"{job[name]}/*.parquet") for name in ("big", "small"))
    weighted = (pl.col("value") * pl.col("weight")).sum()
    wanted = {"total": pl.col("amount").sum(), "weighted": weighted, "n": pl.len()}
    return big.join(small, on="key").group_by("category").agg(**wanted).collect(engine="streaming")
