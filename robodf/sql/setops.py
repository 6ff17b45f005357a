"""UNION, INTERSECT and EXCEPT."""

from __future__ import annotations

import polars as pl
from sqlglot import exp

from robodf.plan.base import Plan
from robodf.plan.expr import Call, Col, Expr, Lit
from robodf.plan.nodes.concat import Concat
from robodf.plan.nodes.join import Join
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.nodes.unique import Unique
from robodf.sql import types
from robodf.sql.stage import Env, Query

_ARGS = ("this", "expression", "distinct", "by_name", "order", "limit", "offset", "with_")


def set_operation(query: Query, node: exp.SetOperation, env: Env) -> Plan:
    """The rows of two queries, column by position (or BY NAME), in the types that hold both."""
    from robodf.sql.statement import ordered_output, query_plan, with_clause

    query.check_args(node, _ARGS)
    env = with_clause(query, node, env)
    left, right = (query_plan(query, side, env) for side in (node.this, node.expression))
    if node.args.get("by_name"):
        left, right = _by_name(left, right)
    left, right = _aligned(query, node, left, right)
    every = node.args.get("distinct") is False
    if isinstance(node, exp.Union):
        plan: Plan = Concat((left, right), "vertical")
        plan = plan if every else Unique(plan, None, "any", False)
    else:
        how = "semi" if isinstance(node, exp.Intersect) else "anti"
        plan = _every(left, right, how) if every else Unique(_matched(left, right, how), None, "any", False)
    return ordered_output(query, node, plan, env)


def _by_name(left: Plan, right: Plan) -> tuple[Plan, Plan]:
    names = list(left.schema) + [n for n in right.schema if n not in left.schema]

    def widened(plan: Plan, other: Plan) -> Plan:
        exprs: list[tuple[str, Expr]] = []
        for name in names:
            exprs.append((name, Col(name) if name in plan.schema else Lit(None, other.schema[name])))
        return Select(plan, tuple(exprs))

    return widened(left, right), widened(right, left)


def _aligned(query: Query, node: exp.SetOperation, left: Plan, right: Plan) -> tuple[Plan, Plan]:
    """Both sides with the names of the left and common types."""
    a, b = list(left.schema.items()), list(right.schema.items())
    if len(a) != len(b):
        raise query.fail(node.expression, f"{node.key.upper()}: the queries give {len(a)} and {len(b)} columns")
    common = []
    for (name, ta), (other, tb) in zip(a, b):
        if ta != tb and pl.Null not in (ta, tb) and types.kind(ta) != types.kind(tb):
            raise query.fail(
                node.expression, f"{node.key.upper()}: {name!r} is {ta}, {other!r} is {tb}: cast one of them"
            )
        parts = [pl.DataFrame(schema={"k": t}) for t in (ta, tb)]
        common.append(pl.concat(parts, how="vertical_relaxed").schema["k"])
    names = list(left.schema)
    return tuple(_as(p, names, common) for p in (left, right))  # type: ignore[return-value]


def _as(plan: Plan, names: list[str], wanted: list[pl.DataType]) -> Plan:
    if list(plan.schema.items()) == list(zip(names, wanted)):
        return plan
    exprs = []
    for name, want, (old, have) in zip(names, wanted, plan.schema.items()):
        exprs.append((name, Col(old) if have == want else Call("cast", (Col(old), want), (("strict", False),))))
    return Select(plan, tuple(exprs))


def _matched(left: Plan, right: Plan, how: str) -> Plan:
    on = tuple(Col(n) for n in left.schema)
    return Join(left, right, on, on, how, "_right", None, True, "left")


def _every(left: Plan, right: Plan, how: str) -> Plan:
    """INTERSECT ALL and EXCEPT ALL: the second copy of a row on the left meets the second one on the right."""
    names = list(left.schema)
    copy = "copy"
    while copy in left.schema:
        copy += "_"
    keys = tuple(Col(n) for n in names)
    number = Call("over", (Call("pl.int_range", (Lit(0), Call("pl.len", ()))), *keys))
    sides = [WithColumns(p, ((copy, number),)) for p in (left, right)]
    matched = _matched(sides[0], sides[1], how)
    return Select(matched, tuple((n, Col(n)) for n in names))
