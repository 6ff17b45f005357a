"""What `health()` finds wrong with a recording."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta

import numpy as np
import pytest

import robodf as rd
from robodf.errors import OptionError
from robodf.io.mcap.writer import McapWriter

SECOND = 1_000_000_000
STAMPED = (
    b"std_msgs/Header header\nint32 x\n" + b"=" * 80 + b"\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\n"
    b"string frame_id\n" + b"=" * 80 + b"\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
)


def stamped(ns: int) -> bytes:
    return b"\0\1\0\0" + struct.pack("<iIIc3xi", ns // SECOND, ns % SECOND, 1, b"\0", 5)


def _write(path, topics: dict[str, list[tuple[int, bytes]]], chunk_size: int = 1 << 20) -> None:
    with McapWriter(path, chunk_size=chunk_size) as out:
        schema = out.add_schema("x/msg/Stamped", "ros2msg", STAMPED)
        ids = {topic: out.add_channel(topic, "cdr", schema) for topic in topics}
        for topic, messages in topics.items():
            for time, data in messages:
                out.write(ids[topic], log_time=time, data=data)


@pytest.mark.parametrize("chunk_size", [100, 1 << 20])
def test_figures(tmp_path, chunk_size: int) -> None:
    at = [0, 10, 20, 30, 80, 90, 90, 100, 95]  # tens of ms: a gap of 50, a duplicate, one out of order
    times = [SECOND + t * 1_000_000 for t in at]
    late = 2_000_000
    _write(tmp_path / "a.mcap", {"/imu": [(t, stamped(t - late)) for t in times]}, chunk_size)
    row = rd.open_log(tmp_path / "a.mcap").health().topics.row(0, named=True)
    between = np.diff(sorted(times))
    assert row["recording"] == "a"
    assert row["topic"] == "/imu"
    assert row["type"] == "x/msg/Stamped"
    assert row["count"] == 9
    assert row["start"] == datetime(1970, 1, 1, 0, 0, 1)
    assert row["end"] - row["start"] == timedelta(milliseconds=100)
    assert row["rate_hz"] == pytest.approx(80.0)
    assert row["interval"] == timedelta(milliseconds=10)
    assert row["jitter"] == timedelta(microseconds=round(float(between.std()) / 1000))
    assert row["gaps"] == 1
    assert row["longest_gap"] == timedelta(milliseconds=50)
    assert row["longest_gap_at"] == datetime(1970, 1, 1, 0, 0, 1, 30_000)
    assert row["out_of_order"] == 1
    assert row["duplicates"] == 1
    assert row["stamps_missing"] == 0
    assert row["stamps_out_of_order"] == 1
    assert row["stamps_duplicates"] == 1
    assert row["clock_offset"] == timedelta(milliseconds=2)
    assert row["clock_spread"] == timedelta(0)
    assert row["undecodable"] == 0


def test_the_length_of_a_gap_is_the_users(tmp_path) -> None:
    times = [SECOND + t * 1_000_000 for t in (0, 10, 20, 45, 80)]
    _write(tmp_path / "a.mcap", {"/imu": [(t, stamped(t)) for t in times]})
    log = rd.open_log(tmp_path / "a.mcap")
    gaps = {gap: log.health(gap).topics["gaps"].item() for gap in ("9ms", "24ms", "25ms", "1s")}
    assert gaps == {"9ms": 4, "24ms": 2, "25ms": 1, "1s": 0}
    with pytest.raises(OptionError, match="gap='soon' is no length of time"):
        log.health("soon")


def test_missing_topics_stamps_and_broken_messages(tmp_path) -> None:
    good = [(SECOND * k, stamped(SECOND * k)) for k in (1, 2, 3)]
    _write(tmp_path / "a.mcap", {"/imu": good, "/odom": good, "/quiet": []})
    _write(tmp_path / "b.mcap", {"/imu": [(SECOND, stamped(0)), (SECOND * 2, b"??"), good[2]]})
    found = rd.open_log([tmp_path / "a.mcap", tmp_path / "b.mcap"]).health().topics
    rows = {(r["recording"], r["topic"]): r for r in found.iter_rows(named=True)}
    assert set(rows) == {(r, t) for r in "ab" for t in ("/imu", "/odom", "/quiet")}
    assert rows["b", "/odom"]["count"] == rows["a", "/quiet"]["count"] == 0
    assert rows["b", "/odom"]["start"] is None
    assert rows["b", "/imu"]["count"] == 3
    assert rows["b", "/imu"]["undecodable"] == 1
    assert rows["b", "/imu"]["stamps_missing"] == 2  # a stamp of zero, and the message that cannot be read
    assert rows["b", "/imu"]["clock_offset"] == timedelta(0)
    assert rows["a", "/imu"]["stamps_missing"] == 0


def test_one_message_and_none(tmp_path) -> None:
    _write(tmp_path / "one.mcap", {"/imu": [(SECOND, stamped(SECOND))]})
    row = rd.open_log(tmp_path / "one.mcap").health().topics.row(0, named=True)
    assert (row["count"], row["rate_hz"], row["gaps"]) == (1, None, None)
    _write(tmp_path / "none.mcap", {})
    found = rd.open_log(tmp_path / "none.mcap").health()
    assert found.topics.height == 0
    assert "no problem" in repr(found)


def test_a_truncated_recording_says_what_is_lost(tmp_path) -> None:
    path = tmp_path / "a.mcap"
    _write(path, {"/imu": [(SECOND * k, stamped(SECOND * k)) for k in range(1, 200)]}, chunk_size=500)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    found = rd.open_log(path, on_error="collect").health()
    assert found.problems
    assert 0 < found.topics["count"].item() < 199


def test_real_logs(real_data) -> None:
    found = rd.open_log(real_data / "mcap" / "pj_test_large_file.mcap").health()
    assert found.topics["count"].sum() == 50_000
    assert found.problems == []
