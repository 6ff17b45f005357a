"""Values of pages put together as a Polars column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from robodf.io.parquet_pages.leaves import Leaf
from robodf.io.parquet_pages.page import Rows

if TYPE_CHECKING:
    import pyarrow as pa


def column_of(name: str, dtype: pl.DataType, leaves: tuple[Leaf, ...], found: list[list[Rows]]) -> pl.Series:
    """A column of the rows of some pages: of each leaf, in order. ValueError where the leaves do not fit together."""
    import pyarrow as pa

    arrays = [_leaf_array(leaf, rows) for leaf, rows in zip(leaves, found)]
    if not isinstance(dtype, pl.Struct):
        array = arrays[0]
    else:
        outer = [np.concatenate([rows.outer for rows in of_leaf]) for of_leaf in found]
        if any(not np.array_equal(outer[0], other) for other in outer[1:]):
            raise ValueError("fields of a struct that is there and is not")
        mask = None if outer[0].all() else pa.array(~outer[0])
        array = pa.StructArray.from_arrays(arrays, names=[field.name for field in dtype.fields], mask=mask)
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series.alias(name)


def _leaf_array(leaf: Leaf, found: list[Rows]) -> pa.Array:
    import pyarrow as pa

    valid = np.concatenate([rows.valid for rows in found])
    bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    if not leaf.of_bytes:
        values = np.concatenate([rows.values.numbers for rows in found])  # type: ignore[arg-type]
        if not valid.all():
            spread = np.zeros(len(valid), values.dtype)
            spread[valid] = values
            values = spread
        return pa.array(values.astype(_kept_as(leaf.dtype), copy=False), mask=None if bitmap is None else ~valid)
    pieces = [piece for rows in found for piece in rows.values.pieces or ()]
    lengths = np.zeros(len(valid), np.int64)
    lengths[valid] = np.fromiter(map(len, pieces), np.int64, len(pieces))
    offsets = np.append(0, np.cumsum(lengths))
    kind = pa.large_string() if isinstance(leaf.dtype, pl.String) else pa.large_binary()
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces))]
    array = pa.LargeBinaryArray.from_buffers(kind, len(valid), buffers)
    if isinstance(leaf.dtype, pl.String):
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ValueError(str(error)) from error
    return array


def _kept_as(dtype: pl.DataType) -> str:
    """The NumPy type of a Polars number."""
    if isinstance(dtype, pl.Boolean):
        return "bool"
    name = str(dtype)  # such as UInt32
    return name.lower()
