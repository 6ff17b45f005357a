"""Writes by a Ray cluster where processes and disks fail, or the driver is killed: the target is a whole data set."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import ray_faults
from polars.testing import assert_frame_equal
from ray_cluster import new_cluster
from ray_faults import (
    CUT,
    QUERIES,
    Faults,
    alike,
    beating,
    beats,
    driver,
    ended,
    falls_silent,
    faulty,
    pairs,
    with_function,
)

import robodf as rd
from robodf.io.sink import WriteReport

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


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


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where to write: in a folder of its own, to see what is left beside it."""
    made = tmp_path / "in" / "out"
    made.parent.mkdir()
    return made


def _is_whole(name: str, target: Path, expected: dict, report: WriteReport) -> None:
    """The rows are those of the local engine, each once; every file is one of the data set, and nothing is beside."""
    assert os.listdir(target.parent) == [target.name]
    found = sorted(str(path) for path in target.rglob("*") if path.is_file())
    assert found == sorted(map(str, report.files))
    rows = pl.read_parquet(target / "*.parquet")
    assert_frame_equal(alike(name, rows), expected[name])
    assert report.rows == rows.height


@pytest.mark.parametrize("kind", ["kill", "io"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_sink_fails(name: str, kind: str, faults: Faults, data: Path, expected: dict, target: Path) -> None:
    faults.set(kind, "sink", times=1 if kind == "kill" else 2, of_one=True)
    report = QUERIES[name](data).to_parquet(target, engine="ray")
    assert len(faults.happened) == (1 if kind == "kill" else 2)
    _is_whole(name, target, expected, report)


@pytest.mark.parametrize(("name", "place"), pairs(["scan", "exchange", "final"], [("dedup", "scan")]))
def test_a_task_is_killed_before_its_part_is_written(
    name: str, place: str, faults: Faults, data: Path, expected: dict, target: Path
) -> None:
    faults.set("kill", place)
    report = QUERIES[name](data).to_parquet(target, engine="ray")
    assert len(faults.happened) == 1
    _is_whole(name, target, expected, report)


@pytest.mark.parametrize(("name", "place"), pairs(["scan", "exchange", "final"], [("dedup", "exchange")]))
def test_the_disk_fails_twice_before_a_part_is_written(
    name: str, place: str, faults: Faults, data: Path, expected: dict, target: Path
) -> None:
    faults.set("io", place, times=2, of_one=True)
    report = QUERIES[name](data).to_parquet(target, engine="ray")
    assert len(faults.happened) == 2
    _is_whole(name, target, expected, report)


@pytest.mark.slow
@pytest.mark.parametrize("resume", [False, True], ids=["once", "resume"])
@pytest.mark.parametrize(("name", "place"), pairs(["scan", "exchange", "final"]))
def test_a_users_exception_in_a_write(
    name: str, place: str, resume: bool, faults: Faults, data: Path, target: Path, tmp_path: Path
) -> None:
    at = str(tmp_path / "no wheels")

    def function(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height and os.path.exists(at):
            raise LookupError("no such robot")
        return frame

    df = with_function(name, place, function, data)
    last = name if place != "exchange" else "group_by"
    expected = {last: alike(last, df.collect(engine="local"))}
    Path(at).touch()
    with pytest.raises(LookupError, match="no such robot"):
        df.to_parquet(target, engine="ray", resume=resume)
    assert not target.exists()
    assert resume or os.listdir(target.parent) == []
    Path(at).unlink()  # what a user does who can repair it
    scans = faults.scans
    report = df.to_parquet(target, engine="ray", resume=resume)
    _is_whole(last, target, expected, report)
    assert (faults.scans == scans) == (resume and place != "scan")  # what had been done was not done again


@pytest.mark.parametrize("mode", ["error", "overwrite", "append"])
def test_a_write_that_fails_leaves_what_was_there(mode: str, faults: Faults, data: Path, target: Path) -> None:
    if mode != "error":
        rd.from_dict({"old": [1, 2]}).to_parquet(target)
    before = {path: path.read_bytes() for path in target.rglob("*")}

    def breaks(frame: pl.DataFrame) -> pl.DataFrame:
        if frame["key"].is_in([11]).any():  # some partitions are written by then
            raise LookupError("no such key: 11")
        return frame.select(old="key") if mode == "append" else frame

    schema = {"old": pl.Int64} if mode == "append" else None
    df = ray_faults.group_by(data).map_batches(breaks, 5_000, schema=schema)
    with pytest.raises(LookupError, match="no such key: 11"):
        df.to_parquet(target, engine="ray", mode=mode)
    assert {path: path.read_bytes() for path in target.rglob("*")} == before
    assert os.listdir(target.parent) == ([] if mode == "error" else [target.name])


def test_nobody_writes_after_a_write_has_failed(faults: Faults, data: Path, target: Path, tmp_path: Path) -> None:
    beating_in = tmp_path / "beats"
    beating_in.mkdir()
    beat = beating(beating_in)

    def function(frame: pl.DataFrame) -> pl.DataFrame:
        if frame["id"][0] >= ray_faults.ROWS:
            return beat(frame)
        while not beats(beating_in):
            time.sleep(0.05)
        raise LookupError("no such robot")

    with pytest.raises(LookupError, match="no such robot"):
        ray_faults.samples(data).map_batches(function, None, preserves_rows=True).to_parquet(target, engine="ray")
    assert falls_silent(beating_in)
    assert os.listdir(target.parent) == []


WRITER = """
    query = ray_faults.QUERIES["{name}"](data)
    query.to_parquet(folder / "out", engine="ray", resume=True)
"""


@pytest.mark.parametrize(
    ("name", "place"),
    pairs(["scan", "exchange", "final", "sink"], [("group_by", "exchange"), ("align", "scan"), ("align", "sink")]),
)
def test_a_driver_is_killed_and_another_goes_on(
    name: str, place: str, faults: Faults, faulty_cluster: Any, data: Path, expected: dict, target: Path
) -> None:
    scans = faults.scans
    faults.set("hang", place)  # one task; what others do is done
    first = driver(WRITER.format(name=name), faulty_cluster, data, target.parent)
    try:
        while not faults.happened or faults.scans - scans < ray_faults.FILES or _grows(target.parent):
            assert first.poll() is None, ended(first)
            time.sleep(0.1)
    finally:
        first.kill()
        first.communicate()
    assert not target.exists()
    faults.clear()
    before = faults.scans - scans
    report = QUERIES[name](data).to_parquet(target, engine="ray", resume=True)
    _is_whole(name, target, expected, report)
    after = faults.scans - scans - before
    assert after < ray_faults.scans_of(name)  # the first driver's were taken over
    assert (after == 0) == (place in ("final", "sink"))


def _grows(folder: Path, seconds: float = 1.0) -> bool:
    """Whether files are still being made."""

    def sizes() -> dict[Path, int]:
        return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}

    before = sizes()
    time.sleep(seconds)
    return sizes() != before
