"""The kinds of work that operators do, for a planner that weighs where they should run."""

from __future__ import annotations

from collections.abc import Iterable

from robodf.plan.expr import Call, Expr
from robodf.plan.node import walk

KINDS = ("decode", "row", "text", "group", "group_many", "sort", "join")
"""Reading files; columns from columns of the same row; texts looked into; few groups; many groups; sorts; joins."""


def work_of(exprs: Iterable[Expr]) -> str:
    """The kind of work of expressions over rows: "text" where one looks into texts, else "row"."""
    looks = any(isinstance(n, Call) and n.fn.startswith("str.") for e in exprs for n in walk(e))
    return "text" if looks else "row"
