"""Rows that stay on the GPU between a query of cudf-polars and a user's function over cuDF frames.

`DeviceRows` has what `Step.apply` asks of a batch, with the names that a polars.DataFrame has for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from robodf.gpu.library import library

_SAME = (pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32,
         pl.Float64, pl.String)  # fmt: skip


def stays_the_same(schema: Mapping[str, Any]) -> bool:
    """Whether a function is handed the same columns from the device as it would be by way of the host.

    Numbers, texts and times without a zone are: cuDF's types of others are made where they are handed over.
    """
    return all(
        dtype in _SAME or isinstance(dtype, pl.Duration) or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None)
        for dtype in schema.values()
    )


class DeviceRows:
    """A table of cudf-polars (cudf_polars.containers.DataFrame), on the device."""

    def __init__(self, table: Any):
        self.table = table

    @property
    def height(self) -> int:
        return int(self.table.num_rows)

    @property
    def columns(self) -> list[str]:
        return list(self.table.column_names)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {column.name: column.dtype.polars_type for column in self.table.columns}

    def estimated_size(self) -> int:
        """Bytes on the device."""
        return sum(int(column.device_buffer_size()) for column in self.table.table.columns())

    def slice(self, offset: int, length: int) -> DeviceRows:
        """So many rows, not copied."""
        return DeviceRows(self.table.slice((offset, length)))

    def select(self, names: Sequence[str]) -> DeviceRows:
        """Some columns, not copied."""
        return DeviceRows(self.table.select(list(names)))

    def get_column(self, name: str) -> pl.Series:
        """A column, on the host."""
        return self.select([name]).to_polars().get_column(name)

    def with_columns(self, columns: Sequence[pl.Series]) -> pl.DataFrame:
        """The rows on the host, with columns that are there already."""
        made = {column.name for column in columns}
        rest = [name for name in self.columns if name not in made]
        return self.select(rest).to_polars().with_columns(columns) if rest else pl.DataFrame(columns)

    def to_polars(self) -> pl.DataFrame:
        """The rows on the host."""
        return self.table.to_polars()

    def to_cudf(self, where: str | None = None) -> Any:
        """The rows as a cudf.DataFrame over the same memory."""
        return library("cudf", where).DataFrame.from_pylibcudf(self.table.table, metadata={"columns": self.columns})


def staying(query: pl.LazyFrame, share: float = 1.0) -> DeviceRows:
    """All rows of a query by cudf-polars, whole in the memory of the device, where they stay. As `running.whole`."""
    from robodf.gpu.memory import ensure_pool
    from robodf.gpu.translation import translated

    ensure_pool(share)  # which is the one that all allocations of this process go through
    made = translated(query).evaluate(cache={}, timer=None, context=library("cudf_polars.dsl.ir").IRExecutionContext())
    made.stream.synchronize()  # a function may work on another stream
    return DeviceRows(made)
