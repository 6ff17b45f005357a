"""Tasks of a cut plan whose work is placed on GPUs; the tasks run in this process, after a journey through pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl
import pytest
from gpu_engine import PRETENDED as FACTS
from placing import PRETENDED, all_of_polars

import robodf as rd
from robodf import col
from robodf.compat import run
from robodf.config import Settings
from robodf.gpu.running import Ways
from robodf.optimizer import optimize
from robodf.physical.cluster import placing
from robodf.physical.cut import Limits, cut
from robodf.physical.on_device import OnDevice
from robodf.physical.place import place
from robodf.physical.ray_pools import needs_pool, resources_of
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.base import Plan, plans
from robodf.plan.spread import Resources

LIMITS = Limits(cpus=2, partition_bytes=100, small_bytes=0, partitions=3)
QUARTER = replace(FACTS, share=0.25)


@pytest.fixture
def frame() -> rd.PipelineDataFrame:
    rows = pl.DataFrame({"k": [1, 2, 3] * 20, "x": [float(n) for n in range(60)]})
    return rd.from_polars(rows).filter(col("x") > 3).group_by("k").agg(col("x").median()).sort("k")


def _run(frame: rd.PipelineDataFrame, ways: Ways) -> tuple[pl.DataFrame, Stages, list[tuple[Plan, dict[int, float]]]]:
    seen: list[tuple[Plan, dict[int, float]]] = []

    def on_gpu(plan: Plan, known: Mapping[int, float]) -> Plan:
        placed = place(plan, QUARTER, forced=True, ask=all_of_polars, ways=ways, known=known).plan
        seen.append((placed, dict(known)))
        return placed

    done = cut(optimize(frame._plan), LIMITS)
    stages = Stages(Here(travel=True), Job(Settings()), placing=on_gpu)
    return pl.concat(stages.frames(stages.parts(done.plan), done.plan.schema)), stages, seen


def test_each_task_has_its_share_of_a_gpu(frame: rd.PipelineDataFrame) -> None:
    rows, stages, seen = _run(frame, PRETENDED)
    assert rows.equals(frame.collect(engine="local"))
    placed = [plan for plan, _ in seen if any(isinstance(n, OnDevice) for n in plans(plan))]
    assert placed
    assert all(resources_of(plan) == Resources(None, 0.25, None, False) for plan in placed)
    assert all(needs_pool(plan_needs) for plan in placed if (plan_needs := resources_of(plan)) is not None)
    assert sum(report.on_gpu for report in stages.reports) >= len(placed)
    assert sum(report.off_gpu for report in stages.reports) == 0


def test_it_knows_how_many_rows_a_task_receives(frame: rd.PipelineDataFrame) -> None:
    _, _, seen = _run(frame, PRETENDED)
    assert max(sum(known.values()) for _, known in seen) >= 3


def test_the_report_says_what_had_to_come_back(frame: rd.PipelineDataFrame) -> None:
    rows, stages, _ = _run(frame, (("GPU", _full), ("CPU", run)))
    assert rows.equals(frame.collect(engine="local"))
    assert sum(report.off_gpu for report in stages.reports) > 0
    assert sum(report.on_gpu for report in stages.reports) == 0


def _full(query: pl.LazyFrame) -> pl.DataFrame:
    raise MemoryError("out_of_memory")


def test_without_a_gpu_plans_are_left_alone(frame: rd.PipelineDataFrame) -> None:
    assert placing(None) is None
    assert placing(Here().gpu()) is None
    few = placing(FACTS)  # of which no rates are known
    assert few is not None
    assert few(frame._plan, {}) is frame._plan
