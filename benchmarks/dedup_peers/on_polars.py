"""Polars' unique: the first row of each key in order, or any row without one."""

from __future__ import annotations

from typing import Any

import polars as pl

PACKAGES = ("polars",)


def exact(frame: pl.DataFrame, on: list[str], first: bool, **options: Any) -> pl.DataFrame:
    if first:
        return frame.unique(on, keep="first", maintain_order=True)
    return frame.unique(on, keep="any")
