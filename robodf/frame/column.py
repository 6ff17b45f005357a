"""A column of a frame: an expression that knows where it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import QueryError
from robodf.plan.base import Plan
from robodf.plan.expr import Expr, Method
from robodf.plan.nodes.project import Select

if TYPE_CHECKING:
    _Typed = pl.Expr
else:
    _Typed = object


class Column(_Typed):
    """What `df["a"]` and `df.a` give: use it in `df[df["a"] > 1]`, in any method of `df`, or `.collect()` it.

    >>> import robodf as rd
    >>> df = rd.from_dict({"a": [1, 2, 3]})
    >>> df[df["a"] > 1].collect()["a"].to_list()
    [2, 3]
    >>> (df.a * 2).collect().to_list()
    [2, 4, 6]
    """

    def __init__(self, plan: Plan, expr: Expr):
        self.plan, self.expr = plan, expr

    def collect(self) -> pl.Series:
        """The values as a polars.Series. Executes the query, reading this column only."""
        from robodf.physical.engine import collect
        from robodf.plan.resolve import resolve

        named = resolve([self.expr], {}, self.plan.schema, "collect")
        return collect(Select(self.plan, named)).to_series()

    def to_list(self) -> list:
        """The values as a list. Executes the query."""
        return self.collect().to_list()

    def to_numpy(self) -> Any:
        """The values as a NumPy array. Executes the query."""
        return self.collect().to_numpy()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.collect())

    def __len__(self) -> int:
        return len(self.collect())

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.expr, name)
        return _ColumnMethod(self.plan, found) if isinstance(found, Method) else found

    def __dir__(self):
        return sorted({*object.__dir__(self), *dir(self.expr)})

    def __bool__(self) -> bool:
        return bool(self.expr)

    def __repr__(self) -> str:
        return f"<column {self.expr!r}; .collect() gives its values>"

    __hash__ = object.__hash__


class _ColumnMethod:
    def __init__(self, plan: Plan, method: Method):
        self._plan, self._method = plan, method
        self.__doc__ = method.__doc__

    def __getattr__(self, name: str) -> _ColumnMethod:
        if name.startswith("__"):
            raise AttributeError(name)
        return _ColumnMethod(self._plan, getattr(self._method, name))

    def __dir__(self):
        return dir(self._method)

    def __call__(self, *args: Any, **options: Any) -> Column:
        made = self._method(*(_operand(self._plan, a) for a in args), **options)
        return Column(self._plan, made)


def _operand(plan: Plan, value: Any) -> Any:
    if isinstance(value, Column):
        if value.plan is not plan:
            raise QueryError(
                f"{value.expr!r} is a column of another frame: rows of two frames are put side by side by join"
            )
        return value.expr
    return value


def _operator(name: str):
    on_expr = getattr(Expr, name)

    def method(self: Column, *others: Any) -> Column:
        return Column(self.plan, on_expr(self.expr, *(_operand(self.plan, o) for o in others)))

    return method


for _name in "add sub mul truediv floordiv mod pow and or xor".split():
    setattr(Column, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Column, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in "eq ne lt le gt ge neg pos invert abs".split():
    setattr(Column, f"__{_name}__", _operator(f"__{_name}__"))
