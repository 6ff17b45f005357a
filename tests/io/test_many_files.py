"""A million files plan in little memory: measured on fewer."""

from __future__ import annotations

import os
import pickle
import random
import re
import tracemalloc
from itertools import islice
from pathlib import Path

import cloudpickle
import polars as pl
import pytest

import robodf as rd
from robodf.config import Settings
from robodf.io import tables
from robodf.io.files import list_files, natural_key
from robodf.io.source import Request
from robodf.optimizer import optimize
from robodf.physical.cut import Limits, cut
from robodf.physical.exchange import Pieces
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.base import Plan, plans
from robodf.plan.nodes.scan import Scan

FILES = 20_000
REQUEST = Request(("a",))


@pytest.fixture
def paths(tmp_path: Path, monkeypatch) -> list[str]:
    """Names of files of which the first one alone is there."""
    first = tmp_path / "run_00000" / "episode_0000000.parquet"
    first.parent.mkdir()
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(first)
    names = [str(tmp_path / f"run_{i // 1000:05}" / f"episode_{i:07}.parquet") for i in range(FILES)]
    assert names[0] == str(first)
    marks = {name: (100_000 + i, 1_700_000_000_000_000_000 + i) for i, name in enumerate(names)}
    self_made = marks | {str(first): tables.fingerprint(str(first))}
    monkeypatch.setattr(tables, "fingerprint", lambda path, storage: tuple(map(int, self_made[path])))
    return names


def test_a_plan_over_many_files_is_small(paths: list[str]) -> None:
    tracemalloc.start()
    try:
        source = tables.table_files("parquet", paths, {}, None, "read_parquet")
        assert dict(source.schema) == {"a": pl.Int64, "b": pl.String}
        scan = Scan(source)
        narrow = scan.replace(columns=("a",))
        made = tracemalloc.get_traced_memory()[0]
        assert made / FILES < 250  # beside the names: size and time of change, and one array for each
        tracemalloc.reset_peak()
        count = sum(1 for _ in narrow.source.splits(REQUEST))
        assert count == FILES
        assert tracemalloc.get_traced_memory()[1] - made < 100_000  # splits are made one by one
        part = source.part(tuple(islice(source.splits(REQUEST), 0, 10)))
        assert tracemalloc.get_traced_memory()[0] - made < 100_000
    finally:
        tracemalloc.stop()
    assert len(pickle.dumps(part)) < 10 * 250
    first = source.part(tuple(islice(source.splits(REQUEST), 1)))
    assert pickle.loads(pickle.dumps(first)).scan(REQUEST).collect().rows() == [(1,)]


def test_each_file_is_asked_for_its_state_once(paths: list[str], monkeypatch) -> None:
    asked: list[str] = []
    known = tables.fingerprint
    monkeypatch.setattr(tables, "fingerprint", lambda path, storage: (asked.append(path), known(path, storage))[1])
    source = tables.table_files("parquet", paths[:500], {}, None, "read_parquet")
    part = source.part(tuple(islice(source.splits(REQUEST), 100, 200)))
    assert Scan(part) is Scan(source.part(tuple(islice(source.splits(REQUEST), 100, 200))))
    assert asked == paths[:500]


def test_the_hash_of_many_files_is_computed_once(paths: list[str]) -> None:
    hashed: list[int] = []

    class Counted(str):
        __slots__ = ()

        def __hash__(self) -> int:
            hashed.append(1)
            return str.__hash__(self)

    source = tables.TableFiles("parquet", tuple(map(Counted, paths)))
    scans = [Scan(source, ("a",), (), (), n) for n in range(5)]
    assert len(set(map(id, scans))) == 5
    assert len(hashed) == FILES
    again = pickle.loads(pickle.dumps(tables.TableFiles("parquet", tuple(paths))))
    assert "_hash" not in vars(again)  # texts have other hashes in another process
    assert again == source
    assert Scan(again) is Scan(source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty folders of a thousand files, which are one file under many names."""
    root = tmp_path_factory.mktemp("many")
    rows = root / "rows.parquet"
    pl.DataFrame({"clip": [1, 2, 3], "robot": ["a", "b", "a"], "x": [1.0, 2.0, 3.0]}).write_parquet(rows)
    for number in range(FILES):
        run = root / "data" / f"run_{number // 1000}"
        if number % 1000 == 0:
            run.mkdir(parents=True)
        os.link(rows, run / f"clip_{number}.parquet")
    return root / "data"


def named(how: str, folder: Path) -> str | list[str]:
    if how == "list":
        return [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]
    return str(folder) if how == "directory" else f"{folder}/*/*.parquet"


def query(paths: str | list[str]) -> Plan:
    rows = rd.read_parquet(paths)
    return optimize(rows.filter(rd.col("x") > 1.5).group_by("robot").agg(n=rd.col("clip").sum())._plan)


@pytest.mark.parametrize("how", ["directory", "glob", "list"])
def test_real_files_are_listed_and_cut_in_few_bytes_each(how: str, folder: Path) -> None:
    paths = named(how, folder)
    query(named(how, folder / "run_0") if how != "glob" else f"{folder}/run_0/*.parquet")  # imports, caches
    name = 60 + len(f"{folder}/run_19/clip_19999.parquet")
    tracemalloc.start()
    try:
        plan = query(paths)
        assert tracemalloc.get_traced_memory()[0] / FILES < name + 200
        assert tracemalloc.get_traced_memory()[1] / FILES < 3 * name + 300  # with what they are sorted by
        tracemalloc.reset_peak()
        done = cut(plan, Limits(cpus=1000, partition_bytes=1 << 20))
        assert tracemalloc.get_traced_memory()[1] / FILES < name + 600
    finally:
        tracemalloc.stop()
    found = next(n for n in plans(done.plan) if isinstance(n, Pieces))
    assert sum(map(len, found.pieces)) == FILES
    tasks = Stages(Here(), Job(Settings())).parts(found)
    assert len(tasks) == len(found.pieces) > 20
    for task, piece in zip(tasks, found.pieces):
        assert len(cloudpickle.dumps(task)) < 2_000 + len(piece) * (name + 60)


def test_a_file_is_asked_for_its_state_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *args, **kwargs: (asked.append(path), real(path, *args, **kwargs))[1])
    rd.read_parquet(str(folder))
    assert FILES <= len(asked) < FILES + 100


def test_the_natural_order_is_that_of_texts_and_numbers() -> None:
    def parts(path: str) -> list[tuple]:
        return [(int(p), p) if k % 2 else (p,) for k, p in enumerate(re.split("([0-9]+)", path))]

    names = {"".join(random.Random(seed).choices("ab/.-_ 0019\u0663\x01", k=1 + seed % 9)) for seed in range(20_000)}
    assert sorted(names, key=natural_key) == sorted(names, key=parts)


def test_folders_and_files_are_in_one_order(tmp_path: Path) -> None:
    names = ["a0/1.csv", "a05/x.csv", "a5.csv", "a10/9.csv", "a10/10.csv", "a-b/1.csv", "a.csv", "a/2.csv", "a/b/1.csv"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")  # leads nowhere
    os.mkfifo(tmp_path / "a" / "pipe.csv")
    found = [os.path.relpath(path, tmp_path) for path in list_files(tmp_path, (".csv",))]
    assert found == names
