"""FROM: tables, their joins, and the names that they make visible."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import polars as pl
from sqlglot import exp

from robodf.plan.base import Plan
from robodf.plan.expr import Call, Col, Expr, Lit, conjunction
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.join import Join, JoinAsof
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.scan import InMemory
from robodf.plan.nodes.sort import Sort
from robodf.sql import types
from robodf.sql.errors import missing
from robodf.sql.naming import distinct_names
from robodf.sql.operators import when
from robodf.sql.stage import Env, Field, Query, Stage
from robodf.sql.tables import named_table, table_function
from robodf.sql.unnest import unnest

_ONE_ROW = pl.DataFrame({"one_row": [0]}, schema={"one_row": pl.Int8})


def from_clause(query: Query, node: exp.Expr, env: Env) -> Stage:
    """The stage that FROM and its joins give; without FROM one row of nothing."""
    source = node.args.get("from_")
    if source is None:
        return Stage(query, env, InMemory(_ONE_ROW), [])
    query.check_args(source, ("this",))
    stage = relation(query, source.this, env)
    for join in node.args.get("joins") or []:
        stage = joined(stage, join)
    return stage


def relation(query: Query, node: exp.Expr, env: Env) -> Stage:
    """One item of FROM."""
    from robodf.sql.statement import query_plan, values_plan

    if isinstance(node, exp.Table):
        query.check_args(node, ("this", "alias", "joins"))
        if isinstance(node.this, exp.Identifier):
            plan, name = named_table(query, node.this, env.ctes), node.name
        elif isinstance(node.this, exp.Anonymous):
            name = node.this.name
            plan = table_function(query, node.this, Stage(query, env, InMemory(_ONE_ROW), []))
        else:
            raise query.fail(node, "this is not supported in FROM")
        stage = _visible(query, node, env, plan, name)
        for join in node.args.get("joins") or []:
            stage = joined(stage, join)
        return stage
    if isinstance(node, exp.Subquery):
        query.check_args(node, ("this", "alias"))
        if isinstance(node.this, exp.Table):  # (t JOIN u USING (a))
            return relation(query, node.this, env) if not node.args.get("alias") else _aliased(query, node, env)
        return _visible(query, node, env, query_plan(query, node.this, env), None)
    if isinstance(node, exp.Values):
        return _visible(query, node, env, values_plan(query, node, env), "valueslist")
    if isinstance(node, exp.Unnest):
        stage = Stage(query, env, InMemory(_ONE_ROW), [])
        return _unnested(stage, node)
    raise query.fail(node, f"{type(node).__name__.upper()} is not supported in FROM")


def _aliased(query: Query, node: exp.Subquery, env: Env) -> Stage:
    inner = relation(query, node.this, env)
    shown = [f for f in inner.fields if f.shown]
    names = distinct_names(f.name for f in shown)
    plan = Select(inner.plan, tuple((name, Col(f.ref)) for name, f in zip(names, shown)))
    return _visible(query, node, env, plan, None)


def _visible(query: Query, node: exp.Expr, env: Env, plan: Plan, name: str | None) -> Stage:
    alias = node.args.get("alias")
    names = list(plan.schema)
    if alias is not None:
        query.check_args(alias, ("this", "columns"))
        name = alias.name or name
        columns = alias.args.get("columns") or []
        if len(columns) > len(names):
            raise query.fail(columns[len(names)], f"the table has {len(names)} columns, not {len(columns)}")
        names[: len(columns)] = [c.name for c in columns]
    return Stage(query, env, plan, [Field(name, shown, ref) for shown, ref in zip(names, plan.schema)])


def _unnested(stage: Stage, node: exp.Unnest) -> Stage:
    """`FROM t, unnest(t.l) AS u(x)`: sees the tables before it."""
    from robodf.sql.expressions import compile_expr

    stage.query.check_args(node, ("expressions", "alias"))
    if len(node.expressions) != 1:
        raise stage.query.fail(node, "unnest takes one list")
    alias = node.args.get("alias")
    columns = (alias.args.get("columns") or []) if alias is not None else []
    name = columns[0].name if columns else "unnest"
    stage.clause = "FROM"
    column = unnest(stage, node, compile_expr(stage, node.expressions[0]), name)
    stage.fields = [
        *stage.fields,
        Field(alias.name if alias is not None and alias.name else "unnest", name, column.ref),
    ]
    return stage


# -- joins ----------------------------------------------------------------------------------------------------


@dataclass
class On:
    """What ON says: pairs of keys, conditions on one side, and the rest."""

    left: list[Expr]
    right: list[Expr]
    only_left: list[Expr]
    only_right: list[Expr]
    rest: list[Expr]


def joined(left: Stage, node: exp.Join) -> Stage:
    """The rows of `left` with those of what the join names."""
    query = left.query
    query.check_args(node, ("this", "method", "side", "kind", "on", "using"))
    method, side, kind = (str(node.args.get(k) or "").upper() for k in ("method", "side", "kind"))
    if isinstance(node.this, exp.Unnest):
        if side or kind not in ("", "CROSS") or node.args.get("on") is not None:
            raise query.fail(node, "unnest is joined by a comma or CROSS JOIN")
        return _unnested(left, node.this)
    if method not in ("", "NATURAL", "ASOF"):
        raise query.fail(node, f"{method} JOIN is not supported")
    right = relation(query, node.this, left.env)
    for table in {f.table for f in right.fields if f.table}:
        if left.has_table(table):
            raise query.fail(node.this, f"there are two tables named {table!r}: give one another name with AS")
    how = kind.lower() if kind in ("SEMI", "ANTI") else {"": "inner"}.get(side, side.lower())
    using = [c.name for c in node.args.get("using") or []]
    if method == "NATURAL":
        using = [f.name for f in left.fields if f.shown and right.lookup(f.name, None)]
        if not using:
            raise query.fail(node, "NATURAL JOIN needs a column that both tables have")
    right = _apart(left, right)
    if method == "ASOF":
        return _asof(left, right, node, how, using)
    if using:
        return _using(left, right, node, how, using)
    condition = node.args.get("on")
    if condition is None:
        if how != "inner":
            raise query.fail(node, f"{how.upper()} JOIN needs ON or USING")
        return _both(left, right, Join(left.plan, right.plan, (), (), "cross", "_right", None, False, None))
    return _on(left, right, node, how, condition)


def _apart(left: Stage, right: Stage) -> Stage:
    """The right side with other names for the columns whose names the left side has."""
    taken = set(left.plan.schema) | set(right.plan.schema)
    new: dict[str, str] = {}
    for f in right.fields:
        if f.ref in left.plan.schema and f.ref not in new:
            name = base = f"{f.table}.{f.name}" if f.table else f"{f.name}_right"
            n = 1
            while name in taken:
                name, n = f"{base}_{n}", n + 1
            taken.add(name)
            new[f.ref] = name
    hidden = [n for n in right.plan.schema if n in left.plan.schema and n not in new]
    if not new and not hidden:
        return right
    exprs = tuple((new.get(n, n), Col(n)) for n in right.plan.schema if n not in hidden)
    fields = [replace(f, ref=new.get(f.ref, f.ref)) for f in right.fields]
    return right.fork(plan=Select(right.plan, exprs), fields=fields)


def _both(left: Stage, right: Stage, plan: Plan) -> Stage:
    return left.fork(plan=plan, fields=[*left.fields, *right.fields])


def _paired(left: Stage, right: Stage, node: exp.Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Two keys in the same type: Polars does not join Int64 with Float64."""
    ta, tb = left.dtype(a), right.dtype(b)
    if ta == tb or pl.Null in (ta, tb):
        return a, b
    if types.kind(ta) != types.kind(tb):
        raise left.query.fail(node, f"{ta} is joined with {tb}: cast one of them")
    common = pl.concat([pl.Series(dtype=ta).to_frame("k"), pl.Series(dtype=tb).to_frame("k")], how="vertical_relaxed")
    want = common.schema["k"]
    return tuple(e if t == want else Call("cast", (e, want)) for e, t in ((a, ta), (b, tb)))  # type: ignore[return-value]


def _on(left: Stage, right: Stage, node: exp.Join, how: str, condition: exp.Expr) -> Stage:
    query = left.query
    on = split(left, right, condition)
    if how in ("inner", "cross"):
        plan = _plain_join(left, right, on, "inner")
        rest = [*on.only_left, *on.only_right, *on.rest]
        return _both(left, right, Filter(plan, conjunction(rest)) if rest else plan)
    if on.rest or not on.left:
        what = "compares both sides by other than =" if on.rest else "has no equality of a column of each side"
        raise query.fail(condition, f"{how.upper()} JOIN: ON {what}; only INNER JOIN does that")
    lefts, rights = on.left, on.right
    if on.only_left and how in ("left", "full", "anti"):
        lefts = _null_unless(lefts, on.only_left, left)  # such a row stays, and matches nothing
    elif on.only_left:
        left = left.fork(plan=Filter(left.plan, conjunction(on.only_left)))
    if on.only_right and how in ("right", "full"):
        rights = _null_unless(rights, on.only_right, right)
    elif on.only_right:
        right = right.fork(plan=Filter(right.plan, conjunction(on.only_right)))
    keys = tuple(lefts), tuple(rights)
    if how in ("semi", "anti"):
        return left.fork(plan=Join(left.plan, right.plan, *keys, how, "_right", None, False, "left"))
    return _both(left, right, Join(left.plan, right.plan, *keys, how, "_right", False, False, None))


def _plain_join(left: Stage, right: Stage, on: On, how: str) -> Plan:
    if not on.left:
        return Join(left.plan, right.plan, (), (), "cross", "_right", None, False, None)
    return Join(left.plan, right.plan, tuple(on.left), tuple(on.right), how, "_right", False, False, None)


def _null_unless(keys: list[Expr], conditions: list[Expr], stage: Stage) -> list[Expr]:
    return [when(conjunction(conditions), keys[0], Lit(None, stage.dtype(keys[0]))), *keys[1:]]


def conjuncts(node: exp.Expr) -> list[exp.Expr]:
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.And):
        return [*conjuncts(node.this), *conjuncts(node.expression)]
    return [node]


def split(left: Stage, right: Stage, condition: exp.Expr) -> On:
    """ON by what each part reads. The sides have no column name in common."""
    from robodf.sql.expressions import compile_predicate

    on = On([], [], [], [], [])
    query = left.query
    whole = Join(left.plan, right.plan, (), (), "cross", "_right", None, False, None)
    together = left.fork(plan=whole, fields=[*left.fields, *right.fields], clause="ON")
    for part in conjuncts(condition):
        before = together.plan
        made = compile_predicate(together, part)
        if together.plan is not before:
            raise query.fail(part, "a subquery cannot stand in ON: put it into WHERE, or join it")
        reads_left, reads_right = made.columns & left.plan.schema.keys(), made.columns & right.plan.schema.keys()
        if reads_left and reads_right:
            pair = _equality(left, right, part, made)
            if pair is None:
                on.rest.append(made)
            else:
                on.left.append(pair[0])
                on.right.append(pair[1])
        elif reads_right:
            on.only_right.append(made)
        elif reads_left:
            on.only_left.append(made)
        else:
            on.rest.append(made)
    return on


def _equality(left: Stage, right: Stage, node: exp.Expr, made: Expr) -> tuple[Expr, Expr] | None:
    if not isinstance(made, Call) or made.fn != "__eq__":
        return None
    a, b = made.args
    if not (a.columns <= left.plan.schema.keys() and b.columns <= right.plan.schema.keys()):
        a, b = b, a
    if not (a.columns <= left.plan.schema.keys() and b.columns <= right.plan.schema.keys()):
        return None
    return _paired(left, right, node, a, b)


def _using(left: Stage, right: Stage, node: exp.Join, how: str, using: list[str]) -> Stage:
    lefts, rights, pairs = [], [], []
    if len({name.lower() for name in using}) < len(using):
        raise left.query.fail(node, "USING names a column twice")
    for name in using:
        sides = []
        for stage in (left, right):
            found = stage.lookup(name, None)
            if len({f.ref for f in found}) != 1:
                known = [f.name for f in stage.fields if f.shown]
                at = next((c for c in node.args.get("using") or [] if c.name == name), node)
                raise left.query.fail(at, missing("column", name, known, "Columns of this side")
                                      if not found else f"{name!r} is ambiguous on one side of the join")  # fmt: skip
            sides.append(found[0])
        a, b = _paired(left, right, node, Col(sides[0].ref), Col(sides[1].ref))
        lefts.append(a)
        rights.append(b)
        pairs.append(tuple(sides))
    if how in ("semi", "anti"):
        plan = Join(left.plan, right.plan, tuple(lefts), tuple(rights), how, "_right", None, False, "left")
        return left.fork(plan=plan)
    made = _both(
        left, right, Join(left.plan, right.plan, tuple(lefts), tuple(rights), how, "_right", False, False, None)
    )
    return _merged(made, how, pairs)


def _merged(stage: Stage, how: str, pairs: list[tuple[Field, Field]]) -> Stage:
    """One visible column for each USING column; both sides stay readable under the names of their tables."""
    fields = list(stage.fields)
    for a, b in pairs:
        if how == "full":
            merged = stage.add(a.name, Call("pl.coalesce", (Col(a.ref), Col(b.ref))))
            shown = Field(None, a.name, merged.ref)
        else:
            shown = Field(None, a.name, b.ref if how == "right" else a.ref)
        at = fields.index(a)
        fields[at] = replace(a, shown=False)
        fields[fields.index(b)] = replace(b, shown=False)
        fields.insert(at, shown)
    stage.fields = fields
    return stage


def _asof(left: Stage, right: Stage, node: exp.Join, how: str, using: list[str]) -> Stage:
    """ASOF JOIN: the nearest row of the right side at or before (>=), or after (<=)."""
    query, condition = left.query, node.args.get("on")
    if how not in ("inner", "left") or using or condition is None:
        raise query.fail(node, "ASOF JOIN and ASOF LEFT JOIN take ON with one inequality (l.t >= r.t) and equalities")
    on = split(left, right, condition)
    limits = {id(e): found for e in on.rest if (found := _within(e)) is not None}
    nearest = [e for e in on.rest if id(e) not in limits and isinstance(e, Call) and e.fn in _NEAREST]
    if len(nearest) != 1 or len(nearest) + len(limits) != len(on.rest) or on.only_left or on.only_right:
        raise query.fail(condition, _ASOF)
    a, b = nearest[0].args
    strategy, exact = _NEAREST[nearest[0].fn]
    later, earlier = (a, b) if strategy == "backward" else (b, a)
    if any(found[0] is not later or found[1] is not earlier for found in limits.values()):
        raise query.fail(condition, f"{_ASOF}; the tolerance is on the later time minus the earlier one")
    tolerance = min((found[2] for found in limits.values()), default=None)
    if not a.columns <= left.plan.schema.keys():
        a, b, strategy = b, a, "forward" if strategy == "backward" else "backward"
    keys = [*zip(on.left, on.right), _paired(left, right, condition, a, b)]
    lefts = [_named(left, p[0], f"asof_left_{i}") for i, p in enumerate(keys)]
    rights = [_named(right, p[1], f"asof_right_{i}") for i, p in enumerate(keys)]
    # A row of the right side without a time is near to nothing; one of the left side stays, and finds nothing.
    timed = Filter(right.plan, Call("is_not_null", (Col(rights[-1]),)))
    sides = [_sorted(left.plan, lefts[-1]), _sorted(timed, rights[-1])]
    plan: Plan = JoinAsof(sides[0], sides[1], lefts[-1], rights[-1], tuple(lefts[:-1]), tuple(rights[:-1]), strategy,
                          tolerance, "_right", False, exact)  # fmt: skip
    if how == "inner":
        plan = Filter(plan, Call("is_not_null", (Col(rights[-1]),)))
    return _both(left, right, plan)


_ASOF = ("ASOF JOIN takes one inequality between the sides (l.t >= r.t), equalities, and a tolerance "
         "(l.t - r.t <= INTERVAL '20 ms')")  # fmt: skip


def _within(e: Expr) -> tuple[Expr, Expr, Any] | None:
    """(later, earlier, most) of `later - earlier <= most`, however it is written; None for anything else."""
    if not isinstance(e, Call) or e.fn not in ("__le__", "__ge__"):
        return None
    small, large = e.args if e.fn == "__le__" else e.args[::-1]
    if isinstance(large, Lit) and isinstance(small, Call) and small.fn == "__sub__":
        return (*small.args, large.value) if isinstance(large.value, (int, timedelta)) else None
    for moved, fn in ((large, "__add__"), (small, "__sub__")):  # later <= earlier + most, later - most <= earlier
        if isinstance(moved, Call) and moved.fn == fn:
            parts = list(moved.args)
            if fn == "__add__" and isinstance(parts[0], Lit):
                parts.reverse()
            if isinstance(parts[1], Lit) and isinstance(parts[1].value, (int, timedelta)):
                return (small, parts[0], parts[1].value) if moved is large else (parts[0], large, parts[1].value)
    return None


def _named(stage: Stage, e: Expr, wanted: str) -> str:
    return e.ref if isinstance(e, Col) else stage.add(wanted, e).ref


_NEAREST = {"__ge__": ("backward", True), "__gt__": ("backward", False), "__le__": ("forward", True),
            "__lt__": ("forward", False)}  # fmt: skip


def _sorted(plan: Plan, by: str) -> Plan:
    # Nulls first: with nulls last Polars' asof join refuses the frame, or on 1.44 finds the wrong rows.
    return Sort(plan, (Col(by),), (False,), (False,))
