"""Queries inside of expressions: scalar ones, IN and EXISTS."""

from __future__ import annotations

import polars as pl
from sqlglot import exp

from robodf.plan.base import Plan
from robodf.plan.expr import Call, Col, Expr, Lit
from robodf.plan.nodes.aggregate import Aggregate
from robodf.plan.nodes.join import Join
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.nodes.rows import Slice
from robodf.plan.nodes.unique import Unique
from robodf.sql.aggregates import aggregates_in
from robodf.sql.joins import _paired, conjuncts, from_clause
from robodf.sql.operators import is_null
from robodf.sql.stage import Env, Stage

_PLAIN = ("expressions", "from_", "joins", "where", "distinct")


def _inner(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Subquery) and not {k for k, v in node.args.items() if v and k != "this"}:
        node = node.this
    return node


def _beside(stage: Stage, plan: Plan) -> None:
    """Adds the columns of a plan of one row to every row."""
    stage.plan = Join(stage.plan, plan, (), (), "cross", "_right", None, False, "left")


def scalar(stage: Stage, node: exp.Subquery) -> Expr:
    """`(SELECT max(a) FROM t)`: one value, null where there is no row; several are an error when it runs."""
    from robodf.sql.statement import query_plan

    plan = query_plan(stage.query, _inner(node), Env(stage.env.ctes, stage))
    if len(plan.schema) != 1:
        raise stage.query.fail(node, f"a subquery used as a value gives one column, not {len(plan.schema)}")
    (column,) = plan.schema
    name = stage.fresh("subquery")
    value = Call("item", (Col(column),), (("allow_empty", True),))
    _beside(stage, Aggregate(plan, ((name, value),)))
    return Col(name)


def exists(stage: Stage, node: exp.Exists) -> Expr:
    """`EXISTS (SELECT ...)` as a value."""
    inner = _inner(node.this)
    correlated = _correlated(stage, inner)
    if correlated is not None:
        plan, lefts, rights, _ = correlated
        return _marked(stage, plan, lefts, rights)
    from robodf.sql.statement import query_plan

    plan = Slice(query_plan(stage.query, inner, Env(stage.env.ctes, stage)), 0, 1)
    name = stage.fresh("exists")
    _beside(stage, Aggregate(plan, ((name, Call("__gt__", (Call("pl.len", ()), Lit(0)))),)))
    return Col(name)


def in_subquery(stage: Stage, node: exp.In) -> Expr:
    """`e IN (SELECT ...)` as a value: null where nothing matches and `e`, or a value, is null."""
    from robodf.sql.expressions import compile_expr
    from robodf.sql.statement import query_plan

    inner = _inner(node.args["query"])
    if _correlated(stage, inner) is not None:
        raise stage.query.fail(node, "IN that reads the query around it stands alone in WHERE, without NOT: use EXISTS")
    e = compile_expr(stage, node.this)
    plan = query_plan(stage.query, inner, Env(stage.env.ctes, stage))
    if len(plan.schema) != 1:
        raise stage.query.fail(node.args["query"], f"IN takes a query of one column, not {len(plan.schema)}")
    (column,) = plan.schema
    rows, nulls = stage.fresh("rows"), stage.fresh("nulls")
    has = Call("is_null", (Col(column),))
    _beside(stage, Aggregate(plan, ((rows, Call("pl.len", ())), (nulls, Call("any", (has,))))))
    left = e if e.columns else stage.add("value", e)
    a, b = _paired(stage, stage.fork(plan=plan), node, left, Col(column))
    found = _marked(stage, plan, [a], [b])
    unknown = Call("__or__", (is_null(left), Col(nulls)))
    null = Lit(None, pl.Boolean())
    return Call(
        "pl.when", (found, Lit(True), Call("__eq__", (Col(rows), Lit(0))), Lit(False), unknown, null, Lit(False))
    )


def _marked(stage: Stage, plan: Plan, lefts: list[Expr], rights: list[Expr]) -> Expr:
    """True for the rows that match one of `plan`, as a column: no row is added or dropped."""
    names = [stage.fresh(f"match_{i}") for i in range(len(rights))]
    mark = stage.fresh("matched")
    keys = Unique(Select(plan, tuple(zip(names, rights))), None, "any", False)
    right = WithColumns(keys, ((mark, Lit(True)),))
    on = tuple(Col(n) for n in names)
    stage.plan = Join(stage.plan, right, tuple(lefts), on, "left", "_right", False, False, "left")
    return Call("is_not_null", (Col(mark),))


def semi_join(stage: Stage, node: exp.Expr) -> bool:
    """True where `node`, a part of WHERE, was turned into a semi or anti join."""
    from robodf.sql.expressions import compile_expr
    from robodf.sql.statement import query_plan

    negated = isinstance(node, exp.Not)
    inner = node.this if negated else node
    while isinstance(inner, exp.Paren):
        inner = inner.this
    if isinstance(inner, exp.Exists):
        correlated = _correlated(stage, _inner(inner.this))
        if correlated is None:
            return False
        plan, lefts, rights, _ = correlated
    elif (
        isinstance(inner, exp.In)
        and inner.args.get("query") is not None
        and not negated
        and not inner.args.get("negate")
    ):
        stage.query.check_args(inner, ("this", "query"))
        correlated = _correlated(stage, _inner(inner.args["query"]))
        if correlated is not None:
            plan, lefts, rights, column = correlated
        else:
            plan = query_plan(stage.query, _inner(inner.args["query"]), Env(stage.env.ctes, stage))
            lefts, rights, column = [], [], Col(next(iter(plan.schema)))
            if len(plan.schema) != 1:
                raise stage.query.fail(inner.args["query"], f"IN takes a query of one column, not {len(plan.schema)}")
        if column is None:
            raise stage.query.fail(inner, "IN takes a query of one column")
        a, b = _paired(stage, stage.fork(plan=plan), inner, compile_expr(stage, inner.this), column)
        if not a.columns:
            a = stage.add("value", a)
        lefts, rights = [*lefts, a], [*rights, b]
    else:
        return False
    how = "anti" if negated else "semi"
    stage.plan = Join(stage.plan, plan, tuple(lefts), tuple(rights), how, "_right", None, False, "left")
    return True


def _correlated(stage: Stage, node: exp.Expr) -> tuple[Plan, list[Expr], list[Expr], Expr | None] | None:
    """(inner plan, keys of `stage`, keys of the inner plan, its only output) of a query that reads columns of `stage`.

    Such a query may do so in its WHERE alone, as `inner = outer`; None for a query that does not.
    """
    from robodf.sql.expressions import compile_expr
    from robodf.sql.statement import filter_stage, with_clause

    if not isinstance(node, exp.Select) or node.args.get("where") is None or node.args.get("from_") is None:
        return None
    if not node.expressions:
        raise stage.query.fail(node, "SELECT names no column")
    env = with_clause(stage.query, node, Env(stage.env.ctes, stage))
    within = from_clause(stage.query, node, env)
    outer_parts, inner_parts = [], []
    for part in conjuncts(node.args["where"].this):
        (outer_parts if _reads(part, stage, within) else inner_parts).append(part)
    if not outer_parts:
        return None
    if {k for k, v in node.args.items() if v and k not in (*_PLAIN, "with_")} or any(
        a for e in node.expressions for a in aggregates_in(e)
    ):
        raise stage.query.fail(node, "a subquery that reads the query around it has SELECT, FROM and WHERE alone")
    for part in inner_parts:
        filter_stage(within, part)
    lefts, rights = [], []
    for part in outer_parts:
        if not isinstance(part, exp.EQ):
            raise stage.query.fail(part, "a column of the query around it is compared by = alone, as inner = outer")
        sides = [part.this, part.expression]
        if _reads(sides[0], stage, within):
            sides.reverse()
        if _reads(sides[0], stage, within) or not all(
            _belongs(c, stage, within) for c in sides[1].find_all(exp.Column)
        ):
            raise stage.query.fail(part, "one side of = reads the subquery, the other one the query around it")
        a, b = _paired(stage, within, part, compile_expr(stage, sides[1]), compile_expr(within, sides[0]))
        lefts.append(a)
        rights.append(b)
    outputs = node.expressions
    single = outputs[0].this if len(outputs) == 1 and isinstance(outputs[0], exp.Alias) else outputs[0]
    plain = len(outputs) == 1 and not isinstance(single, exp.Star)
    made = compile_expr(within, single) if plain else None
    if made is not None and not made.columns:
        made = within.add("value", made)
    return within.plan, lefts, rights, made


def _reads(node: exp.Expr, outer: Stage, inner: Stage) -> bool:
    """True where a column in `node` is none of `inner`, but one of `outer`."""
    return any(_belongs(c, outer, inner) for c in node.find_all(exp.Column))


def _belongs(column: exp.Column, outer: Stage, inner: Stage) -> bool:
    if isinstance(column.this, exp.Star):
        return False
    parts = list(column.parts)
    return inner.find(parts) is None and outer.find(parts) is not None  # type: ignore[arg-type]
