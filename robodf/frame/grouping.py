"""Groups: by key, by time window, rolling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError, column_not_found, hint
from robodf.frame.base import FrameBase
from robodf.plan.base import Plan, Schema
from robodf.plan.expr import Call, Col, Expr
from robodf.plan.nodes.aggregate import GroupBy, GroupByDynamic, Rolling
from robodf.plan.resolve import Named, flatten, output_names, resolve, resolve_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from robodf.frame.frame import PipelineDataFrame

_NAMED = ("sum", "mean", "median", "min", "max", "first", "last", "count", "n_unique", "std", "var", "len")
_ALIASES = {"avg": "mean", "average": "mean", "nunique": "n_unique", "size": "len", "count_distinct": "n_unique"}


class Grouping(FrameBase):
    """Methods that put rows into groups."""

    def group_by(self, *by: Any, maintain_order: bool = False, **named_by: Any) -> Groups:
        """Groups of rows that are equal on `by`: follow with `.agg(...)`, `.mean()`, `.len()` and the like.

        The order of the groups is not defined unless maintain_order=True (by first appearance). Nulls are a group.

        >>> import robodf as rd
        >>> df = rd.from_dict({"robot": ["a", "a", "b"], "speed": [1.0, 3.0, 2.0]})
        >>> df.group_by("robot").agg(rd.col("speed").mean()).sort("robot").collect().rows()
        [('a', 2.0), ('b', 2.0)]
        >>> df.groupby("robot").agg({"speed": "max"}).sort("robot").collect().rows()
        [('a', 3.0), ('b', 2.0)]
        """
        keys = resolve(map(self._own, flatten(by)), self._owned(named_by), self._plan.schema, "group_by")  # type: ignore[attr-defined]
        if not keys:
            raise QueryError("group_by needs a column")
        return Groups(self, keys, lambda plan, keys, aggs: GroupBy(plan, keys, aggs, maintain_order))

    groupby = group_by

    def group_by_dynamic(self, index_column: str, *, every: Any, period: Any = None, offset: Any = None,
                         include_boundaries: bool = False, closed: str = "left", label: str = "left",
                         group_by: Any = None, start_by: str = "window") -> Groups:  # fmt: skip
        """Groups of rows by time windows of length `period` that start every `every`, as in Polars.

        Lengths are timedeltas or texts such as "20ms", "1h30m" or "1mo", for integers "5i". `group_by` are columns
        whose values have windows of their own. The index column must be sorted (within each of them): sort first where
        it is not, or use `resample`, which does.

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [0, 1, 5, 6], "v": [1, 2, 3, 4]})
        >>> df.group_by_dynamic("t", every="5i").agg(rd.col("v").sum()).collect().rows()
        [(0, 3), (5, 7)]
        """
        options = (("every", every), ("period", period), ("offset", offset), ("include_boundaries", include_boundaries),
                   ("closed", closed), ("label", label), ("start_by", start_by))  # fmt: skip
        return self._windows(GroupByDynamic, index_column, group_by, options, "group_by_dynamic")

    def rolling(self, index_column: str, *, period: Any, offset: Any = None, closed: str = "right",
                group_by: Any = None) -> Groups:  # fmt: skip
        """For each row the rows of the window of length `period` that ends at it, as in Polars.

        Lengths are timedeltas or texts such as "500ms", for integers "5i". `group_by` are columns whose values have
        windows of their own, and the index column must be sorted (within each of them).

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [0, 1, 5], "v": [1, 2, 3]})
        >>> df.rolling("t", period="2i").agg(rd.col("v").sum()).collect().rows()
        [(0, 1), (1, 3), (5, 3)]
        """
        options = (("period", period), ("offset", offset), ("closed", closed))
        return self._windows(Rolling, index_column, group_by, options, "rolling")

    def _windows(self, kind: Any, index: Any, by: Any, options: tuple, doing: str) -> Groups:
        schema = self._plan.schema
        column = resolve_one(self._own(index), schema, doing)  # type: ignore[attr-defined]
        if not isinstance(column, Col):
            raise QueryError(f"{doing} takes a column as its index, not {column!r}: compute it with with_columns first")
        dtype = schema[column.ref]
        if not (dtype.is_temporal() or dtype.is_integer()):
            raise SchemaError(f"{doing}: the index {column.ref!r} is {dtype}; it must be a time or an integer")
        keys = resolve(flatten([] if by is None else [by]), {}, schema, doing)
        return Groups(self, keys, lambda plan, keys, aggs: kind(plan, column.ref, keys, aggs, options), column.ref)


class Groups:
    """Rows in groups, waiting for `.agg(...)`."""

    def __init__(self, frame: Any, keys: Named, make: Callable[[Plan, Named, Named], Plan], index: str | None = None):
        self._frame, self._keys, self._make, self._index = frame, keys, make, index

    def agg(self, *aggs: Any, **named: Any) -> PipelineDataFrame:
        """One row for each group: expressions, `name=expression`, or a dict `{"column": "mean"}`.

        A dict value may be a list of functions; then the columns are called `column_function`.
        """
        schema = self._frame._plan.schema
        items: list[Any] = []
        for item in flatten(aggs):
            items.extend(_from_dict(item, schema) if isinstance(item, Mapping) else [item])
        resolved = self._resolve(items, self._frame._owned(named), schema)
        taken = {*output_names(self._keys), *([self._index] if self._index else [])}
        for name in output_names(resolved):
            if name in taken:
                raise SchemaError(f"agg gives a column {name!r}, which is a key: rename it with .alias(...)")
        return self._frame._then(self._make(self._frame._plan, self._keys, resolved))

    def _resolve(self, items: list, named: Mapping[str, Any], schema: Schema) -> Named:
        keys = {e.ref for _, e in self._keys if isinstance(e, Col)} | {self._index}
        rest = {name: dtype for name, dtype in schema.items() if name not in keys}
        items = [self._frame._own(i) for i in items]
        try:
            return resolve(items, named, rest, "agg")  # wildcards mean all columns but the keys, as in Polars
        except ColumnNotFoundError:
            return resolve(items, named, schema, "agg")

    def _all(self, function: str) -> PipelineDataFrame:
        schema = self._frame._plan.schema
        keys = {e.ref for _, e in self._keys if isinstance(e, Col)} | {self._index}
        names = [n for n in schema if n not in keys]
        return self.agg(*(Call(function, (Col(n),)) for n in names))

    def len(self, name: str = "len") -> PipelineDataFrame:
        """One row for each group: the number of its rows."""
        return self.agg(Call("alias", (Call("pl.len", ()), name)))

    size = len

    def sum(self) -> PipelineDataFrame:
        """The sum of each column that is not a key."""
        return self._all("sum")

    def mean(self) -> PipelineDataFrame:
        """The mean of each column that is not a key (null where it has none, as in Polars)."""
        return self._all("mean")

    def median(self) -> PipelineDataFrame:
        """The median of each column that is not a key."""
        return self._all("median")

    def min(self) -> PipelineDataFrame:
        """The least value of each column that is not a key."""
        return self._all("min")

    def max(self) -> PipelineDataFrame:
        """The greatest value of each column that is not a key."""
        return self._all("max")

    def first(self) -> PipelineDataFrame:
        """The first value of each column that is not a key."""
        return self._all("first")

    def last(self) -> PipelineDataFrame:
        """The last value of each column that is not a key."""
        return self._all("last")

    def std(self) -> PipelineDataFrame:
        """The sample standard deviation of each column that is not a key."""
        return self._all("std")

    def var(self) -> PipelineDataFrame:
        """The sample variance of each column that is not a key."""
        return self._all("var")

    def count(self) -> PipelineDataFrame:
        """The number of values that are not null, of each column that is not a key."""
        return self._all("count")

    def n_unique(self) -> PipelineDataFrame:
        """The number of different values of each column that is not a key."""
        return self._all("n_unique")

    def all(self) -> PipelineDataFrame:
        """The values of each column that is not a key, as a list."""
        return self._all("implode")

    def __repr__(self) -> str:
        return f"<groups by {', '.join(output_names(self._keys)) or self._index}; follow with .agg(...)>"


def _from_dict(table: Mapping[Any, Any], schema: Schema) -> list[Expr]:
    made: list[Expr] = []
    for name, functions in table.items():
        if name not in schema:
            raise column_not_found(name, schema, "agg")
        several = not isinstance(functions, str)
        for function in functions if several else [functions]:
            known = _ALIASES.get(function, function)
            if known not in _NAMED:
                raise OptionError(
                    f"agg: no function {function!r}{hint(str(function), _NAMED)} Functions: {', '.join(_NAMED)}"
                )
            call = Call(known, (Col(name),))
            made.append(Call("alias", (call, f"{name}_{function}"))) if several else made.append(call)
    return made
