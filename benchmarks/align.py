"""Half an hour of a robot to a 50 Hz table in Parquet: `rd.align` beside pandas over rosbags, and Rerun's latest-at."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

import robodf as rd
from benchmarks.measure import Pair, Report, alternate, arguments, human
from benchmarks.peers import Peer
from benchmarks.recordings import START, robot_log
from robodf.io.counting import read

HEAD = ["what", "against", "ours, s", "theirs, s", "times faster", "least to greatest"]
PERIOD = 20_000_000  # ns
TOLERANCE = 100  # ms
MINUTE = 60 * 1_000_000_000
FIELDS = {
    "/imu": ["orientation.x", "orientation.y", "orientation.z", "orientation.w", "angular_velocity.x",
             "angular_velocity.y", "angular_velocity.z", "linear_acceleration.x", "linear_acceleration.y",
             "linear_acceleration.z"],
    "/joints": ["position", "velocity"],
    "/odom": ["pose.pose.position.x", "pose.pose.position.y", "twist.twist.linear.x", "twist.twist.angular.z"],
    "/camera": ["stamp.sec"],
}  # fmt: skip


def aligned(path: Path) -> rd.PipelineDataFrame:
    """The fields of each topic on a 50 Hz clock."""
    log = rd.open_log(path)
    imu = log["/imu"].select("recording", "log_time", *_fields("/imu"))
    joints = log["/joints"].select("recording", "log_time", "position", "velocity")
    odom = log["/odom"].select("recording", "log_time", *_fields("/odom"))
    camera = log["/camera"].select("recording", "log_time", "stamp")
    return rd.align(
        {"imu": imu, "joints": joints, "odom": odom, "camera": camera}, clock="50hz", tolerance=f"{TOLERANCE}ms"
    )


def _fields(topic: str) -> list[Any]:
    made = []
    for path in FIELDS[topic]:
        first, *rest = path.split(".")
        column = rd.col(first)
        for name in rest:
            column = column.struct.field(name)
        made.append(column.alias(path.replace(".", "_")))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--peers", help="the Python that has the peers, see peers.py")
    options = arguments(__doc__, parents=[parser], rounds=0, minutes=0)
    minutes = options.minutes or (30 if options.full else 2)
    rounds = options.rounds or 3
    report = Report("align", f"{minutes} minutes of a robot to a 50 Hz table", options)
    peer = Peer(options.peers)
    path = robot_log(minutes)
    report.say(
        f"{human(path.stat().st_size)} of MCAP: /imu at 400 Hz, /joints (14) at 200 Hz, /odom at 50 Hz, /camera stamps "
        f"at 30 Hz. `rd.align(..., clock='50hz', tolerance='{TOLERANCE}ms').to_parquet(...)` with the last sample of "
        f"each. pandas: rosbags' decoder, a frame of the same fields for each topic, `merge_asof` one after the other, "
        "Parquet. Rerun: its MCAP reader, its store, latest-at of whole messages without a tolerance, Parquet.\n"
    )
    with tempfile.TemporaryDirectory() as folder, rd.config(progress=False):
        _compare(report, path, minutes, Path(folder), rounds, peer)
    peer.end()
    report.end()


def _compare(report: Report, path: Path, minutes: int, folder: Path, rounds: int, peer: Peer) -> None:
    out = folder / "ours.parquet"

    def whole() -> Any:
        return aligned(path).to_parquet(out, mode="overwrite")

    def minute() -> Any:
        return aligned(path).time_range(start, end).to_parquet(out, mode="overwrite")

    start = START + minutes // 2 * MINUTE
    end = start + MINUTE
    window = (pl.lit(start).cast(pl.Datetime("ns")), pl.lit(end).cast(pl.Datetime("ns")))
    whole()
    table = pl.read_parquet(out)
    before = read.bytes
    minute()
    touched, size = read.bytes - before, path.stat().st_size
    part = pl.read_parquet(out)
    assert part.equals(table.filter(pl.col("log_time") >= window[0], pl.col("log_time") < window[1]))
    job = {"path": str(path), "fields": FIELDS, "period": PERIOD, "tolerance_ms": TOLERANCE, "ticks": []}
    rows = []
    if peer.has("pandas", "rosbags"):
        theirs = folder / "pandas.parquet"
        found = peer.run(tool="pandas_align", out=str(theirs), **job)
        _assert_same(table, pl.read_parquet(theirs), found["rows"])
        pair = peer.beside(whole, 1, tool="pandas_align", out=str(theirs), **job)
        rows.append(["all", "pandas over rosbags", *_figures(pair)])
        low, high = start - TOLERANCE * 1_000_000, end
        pair = peer.beside(minute, rounds, tool="pandas_align", out=str(theirs),
                           **{**job, "start": low, "end": high})  # fmt: skip
        rows.append(["one minute", "pandas over rosbags, which reads that minute alone", *_figures(pair)])
    if peer.has("rerun-sdk", "datafusion"):
        name = f"Rerun {peer.versions['rerun-sdk']}"
        pair = peer.beside(whole, rounds, tool="rerun_align", out=str(folder / "rerun.parquet"), **job)
        rows.append(["all", name, *_figures(pair)])
        pair = peer.beside(minute, rounds, tool="rerun_align", out=str(folder / "rerun.parquet"),
                           **{**job, "start": start, "end": end})  # fmt: skip
        rows.append(["one minute", f"{name}, of that minute alone", *_figures(pair)])
    pair = alternate(minute, whole, rounds)
    rows.append(["one minute", "robodf, all of it", *_figures(pair)])
    report.say(f"{table.height:,} rows, {table.width} columns.\n")
    report.table(HEAD, rows)
    report.say(
        f"A filter on one minute: {part.height:,} rows, {touched:,} of {size:,} bytes read ({touched / size:.1%}; a "
        f"minute is {1 / minutes:.1%} of the log).\n"
    )
    if not peer:
        report.say(f"pandas over rosbags and Rerun are left out: {peer.reason}.\n")


def _assert_same(ours: pl.DataFrame, theirs: pl.DataFrame, rows: int) -> None:
    """The two tables say the same at the same times."""
    assert rows == theirs.height
    both = ours.join(theirs.with_columns(pl.col("log_time").cast(pl.Datetime("ns"))), on="log_time", how="inner")
    assert both.height >= 0.99 * ours.height, (both.height, ours.height)
    for mine, other in (("imu.orientation_x", "/imu.orientation.x"), ("odom.twist_twist_linear_x",
                        "/odom.twist.twist.linear.x"), ("joints.position", "/joints.position")):  # fmt: skip
        a, b = both[mine], both[other]
        assert a.cast(b.dtype).equals(b), mine


def _figures(pair: Pair) -> list[str]:
    inverse = [1 / r for r in pair.ratios]
    return [
        f"{statistics.median(pair.ours):.3f}",
        f"{statistics.median(pair.theirs):.2f}",
        f"{pair.times_faster:.1f}",
        f"{min(inverse):.1f} to {max(inverse):.1f}",
    ]


if __name__ == "__main__":
    main()
