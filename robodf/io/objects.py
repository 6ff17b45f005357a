"""Objects as files hold them (maps, lists, numbers, texts) as typed columns.

| values | column |
|---|---|
| whole numbers | Int64; UInt64 beyond it; Float64 with fractions among them |
| true, false | Boolean |
| texts, bytes, times | String, Binary, Datetime("ns") |
| lists, maps | List, Struct with the keys of all |
| of several of these kinds, or nested more than 20 deep | String: texts as they are, others as JSON |
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any

import polars as pl

from robodf.errors import FileFormatError

MOST_FIELDS = 10_000
_DEPTH = 20
_TIME = pl.Datetime("ns")


class Shape:
    """What kinds of values were seen in one place."""

    def __init__(self, counted: list[int] | None = None, depth: int = 0):
        self.kinds: set[str] = set()
        self.fields: dict[str, Shape] = {}
        self.items: Shape | None = None
        self._counted = [0] if counted is None else counted
        self._depth = depth

    def add(self, value: Any) -> None:
        """See a value; FileFormatError where there are more fields than a table can have."""
        if value is None:
            return
        kind = _kind(value)
        if kind in ("map", "list") and self._depth >= _DEPTH:
            kind = "deep"
        self.kinds.add(kind)
        if kind == "map":
            for name, inner in value.items():
                self._field(str(name)).add(inner)
        elif kind == "list":
            self.items = self.items or Shape(self._counted, self._depth + 1)
            for inner in value:
                self.items.add(inner)

    def _field(self, name: str) -> Shape:
        found = self.fields.get(name)
        if found is None:
            self._counted[0] += 1
            if self._counted[0] > MOST_FIELDS:
                raise FileFormatError(f"more than {MOST_FIELDS} fields: the keys of a map seem to be data")
            found = self.fields[name] = Shape(self._counted, self._depth + 1)
        return found

    @property
    def dtype(self) -> pl.DataType:
        """The column that holds all that was seen."""
        kinds = self.kinds
        if not kinds:
            return pl.Null()
        if kinds <= {"int", "float", "huge"}:
            return pl.Float64() if "float" in kinds else pl.UInt64() if "huge" in kinds else pl.Int64()
        if len(kinds) > 1 or "deep" in kinds:
            return pl.String()
        (kind,) = kinds
        if kind == "map":
            return pl.Struct({name: shape.dtype for name, shape in self.fields.items()}) if self.fields else pl.Null()
        if kind == "list":
            return pl.List(self.items.dtype if self.items is not None else pl.Null())
        return {"bool": pl.Boolean(), "text": pl.String(), "bytes": pl.Binary(), "time": _TIME}[kind]


def columns_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, pl.DataType]:
    """The columns of a table of these rows.

    >>> columns_of([{"a": 1, "b": [1, 2.5]}, {"a": "x"}])
    {'a': String, 'b': List(Float64)}
    """
    shape = Shape()
    for row in rows:
        shape.add(row)
    return {name: inner.dtype for name, inner in shape.fields.items()}


def to_frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pl.DataType], where: str) -> pl.DataFrame:
    """The rows in typed columns; FileFormatError for a value or a key that these have no place for.

    >>> to_frame([{"a": 1}, {}], {"a": pl.Int64()}, "x.yaml")["a"].to_list()
    [1, None]
    """
    return frame_of([fitted(row, columns, f"{where}: row {number}") for number, row in enumerate(rows)], columns)


def fitted(row: Mapping[str, Any], columns: Mapping[str, pl.DataType], where: str) -> dict[str, Any]:
    """A row with values as its columns hold them; FileFormatError where one has no place."""
    for name in row:
        if str(name) not in columns:
            raise FileFormatError(f"{where} has a field {str(name)!r}, which the first ones lack")
    return {str(name): _fit(value, columns[str(name)], f"{where}: {name}") for name, value in row.items()}


def frame_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Rows that were fitted, as a frame."""
    made = {n: pl.Series(n, [row.get(n) for row in rows], dtype=t, strict=True) for n, t in columns.items()}
    return pl.DataFrame(made) if made else pl.DataFrame(height=len(rows))


def _fit(value: Any, dtype: pl.DataType, where: str) -> Any:
    if value is None:
        return None
    kind = _kind(value)
    if isinstance(dtype, pl.Struct):
        names = {field.name: field.dtype for field in dtype.fields}
        if kind == "map":
            for name in value:
                if str(name) not in names:
                    raise FileFormatError(f"{where} has a field {str(name)!r}, which the first ones lack")
            return {str(n): _fit(v, names[str(n)], f"{where}.{n}") for n, v in value.items()}  # type: ignore[arg-type]
    elif isinstance(dtype, pl.List):
        if kind == "list":
            return [_fit(inner, dtype.inner, where) for inner in value]  # type: ignore[arg-type]
    elif isinstance(dtype, pl.Datetime):
        if kind == "time":
            return _nanoseconds(value, where)
    elif isinstance(dtype, pl.Null):
        if kind == "map" and not value:
            return None
    elif isinstance(dtype, pl.String):
        return value if kind == "text" else json.dumps(_plain(value, where), ensure_ascii=False, sort_keys=True)
    elif isinstance(dtype, pl.Float64):
        if kind in ("int", "float", "huge"):
            return float(value)
    elif (isinstance(dtype, pl.Int64) and kind == "int") or (isinstance(dtype, pl.UInt64) and kind in ("int", "huge")):
        if isinstance(dtype, pl.Int64) or value >= 0:
            return value
    elif (isinstance(dtype, pl.Boolean) and kind == "bool") or (isinstance(dtype, pl.Binary) and kind == "bytes"):
        return value
    shown = repr(value)
    raise FileFormatError(f"{where}: {shown[:60]} does not fit the type {dtype} of the first ones")


def _plain(value: Any, where: str) -> Any:
    """The value of what JSON has."""
    kind = _kind(value)
    if kind == "map":
        return {str(name): _plain(inner, where) for name, inner in value.items()}
    if kind == "list":
        return [_plain(inner, where) for inner in value]
    if kind == "time":
        return value.isoformat() if isinstance(value, date) else _iso(_nanoseconds(value, where))
    if kind == "bytes":
        raise FileFormatError(f"{where}: bytes stand where others have another kind of value: no column holds both")
    return value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            return "float"
        return "int" if value < 1 << 63 else "huge"
    if isinstance(value, Mapping):
        return "map"
    for types, kind in ((float, "float"), (str, "text"), ((bytes, bytearray), "bytes"), (list, "list"),
                        (date, "time")):  # fmt: skip
        if isinstance(value, types):
            return kind
    if hasattr(value, "to_unix_nano"):
        return "time"
    raise FileFormatError(f"a value of the type {type(value).__name__} has no column")


def _iso(nanoseconds: int) -> str:
    """A timestamp of MessagePack as other times are written, with all of its digits."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09}+00:00"


def _nanoseconds(value: Any, where: str) -> int:
    if hasattr(value, "to_unix_nano"):
        found = value.to_unix_nano()
        if not -(1 << 63) <= found < 1 << 63:
            raise FileFormatError(f"{where}: a time that no column of nanoseconds holds")
        return found
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not 1678 <= value.year <= 2261:
        raise FileFormatError(f"{where}: a time that no column of nanoseconds holds")
    since = value.astimezone(timezone.utc) if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
    whole = since - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (whole.days * 86_400 + whole.seconds) * 1_000_000_000 + whole.microseconds * 1000
