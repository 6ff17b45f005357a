"""semhash: from given vectors, with its default index (usearch)."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from semhash import SemHash  # pyright: ignore[reportMissingImports]

PACKAGES = ("semhash", "usearch", "polars")


class _NoEncoder:
    """The vectors are given: nothing is encoded."""

    def encode(self, inputs: Any, **options: Any) -> np.ndarray:
        raise AssertionError("nothing to encode")


def semantic(frame: pl.DataFrame, threshold: float, **options: Any) -> pl.DataFrame:
    records = [str(row) for row in frame["id"]]
    index = SemHash.from_embeddings(frame["v"].to_numpy(), records, model=_NoEncoder())
    kept = index.self_deduplicate(threshold=threshold).selected
    return frame.filter(pl.col("id").is_in(pl.Series([int(row) for row in kept]).implode()))
