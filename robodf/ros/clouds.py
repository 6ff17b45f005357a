"""Bytes of cloud messages into columns of points. All that a message says is checked before a byte of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from robodf.compat import explode_options
from robodf.errors import SchemaError
from robodf.ros.payloads import payloads
from robodf.ros.points import NUMPY

if TYPE_CHECKING:
    import pyarrow as pa

# The types of a field: sensor_msgs/PointField, foxglove.PackedElementField.
_ROS_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_FOXGLOVE_TYPES = {1: "u1", 2: "i1", 3: "u2", 4: "i2", 5: "u4", 6: "i4", 7: "f4", 8: "f8"}
_FOXGLOVE_NAMES = "UNKNOWN UINT8 INT8 UINT16 INT16 UINT32 INT32 FLOAT32 FLOAT64".split()

_MOST = (1 << 32) - 1  # what a uint32 of a message can say; sums and products of two stay below 2 ** 63


@dataclass(frozen=True)
class _Clouds:
    """Where the points of each message lie: arrays of one int64 or bool per message."""

    height: np.ndarray
    width: np.ndarray
    step: np.ndarray
    row_step: np.ndarray
    big: np.ndarray
    data: pl.Series
    types: dict[int, str]


@dataclass
class _Field:
    """One field that is asked for, in each message: where it is, and its type (0: the message does not have it)."""

    offset: np.ndarray
    kind: np.ndarray
    count: np.ndarray


def ros(*columns: pl.Series, wanted: dict[str, pl.DataType], drop_nan: bool) -> pl.Series:
    height, width, fields, is_bigendian, point_step, row_step, data = columns
    _check(fields, data, ("name", "offset", "datatype", "count"))
    clouds = _Clouds(
        _numbers(height),
        _numbers(width),
        _numbers(point_step),
        _numbers(row_step),
        _numbers(is_bigendian) == 1,
        data,
        _ROS_TYPES,
    )
    described = _described(fields, wanted, "datatype", "count")
    return _decode(clouds, described, fields.is_not_null().to_numpy(), wanted, drop_nan)


def foxglove(
    point_stride: pl.Series, fields: pl.Series, data: pl.Series, *, wanted: dict[str, pl.DataType], drop_nan: bool
) -> pl.Series:
    _check(fields, data, ("name", "offset", "type"))
    step, size = _numbers(point_stride), _sizes(data)
    # A stride of nothing gives one point of no bytes, which is no valid cloud.
    width = np.where(size > 0, np.where(step > 0, size // np.maximum(step, 1), 1), 0)
    one = np.ones(len(data), np.int64)
    clouds = _Clouds(one, width, step, one, np.zeros(len(data), bool), data, _FOXGLOVE_TYPES)
    return _decode(clouds, _described(fields, wanted, "type", None), fields.is_not_null().to_numpy(), wanted, drop_nan)


def _check(fields: pl.Series, data: pl.Series, members: tuple[str, ...]) -> None:
    if data.dtype != pl.Binary:
        raise SchemaError(f"points: the column data holds bytes (Binary), not {data.dtype}")
    inner = fields.dtype.inner if isinstance(fields.dtype, pl.List) else None
    names = {f.name for f in inner.fields} if isinstance(inner, pl.Struct) else set()
    if not names.issuperset(members):
        raise SchemaError(f"points: the column fields is a list of structs of {', '.join(members)}, not {fields.dtype}")


def _numbers(values: pl.Series) -> np.ndarray:
    """As int64; what no message can say is -1."""
    numbers = values.cast(pl.Int64, strict=False).fill_null(-1).to_numpy()
    return np.where((numbers >= 0) & (numbers <= _MOST), numbers, -1)


def _sizes(data: pl.Series) -> np.ndarray:
    return data.bin.size().cast(pl.Int64).fill_null(-1).to_numpy()


def _described(
    fields: pl.Series, wanted: dict[str, pl.DataType], type_member: str, count_member: str | None
) -> dict[str, _Field]:
    """The fields that are asked for, out of what each message says of its fields; of two of one name, the first."""
    height = len(fields)
    lengths = fields.list.len().fill_null(0).to_numpy()
    rows = np.repeat(np.arange(height), lengths)
    items = fields.filter(pl.Series(lengths > 0, dtype=pl.Boolean)).explode(**explode_options()).struct
    names = items.field("name").cast(pl.String)
    kinds = items.field(type_member)
    if kinds.dtype in (pl.String, pl.Enum, pl.Categorical):
        kinds = kinds.cast(pl.String).replace_strict(
            _FOXGLOVE_NAMES, range(len(_FOXGLOVE_NAMES)), default=0, return_dtype=pl.Int64
        )
    offset, kind = _numbers(items.field("offset")), _numbers(kinds)
    count = np.ones(len(rows), np.int64) if count_member is None else _numbers(items.field(count_member))
    count = np.where(count == 0, 1, count)  # PCL wrote 0 for one number
    found = {}
    for name in wanted:
        at = np.flatnonzero((names == name).fill_null(False).to_numpy())
        of, first = np.unique(rows[at], return_index=True)
        field = _Field(*(np.zeros(height, np.int64) for _ in range(3)))
        field.offset[of], field.kind[of], field.count[of] = offset[at[first]], kind[at[first]], count[at[first]]
        field.kind[of[field.kind[of] == 0]] = -1  # there, of a type that is none
        found[name] = field
    return found


def _valid(clouds: _Clouds, described: dict[str, _Field]) -> np.ndarray:
    """The clouds all of whose bytes are there. Divisions, so that no product can overflow."""
    size = _sizes(clouds.data)
    height, width, step = clouds.height, clouds.width, clouds.step
    known = (size >= 0) & (height >= 0) & (width >= 0)
    empty = (height == 0) | (width == 0)
    fits = (step > 0) & (width <= size // np.maximum(step, 1))
    row = np.where(fits, width * step, 0)
    apart = np.where(height > 1, clouds.row_step, row)
    fits &= (apart >= row) & (height - 1 <= (size - row) // np.maximum(apart, 1))
    widths = np.zeros(256, np.int64)
    for kind, code in clouds.types.items():
        widths[kind] = np.dtype(code).itemsize
    for field in described.values():
        item = widths[np.clip(field.kind, 0, 255)]
        inside = (item > 0) & (field.offset >= 0) & (field.count > 0) & (field.offset + item * field.count <= step)
        fits &= (field.kind == 0) | inside
    return known & (empty | fits)


def _decode(
    clouds: _Clouds,
    described: dict[str, _Field],
    has_fields: np.ndarray,
    wanted: dict[str, pl.DataType],
    drop_nan: bool,
) -> pl.Series:
    import pyarrow as pa

    valid = _valid(clouds, described) & has_fields
    counts = np.where(valid, clouds.height, 0) * np.where(valid, clouds.width, 0)
    ends = np.concatenate([[0], np.cumsum(counts)])
    columns = [_Column(described[name], dtype, counts, clouds.types) for name, dtype in wanted.items()]
    with np.errstate(all="ignore"):  # a double that is no float becomes infinite
        for row, buffer in enumerate(payloads(clouds.data)):
            if not counts[row]:
                continue
            height, width, step = int(clouds.height[row]), int(clouds.width[row]), int(clouds.step[row])
            apart = int(clouds.row_step[row])
            if height > 1 and apart == width * step:
                height, width = 1, height * width  # one long row is copied in one loop
            order = ">" if clouds.big[row] else "<"
            at = slice(int(ends[row]), int(ends[row + 1]))
            # All fields of a message, then the next message: its bytes come into the cache once.
            for column in columns:
                column.copy(row, at, buffer, order, (height, width), (apart, step))
    for column in columns:
        column.convert()
    if drop_nan:
        ends = _drop_nan(columns, ends)
    struct = pa.StructArray.from_arrays([column.array() for column in columns], names=list(wanted))
    lists = pa.LargeListArray.from_arrays(pa.array(ends), struct, mask=pa.array(~valid))
    return pl.Series(pl.from_arrow(lists))


def _drop_nan(columns: list[_Column], ends: np.ndarray) -> np.ndarray:
    """Takes the points with NaN out of all columns; the new ends of the messages."""
    keep = np.ones(ends[-1], bool)
    for column in columns:
        if column.values.dtype.kind == "f":
            keep &= ~np.isnan(column.values).any(axis=1)
    if keep.all():
        return ends
    for column in columns:
        column.values = column.values[keep]
        column.null = None if column.null is None else column.null[keep]
    return np.concatenate([[0], np.cumsum(keep)])[ends]


class _Column:
    """The numbers of one field that is asked for, of shape (points, numbers in each), and which points are null."""

    def __init__(self, field: _Field, dtype: pl.DataType, counts: np.ndarray, types: dict[int, str]):
        many = isinstance(dtype, pl.Array)
        self.inner, self.per = (dtype.inner, dtype.size) if isinstance(dtype, pl.Array) else (dtype, 1)
        self.many = many
        self.field = field
        self.types = types
        self.here = (field.kind > 0) & ((field.count == self.per) | (not many))
        used = counts > 0
        missing = bool((used & ~self.here).any())
        target = np.dtype(NUMPY[self.inner])
        sources = [np.dtype(types[kind]) for kind in np.unique(field.kind[used & self.here]).tolist()]
        # What fits is converted while it is copied; the rest is copied as it is, and converted with nulls after that.
        self.fits = target.kind == "f" or all(np.can_cast(source, target, "safe") for source in sources)
        self.values = (np.zeros if missing else np.empty)(
            (int(counts.sum()), self.per), target if self.fits else np.result_type(*sources)
        )
        self.null = np.repeat(~self.here, counts) if missing else None

    def copy(
        self, row: int, at: slice, buffer: Any, order: str, shape: tuple[int, int], strides: tuple[int, int]
    ) -> None:
        """The numbers of one message, whose layout was checked."""
        if self.here[row]:
            field = self.field
            source = np.dtype(order + self.types[int(field.kind[row])])
            offset = int(field.offset[row])
            view = np.ndarray((*shape, self.per), source, buffer, offset, (*strides, source.itemsize))
            self.values[at].reshape(view.shape)[...] = view

    def convert(self) -> None:
        """To the type that is wanted; what it cannot hold is null."""
        if self.fits:
            return
        cast = pl.Series(self.values.ravel()).cast(self.inner, strict=False)
        if cast.null_count():
            null = np.any(cast.is_null().to_numpy().reshape(-1, self.per), axis=1)
            self.null = null if self.null is None else self.null | null
        self.values = cast.fill_null(0).to_numpy().reshape(-1, self.per)

    def array(self) -> pa.Array:
        """For Arrow."""
        import pyarrow as pa

        if not self.many:
            return pa.array(self.values[:, 0], mask=self.null)
        mask = None if self.null is None else pa.array(self.null)
        return pa.FixedSizeListArray.from_arrays(pa.array(self.values.ravel()), self.per, mask=mask)
