"""Which engine runs a query."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import polars as pl

from robodf.config import check_engine, settings
from robodf.errors import OptionError
from robodf.io import sink
from robodf.io.sink import WriteReport
from robodf.io.stream import from_batches
from robodf.physical import cluster, local
from robodf.physical.on_gpu import facts_asked
from robodf.physical.progress import progress
from robodf.physical.runner import Here
from robodf.plan.base import Plan, plans
from robodf.plan.nodes.scan import Scan

_BATCH = 1 << 16  # rows that come from a cluster at once

WORTH_A_CLUSTER = 8 << 30
"""Bytes to be read from files for which engine="auto" goes to a cluster, where there is one."""

NO_CLUSTER = "no Ray cluster is named or connected"


def chosen(plan: Plan, engine: str | None = None) -> tuple[str, str]:
    """The engine that runs an optimized plan, `local`, `ray` or `gpu`, and why.

    Where it is `local` by engine="auto", parts of the plan may still go to the GPU of this process.
    """
    asked = check_engine(engine or settings().engine)
    if asked != "auto":
        return asked, f"engine={asked!r} was asked for"
    if not _has_cluster():
        return "local", NO_CLUSTER
    size = bytes_read(plan)
    if size < WORTH_A_CLUSTER:
        return "local", f"it reads about {size:,} bytes, less than {WORTH_A_CLUSTER:,}"
    return "ray", f"it reads about {size:,} bytes, {WORTH_A_CLUSTER:,} or more"


def bytes_read(plan: Plan) -> int:
    """About how many bytes of files the scans of an optimized plan read."""
    return sum(s.bytes or 0 for n in plans(plan) if isinstance(n, Scan) for s in n.source.splits(n.request))


def _has_cluster() -> bool:
    if settings().address or os.environ.get("RAY_ADDRESS"):
        return True
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def on_cluster(plan: Plan, engine: str | None) -> bool:
    asked = check_engine(engine or settings().engine)
    if asked == "auto" and _has_cluster():
        from robodf.optimizer import optimize

        return chosen(optimize(plan))[0] == "ray"
    return asked == "ray"


def collect(plan: Plan, engine: str | None = None) -> pl.DataFrame:
    """All rows of the plan."""
    return cluster.collect(plan, cluster.on_ray()) if on_cluster(plan, engine) else local.collect(plan, engine)


def write(plan: Plan, target: Any, format: str, *, engine: str | None = None, resume: bool = False,
          **options: Any) -> WriteReport:  # fmt: skip
    """Write the rows to files; `options` are those of `io/sink.py`. With `resume` by partitions on any engine."""
    if not isinstance(resume, bool):
        raise OptionError(f"resume={resume!r}: True or False")
    if on_cluster(plan, engine):
        return cluster.write(plan, cluster.on_ray(), target, format, resume=resume, **options)
    if resume:
        facts, forced = facts_asked(engine)
        return cluster.write(plan, Here(facts=facts, forced=forced), target, format, resume=True, **options)
    query = local.prepare(plan, engine)
    with local.user_errors(plan), progress(f"write {format}"):
        return sink.write(query, target, format, **options)


def prepared(plan: Plan, engine: str | None = None) -> pl.LazyFrame:
    """The rows as a Polars query, for a sink in this process."""
    if not on_cluster(plan, engine):
        return local.prepare(plan, engine)
    return from_batches(lambda: stream(plan, _BATCH, "ray"), plan.schema, "cluster")


def stream(plan: Plan, batch_size: int, engine: str | None = None) -> Iterator[pl.DataFrame]:
    """The rows in order, in frames of `batch_size` rows and a rest."""
    if on_cluster(plan, engine):
        return cluster.stream(plan, batch_size, cluster.on_ray())
    return local.stream(plan, batch_size, engine)
