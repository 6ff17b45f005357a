"""Columns that a dedup does not compare are computed for the rows that stay."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.nodes.dedup import Dedup


def delay_columns(plan: Plan) -> Plan | None:
    """Move row-wise work that a dedup does not look at above it.

    Before::

        Dedup on caption, keep first: exact ...
          MapBatches of 64 rows: embed
            Scan episodes.parquet

    After::

        MapBatches of 64 rows: embed
          Dedup on caption, keep first: exact ...
            Scan episodes.parquet

    The work must give a row for each row, and pass what is compared as it is.
    """
    if not isinstance(plan, Dedup) or plan.clusters or plan.apart:
        return None
    below = plan.input
    if len(below.inputs()) != 1 or not below.keeps_rows or not below.computes:
        return None
    (source,) = below.inputs()
    reads = frozenset().union(*(e.columns for _, e in plan.light().exprs))
    if any(name not in source.schema or below.passes(name) != name for name in reads):
        return None
    return below.with_inputs((plan.replace(input=source),))
