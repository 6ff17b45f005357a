"""What the operators above a node ask of its rows: known before the plan is cut from its leaves up."""

from __future__ import annotations

from robodf.plan.base import Plan, parents_first
from robodf.plan.expr import Col
from robodf.plan.spread import AS_INPUT, FIRST_SEEN, Groups, Rows

Names = frozenset[str]


def wanted_order(plan: Plan) -> frozenset[int]:
    """The nodes (by id) whose order of rows somebody sees."""
    wanted = {id(plan)}
    for n in parents_first(plan):
        by_row = any(isinstance(way, Rows) for way in n.spread())
        if id(n) in wanted if by_row else not n.forgets_order:
            wanted.update(map(id, n.inputs()))
    return frozenset(wanted)


def order_within(plan: Plan, wanted: frozenset[int]) -> dict[int, Names]:
    """For each node (by id) columns such that the order of its rows matters only among those with equal values."""
    found: dict[int, Names] = {}
    for n in parents_first(plan):
        for k, below in enumerate(n.inputs()):
            names = _looked_at_in_groups(n, k, wanted)
            found[id(below)] = found.get(id(below), names) & names
    return found


def _looked_at_in_groups(n: Plan, k: int, wanted: frozenset[int]) -> Names:
    """The plain keys of an operator that looks at its input `k` group by group, whatever the order of the groups."""
    groups = [way for way in n.spread() if isinstance(way, Groups)]
    if not groups:
        return frozenset()
    if k == 0 and id(n) in wanted and any(way.order in (AS_INPUT, FIRST_SEEN) for way in groups):
        return frozenset()
    return frozenset.intersection(*(_names(way, k) for way in groups))


def wanted_together(plan: Plan) -> dict[int, Names]:
    """For each node (by id) the columns by which some operator above brings its rows together as they are."""
    found: dict[int, Names] = {}
    for n in parents_first(plan):
        groups = [way for way in n.spread() if isinstance(way, Groups)] if n.phases() is None else []
        asked = found.get(id(n), frozenset())
        for k, below in enumerate(n.inputs()):
            names = frozenset().union(*(_names(way, k) for way in groups))
            if k == 0 and asked:
                names |= {name for name in below.schema if n.passes(name) in asked}
            found[id(below)] = found.get(id(below), frozenset()) | names
    return found


def _names(way: Groups, k: int) -> Names:
    return frozenset(key.ref for key in way.keys[k] if isinstance(key, Col))
