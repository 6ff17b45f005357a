"""Columns of a table in one of its files: found by field id, whatever they are called there, and widened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.iceberg.types import Field, constant, literal

_ID = b"PARQUET:field_id"
_NARROWER = {
    pl.Int32: (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16),
    pl.Int64: (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32),
    pl.Float64: (pl.Float32,),
}


@dataclass(frozen=True)
class Origin:
    """What a column of the table, or a field in one, is of a file.

    `name` is what it is called there, and `dtype` its type. Of a field that the file lacks `name` is None, and `value`
    is what all rows have. `parts` are the origins of what is nested in it.
    """

    field: Field
    name: str | None
    dtype: pl.DataType
    value: Any = None
    parts: tuple[Origin, ...] = ()

    @property
    def same(self) -> bool:
        """Whether it is called as in the table, and its values are those of the table as they are."""
        return self.name == self.field.name and self._as_is

    @property
    def _as_is(self) -> bool:
        if self.field.kind == "list":  # what the element is called says nothing
            return self.dtype == self.field.dtype and self.parts[0]._as_is
        return self.dtype == self.field.dtype and all(part.same for part in self.parts)

    def made(self) -> pl.Expr:
        """The column of the table of those that the file holds."""
        if self.name is None:
            return literal(self.field.dtype, self.value).alias(self.field.name)
        return self._of(pl.col(self.name)).alias(self.field.name)

    def _of(self, held: pl.Expr) -> pl.Expr:
        if self._as_is:
            return held
        if not self.parts:
            return held.cast(self.field.dtype)
        if self.field.kind == "list":
            return held.list.eval(self.parts[0]._of(pl.element()))
        if self.field.kind == "map":
            return held.list.eval(self._struct(pl.element()))
        return self._struct(held)

    def _struct(self, held: pl.Expr) -> pl.Expr:
        fields = [
            literal(part.field.dtype, part.value).alias(part.field.name)
            if part.name is None
            else part._of(held.struct.field(part.name)).alias(part.field.name)
            for part in self.parts
        ]
        return pl.when(held.is_not_null()).then(pl.struct(fields))  # null where the struct is


def origins(
    fields: tuple[Field, ...], footer: Any, mapping: str | None, told: Mapping[int, Any], path: str
) -> tuple[Origin, ...]:
    """The origins of columns in a file, by its footer as pyarrow has it.

    `mapping` names the ids of files that have none, and `told` are the values of columns by the partition of the file.
    FileFormatError for a file of which it is not known which column is which, or that has one of another type.
    """
    import pyarrow as pa

    try:
        schema = footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileFormatError(f"{path}: its schema cannot be read: {str(error).splitlines()[0]}") from error
    held = list(schema)
    if len({field.name for field in held}) < len(held):
        raise FileFormatError(f"{path}: has two columns of the same name")
    if not any(_ids(held)):
        if mapping is None:
            raise FileFormatError(
                f"{path}: its columns have no ids, and the table does not say which is which. Set its property "
                "schema.name-mapping.default (pyiceberg's add_files does), or rewrite the file with its engine"
            )
        try:
            held = _named(held, json.loads(mapping), path)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise FileFormatError(f"{path}: its table has a mapping of names that is damaged: {error!r}") from error
    places = {_id(field): field for field in held if _id(field) is not None}
    return tuple(_origin(field, places.get(field.id), told, path) for field in fields)


def _id(field: Any) -> int | None:
    told = (field.metadata or {}).get(_ID)
    return int(told) if told is not None and told.lstrip(b"-").isdigit() else None


def _ids(fields: list) -> list[bool]:
    """Of each field, also of those that are nested in one, whether it has an id."""
    found = []
    for field in fields:
        found.append((_id(field) or 0) > 0)
        found += _ids(_nested(field.type))
    return found


def _nested(of: Any) -> list:
    import pyarrow as pa

    if pa.types.is_struct(of):
        return [of.field(k) for k in range(of.num_fields)]
    if pa.types.is_map(of):
        return [of.key_field, of.item_field]
    if pa.types.is_list(of) or pa.types.is_large_list(of) or pa.types.is_fixed_size_list(of):
        return [of.value_field]
    return []


def _origin(field: Field, held: Any, told: Mapping[int, Any], path: str) -> Origin:
    if held is None:
        return _absent(field, told, path)
    inside = _nested(held.type)
    kind = {0: "plain"}.get(len(field.parts), field.kind)
    if kind != _kind(held.type):
        raise _other(field, held, path)
    if kind == "plain":
        return Origin(field, held.name, _read_as(field, held, path))
    if kind == "struct":
        places = {_id(one): one for one in inside if _id(one) is not None}
        parts = tuple(_origin(part, places.get(part.id), {}, path) for part in field.parts)
        # Fields that the file has and the table has not any more are read too: Polars takes structs whole.
        dtype: pl.DataType = pl.Struct({one.name: _type_of(one, path) for one in inside})
        return Origin(field, held.name, dtype, None, parts)
    parts = tuple(_origin(part, one, {}, path) for part, one in zip(field.parts, inside, strict=True))
    return Origin(field, held.name, _type_of(held, path), None, parts)


def _absent(field: Field, told: Mapping[int, Any], path: str) -> Origin:
    value = told.get(field.id)
    if value is None and field.default is not None:
        value = constant(field, field.default, path)
    if value is None and field.required and field.id not in told:
        raise FileFormatError(f"{path}: lacks the column {field.name!r}, which must not be null and has no default")
    return Origin(field, None, field.dtype, value)


def _kind(of: Any) -> str:
    import pyarrow as pa

    if pa.types.is_struct(of):
        return "struct"
    if pa.types.is_map(of):
        return "map"
    return "list" if _nested(of) else "plain"


def _read_as(field: Field, held: Any, path: str) -> pl.DataType:
    """The type of a plain column as Polars reads it, where it becomes that of the table without loss."""
    found, wanted = _type_of(held, path), field.dtype
    if isinstance(found, (pl.Categorical, pl.Enum)) and isinstance(wanted, pl.String):
        return found
    widened = type(found) in _NARROWER.get(type(wanted), ())
    if isinstance(found, pl.Decimal) and isinstance(wanted, pl.Decimal):
        widened = found.scale == wanted.scale and (found.precision or 38) <= (wanted.precision or 38)
    if isinstance(wanted, pl.Datetime):
        widened = isinstance(found, (pl.Datetime, pl.Date))
    if isinstance(wanted, pl.Null) or (found != wanted and not widened):
        raise _other(field, held, path)
    return found


def _type_of(held: Any, path: str) -> pl.DataType:
    import pyarrow as pa

    try:
        found = pl.from_arrow(pa.schema([held]).empty_table())
    except (pl.exceptions.PolarsError, pa.ArrowException, ValueError, TypeError) as error:
        raise FileFormatError(f"{path}: its column {held.name!r} is of the type {held.type}") from error
    assert isinstance(found, pl.DataFrame)
    return found.dtypes[0]


def _other(field: Field, held: Any, path: str) -> FileFormatError:
    return FileFormatError(
        f"{path}: its column {held.name!r} of the id {field.id} is of the type {held.type}, which is no {field.kind} "
        f"as the column {field.name!r} of the table: rewrite the file with the engine of the table"
    )


def _named(held: list, mapping: Any, path: str) -> list:
    """Fields with the ids that a mapping gives to their names, nested ones too."""
    told = _by_name(mapping)
    return [_with_id(field, told.get(field.name), path) for field in held]


def _by_name(mapping: Any) -> dict[str, Any]:
    return {name: one for one in mapping for name in one["names"]}


def _with_id(field: Any, told: Any, path: str) -> Any:
    import pyarrow as pa

    if told is None:
        return field.remove_metadata()
    of, inside = field.type, told.get("fields") or []
    if pa.types.is_struct(of):
        of = pa.struct(_named(_nested(of), inside, path))
    elif pa.types.is_map(of):
        key, value = (
            _with_id(one, _by_name(inside).get(name), path) for one, name in zip(_nested(of), ("key", "value"))
        )
        of = pa.map_(key, value)
    elif _nested(of):
        of = pa.list_(_with_id(of.value_field, _by_name(inside).get("element"), path))
    number = told.get("field-id")
    return pa.field(field.name, of, field.nullable, {} if number is None else {_ID: str(int(number)).encode()})
