"""About how many rows and bytes: what planners that weigh go by. Metadata alone is asked."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from robodf.io.source import Split
from robodf.plan.base import Plan, Schema, parents_first
from robodf.plan.nodes.scan import Scan

PACKED = 3  # bytes in memory of one byte in a file
WIDE = 1024  # bytes of a row from which on it is cheaper to read rows twice than to keep or move them


def estimated_rows(root: Plan, known: Mapping[int, float] | None = None) -> dict[int, float]:
    """About how many rows each node (by id) of a plan gives; `known` are those of some leaves."""
    rows: dict[int, float] = {}
    for n in reversed(parents_first(root)):
        if known is not None and id(n) in known:
            rows[id(n)] = known[id(n)]
        elif isinstance(n, Scan):
            rows[id(n)] = scan_rows(n, tuple(n.source.splits(n.request)))
        elif not n.inputs():
            count = n.count()
            rows[id(n)] = float(1 if count is None else count)
        else:
            rows[id(n)] = n.estimate(*(rows[id(i)] for i in n.inputs()))
    return rows


def scan_rows(n: Scan, splits: tuple[Split, ...]) -> float:
    """About how many rows a scan gives, of the splits that it will read."""
    size = encoded_bytes(splits)
    counted = sum(s.rows or 0 for s in splits)
    known = all(s.rows is not None for s in splits)
    rows = float(counted) if known else PACKED * size / row_bytes(n.source.schema)
    return rows if n.limit is None else min(rows, n.limit)


def encoded_bytes(splits: tuple[Split, ...]) -> int:
    """Bytes of files that splits have to read."""
    return sum(s.bytes or 0 for s in splits)


def row_bytes(schema: Schema) -> float:
    """Bytes that one row may well take in memory."""
    return max(1.0, sum(map(_bytes, schema.values())))


def _bytes(dtype: pl.DataType) -> float:
    if isinstance(dtype, pl.Binary):
        return 64 << 10  # a message or a compressed image
    if isinstance(dtype, pl.List):
        return 4 + 64 * _bytes(dtype.inner)  # type: ignore[arg-type]
    if isinstance(dtype, pl.Array):
        return dtype.size * _bytes(dtype.inner)  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return sum(_bytes(f.dtype) for f in dtype.fields)  # type: ignore[arg-type]
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return 24
    return {1: 1.0, 4: 4.0}.get(_WIDTHS.get(type(dtype), 8), 8.0)


_WIDTHS = {pl.Boolean: 1, pl.Int8: 1, pl.UInt8: 1, pl.Int32: 4, pl.UInt32: 4, pl.Float32: 4, pl.Date: 4}
