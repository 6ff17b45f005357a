"""`FROM dedup(...)`, `clusters(...)` and `similar_pairs(...)`: rows that say the same."""

from __future__ import annotations

import inspect
import re
from typing import Any

from sqlglot import exp

from robodf.dedup.how import Best
from robodf.dedup.shingles import Chars, Words
from robodf.errors import RobodfError
from robodf.frame.dedup_index import DedupIndex
from robodf.frame.deduping import Deduping, best
from robodf.frame.frame import PipelineDataFrame
from robodf.plan.base import Plan
from robodf.plan.expr import Col, Expr, Lit
from robodf.sql.errors import missing
from robodf.sql.stage import Field, Query, Stage
from robodf.sql.tables import table_argument

FUNCTIONS = ("dedup", "clusters", "similar_pairs")

_FORMS = {"keep": "'first', 'last', 'none' or best(column)", "shingle": "words(5) or chars(5)"}
_SHINGLES = {"words": Words, "chars": Chars}
_SHINGLE = re.compile(r"\s*(\w+)\s*\(\s*(\d*)\s*\)\s*")


def dedup_plan(query: Query, node: exp.Anonymous, stage: Stage) -> Plan:
    """`dedup(TABLE logs, caption, method => 'fuzzy', threshold => 0.8, keep => best(quality), within => episode)`.

    The first argument is a table: `TABLE logs` or `logs`, a query in parentheses, or a table function. After it come
    the columns that are compared (`caption`, `'caption'`, `['a', 'b']`, an expression), or nothing for all columns. The
    options are those of the method of a frame that has the name of the function. `keep` is 'first', 'last', 'none' or
    `best(quality, t ASC)`: the greatest value stays, with ASC the least. `against` is a table or
    `dedup_index('seen.parquet')`, `shingle` is `words(5)` or `chars(5)`.
    """
    function = node.name.lower()
    known = [name for name in inspect.signature(getattr(Deduping, function)).parameters if name != "self"]
    first = node.expressions[0] if node.expressions else None
    plan = table_argument(query, first, stage) if first is not None else None
    if first is None or plan is None:
        raise query.fail(first or node, f"{function} takes a table first: TABLE name, (a query) or a table function")
    table = first.name if isinstance(first, (exp.Column, exp.Table)) else None
    rows = Stage(query, stage.env, plan, [Field(table, name, name) for name in plan.schema], function)
    compared: list[exp.Expr] = []
    given: dict[str, exp.Expr] = {}
    for item in node.expressions[1:]:
        if not isinstance(item, (exp.Kwarg, exp.PropertyEQ, exp.EQ)):
            if given:
                raise query.fail(item, "columns stand before the options")
            compared.append(item)
            continue
        name = item.this.name.lower()
        if name not in known:
            raise query.fail(item, missing("option", name, known, f"Options of {function}"))
        if name in given or (name == "on" and compared):
            raise query.fail(item, f"{name} is given twice" if name in given else "the columns are given already")
        given[name] = item.expression
    options = {name: _option(rows, name, value) for name, value in given.items()}
    if compared:
        options["on"] = [e for item in compared for e in _columns(rows, item)]
    try:
        return getattr(PipelineDataFrame(plan), function)(**options)._plan
    except RobodfError as error:
        said = _said(error).removeprefix(f"{function}: ")
        raise query.fail(given.get(said.partition("=")[0], node), said) from error


def _option(rows: Stage, name: str, node: exp.Expr) -> Any:
    if name == "on":
        return _columns(rows, node)
    if name == "within":
        return None if isinstance(node, exp.Null) else [_plain(rows, e) for e in _listed(node)]
    if name == "against":
        return _against(rows, node)
    if isinstance(node, exp.Anonymous):
        if name == "keep" and node.name.lower() == "best":
            return _best(rows, node)
        if name == "shingle" and node.name.lower() in _SHINGLES:
            sizes = [_constant(rows, name, size) for size in node.expressions]
            if len(sizes) <= 1:
                return _shingle(rows, node, node.name.lower(), *sizes)
    value = _constant(rows, name, node)
    if name == "shingle" and isinstance(value, str):
        found = _SHINGLE.fullmatch(value)
        if found is None or found[1].lower() not in _SHINGLES:
            raise rows.query.fail(node, f"shingle => {value!r}: words(5) or chars(5)")
        return _shingle(rows, node, found[1].lower(), *(int(n) for n in found.groups()[1:] if n))
    return value


def _constant(rows: Stage, name: str, node: exp.Expr) -> Any:
    from robodf.sql.expressions import compile_expr

    if isinstance(node, exp.Null):
        return None
    made = None if isinstance(node, (exp.Column, exp.Anonymous)) else compile_expr(rows, node)
    if isinstance(made, Lit):
        return made.value
    raise rows.query.fail(node, f"{name} is {_FORMS.get(name, 'a number or a text in quotes')}")


def _shingle(rows: Stage, node: exp.Expr, kind: str, *size: Any) -> Words | Chars:
    try:
        return _SHINGLES[kind](*size)
    except RobodfError as error:
        raise rows.query.fail(node, _said(error)) from error


def _best(rows: Stage, node: exp.Anonymous) -> Best:
    """`best(quality, t ASC)`."""
    if not node.expressions:
        raise rows.query.fail(node, "best takes a column: best(quality), or best(quality ASC) for the least")
    exprs = [_expr(rows, e.this if isinstance(e, exp.Ordered) else e) for e in node.expressions]
    least = [isinstance(e, exp.Ordered) and not e.args.get("desc") for e in node.expressions]
    return best(*exprs, descending=[not ascending for ascending in least])


def _against(rows: Stage, node: exp.Expr) -> Any:
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Anonymous) and node.name.lower() == "dedup_index":
        paths = [_constant(rows, "the path of an index", path) for path in node.expressions]
        if len(paths) != 1 or not isinstance(paths[0], str):
            raise rows.query.fail(node, "dedup_index takes the path of an index that rd.DedupIndex saved")
        try:
            return DedupIndex.load(paths[0])
        except RobodfError as error:
            raise rows.query.fail(node, _said(error)) from error
    plan = table_argument(rows.query, node, rows)
    if plan is None:
        raise rows.query.fail(node, "against is TABLE name, (a query), a table function or dedup_index('path')")
    return PipelineDataFrame(plan)


def _said(error: RobodfError) -> str:
    """The message as of SQL, without the user's line, which is said of the query."""
    return re.sub(r"\brd\.(best|words|chars)\b", r"\1", str(error).split("\n  at ")[0])


# -- columns --------------------------------------------------------------------------------------------------


def _listed(node: exp.Expr) -> list[exp.Expr]:
    """`a`, `(a, b)`, `['a', 'b']`."""
    if isinstance(node, exp.Paren):
        return _listed(node.this)
    return list(node.expressions) if isinstance(node, (exp.Array, exp.Tuple)) else [node]


def _columns(rows: Stage, node: exp.Expr) -> list[Expr]:
    return [_expr(rows, item) for item in _listed(node)]


def _plain(rows: Stage, node: exp.Expr) -> Expr:
    made = _expr(rows, node)
    if not isinstance(made, Col):
        raise rows.query.fail(node, "within takes columns; compute one in a query: dedup((SELECT ...), ...)")
    return made


def _expr(rows: Stage, node: exp.Expr) -> Expr:
    """A column by its name in quotes, or any expression of the row."""
    from robodf.sql.expressions import compile_expr

    if isinstance(node, exp.Literal) and node.is_string:
        found = rows.lookup(node.name, None)
        if len(found) != 1:
            raise rows.query.fail(node, missing("column", node.name, rows.plan.schema, "Columns"))
        return Col(found[0].ref)
    before = rows.plan
    made = compile_expr(rows, node)
    if rows.plan is not before:
        raise rows.query.fail(node, "a subquery cannot stand here; compute it in a query: dedup((SELECT ...), ...)")
    return made
