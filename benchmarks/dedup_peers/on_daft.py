"""Daft: its minhash expression and the steps of its tutorial on deduplication.

Signature, bands, group-by of bands and edges (each row of a bucket with the least) are Daft's. The tutorial finds the
components by rounds of joins; here SciPy does, in one call, which takes less time.
"""

from __future__ import annotations

from typing import Any

import daft  # pyright: ignore[reportMissingImports]
import numpy as np
import polars as pl
import pyarrow as pa
from daft import col, lit  # pyright: ignore[reportMissingImports]
from daft.functions import chunk, list_agg, list_min, minhash  # pyright: ignore[reportMissingImports]
from scipy.sparse import coo_array  # pyright: ignore[reportMissingImports]
from scipy.sparse.csgraph import connected_components  # pyright: ignore[reportMissingImports]

PACKAGES = ("daft", "scipy")
daft.set_runner_native()  # as many threads as the process has cores


def given(frame: pl.DataFrame, scratch: str) -> Any:
    return daft.from_arrow(frame.to_arrow()).collect()


def fuzzy(frame: Any, words: int, perms: int, rows: int, **options: Any) -> Any:
    """`rows` of a band: the tutorial chooses them as datasketch does."""
    signature = minhash(col("text"), num_hashes=perms, ngram_size=words, seed=42, hash_function="xxhash")
    bands = frame.select("id", chunk(signature, rows).alias("band")).with_column("number", lit([*range(perms // rows)]))
    buckets = bands.explode("band", "number").groupby("number", "band").agg(list_agg(col("id")).alias("ids"))
    edges = buckets.with_column("least", list_min(col("ids"))).explode("ids").where(col("ids") != col("least"))
    found = edges.select("least", "ids").distinct().to_arrow()
    least, ids = found["least"].to_numpy(), found["ids"].to_numpy()
    total = frame.count_rows()
    _, component = connected_components(coo_array((np.ones(ids.size, np.int8), (least, ids)), shape=(total, total)))
    _, first = np.unique(component, return_index=True)  # the least row of each
    kept = np.zeros(total, bool)
    kept[first] = True
    return frame.to_arrow().filter(pa.array(kept))
