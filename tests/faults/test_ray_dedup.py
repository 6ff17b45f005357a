"""Dedup on a Ray cluster where processes and disks fail: the rows are those of the local engine."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import ray_faults
from polars.testing import assert_frame_equal
from ray_cluster import new_cluster
from ray_faults import Faults, collect, faulty

import robodf as rd
from robodf.plan.base import plans
from robodf.plan.nodes.dedup_apart import Gone

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

FILES, ROWS = 3, 1500
CUT = {**ray_faults.CUT, "partition_bytes": 64 << 10}


@pytest.fixture(scope="module")
def faulty_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one CPU each, whose tasks fail as a file in the folder says."""
    import ray

    folder = tmp_path_factory.mktemp("faults")
    for module in (ray_faults, sys.modules[__name__]):  # workers do not find modules of tests
        ray.cloudpickle.register_pickle_by_value(module)
    with new_cluster(nodes=2, worker_setup=faulty(folder)) as cluster:
        yield SimpleNamespace(cluster=cluster, folder=folder)


@pytest.fixture
def faults(faulty_cluster: Any) -> Iterator[Faults]:
    made = Faults(faulty_cluster.folder)
    with rd.config(**CUT):
        yield made
    made.clear()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of captions, half of which are like another one somewhere."""
    folder = tmp_path_factory.mktemp("texts")
    rng = random.Random(9)
    known = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(2000)]
    made: list[str] = []
    while len(made) < FILES * ROWS:
        words = rng.choice(made).lower().strip(".").split() if made and rng.random() < 0.5 else rng.choices(known, k=10)
        words[rng.randrange(len(words))] = rng.choice(known)
        made.append(" ".join(words).upper() + rng.choice(["", "."]) if rng.random() < 0.2 else " ".join(words))
        if rng.random() < 0.2:
            made.append(rng.choice(made))
    for number in range(FILES):
        part = made[number * ROWS : (number + 1) * ROWS]
        rows = {
            "t": part,
            "q": [rng.choice([None, 1.0, 2.0, 3.0]) for _ in part],
            "g": [rng.randint(0, 1) for _ in part],
            "i": range(number * ROWS, (number + 1) * ROWS),
        }
        pl.DataFrame(rows).write_parquet(folder / f"{number}.parquet")
    return folder


def rows_of(folder: Path) -> rd.PipelineDataFrame:
    return rd.read_parquet(str(folder / "*.parquet"))


QUERIES: dict[str, Callable[[Path], rd.PipelineDataFrame]] = {
    "exact": lambda folder: rows_of(folder).dedup("t", keep=rd.best("q")),
    "fuzzy": lambda folder: rows_of(folder).clusters("t", method="fuzzy", threshold=0.7, keep=rd.best("q"), within="g"),
    "component": lambda folder: rows_of(folder).dedup("t", method="fuzzy", threshold=0.6, link="component"),
}


@pytest.fixture(scope="module")
def expected(texts: Path) -> dict[str, pl.DataFrame]:
    found = {name: query(texts).collect(engine="local") for name, query in QUERIES.items()}
    assert found["exact"].height < FILES * ROWS - 300
    assert found["component"].height < found["exact"].height - 300
    return found


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [
        ("exact", "kill", "exchange"),
        ("fuzzy", "kill", "received"),
        ("fuzzy", "exit", "exchange"),
        pytest.param("fuzzy", "kill", "scan", marks=pytest.mark.slow),
        pytest.param("component", "kill", "received", marks=pytest.mark.slow),
        pytest.param("exact", "exit", "final", marks=pytest.mark.slow),
    ],
)
def test_workers_are_killed(name: str, kind: str, place: str, faults: Faults, texts: Path, expected: dict) -> None:
    """Twice: what the first one had made already is lost with it, and made again."""
    faults.set(kind, place, times=2)
    rows, reports = collect(QUERIES[name](texts))
    assert len(faults.happened) == 2
    assert sum(report.tasks for report in reports) > 20  # taken apart
    assert_frame_equal(rows, expected[name])


def test_a_disk_that_fails_is_tried_again(faults: Faults, texts: Path, expected: dict) -> None:
    faults.set("io", "received", times=2, of_one=True)
    rows, reports = collect(QUERIES["fuzzy"](texts))
    assert len(faults.happened) == 2
    assert sum(report.retries for report in reports) == 2
    assert_frame_equal(rows, expected["fuzzy"])


def test_the_queries_are_taken_apart(faults: Faults, texts: Path) -> None:
    from robodf.physical.cluster import Query, on_ray

    for query in QUERIES.values():
        assert any(isinstance(n, Gone) for n in plans(Query(query(texts)._plan, on_ray()).cut.plan))
