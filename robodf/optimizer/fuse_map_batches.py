"""Adjacent user functions share their batches."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.nodes.map import MapBatches


def fuse_map_batches(plan: Plan) -> Plan | None:
    """Run two user functions over the same batches, without cutting the rows anew in between.

    Before::

        MapBatches of 1024 rows: embed (on numpy, preserves rows)
          MapBatches of 1024 rows: crop (on numpy, preserves rows)
            Scan x.parquet

    After::

        MapBatches of 1024 rows: crop (on numpy, preserves rows); then embed (on numpy, preserves rows)
          Scan x.parquet

    Only where the second one goes on to see batches of exactly the size that it asked for: the sizes are equal and
    the first keeps the number of rows.
    """
    if not isinstance(plan, MapBatches) or not isinstance(plan.input, MapBatches):
        return None
    first = plan.input
    if first.batch_size != plan.batch_size or not (first.keeps_rows or plan.batch_size is None):
        return None
    return MapBatches(first.input, first.steps + plan.steps, plan.batch_size)
