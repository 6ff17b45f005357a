"""The simulator of clusters takes the plans that are run, and what it says follows from what it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from benchmarks.scale_sim import Costs, Fragment, Machines, makespan, predict, scaled, shape
from robodf.config import Settings
from robodf.frame.frame import PipelineDataFrame
from robodf.optimizer import optimize
from robodf.physical.cut import Limits, cut
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job

LIMITS = Limits(cpus=4, partition_bytes=3000, small_bytes=0, partitions=3)
FREE = Costs(*[0.0] * 11)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for k in range(6):
        pl.DataFrame({"k": [k % 2] * 200, "x": list(range(200))}).write_parquet(tmp_path / f"{k}.parquet")
    return [str(path) for path in sorted(tmp_path.iterdir())]


def queries(files: list[str]) -> dict[str, PipelineDataFrame]:
    rows = rd.read_parquet(files)
    return {
        "map": rows.filter(rd.col("x") > 3),
        "group": rows.group_by("k").agg(rd.col("x").sum()),
        "join": rows.join(rd.read_parquet(files[:4]).select("k", y="x"), on="k"),
        "sort": rows.sort("x"),
        "aggregate": rows.select(rd.col("x").sum()),
    }


@pytest.mark.parametrize("name", ["map", "group", "join", "sort", "aggregate"])
def test_the_stages_of_a_plan_are_those_that_run(name: str, files: list[str]) -> None:
    done = cut(optimize(queries(files)[name]._plan), LIMITS)
    stages = Stages(Here(), Job(Settings()))
    rows = sum(frame.height for frame in stages.frames(stages.parts(done.plan), done.plan.schema))
    assert rows
    found = shape(done)
    assert [s.tasks for s in found] == [r.tasks for r in stages.reports]
    assert sum(s.file_bytes for s in found) >= sum(Path(f).stat().st_size for f in files)


def test_more_files_are_cut_as_the_planner_would(files: list[str]) -> None:
    size = Path(files[0]).stat().st_size
    few = shape(cut(optimize(queries(files)["group"]._plan), LIMITS))
    for copies, each in ((1, 1), (4, 2), (9, 4)):  # files of a task
        bounds = replace(LIMITS, partition_bytes=3 * each * size + 3)
        links = [Path(f).with_name(f"{copies}_{k}_{Path(f).name}") for k in range(copies) for f in files]
        for link in links:
            link.hardlink_to(files[0])
        real = shape(cut(optimize(queries(list(map(str, links)))["group"]._plan), bounds))
        told = scaled(few, len(links), size, bounds)
        assert [(s.tasks, s.files, s.blocks) for s in told] == [(s.tasks, s.files, s.blocks) for s in real]
        assert told[0].file_bytes == real[0].file_bytes == len(links) * size


def test_bandwidth_cores_and_the_driver_each_limit(files: list[str]) -> None:
    plan = scaled(shape(cut(optimize(queries(files)["group"]._plan), LIMITS)), 10_000, 1e7, Limits(100, small_bytes=0))
    work = [Fragment(1e-9, 0.1, 2.0, 0.0)] * len(plan)
    on = Machines(10, 10, network=1e15, storage=1e15)
    said = predict(plan, work, on, FREE)
    least = [s.taken * 1e-9 / 100 for s in said.stages]
    assert [s.taken for s in said.stages] == pytest.approx([1e11, 1e10])
    assert all(low <= s.seconds <= low + 2 * s.taken * 1e-9 / s.tasks for low, s in zip(least, said.stages))
    assert said.limit == "computing"
    slow = predict(plan, work, replace(on, storage=1e8), FREE)
    assert slow.limit == "reading files"
    assert slow.stages[0].seconds == pytest.approx(plan[0].read_bytes / 1e9, rel=0.05)
    assert predict(plan, work, replace(on, network=1e5), FREE).limit == "the network"
    assert predict(plan, work, replace(on, memory=1e6), FREE).stages[0].spilled > 0
    driver = predict(plan, work, on, replace(FREE, driver_block=1e-3, block_bytes=2000))
    assert driver.limit == "the driver"
    assert driver.seconds == pytest.approx(plan[0].tasks * plan[0].blocks * 1e-3, rel=0.1)
    assert driver.objects == plan[0].tasks * (1 + plan[0].blocks) + 2 * plan[1].tasks
    assert driver.driver_memory == driver.objects * 2000 + 10_000 * FREE.file_bytes
    alone = predict(plan, work, replace(on, nodes=1), FREE)
    assert alone.network == 0
    assert said.network == pytest.approx(0.9 * 1e10)
    with pytest.raises(ValueError, match="stages"):
        predict(plan, work[:1], on, FREE)


def test_the_makespan_of_many_tasks() -> None:
    assert makespan(7, 2, 4, 1.0, 0.0, 0.0, 0.0) == 4
    assert makespan(10, 100, 200, 1.0, 0.0, 0.0, 0.0) == 1
    assert makespan(1_000_000, 10, 20, 1.0, 0.0, 0.0, 0.0) == pytest.approx(100_000, rel=1e-3)
    assert makespan(1000, 1000, 2000, 1.0, 0.5, 0.0, 0.0) > 2  # the slowest of a thousand
    assert makespan(1000, 10, 20, 1e-9, 0.0, 0.01, 0.02) == pytest.approx(30, rel=1e-2)  # one after the other
