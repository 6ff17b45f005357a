"""What two parts of a query compute alike is computed once."""

from __future__ import annotations

from robodf.plan.base import Plan, plans
from robodf.plan.nodes.shared import Cached, Shared


def share_subplans(plan: Plan) -> Plan | None:
    """Keep the result of a costly sub-plan that has several parents.

    Before (interning made the two group-bys one node)::

        Join inner on col("k") == col("k")
          #1 GroupBy by [k] agg [n=len()]
            Scan x.parquet
          (same as #1: GroupBy)

    After::

        Join inner on col("k") == col("k")
          #1 Shared
            GroupBy by [k] agg [n=len()]
              Scan x.parquet
          (same as #1: Shared)

    A sub-plan of scans, filters and projections alone is not kept: each use then reads only its own part of the file,
    and nothing is held in memory.
    """
    parents: dict[int, int] = {}
    nodes: dict[int, Plan] = {}
    for n in plans(plan):
        nodes[id(n)] = n
        for child in n.inputs():
            parents[id(child)] = parents.get(id(child), 0) + 1
    costly = {
        key
        for key, n in nodes.items()
        if parents.get(key, 0) > 1 and not isinstance(n, (Shared, Cached)) and not all(d.rowwise_cost for d in plans(n))
    }
    # Only the topmost: below a kept result nothing is computed twice.
    if not costly:
        return None
    done: dict[int, Plan] = {}

    def rebuild(n: Plan, under_shared: bool) -> Plan:
        if id(n) in done:
            return done[id(n)]
        keep = id(n) in costly
        new = n.with_inputs(tuple(rebuild(i, under_shared or keep or isinstance(n, Shared)) for i in n.inputs()))
        done[id(n)] = Shared(new) if keep and not isinstance(n, Shared) else new
        return done[id(n)]

    new = rebuild(plan, False)
    return None if new is plan else new


share_subplans.whole_plan = True  # type: ignore[attr-defined]
