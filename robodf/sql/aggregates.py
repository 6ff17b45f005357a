"""Aggregates by DuckDB's names. A new one is a line of `AGGREGATES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlglot import exp

from robodf.plan.expr import Call, Expr, Lit
from robodf.sql.operators import as_text, both, cast, when
from robodf.sql.stage import Stage


@dataclass
class Given:
    """What an aggregate is called with: columns (filtered, made distinct and ordered already) and constants."""

    stage: Stage
    node: exp.Expr
    args: list[Expr]
    types: list[pl.DataType]
    ordered: bool = False

    @property
    def x(self) -> Expr:
        return self.args[0]

    @property
    def dtype(self) -> pl.DataType:
        return self.types[0]

    def numbers(self) -> Expr:
        """The first argument as numbers that add up without overflow in a narrow type."""
        if not (self.dtype.is_numeric() or self.dtype in (pl.Boolean, pl.Null)):
            raise self.stage.query.fail(self.node, f"this aggregate takes numbers, not {self.dtype}")
        if self.dtype == pl.Null:
            return cast(self.x, pl.Float64)
        if self.dtype.is_integer() or self.dtype == pl.Boolean:
            return cast(self.x, pl.Int128 if self.dtype in (pl.UInt64, pl.Int128) else pl.Int64)
        return cast(self.x, pl.Float64) if self.dtype.is_float() else self.x

    def floats(self) -> Expr:
        return cast(self.numbers(), pl.Float64)

    def constant(self, position: int, default: Any = None) -> Any:
        if position >= len(self.args):
            return default
        value = self.args[position]
        if not isinstance(value, Lit):
            raise self.stage.query.fail(self.node, "this argument of the aggregate must be a constant")
        return value.value


def _of(e: Expr, name: str, **options: Any) -> Expr:
    return Call(name, (e,), tuple(options.items()))


def count(e: Expr) -> Expr:
    return cast(_of(e, "count"), pl.Int64)


def _unless_empty(x: Expr, made: Expr) -> Expr:
    """SQL's aggregates over no value are null."""
    return when(Call("__gt__", (_of(x, "count"), Lit(0))), made, Lit(None))


def _count(g: Given) -> Expr:
    return count(g.x)


def _sum(g: Given) -> Expr:
    if isinstance(g.dtype, pl.Duration):
        return _unless_empty(g.x, _of(g.x, "sum"))
    return _unless_empty(g.x, _of(g.numbers(), "sum"))


def _mean(g: Given) -> Expr:
    return _of(g.x if g.dtype.is_temporal() else g.floats(), "mean")


def _max(g: Given) -> Expr:
    _check_ordered(g)
    if not g.dtype.is_float():
        return _of(g.x, "max")
    # NaN is the greatest value in SQL; Polars' max passes it over.
    nan = _of(_of(g.x, "is_nan"), "any", ignore_nulls=True)
    return when(nan, Lit(float("nan"), g.dtype), _of(g.x, "max"))


def _check_ordered(g: Given) -> None:
    if g.dtype.is_nested():
        raise g.stage.query.fail(g.node, f"values of type {g.dtype} have no order")


def _min(g: Given) -> Expr:
    _check_ordered(g)
    return _of(g.x, "min")


def _spread(fn: str, ddof: int) -> Callable[[Given], Expr]:
    return lambda g: _of(g.floats(), fn, ddof=ddof)


def _quantile(g: Given) -> Expr:
    q = g.constant(1)
    if isinstance(q, bool) or not isinstance(q, (int, float)) or not 0 <= q <= 1:
        raise g.stage.query.fail(g.node, "a quantile is a constant from 0 to 1")
    return Call("quantile", (g.floats(), float(q)), (("interpolation", "linear"),))


def _median(g: Given) -> Expr:
    return _of(g.x if g.dtype.is_temporal() else g.floats(), "median")


def _mode(g: Given) -> Expr:
    # Of several most frequent values the smallest: the answer must not depend on the order of the rows.
    return _of(_of(_of(_of(g.x, "drop_nulls"), "mode"), "sort"), "first")


def _any_value(g: Given) -> Expr:
    return _of(_of(g.x, "drop_nulls"), "first")


def _at_extreme(descending: bool) -> Callable[[Given], Expr]:
    def build(g: Given) -> Expr:
        known = both(_of(g.args[0], "is_not_null"), _of(g.args[1], "is_not_null"))
        value, by = (Call("filter", (a, known)) for a in g.args[:2])
        options = (("descending", descending), ("maintain_order", True))
        return _of(Call("sort_by", (value, by), options), "first")

    return build


def _bool(fn: str) -> Callable[[Given], Expr]:
    def build(g: Given) -> Expr:
        if g.dtype not in (pl.Boolean, pl.Null):
            raise g.stage.query.fail(g.node, f"this aggregate takes conditions, not {g.dtype}")
        x = cast(g.x, pl.Boolean) if g.dtype == pl.Null else g.x
        return _unless_empty(x, _of(x, fn, ignore_nulls=True))

    return build


def _string_agg(g: Given) -> Expr:
    by = g.constant(1, ",")
    if not isinstance(by, str):
        raise g.stage.query.fail(g.node, "the separator is a text")
    text = as_text(g.stage, g.node, g.x) if g.dtype != pl.String else g.x
    return _unless_empty(g.x, Call("str.join", (_of(text, "drop_nulls"), by)))


def _list(g: Given) -> Expr:
    return when(Call("__gt__", (_of(g.x, "len"), Lit(0))), _of(g.x, "implode"), Lit(None))


AGGREGATES: dict[str, tuple[int, int, Callable[[Given], Expr]]] = {
    "count": (0, 1, _count), "sum": (1, 1, _sum), "avg": (1, 1, _mean), "min": (1, 1, _min), "max": (1, 1, _max),
    "median": (1, 1, _median), "quantile_cont": (2, 2, _quantile), "mode": (1, 1, _mode),
    "stddev_samp": (1, 1, _spread("std", 1)), "stddev_pop": (1, 1, _spread("std", 0)),
    "var_samp": (1, 1, _spread("var", 1)), "var_pop": (1, 1, _spread("var", 0)),
    "first": (1, 1, lambda g: _of(g.x, "first")), "last": (1, 1, lambda g: _of(g.x, "last")),
    "any_value": (1, 1, _any_value), "arg_max": (2, 2, _at_extreme(True)), "arg_min": (2, 2, _at_extreme(False)),
    "bool_and": (1, 1, _bool("all")), "bool_or": (1, 1, _bool("any")), "string_agg": (1, 2, _string_agg),
    "list": (1, 1, _list),
}  # fmt: skip
"""Name: least and most arguments, and what makes the expression."""

ALIASES = {
    "mean": "avg", "stddev": "stddev_samp", "variance": "var_samp", "argmax": "arg_max", "max_by": "arg_max",
    "argmin": "arg_min", "min_by": "arg_min", "group_concat": "string_agg", "listagg": "string_agg",
    "array_agg": "list", "count_star": "count", "arbitrary": "first", "percentile_cont": "quantile_cont",
}  # fmt: skip
for _alias, _name in ALIASES.items():
    AGGREGATES[_alias] = AGGREGATES[_name]


def is_aggregate(node: exp.Expr) -> bool:
    """True of a call of an aggregate, with FILTER or without; not of a window function."""
    inner = node.this if isinstance(node, exp.Filter) else node
    return isinstance(inner, exp.Anonymous) and inner.name.lower() in AGGREGATES


def aggregates_in(node: exp.Expr) -> Iterator[exp.Expr]:
    """The aggregates of an expression, outermost; those of subqueries are not its own."""
    if isinstance(node, exp.Query):
        return
    if isinstance(node, exp.Window):
        inner = node.this.this if isinstance(node.this, exp.Filter) else node.this
        parts = [*inner.iter_expressions(), *(p for k, v in node.args.items() if k != "this" for p in _nodes(v))]
        if isinstance(node.this, exp.Filter):
            parts.append(node.this.expression)
        for part in parts:
            yield from aggregates_in(part)
    elif is_aggregate(node):
        yield node
    else:
        for child in node.iter_expressions():
            yield from aggregates_in(child)


def _nodes(value: Any) -> Iterator[exp.Expr]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, exp.Expr):
            yield item


def aggregate(stage: Stage, node: exp.Expr) -> Expr:
    """The aggregate over the rows of `stage`."""
    from robodf.sql.expressions import compile_expr, compile_predicate

    if id(node) in stage.memo:
        return stage.memo[id(node)]
    query, condition, inner = stage.query, None, node
    if isinstance(node, exp.Filter):
        query.check_args(node, ("this", "expression"))
        inner, condition = node.this, compile_predicate(stage, node.expression.this)
    query.check_args(inner, ("this", "expressions"))
    stage.at = node
    items, distinct, order = _unwrapped(stage, list(inner.expressions))
    star = not items or isinstance(items[0], exp.Star)
    least, most, build = AGGREGATES[inner.name.lower()]
    if star and build is not _count:
        raise query.fail(node, f"{inner.name.lower()} needs an argument")
    if not star and not least <= len(items) <= most:
        raise query.fail(node, f"{inner.name.lower()} takes {most} arguments, not {len(items)}")
    if star:
        if distinct or order:
            raise query.fail(node, "count(*) takes neither DISTINCT nor ORDER BY")
        made = cast(Call("pl.len", ()), pl.Int64) if condition is None else _counted(stage, condition)
    else:
        args = [compile_expr(stage, item) for item in items]
        keys: list[Expr] = [compile_expr(stage, o.this) for o in order]
        given = Given(stage, node, args, [stage.dtype(a) for a in args], bool(order))
        constant = 1 if build in (_quantile, _string_agg) else len(args)
        given.args = [_of_rows(stage, a) if i < constant else a for i, a in enumerate(args)]
        if condition is not None:
            given.args = [
                Call("filter", (a, _of_rows(stage, condition))) if i < constant else a for i, a in enumerate(given.args)
            ]
            keys = [Call("filter", (_of_rows(stage, k), _of_rows(stage, condition))) for k in keys]
        if keys:
            given.args[0] = _sorted(given.args[0], keys, order)
        if distinct:
            given.args[0] = _of(given.x, "unique", maintain_order=True)
        made = build(given)
    stage.memo[id(node)] = made
    return made


def _unwrapped(stage: Stage, items: list[exp.Expr]) -> tuple[list, bool, list[exp.Ordered]]:
    distinct, order = False, []
    if items and isinstance(items[-1], exp.Order):  # string_agg(a, ',' ORDER BY b)
        last = items[-1]
        order, items = last.expressions, [*items[:-1], last.this]
    if items and isinstance(items[0], exp.Distinct):
        stage.query.check_args(items[0], ("expressions",))
        distinct, items = True, [*items[0].expressions, *items[1:]]
        if not items:
            raise stage.query.fail(stage.at, "DISTINCT goes with an argument")
        if isinstance(items[-1], exp.Order):
            order, items = items[-1].expressions, [*items[:-1], items[-1].this]
    return items, distinct, order


def _of_rows(stage: Stage, e: Expr) -> Expr:
    """A constant as a column: an aggregate of it counts rows."""
    return e if e.columns else stage.add("constant", e)


def _counted(stage: Stage, condition: Expr) -> Expr:
    return cast(_of(_of_rows(stage, condition), "sum"), pl.Int64)


def _sorted(x: Expr, keys: list[Expr], order: list[exp.Ordered]) -> Expr:
    options = (
        ("descending", tuple(bool(o.args.get("desc")) for o in order)),
        ("nulls_last", tuple(not o.args.get("nulls_first") for o in order)),
        ("maintain_order", True),
    )
    return Call("sort_by", (x, *keys), options)


def group(stage: Stage, keys: list[Expr], names: list[str], nodes: list[exp.Expr]) -> Stage:
    """The stage after GROUP BY: one row a group, with the keys and the aggregates as columns."""
    from robodf.plan.nodes.aggregate import Aggregate, GroupBy
    from robodf.sql.naming import text_of

    after = stage.fork(below=stage, fields=[], aliases=stage.aliases, windows=stage.windows)
    used: set[str] = set()

    def fresh(wanted: str) -> str:
        name, n = wanted, 1
        while name in used:
            name, n = f"{wanted}_{n}", n + 1
        used.add(name)
        return name

    for key, wanted in zip(keys, names):
        after.known[id(key)] = (key, fresh(wanted))
    aggs: list[tuple[str, Expr]] = []
    for node in nodes:
        made = aggregate(stage, node)
        if id(made) not in after.known:
            name = fresh(text_of(node))
            after.known[id(made)] = (made, name)
            aggs.append((name, made))
    keyed = tuple((after.known[id(k)][1], k) for k in keys)
    if keyed:
        after.plan = GroupBy(stage.plan, keyed, tuple(aggs), False)
    else:
        after.plan = Aggregate(stage.plan, tuple(aggs) or ((fresh("rows"), Call("pl.len", ())),))
    after.fields = []
    return after
