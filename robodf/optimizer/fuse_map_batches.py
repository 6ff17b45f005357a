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

    Only where the second one goes on to see batches of exactly the size that it asked for (the sizes are equal and the
    first keeps the number of rows), where both ask for the same resources, and where neither skips what it raises for.
    """
    if not isinstance(plan, MapBatches) or not isinstance(plan.input, MapBatches):
        return None
    first = plan.input
    if first.batch_size != plan.batch_size or not (first.keeps_rows or plan.batch_size is None):
        return None
    if first.on_error is not None or plan.on_error is not None or _resources(first) != _resources(plan):
        return None
    return plan.replace(input=first.input, steps=first.steps + plan.steps)


def _resources(plan: MapBatches) -> tuple[float | None, float, int | None]:
    return plan.num_cpus, plan.num_gpus, plan.concurrency
