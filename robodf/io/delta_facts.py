"""What the log of a Delta table tells of the columns of its files: least and greatest values, nulls.

The format: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from robodf.io.file_facts import FileFacts, kept_as
from robodf.plan.excluding import ordered_alike


def facts_of(added: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> FileFacts:
    """Of the columns in files, as deltalake gives them for each: statistics that a writer left out are null.

    >>> added = pl.DataFrame({"num_records": [2], "min": [{"x": 1}], "max": [{"x": 3}], "null_count": [{"x": 0}]})
    >>> facts_of(added, {"x": pl.Int64()}).columns["x"].rows()
    [(1, 3, 0, True)]
    """
    told = {name: _fields(added, name) for name in ("min", "max", "null_count")}
    columns = {}
    for name, dtype in schema.items():
        low, high, nulls = (told[of].get(name) for of in ("min", "max", "null_count"))
        facts = [
            _bound(low, dtype, added.height, -1).alias("low"),
            _bound(high, dtype, added.height, 1).alias("high"),
            _nulls(nulls, added.height),
            pl.Series("nan", [True]).new_from_index(0, added.height),  # writers leave NaN out, or do not
        ]
        if any(of.null_count() < added.height for of in facts[:3]):
            columns[name] = pl.DataFrame(facts)
    return FileFacts(columns, added.get_column("num_records").cast(pl.Int64).alias("rows"))


def _fields(added: pl.DataFrame, name: str) -> dict[str, pl.Series]:
    if name not in added.columns or not isinstance(added.schema[name], pl.Struct):
        return {}
    return {field.name: field for field in added.get_column(name).struct.unnest()}


def _nulls(told: pl.Series | None, files: int) -> pl.Series:
    if told is None or not told.dtype.is_integer():
        return pl.Series("nulls", [None], pl.Int64).new_from_index(0, files)
    return told.cast(pl.Int64).alias("nulls")


def _bound(told: pl.Series | None, dtype: pl.DataType, files: int, side: int) -> pl.Series:
    """A bound as `Known` has it. Times in the log are cut to milliseconds, so that what they bound may lie beyond."""
    kept = kept_as(dtype)
    if told is None or not ordered_alike(dtype) or not _alike(told.dtype, dtype):
        return pl.Series([None], dtype=kept).new_from_index(0, files)
    found = told.to_physical().cast(kept)
    if isinstance(dtype, pl.Datetime):
        found = found + side * {"ms": 1, "us": 1_000, "ns": 1_000_000}[dtype.time_unit]
    return found


def _alike(told: pl.DataType, dtype: pl.DataType) -> bool:
    return told == dtype or (told.is_integer() and dtype.is_integer()) or (told.is_float() and dtype.is_float())
