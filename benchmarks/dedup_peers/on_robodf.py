"""robodf: the calls that are measured."""

from __future__ import annotations

from typing import Any

import polars as pl

import robodf as rd

PACKAGES = ("robodf", "polars", "numba")


def fuzzy(frame: pl.DataFrame, threshold: float, words: int, **options: Any) -> pl.DataFrame:
    rd.config(progress=False)
    cut = rd.words(words)
    return rd.from_polars(frame).dedup(on="text", method="fuzzy", threshold=threshold, shingle=cut).collect()


def exact(frame: pl.DataFrame, on: list[str], **options: Any) -> pl.DataFrame:
    rd.config(progress=False)
    return rd.from_polars(frame).dedup(on=on).collect()


def semantic(frame: pl.DataFrame, threshold: float, **options: Any) -> pl.DataFrame:
    rd.config(progress=False)
    return rd.from_polars(frame).dedup(on="v", method="semantic", threshold=threshold).collect()
