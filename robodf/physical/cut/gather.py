"""Everything in one place: where it is so already, where there is little of it, and where nothing else is known."""

from __future__ import annotations

from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.cut.order import narrowed, ready, settled
from robodf.physical.exchange import Gather
from robodf.plan.base import Plan
from robodf.plan.spread import Appended, Beside, Groups, Ranges


def whole(cutter: Cutter, item: Item) -> Item:
    """The rows in one partition, in order."""
    item = settled(cutter, item)
    if item.place.parts == 1:
        return item
    return cutter.item(Gather(item.plan, None), Place(1, ordered=item.place.ordered), item.rows)


def one_place(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """An operator whose inputs are each in one partition runs there."""
    if any(i.place.parts > 1 or i.place.tagged for i in inputs):
        return None
    if any(isinstance(way, Appended) for way in n.spread()) and sum(i.size for i in inputs) > cutter.limits.small_bytes:
        return None
    return _here(cutter, n, inputs)


def gather_small(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """What has to be brought together and is little is gathered: one task costs less than a shuffle.

    ::

        GroupBy by [k]                  GroupBy by [k]
          Scan small.parquet    ->        Gather
                                            Pieces 4 of 4 splits
                                              Scan small.parquet
    """
    if sum(i.size for i in inputs) > cutter.limits.small_bytes:
        return None
    return gather(cutter, n, inputs)


def gather(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item:
    """An operator that needs all rows in one place."""
    return _here(cutter, n, [whole(cutter, ready(cutter, n, i)) for i in narrowed(cutter, n, inputs)])


def _here(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item:
    plan = n.with_inputs(tuple(i.plan for i in inputs))
    return cutter.item(plan, Place(1, ordered=_ordered(n, inputs)), n.estimate(*(i.rows for i in inputs)))


def _ordered(n: Plan, inputs: list[Item]) -> bool:
    """Whether the order of the rows that an operator gives means something."""
    for way in n.spread():
        if isinstance(way, (Groups, Beside)):
            return way.order is not None if isinstance(way, Groups) else way.ordered
        if isinstance(way, Ranges):
            return True
    return all(i.place.ordered for i in inputs)
