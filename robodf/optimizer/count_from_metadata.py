"""Counts that an index or a footer knows."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.nodes.rows import Count, Known


def count_from_metadata(plan: Plan) -> Plan | None:
    """Answer a count by metadata, or count fewer columns and skip work that does not change the number of rows.

    Before::

        Count
          Sort col("t")
            Scan log.mcap

    After::

        Known count 75,815 (from the metadata of Scan log.mcap)
    """
    if not isinstance(plan, Count):
        return None
    below = plan.input
    while below.same_count or below.keeps_rows:
        below = below.inputs()[0]
    rows = below.count()
    if rows is not None:
        return Known(rows, below.label())
    return Count(below)
