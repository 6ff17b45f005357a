"""Random plans and random SQL on a cluster of three nodes: the same rows as Polars and DuckDB give."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import plans
import pytest
import test_sql_random
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from test_random_plans import parquet  # noqa: F401
from test_sql_random import duck  # noqa: F401

import robodf as rd

pytestmark = pytest.mark.ray

PLANS = int(os.environ.get("ROBODF_PROPERTY_PLANS_ON_RAY", "150"))
QUERIES = int(os.environ.get("ROBODF_PROPERTY_SQL_ON_RAY", "120"))
SEED = int(os.environ.get("ROBODF_PROPERTY_SEED", "0"))


@pytest.fixture
def on_ray(ray_cluster) -> Iterator[None]:
    import ray

    for name in ("plans", "steps", "time_steps", __name__):
        if name in sys.modules:  # workers do not find modules of tests
            ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    with rd.config(engine="ray", partition_bytes=100, small_bytes=0, partitions=3, progress=False):
        yield


@pytest.mark.timeout(900)
def test_random_plans(on_ray, parquet: dict[str, str]) -> None:  # noqa: F811
    @seed(1000 + SEED)
    @settings(
        max_examples=PLANS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        plans.check(plans.plan(plans.Draw(lambda low, high: data.draw(st.integers(low, high))), parquet))

    plans.ENGINE.clear()
    run()
    assert len(plans.ENGINE) <= 1 + PLANS // 50, plans.ENGINE


@pytest.mark.timeout(900)
def test_random_sql(on_ray, duck) -> None:  # noqa: F811
    for number in range(QUERIES):
        query = test_sql_random.Writer(50_000 + 1_000 * SEED + number).query()
        want = duck.execute(query).fetchall()
        got = rd.sql(query, **test_sql_random.TABLES).collect().rows()
        assert test_sql_random._counted(got) == test_sql_random._counted(want), query
