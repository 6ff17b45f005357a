"""Operators that have a form of several steps for rows in partitions are put in that form, where rows are many."""

from __future__ import annotations

from collections.abc import Callable

from robodf.physical.cut.item import Item, Limits
from robodf.physical.sizes import WIDE, row_bytes
from robodf.plan.base import Plan, parents_first
from robodf.plan.expr import Col
from robodf.plan.spread import Groups


def taken_apart(plan: Plan, limits: Limits, placed: Callable[[Plan], Item]) -> Plan:
    """The plan with such operators taken apart; `placed` cuts a plan and says where its rows lie.

    ::

        Dedup on text: jaccard ...            Join anti on row
          Scan x.parquet                 ->     RowIndex
                                                  Scan x.parquet
                                                Gone
                                                  Verified ...

    Left as they are: where all rows are in one partition or few, and where what an operator looks at together lies
    together already.
    """
    done: dict[int, Plan] = {}
    keep: list[Plan] = []  # ids in `done` stay valid while the nodes live
    for n in reversed(parents_first(plan)):
        inputs = tuple(done[id(i)] for i in n.inputs())
        new = n if all(a is b for a, b in zip(n.inputs(), inputs)) else n.with_inputs(inputs)
        steps = new.taken_apart(bool(inputs) and row_bytes(new.schema) >= WIDE)
        if steps is not None and _pays(new, limits, placed(new.inputs()[0])):
            new = steps
        keep += [n, new]
        done[id(n)] = new
    return done[id(plan)]


def _pays(n: Plan, limits: Limits, below: Item) -> bool:
    if below.place.parts == 1 or below.size <= limits.small_bytes:
        return False
    groups = next((way for way in n.spread() if isinstance(way, Groups)), None)
    if groups is None or below.place.by is None or len(n.inputs()) > 1:
        return True
    names = {key.ref for key in groups.keys[0] if isinstance(key, Col)}
    return not set(below.place.by) <= names
