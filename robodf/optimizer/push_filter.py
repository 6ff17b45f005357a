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
    filters: list[Filter] = []  # from the top down: all go on together, or each would be rebuilt for each other
    below = plan
    while isinstance(below, Filter) and below.where.rowwise:
        filters.append(below)
        below = below.input
    levels = [conjuncts(f.where) for f in reversed(filters)]
    candidates = [part for parts in levels for part in parts if part.movable and part.columns]
    below, refused = below.push_all(candidates)
    if len(refused) == len(candidates):
        return None
    moved = {id(part) for part in candidates} - {id(part) for part in refused}
    for parts in levels:
        rest = [part for part in parts if id(part) not in moved]
        below = Filter(below, conjunction(rest)) if rest else below
    return below
