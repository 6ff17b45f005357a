"""Queries on a Ray cluster where processes, nodes, disks and functions fail: the rows are those of the local engine."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
    align_logs,
    alike,
    beating,
    beats,
    collect,
    driver,
    ended,
    falls_silent,
    faulty,
    pairs,
    with_function,
)

import robodf as rd
from robodf.errors import WorkerError

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


@pytest.mark.parametrize("place", ["scan", "exchange", "final"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_worker_is_killed(name: str, place: str, faults: Faults, data: Path, expected: dict) -> None:
    faults.set("exit" if place == "exchange" else "kill", place)
    rows, _ = collect(QUERIES[name](data))
    assert len(faults.happened) == 1
    assert_frame_equal(alike(name, rows), expected[name])


@pytest.mark.parametrize("place", ["scan", "exchange", "final"])
@pytest.mark.parametrize("name", QUERIES)
def test_the_disk_fails_twice(name: str, place: str, faults: Faults, data: Path, expected: dict) -> None:
    faults.set("io", place, times=2, of_one=True)
    rows, reports = collect(QUERIES[name](data))
    assert len(faults.happened) == 2
    assert sum(report.retries for report in reports) == 2
    assert_frame_equal(alike(name, rows), expected[name])


@pytest.mark.parametrize("kind", ["kill", "io"])
def test_a_log_is_read_while_its_worker_or_disk_fails(kind: str, faults: Faults, data: Path, expected: dict) -> None:
    faults.set(kind, "bytes", times=1 if kind == "kill" else 2, of_one=True)
    rows, reports = collect(align_logs(data))
    assert len(faults.happened) == (1 if kind == "kill" else 2)
    assert kind == "kill" or sum(report.retries for report in reports) in (1, 2)  # two threads may have met it at once
    assert_frame_equal(rows, expected["align_logs"])


def test_two_stages_lose_workers(faults: Faults, data: Path, expected: dict) -> None:
    faults.set("kill", "exchange", times=3)
    rows, _ = collect(QUERIES["join"](data))
    assert len(faults.happened) == 3
    assert_frame_equal(alike("join", rows), expected["join"])


def test_a_worker_that_dies_each_time_is_an_error(faults: Faults, data: Path, expected: dict) -> None:
    faults.set("exit", "final", times=1000)
    with rd.config(retries=2), pytest.raises(WorkerError, match=r"worker process died.*again each time.*2 times"):
        collect(QUERIES["group_by"](data))
    assert len(faults.happened) >= 3
    _works(data, faults, expected)


def test_a_disk_that_fails_each_time_is_an_error(faults: Faults, data: Path, expected: dict) -> None:
    faults.set("io", "scan", times=1000)
    with rd.config(retries=2), pytest.raises(OSError, match="a disk of the test") as caught:
        collect(QUERIES["group_by"](data))
    assert caught.value.errno == errno.EIO
    _works(data, faults, expected)


class Broken(Exception):
    """Of the user, and not to be made again of its `args`."""

    def __init__(self, robot: int, why: str):
        super().__init__(f"robot {robot}: {why}")
        self.robot = robot


def breaks(frame: pl.DataFrame) -> pl.DataFrame:
    if frame.height:
        raise Broken(7, "has no wheels")
    return frame


@pytest.mark.parametrize(
    ("name", "place"), pairs(["scan", "exchange", "final"], [(n, p) for n in QUERIES for p in ("scan", "final")])
)
def test_a_users_exception(name: str, place: str, faults: Faults, data: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    scans = faults.scans

    def counted(frame: pl.DataFrame) -> pl.DataFrame:
        with open(calls, "a") as file:
            file.write("x")
        return breaks(frame)

    df = with_function(name, place, counted, data)
    with pytest.raises(Broken, match="robot 7: has no wheels") as caught:
        df.collect(engine="ray")
    assert caught.value.robot == 7
    (note,) = [note for note in caught.value.__notes__ if note.startswith("on ")]
    assert "in breaks\n" in note
    assert 'raise Broken(7, "has no wheels")' in note
    assert len(calls.read_text()) <= 8  # a task at a time of few: none was tried again
    assert place == "scan" or faults.scans - scans >= ray_faults.FILES  # it was called after an exchange


@pytest.mark.slow
@pytest.mark.parametrize("name", ["align", "dedup"])
@pytest.mark.parametrize("kind", ["kill", "io"])
def test_a_task_between_two_exchanges_fails(name: str, kind: str, faults: Faults, data: Path, expected: dict) -> None:
    faults.set(kind, "received", times=1 if kind == "kill" else 2, of_one=True)
    rows, _ = collect(QUERIES[name](data))
    assert len(faults.happened) == (1 if kind == "kill" else 2)
    assert_frame_equal(alike(name, rows), expected[name])


def test_the_next_query_works_after_an_exception(faults: Faults, data: Path, expected: dict) -> None:
    with pytest.raises(Broken):
        QUERIES["join"](data).map_batches(breaks).collect(engine="ray")
    _works(data, faults, expected)


def _works(data: Path, faults: Faults, expected: dict) -> None:
    """The cluster does what it did."""
    faults.clear()
    rows, _ = collect(QUERIES["group_by"](data))
    assert_frame_equal(alike("group_by", rows), expected["group_by"])


# -- workers that stay --------------------------------------------------------------------------------------------


def _counting(folder: Path, dies: int) -> Any:
    """A class for map_batches, as for a model; the first `dies` calls end the process."""
    at = str(folder)

    class Counting:
        def __init__(self) -> None:
            with open(f"{at}/made", "a") as file:
                file.write("x")

        def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
            import os
            from contextlib import suppress

            for number in range(dies):
                with suppress(FileExistsError), open(f"{at}/died-{number}", "x"):
                    os._exit(9)
            return frame

    return Counting


def test_a_worker_with_a_model_dies(faults: Faults, data: Path, expected: dict, tmp_path: Path) -> None:
    model = _counting(tmp_path, dies=1)
    rows, _ = collect(QUERIES["dedup"](data, lambda df: df.map_batches(model, None, preserves_rows=True)))
    assert (tmp_path / "died-0").exists()
    assert 2 <= len((tmp_path / "made").read_text()) <= 3  # one a process
    assert_frame_equal(rows, expected["dedup"])


def test_a_worker_with_a_model_dies_each_time(faults: Faults, data: Path, expected: dict, tmp_path: Path) -> None:
    df = ray_faults.samples(data).map_batches(_counting(tmp_path, dies=1000), None, preserves_rows=True)
    with rd.config(retries=1), pytest.raises(WorkerError, match=r"worker process died.*again each time"):
        collect(df)
    _works(data, faults, expected)


# -- stopping -------------------------------------------------------------------------------------------------


def _first_file_else(other: Callable[[pl.DataFrame], pl.DataFrame], folder: Path, fails: bool) -> Any:
    """A function for map_batches: with the first file it waits until another task beats, then fails or ends."""
    first = ray_faults.ROWS

    def function(frame: pl.DataFrame) -> pl.DataFrame:
        if frame["id"][0] >= first:
            return other(frame)
        while not beats(folder):
            time.sleep(0.05)
        if fails:
            raise Broken(1, "is off")
        return frame

    return function


def test_other_tasks_stop_where_one_fails(faults: Faults, data: Path, expected: dict, tmp_path: Path) -> None:
    function = _first_file_else(beating(tmp_path), tmp_path, fails=True)
    df = ray_faults.samples(data).map_batches(function, None, preserves_rows=True)
    with pytest.raises(Broken, match="robot 1: is off"):
        df.group_by("key").len().collect(engine="ray")
    assert falls_silent(tmp_path)
    _works(data, faults, expected)
    assert len(list(tmp_path.glob("beat-*"))) <= 2  # of three; a second may begin before the driver knows


def test_tasks_that_nobody_needs_stop(faults: Faults, data: Path, expected: dict, tmp_path: Path) -> None:
    function = _first_file_else(beating(tmp_path), tmp_path, fails=False)
    frames = ray_faults.samples(data).map_batches(function, None, preserves_rows=True).iter_batches(1000, engine="ray")
    assert next(frames)["id"][0] == 0
    frames.close()  # type: ignore[attr-defined]
    assert falls_silent(tmp_path)
    _works(data, faults, expected)
    assert len(list(tmp_path.glob("beat-*"))) <= 2


NOTEBOOK = """
    try:
        slow = ray_faults.samples(data).map_batches(ray_faults.beating(folder), None)
        slow.group_by("key").len().collect(engine="ray")
    except KeyboardInterrupt:
        print("stopped", flush=True)
    print("rows", ray_faults.group_by(data).collect(engine="ray").height, flush=True)
    print("then", input())  # the process stays
"""


def test_ctrl_c(faults: Faults, faulty_cluster: Any, data: Path, expected: dict, tmp_path: Path) -> None:
    notebook = driver(NOTEBOOK, faulty_cluster, data, tmp_path)
    try:
        while not beats(tmp_path):
            assert notebook.poll() is None, ended(notebook)
            time.sleep(0.1)
        notebook.send_signal(signal.SIGINT)
        assert _said(notebook, "stopped") == ""
        assert falls_silent(tmp_path)
        assert int(_said(notebook, "rows")) == expected["group_by"].height
        assert "then the end" in notebook.communicate("the end\n")[0]
        assert notebook.returncode == 0
    finally:
        notebook.kill()
        notebook.communicate()


def _said(process: subprocess.Popen[str], word: str) -> str:
    """The rest of the next line that begins with a word; between are lines of Ray."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.split(" ")[0].strip() == word:
            return line[len(word) :].strip()
    raise AssertionError(ended(process))
