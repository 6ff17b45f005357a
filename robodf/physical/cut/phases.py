"""Aggregates and limits without keys: a step in each partition, so that only its answer is gathered."""

from __future__ import annotations

from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.cut.order import ready
from robodf.physical.exchange import Gather
from robodf.plan.base import Plan
from robodf.plan.nodes.rows import Slice
from robodf.plan.spread import Groups


def in_phases(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """Two steps, the second where the answers of the first are gathered.

    ::

        Aggregate [x=col("x").sum()]      Aggregate [x=col("p").sum()]
          Scan x.parquet            ->      Gather
                                              Aggregate [p=col("x").sum()]
                                                Pieces 4 of 4 splits
                                                  Scan x.parquet
    """
    found = n.phases()
    if found is None or any(isinstance(way, Groups) for way in n.spread()):
        return None
    below = ready(cutter, n, inputs[0])
    if below.place.parts == 1:
        return cutter.item(n.with_inputs((below.plan,)), Place(1), n.estimate(below.rows))
    first = found.partial(below.plan)
    each = min(n.estimate(below.rows / below.place.parts), below.rows) * below.place.parts
    part = cutter.item(first, below.place, each)
    # Rows of a limit are the first ones: later partitions need not run once these are there.
    limit = first.length if isinstance(first, Slice) and first.offset == 0 else None
    together = cutter.item(Gather(part.plan, limit), Place(1), each)
    return cutter.item(found.final(together.plan), Place(1), n.estimate(each))
