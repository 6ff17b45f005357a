"""Parquet files of rows, read group by group with pyarrow: local or remote, in bounded memory, bytes counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.file_object import open_object
from robodf.io.files import StorageOptions

_BUFFER = 1 << 20
_BATCH_BYTES = 8 << 20  # of one batch, as far as the types tell
_MOST_ROWS = 16_384


class Parquet:
    """An open file. Whatever pyarrow says of damage is a FileFormatError that names the file."""

    def __init__(self, path: str, file: Any):
        self.path = path
        self._file = file
        self._meta = file.metadata
        names = list(file.schema_arrow.names)
        if len(set(names)) != len(names):
            raise FileFormatError(f"{path}: two columns have one name")
        # Metadata of a schema is left out: Polars panics at names of it that are no text.
        empty = file.schema_arrow.remove_metadata().empty_table()
        self.schema: dict[str, pl.DataType] = dict(pl.DataFrame(pl.from_arrow(empty)).schema)

    @property
    def groups(self) -> int:
        """How many row groups it has."""
        return self._meta.num_row_groups

    def rows(self, group: int) -> int:
        """The rows of a group."""
        with damage(self.path):
            count = self._meta.row_group(group).num_rows
        if count < 0:
            raise FileFormatError(f"{self.path}: row group {group} has {count} rows")
        return count

    def bounds(self, group: int, name: str) -> tuple[int, int] | None:
        """The least and the greatest value of a column of integers without nulls; None where it is not said."""
        with damage(self.path):
            meta = self._meta.row_group(group)
            for k in range(meta.num_columns):
                column = meta.column(k)
                # Arrow ends the process when it is asked for statistics of another type than the column has.
                if column.path_in_schema != name or column.physical_type != self._meta.schema.column(k).physical_type:
                    continue
                found = column.statistics
                if column.physical_type not in ("INT32", "INT64") or found is None or not found.has_min_max:
                    return None
                if found.null_count is None or found.null_count:
                    return None
                low, high = found.min, found.max
                return (low, high) if isinstance(low, int) and isinstance(high, int) and low <= high else None
        return None

    def batches(self, group: int, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns of a row group, in its order, all its rows."""
        left = self.rows(group)
        width = sum(_width(self.schema[name]) for name in names)
        size = max(64, min(_MOST_ROWS, _BATCH_BYTES // max(1, width)))
        with damage(self.path):
            for batch in self._file.iter_batches(size, row_groups=[group], columns=list(names), use_threads=False):
                frame = pl.DataFrame(pl.from_arrow(batch.replace_schema_metadata(None))).select(names)
                left -= frame.height
                yield frame
        if left:
            raise FileFormatError(f"{self.path}: row group {group} has not the {self.rows(group)} rows that it says")


def _width(dtype: pl.DataType) -> int:
    """About how many bytes a value has."""
    if isinstance(dtype, pl.Struct):
        return sum(_width(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]
    if isinstance(dtype, pl.Array):
        return dtype.size * _width(dtype.inner)  # type: ignore[arg-type]
    if isinstance(dtype, pl.List):
        return 64 * _width(dtype.inner)  # type: ignore[arg-type]
    return 131_072 if isinstance(dtype, pl.Binary) else 8


@contextmanager
def open_parquet(path: str, storage: StorageOptions) -> Iterator[Parquet]:
    """Open a file by its footer."""
    import pyarrow.parquet as pq

    with open_object(path, storage) as file:
        with damage(path):
            opened = Parquet(path, pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False))
        yield opened


@contextmanager
def damage(path: str) -> Iterator[None]:
    """What reading raises of a damaged file, as a FileFormatError that names it."""
    import pyarrow as pa

    try:
        yield
    except FileFormatError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, pl.exceptions.PolarsError,
            pl.exceptions.PanicException) as error:  # fmt: skip
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise FileFormatError(f"{path}: no Parquet file, or a damaged one: {why}") from error
