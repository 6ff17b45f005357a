"""Adjacent row-wise work becomes one node."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.expr import Col, Expr, Lit, conjunction, conjuncts
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.resolve import Named, inline

_MOST_PARTS = 50  # of one condition: expressions are read recursively


def fuse_rowwise(plan: Plan) -> Plan | None:
    """Join a filter with the filter below it, and a projection with the projection below it.

    Before::

        Select [a, ok]
          WithColumns [ok=col("a") > 0]
            Select [a=col("x"), b]
              Scan x.parquet

    After::

        Select [a=col("x"), ok=col("x") > 0]
          Scan x.parquet

    An expression that is used more than once is not copied into its uses, unless it is a column or a constant.
    """
    if isinstance(plan, Filter) and isinstance(plan.input, Filter):
        below = plan.input
        if plan.where.movable and below.where.movable:
            parts = dict.fromkeys([*conjuncts(below.where), *conjuncts(plan.where)])
            return Filter(below.input, conjunction(parts)) if len(parts) <= _MOST_PARTS else None
    if isinstance(plan, (Select, WithColumns)) and isinstance(plan.input, (Select, WithColumns)):
        return _fuse(plan, plan.input)
    return None


def _fuse(top: Select | WithColumns, below: Select | WithColumns) -> Plan | None:
    if not below.keeps_rows or any(isinstance(name, tuple) for name, _ in (*below.exprs, *top.exprs)):
        return None
    inlined = _inline(top, below)
    if inlined is None:
        return None
    if isinstance(top, Select):
        if isinstance(below, Select) and not any(e.columns for _, e in inlined):
            return None  # constants alone: one row, whatever the input has
        lost = any(old.columns and not e.columns for (_, old), (_, e) in zip(top.exprs, inlined))
        if lost and not any(e.columns and e.rowwise for _, e in inlined):
            return None  # a column of constants, which gave the number of rows
        return Select(below.input, inlined)
    made = dict(inlined)
    merged = tuple((name, made.pop(name, e)) for name, e in below.exprs) + tuple(made.items())
    if isinstance(below, Select) and not any(e.columns and e.rowwise for _, e in merged):
        return None  # the last column of the input went, and with it the number of rows
    return below.replace(exprs=merged)  # type: ignore[arg-type]


def _inline(top: Select | WithColumns, below: Select | WithColumns) -> Named | None:
    """`top` over the input of `below`; None where that would compute something twice or cannot be."""
    by = below.definitions
    # What `below` makes and `top` lets pass is computed for that already.
    uses = dict.fromkeys(by.keys() - top.definitions.keys(), 1) if isinstance(top, WithColumns) else {}
    for _, e in top.exprs:
        if not e.transparent:
            return None
        if e.columns.isdisjoint(by):
            continue
        for ref in (e.ref,) if isinstance(e, Col) else e.polars.meta.root_names():
            uses[ref] = uses.get(ref, 0) + 1
    for ref, times in uses.items():
        definition = by.get(ref)
        if definition is None or isinstance(definition, (Col, Lit)):
            continue
        if times > 1 or not definition.transparent:
            return None
    made: list[tuple[str | tuple[str, ...], Expr]] = []
    for name, e in top.exprs:
        new = e if e.columns.isdisjoint(by) else inline(e, by, below.schema)
        if new is None:
            return None
        made.append((name, new))
    return tuple(made)
