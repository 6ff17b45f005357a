"""One side whole beside each partition of the other."""

from __future__ import annotations

from robodf.physical.cut.gather import whole
from robodf.physical.cut.item import Cutter, Item
from robodf.physical.cut.order import narrowed, settled
from robodf.physical.cut.rows import moved, with_tag
from robodf.physical.exchange import Broadcast
from robodf.plan.base import Plan
from robodf.plan.spread import Beside

from dataclasses import replace  # isort: skip


def broadcast_small(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """A join with a small side sends that to each partition of the other, which stays where it is.

    ::

        Join inner on col("k") == col("k")        Join inner on col("k") == col("k")
          Scan big.parquet                          Pieces 40 of 40 splits
          Scan small.parquet              ->          Scan big.parquet
                                                    Broadcast
                                                      Scan small.parquet
    """
    ways = [way for way in n.spread() if isinstance(way, Beside)]
    fitting = []
    for way in ways:
        others = sum(i.size for k, i in enumerate(inputs) if k != way.main)
        if others <= cutter.limits.small_bytes and others <= inputs[way.main].size:
            fitting.append((others, way))
    if not fitting:
        return None
    return _beside(cutter, n, inputs, min(fitting, key=lambda pair: pair[0])[1])


def broadcast_needed(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """Without keys to shuffle by, the other sides go whole to each partition, whatever their size."""
    ways = [way for way in n.spread() if isinstance(way, Beside) and inputs[way.main].place.parts > 1]
    return _beside(cutter, n, inputs, ways[0]) if ways else None


def _beside(cutter: Cutter, n: Plan, inputs: list[Item], way: Beside) -> Item:
    sent = narrowed(cutter, n, inputs)
    items = [inputs[k] if k == way.main else whole(cutter, i) for k, i in enumerate(sent)]
    main = items[way.main]
    if main.place.tagged and (way.main != 0 or with_tag(n, *items) is None):
        main = items[way.main] = settled(cutter, main)
    if main.place.parts > 1:
        items = [i if k == way.main else cutter.item(Broadcast(i.plan), i.place, i.rows) for k, i in enumerate(items)]
    plan = with_tag(n, *items) if way.main == 0 else n.with_inputs(tuple(i.plan for i in items))
    assert plan is not None
    place = moved(n, main.place) if way.main == 0 else replace(main.place, by=None, home=None)
    ordered = main.place.ordered and way.ordered
    return cutter.item(plan, replace(place, ordered=ordered), n.estimate(*(i.rows for i in items)))
