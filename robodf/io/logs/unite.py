"""One type for a column that channels or files state differently."""

from __future__ import annotations

from typing import Any

import polars as pl

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def unite(a: Any, b: Any) -> Any:
    """The type that holds the values of both: numbers are widened, structs have the fields of both, by name.

    None where there is none, as for text and numbers.

    >>> unite(pl.Struct({"x": pl.Int32()}), pl.Struct({"x": pl.Float64(), "y": pl.String()}))
    Struct({'x': Float64, 'y': String})
    """
    if a == b:
        return a
    if isinstance(a, pl.Struct) and isinstance(b, pl.Struct):
        fields = {f.name: f.dtype for f in a.fields}
        for f in b.fields:
            both = unite(fields[f.name], f.dtype) if f.name in fields else f.dtype
            if both is None:
                return None
            fields[f.name] = both
        return pl.Struct(fields)
    if isinstance(a, (pl.List, pl.Array)) and isinstance(b, (pl.List, pl.Array)):
        inner = unite(a.inner, b.inner)
        if inner is None:
            return None
        return (
            pl.Array(inner, a.size)
            if isinstance(a, pl.Array) and isinstance(b, pl.Array) and a.size == b.size
            else pl.List(inner)
        )
    if a.is_numeric() and b.is_numeric():
        wide = pl.concat([pl.DataFrame(schema={"x": t}) for t in (a, b)], how="vertical_relaxed").schema["x"]
        # Int64 with UInt64 is Float64 or Int128, by the version of Polars: ids and stamps would be rounded, or of a
        # type that few files can hold.
        return None if a.is_integer() and b.is_integer() and wide not in _INTEGERS else wide
    return None


def fitted(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The column as `dtype`, which holds at least a part of its values: null in fields that it lacks."""
    if column.dtype == dtype:
        return column
    frame = column.to_frame("x")
    return frame.select(_fit(pl.col("x"), column.dtype, dtype)).to_series().alias(column.name)


def _fit(e: pl.Expr, have: Any, want: Any) -> pl.Expr:
    if have == want:
        return e
    if isinstance(have, pl.Struct) and isinstance(want, pl.Struct):
        known = {f.name: f.dtype for f in have.fields}
        fields = [
            (_fit(e.struct.field(f.name), known[f.name], f.dtype) if f.name in known else pl.lit(None, f.dtype)).alias(
                f.name
            )
            for f in want.fields
        ]
        return pl.when(e.is_not_null()).then(pl.struct(fields))
    if isinstance(have, pl.Array) and isinstance(want, (pl.Array, pl.List)):
        listed = _fit(e.arr.to_list(), pl.List(have.inner), pl.List(want.inner))
        return listed if isinstance(want, pl.List) else listed.list.to_array(want.size)
    if isinstance(have, pl.List) and isinstance(want, pl.List):
        return e.list.eval(_fit(pl.element(), have.inner, want.inner))
    return e.cast(want)
