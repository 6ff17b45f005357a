"""Only what the answer needs is read and computed."""

from __future__ import annotations

from robodf.plan.base import Plan, parents_first, wanted_columns
from robodf.plan.expr import Col
from robodf.plan.nodes.project import Select


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
    order = parents_first(plan)
    wanted = wanted_columns(plan)
    done: dict[int, Plan] = {}
    for n in reversed(order):
        inputs = tuple(done[id(i)] for i in n.inputs())
        new = n if all(a is b for a, b in zip(n.inputs(), inputs)) else n.with_inputs(inputs)
        if n is not plan:
            new = new.prune(wanted[id(n)])
        done[id(n)] = new if new is n else _in_order(new, n)
    new = done[id(plan)]
    return None if new is plan else new


prune_columns.whole_plan = True  # type: ignore[attr-defined]


def _in_order(new: Plan, old: Plan) -> Plan:
    """`new` with its columns in the order of `old`: one that is overwritten loses its place where it is not read."""
    names = [name for name in old.schema if name in new.schema]
    return new if names == list(new.schema) else Select(new, tuple((name, Col(name)) for name in names))
