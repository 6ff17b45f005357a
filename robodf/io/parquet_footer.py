"""What the footers of Parquet files say of their row groups: where they are, how large, and what they cannot hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.files import FileReader, StorageOptions, open_file
from robodf.io.source import Request
from robodf.plan.excluding import Known, excludes, held, ordered_alike
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
        known = {name: _known(sound, name, schema[name]) for p in predicates for name in p.columns & schema.keys()}
        excluded = any(excludes(p, schema, known.get, group.num_rows) for p in predicates)
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


def _known(columns: list, name: str, dtype: pl.DataType) -> Known | None:
    """What the statistics of a row group say of a column."""
    if "." in name or not ordered_alike(dtype):  # a dot: a field of a struct may have that path
        return None
    column = next((column for column in columns if column.path_in_schema == name), None)
    stats = None if column is None else column.statistics
    if stats is None:
        return None
    low, high = _bounds(stats) if stats.has_min_max else (None, None)
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        low = high = None  # Python's times end at microseconds
    nulls = stats.null_count if stats.has_null_count else None
    return Known(held(low, dtype), held(high, dtype, up=True), nulls)  # statistics leave out NaN


def _bounds(stats: Any) -> tuple[Any, Any]:
    """The least and the greatest value of a column of a row group; None where its statistics do not tell."""
    try:
        return stats.min, stats.max
    except (ValueError, OverflowError):  # texts that are not UTF-8, times that Python does not have
        return None, None
