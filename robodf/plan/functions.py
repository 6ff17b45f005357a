"""The functions that users call without a frame: all of Polars' that make sense so, recorded by name.

`rd.concat_str("a", "b")` becomes `Call("pl.concat_str", (Col("a"), Col("b")))`, and `rd.sum("a")` is `rd.col("a").sum()`.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, QueryError
from robodf.plan.expr import Call, Col, Expr, Lit, Method, as_expr, freeze, function

# Functions of columns by name: a method of the column, so that columns can be replaced in it.
_OF_COLUMNS = """all any approx_n_unique count cum_count cum_sum first implode last max mean median min n_unique sum""".split()

_BY_NAME = """all_horizontal any_horizontal arange arctan2 arg_sort_by arg_where business_day_count coalesce concat_arr
    concat_list concat_str corr cov cum_sum_horizontal date date_range date_ranges datetime datetime_range
    datetime_ranges duration element exclude field format from_epoch int_range int_ranges len linear_space
    linear_spaces max_horizontal mean_horizontal min_horizontal nth ones repeat rolling_corr rolling_cov row_index
    struct sum_horizontal time time_range time_ranges zeros""".split()  # fmt: skip

NOT_HERE = {
    "cum_fold": "takes a Python function of Series: use map_batches of the frame",
    "cum_reduce": "takes a Python function of Series: use map_batches of the frame",
    "fold": "takes a Python function of Series: use map_batches of the frame",
    "reduce": "takes a Python function of Series: use map_batches of the frame",
    "map_batches": "takes a Python function of Series: use map_batches of the frame",
    "map_groups": "takes a Python function of Series: use map_batches of the frame",
    "groups": "gives row numbers of groups, which depend on the engine",
    "dtype_of": "is about types, not values",
    "self_dtype": "is about types, not values",
    "pipe_with_dtype": "is about types, not values",
    "struct_with_fields": "is about types, not values",
    "list": "is about types in Polars; rd.concat_list makes lists",
    "sql_expr": "has its own parser: use rd.sql",
    "head": "use rd.col(name).head(n), or head of the frame",
    "tail": "use rd.col(name).tail(n), or tail of the frame",
    "quantile": "use rd.col(name).quantile(q)",
    "std": "use rd.col(name).std()",
    "var": "use rd.col(name).var()",
    "arctan2d": "gone from Polars 2: use rd.arctan2 and .degrees()",
    "lit": "defined below",
}
"""Functions of Polars that give expressions and are not here, with the reason."""


def lit(value: Any, dtype: Any = None) -> Expr:
    """A constant.

    >>> import robodf as rd
    >>> rd.from_dict({"a": [1, 2]}).with_columns(b=rd.lit("x")).collect()["b"].to_list()
    ['x', 'x']
    """
    return Lit(freeze(value), dtype)


class _Columns:
    """`rd.col("a")`, `rd.col("a", "b")`, `rd.col("^joint_.*$")`, `rd.col(pl.Float64)` and `rd.col.a`."""

    def __call__(self, name: Any, *more: Any) -> Expr:
        """A column, or several: names, a pattern `^...$`, `"*"`, or types.

        >>> import robodf as rd
        >>> rd.from_dict({"a": [1], "b": [2]}).select(rd.col("a", "b") * 10).collect().rows()
        [(10, 20)]
        """
        if isinstance(name, str) and not more:
            return Col(name)
        return Call("pl.col", (freeze(name), *map(freeze, more)))

    def __getattr__(self, name: str) -> Expr:
        if name.startswith("__"):
            raise AttributeError(name)
        return Col(name)

    def __repr__(self) -> str:
        return "<rd.col: makes columns>"


class When:
    """`rd.when(a).then(b).when(c).then(d).otherwise(e)`; a chain that ends with `then` gives null elsewhere."""

    def __init__(self, done: tuple, predicates: tuple, named: dict[str, Any]):
        parts = [as_expr(p) for p in predicates] + [Col(n) == v for n, v in named.items()]
        if not parts:
            raise QueryError("when needs a condition")
        condition = parts[0]
        for part in parts[1:]:
            condition = Call("__and__", (condition, part))
        self._done = (*done, condition)

    def then(self, value: Any) -> Then:
        """What the expression is where the condition is true; a text names a column, as in Polars."""
        return Then("pl.when", (*self._done, as_expr(value), Lit(None)))


class Then(Call):
    """A chain of conditions that can go on."""

    def when(self, *predicates: Any, **named: Any) -> When:
        """The next condition, for the rows for which none before was true."""
        return When(self.args[:-1], predicates, named)

    def otherwise(self, value: Any) -> Expr:
        """What the expression is for all other rows."""
        return Call("pl.when", (*self.args[:-1], as_expr(value)))


def when(*predicates: Any, **named: Any) -> When:
    """A choice by condition.

    >>> import robodf as rd
    >>> df = rd.from_dict({"v": [0.1, 2.0]})
    >>> df.select(speed=rd.when(rd.col("v") > 1).then(rd.lit("fast")).otherwise(rd.lit("slow"))).collect()["speed"].to_list()
    ['slow', 'fast']
    """
    return When((), predicates, named)


def _of_columns(name: str):
    whole = getattr(pl, name)

    @functools.wraps(whole)
    def call(*names: Any, **options: Any) -> Expr:
        if not names:
            return Call(f"pl.{name}", (), tuple((k, freeze(v)) for k, v in options.items()))
        return Method(col(*names), name)(**options)

    return call


def _by_name(name: str):
    whole = getattr(pl, name)

    @functools.wraps(whole)
    def call(*args: Any, **options: Any) -> Expr:
        if options.get("eager"):
            raise OptionError(f"rd.{name} makes expressions; for values at once use polars.{name}(..., eager=True)")
        return function(name, *args, **options)

    return call


col = _Columns()
_generated = [n for n in (*_OF_COLUMNS, *_BY_NAME) if hasattr(pl, n)]  # a function may be missing from a version
for _name in _generated:
    setattr(sys.modules[__name__], _name, _of_columns(_name) if _name in _OF_COLUMNS else _by_name(_name))

if TYPE_CHECKING:  # editors and type checkers see Polars' signatures and docstrings
    from polars import (  # noqa: A004
        all, all_horizontal, any, any_horizontal, approx_n_unique, arange, arctan2, arg_sort_by, arg_where,
        business_day_count, coalesce, concat_arr, concat_list, concat_str, corr, count, cov, cum_count, cum_sum,
        cum_sum_horizontal, date, date_range, date_ranges, datetime, datetime_range, datetime_ranges, duration, element,
        exclude, field, first, format, from_epoch, implode, int_range, int_ranges, last, len, linear_space,
        linear_spaces, max, max_horizontal, mean, mean_horizontal, median, min, min_horizontal, n_unique, nth, ones,
        repeat, rolling_corr, rolling_cov, row_index, struct, sum, sum_horizontal, time, time_range, time_ranges, zeros,
    )  # fmt: skip

__all__ = ["col", "lit", "when", *_generated]  # pyright: ignore[reportUnsupportedDunderAll]
