"""FAISS: all pairs above the threshold by its flat index, then the first row of its like is kept."""

from __future__ import annotations

from typing import Any

import faiss  # pyright: ignore[reportMissingImports]
import numpy as np
import polars as pl

PACKAGES = ("faiss-cpu", "polars")
_BATCH = 4096


def semantic(frame: pl.DataFrame, threshold: float, cores: int, **options: Any) -> pl.DataFrame:
    faiss.omp_set_num_threads(cores)
    unit = np.array(frame["v"].to_numpy())
    faiss.normalize_L2(unit)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    kept = np.ones(len(unit), bool)
    for first in range(0, len(unit), _BATCH):
        limits, _, others = index.range_search(unit[first : first + _BATCH], threshold)
        for row in range(first, first + len(limits) - 1):
            near = others[limits[row - first] : limits[row - first + 1]]
            kept[row] = not kept[near[near < row]].any()
    return frame.filter(pl.Series(kept))
