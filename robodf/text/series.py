"""Polars expressions over a column of texts as named functions, which plans show, compare and push down by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from robodf.errors import SchemaError


def evaluated(name: str, expression: Callable[..., pl.Expr]) -> Callable[..., pl.Series]:
    """What a kernel runs: `expression(column, **options)` over a series of texts."""

    def run(texts: pl.Series, **options: Any) -> pl.Series:
        if texts.dtype not in (pl.String, pl.Null, pl.Categorical, pl.Enum):
            raise SchemaError(f"{name} takes a column of texts, not {texts.dtype}: cast it to String")
        column = texts.cast(pl.String).alias("text")
        return column.to_frame().select(expression(pl.col("text"), **options)).to_series()

    return run
