"""What the other libraries do with a log: run by the interpreter that has them, see peers.py.

Each function takes the job and gives the number of rows. What it makes of the messages is what its library makes of
them: Arrow tables or batches, a pandas frame, or for readers that decode nothing the bytes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

PACKAGES = ("daft", "ray", "rerun-sdk", "datafusion", "pandas", "mcap-ros2-support", "rosbags", "rosbags-dataframe",
            "opencv-python-headless", "torchcodec")  # fmt: skip


def daft(job: dict) -> int:
    import daft  # pyright: ignore[reportMissingImports] - of the other interpreter

    frame = daft.read_mcap(job["path"], topics=job.get("topics"))
    return frame.select(*job["columns"]).to_arrow().num_rows


def ray(job: dict) -> int:
    import ray  # pyright: ignore[reportMissingImports]

    if not ray.is_initialized():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
    found = ray.data.read_mcap(job["path"], topics=set(job["topics"])).select_columns(job["columns"])
    return sum(ray.get(ref).num_rows for ref in found.to_arrow_refs())


def rerun(job: dict) -> int:
    from rerun.chunk import McapReader  # pyright: ignore[reportMissingImports]

    reader = McapReader(job["path"], include_topic_regex=[f"^{topic}$" for topic in job["topics"]])
    batches = [chunk.to_record_batch() for chunk in reader.stream().to_chunks() if not chunk.is_static]
    return (
        max((b.num_rows for b in batches if b.num_rows), default=0)
        if len(batches) == 1
        else sum(b.num_rows for b in batches if any("message" in name for name in b.schema.names))
    )


def rosbags(job: dict) -> int:
    """Every field of every message through rosbags' decoder, column lists, then Arrow."""
    import pyarrow as pa
    from rosbags.highlevel import AnyReader

    with AnyReader([Path(job["path"])]) as reader:
        connections = [c for c in reader.connections if c.topic in job["topics"]]
        rows = []
        for connection, at, raw in reader.messages(connections=connections):
            rows.append({"log_time": at, **plain(reader.deserialize(raw, connection.msgtype))})
    return pa.Table.from_pylist(rows).num_rows


def mcap_ros2(job: dict) -> int:
    """Every field of every message through mcap-ros2-support, rows, then Arrow."""
    import pyarrow as pa
    from mcap_ros2.reader import read_ros2_messages

    rows = []
    for m in read_ros2_messages(job["path"], topics=job["topics"]):
        rows.append({"log_time": m.log_time_ns, **plain(m.ros_msg)})
    return pa.Table.from_pylist(rows).num_rows


def plain(message: Any) -> dict[str, Any]:
    """A decoded message as Arrow takes it: dicts, lists, bytes."""
    names = getattr(message, "__slots__", None) or getattr(message, "__dataclass_fields__", None) or vars(message)
    return {name: _value(getattr(message, name)) for name in names if not name.startswith("__")}


def _value(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray):
        return value.tobytes() if value.dtype == np.uint8 else value
    if isinstance(value, (int, float, str, bytes, bool)):
        return value
    if isinstance(value, memoryview):
        return value.tobytes()
    if isinstance(value, (list, tuple)):
        return [_value(v) for v in value]
    return plain(value)


def rosbags_dataframe(job: dict) -> int:
    from rosbags.dataframe import get_dataframe  # pyright: ignore[reportMissingImports]
    from rosbags.highlevel import AnyReader

    with AnyReader([Path(job["path"])]) as reader:
        return len(get_dataframe(reader, job["topics"][0], job["keys"]))


def pandas_align(job: dict) -> int:
    """Topics to a clock by pandas' merge_asof, the scalar fields read by rosbags, to Parquet."""
    import numpy as np
    import pandas as pd
    from rosbags.highlevel import AnyReader

    frames = {}
    with AnyReader([Path(job["path"])]) as reader:
        for topic, keys in job["fields"].items():
            connections = [c for c in reader.connections if c.topic == topic]
            paths = [key.split(".") for key in keys]
            times, rows = [], []
            for connection, at, raw in reader.messages(
                connections=connections, start=job.get("start"), stop=job.get("end")
            ):
                message = reader.deserialize(raw, connection.msgtype)
                times.append(at)
                rows.append([_dig(message, path) for path in paths])
            frame = pd.DataFrame(rows, columns=[f"{topic}.{key}" for key in keys])
            frame["log_time"] = np.array(times, dtype="datetime64[ns]")
            frames[topic] = frame
    clock = pd.DataFrame({"log_time": np.array(job["ticks"], dtype="int64").view("datetime64[ns]")})
    if job["ticks"] == []:
        first = min(f["log_time"].iloc[0] for f in frames.values()).value
        last = max(f["log_time"].iloc[-1] for f in frames.values()).value
        period = job["period"]
        ticks = np.arange(-(-first // period) * period, last + 1, period)
        clock = pd.DataFrame({"log_time": ticks.view("datetime64[ns]")})
    for frame in frames.values():
        clock = pd.merge_asof(clock, frame, on="log_time", tolerance=timedelta(milliseconds=job["tolerance_ms"]))
    clock.to_parquet(job["out"])
    return len(clock)


def _dig(message: Any, path: list[str]) -> Any:
    for name in path:
        message = getattr(message, name)
    return message


def rerun_align(job: dict) -> int:
    """Rerun's latest-at at each tick, to Parquet."""
    import numpy as np
    import pyarrow.parquet as pq
    from rerun.chunk import McapReader  # pyright: ignore[reportMissingImports]

    reader = McapReader(
        job["path"], include_topic_regex=[f"^{topic}$" for topic in job["fields"]],
        start_time_ns=job.get("start"), end_time_ns=job.get("end"),
    )  # fmt: skip
    first, last = job.get("start"), job.get("end")
    if first is None:
        first, last = reader.time_bounds()
    period = job["period"]
    ticks = np.arange(-(-first // period) * period, last, period).view("datetime64[ns]")
    store = reader.stream().collect()
    table = store.reader(index="message_log_time", using_index_values=ticks, fill_latest_at=True).to_arrow_table()
    wanted = [n for n in table.schema.names if n == "message_log_time" or n.endswith(":message")]
    pq.write_table(table.select(wanted), job["out"])
    return table.num_rows


def opencv_video(job: dict) -> int:
    """Frames grabbed in a row, those that are wanted made pictures in RGB."""
    import cv2  # pyright: ignore[reportMissingImports]

    reader = cv2.VideoCapture(job["path"])
    wanted = set(job["frames"]) if job["frames"] is not None else None
    kept = []
    for number in range(10**9):
        if (wanted is not None and number > job["frames"][-1]) or not reader.grab():
            break
        if wanted is None or number in wanted:
            kept.append(cv2.cvtColor(reader.retrieve()[1], cv2.COLOR_BGR2RGB))
    return len(kept)


def torchcodec_video(job: dict) -> int:
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports]

    decoder = VideoDecoder(job["path"], dimension_order="NHWC", num_ffmpeg_threads=0, stream_index=job["stream"])
    if job["frames"] is None:
        return len(decoder.get_frames_in_range(0, len(decoder)).data)
    return len(decoder.get_frames_at(job["frames"]).data)


def daft_video(job: dict) -> int:
    import daft  # pyright: ignore[reportMissingImports] - of the other interpreter
    from daft import col  # pyright: ignore[reportMissingImports]

    height, width = job["size"]
    frame = daft.read_video_frames(job["path"], height, width, sample_interval_seconds=job.get("interval"))
    if job["frames"] is not None and not job.get("interval"):
        frame = frame.where(col("frame_index").is_in(job["frames"]))
    return frame.select("data").to_arrow().num_rows


JOBS = {
    "opencv_video": opencv_video,
    "torchcodec_video": torchcodec_video,
    "daft_video": daft_video,
    "daft": daft,
    "ray": ray,
    "rerun": rerun,
    "rosbags": rosbags,
    "mcap_ros2": mcap_ros2,
    "rosbags_dataframe": rosbags_dataframe,
    "pandas_align": pandas_align,
    "rerun_align": rerun_align,
}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _serve() -> None:
    found = {package: _version(package) for package in PACKAGES}
    answers = sys.stdout
    print(json.dumps({p: v for p, v in found.items() if v}), flush=True)
    with contextlib.redirect_stdout(sys.stderr):  # libraries print progress, and answers are lines
        for line in sys.stdin:
            job = json.loads(line)
            started, cpu = time.perf_counter(), time.process_time()
            try:
                rows = JOBS[job["tool"]](job)
                elapsed = time.perf_counter() - started
                answer = {"seconds": elapsed, "cpu": time.process_time() - cpu, "rows": rows}
            except Exception as error:  # noqa: BLE001 - whatever a library raises is told to the benchmark
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
