"""Logs cut into runs of chunks: parts give the rows of the whole, read their own chunks alone, and report damage."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import cloudpickle
import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError
from robodf.io.counting import read
from robodf.io.db3 import pieces
from robodf.io.logs import files as log_files
from robodf.io.logs import runs
from robodf.io.source import Request
from robodf.plan.nodes.scan import Scan
from tests.io.db3_files import INDEX, MESSAGES, TOPICS, write_bag
from tests.io.splitting import SECOND, START, check, in_parts, rows_of, scan_of, travelled, write_log

AT = datetime(2023, 11, 14, 22, 13, 20)  # START


# -- logs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_runs(monkeypatch) -> None:
    monkeypatch.setattr(runs, "RUN", 5000)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two recordings; the message of the second has another field."""
    folder = tmp_path / "logs"
    folder.mkdir()
    write_log(folder / "run_1.mcap")
    write_log(folder / "run_2.mcap", fields={"more": {"type": "integer"}}, start=START + 100 * SECOND)
    return folder


def test_parts_of_logs(logs: Path, small_runs) -> None:
    frame = rd.read_log(logs, "/pose")
    source = check(frame, 6).source
    assert source.partition_column == "recording"
    splits = list(source.splits(Request(tuple(source.schema))))
    assert [s.key for s in splits] == sorted(s.key or "" for s in splits)
    assert {s.key for s in splits} == {"run_1", "run_2"}
    assert sum(s.rows or 0 for s in splits) == 400
    check(rd.read_log(logs), 6)
    check(frame.select("log_time"), 6)
    check(frame.select(rd.col("pose").struct.field("a")), 6)
    check(
        frame.filter(rd.col("log_time") >= AT + timedelta(seconds=5), rd.col("log_time") < AT + timedelta(seconds=103))
    )
    check(frame.filter(rd.col("recording") == "run_2").select("x", "more"))
    check(rd.read_log(logs, start=START + 3 * SECOND, end=START + 17 * SECOND).filter(rd.col("topic") == "/imu"), 1)
    check(frame.filter(rd.col("recording") == "run_3"), 0)
    only = scan_of(frame.filter(rd.col("recording") == "run_2"))
    assert {s.key for s in only.source.splits(only.request)} == {"run_2"}


def test_a_file_below_the_size_of_a_run_is_one_split(logs: Path) -> None:
    source = check(rd.read_log(logs, "/pose"), 2).source
    assert [s.rows for s in source.splits(Request(("x",)))] == [200, 200]


def test_counts_and_bounds_of_a_part(logs: Path, small_runs) -> None:
    source = scan_of(rd.read_log(logs, "/pose")).source
    request = Request(tuple(source.schema))
    for split in source.splits(request):
        part = travelled(source.part((split,)))
        rows = rows_of(part, request)
        assert part.count(()) == rows.height == split.rows
        assert part.report(request).rows == rows.height
        low, high = part.bounds("log_time", ())
        times = rows["log_time"].cast(pl.Int64)
        assert low <= times.min() <= times.max() <= high
        assert high - low < 15 * SECOND


def test_a_part_reads_its_own_chunks_alone(logs: Path, small_runs, monkeypatch) -> None:
    source = scan_of(rd.read_log(logs, "/pose")).source
    request = Request(("recording", "x", "more"))
    splits = [s for s in source.splits(request) if s.key == "run_2"]
    whole = rows_of(source, request)
    part = travelled(source.part((splits[1],)))
    assert b"run_1" not in cloudpickle.dumps(part)
    asked: list[str] = []
    plain = log_files.summary_of
    monkeypatch.setattr(log_files, "summary_of", lambda path, *rest: (asked.append(path), plain(path, *rest))[1])
    before = read.bytes, read.chunks, read.rows
    found = rows_of(part, request)
    assert [Path(p).name for p in asked] == ["run_2.mcap"]
    assert read.bytes - before[0] <= (splits[1].bytes or 0)
    assert read.chunks - before[1] == part.runs[0].last - part.runs[0].first + 1
    assert read.rows - before[2] == found.height == splits[1].rows
    at = 200 + (splits[0].rows or 0)
    assert found.equals(whole.slice(at, found.height))


def test_a_part_of_the_first_file_has_the_columns_of_all(logs: Path, small_runs) -> None:
    source = scan_of(rd.read_log(logs, "/pose")).source
    request = Request(tuple(source.schema))
    first = travelled(source.part((next(iter(source.splits(request))),)))
    (logs / "run_2.mcap").unlink()
    rows = rows_of(first, request)
    assert rows["more"].null_count() == rows.height > 0
    alone = scan_of(rd.read_log(logs, "/pose")).source
    assert "more" not in alone.schema
    same = travelled(alone.part((next(iter(alone.splits(Request(tuple(alone.schema))))),)))
    assert same != first
    assert Scan(same) is not Scan(first)


def test_a_log_that_changed_is_an_error(logs: Path, small_runs) -> None:
    source = scan_of(rd.read_log(logs, "/pose")).source
    request = Request(("x",))
    last = [s for s in source.splits(request) if s.key == "run_1"][-1]
    part = source.part((last,))
    write_log(logs / "run_1.mcap", seconds=3)
    part = cloudpickle.dumps(part)
    log_files._cache.clear()
    with pytest.raises(FileFormatError, match="was changed since the query was planned"):
        rows_of(cloudpickle.loads(part), request)


@pytest.mark.parametrize("on_error", ["skip", "collect"])
def test_parts_of_damaged_logs(logs: Path, small_runs, on_error: str) -> None:
    data = bytearray((logs / "run_1.mcap").read_bytes())
    data[len(data) // 3] ^= 0xFF
    (logs / "run_1.mcap").write_bytes(data[: len(data) * 2 // 3])
    frame = rd.read_log(logs, "/pose", on_error=on_error)
    scan = check(frame)
    request = scan.request
    expected = frame.collect().height
    assert expected < 400
    problems: set[str] = set()
    rows = 0
    for split in scan.source.splits(request):
        part = travelled(scan.source.part((split,)))
        assert part.problems == []
        rows += rows_of(part, request).height
        problems |= {json.dumps(p, sort_keys=True) for p in part.problems}
        assert all(p["file"] == split.path for p in part.problems)
    assert rows == expected
    assert problems == {json.dumps(p, sort_keys=True) for p in scan.source.problems}


def test_a_part_of_a_damaged_log_raises(logs: Path, small_runs) -> None:
    data = bytearray((logs / "run_1.mcap").read_bytes())
    source = scan_of(rd.read_log(logs, "/pose")).source
    request = Request(("x",))
    first, *rest = source.splits(request)
    data[500] ^= 0xFF
    (logs / "run_1.mcap").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"run_1\.mcap"):
        rows_of(source.part((first,)), request)
    assert rows_of(source.part((rest[-1],)), request).height == rest[-1].rows


@pytest.mark.parametrize("index", [True, False])
def test_runs_of_a_database_keep_the_order_of_time_and_id(index: bool, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 200)
    monkeypatch.setattr(runs, "RUN", 600)
    times = [START + (i * 7919 % 50) * SECOND for i in range(500)]  # each time ten times, in any order
    rows = [(1 + i % 2, at, f"{i:06}".encode()) for i, at in enumerate(times)]
    path = write_bag(tmp_path / "a.db3", rows, schema=(TOPICS, MESSAGES, INDEX) if index else (TOPICS, MESSAGES))
    frame = rd.read_log(path)
    source = check(frame, 4).source
    found = pl.concat(in_parts(source, Request(("log_time", "data"))))
    order = sorted(range(500), key=lambda i: (times[i], i))
    assert found["data"].to_list() == [f"{i:06}".encode() for i in order]
    assert found["log_time"].is_sorted()
    check(frame.filter(rd.col("topic") == "/a", rd.col("log_time") < AT + timedelta(seconds=30)))


REAL = [
    ("mcap/rerun_rosbag2_2025_09_10.mcap", 40_000),
    ("mcap/pj_test_large_file.mcap", 40_000),
    ("mcap/keelson_test.mcap", 40_000),
    ("bag/example.bag", 100_000),
    ("bag/example-bz2.bag", 20_000),
    ("bag/example-unsorted-chunks.bag", 300),
    ("bag/ouster_512x10_raw.bag", 50_000),
    ("db3/rosbag2/rosbag2_py/test/resources/sqlite3/wbag", 10_000),
    ("db3/rosbag2/rosbag2_py/test/resources/sqlite3/reindex_test_bags/multiple_files", 10_000),
    ("db3/foxglove_chatter.db3", 10),
]


@pytest.mark.parametrize(("name", "size"), REAL, ids=[n.rpartition("/")[2] for n, _ in REAL])
def test_parts_of_real_logs(real_data: Path, name: str, size: int, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runs, "RUN", size)
    monkeypatch.setattr(pieces, "PIECE", 4000)
    path = real_data / name
    if path.suffix != ".mcap" and path.suffix != ".bag":  # under another name its summary is read anew, in small pieces
        path = Path(shutil.copytree(path, tmp_path / path.name)) if path.is_dir() else shutil.copy(path, tmp_path)
    frame = rd.read_log(path)
    source = check(frame, 1).source
    chunks = sum(len(s.chunks) for s in source.summaries)
    whole = rows_of(source, Request(("topic", "log_time")))
    if chunks > 4:
        assert len(list(source.splits(Request(("topic",))))) > 1
    topic = whole["topic"].value_counts(sort=True)["topic"][0]
    one = rd.read_log(path, topic)
    check(one, 1)
    times = whole["log_time"].drop_nulls().sort()
    check(one.filter(rd.col("log_time") >= times[len(times) // 3], rd.col("log_time") < times[len(times) * 2 // 3]), 0)


def test_names_of_recordings_are_those_of_the_whole(tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        write_log(tmp_path / day / "run.mcap", 2)
    source = check(rd.read_log(tmp_path, "/pose"), 2).source
    found = in_parts(source, Request(("recording",)))
    assert [f["recording"].unique().to_list() for f in found] == [["monday/run"], ["tuesday/run"]]
