"""Only what the answer needs is read and computed."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.expr import base_names
from robodf.plan.node import walk


def prune_columns(plan: Plan) -> Plan | None:
    """Ask each node only for the columns that the nodes above it read, down to the fields of structs.

    Before::

        Select [t, x=col("orientation").struct.field('x')]
          WithColumns [unused=col("a") + 1]
            Scan log.mcap

    After::

        Select [t, x=col("orientation").struct.field('x')]
          Scan log.mcap columns=[t, orientation.x]

    It looks at the whole plan: a node with several parents must serve all of them.
    """
    order = _parents_first(plan)
    wanted: dict[int, frozenset[str]] = {id(plan): frozenset(plan.schema)}
    for n in order:
        out = wanted.get(id(n), frozenset())
        if not n.passes_paths:
            out = wanted[id(n)] = base_names(out)
        for child, names in zip(n.inputs(), n.needs(out)):
            wanted[id(child)] = wanted.get(id(child), frozenset()) | names
    done: dict[int, Plan] = {}
    for n in reversed(order):
        inputs = tuple(done[id(i)] for i in n.inputs())
        new = n if all(a is b for a, b in zip(n.inputs(), inputs)) else n.with_inputs(inputs)
        out = wanted[id(n)]
        done[id(n)] = new.prune(out) if n is not plan else new
    new = done[id(plan)]
    return None if new is plan else new


prune_columns.whole_plan = True  # type: ignore[attr-defined]


def _parents_first(plan: Plan) -> list[Plan]:
    """Every node after all of its parents."""
    nodes = [n for n in walk(plan) if isinstance(n, Plan)]
    waiting: dict[int, int] = {}
    for n in nodes:
        for child in n.inputs():
            waiting[id(child)] = waiting.get(id(child), 0) + 1
    order, ready = [], [plan]
    while ready:
        n = ready.pop()
        order.append(n)
        for child in n.inputs():
            waiting[id(child)] -= 1
            if waiting[id(child)] == 0:
                ready.append(child)
    return order


