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
from robodf import col
from robodf.physical import cluster
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
    with new_cluster(nodes=1, cpus=0, worker_setup=faulty(folder), system_config=SOON) as nodes:
        for _ in range(2):
            _add(nodes)
        nodes.wait_for_nodes()
        yield SimpleNamespace(cluster=nodes, faults=Faults(folder))


def _add(nodes: Any) -> None:
    nodes.add_node(num_cpus=1, object_store_memory=STORE, include_log_monitor=False)


def _rows(name: str, data: Path, to: str, target: Path) -> pl.DataFrame:
    """The rows of a query, brought here or read from where the cluster wrote them."""
    with rd.config(**CUT):  # settings are those of a thread
        if to == "here":
            return collect(QUERIES[name](data))[0]
        report = QUERIES[name](data).to_parquet(target, engine="ray", resume=to == "resumable files")
    assert sorted(map(str, target.iterdir())) == sorted(map(str, report.files))
    assert list(target.parent.iterdir()) == [target]  # nothing is left of the attempt that was lost
    return pl.read_parquet(target / "*.parquet")


FAST = [
    *((name, "final", "here") for name in QUERIES),
    ("join", "exchange", "here"),
    ("group_by", "scan", "here"),
    ("dedup", "sink", "files"),
]
SLOW = [
    *((name, place, "here") for name in QUERIES for place in ("scan", "exchange")),
    *((name, "received", "here") for name in ("align", "dedup")),
    *((name, "sink", "files") for name in QUERIES),
    *(("dedup", place, "files") for place in ("scan", "exchange", "final")),
    *((name, place, "resumable files") for name in QUERIES for place in ("scan", "exchange", "final", "sink")),
]


@pytest.mark.parametrize(
    ("name", "place", "to"), [*FAST, *(pytest.param(*c, marks=pytest.mark.slow) for c in SLOW if c not in FAST)]
)
def test_a_node_is_lost(
    name: str, place: str, to: str, shrinking: Any, data: Path, expected: dict, tmp_path: Path
) -> None:
    nodes, faults = shrinking.cluster, shrinking.faults
    faults.set("hang", place)
    with ThreadPoolExecutor(1) as other:  # Ray starts nodes from the main thread alone
        found = other.submit(_rows, name, data, to, tmp_path / "out")
        while not faults.happened or not faults.happened[0]:
            assert not found.done(), found.result()
            time.sleep(0.02)
        (node,) = [node for node in nodes.worker_nodes if node.node_id == faults.happened[0]["node"]]
        nodes.remove_node(node, allow_graceful=False)  # with all that it stores
        _add(nodes)
        rows = found.result(100)
    assert len(faults.happened) == 1
    assert_frame_equal(alike(name, rows), expected[name])


# -- memory -------------------------------------------------------------------------------------------------------


PARTS, EACH = 8, 250_000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> rd.PipelineDataFrame:
    """Rows that are several times what `small` stores."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(7)
    for number in range(PARTS):
        values = {"key": random.integers(0, PARTS * EACH, EACH), "at": np.arange(EACH) + number * EACH}
        made = pl.DataFrame({**values, **{f"x{k}": random.integers(0, 9, EACH) for k in range(6)}})
        made.write_parquet(folder / f"{number}.parquet")
    return rd.read_parquet(str(folder / "*.parquet"))


@pytest.fixture
def small() -> Iterator[None]:
    """A cluster whose stores are smaller than the shuffles."""
    with new_cluster(nodes=2, object_store_memory=SMALL), rd.config(**{**CUT, "partitions": PARTS}):
        yield


def _big_group_by(df: rd.PipelineDataFrame) -> rd.PipelineDataFrame:
    many = {f"{what}{k}": getattr(col(f"x{k}"), what)() for k in range(6) for what in ("sum", "min")}
    return df.group_by("key").agg(last=col("at").max(), **many)


def _big_join(df: rd.PipelineDataFrame) -> rd.PipelineDataFrame:
    return df.join(df.select("at", **{f"y{k}": f"x{k}" for k in range(6)}), left_on="key", right_on="at")


def _big_align(df: rd.PipelineDataFrame) -> rd.PipelineDataFrame:
    df = df.with_columns(robot=col("key") % 50)
    streams = {"camera": df.select("robot", "at", "x0", "x1", "x2"), "imu": df.select("robot", "at", "x3", "x4", "x5")}
    return rd.align(streams, "camera", on="at", by="robot", method="nearest", tolerance=200)


def _big_dedup(df: rd.PipelineDataFrame) -> rd.PipelineDataFrame:
    return df.dedup(on="key")


BIG = {"group_by": _big_group_by, "join": _big_join, "align": _big_align, "dedup": _big_dedup}


def _spilled(query: Query) -> None:
    """That rows between the stages went through the disks, being more than all memory of the stores."""
    assert sum(report.bytes for report in query.stages.reports) > 2 * SMALL
    assert sum(report.spilled_bytes for report in query.stages.reports) > SMALL / 2


@pytest.mark.parametrize("name", [n if n == "dedup" else pytest.param(n, marks=pytest.mark.slow) for n in BIG])
def test_a_store_that_is_smaller_than_the_shuffle(
    name: str, many: rd.PipelineDataFrame, small: None, tmp_path: Path
) -> None:
    df = BIG[name](many)
    query = Query(df._plan, on_ray())
    query.stages.measure = True
    number = 0
    for number, frame in enumerate(query.frames()):  # as a user does whose rows do not fit
        frame.write_parquet(tmp_path / f"{number}.parquet")
    _spilled(query)
    found = pl.concat(pl.read_parquet(tmp_path / f"{k}.parquet") for k in range(number + 1))
    assert_frame_equal(alike(name, found), alike(name, df.collect(engine="local")))


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_a_write_with_a_store_that_is_smaller_than_the_shuffle(
    name: str, many: rd.PipelineDataFrame, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Measured(Query):
        def __init__(self, *given: Any):
            super().__init__(*given)
            self.stages.measure = True
            made.append(self)

    monkeypatch.setattr(cluster, "Query", Measured)
    df = BIG[name](many)
    report = df.to_parquet(tmp_path / "out", engine="ray")
    _spilled(made[0])
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    assert sorted(map(str, (tmp_path / "out").iterdir())) == sorted(report.files)
    found = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert_frame_equal(alike(name, found), alike(name, df.collect(engine="local")))
