"""The first rows of a sort: each partition gives its own first rows, and these are sorted again."""

from __future__ import annotations

from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.cut.order import settled
from robodf.physical.exchange import Gather
from robodf.plan.base import Plan
from robodf.plan.nodes.rows import Slice
from robodf.plan.spread import Ranges


def top_k(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """No order of all rows is needed for the first few of them.

    ::

        Limit 10                        Limit 10
          Sort col("x")                   Sort col("x")
            Scan x.parquet      ->          Gather
                                              Limit 10
                                                Sort col("x")
                                                  Pieces 4 of 4 splits
    """
    if not isinstance(n, Slice) or n.length is None:
        return None
    found, order = n.phases(), n.input
    if found is None or not any(isinstance(way, Ranges) for way in order.spread()):
        return None
    below = settled(cutter, cutter.done[id(order.inputs()[0])])
    rows = n.estimate(below.rows) * below.place.parts
    if below.place.parts == 1 or rows > below.rows / 2:  # as much as the sort of all would move
        return None
    each = cutter.item(order.with_inputs((below.plan,)), below.place, below.rows)
    part = cutter.item(found.partial(each.plan), below.place, rows)
    together = cutter.item(Gather(part.plan, None), Place(1), rows)
    again = cutter.item(order.with_inputs((together.plan,)), Place(1), rows)
    return cutter.item(found.final(again.plan), Place(1), n.estimate(below.rows))
