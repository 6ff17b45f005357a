"""What benchmarks/ray.py asks: the data, the right answers by another way, and the comparison with them.

Tables: `big` is Parquet of 64 bytes a row in memory, keys uniform over 2 million; `small` has 2 million rows of which
100,000 keys are not in `big`, and as many of `big` not in it. Logs: a fleet of robots, each with /imu at 400 Hz and
/joints at 200 Hz for two minutes; beside each log stands what was written to it, as Parquet, so that the right answers
need no reader of logs.
"""

from __future__ import annotations

import os
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from benchmarks.recordings import _IMU_SCHEMA, START, imu_cdr
from robodf.io.mcap.writer import McapWriter

KEYS = 2_000_000
ROW_BYTES = 64
FILE_ROWS = 4_000_000
GROUP_ROWS = 500_000
SECONDS = 120
LOG_BYTES = 25_000_000  # of one log before compression
TICK = 20_000_000  # ns: 50 Hz
FROM, TO = START + 30_000_000_000, START + 100_000_000_000
_JOINTS = tuple(f"arm_joint_{k}" for k in range(7))

JOINT_SCHEMA = b"""\
std_msgs/Header header
string[] name
float64[] position
float64[] velocity
float64[] effort
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""


# -- data -----------------------------------------------------------------------------------------------------


def make_tables(folder: Path, gigabytes: float) -> dict[str, Any]:
    """`big/` in at least four files and `small/`, zstd; the paths and counts of rows."""
    rows = int(gigabytes * 1e9) // ROW_BYTES
    files = max(4, -(-rows // FILE_ROWS))
    ends = [rows * k // files for k in range(files + 1)]
    big, small = folder / "big", folder / "small"
    big.mkdir()
    small.mkdir()
    for number, (first, end) in enumerate(pairwise(ends)):
        rng = np.random.default_rng(number)
        n = end - first
        pl.DataFrame({
            "key": rng.integers(0, KEYS, n),
            "robot": "robot-" + pl.Series(rng.integers(0, 40, n)).cast(pl.String).str.zfill(2),
            "time": pl.Series(START + np.arange(first, end) * 1_000_000).cast(pl.Datetime("ns")),
            "amount": rng.integers(0, 1000, n),
            "value": rng.gamma(2.0, 1.5, n),
            "x": rng.normal(0, 1, n).round(4), "y": rng.normal(0, 1, n).round(4), "z": rng.normal(0, 1, n).round(4),
        }).write_parquet(big / f"part-{number:05d}.parquet", row_group_size=GROUP_ROWS)  # fmt: skip
    rng = np.random.default_rng(99)
    pl.DataFrame({
        "key": rng.permutation(np.arange(100_000, 100_000 + KEYS)),
        "category": rng.integers(0, 1000, KEYS),
        "weight": rng.gamma(2.0, 0.5, KEYS),
    }).write_parquet(small / "part-00000.parquet", row_group_size=GROUP_ROWS)  # fmt: skip
    return {"big": str(big), "small": str(small), "big_rows": rows, "big_files": files}


def make_logs(folder: Path, logs: int) -> dict[str, Any]:
    """`logs/*.mcap` and `truth/*.parquet`, one of each a robot."""
    (folder / "logs").mkdir()
    (folder / "truth").mkdir()
    paths = []
    for number in range(logs):
        rng = np.random.default_rng(1000 + number)
        begin = START + number * 137_000_019
        imu = begin + np.arange(SECONDS * 400, dtype=np.int64) * 2_500_000
        joints = begin + 61_000 + np.arange(SECONDS * 200, dtype=np.int64) * 5_000_000
        gyro, push = rng.normal(0, 1, (len(imu), 3)), rng.normal(0, 3, (len(imu), 3))
        states = rng.normal(0, 1, (len(joints), 21))
        name = f"robot-{number:04d}"
        _write_log(folder / "logs" / f"{name}.mcap", imu, np.hstack([gyro, push]), joints, states)
        pl.DataFrame({
            "recording": pl.repeat(name, len(imu), eager=True), "log_time": pl.Series(imu).cast(pl.Datetime("ns")),
            "gz": gyro[:, 2], "ax": push[:, 0], "ay": push[:, 1], "az": push[:, 2],
        }).write_parquet(folder / "truth" / f"imu-{number:04d}.parquet")  # fmt: skip
        pl.DataFrame({
            "recording": pl.repeat(name, len(joints), eager=True),
            "log_time": pl.Series(joints).cast(pl.Datetime("ns")), "elbow": states[:, 3],
        }).write_parquet(folder / "truth" / f"joints-{number:04d}.parquet")  # fmt: skip
        paths.append(str(folder / "logs" / f"{name}.mcap"))
    return {"logs": paths, "from": FROM, "to": TO, "tick": TICK}


def _write_log(path: Path, imu: np.ndarray, motion: np.ndarray, joints: np.ndarray, states: np.ndarray) -> None:
    """The messages of both topics by time. Only stamps and numbers change from one to the next: bytes are copied."""
    payloads = _filled(imu_cdr(0, np.arange(10.0)), imu, motion, _offsets(imu_cdr, 10)[4:])
    payloads += _filled(_joints_cdr(0, np.arange(21.0)), joints, states, _offsets(_joints_cdr, 21))
    times = np.concatenate([imu, joints])
    with McapWriter(path, "zstd", 1 << 20, "ros2") as out:
        channels = (
            out.add_channel("/imu", "cdr", out.add_schema("sensor_msgs/msg/Imu", "ros2msg", _IMU_SCHEMA)),
            out.add_channel("/joints", "cdr", out.add_schema("sensor_msgs/msg/JointState", "ros2msg", JOINT_SCHEMA)),
        )
        for i in np.argsort(times, kind="stable").tolist():
            time, topic = int(times[i]), int(i >= len(imu))
            out.write(channels[topic], time, payloads[i], time, i - topic * len(imu))


def _filled(template: bytes, times: np.ndarray, values: np.ndarray, offsets: list[int]) -> list[bytes]:
    rows = np.tile(np.frombuffer(template, np.uint8), (len(times), 1))
    stamps = np.stack([times // 10**9, times % 10**9], axis=1).astype("<u4")
    rows[:, 4:12] = stamps.view(np.uint8)
    for k, at in enumerate(offsets):
        rows[:, at : at + 8] = np.ascontiguousarray(values[:, k]).astype("<f8").view(np.uint8).reshape(-1, 8)
    return [row.tobytes() for row in rows]


def _offsets(make: Any, count: int) -> list[int]:
    """Where each number of a message is: found by writing one that nothing else looks like."""
    return [
        make(0, np.where(np.arange(count) == k, 1.25e77, 0.0)).index(struct.pack("<d", 1.25e77)) for k in range(count)
    ]


def _joints_cdr(time: int, values: np.ndarray) -> bytes:
    """A sensor_msgs/JointState of seven joints; the values are seven positions, velocities and efforts."""
    out = bytearray(struct.pack("<iII5s3x", time // 10**9, time % 10**9, 5, b"base\0"))
    out += struct.pack("<I", len(_JOINTS))
    for name in _JOINTS:
        out += bytes(-len(out) % 4) + struct.pack("<I", len(name) + 1) + name.encode() + b"\0"
    for numbers in np.split(values, 3):
        out += bytes(-len(out) % 4) + struct.pack("<I", len(numbers))
        out += bytes(-len(out) % 8) + numbers.astype("<f8").tobytes()
    return b"\0\1\0\0" + bytes(out)


# -- the right answers ----------------------------------------------------------------------------------------

KEY = {"group": ["key"], "join": ["category"], "map": ["recording", "log_time"],
       "recordings": ["recording"], "align": ["recording", "log_time"]}  # fmt: skip


def expected(query: str, data: dict[str, Any], folder: Path) -> pl.DataFrame:
    """The rows of a query: tables by DuckDB, logs by Polars over what was written to them."""
    if query in ("group", "join"):
        with duckdb.connect() as session:
            session.execute(f"SET temp_directory = '{folder}'; SET memory_limit = '6GB'")
            session.execute(f"COPY ({_SQL[query].format(**data)}) TO '{folder}/right.parquet'")
        return pl.read_parquet(folder / "right.parquet")
    truth = folder / "truth"
    imu = pl.scan_parquet(truth / "imu-*.parquet")
    strength = (pl.col("ax") ** 2 + pl.col("ay") ** 2 + pl.col("az") ** 2).sqrt()
    if query == "map":
        time = pl.col("log_time").cast(pl.Int64)
        kept = imu.filter(time >= FROM, time < TO, strength > 2.0)
        return kept.select("recording", "log_time", strength=strength, turn=pl.col("gz") * (180 / np.pi)).collect()
    if query == "recordings":
        c = pl.col
        return (
            imu.group_by("recording")
            .agg(n=pl.len(), mean=strength.mean(), top=c("az").max(), spread=c("gz").std())
            .collect()
        )
    return _aligned(imu, pl.scan_parquet(truth / "joints-*.parquet"))


_SQL = {
    "group": """SELECT key, sum(amount)::BIGINT AS total, avg(value) AS mean, count(*) AS n
                FROM '{big}/*.parquet' GROUP BY key""",
    "join": """SELECT category, sum(amount)::BIGINT AS total, sum(value * weight) AS weighted, count(*) AS n
               FROM '{big}/*.parquet' JOIN '{small}/*.parquet' USING (key) GROUP BY category""",
}


def _aligned(imu: pl.LazyFrame, joints: pl.LazyFrame) -> pl.DataFrame:
    """At each multiple of 20 ms the last samples of both topics that are at most 20 ms old."""
    samples = {"imu": imu.select("recording", "log_time", "az"),
               "joints": joints.select("recording", "log_time", "elbow")}  # fmt: skip
    ends = pl.concat([s.select("recording", "log_time") for s in samples.values()]).group_by("recording").agg(
        first=pl.col("log_time").min().cast(pl.Int64), last=pl.col("log_time").max().cast(pl.Int64))  # fmt: skip
    ticks = ends.select(
        "recording", log_time=pl.int_ranges(-(-pl.col("first") // TICK) * TICK, pl.col("last") + TICK + 1, TICK)
    )
    aligned = ticks.explode("log_time").with_columns(pl.col("log_time").cast(pl.Datetime("ns"))).sort("log_time")
    for name, frame in samples.items():
        renamed = frame.rename(lambda c, name=name: c if c in ("recording", "log_time") else f"{name}.{c}")
        aligned = aligned.join_asof(renamed.sort("log_time"), on="log_time", by="recording", tolerance=f"{TICK}ns",
                                    check_sortedness=False)  # fmt: skip
    return aligned.filter(pl.col("imu.az").is_not_null() | pl.col("joints.elbow").is_not_null()).collect()


# -- the comparison -------------------------------------------------------------------------------------------


def differs(query: str, right: pl.DataFrame, path: Path) -> str:
    """How the rows in a Parquet file or folder differ from the right ones, in words; empty where they do not.

    Rows are matched by the key of the query, each once. Integers, texts and times are equal, floats up to 1e-9.
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    if not files:
        return "nothing written"
    found = pl.read_parquet(files)
    if sorted(found.columns) != sorted(right.columns):
        return f"columns {found.columns}"
    if found.height != right.height:
        return f"{found.height:,} rows of {right.height:,}"
    found, right = (_plain(frame).sort(KEY[query]) for frame in (found.select(right.columns), right))
    for name in right.columns:
        a, b = found[name], right[name]
        if a.dtype != b.dtype:
            return f"{name} is {a.dtype}"
        if b.dtype == pl.Float64:
            off = ((a - b).abs() > 1e-9 * b.abs()).fill_null(True)
            off = off & ~(a.is_null() & b.is_null())
        else:
            off = a.ne_missing(b)
        if off.any():
            return f"{name}: {int(off.sum()):,} values of {right.height:,}"
    return ""


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """One type for each kind: what counts comes back as Int64 from one and as UInt32 from another."""
    casts = {
        name: pl.Int64 if dtype.is_integer() else pl.Datetime("ns")
        for name, dtype in frame.schema.items()
        if dtype.is_integer() or isinstance(dtype, pl.Datetime)
    }
    return frame.cast(casts)  # type: ignore[arg-type]


def size_of(folder: str | os.PathLike[str]) -> int:
    """Bytes of the files in a folder."""
    return sum(f.stat().st_size for f in Path(folder).iterdir())
