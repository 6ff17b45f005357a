"""The 22 queries of TPC-H over empty Parquet tables of its schema (prices are floats, keys are integers).

For plans, not for answers: what of a query goes to a GPU depends on its operators, types and sizes.
"""

from __future__ import annotations

from pathlib import Path

from sized import sized

import robodf as rd
from benchmarks.tpch_data import SCHEMAS
from benchmarks.tpch_queries import Tables

ROWS = {"region": 5, "nation": 25, "supplier": 10_000, "customer": 150_000, "part": 200_000, "partsupp": 800_000,
        "orders": 1_500_000, "lineitem": 6_000_000}  # fmt: skip
"""Of scale factor 1. Regions and nations are the same at any."""

BYTES_A_ROW = {"region": 80, "nation": 90, "supplier": 80, "customer": 85, "part": 35, "partsupp": 55, "orders": 40,
               "lineitem": 35}  # fmt: skip
"""About, of a row in Parquet, compressed."""


def tables(folder: Path, scale: int) -> Tables:
    """The eight tables, without rows, as files in `folder`, which say that they are as large as at a scale factor."""
    found = {}
    for name, schema in SCHEMAS.items():
        rows = ROWS[name] * (1 if name in ("region", "nation") else scale)
        found[name] = sized(folder / f"{name}.parquet", schema, rows, rows * BYTES_A_ROW[name])
    return Tables(found, rd, scale)
