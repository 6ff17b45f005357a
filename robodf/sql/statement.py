"""SELECT, VALUES and WITH: from the tree of a query to a plan."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from sqlglot import exp

from robodf.plan.base import Plan
from robodf.plan.expr import Col, Expr, Lit
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.nodes.rows import Slice
from robodf.plan.nodes.scan import InMemory
from robodf.plan.nodes.sort import Sort
from robodf.plan.nodes.unique import Unique
from robodf.sql.aggregates import aggregates_in, group
from robodf.sql.errors import missing
from robodf.sql.expressions import compile_expr, compile_predicate
from robodf.sql.joins import conjuncts, from_clause
from robodf.sql.naming import distinct_names, text_of
from robodf.sql.stage import Env, Field, Query, Stage

_SELECT_ARGS = "expressions from_ joins where group having qualify windows order limit offset distinct with_".split()


@dataclass
class Output:
    """A column of the answer."""

    name: str
    expr: Expr


def query_plan(query: Query, node: exp.Expr, env: Env) -> Plan:
    """The plan of a query; its columns have distinct names."""
    if isinstance(node, exp.Subquery):
        query.check_args(node, ("this", "order", "limit", "offset", "with_"))
        env = with_clause(query, node, env)
        return ordered_output(query, node, query_plan(query, node.this, env), env)
    if isinstance(node, exp.Select):
        return select_plan(query, node, env)
    if isinstance(node, exp.SetOperation):
        from robodf.sql.setops import set_operation

        return set_operation(query, node, env)
    if isinstance(node, exp.Values):
        return values_plan(query, node, env)
    if isinstance(node, exp.Table):  # (FROM t) without SELECT
        return from_clause(query, exp.Select(from_=exp.From(this=node)), env).plan
    raise query.fail(node, f"{node.key.upper()} is not supported: rd.sql runs queries (SELECT, VALUES, UNION, ...)")


def with_clause(query: Query, node: exp.Expr, env: Env) -> Env:
    """The environment with the tables of WITH, each of which sees those before it."""
    clause = node.args.get("with_")
    if clause is None:
        return env
    if clause.args.get("recursive"):
        raise query.fail(clause, "WITH RECURSIVE is not supported")
    query.check_args(clause, ("expressions",))
    ctes = dict(env.ctes)
    for cte in clause.expressions:
        query.check_args(cte, ("this", "alias", "materialized"))  # a hint: a shared plan is computed once anyway
        plan = query_plan(query, cte.this, Env(dict(ctes), env.outer))
        columns = cte.args["alias"].args.get("columns") or []
        if columns:
            names = list(plan.schema)
            if len(columns) > len(names):
                raise query.fail(columns[len(names)], f"the query gives {len(names)} columns, not {len(columns)}")
            new = [c.name for c in columns] + names[len(columns) :]
            plan = Select(plan, tuple((n, Col(old)) for n, old in zip(distinct_names(new), names)))
        ctes[cte.alias.lower()] = plan
    return Env(ctes, env.outer)


def select_plan(query: Query, node: exp.Select, env: Env) -> Plan:
    """FROM, WHERE, GROUP BY, HAVING, SELECT, QUALIFY, DISTINCT, ORDER BY, LIMIT."""
    query.check_args(node, _SELECT_ARGS)
    if not node.expressions:
        raise query.fail(node, "SELECT names no column")
    env = with_clause(query, node, env)
    stage = from_clause(query, node, env)
    stage.aliases = {e.alias.lower(): e.this for e in node.expressions if isinstance(e, exp.Alias)}
    stage.windows = {w.name.lower(): w for w in node.args.get("windows") or []}
    where = node.args.get("where")
    if where is not None:
        filter_stage(stage, where.this)
    stage = _grouped(stage, node)
    having = node.args.get("having")
    if having is not None:
        if stage.below is None:
            raise query.fail(having, "HAVING goes with GROUP BY or an aggregate: use WHERE")
        stage.clause = "HAVING"
        condition = compile_predicate(stage, having.this)
        stage.plan = Filter(stage.plan, condition)
    stage.clause = "SELECT"
    outputs = _outputs(stage, node)
    qualify = node.args.get("qualify")
    if qualify is not None:
        stage.clause = "QUALIFY"
        condition = compile_predicate(stage, qualify.this)
        stage.plan = Filter(stage.plan, condition)
    stage.clause = "ORDER BY"
    return _finished(stage, node, outputs)


def filter_stage(stage: Stage, condition: exp.Expr) -> None:
    """WHERE: each part of an AND is a filter of its own; IN and EXISTS subqueries are semi joins."""
    from robodf.sql.subqueries import semi_join

    stage.clause = "WHERE"
    for part in conjuncts(condition):
        if not semi_join(stage, part):
            made = compile_predicate(stage, part)
            stage.plan = Filter(stage.plan, made)


# -- GROUP BY -------------------------------------------------------------------------------------------------


def _grouped(stage: Stage, node: exp.Select) -> Stage:
    clause, order = node.args.get("group"), node.args.get("order")
    places = [*node.expressions, node.args.get("having"), node.args.get("qualify"), order]
    found = [a for place in places if place is not None for a in aggregates_in(place)]
    if clause is None and not found:
        return stage
    if clause is not None:
        stage.query.check_args(clause, ("expressions", "all"))
    keys: list[exp.Expr] = []
    if clause is not None and clause.args.get("all"):
        keys = [e.this if isinstance(e, exp.Alias) else e for e in node.expressions if not any(aggregates_in(e))]
        if any(_is_star(k) for k in keys):
            raise stage.query.fail(node, "GROUP BY ALL does not go with *: name the columns")
    elif clause is not None:
        keys = [_by_position(stage, e, node.expressions) for e in clause.expressions]
    stage.clause = "GROUP BY"
    made = [compile_expr(stage, k) for k in keys]
    kept = [(k, e) for k, e in zip(keys, made) if e.columns]  # a constant makes no groups
    kept = list({id(e): (k, e) for k, e in kept}.values())
    if keys and not kept and clause is not None:  # GROUP BY 'x': no row where there was none
        kept = [(keys[0], stage.add(text_of(keys[0]), made[0]))]
    stage.clause = "an aggregate"
    names = [e.ref if isinstance(e, Col) else text_of(k) for k, e in kept]
    return group(stage, [e for _, e in kept], names, found)


def _by_position(stage: Stage, node: exp.Expr, outputs: list[exp.Expr]) -> exp.Expr:
    if not (isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit()):
        return node
    place = int(node.name)
    if not 1 <= place <= len(outputs) or any(_is_star(o) for o in outputs[:place]):
        raise stage.query.fail(node, f"{place} is no position in the SELECT list, which has {len(outputs)} columns")
    chosen = outputs[place - 1]
    return chosen.this if isinstance(chosen, exp.Alias) else chosen


# -- the SELECT list ------------------------------------------------------------------------------------------


def _is_star(node: exp.Expr) -> bool:
    return isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star))


def _outputs(stage: Stage, node: exp.Select) -> list[Output]:
    outputs: list[Output] = []
    for item in node.expressions:
        if _is_star(item):
            outputs += _star(stage, item)
        elif isinstance(item, exp.Alias):
            stage.query.check_args(item, ("this", "alias"))
            outputs.append(Output(item.alias, compile_expr(stage, item.this)))
        else:
            e = compile_expr(stage, item)
            name = item.name if isinstance(item, exp.Column) else text_of(item)
            if isinstance(item, exp.Column):
                found = (stage.below or stage).find(list(item.parts))  # type: ignore[arg-type]
                name = found[0].name if found and not found[1] else name
            outputs.append(Output(name, e))
    for output, name in zip(outputs, distinct_names(o.name for o in outputs)):
        output.name = name
    return outputs


def _star(stage: Stage, node: exp.Expr) -> list[Output]:
    query = stage.query
    star = node if isinstance(node, exp.Star) else node.this
    query.check_args(star, ("except_", "replace", "rename"))
    source = stage.below or stage
    fields = [f for f in source.fields if f.shown]
    if isinstance(node, exp.Column):
        table = node.args["table"]
        if not source.has_table(table.name):
            raise source.unknown([table, exp.Identifier(this="*")])
        fields = [f for f in source.fields if f.table and f.table.lower() == table.name.lower()]
    if not fields:
        raise query.fail(node, "* needs a FROM clause")
    known = {f.name.lower() for f in fields}
    excluded, replaced, renamed = (star.args.get(k) or [] for k in ("except_", "replace", "rename"))
    for item in excluded:
        _known(query, item, item.name, known, fields)
    gone = {item.name.lower() for item in excluded}
    new = {}
    for item in replaced:
        _known(query, item, item.alias, known, fields)
        new[item.alias.lower()] = item.this
    other = {}
    for item in renamed:
        if not isinstance(item, exp.Alias):
            raise query.fail(node, "RENAME is written * RENAME (a AS b)")
        _known(query, item, item.this.name, known, fields)
        other[item.this.name.lower()] = item.alias
    outputs = []
    for f in fields:
        key = f.name.lower()
        if key in gone:
            continue
        if key in new:
            e = compile_expr(stage, new[key])
        elif stage.below is None:
            e = Col(f.ref)
        else:
            found = stage.known.get(id(Col(f.ref)))
            if found is None:
                raise query.fail(node, f"* gives {f.name!r}, which is neither in GROUP BY nor inside of an aggregate")
            e = Col(found[1])
        outputs.append(Output(other.get(key, f.name), e))
    return outputs


def _known(query: Query, node: exp.Expr, name: str, known: set[str], fields: list[Field]) -> None:
    if name.lower() not in known:
        raise query.fail(node, missing("column", name, [f.name for f in fields], "Columns"))


# -- DISTINCT, ORDER BY, LIMIT --------------------------------------------------------------------------------


def _finished(stage: Stage, node: exp.Select, outputs: list[Output]) -> Plan:
    query, distinct = stage.query, node.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is None:
        query.check_args(distinct, ())
        plan: Plan = Unique(projected(stage, outputs), None, "any", False)
        keys = [_distinct_key(stage, o, outputs) for o in _order_items(query, node, len(outputs))]
        return limited(query, node, _sorted(plan, keys))
    keys = [_sort_key(stage, o, outputs) for o in _order_items(query, node, len(outputs))]
    if distinct is not None:
        if not distinct.args["on"].expressions:
            raise query.fail(node, "DISTINCT ON names no column")
        on = [compile_expr(stage, _by_position(stage, e, node.expressions)) for e in distinct.args["on"].expressions]
        names = tuple(e.ref if isinstance(e, Col) else stage.add("distinct", e).ref for e in on)
        stage.plan = Unique(_sorted(stage.plan, keys), names, "first", True)
    else:
        stage.plan = _sorted(stage.plan, keys)
    return limited(query, node, projected(stage, outputs))


SortKey = tuple[Expr, bool, bool]
"""Expression, descending, nulls last."""


def _order_items(query: Query, node: exp.Expr, width: int) -> list[exp.Ordered]:
    order = node.args.get("order")
    if order is None:
        return []
    query.check_args(order, ("expressions",))
    items = []
    for item in order.expressions:
        query.check_args(item, ("this", "desc", "nulls_first"))
        if isinstance(item.this, exp.Var) and item.this.name.upper() == "ALL":
            for place in range(1, width + 1):
                items.append(exp.Ordered(**{**item.args, "this": exp.Literal.number(place)}))
        else:
            items.append(item)
    return items


def _sort_key(stage: Stage, item: exp.Ordered, outputs: list[Output]) -> SortKey:
    flags = bool(item.args.get("desc")), not item.args.get("nulls_first")
    chosen = _output_of(stage.query, item.this, outputs)
    return (compile_expr(stage, item.this) if chosen is None else chosen.expr, *flags)


def _distinct_key(stage: Stage, item: exp.Ordered, outputs: list[Output]) -> SortKey:
    flags = bool(item.args.get("desc")), not item.args.get("nulls_first")
    chosen = _output_of(stage.query, item.this, outputs)
    if chosen is None:
        e = compile_expr(stage, item.this)
        same = [o for o in outputs if o.expr is e]
        if not same:
            raise stage.query.fail(item, "with DISTINCT, ORDER BY takes the columns of the SELECT list")
        chosen = same[0]
    return (Col(chosen.name), *flags)


def _output_of(query: Query, node: exp.Expr, outputs: list[Output]) -> Output | None:
    """The output that a position or a plain name in ORDER BY means."""
    if isinstance(node, exp.Literal) and not node.is_string:
        if not node.name.isdigit() or not 1 <= int(node.name) <= len(outputs):
            raise query.fail(node, f"{node.name} is no position in the SELECT list, which has {len(outputs)} columns")
        return outputs[int(node.name) - 1]
    if isinstance(node, exp.Column) and len(node.parts) == 1:
        found = [o for o in outputs if o.name == node.name] or [
            o for o in outputs if o.name.lower() == node.name.lower()
        ]
        return found[0] if found else None
    return None


def _sorted(plan: Plan, keys: list[SortKey]) -> Plan:
    keys = [k for k in keys if k[0].columns]
    if not keys:
        return plan
    by, descending, nulls_last = (tuple(k[i] for k in keys) for i in range(3))
    return Sort(plan, by, descending, nulls_last)  # type: ignore[arg-type]


def projected(stage: Stage, outputs: list[Output]) -> Plan:
    """The columns of the answer, one row for each row of the stage."""
    named = [(o.name, o.expr) for o in outputs]
    if [n for n, _ in named] == list(stage.plan.schema) and all(isinstance(e, Col) and e.ref == n for n, e in named):
        return stage.plan
    if not any(e.columns for _, e in named):  # constants alone would give one row
        helpers = [stage.fresh(f"output_{i}") for i in range(len(named))]
        added = WithColumns(stage.plan, tuple((h, e) for h, (_, e) in zip(helpers, named)))
        return Select(added, tuple((name, Col(h)) for h, (name, _) in zip(helpers, named)))
    return Select(stage.plan, tuple(named))


def limited(query: Query, node: exp.Expr, plan: Plan) -> Plan:
    """LIMIT and OFFSET."""
    limit, offset = node.args.get("limit"), node.args.get("offset")
    if limit is None and offset is None:
        return plan
    if limit is not None and not isinstance(limit, exp.Limit):
        raise query.fail(limit, "only LIMIT n is supported")
    counts = []
    for clause in (limit, offset):
        if clause is None:
            counts.append(None)
            continue
        query.check_args(clause, ("expression",))
        number = clause.expression
        if not isinstance(number, exp.Literal) or number.is_string or not number.name.isdigit():
            raise query.fail(clause, "LIMIT and OFFSET take whole numbers from 0")
        counts.append(int(number.name))
    return Slice(plan, counts[1] or 0, counts[0])


def ordered_output(query: Query, node: exp.Expr, plan: Plan, env: Env) -> Plan:
    """ORDER BY and LIMIT over finished columns: after UNION, or around a query in brackets."""
    stage = Stage(query, env, plan, [Field(None, n, n) for n in plan.schema], clause="ORDER BY")
    outputs = [Output(n, Col(n)) for n in plan.schema]
    keys = [_sort_key(stage, o, outputs) for o in _order_items(query, node, len(outputs))]
    if stage.plan is not plan:  # a subquery among the keys added columns
        return limited(query, node, projected(stage.fork(plan=_sorted(stage.plan, keys)), outputs))
    return limited(query, node, _sorted(plan, keys))


def values_plan(query: Query, node: exp.Values, env: Env) -> Plan:
    """VALUES: constants, evaluated now."""
    query.check_args(node, ("expressions", "alias", "order", "limit", "offset", "with_"))
    stage = from_clause(query, exp.Select(), env)
    rows = []
    for row in node.expressions:
        items = row.expressions if isinstance(row, exp.Tuple) else [row]
        if rows and len(items) != rows[0].width:
            raise query.fail(row, f"this row has {len(items)} values, the first one {rows[0].width}")
        made = [compile_expr(stage, item) for item in items]
        if any(e.columns for e in made):
            raise query.fail(row, "VALUES takes constants")
        typed = [Lit(e.value, pl.Int64()) if isinstance(e, Lit) and type(e.value) is int else e for e in made]
        rows.append(pl.select([e.polars.alias(f"col{i}") for i, e in enumerate(typed)]))
    try:
        frame = pl.concat(rows, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise query.fail(node, f"the values of a column differ in type: {str(error).splitlines()[0]}") from None
    plan: Plan = InMemory(frame)
    return ordered_output(query, node, plan, env) if node.args.get("order") or node.args.get("limit") else plan
