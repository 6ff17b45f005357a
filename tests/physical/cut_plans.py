"""Plans cut into partitions and run in this process, and recordings to cut."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

import robodf as rd
from robodf.compat import run
from robodf.config import Settings
from robodf.io.mcap.writer import McapWriter
from robodf.optimizer import optimize
from robodf.physical.cut import Limits, cut
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.base import Plan, lower_all

SMALL = Limits(cpus=2, partition_bytes=150, small_bytes=0, partitions=3)
"""What is not in one piece is shuffled, never gathered or broadcast because it is small."""

ROOMY = Limits(cpus=2, partition_bytes=150, small_bytes=1 << 20, partitions=3)
"""All that has to be brought together is small enough to be gathered or broadcast."""


def run_cut(plan: Plan, limits: Limits) -> pl.DataFrame:
    """The rows of a plan, cut by `limits`, its tasks run in this process after a journey through pickle."""
    done = cut(plan, limits)
    stages = Stages(Here(travel=True), Job(Settings()))
    frames = list(stages.frames(stages.parts(done.plan), done.plan.schema))
    return pl.concat(frames) if frames else pl.DataFrame(schema=done.plan.schema)


def same_rows(plan: Plan, limits: Limits, ordered: bool) -> None:
    """The cut plan gives the rows of the plan in one place; in their order where that is promised."""
    wanted, found = run(lower_all(plan)), run_cut(plan, limits)
    assert found.schema == wanted.schema
    keep = list if ordered else sorted
    assert keep(map(repr, found.rows())) == keep(map(repr, wanted.rows()))


def optimized(frame: rd.PipelineDataFrame) -> Plan:
    return optimize(frame._plan)


SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
_SAMPLE = {"type": "object", "properties": {"x": {"type": "number"}, "ok": {"type": "boolean"}}}


def write_log(path: Path, start: int, samples: int, topics: tuple[tuple[str, int], ...]) -> None:
    """A sample each hundredth of a second, of each topic every so many."""
    with McapWriter(str(path), chunk_size=1 << 10) as out:
        schema = out.add_schema("Sample", "jsonschema", json.dumps(_SAMPLE).encode())
        for topic, every in topics:
            channel = out.add_channel(topic, "json", schema)
            for i in range(0, samples, every):
                data = json.dumps({"x": (i * 7 % 40) / 2, "ok": i % 50 < 25}).encode()
                out.write(channel, start + i * SECOND // 100, data, sequence=i)
