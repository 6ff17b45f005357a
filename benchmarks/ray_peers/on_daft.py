"""The table queries in Daft, on Ray or in its own process. Run by an interpreter that has Daft: see peers.py."""

from __future__ import annotations

from typing import Any

import daft  # pyright: ignore[reportMissingImports] - of the other interpreter
from daft import col  # pyright: ignore[reportMissingImports]

PACKAGES = ("daft", "ray", "pyarrow")


def setup(runner: str) -> None:
    if runner == "ray":
        daft.set_runner_ray(noop_if_initialized=True)
    else:
        daft.set_runner_native()


def _group(job: dict[str, Any]) -> Any:
    wanted = col("amount").sum().alias("total"), col("value").mean().alias("mean"), col("amount").count().alias("n")
    return daft.read_parquet(f"{job['big']}/*.parquet").groupby("key").agg(*wanted)


def group(job: dict[str, Any]) -> Any:
    return _group(job).to_arrow()


def join(job: dict[str, Any]) -> Any:
    big, small = (daft.read_parquet(f"{job[name]}/*.parquet") for name in ("big", "small"))
    joined = big.join(small, on="key").with_column("product", col("value") * col("weight"))
    wanted = (
        col("amount").sum().alias("total"),
        col("product").sum().alias("weighted"),
        col("amount").count().alias("n"),
    )
    return joined.groupby("category").agg(*wanted).to_arrow()


def count(job: dict[str, Any]) -> int:
    """What count_rows says of the same groups: seen to be wrong on lists of files."""
    return _group(job).count_rows()
