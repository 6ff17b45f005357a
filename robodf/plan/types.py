"""The types of expressions: asked of Polars, and once for each expression over columns of the same types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from robodf.plan.expr import Col, Expr

if TYPE_CHECKING:
    from robodf.plan.base import Schema
    from robodf.plan.resolve import Named

_Key = tuple[pl.DataType, ...]


def types_of(named: Named, schema: Schema) -> Schema | None:
    """Name and type of each expression in `select`; None where one of them gives several columns.

    The type follows from the types of the columns that an expression reads. So the answer is kept on the expression
    (nodes are interned: it serves every plan that holds it), and rules that move projections about cost no question.
    PolarsError where an expression does not fit the columns.
    """
    known: dict[str, pl.DataType] = {}
    asked: list[tuple[str, Expr, _Key | None]] = []
    for name, e in named:
        if isinstance(name, tuple):
            return None
        key = _key(e, schema)
        found = schema[e.ref] if isinstance(e, Col) and key is not None else _kept(e).get(key)
        if found is None:
            asked.append((name, e, key))
        known[name] = found  # type: ignore[assignment]  # the place in the order; filled below
    if asked:
        known.update(_ask(asked, schema))
    return known


def type_of(e: Expr, schema: Schema) -> pl.DataType:
    """The type of an expression with one output."""
    key = _key(e, schema)
    found = _kept(e).get(key)
    return _ask([("", e, key)], schema)[""] if found is None else found


def _ask(asked: list[tuple[str, Expr, _Key | None]], schema: Schema) -> Schema:
    columns: Mapping[str, pl.DataType] = schema
    if all(key is not None for _, _, key in asked):
        columns = {name: schema[name] for _, e, _ in asked for name in e.columns}
    empty = pl.LazyFrame(schema=columns)
    answer = dict(empty.select([e.polars.alias(name) for name, e, _ in asked]).collect_schema())
    for name, e, key in asked:
        if key is not None:
            _kept(e)[key] = answer[name]
    return answer


def _key(e: Expr, schema: Schema) -> _Key | None:
    """The types that the type of `e` follows from; None where it may read more than the columns in its tree."""
    if not e.transparent or not e.columns <= schema.keys():
        return None
    return tuple(schema[name] for name in sorted(e.columns))


def _kept(e: Expr) -> dict[_Key | None, pl.DataType]:
    return vars(e).setdefault("_types", {})
