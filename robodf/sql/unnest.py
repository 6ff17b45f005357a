"""Lists to rows: unnest(l) in SELECT and in FROM."""

from __future__ import annotations

import polars as pl
from sqlglot import exp

from robodf.plan.expr import Call, Col, Expr
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.reshape import Explode
from robodf.sql.stage import Stage


def unnest(stage: Stage, node: exp.Expr, e: Expr, wanted: str) -> Col:
    """One row for each element; a row with an empty list or none is dropped."""
    dtype = stage.dtype(e)
    if not isinstance(dtype, (pl.List, pl.Array)):
        raise stage.query.fail(node, f"unnest takes a list, not {dtype}; the fields of a struct are read as s.field")
    column = stage.add(wanted, e)
    stage.plan = Explode(Filter(stage.plan, Call("is_not_null", (column,))), (column.ref,))
    return column


def unnest_in_select(stage: Stage, node: exp.Anonymous) -> Col:
    """`SELECT unnest(l)`."""
    from robodf.sql.expressions import compile_expr
    from robodf.sql.naming import text_of

    if stage.clause != "SELECT" or len(node.expressions) != 1:
        raise stage.query.fail(node, "unnest(list) stands in SELECT or in FROM")
    if stage.unnested is not None:
        raise stage.query.fail(node, "one unnest a SELECT: unnest the other list in a query around it")
    e = compile_expr(stage, node.expressions[0])
    stage.unnested = node
    return unnest(stage, node, e, text_of(node))
