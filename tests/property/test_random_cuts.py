"""A random plan cut into partitions gives the rows of the plan, in its order where it has one."""

from __future__ import annotations

import os

import plans
import pytest
from cutting import LIMITS, run_cut
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from test_random_plans import parquet  # noqa: F401

from robodf.optimizer import optimize
from robodf.physical.cut import cut
from robodf.plan.base import tree

SHARDS = 8
PLANS = int(os.environ.get("ROBODF_PROPERTY_PLANS", "2000")) // 2  # each is many tasks
SEED = int(os.environ.get("ROBODF_PROPERTY_SEED", "0"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_cuts(shard: int, parquet: dict[str, str]) -> None:  # noqa: F811
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
        limits = d.pick(LIMITS)
        state = plans.plan(d, parquet)
        said = "\n  ".join(state.steps)
        wanted = plans._attempt(lambda: state.lazy.collect(engine="in-memory"))
        schema = plans._attempt(state.lazy.collect_schema)
        if isinstance(wanted, BaseException):
            return  # a cast that Polars finds impossible when it runs: there is nothing to compare with
        if schema != wanted.schema:
            plans.ENGINE.append(said)  # Polars contradicts itself, or panics
            return
        found = plans._attempt(lambda: run_cut(state.frame._plan, limits))
        wrong = plans._wrong(found, wanted, state.ordered)
        if wrong is not None and not plans._engine_is_wrong(state, wanted):
            text = tree(cut(optimize(state.frame._plan), limits).plan)
            raise AssertionError(f"{wrong}\n  {said}\n{text}") from plans._cause(found)

    plans.ENGINE.clear()
    check()
    assert len(plans.ENGINE) <= 1 + PLANS // SHARDS // 50, plans.ENGINE
