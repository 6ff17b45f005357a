"""Rows that are kept in files: what is there is a leaf."""

from __future__ import annotations

from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.cut.order import settled
from robodf.plan.base import Plan
from robodf.plan.nodes.checkpoint import Checkpoint, kept_stage


def checkpointed(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """Where the rows are there their pieces are the partitions, else those of the input.

    Nothing is known of what lies together: an earlier run may have cut its rows in another way.
    """
    if not isinstance(n, Checkpoint):
        return None
    stage = kept_stage(n.store)
    if stage is not None:
        return cutter.item(n, Place(max(1, len(n.store.done(stage)))), float(n.kept_rows or 0))
    below = settled(cutter, inputs[0])
    return cutter.item(n.with_inputs((below.plan,)), Place(below.place.parts, ordered=below.place.ordered), below.rows)
