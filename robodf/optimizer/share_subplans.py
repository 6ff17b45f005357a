"""What two parts of a query compute alike is computed once."""

from __future__ import annotations

from robodf.plan.base import Plan, parent_counts, parents_first
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
    and nothing is held in memory. It is where it would be read very many times (unions of unions of the same).
    """
    order = parents_first(plan)[::-1]
    costly: dict[int, bool] = {}
    for n in order:
        # What is kept already costs nothing to use again, and neither does cheap work on it.
        here = not isinstance(n, (Shared, Cached)) and not n.rowwise_cost
        below = not isinstance(n, (Shared, Cached)) and any(costly[id(i)] for i in n.inputs())
        costly[id(n)] = here or below
    parents = parent_counts(plan)
    paths = {id(plan): 1}  # from the root: every way down may become a copy of its own when predicates go down it
    kept: set[int] = set()
    for n in reversed(order):
        many = bool(n.inputs()) and not isinstance(n, (Shared, Cached)) and paths[id(n)] > _MOST_PATHS
        if parents.get(id(n), 0) > 1 and (costly[id(n)] or many):
            kept.add(id(n))
        if id(n) in kept or isinstance(n, (Shared, Cached)):
            paths[id(n)] = 1
        for child in n.inputs():
            paths[id(child)] = paths.get(id(child), 0) + paths[id(n)]
    if not kept:
        return None
    done: dict[int, Plan] = {}
    for n in order:
        inputs = tuple(done[id(i)] for i in n.inputs())
        new = n if all(a is b for a, b in zip(n.inputs(), inputs)) else n.with_inputs(inputs)
        done[id(n)] = Shared(new) if id(n) in kept else new
    return done[id(plan)]


_MOST_PATHS = 16

share_subplans.whole_plan = True  # type: ignore[attr-defined]
