"""Rows and columns of one frame: choose, compute, order, cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, QueryError, column_not_found
from robodf.frame.base import FrameBase
from robodf.frame.calling import BY_ROW, on_error_of
from robodf.plan.expr import Call, Col, Expr, Lit, as_expr, conjunction, freeze
from robodf.plan.nodes.checkpoint import Checkpoint
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.map import MapBatches
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.nodes.rows import RowIndex, Sample, Slice
from robodf.plan.nodes.shared import Cached, Kept
from robodf.plan.nodes.sort import Sort
from robodf.plan.nodes.unique import Unique
from robodf.plan.resolve import column_names, expand, flatten, output_names, resolve, resolve_predicate
from robodf.plan.trace import Traced, trace
from robodf.plan.udf import ROWS_AT_ONCE, RowFunction, Step

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


class Shaping(FrameBase):
    """Methods that give a frame out of one frame."""

    def filter(self, *predicates: Any, on_error: str = "raise", **equal: Any) -> PipelineDataFrame:
        """Rows for which all conditions are true.

        Conditions are expressions (`rd.col` or `pl.col`), `column=value` pairs, and functions of a row. A lambda
        such as `lambda x: x["quality"] > 0.8` is turned into an expression and pushed into the file; any other
        function runs row by row, and `explain()` says why. A null condition drops the row.

        With `on_error="skip"` or "collect" every function of a row runs row by row, rows for which one raises are left
        out, and `df.errors` lists them, as in `map`.

        >>> import robodf as rd
        >>> df = rd.from_dict({"quality": [0.5, 0.9], "robot": ["a", "b"]})
        >>> df.filter(rd.col("quality") > 0.8).collect().rows()
        [(0.9, 'b')]
        >>> df.filter(robot="a").collect().rows()
        [(0.5, 'a')]
        """
        if not predicates and not equal:
            raise QueryError("filter needs a condition")
        schema = self._plan.schema
        plan, parts = self._plan, []
        skipping = on_error_of(on_error)
        for item in flatten(predicates):
            if isinstance(item, bool) or item is None:
                raise QueryError(f"filter got the constant {item!r}; it takes conditions on columns")
            if callable(item) and not isinstance(item, (Expr, pl.Expr)) and not hasattr(item, "expr"):
                traced = trace(item, schema) if skipping is None else None
                if isinstance(traced, Traced) and isinstance(traced.result, Expr):
                    parts.append(resolve_predicate(traced.result, schema))
                else:
                    why = BY_ROW if traced is None else getattr(traced, "reason", "it does not return a condition")
                    function = RowFunction(item, "filter", tuple(schema.items()))
                    step = Step(function, "rows", tuple(schema.items()), None, False, why)
                    plan = MapBatches(plan, (step,), ROWS_AT_ONCE, on_error_of(on_error))
            else:
                parts.append(resolve_predicate(self._own(item), schema))
        if skipping is not None and plan is self._plan:
            raise OptionError("filter: on_error= is for functions of a row, and there is none among the conditions")
        for name, value in equal.items():
            if name not in schema:
                raise column_not_found(name, schema, "filter")
            is_null = value is None
            parts.append(Call("is_null", (Col(name),)) if is_null else Call("__eq__", (Col(name), Lit(freeze(value)))))
        return self._then(Filter(plan, conjunction(parts)) if parts else plan)

    where = filter

    def select(self, *exprs: Any, **named: Any) -> PipelineDataFrame:
        """These columns and expressions, in this order.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, 2], "b": [3, 4]}).select("b", twice=rd.col("a") * 2).collect().rows()
        [(3, 2), (4, 4)]
        """
        resolved = resolve(map(self._own, flatten(exprs)), self._owned(named), self._plan.schema, "select")
        if not resolved:
            raise QueryError("select needs a column: a frame without columns has no rows")
        return self._then(Select(self._plan, resolved))

    def with_columns(self, *exprs: Any, **named: Any) -> PipelineDataFrame:
        """All columns, with these added or put in place of those of the same name.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, 2]}).with_columns(b=rd.col("a") + 1).collect().rows()
        [(1, 2), (2, 3)]
        """
        resolved = resolve(map(self._own, flatten(exprs)), self._owned(named), self._plan.schema, "with_columns")
        return self._then(WithColumns(self._plan, resolved) if resolved else self._plan)

    def assign(self, **named: Any) -> PipelineDataFrame:
        """`with_columns` under pandas' name; a function is given the frame, and a text is a value, as in pandas.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1]}).assign(b=lambda d: d["a"] + 1, c=0).collect().rows()
        [(1, 2, 0)]
        """
        values = {}
        for name, value in named.items():
            given = value(self) if callable(value) and not isinstance(value, (Expr, pl.Expr)) else value
            values[name] = Lit(given) if isinstance(given, str) else given  # a text is a value in pandas
        return self.with_columns(**values)

    def drop(self, *columns: Any, strict: bool = True) -> PipelineDataFrame:
        """All columns but these; with strict=False a column that is not there is no error.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1], "b": [2]}).drop("a").columns
        ['b']
        """
        schema = self._plan.schema
        items = flatten(columns)
        if not strict:
            items = [c for c in items if not isinstance(c, str) or c in schema]
        gone = set(column_names(items, schema, "drop")) if items else set()
        kept = tuple((name, Col(name)) for name in schema if name not in gone)
        if not kept:
            raise QueryError("drop would leave no column")
        return self._then(Select(self._plan, kept) if gone else self._plan)

    def rename(self, mapping: Mapping[str, str] | Callable[[str], str] | None = None, *, columns: Any = None,
               strict: bool = True) -> PipelineDataFrame:  # fmt: skip
        """Columns under other names, by a dict or a function; `columns=` is accepted as pandas' spelling.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1], "b": [2]}).rename({"a": "x"}).columns
        ['x', 'b']
        """
        mapping = columns if mapping is None else mapping
        schema = self._plan.schema
        if mapping is None:
            raise OptionError("rename needs a dict of old and new names, or a function")
        table = {name: mapping(name) for name in schema} if callable(mapping) else dict(mapping)
        for old in table:
            if old not in schema and strict:
                raise column_not_found(old, schema, "rename")
        exprs = tuple((table.get(name, name), Col(name)) for name in schema)
        names = output_names(exprs)
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise QueryError(f"rename gives two columns named {twice[0]!r}")
        return self._then(Select(self._plan, exprs))

    def cast(self, dtypes: Any, *, strict: bool = True) -> PipelineDataFrame:
        """Columns in other types: a dict `{"a": pl.Float32}`, or one type for all columns.

        With strict=True a value that does not fit is an error when the query runs, else it becomes null.

        >>> import robodf as rd, polars as pl
        >>> rd.from_dict({"a": [1]}).cast({"a": pl.Float32}).dtypes
        [Float32]
        """
        schema = self._plan.schema
        table = dict(dtypes) if isinstance(dtypes, Mapping) else dict.fromkeys(schema, dtypes)
        for name in table:
            if name not in schema:
                raise column_not_found(name, schema, "cast")
        return self.with_columns(*(Call("cast", (Col(n), t), (("strict", strict),)) for n, t in table.items()))

    def sort(self, *by: Any, descending: bool | Sequence[bool] = False,
             nulls_last: bool | Sequence[bool] = False) -> PipelineDataFrame:  # fmt: skip
        """Rows in the order of these columns; ties keep their order. Holds all rows in memory.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [2, 1, 3]}).sort("a", descending=True).collect()["a"].to_list()
        [3, 2, 1]
        """
        schema = self._plan.schema
        keys = [e for item in flatten(by) for e in expand(as_expr(self._own(item)), schema, "sort")]
        if not keys:
            raise QueryError("sort needs a column")
        return self._then(
            Sort(
                self._plan,
                tuple(keys),
                _per_key(descending, keys, "descending"),
                _per_key(nulls_last, keys, "nulls_last"),
            )
        )

    def head(self, n: int = 5) -> PipelineDataFrame:
        """The first `n` rows; reading stops when they are there.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, 2, 3]}).head(2).collect()["a"].to_list()
        [1, 2]
        """
        return self.slice(0, _whole(n, "head"))

    limit = head

    def tail(self, n: int = 5) -> PipelineDataFrame:
        """The last `n` rows."""
        n = _whole(n, "tail")
        return self._then(Slice(self._plan, -n, n)) if n else self.slice(0, 0)

    def slice(self, offset: int, length: int | None = None) -> PipelineDataFrame:
        """`length` rows (None: all that follow) from `offset` on; a negative offset counts from the end."""
        if length is not None and length < 0:
            raise OptionError(f"slice: length must not be negative, it is {length}")
        return self._then(Slice(self._plan, int(offset), None if length is None else int(length)))

    def sample(self, n: int | None = None, *, fraction: float | None = None, seed: int = 0) -> PipelineDataFrame:
        """A random part of the rows without repetition, in their order: `n` rows, or each with probability `fraction`.

        The same seed gives the same rows on every engine and run: the draw is a function of the row's position.

        >>> import robodf as rd
        >>> df = rd.from_dict({"a": list(range(100))})
        >>> df.sample(3, seed=1).collect().equals(df.sample(3, seed=1).collect())
        True
        """
        if (n is None) == (fraction is None):
            raise OptionError("sample needs n= or fraction=, one of them")
        if fraction is not None and not 0 <= fraction <= 1:
            raise OptionError(f"sample: fraction must be between 0 and 1, it is {fraction}")
        return self._then(Sample(self._plan, None if n is None else _whole(n, "sample"), fraction, int(seed)))

    def unique(self, subset: Any = None, *, keep: str = "any", maintain_order: bool = False) -> PipelineDataFrame:
        """One row for each value of the columns `subset` (None: of all); no order unless `maintain_order`.

        `keep` is any, first, last or none. NaN equals NaN, and null equals null.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, 1, 2]}).unique(maintain_order=True).collect()["a"].to_list()
        [1, 2]
        """
        _one_of(keep, ("any", "first", "last", "none"), "unique", "keep")
        on = None if subset is None else column_names([subset], self._plan.schema, "unique")
        return self._then(Unique(self._plan, on, keep, maintain_order))

    distinct = unique

    def with_row_index(self, name: str = "index", offset: int = 0) -> PipelineDataFrame:
        """The position of each row as the first column.

        >>> import robodf as rd
        >>> rd.from_dict({"a": ["x", "y"]}).with_row_index().collect().rows()
        [(0, 'x'), (1, 'y')]
        """
        if name in self._plan.schema:
            raise QueryError(f"with_row_index: there is a column {name!r} already; give name=")
        if offset < 0:
            raise OptionError(f"with_row_index: offset must not be negative, it is {offset}")
        return self._then(RowIndex(self._plan, name, offset))

    def fill_null(self, value: Any = None, strategy: str | None = None, limit: int | None = None) -> PipelineDataFrame:
        """Nulls replaced by a value, a value for each column (a dict), or by a strategy (forward, backward, mean, ...).

        As in Polars, a value fills the columns whose type can hold it.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, None]}).fill_null(0).collect()["a"].to_list()
        [1, 0]
        """
        schema = self._plan.schema
        if isinstance(value, Mapping):
            for name in value:
                if name not in schema:
                    raise column_not_found(name, schema, "fill_null")
            return self.with_columns(*(Call("fill_null", (Col(n), freeze(v))) for n, v in value.items()))
        if (value is None) == (strategy is None):
            raise OptionError("fill_null needs a value or strategy=, one of them")
        if strategy is not None:
            options = (("strategy", strategy), ("limit", limit)) if limit is not None else (("strategy", strategy),)
            return self.with_columns(*(Call("fill_null", (Col(n),), options) for n in schema))
        fits = [n for n, dtype in schema.items() if isinstance(value, Expr) or _holds(dtype, value)]
        if not fits:
            raise QueryError(f"fill_null: no column holds values like {value!r}; cast one, or give a dict")
        return self.with_columns(*(Call("fill_null", (Col(n), freeze(value))) for n in fits))

    def drop_nulls(self, subset: Any = None) -> PipelineDataFrame:
        """Rows without a null in the columns `subset` (None: in any).

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1, None], "b": [None, 2]}).drop_nulls("a").collect().rows()
        [(1, None)]
        """
        schema = self._plan.schema
        names = list(schema) if subset is None else column_names([subset], schema, "drop_nulls")
        return self._then(Filter(self._plan, conjunction(Call("is_not_null", (Col(n),)) for n in names)))

    dropna = drop_nulls

    def cache(self) -> PipelineDataFrame:
        """The same frame, whose rows are kept in memory by the first query that reads it, for all later ones."""
        return self._then(Cached(self._plan, Kept()))

    def checkpoint(self, path: str | os.PathLike[str], *, storage_options: dict | None = None) -> PipelineDataFrame:
        """The same frame, whose rows are kept in files under `path`, for this and every later run of the same query.

        They are kept under the key of the query: its operators and functions, its files with their sizes and times of
        change, and the versions of robodf, Polars and Python. Where any of these differs the rows are computed anew,
        beside the old ones. On a cluster each partition is kept as soon as it is done, so that a run that was killed
        goes on where it was; `path` must be on storage that all nodes share, or a URL of fsspec. Folders of keys that
        no query uses any more may be deleted. OptionError for a query without a stable key (a lambda that holds an
        open file, say), which names what it is.

        >>> import robodf as rd, tempfile
        >>> df = rd.from_dict({"a": [3, 1, 2]}).sort("a").checkpoint(tempfile.mkdtemp())
        >>> df.collect()["a"].to_list()
        [1, 2, 3]
        >>> print(df.explain("optimized"))  # doctest: +ELLIPSIS
        Checkpoint ... (3 rows are there and are read)
          Sort col("a")
            InMemory 3 rows, 1 columns
        """
        from robodf.physical.piece_store import PieceStore
        from robodf.physical.plan_key import plan_key

        return self._then(Checkpoint(self._plan, PieceStore(path, plan_key(self._plan), storage_options)))

    def pipe(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """`function(self, *args, **kwargs)`."""
        return function(self, *args, **kwargs)

    def _own(self, item: Any) -> Any:
        """The expression of a Column, after a check that it is a column of this frame."""
        if isinstance(item, Expr):  # which answers any name, or looks for close ones
            return item
        plan = getattr(item, "plan", None)
        if plan is None or not isinstance(getattr(item, "expr", None), Expr):
            return item
        if plan is not self._plan:
            raise QueryError(
                f"the column {item.expr!r} belongs to another frame: write rd.col(...), which means a column of the "
                "frame that it is used on, or join the two frames"
            )
        return item.expr

    def _owned(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._own(value) for name, value in named.items()}


def _per_key(value: bool | Sequence[bool], keys: list, name: str) -> tuple[bool, ...]:
    if isinstance(value, bool):
        return (value,) * len(keys)
    if len(value) != len(keys):
        raise OptionError(f"sort: {name} has {len(value)} values for {len(keys)} columns")
    return tuple(map(bool, value))


def _whole(n: Any, doing: str) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 0:
        raise OptionError(f"{doing} takes a whole number that is not negative, not {n!r}")
    return int(n)


def _one_of(value: str, known: Iterable[str], doing: str, option: str) -> None:
    if value not in known:
        raise OptionError(f"{doing}: {option} is one of {', '.join(known)}, not {value!r}")


def _holds(dtype: pl.DataType, value: Any) -> bool:
    if isinstance(value, bool):
        return dtype == pl.Boolean
    if isinstance(value, (int, float)):
        return dtype.is_numeric()
    if isinstance(value, str):
        return dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)
    return (
        pl.lit(value).meta.is_literal() and pl.select(pl.lit(value)).to_series().dtype.base_type() == dtype.base_type()
    )
