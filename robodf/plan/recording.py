"""How a user makes expressions without a frame: columns, literals, choices, and calls of Polars' functions."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import polars as pl

from robodf.errors import OptionError
from robodf.plan.expr import Call, Col, Expr, Lit, as_expr, conjunction, freeze, function
from robodf.plan.node import node


class Columns:
    """`col("a")`, `col.a`, and what `pl.col` takes besides: several names, patterns, types."""

    def __call__(self, name: Any, *more: Any) -> Expr:
        if isinstance(name, str) and not more:
            return Col(name)
        several = (name, *more) if more else name
        call = Call("pl.col", (freeze(several),))
        call.polars  # noqa: B018 - a wrong argument is reported here, on the user's line
        return call

    def __getattr__(self, name: str) -> Expr:
        if name.startswith("__"):  # probes of Python itself
            raise AttributeError(name)
        return Col(name)

    def __repr__(self) -> str:
        return "col"


@node
class Then(Call):
    """`when(...).then(...)`: an expression, null where no condition held, until `otherwise` says what else."""

    def when(self, *predicates: Any, **equal: Any) -> When:
        """The next condition, for rows where none before it held."""
        return When(self.args[:-1], _condition(predicates, equal))

    def otherwise(self, value: Any) -> Expr:
        """The value where no condition held; a text is a column's name."""
        return _lowered(Call("pl.when", (*self.args[:-1], as_expr(value))))


class When:
    """`when(...)`, waiting for `then`."""

    def __init__(self, before: tuple, condition: Expr):
        self._before, self._condition = before, condition

    def then(self, value: Any) -> Then:
        """The value where the condition holds; a text is a column's name, as everywhere in Polars."""
        branches = (*self._before, self._condition, as_expr(value))
        return _lowered(Then("pl.when", (*branches, Lit(None))))

    def __repr__(self) -> str:
        return f"when({self._condition!r}), to be followed by .then(...)"


def _lowered(call: Any) -> Any:
    call.polars  # noqa: B018 - a wrong argument is reported here, on the user's line
    return call


def _condition(predicates: Iterable[Any], equal: dict[str, Any]) -> Expr:
    parts = [as_expr(p) for one in predicates for p in (one if isinstance(one, (tuple, list)) else [one])]
    parts += [Col(name) == value for name, value in equal.items()]
    if not parts:
        raise OptionError('when() needs a condition: when(col("a") > 1).then(...)')
    return conjunction(parts)


def when(*predicates: Any, **equal: Any) -> When:
    """A choice by conditions: the value of the first one that holds.

    >>> import robodf as rd
    >>> df = rd.from_dict({"speed": [0.0, 0.4, 2.0]})
    >>> kind = rd.when(rd.col("speed") > 1).then(rd.lit("fast")).when(rd.col("speed") > 0).then(rd.lit("slow"))
    >>> df.select(kind=kind.otherwise(rd.lit("still"))).collect()["kind"].to_list()
    ['still', 'slow', 'fast']
    """
    return When((), _condition(predicates, equal))


def lit(value: Any, dtype: Any = None, *, allow_object: bool = False) -> Expr:
    """A constant, of type `dtype` where given.

    >>> import robodf as rd
    >>> rd.col("name") == rd.lit("arm")
    col("name") == 'arm'
    """
    frozen = freeze(value)
    if isinstance(frozen, Expr):
        return frozen if dtype is None else _lowered(Call("cast", (frozen, dtype)))
    if allow_object:
        return _lowered(Call("pl.lit", (frozen,), (("dtype", dtype), ("allow_object", True))))
    return _lowered(Lit(frozen, dtype))


def recorded(name: str) -> Any:
    """Polars' function `name` as one that records the call."""
    original = getattr(pl, name)

    @functools.wraps(original)
    def call(*args: Any, **options: Any) -> Expr:
        if options.pop("eager", False):
            raise OptionError(f"{name}(eager=True) gives values at once; use polars.{name} for that")
        made = function(name, *args, **options)
        return _method(name, made, args, options)

    call.__name__ = call.__qualname__ = name  # Polars has `date_` for `date`
    call.__module__ = "robodf.plan.functions"  # where pickle finds it
    return call


def _method(name: str, made: Expr, args: tuple, options: dict[str, Any]) -> Expr:
    """`sum("a")` as `col("a").sum()`, which is the same, and shows the planner its column."""
    names = []
    for arg in args:
        if not isinstance(arg, str):
            break
        names.append(arg)
    if len(names) != 1 or not hasattr(pl.Expr, name):
        return made
    rest = tuple(map(freeze, args[1:]))
    candidate = Call(name, (Col(names[0]), *rest), tuple((k, freeze(v)) for k, v in options.items()))
    try:
        return candidate if candidate.polars.meta.eq(made.polars) else made
    except (TypeError, ValueError):  # the method of that name takes other arguments
        return made
