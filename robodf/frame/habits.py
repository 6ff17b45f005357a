"""What users of pandas type without thinking. What executes says so; counts come from metadata where they can."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex

import polars as pl

from robodf.errors import QueryError, column_not_found, hint
from robodf.frame.base import FrameBase
from robodf.frame.column import Column
from robodf.frame.joining import concat
from robodf.plan.expr import Col, Expr

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

_ELSEWHERE = {
    "sort_values": "sort", "orderBy": "sort", "order_by": "sort", "groupBy": "group_by", "withColumn": "with_columns",
    "withColumnRenamed": "rename", "toPandas": "to_pandas", "fillna": "fill_null", "isin": "is_in (of a column)",
    "dropDuplicates": "dedup", "nunique": "n_unique", "apply": "map or map_batches", "iterrows": "iter_rows",
    "itertuples": "iter_rows", "iloc": "df[0:10], df.slice(...) or df[0]", "loc": "filter", "query": "rd.sql or filter",
    "agg": "select, or group_by(...).agg", "union": "rd.concat", "append": "rd.concat", "to_table": "to_arrow",
    "info": "schema", "value_counts": "group_by(...).len()", "count": "count_rows()", "collect_async": "collect",
    "write_parquet": "to_parquet", "sink_parquet": "to_parquet", "write_csv": "to_csv",
    "set_index": "sort, or join on the column",
    "reset_index": "with_row_index", "isnull": "is_null (of a column)", "T": "pivot or unpivot",
}  # fmt: skip


class Habits(FrameBase):
    """`df["a"]`, `len(df)`, `for row in df` and the like."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        schema = self._plan.schema
        if name in schema:
            return Column(self._plan, Col(name))
        if name in _ELSEWHERE:
            raise AttributeError(f"frames have no {name!r} here: use {_ELSEWHERE[name]}")
        methods = [n for n in dir(type(self)) if not n.startswith("_")]
        raise AttributeError(
            f"no method or column {name!r}{hint(name, [*methods, *schema])} Columns: {', '.join(schema)}."
        )

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *(n for n in self._plan.schema if n.isidentifier())})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._plan.schema)

    def __getitem__(self, key: Any) -> Any:
        """`df["a"]` is a column, `df[["a", "b"]]` and `df[0:10]` are lazy frames, `df[mask]` a filter.

        `df[0]` is the row as a dict: it executes, reading as little as one row needs.

        >>> import robodf as rd
        >>> df = rd.from_dict({"a": [1, 2, 3], "b": [4, 5, 6]})
        >>> df[0], df[["b"]].columns, df[1:].collect()["a"].to_list(), df[-1]["b"]
        ({'a': 1, 'b': 4}, ['b'], [2, 3], 6)
        """
        if isinstance(key, str):
            if key not in self._plan.schema:
                raise column_not_found(key, self._plan.schema, "this frame")
            return Column(self._plan, Col(key))
        if isinstance(key, slice):
            return self._row_slice(key)
        if isinstance(key, (Column, Expr, pl.Expr)):
            return self.filter(key)  # type: ignore[attr-defined]
        if isinstance(key, (list, tuple)) and all(isinstance(k, str) for k in key):
            return self.select(*key)  # type: ignore[attr-defined]
        if isinstance(key, SupportsIndex) and not isinstance(key, bool):
            rows = self.slice(operator.index(key), 1).collect().rows(named=True)  # type: ignore[attr-defined]
            if not rows:
                raise IndexError(f"row {operator.index(key)} of a frame of {len(self)} rows")
            return rows[0]
        raise QueryError(
            "df[...] takes a column name, a list of them, a slice, a row number or a condition, "
            f"not {type(key).__name__}"
        )

    def _row_slice(self, key: slice) -> PipelineDataFrame:
        if key.step not in (None, 1):
            raise QueryError("df[a:b:step] with a step is not a slice of rows: use with_row_index and filter on it")
        start, stop = key.start or 0, key.stop
        if start < 0 and stop is not None and stop >= 0:
            raise QueryError("df[a:b] from the end to a position from the start needs the number of rows: use slice")
        if stop is None:
            return self.slice(start)  # type: ignore[attr-defined]
        if stop < 0 and start >= 0:
            rows = len(self)
            return self.slice(start, max(0, rows + stop - start))  # type: ignore[attr-defined]
        return self.slice(start, max(0, stop - start))  # type: ignore[attr-defined]

    def __len__(self) -> int:
        """The number of rows. Executes a count; from metadata alone where the plan allows it."""
        return self.count_rows()  # type: ignore[attr-defined]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns). Executes a count, as `len(df)` does."""
        return len(self), self.width

    @property
    def height(self) -> int:
        """The number of rows. Executes a count, as `len(df)` does."""
        return len(self)

    @property
    def empty(self) -> bool:
        """True where there is no row. Executes the query until one row is found."""
        return self.head(1).count_rows() == 0  # type: ignore[attr-defined]

    def is_empty(self) -> bool:
        """`empty`, under Polars' name. Executes the query until one row is found."""
        return self.empty

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as dicts, in batches. Executes the query, as far as the loop goes."""
        return self.iter_rows()  # type: ignore[attr-defined]

    def __contains__(self, value: Any) -> bool:
        """`"a" in df` is true of a column name; any other value is looked for in all columns that can hold it.

        The second executes the query until the value is found.
        """
        if isinstance(value, str) and value in self._plan.schema:
            return True
        from robodf.frame.shaping import _holds
        from robodf.plan.expr import Call, Lit, freeze

        found: Expr | None = None
        for name, dtype in self._plan.schema.items():
            if _holds(dtype, value):
                same = Call("__eq__", (Col(name), Lit(freeze(value))))
                found = same if found is None else Call("__or__", (found, same))
        return found is not None and not self.filter(found).empty  # type: ignore[attr-defined]

    def __add__(self, other: Any) -> PipelineDataFrame:
        """The rows of both, those of this frame first; the columns must be alike."""
        if not isinstance(other, (FrameBase, pl.DataFrame, pl.LazyFrame)):
            raise TypeError(f"df + x puts the rows of two frames below each other; x is {type(other).__name__}. "
                            "To compute with columns, use with_columns")  # fmt: skip
        return concat([self, other])

    __or__ = __add__

    def copy(self) -> PipelineDataFrame:
        """The same frame: it cannot change."""
        return self  # type: ignore[return-value]

    clone = copy

    def __bool__(self) -> bool:
        raise TypeError("a frame has no truth value: use df.empty, or len(df) > 0")

    def __eq__(self, other: object) -> bool:
        raise TypeError("frames are compared by their rows: df.collect().equals(other.collect())")

    __hash__ = None  # type: ignore[assignment]
