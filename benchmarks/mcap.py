"""Reading MCAP logs beside the official Python reader (and Daft, where given): index scan, typed topic, time range."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from mcap.reader import NonSeekingReader, make_reader
from mcap_ros2.reader import read_ros2_messages

import robodf as rd
from benchmarks.measure import SHARED, Pair, Report, alternate, arguments, human
from benchmarks.peers import Peer
from benchmarks.recordings import START, camera_log, small_messages
from robodf.io.counting import read
from robodf.io.files import open_file
from robodf.io.mcap.chunks import index_only, select_chunks
from robodf.io.mcap.summary import read_summary

HEAD = ["log", "against", "ours, s", "theirs, s", "times faster", "least to greatest"]


def through_polars(path: Path) -> int:
    """log_time and sequence of every message through `rd.read_mcap`."""
    return rd.read_mcap(path).select("log_time", "sequence").collect().height


def through_index(path: Path) -> int:
    """log_time, channel and place of every message from the index records alone."""
    with open_file(str(path)) as file:
        summary = read_summary(file)
        return sum(len(index_only(file, summary, chunk).log_time) for chunk in select_chunks(summary))


def official(path: Path, **options: Any) -> int:
    with path.open("rb") as file:
        rows = [(m.log_time, m.sequence) for _, _, m in make_reader(file).iter_messages(**options)]
    return len(rows)


def official_without_seeking(path: Path) -> int:
    with path.open("rb") as file:
        rows = [(m.log_time, m.sequence) for _, _, m in NonSeekingReader(file).iter_messages()]
    return len(rows)


def index_scan(report: Report, logs: dict[str, Path], rounds: int, peer: Peer) -> None:
    report.say("## Index scan: log_time and sequence of every message\n")
    report.say(
        "`robodf`: `rd.read_mcap(path).select('log_time', 'sequence').collect()`, from the path to the rows. "
        "`container`: log_time, channel and offset by `index_only`, which decompresses nothing. Against the official "
        "reader's `iter_messages()`, its `(log_time, sequence)` in a list: in log-time order (its default), in file "
        "order (`log_time_order=False`), and by `NonSeekingReader`.\n"
    )
    others: dict[str, Callable[[Path], int]] = {
        "by log time": official,
        "in file order": lambda path: official(path, log_time_order=False),
        "without seeking": official_without_seeking,
    }
    table = []
    for name, path in logs.items():
        for ours_name, ours in {"robodf": through_polars, "container": through_index}.items():
            for other_name, other in others.items():
                if ours is through_index and other is not official:
                    continue
                assert ours(path) == other(path), (path, ours_name, other_name)
                pair = alternate(lambda: ours(path), lambda: other(path), rounds, warm_up=0)  # noqa: B023 - runs at once
                table.append([name, f"{ours_name}, mcap {other_name}", *_figures(pair)])
        if peer.has("daft") and "zstd" in name:
            scan = partial(through_polars, path)
            pair = peer.beside(scan, tool="daft", path=str(path), columns=["log_time", "sequence"])
            table.append([name, f"robodf, Daft {peer.versions['daft']}", *_figures(pair)])
    report.table(HEAD, table)
    if not peer.has("daft"):
        report.say(f"Daft is left out: {peer.reason or 'that interpreter lacks it'}.\n")
    figures = [float(row[4]) for row in table if row[1] == "robodf, mcap by log time"]
    report.say(f"Least figure of `robodf, mcap by log time`: **{min(figures):.1f}** (the goal is 20).\n")


def _figures(pair: Pair) -> list[str]:
    inverse = [1 / r for r in pair.ratios]
    return [
        f"{statistics.median(pair.ours):.4f}",
        f"{statistics.median(pair.theirs):.3f}",
        f"{pair.times_faster:.1f}",
        f"{min(inverse):.1f} to {max(inverse):.1f}",
    ]


# -- typed topic ----------------------------------------------------------------------------------------------


def typed(path: Path) -> pl.DataFrame:
    return rd.read_mcap(path, "/imu").collect()


def typed_three(path: Path) -> pl.DataFrame:
    return rd.read_mcap(path, "/imu").select("log_time", "linear_acceleration").collect()


def typed_official(path: Path) -> list[tuple]:
    rows = []
    for m in read_ros2_messages(path, topics=["/imu"]):
        v = m.ros_msg
        q, w, a = v.orientation, v.angular_velocity, v.linear_acceleration
        rows.append((m.log_time_ns, m.sequence_count, v.header.stamp.sec, v.header.stamp.nanosec, v.header.frame_id,
                     q.x, q.y, q.z, q.w, v.orientation_covariance, w.x, w.y, w.z, v.angular_velocity_covariance,
                     a.x, a.y, a.z, v.linear_acceleration_covariance))  # fmt: skip
    return rows


def typed_topic(report: Report, logs: dict[str, Path], rounds: int) -> None:
    report.say("## Typed topic: sensor_msgs/Imu in CDR\n")
    report.say(
        "`all columns`: `rd.read_mcap(path, '/imu').collect()`. `acceleration`: log_time and linear_acceleration "
        "alone. Against mcap-ros2-support's `read_ros2_messages`, one tuple of all fields a message. The values are "
        "compared.\n"
    )
    table = []
    for name, path in logs.items():
        _assert_same(typed(path), typed_official(path))
        for ours_name, ours in {"all columns": typed, "acceleration": typed_three}.items():
            pair = alternate(lambda: ours(path), lambda: typed_official(path), rounds, warm_up=0)  # noqa: B023 - runs at once
            table.append([name, f"{ours_name}, mcap-ros2-support", *_figures(pair)])
    report.table(HEAD, table)


def _assert_same(ours: pl.DataFrame, theirs: list[tuple]) -> None:
    assert ours["log_time"].cast(pl.Int64).to_list() == [r[0] for r in theirs]
    assert ours["sequence"].to_list() == [r[1] for r in theirs]
    assert ours["orientation"].struct.field("w").to_list() == [r[8] for r in theirs]
    assert ours["linear_acceleration"].struct.field("z").to_list() == [r[16] for r in theirs]


# -- a second out of a long log -------------------------------------------------------------------------------


def one_second(report: Report, seconds: int, rounds: int) -> None:
    path = camera_log(seconds)
    size = path.stat().st_size
    report.say(f"## One second of /imu out of {seconds} seconds with a camera ({human(size)})\n")
    start = START + seconds // 2 * 1_000_000_000
    end = start + 1_000_000_000

    def ours() -> pl.DataFrame:
        return rd.read_mcap(path, "/imu", start=start, end=end).select("log_time", "linear_acceleration").collect()

    def theirs() -> list:
        found = read_ros2_messages(path, topics=["/imu"], start_time=start, end_time=end)
        return [(m.log_time_ns, m.ros_msg.linear_acceleration) for m in found]

    ours()  # the summary of a file is read once in a process
    before = read.bytes
    found = ours()
    touched = read.bytes - before
    assert found.height == len(theirs()), (found.height, len(theirs()))
    pair = alternate(ours, theirs, rounds)
    report.say(
        f"{found.height} rows; {touched:,} of {size:,} bytes read ({touched / size:.2%}); the summary, read once in a "
        "process, is not in this.\n"
    )
    report.table(HEAD, [["camera", "one second, mcap-ros2-support", *_figures(pair)]])


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--peers", help="the Python that has the peers")
    options = arguments(__doc__, parents=[parser], messages=0, rounds=0)
    messages = options.messages or (200_000 if options.full else 40_000)
    rounds = options.rounds or (5 if options.full else 3)
    report = Report("mcap", "Reading MCAP logs", options)
    peer = Peer(options.peers)
    logs = {f"{messages:,} small, {c}": small_messages(messages, c) for c in ("zstd", "lz4", "none")}
    real = SHARED / "mcap" / "pj_test_large_file.mcap"
    with rd.config(progress=False):
        index_scan(report, logs | ({real.name: real} if real.exists() else {}), rounds, peer)
        if not real.exists():
            report.say(f"{real.name} is left out: there is no {SHARED}.\n")
        typed_topic(report, {name: path for name, path in logs.items() if "zstd" in name}, rounds)
        one_second(report, 120 if options.full else 20, rounds)
    peer.end()
    report.end()


if __name__ == "__main__":
    main()
