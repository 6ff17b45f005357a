"""Predicates go to where the rows come from."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.expr import conjunction, conjuncts
from robodf.plan.nodes.filter import Filter


def push_filter(plan: Plan) -> Plan | None:
    """Move each part of a filter one step towards the source; the driver repeats it.

    Before::

        Filter (col("t") > 5) & col("caption").str.contains('arm')
          Sort col("t")
            Scan log.mcap

    After::

        Sort col("t")
          Filter col("caption").str.contains('arm')
            Scan log.mcap where=col("t") > 5 (exact)

    A predicate that reads other rows (`x > x.mean()`) keeps the whole filter in its place, and so does one that may
    raise on rows that it would not have seen. What a node lets pass is the node's own answer (`push`).
    """
    if not isinstance(plan, Filter) or not plan.where.rowwise:
        return None
    parts = conjuncts(plan.where)
    for i, part in enumerate(parts):
        if not part.movable or not part.columns:
            continue
        moved = plan.input.push(part)
        if moved is not None:
            rest = parts[:i] + parts[i + 1 :]
            return Filter(moved, conjunction(rest)) if rest else moved
    return None
