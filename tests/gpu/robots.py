"""What robots' recordings are asked, over small logs and over tables that say that they are large."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from sized import sized

import robodf as rd
from robodf import PipelineDataFrame as Frame
from robodf import col
from robodf.images.layout import to_column

sys.path.insert(0, str(Path(__file__).parents[1] / "physical"))
from cut_plans import SECOND, START, write_log

_TIME = pl.Datetime("ns")

FRAMES = {"recording": pl.String(), "time": _TIME, "camera": pl.String(), "width": pl.Int32(), "height": pl.Int32(),
          "blur": pl.Float32(), "speed": pl.Float64(), "image": pl.Binary()}  # fmt: skip
EPISODES = {"episode_index": pl.Int64(), "frame_index": pl.Int64(), "timestamp": pl.Float32(), "task_index": pl.Int64(),
            "reward": pl.Float32(), "action": pl.List(pl.Float32()), "state": pl.Array(pl.Float32(), 7)}  # fmt: skip
CAPTIONS = {"id": pl.Int64(), "episode": pl.Int64(), "text": pl.String(), "score": pl.Float64()}
IMU = {"recording": pl.String(), "log_time": _TIME, "ax": pl.Float64(), "ay": pl.Float64(), "az": pl.Float64()}


def inputs(folder: Path) -> dict[str, Frame]:
    """Two recordings as logs, a short video, and tables: 200 million frames, steps and captions, 2 billion samples."""
    for k, name in enumerate("ab"):
        if not (folder / f"{name}.mcap").exists():
            write_log(folder / f"{name}.mcap", START + k * 3600 * SECOND, 100, (("/imu", 1), ("/cam", 5)))
    if not (folder / "top.mp4").exists():
        images = to_column([np.full((16, 16, 3), 8 * k, np.uint8) for k in range(20)])
        rd.from_dict({"frame": images}).to_video(folder / "top.mp4", fps=10, codec="mjpeg")
    logs = str(folder / "*.mcap")
    return {
        "imu_log": rd.read_log(logs, topic="/imu"),
        "cam_log": rd.read_log(logs, topic="/cam"),
        "video": rd.read_video(folder / "top.mp4"),
        "frames": sized(folder / "frames.parquet", FRAMES, 200_000_000, 8_000_000_000_000),
        "steps": sized(folder / "steps.parquet", EPISODES, 200_000_000, 16_000_000_000),
        "captions": sized(folder / "captions.parquet", CAPTIONS, 200_000_000, 20_000_000_000),
        "imu": sized(folder / "imu.parquet", IMU, 2_000_000_000, 50_000_000_000),
    }


def model(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


Inputs = Mapping[str, Frame]

QUERIES: dict[str, Callable[[Inputs], Frame]] = {
    "log_features": lambda t: (
        t["imu_log"]
        .filter(col("x") > 1)
        .with_columns(square=col("x") * col("x"))
        .group_by("recording")
        .agg(col("square").mean())
    ),
    "aligned": lambda t: rd.align({"imu": t["imu_log"], "cam": t["cam_log"]}, "cam", tolerance="50ms").filter(
        col("imu.x") > 0
    ),
    "asof": lambda t: t["cam_log"].join_asof(t["imu_log"], on="log_time", by="recording").sort("log_time"),
    "sharp_frames": lambda t: (
        t["frames"]
        .filter(col("blur") < 0.1, col("camera") == "front")
        .group_by("recording")
        .agg(n=rd.len(), speed=col("speed").mean())
    ),
    "sharp_frames_with_images": lambda t: t["frames"].filter(col("blur") < 0.1).sort("time").select("time", "image"),
    "rewarded_frames": lambda t: (
        t["video"]
        .filter(col("key_frame"))
        .join(t["steps"].filter(col("reward") > 0.5), on="frame_index")
        .sort("reward", descending=True)
        .head(100)
        .select("frame_index", "reward", "frame")
    ),
    "frames_of_tasks": lambda t: (
        t["video"]
        .join(t["steps"], on="frame_index")
        .group_by("task_index")
        .agg(frames=rd.len(), last=col("frame_time").max())
        .sort("task_index")
    ),
    "episodes": lambda t: (
        t["steps"]
        .group_by("episode_index")
        .agg(steps=rd.len(), last=col("timestamp").sum(), total=col("reward").sum())
        .sort("episode_index")
    ),
    "actions": lambda t: t["steps"].with_columns(most=col("action").list.max()).filter(col("most") > 0.5),
    "captions_alike": lambda t: t["captions"].filter(col("score") > 0.5).dedup("text", method="fuzzy").sort("id"),
    "captions_once": lambda t: t["captions"].unique("text", keep="first", maintain_order=True).filter(col("score") > 0),
    "captions_of_episodes": lambda t: (
        t["captions"]
        .join(t["steps"].group_by("episode_index").agg(steps=rd.len()), left_on="episode", right_on="episode_index")
        .filter(col("text").str.contains("pick.*up"))
    ),
    "scored_by_a_model": lambda t: t["captions"].map_batches(model).sort("score"),
    "shaken": lambda t: (
        t["imu"]
        .with_columns(a=(col("ax") ** 2 + col("ay") ** 2 + col("az") ** 2).sqrt())
        .filter(col("a") > 20.0)
        .group_by("recording")
        .agg(n=rd.len())
    ),
    "windows": lambda t: t["imu"].sort("log_time").group_by_dynamic("log_time", every="1s").agg(col("ax").mean()),
}
