"""A sort of all rows: of each partition where these lie in order, else of ranges of the keys."""

from __future__ import annotations

from dataclasses import replace

from robodf.physical.cut.gather import gather
from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.cut.order import ascending, settled
from robodf.physical.exchange import ByRange
from robodf.plan.base import Plan
from robodf.plan.expr import Col
from robodf.plan.nodes.sort import Sort
from robodf.plan.spread import Ranges


def sorted_apart(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """A sort by recording first: each partition is sorted, as they are in the order of the recordings already.

    ::

        Sort col("recording"), col("log_time")            Sort col("recording"), col("log_time")
          Scan mcap 40 files                      ->        Pieces 12 of 40 recordings
                                                              Scan mcap 40 files

    Where they are not, this is done too below operators that look at one recording at a time.
    """
    if not isinstance(n, Sort) or not any(isinstance(way, Ranges) for way in n.spread()):
        return None
    place = inputs[0].place
    if place.by is None or len(place.by) != 1 or place.tagged or n.by[0] is not Col(place.by[0]):
        return None
    in_order = ascending(place) and not n.descending[0]
    if not in_order and place.by[0] not in cutter.order_within.get(id(n), ()):
        return None
    return cutter.item(n.with_inputs((inputs[0].plan,)), replace(place, ordered=in_order), inputs[0].rows)


def sorted_in_ranges(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """Ranges of the keys, found from a sample, to one partition each.

    ::

        Sort col("x")               Sort col("x")
          Scan x.parquet     ->       Shuffle by range of [col("x")] to 8 partitions
                                        Pieces 40 of 40 splits
                                          Scan x.parquet
    """
    if not isinstance(n, Sort) or not any(isinstance(way, Ranges) for way in n.spread()):
        return None
    below = settled(cutter, inputs[0])
    parts = cutter.limits.partitions_for(below.size)
    if parts == 1:
        return gather(cutter, n, inputs)
    sent = cutter.item(ByRange(below.plan, n.by, n.descending, n.nulls_last, parts), Place(parts), below.rows)
    return cutter.item(n.with_inputs((sent.plan,)), Place(parts), below.rows)
