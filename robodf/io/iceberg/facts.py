"""What manifests tell of the columns of files: bounds, nulls, and the values that files are partitioned by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from robodf.io.file_facts import FileFacts
from robodf.io.iceberg.manifests import DataFile
from robodf.io.iceberg.metadata import Metadata
from robodf.io.iceberg.types import Field, bound, of_partition
from robodf.plan.excluding import Known, ordered_alike

_HOUR = 3_600_000_000


def facts_of(table: Metadata, files: Sequence[DataFile]) -> FileFacts:
    """A line for each file and each column that predicates can be judged by."""
    columns = {f.name: [_known(f, table, file) for file in files] for f in table.schema if ordered_alike(f.dtype)}
    others = {
        f.name: [Known(nulls=_nulls(f, file)) for file in files]
        for f in table.schema
        if not f.parts and not ordered_alike(f.dtype)
    }
    return FileFacts.of({**columns, **others}, table_types(table), [file.rows for file in files])


def table_types(table: Metadata) -> dict[str, pl.DataType]:
    """The columns of the table."""
    return {field.name: field.dtype for field in table.schema}


def identity(table: Metadata, file: DataFile) -> dict[int, Any]:
    """The values of columns, by id, that all rows of a file have; ValueError where one is none of its type."""
    sources = {field.id: field for field in table.schema}
    found = {}
    for key, (source, transform) in table.specs.get(file.spec, {}).items():
        if transform == "identity" and key in file.partition and source in sources:
            found[source] = of_partition(sources[source].dtype, file.partition[key])
    return found


def _nulls(field: Field, file: DataFile) -> int | None:
    found = file.nulls.get(field.id)
    return found if type(found) is int and 0 <= found <= file.rows else None


def _known(field: Field, table: Metadata, file: DataFile) -> Known:
    nulls = _nulls(field, file)
    ends = (file.lower.get(field.id), file.upper.get(field.id))
    low, high = (bound(field.dtype, end) if isinstance(end, bytes) else None for end in ends)
    if low is None or high is None:
        low, high = _of_partition(field, table, file) or (low, high)
    return Known(low, high, nulls, file.nans.get(field.id) != 0)


def _of_partition(field: Field, table: Metadata, file: DataFile) -> tuple[Any, Any] | None:
    """Between which values a column lies by the one that a file is partitioned by."""
    for key, (source, transform) in table.specs.get(file.spec, {}).items():
        value = file.partition.get(key)
        if source != field.id or value is None:
            continue
        found = _range(field.dtype, transform, value)
        if found is not None:
            return found
    return None


def _range(dtype: pl.DataType, transform: str, value: Any) -> tuple[Any, Any] | None:
    """The values of which a transform makes this one, which is not null.

    Of times after 1970 alone: old writers rounded those before it up.
    """
    if transform == "identity":
        try:
            value = of_partition(dtype, value)
        except ValueError:
            return None
        return None if value != value else (value, value)
    if type(value) is not int or value <= 0:
        return None
    unit = {"us": 1, "ns": 1_000}.get(dtype.time_unit, 0) if isinstance(dtype, pl.Datetime) else 0
    if transform == "hour" and unit:
        return value * _HOUR * unit, (value + 1) * _HOUR * unit - 1
    days = _days(transform, value)
    if days is None:
        return None
    if isinstance(dtype, pl.Date):
        return days[0], days[1] - 1
    return (days[0] * 24 * _HOUR * unit, days[1] * 24 * _HOUR * unit - 1) if unit else None


def _days(transform: str, value: int) -> tuple[int, int] | None:
    """The first day of a day, month or year since 1970, and the first after it."""
    try:
        if transform == "day":
            return value, value + 1
        months = {"month": 1, "year": 12}.get(transform)
        if months is None:
            return None
        ends = (divmod(months * k, 12) for k in (value, value + 1))
        first, after = ((date(1970 + year, month + 1, 1) - date(1970, 1, 1)).days for year, month in ends)
        return first, after
    except (ValueError, OverflowError):
        return None
