"""`robodf demo`: every figure that it prints is the run's own, and it works over logs of any content."""

from __future__ import annotations

import os
import re
import shlex
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.cli import main
from robodf.demo.recordings import write_recordings
from robodf.io.mcap.writer import McapWriter

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = [
    *sorted((SHARED / "mcap").glob("*.mcap")),
    *sorted((SHARED / "mcap" / "rosbag2").glob("*.mcap")),
    *sorted((SHARED / "generated").glob("*.mcap")),
    *sorted((SHARED / "mcap" / "conformance").glob("*")),
    *(folder for folder in [SHARED / "mcap" / "rosbag2", SHARED / "mcap"] if folder.is_dir()),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory of one's own; no progress bar, which a slow machine would show."""
    monkeypatch.chdir(tmp_path)
    with rd.config(progress=False):
        yield tmp_path


def printed(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def sections(text: str) -> list[str]:
    return re.findall(r"^\d+\. (.*)$", text, re.MULTILINE)


def figures(text: str, step: str) -> list[int]:
    """Rows in and out of a step."""
    line = next(line for line in text.splitlines() if line.strip().startswith(step + " "))
    return [int(n.replace(",", "")) for n in line.split()[-2:]]


def test_demo(here, capsys):
    assert main(["demo"]) == 0
    out = printed(capsys)
    assert len(sections(out)) == 7
    assert max(map(len, out.split("Next, type")[0].splitlines())) <= 100

    written = pl.read_parquet("robodf-demo/captions.parquet")
    captions = rd.read_mcap("robodf-demo/recordings", topic="/caption").collect()
    recent = captions.filter(pl.col("log_time") >= datetime(2026, 3, 2, 9, 10))
    good = recent.filter(pl.col("quality") > 0.7)
    unique = good.unique("text", keep="first", maintain_order=True)
    joined = unique.join(pl.read_parquet("robodf-demo/recordings/episodes.parquet"), on=["recording", "episode"])
    kept = joined.filter("success").sort("log_time")
    assert written.select("log_time", "text").equals(kept.select("log_time", "text"))

    assert figures(out, "topic /caption") == [30_120, captions.height]
    assert figures(out, "log_time >= 09:10") == [captions.height, recent.height]
    assert figures(out, "quality > 0.7") == [recent.height, good.height]
    assert figures(out, "dedup on text") == [good.height, unique.height]
    assert figures(out, "success") == [joined.height, written.height]
    assert recent.height > good.height > unique.height > written.height > 0
    assert f"{written.height} rows: the same rows as in the file above." in out


def test_demo_reads_what_the_plan_said(here, capsys):
    main(["demo"])
    out = " ".join(printed(capsys).split())
    planned = re.search(r"reads 2 files, (\d+) of (\d+) chunks, ([\d,]+) of ([\d,]+) bytes", out)
    read = re.search(r"Read from the logs: ([\d,]+) of ([\d,]+) bytes", out)
    assert planned is not None
    assert read is not None
    assert planned.groups()[2:] == read.groups()
    size = sum(os.path.getsize(f"robodf-demo/recordings/run_0{k}.mcap") for k in (1, 2, 3))
    assert int(read.group(2).replace(",", "")) == size
    assert int(read.group(1).replace(",", "")) < size / 3
    second = re.search(r"200 rows for ([\d,]+) of", out)
    assert second is not None
    assert int(second.group(1).replace(",", "")) < size / 50


def test_demo_shows_the_code_that_it_runs(here, capsys):
    main(["demo"])
    code = printed(capsys).split("as you would type it")[1].split("Nothing has run")[0]
    names: dict = {}
    exec("\n".join(line.removeprefix("     ") for line in code.splitlines() if line.startswith("     ")), names)
    shown = names["result"].collect()
    assert shown.equals(pl.read_parquet("robodf-demo/captions.parquet"))


def test_demo_twice_and_keep(here, capsys):
    assert main(["demo", "--out", "a folder/ünï"]) == 0
    times = {p: p.stat().st_mtime_ns for p in Path("a folder/ünï/recordings").iterdir()}
    assert main(["demo", "--out", "a folder/ünï", "--keep"]) == 0
    assert {p: p.stat().st_mtime_ns for p in Path("a folder/ünï/recordings").iterdir()} == times
    assert main(["demo", "--out", "a folder/ünï"]) == 0
    assert {p: p.stat().st_mtime_ns for p in Path("a folder/ünï/recordings").iterdir()} != times


def test_own_logs(here, capsys):
    write_recordings("logs", recordings=2, seconds=8)
    assert main(["demo", "logs"]) == 0
    out = printed(capsys)
    written = pl.read_parquet("robodf-demo/imu.parquet")
    assert figures(out, "topic /imu") == [2 * 8 * 251, 3200]
    assert figures(out, "dedup")[1] == written.height
    assert f"{written.height:,} rows: the same rows" in out


def test_own_logs_shows_the_code_that_it_runs(here, capsys):
    write_recordings("logs", recordings=1, seconds=8)
    main(["demo", "logs"])
    code = printed(capsys).split("as you would type it")[1].split("/imu is the topic")[0]
    names: dict = {}
    exec("\n".join(line.removeprefix("     ") for line in code.splitlines() if line.startswith("     ")), names)
    assert names["unique"].collect().equals(pl.read_parquet("robodf-demo/imu.parquet"))


def test_truncated_log_says_what_was_lost(here, capsys):
    made = write_recordings("logs", recordings=1, seconds=8)
    whole = made.logs[0].read_bytes()
    made.logs[0].write_bytes(whole[: len(whole) // 2])
    assert main(["demo", "logs"]) == 0
    out = printed(capsys)
    assert out.count("Skipped, with the reason") == 1
    assert "the same rows" in out


def test_damaged_chunk_is_said_after_the_run(here, capsys):
    made = write_recordings("logs", recordings=1, seconds=8)
    damaged = bytearray(made.logs[0].read_bytes())
    half = len(damaged) // 2
    damaged[half : half + 40] = bytes(40)
    made.logs[0].write_bytes(damaged)
    assert main(["demo", "logs"]) == 0
    out = printed(capsys)
    assert "Skipped, with the reason" in out.split("Run it")[1]
    assert "the same rows" in out


def test_middle_is_taken_where_messages_are(here, capsys):
    write_recordings("logs", recordings=2, seconds=8)  # the middle of both is between them
    main(["demo", "logs"])
    rows = figures(printed(capsys), "log_time")
    assert rows == [3200, 800]


def test_bytes_are_left_out_where_there_is_more(here, capsys):
    text = "string name\nuint8[] data\n"
    with McapWriter("camera.mcap") as writer:
        channel = writer.add_channel("/camera", "cdr", writer.add_schema("a/msg/B", "ros2msg", text.encode()))
        for i in range(4):
            payload = b"\0\1\0\0" + (2).to_bytes(4, "little") + b"a\0" + b"\0\0" + (3).to_bytes(4, "little") + b"xyz"
            writer.write(channel, log_time=i * 10**9, data=payload)
    assert main(["demo", "camera.mcap"]) == 0
    assert "data" not in pl.read_parquet("robodf-demo/camera.parquet").columns
    assert "Bytes are left out: data." in printed(capsys)


@pytest.mark.parametrize("messages", [0, 1, 2])
def test_few_messages(here, capsys, messages):
    with McapWriter("few.mcap") as writer:
        channel = writer.add_channel("/t", "json", 0)
        for i in range(messages):
            writer.write(channel, log_time=i * 10**9, data=b'{"a": 1}')
    assert main(["demo", "few.mcap"]) == 0
    out = printed(capsys)
    assert ("There are no messages" in out) == (messages == 0)
    assert ("1 row: the same rows" in out) == (messages > 0)


def test_odd_names_and_times(here, capsys):
    with McapWriter('it\'s "odd".mcap') as writer:
        channel = writer.add_channel('/a b/"ü"', "json", 0)
        for i in range(8):
            writer.write(channel, log_time=2**64 - 1 - i, data=b'{"log_time": %d, "x y\\"": "\xc3\xbc"}' % i)
    assert main(["demo", 'it\'s "odd".mcap']) == 0
    assert "8 rows: the same rows" in printed(capsys)


@pytest.mark.skipif(not REAL, reason=f"the folder of real recordings is not at {SHARED}")
@pytest.mark.parametrize("path", REAL, ids=lambda p: str(p.relative_to(SHARED)))
def test_real_logs(here, capsys, path):
    assert main(["demo", str(path)]) == 0
    out = printed(capsys)
    assert "the same rows as in the file above." in out or "There are no messages" in out


@pytest.mark.parametrize("arguments", [[], ["a 'folder'"]])
def test_the_next_line_can_be_typed(here, capsys, arguments):
    write_recordings("a 'folder'", recordings=1, seconds=8)
    assert main(["demo", *arguments, "--out", "an 'out'"]) == 0
    lines = [shlex.split(line) for line in printed(capsys).split("Next, type")[1].splitlines() if line]
    for line in lines:
        assert line[0] == "robodf"
        if "PATH/TO/YOUR/LOGS" not in line:
            assert main(line[1:]) == 0
    assert len(lines) == 2


@pytest.mark.parametrize("arguments", [[], ["logs"]])
def test_other_rows_from_sql_are_a_failure(here, capsys, monkeypatch, arguments):
    write_recordings("logs", recordings=1, seconds=8)
    sql = rd.sql
    monkeypatch.setattr(rd, "sql", lambda query, **tables: sql(query, **tables).slice(1))
    assert main(["demo", *arguments]) == 1
    assert "NOT the" in printed(capsys)
