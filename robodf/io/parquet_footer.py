"""What the footers of Parquet files say of their row groups: where they are, how large, and what they cannot hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.files import FileReader, StorageOptions, open_file
from robodf.io.source import Request
from robodf.plan.comparison import as_comparison
from robodf.plan.expr import Expr

_MAGIC = b"PAR1"
_LARGEST = 1 << 30  # a footer of more bytes is none


class RowGroup(NamedTuple):
    """Rows `first` to `first + rows` of a file; its bytes, still encoded, of all columns and of the wanted ones."""

    first: int
    rows: int
    total_bytes: int
    bytes: int
    excluded: bool  # its statistics say that no row satisfies the predicates


Rows = tuple[int, int]
"""The number of the first of some rows in a file, and how many there are."""


def row_groups(
    path: str, storage: StorageOptions, request: Request, schema: Mapping[str, pl.DataType], within: Rows | None = None
) -> Iterator[RowGroup]:
    """The row groups of a file, or those that begin `within` some of its rows, as a request on this schema sees them.

    Raises FileFormatError where the footer cannot be read.
    """
    import pyarrow as pa

    with open_file(path, storage) as file:
        footer = read_footer(file).metadata
    wanted = set(request.columns).union(*(p.columns for p in request.predicates))
    first = 0
    for g in range(footer.num_row_groups):
        try:
            group = _row_group(footer, g, first, wanted, request.predicates, schema)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(path, error) from error
        if group.rows < 0 or group.bytes < 0 or group.total_bytes < 0:
            raise _damaged(path, f"row group {g} has a negative size")
        if within is None or within[0] <= first < within[0] + within[1]:
            yield group
        first += group.rows


def _row_group(
    footer: Any, g: int, first: int, wanted: set[str], predicates: tuple[Expr, ...], schema: Mapping[str, pl.DataType]
) -> RowGroup:
    group, types = footer.row_group(g), footer.schema
    columns = [group.column(c) for c in range(group.num_columns)]
    sizes = [(c.path_in_schema, c.total_compressed_size) for c in columns]
    read = sum(size for name, size in sizes if name in wanted or name.split(".", 1)[0] in wanted)
    excluded = False
    if predicates:
        # Arrow ends the process when it is asked for statistics of another type than the column has.
        sound = [c for k, c in enumerate(columns) if c.physical_type == types.column(k).physical_type]
        excluded = any(_excludes(sound, p, schema) for p in predicates)
    return RowGroup(first, group.num_rows, sum(size for _, size in sizes), read, excluded)


def _damaged(path: str, why: object) -> FileFormatError:
    return FileFormatError(f"{path}: its footer is damaged: {str(why).splitlines()[0]}")


def runs(groups: Iterator[RowGroup], size: int) -> Iterator[tuple[Rows, int]]:
    """Row groups that follow each other and are not excluded, together until they have `size` bytes: rows and bytes."""
    first = rows = held = 0
    for group in groups:
        if group.excluded and rows:
            yield (first, rows), held
            rows = held = 0
        if group.excluded or not group.rows:
            continue
        first = group.first if not rows else first
        rows, held = rows + group.rows, held + group.bytes
        if held >= size:
            yield (first, rows), held
            rows = held = 0
    if rows:
        yield (first, rows), held


class Footer(NamedTuple):
    """The metadata of a file as pyarrow has it, the bytes that it is made of, and where these begin in the file."""

    metadata: Any
    raw: bytes
    start: int


def read_footer(file: FileReader) -> Footer:
    """The footer of a file, by two small reads wherever it is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.size < 12:
        raise FileFormatError(f"{file.path}: is no Parquet file: it has {file.size} bytes")
    tail = file.read_at(file.size - 8, 8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > min(_LARGEST, file.size - 8):
        raise FileFormatError(f"{file.path}: is no Parquet file, or its end is missing")
    start = file.size - 8 - length
    raw = file.read_at(start, length)
    try:
        return Footer(pq.read_metadata(pa.BufferReader(_MAGIC + raw + tail)), raw, start)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(file.path, error) from error


def _excludes(columns: list, predicate: Expr, schema: Mapping[str, pl.DataType]) -> bool:
    """True where the statistics of a row group say that no row satisfies `column <op> constant`."""
    found = as_comparison(predicate)
    if found is None:
        return False
    name, op, value = found
    dtype = schema.get(name)
    if dtype is None or "." in name or not _ordered_alike(dtype):  # a dot: a field of a struct may have that path
        return False
    if dtype.is_float() and op in (">", ">="):
        return False  # statistics leave out NaN, which Polars has above all numbers
    for column in columns:
        bounds = _bounds(column) if column.path_in_schema == name else None
        if bounds is None or type(bounds[0]) is not type(value):
            continue
        low, high = bounds
        if isinstance(value, datetime) and len({t.tzinfo is None for t in (low, high, value)}) > 1:
            return False
        return {"<": low >= value, "<=": low > value, ">": high <= value, ">=": high < value,
                "==": value < low or value > high}.get(op, False)  # fmt: skip
    return False


def _bounds(column: Any) -> tuple[Any, Any] | None:
    """The least and the greatest value of a column of a row group; None where its statistics do not tell."""
    stats = column.statistics
    if stats is None or not stats.has_min_max:
        return None
    try:
        return stats.min, stats.max
    except (ValueError, OverflowError):  # texts that are not UTF-8, times that Python does not have
        return None


def _ordered_alike(dtype: pl.DataType) -> bool:
    """Whether the statistics are in the order that Polars compares by: that of an Enum is not that of its texts.

    Nor are those of a nanosecond had exactly: Python's times end at microseconds.
    """
    if isinstance(dtype, pl.Datetime):
        return dtype.time_unit != "ns"
    return dtype.is_integer() or dtype.is_float() or isinstance(dtype, (pl.Boolean, pl.String, pl.Date))
