"""Limits go to where the rows come from, so that reading stops early."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.nodes.rows import Slice
from robodf.plan.nodes.scan import Scan


def push_limit(plan: Plan) -> Plan | None:
    """Tell the input of a slice how many rows are enough; the driver repeats it.

    Before::

        Limit 5
          WithColumns [ok=col("a") > 0]
            Scan log.mcap

    After::

        WithColumns [ok=col("a") > 0]
          Scan log.mcap limit=5
    """
    if not isinstance(plan, Slice) or plan.offset < 0 or plan.length is None:
        return None
    enough = plan.offset + plan.length
    if plan.offset == 0 and _gives_at_most(plan.input, enough):
        return plan.input
    below = plan.input.push_limit(enough)
    return None if below is None else plan.replace(input=below)


def _gives_at_most(plan: Plan, n: int) -> bool:
    while plan.keeps_rows or plan.same_count:
        plan = plan.inputs()[0]
    limit = plan.length if isinstance(plan, Slice) else plan.limit if isinstance(plan, Scan) else None
    return limit is not None and limit <= n
