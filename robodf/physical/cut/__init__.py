"""From an optimized plan to one in partitions: exchanges are put where an operator needs its rows together.

    cut(plan, Limits(...)) -> Cut

Each operator says by `spread()` how its rows may lie; RULES are asked in turn how that is reached from where its inputs
are, and the first that knows answers. The answer is a plan like any other (`physical/exchange.py`).
"""

from __future__ import annotations

from robodf.physical.cut.apart import taken_apart
from robodf.physical.cut.beside import broadcast_needed, broadcast_small
from robodf.physical.cut.checkpoint import checkpointed
from robodf.physical.cut.gather import gather, gather_small, one_place
from robodf.physical.cut.groups import shuffle, together
from robodf.physical.cut.item import Cut, Cutter, Item, Limits, Place
from robodf.physical.cut.order import settled
from robodf.physical.cut.phases import in_phases
from robodf.physical.cut.pieces import pieces, splits_of
from robodf.physical.cut.placed import at_batches, placed
from robodf.physical.cut.ranges import sorted_apart, sorted_in_ranges
from robodf.physical.cut.rows import appended, kept, row_by_row
from robodf.physical.cut.top_k import top_k
from robodf.physical.cut.wanted import order_within, wanted_order, wanted_together
from robodf.plan.base import Plan, parents_first

__all__ = ["Cut", "Item", "Limits", "Place", "cut"]

RULES = (
    pieces,  # the leaves
    kept,
    checkpointed,
    one_place,  # all inputs are whole: nothing is to be moved
    row_by_row,
    appended,
    top_k,  # before phases and ranges: a sort under a limit needs no order of all rows
    together,  # before any that moves rows: they lie as they must already
    sorted_apart,
    in_phases,  # limits and aggregates without keys
    broadcast_small,
    gather_small,  # before shuffles: a task for little data costs more than the work
    shuffle,
    broadcast_needed,
    sorted_in_ranges,
    placed,
    at_batches,
    gather,  # what nothing else is known of
)


def cut(plan: Plan, limits: Limits) -> Cut:
    """The plan in partitions."""
    plan = taken_apart(plan, limits, lambda below: _cutter(below, limits).done[id(below)])
    cutter = _cutter(plan, limits)
    root = settled(cutter, cutter.done[id(plan)])
    return Cut(root.plan, root.place, dict(cutter.places))


def _cutter(plan: Plan, limits: Limits) -> Cutter:
    """All nodes of a plan cut."""
    seen = wanted_order(plan)
    cutter = Cutter(limits, seen, order_within(plan, seen), wanted_together(plan), splits_of(plan))
    for n in reversed(parents_first(plan)):
        inputs = [cutter.done[id(i)] for i in n.inputs()]
        for rule in RULES:
            item = rule(cutter, n, inputs)
            if item is not None:
                cutter.done[id(n)] = item
                break
        else:
            raise RuntimeError(f"no rule cuts {n.label()}")
    return cutter
