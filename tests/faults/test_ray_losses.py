"""Queries on a Ray cluster that loses nodes, or whose memory is too small: the rows are those of the local engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import ray_faults
from polars.testing import assert_frame_equal
from ray_cluster import STORE, new_cluster
from ray_faults import CUT, QUERIES, Faults, alike, collect, faulty

import robodf as rd
from robodf.physical.cluster import Query, on_ray

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

SMALL = 80 << 20  # bytes: about the least that Ray takes


SOON = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_timeout_ms": 2000}
"""That the head learns of a lost node in a few seconds: by default it takes about twenty."""


@pytest.fixture(scope="module")
def shrinking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without processors, and two nodes of one each: of them one can go."""
    import ray

    folder = tmp_path_factory.mktemp("faults")
    for module in (ray_faults, sys.modules[__name__]):  # workers do not find modules of tests
        ray.cloudpickle.register_pickle_by_value(module)
    with new_cluster(nodes=1, cpus=0, worker_setup=faulty(folder), system_config=SOON) as cluster:
        for _ in range(2):
            _add(cluster)
        cluster.wait_for_nodes()
        yield SimpleNamespace(cluster=cluster, faults=Faults(folder))


def _add(cluster: Any) -> None:
    cluster.add_node(num_cpus=1, object_store_memory=STORE, include_log_monitor=False)


def _rows(name: str, data: Path, target: Path | None) -> pl.DataFrame:
    """The rows of a query, brought here or read from where the cluster wrote them."""
    with rd.config(**CUT):  # settings are those of a thread
        if target is None:
            return collect(QUERIES[name](data))[0]
        report = QUERIES[name](data).to_parquet(target, engine="ray")
    assert sorted(map(str, target.iterdir())) == sorted(map(str, report.files))
    assert list(target.parent.iterdir()) == [target]  # nothing is left of the attempt that was lost
    return pl.read_parquet(target / "*.parquet")


@pytest.mark.parametrize(
    ("name", "place"),
    [*((name, "final") for name in QUERIES), ("join", "exchange"), ("group_by", "scan"), ("dedup", "sink")],
)
def test_a_node_is_lost(name: str, place: str, shrinking: Any, data: Path, expected: dict, tmp_path: Path) -> None:
    cluster, faults = shrinking.cluster, shrinking.faults
    faults.set("hang", place)
    with ThreadPoolExecutor(1) as other:  # Ray starts nodes from the main thread alone
        found = other.submit(_rows, name, data, tmp_path / "out" if place == "sink" else None)
        while not faults.happened or not faults.happened[0]:
            assert not found.done(), found.result()
            time.sleep(0.02)
        (node,) = [node for node in cluster.worker_nodes if node.node_id == faults.happened[0]["node"]]
        cluster.remove_node(node, allow_graceful=False)  # with all that it stores
        _add(cluster)
        rows = found.result(100)
    assert len(faults.happened) == 1
    assert_frame_equal(alike(name, rows), expected[name])


def test_a_store_that_is_smaller_than_the_shuffle(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    files, rows = 8, 250_000
    for number in range(files):
        values = {"key": random.integers(0, files * rows, rows), "at": np.arange(rows) + number * rows}
        made = pl.DataFrame({**values, **{f"x{k}": random.integers(0, 9, rows) for k in range(6)}})
        made.write_parquet(tmp_path / f"{number}.parquet")
    df = rd.read_parquet(str(tmp_path / "*.parquet")).dedup(on="key")
    with new_cluster(nodes=2, object_store_memory=SMALL), rd.config(**{**CUT, "partitions": 8}):
        query = Query(df._plan, on_ray())
        query.stages.measure = True
        path = tmp_path / "out"
        path.mkdir()
        for number, frame in enumerate(query.frames()):  # as a user does whose rows do not fit
            frame.write_parquet(path / f"{number}.parquet")
    assert sum(report.bytes for report in query.stages.reports) > 4 * SMALL
    assert sum(report.spilled_bytes for report in query.stages.reports) > SMALL
    found = pl.concat(pl.read_parquet(path / f"{k}.parquet") for k in range(number + 1))
    assert_frame_equal(found, df.collect(engine="local"))
