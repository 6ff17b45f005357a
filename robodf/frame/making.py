"""Frames out of what is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from robodf.errors import OptionError, QueryError, SchemaError
from robodf.frame.base import FrameBase
from robodf.frame.frame import PipelineDataFrame
from robodf.plan.nodes.scan import InMemory


def from_polars(frame: pl.DataFrame | pl.LazyFrame | pl.Series) -> PipelineDataFrame:
    """A frame of a Polars frame; a LazyFrame stays lazy.

    >>> import robodf as rd, polars as pl
    >>> rd.from_polars(pl.DataFrame({"a": [1]})).columns
    ['a']
    """
    if isinstance(frame, pl.Series):
        frame = frame.to_frame()
    if not isinstance(frame, (pl.DataFrame, pl.LazyFrame)):
        raise OptionError(f"from_polars takes a polars.DataFrame or LazyFrame, not {type(frame).__name__}")
    return PipelineDataFrame(InMemory(frame))


def from_ray(dataset: Any) -> PipelineDataFrame:
    """A frame of a ray.data.Dataset. Runs no more of it than Ray needs to know its columns.

    Its blocks are read where they are with engine="ray", and brought here one by one otherwise. Tensor columns of one
    shape become Array columns. SchemaError for columns of Python objects or tensors of several shapes; ImportError
    without Ray Data (`pip install 'robodf[ray]'`).
    """
    from robodf.io.ray_datasets import from_ray as source
    from robodf.plan.nodes.scan import Scan

    return PipelineDataFrame(Scan(source(dataset)))


def from_arrow(table: Any) -> PipelineDataFrame:
    """A frame of a pyarrow table, record batch or reader, or of any object with an Arrow stream.

    >>> import robodf as rd, pyarrow as pa
    >>> rd.from_arrow(pa.table({"a": [1]})).collect()["a"].to_list()
    [1]
    """
    made = pl.from_arrow(table, rechunk=False)
    return from_polars(made)


def from_pandas(frame: Any) -> PipelineDataFrame:
    """A frame of a pandas.DataFrame; the index is left out.

    >>> import robodf as rd, pandas as pd
    >>> rd.from_pandas(pd.DataFrame({"a": [1]})).collect()["a"].to_list()
    [1]
    """
    return from_polars(pl.from_pandas(frame))


def from_dict(data: Mapping[str, Any], schema: Mapping[str, Any] | None = None) -> PipelineDataFrame:
    """A frame of columns: lists or arrays of equal length; `schema` gives types for some or all of them.

    >>> import robodf as rd
    >>> rd.from_dict({"a": [1, 2], "b": ["x", "y"]}).shape
    (2, 2)
    """
    try:
        return from_polars(pl.DataFrame(dict(data), schema_overrides=None if schema is None else dict(schema)))
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise SchemaError(f"from_dict: {error}") from error


def from_records(rows: Iterable[Mapping[str, Any]] | Sequence[Sequence[Any]], schema: Any = None) -> PipelineDataFrame:
    """A frame of rows: dicts, or tuples with `schema` naming the columns. Types are found from all rows.

    >>> import robodf as rd
    >>> rd.from_records([{"a": 1}, {"a": 2.5}]).collect()["a"].to_list()
    [1.0, 2.5]
    """
    records: list[Any] = list(rows)
    if not records and schema is None:
        raise QueryError("from_records of no rows needs schema=")
    try:
        if records and isinstance(records[0], Mapping):
            return from_polars(pl.from_dicts([dict(r) for r in records], schema=schema, infer_schema_length=None))
        return from_polars(pl.DataFrame(records, schema=schema, orient="row", infer_schema_length=None))
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise SchemaError(f"from_records: {error}") from error


def as_frame(value: Any) -> PipelineDataFrame:
    """`value` as a frame: a frame of robodf, Polars, pandas or Arrow, or a dict of columns."""
    if isinstance(value, PipelineDataFrame):
        return value
    if isinstance(value, (pl.DataFrame, pl.LazyFrame)):
        return from_polars(value)
    if isinstance(value, Mapping):
        return from_dict(value)
    if type(value).__module__.split(".")[0] == "pandas":
        return from_pandas(value)
    if hasattr(value, "__arrow_c_stream__") and not isinstance(value, FrameBase):
        return from_arrow(value)
    raise OptionError(f"no frame can be made of {type(value).__name__}")
