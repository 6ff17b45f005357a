"""Whole topics to Arrow: Imu, JointState, TF and PointCloud2 beside the other readers of MCAP."""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

import robodf as rd
from benchmarks.measure import DATA, Pair, Report, alternate, arguments, human
from benchmarks.peers import Peer
from benchmarks.recordings import topic_log
from benchmarks.rivals import mcap_ros2, rosbags

HEAD = ["topic", "against", "ours, s", "theirs, s", "times faster", "least to greatest"]
TOPIC = "/data"
SCALARS = {
    "imu": ["orientation.x", "orientation.y", "orientation.z", "orientation.w", "linear_acceleration.x",
            "linear_acceleration.y", "linear_acceleration.z"],
}  # fmt: skip
GOALS = {"imu": 50, "joints": 10, "tf": 10, "cloud": 10}


def decoded(path: Path) -> pl.DataFrame:
    """Every column of the topic."""
    return rd.read_log(path, TOPIC).collect()


def raw(path: Path) -> pl.DataFrame:
    """The bytes of the messages, for readers that decode nothing."""
    return rd.read_log(path).filter(rd.col("topic") == TOPIC).select("topic", "log_time", "data").collect()


def scalars(path: Path, keys: list[str]) -> pl.DataFrame:
    """Some numbers of each message."""
    columns = [rd.col(k.split(".")[0]).struct.field(k.split(".")[1]).alias(k) for k in keys]
    return rd.read_log(path, TOPIC).select("log_time", *columns).collect()


def beside(report: Report, kinds: dict[str, int], rounds: int, peer: Peer) -> dict[str, float]:
    """A table of all peers; for each kind how many times faster than rosbags."""
    rows, faster = [], {}
    for kind, messages in kinds.items():
        path = topic_log(kind, messages)
        ours = partial(decoded, path)
        job = {"path": str(path), "topics": [TOPIC]}
        assert decoded(path).height == messages == rosbags(job) == mcap_ros2(job)
        name = f"{kind}, {messages:,} ({human(path.stat().st_size)})"
        pair = alternate(ours, partial(rosbags, job), rounds, warm_up=0)
        faster[kind] = pair.times_faster
        rows.append([name, "rosbags", *_figures(pair)])
        pair = alternate(ours, partial(mcap_ros2, job), rounds, warm_up=0)
        rows.append([name, "mcap-ros2-support", *_figures(pair)])
        if peer.has("rerun-sdk"):
            pair = peer.beside(ours, rounds, tool="rerun", **job)
            rows.append([name, f"Rerun {peer.versions['rerun-sdk']}", *_figures(pair)])
        if peer.has("rosbags-dataframe") and kind in SCALARS:
            some = partial(scalars, path, SCALARS[kind])
            pair = peer.beside(some, rounds, tool="rosbags_dataframe", keys=SCALARS[kind], **job)
            rows.append([name, "rosbags-dataframe, 7 numbers", *_figures(pair)])
        bytes_only = partial(raw, path)
        if peer.has("daft"):
            pair = peer.beside(bytes_only, rounds, tool="daft", columns=["topic", "log_time", "data"], **job)
            rows.append([name, f"Daft {peer.versions['daft']}, bytes", *_figures(pair)])
        if peer.has("ray"):
            pair = peer.beside(bytes_only, rounds, tool="ray", columns=["topic", "log_time", "data"], **job)
            rows.append([name, f"Ray {peer.versions['ray']}, bytes", *_figures(pair)])
    report.table(HEAD, rows)
    return faster


def other_containers(report: Report, messages: int, rounds: int) -> None:
    """The same Imu messages in a ROS 1 bag and in a ROS 2 database, beside rosbags."""
    rows = []
    for name, path in {"ROS 1 .bag": imu_bag(messages), "ROS 2 .db3": imu_database(messages)}.items():
        job = {"path": str(path), "topics": [TOPIC]}
        assert decoded(path).height == messages == rosbags(job)
        pair = alternate(partial(decoded, path), partial(rosbags, job), rounds, warm_up=0)
        rows.append([f"imu, {messages:,} in a {name}", "rosbags", *_figures(pair)])
    report.table(HEAD, rows)


def imu_bag(messages: int) -> Path:
    """The Imu messages of `topic_log` in a ROS 1 bag of lz4 chunks."""
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    path = DATA / f"imu-{messages}.bag"
    if not path.exists():
        one, two = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_HUMBLE)
        name = "sensor_msgs/msg/Imu"
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        writer = Writer(part)
        writer.set_compression(Writer.CompressionFormat.LZ4)
        with writer as out:
            connection = out.add_connection(TOPIC, name, typestore=one)
            for at, data in _imu_messages(messages):
                out.write(connection, at, _as_ros1(one, two, data))
        part.rename(path)
    return path


def _as_ros1(one: Any, two: Any, data: bytes) -> bytes:
    """A ROS 2 Imu as ROS 1 writes it: its header has a number."""
    imu = two.deserialize_cdr(data, "sensor_msgs/msg/Imu")
    types = one.types
    stamp = types["builtin_interfaces/msg/Time"](imu.header.stamp.sec, imu.header.stamp.nanosec)
    imu.header = types["std_msgs/msg/Header"](seq=0, stamp=stamp, frame_id=imu.header.frame_id)
    return bytes(one.serialize_ros1(imu, "sensor_msgs/msg/Imu"))


def imu_database(messages: int) -> Path:
    """The Imu messages of `topic_log` in a ROS 2 bag of one database."""
    import shutil

    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    path = DATA / f"imu-{messages}-db3"
    if not path.exists():
        part = path.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        with Writer(part, version=9, storage_plugin=StoragePlugin.SQLITE3) as out:
            store = get_typestore(Stores.ROS2_HUMBLE)
            connection = out.add_connection(TOPIC, "sensor_msgs/msg/Imu", typestore=store)
            for at, data in _imu_messages(messages):
                out.write(connection, at, data)
        part.rename(path)
    return path


def _imu_messages(messages: int) -> list[tuple[int, bytes]]:
    frame = rd.read_log(topic_log("imu", messages)).select("log_time", "data").collect()
    return list(zip(frame["log_time"].cast(pl.Int64).to_list(), frame["data"].to_list()))


def _figures(pair: Pair) -> list[str]:
    inverse = [1 / r for r in pair.ratios]
    return [
        f"{statistics.median(pair.ours):.4f}",
        f"{statistics.median(pair.theirs):.3f}",
        f"{pair.times_faster:.1f}",
        f"{min(inverse):.1f} to {max(inverse):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--peers", help="the Python that has the peers, see peers.py")
    options = arguments(__doc__, parents=[parser], rounds=0)
    rounds = options.rounds or (5 if options.full else 3)
    scale = 10 if options.full else 1
    kinds = {"imu": 5_000 * scale, "joints": 2_000 * scale, "tf": 2_000 * scale, "cloud": 60 * scale}
    report = Report("logs", "Whole topics of logs to Arrow", options)
    peer = Peer(options.peers)
    report.say(
        "`rd.read_log(path, topic).collect()`: every field of every message in Arrow columns. rosbags and "
        "mcap-ros2-support: their decoder, dicts, `pyarrow.Table.from_pylist`. Rerun: its reader's record batches. "
        "rosbags-dataframe gives chosen numbers, ours the same ones. Daft and Ray decode nothing: ours gives the bytes "
        "too. From the path to the rows, one after the other on the same machine.\n"
    )
    with rd.config(progress=False):
        faster = beside(report, kinds, rounds, peer)
        other_containers(report, kinds["imu"], rounds)
    if peer:
        report.say(f"The peers: {', '.join(f'{p} {v}' for p, v in peer.versions.items())}.\n")
    else:
        report.say(f"Rerun, rosbags-dataframe, Daft and Ray are left out: {peer.reason}.\n")
    for kind, times in faster.items():
        report.say(f"{kind}: **{times:.0f} times** rosbags (the goal is {GOALS[kind]}).")
    peer.end()
    report.end()


if __name__ == "__main__":
    main()
