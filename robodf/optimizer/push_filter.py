"""Predicates go to where the rows come from."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.nodes.filter import Filter


def push_filter(plan: Plan) -> Plan | None:
    """Move each part of a filter as far towards the source as it may go.

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
    if not isinstance(plan, Filter):
        return None
    return plan.push_all([])[0]
