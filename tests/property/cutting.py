"""Plans in partitions, run in this process: what a cluster does, without one."""

from __future__ import annotations

import polars as pl

from robodf.config import Settings
from robodf.optimizer import optimize
from robodf.physical.cut import Limits, cut
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.base import Plan

LIMITS = [
    Limits(cpus=2, partition_bytes=100, small_bytes=0, partitions=3),  # all that can be is shuffled
    Limits(cpus=3, partition_bytes=60, small_bytes=200, partitions=2),  # some is gathered, some broadcast
    Limits(cpus=2, partition_bytes=1, small_bytes=0, partitions=8),  # more partitions than rows
]


def run_cut(plan: Plan, limits: Limits = LIMITS[0], *, travel: bool = True) -> pl.DataFrame:
    """The rows of a plan, cut by `limits`, its tasks run one after the other; `travel`: pickled on the way."""
    done = cut(optimize(plan), limits)
    stages = Stages(Here(travel=travel), Job(Settings()))
    frames = list(stages.frames(stages.parts(done.plan), done.plan.schema))
    return pl.concat(frames) if frames else pl.DataFrame(schema=done.plan.schema)
