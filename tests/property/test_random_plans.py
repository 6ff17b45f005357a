"""run(optimize(plan)) == run(plan) == Polars, on random plans over every operator of the frame."""

from __future__ import annotations

import os

import plans
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

SHARDS = 8
PLANS = int(os.environ.get("ROBODF_PROPERTY_PLANS", "2000"))
SEED = int(os.environ.get("ROBODF_PROPERTY_SEED", "0"))


@pytest.fixture(scope="session")
def parquet(tmp_path_factory) -> dict[str, str]:
    """The tables as files of small row groups, so that statistics exclude some."""
    folder = tmp_path_factory.mktemp("tables")
    for name, table in plans.TABLES.items():
        table.write_parquet(folder / f"{name}.parquet", row_group_size=3)
    return {name: str(folder / f"{name}.parquet") for name in plans.TABLES}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_plans(shard: int, parquet: dict[str, str]) -> None:
    # A seed a shard, and no database: the same plans on every machine and run.
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
    def run(data: st.DataObject) -> None:
        d = plans.Draw(lambda low, high: data.draw(_between(low, high)))
        state = plans.plan(d, parquet)
        plans.check(state)

    plans.ENGINE.clear()
    run()
    # Faults of the engine are few; more of them would hide ours.
    assert len(plans.ENGINE) <= 1 + PLANS // SHARDS // 50, plans.ENGINE


_STRATEGIES: dict[tuple[int, int], st.SearchStrategy] = {}


def _between(low: int, high: int) -> st.SearchStrategy:
    if (low, high) not in _STRATEGIES:
        _STRATEGIES[low, high] = st.integers(low, high)
    return _STRATEGIES[low, high]
