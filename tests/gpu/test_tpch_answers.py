"""The queries of TPC-H over small tables: what DuckDB answers, through robodf, by Polars, and placed on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
import tpch_rows
from placing import PRETENDED, rows_of

import robodf as rd
from benchmarks.gpu import tpch
from benchmarks.gpu_tasks import AUTO, CPU, DEVICE, GPU, POLARS, Measured, Task, check, goals, measured
from benchmarks.tpch_data import SCHEMAS, opened
from benchmarks.tpch_queries import QUERIES
from benchmarks.tpch_sql import SQL, answer, views
from robodf.gpu.devices import Device
from robodf.gpu.facts import Facts
from robodf.optimizer import optimize
from robodf.physical.place import place

FACTS = Facts(Device(0, "pretended", (9, 0), 80 << 30, None), None, 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tpch")
    tpch_rows.write(made)
    return made


@pytest.fixture(scope="module")
def other(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        views(made, folder, SCHEMAS)
        yield made


def task(name: str, folder: Path) -> Task:
    ours, theirs = (QUERIES[name](opened(folder, library, tpch_rows.SCALE)) for library in (rd, pl))
    return Task("TPC-H", name, ours, theirs)


@pytest.mark.parametrize("name", QUERIES)
def test_answers(name: str, folder: Path, other: duckdb.DuckDBPyConnection) -> None:
    asked, expected = task(name, folder), answer(other, name, tpch_rows.SCALE)
    assert expected.drop_nulls().height
    check(asked, "robodf", expected, asked.ours.collect(engine="local"))
    check(asked, "Polars", expected, asked.theirs.collect(engine="streaming"))


@pytest.mark.gpu_plan
@pytest.mark.parametrize("name", QUERIES)
def test_placed(name: str, folder: Path) -> None:
    """All that translates in fragments, which Polars runs."""
    asked = task(name, folder)
    placed = place(optimize(asked.ours._plan), FACTS, forced=True, ways=PRETENDED)
    assert placed.on_gpu
    check(asked, "the placed plan", asked.theirs.collect(engine="streaming"), rows_of(placed))


@pytest.mark.gpu
@pytest.mark.parametrize("name", QUERIES)
def test_on_a_gpu(name: str, folder: Path, gpu_engine: str) -> None:
    asked = task(name, folder)
    check(asked, "the GPU", asked.theirs.collect(engine="streaming"), asked.ours.collect(engine=gpu_engine))


def test_each_query_is_asked_in_sql() -> None:
    assert SQL.keys() == QUERIES.keys()


def test_the_half_that_needs_no_gpu(folder: Path) -> None:
    found = measured(next(tpch(folder, tpch_rows.SCALE)), 2, gpu=False)
    assert (found.task.name, found.rows) == ("q1", 6)
    assert found.turns.keys() == {POLARS, CPU}
    assert all(len(turns) == 2 for turns in found.turns.values())


def test_other_rows_are_no_result(folder: Path) -> None:
    asked = task("q1", folder)
    with pytest.raises(AssertionError, match="TPC-H, q1: robodf, CPU gives other rows"):
        measured(Task("TPC-H", "q1", asked.ours.head(1), asked.theirs), 1, gpu=False)


def _made(of: str, **seconds: list[float]) -> Measured:
    names = {"polars": POLARS, "cpu": CPU, "gpu": GPU, "auto": AUTO, "device": DEVICE}
    frame = rd.from_dict({"a": [1]})
    return Measured(Task(of, "join", frame, pl.LazyFrame()), 1, turns={names[k]: v for k, v in seconds.items()})


def test_goals_are_computed_from_the_turns() -> None:
    good = _made("memory", polars=[10, 20, 10], cpu=[10, 20, 10], gpu=[2, 4, 2], auto=[2, 4, 2], device=[1, 2, 1])
    slow = _made("memory", polars=[9, 9, 9], cpu=[9, 9, 9], gpu=[2, 2, 2], auto=[2.2, 2.0, 2.2], device=[1, 1, 1])
    assert [(g.figure, g.passed) for g in goals([good], [good], [good])] == [
        ("10.0", True), ("5.0", True), ("+0.0% (memory, join)", True)
    ]  # fmt: skip
    assert [(g.figure, g.passed) for g in goals([good, slow], [good, slow], [good, slow])] == [
        ("9.0", False), ("4.5", False), ("+10.0% (memory, join)", False)
    ]  # fmt: skip
