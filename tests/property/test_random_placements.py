"""A random plan with all that may go on a GPU, which Polars plays, gives the rows of the plan."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import plans
import polars as pl
import pytest
from cutting import LIMITS
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from test_random_plans import parquet  # noqa: F401

from robodf.compat import run
from robodf.config import Settings
from robodf.gpu.devices import Device
from robodf.gpu.facts import Facts
from robodf.gpu.translation import obstacles
from robodf.optimizer import optimize
from robodf.physical.cut import cut
from robodf.physical.on_device import OnDevice
from robodf.physical.place import Placed, place
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.base import Plan, lower_all
from robodf.plan.base import plans as nodes_of

sys.path.insert(0, str(Path(__file__).parents[1] / "gpu"))
from placing import PRETENDED, all_of_polars

SHARDS = 4
PLANS = int(os.environ.get("ROBODF_PROPERTY_PLANS", "2000")) // 2
SEED = int(os.environ.get("ROBODF_PROPERTY_SEED", "0"))
ANY = Facts(Device(0, "any", (9, 0), 80 << 30, None), None, 16)

ASKED = [
    pytest.param(all_of_polars, id="all that Polars runs"),
    pytest.param(obstacles, id="what cudf-polars translates", marks=pytest.mark.gpu_plan),
]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_placements(ask, shard: int, parquet: dict[str, str]) -> None:  # noqa: F811
    fragments: list[int] = []

    @seed(SHARDS * SEED + shard)
    @settings(
        max_examples=max(1, PLANS // SHARDS),
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        d = plans.Draw(lambda low, high: data.draw(st.integers(low, high)))
        state = plans.plan(d, parquet)
        said = "\n  ".join(state.steps)
        wanted = plans._attempt(lambda: state.lazy.collect(engine="in-memory"))
        schema = plans._attempt(state.lazy.collect_schema)
        if isinstance(wanted, BaseException):
            return  # a cast that Polars finds impossible when it runs: there is nothing to compare with
        if schema != wanted.schema:
            plans.ENGINE.append(said)  # Polars contradicts itself, or panics
            return
        placed = _placed(state.frame._plan, ask)
        fragments.append(sum(isinstance(n, OnDevice) for n in nodes_of(placed.plan)))
        found = plans._attempt(lambda: run(lower_all(placed.plan)))
        wrong = plans._wrong(found, wanted, state.ordered)
        if wrong is not None and not plans._engine_is_wrong(state, wanted):
            raise AssertionError(f"{wrong}\n  {said}\n{placed.plan}\n{placed}") from plans._cause(found)

    plans.ENGINE.clear()
    check()
    assert len(plans.ENGINE) <= 1 + PLANS // SHARDS // 10, plans.ENGINE
    assert sum(count > 0 for count in fragments) > len(fragments) // 4, "nothing was placed, so nothing was tried"


@pytest.mark.timeout(3600)
def test_random_placements_in_partitions(parquet: dict[str, str]) -> None:  # noqa: F811
    """Each task's plan is placed, and travels so."""
    on_gpu: list[int] = []

    @seed(SEED)
    @settings(
        max_examples=max(1, PLANS // 8),
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        d = plans.Draw(lambda low, high: data.draw(st.integers(low, high)))
        limits = d.pick(LIMITS)
        state = plans.plan(d, parquet)
        said = "\n  ".join(state.steps)
        wanted = plans._attempt(lambda: state.lazy.collect(engine="in-memory"))
        if isinstance(wanted, BaseException) or plans._attempt(state.lazy.collect_schema) != wanted.schema:
            return

        def placing(plan: Plan, known: Mapping[int, float]) -> Plan:
            return place(plan, ANY, forced=True, ask=all_of_polars, ways=PRETENDED, known=known).plan

        def found() -> pl.DataFrame:
            done = cut(optimize(state.frame._plan), limits)
            stages = Stages(Here(travel=True), Job(Settings()), placing=placing)
            frames = list(stages.frames(stages.parts(done.plan), done.plan.schema))
            on_gpu.append(sum(report.on_gpu for report in stages.reports))
            return pl.concat(frames) if frames else pl.DataFrame(schema=done.plan.schema)

        rows = plans._attempt(found)
        wrong = plans._wrong(rows, wanted, state.ordered)
        if wrong is not None and not plans._engine_is_wrong(state, wanted):
            raise AssertionError(f"{wrong}\n  {said}") from plans._cause(rows)

    check()
    assert sum(count > 0 for count in on_gpu) > len(on_gpu) // 4, "nothing was placed, so nothing was tried"


def _placed(plan: Plan, ask) -> Placed:
    return place(optimize(plan), ANY, forced=True, ask=ask, ways=PRETENDED)
