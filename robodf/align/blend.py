"""Values in between two samples, column by column."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from robodf.align.quaternion import slerp
from robodf.compat import explode_options

_QUATERNION = ("x", "y", "z", "w")


def blended(dtype: pl.DataType) -> pl.DataType:
    """The type of a column between two samples: floats stay what they are, integers become Float64."""
    if dtype.is_integer():
        return pl.Float64()
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(f.name, blended(f.dtype)) for f in dtype.fields])  # type: ignore[arg-type]
    if isinstance(dtype, (pl.List, pl.Array)) and _of_numbers(dtype):
        inner = blended(dtype.inner)  # type: ignore[arg-type]
        return pl.List(inner) if isinstance(dtype, pl.List) else pl.Array(inner, dtype.size)
    return dtype


def blends(dtype: pl.DataType) -> bool:
    """True where a column of that type has numbers to blend; other columns take the sample before."""
    if isinstance(dtype, pl.Struct):
        return any(blends(f.dtype) for f in dtype.fields)  # type: ignore[arg-type]
    return _of_numbers(dtype)


def _of_numbers(dtype: pl.DataType) -> bool:
    if isinstance(dtype, (pl.List, pl.Array)):
        return _of_numbers(dtype.inner)  # type: ignore[arg-type]
    return dtype.is_integer() or dtype.is_float()


def blend(before: pl.Series, after: pl.Series, weight: np.ndarray, rotations: bool) -> pl.Series:
    """The values at `weight` (0: before, 1: after) of the way; null where one of the two is null.

    Numbers are interpolated linearly, lists and arrays of numbers element by element (null where the lengths differ),
    structs field by field. With `rotations` quaternions go along the great arc. Anything else is the value before.
    """
    dtype = before.dtype
    if not blends(dtype):
        return before
    if isinstance(dtype, pl.Struct):
        if rotations and _is_quaternion(dtype):
            return _quaternions(before, after, weight)
        return _structs(before, after, weight, rotations)
    if isinstance(dtype, pl.Array):
        made = blend(before.arr.to_list(), after.arr.to_list(), weight, rotations)
        return made.list.to_array(dtype.size)
    if isinstance(dtype, pl.List):
        return _lists(before, after, weight, rotations)
    return _numbers(before, after, weight)


def _numbers(before: pl.Series, after: pl.Series, weight: np.ndarray) -> pl.Series:
    made = pl.DataFrame({"a": before, "b": after, "w": weight}).select(a=_between(pl.col("a"), pl.col("b")))
    return made.to_series().cast(blended(before.dtype)).alias(before.name)


def _between(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    a, b, w = a.cast(pl.Float64), b.cast(pl.Float64), pl.col("w")
    # At the sample itself there is nothing to compute: infinity less infinity is no number.
    return pl.when(w == 0).then(a).otherwise(a + (b - a) * w)


def _structs(before: pl.Series, after: pl.Series, weight: np.ndarray, rotations: bool) -> pl.Series:
    fields = [blend(before.struct.field(f), after.struct.field(f), weight, rotations) for f in before.struct.fields]
    return _where(before.is_not_null() & after.is_not_null(), pl.DataFrame(fields).to_struct(before.name))


def _where(there: pl.Series, values: pl.Series) -> pl.Series:
    """The values, null where `there` is not true."""
    if there.all():
        return values
    return pl.DataFrame({"ok": there, "v": values}).select(pl.when("ok").then("v")).to_series().alias(values.name)


def _lists(before: pl.Series, after: pl.Series, weight: np.ndarray, rotations: bool) -> pl.Series:
    lengths = before.list.len()
    alike = (lengths == after.list.len()).fill_null(False)
    if not rotations or isinstance(before.dtype.inner, (pl.List, pl.Array)):  # type: ignore[attr-defined]
        return _joined([(alike, lambda a, b, w: _elements(a, b, w, rotations))], before, after, weight)
    four = alike & (lengths == 4).fill_null(False)
    return _joined([(four, _list_quaternions), (alike & ~four, lambda a, b, w: _elements(a, b, w, True))],
                   before, after, weight)  # fmt: skip


_Function = Callable[[pl.Series, pl.Series, np.ndarray], pl.Series]


def _joined(
    kinds: list[tuple[pl.Series, _Function]], before: pl.Series, after: pl.Series, weight: np.ndarray
) -> pl.Series:
    """Rows of each kind by its function, put together in their order; null for rows of no kind."""
    if len(kinds) == 1 and kinds[0][0].all():
        return kinds[0][1](before, after, weight)
    parts, place, total = [], np.full(len(before), -1), 0
    for rows, function in kinds:
        mask = rows.to_numpy()
        count = int(mask.sum())
        if count:
            parts.append(function(before.filter(rows), after.filter(rows), weight[mask]))
            place[mask] = np.arange(total, total + count)
            total += count
    if not parts:
        return pl.Series(before.name, [None], blended(before.dtype)).new_from_index(0, len(before))
    index = pl.Series(place).cast(pl.get_index_type(), strict=False)  # no row, and so null, where there is no kind
    return pl.concat(parts).gather(index).alias(before.name)


def _elements(before: pl.Series, after: pl.Series, weight: np.ndarray, rotations: bool) -> pl.Series:
    """Lists, none null and each as long as its partner, element by element."""
    lengths = before.list.len().cast(pl.Int64).to_numpy()
    a, b = before.explode(**explode_options()), after.explode(**explode_options())
    return _as_lists(blend(a, b, np.repeat(weight, lengths), rotations), lengths).alias(before.name)


def _as_lists(values: pl.Series, lengths: np.ndarray) -> pl.Series:
    """The values cut into lists of these lengths."""
    import pyarrow as pa

    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    made = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, values.to_arrow()))
    assert isinstance(made, pl.Series)
    return made.cast(pl.List(values.dtype))


def _is_quaternion(dtype: pl.Struct) -> bool:
    return sorted(f.name for f in dtype.fields) == sorted(_QUATERNION) and all(
        _of_numbers(f.dtype) and not f.dtype.is_nested()  # type: ignore[union-attr,arg-type]
        for f in dtype.fields
    )


def _quaternions(before: pl.Series, after: pl.Series, weight: np.ndarray) -> pl.Series:
    names = before.struct.fields
    a, b = (np.column_stack([_floats(s.struct.field(f)) for f in names]) for s in (before, after))
    made = slerp(a, b, weight)
    known = blended(before.dtype)
    fields = [pl.Series(f, made[:, i]).cast(dtype) for i, (f, dtype) in enumerate(known.to_schema().items())]  # type: ignore[attr-defined]
    there = _whole(made) & before.is_not_null() & after.is_not_null()
    return _where(there, pl.DataFrame(fields).to_struct(before.name))


def _list_quaternions(before: pl.Series, after: pl.Series, weight: np.ndarray) -> pl.Series:
    a, b = (_floats(s.explode(**explode_options())).reshape(-1, 4) for s in (before, after))
    made = slerp(a, b, weight)
    inner = blended(before.dtype).inner  # type: ignore[attr-defined]
    lists = _as_lists(pl.Series(made.ravel()).cast(inner), np.full(len(made), 4))
    return _where(_whole(made), lists)


def _whole(rows: np.ndarray) -> pl.Series:
    """True for rows without NaN."""
    return pl.Series(np.isfinite(rows.sum(axis=1)))


def _floats(values: pl.Series) -> np.ndarray:
    """The numbers as float64, NaN for null."""
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
