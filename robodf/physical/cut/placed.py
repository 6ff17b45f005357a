"""Operators that must know where in the whole a partition lies: row numbers, samples, batches of a fixed size."""

from __future__ import annotations

from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.cut.order import settled
from robodf.physical.cut.rows import moved
from robodf.physical.exchange import Counted, Rebatched
from robodf.physical.sizes import WIDE, row_bytes
from robodf.plan.base import Plan
from robodf.plan.spread import Batches, Placed


def placed(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """The partitions are computed and counted first; then each knows the number of its first row.

    ::

        RowIndex index              RowIndex index
          Scan x.parquet     ->       Count partitions
                                        Pieces 40 of 40 splits
                                          Scan x.parquet
    """
    if not any(isinstance(way, Placed) for way in n.spread()):
        return None
    below = settled(cutter, inputs[0])
    again = n.inputs()[0].read_again and not below.place.tagged and row_bytes(below.plan.schema) >= WIDE
    counted = cutter.item(Counted(below.plan, again), below.place, below.rows)
    return cutter.item(n.with_inputs((counted.plan,)), moved(n, below.place), n.estimate(below.rows))


def at_batches(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """A user's function over batches gets the same batches as in one place: partitions are cut where batches begin.

    ::

        MapBatches of 1024 rows: f       MapBatches of 1024 rows: f
          Scan x.parquet          ->       Cut at batches of 1,024 rows
                                             Pieces 40 of 40 splits
                                               Scan x.parquet
    """
    sizes = [way.size for way in n.spread() if isinstance(way, Batches)]
    if not sizes:
        return None
    below = settled(cutter, inputs[0])
    cut = cutter.item(Rebatched(below.plan, sizes[0]), Place(below.place.parts), below.rows)
    return cutter.item(n.with_inputs((cut.plan,)), Place(below.place.parts), n.estimate(below.rows))
