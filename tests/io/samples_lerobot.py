"""Small LeRobot data sets, made without robodf, whose frames tell which one they are."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

FPS = 10
TASKS = ["pick up the cube", "open the drawer"]
CAMERA = "observation.images.top"
WRIST = "observation.images.wrist"
LENGTHS = (5, 3, 4)


def level(episode: int, frame: int, camera: str = CAMERA) -> int:
    """The gray of a frame."""
    return 20 + 60 * episode + 12 * frame + (6 if camera == WRIST else 0)


def write_video(path: Path, levels: list[int], size: tuple[int, int] = (32, 16), g: int = 3) -> None:
    """Gray frames as H.264 with a key frame every `g`, without B-frames, nearly lossless."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        options = {"crf": "0", "preset": "ultrafast", "g": str(g), "bf": "0", "sc_threshold": "0"}
        stream = file.add_stream("h264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for value in levels:
            image = np.full((size[1], size[0], 3), value, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))


def rows(episode: int, first: int, length: int) -> pl.DataFrame:
    """The rows of an episode."""
    values = np.arange(length * 2, dtype=np.float32).reshape(length, 2) / 8 + episode
    return pl.DataFrame(
        {
            "observation.state": pl.Series(values, dtype=pl.Array(pl.Float32, 2)),
            "action": (values * 2).tolist(),
            "timestamp": pl.Series(np.arange(length) / FPS, dtype=pl.Float32),
            "frame_index": range(length),
            "episode_index": [episode] * length,
            "index": range(first, first + length),
            "task_index": [episode % 2] * length,
        },
        schema_overrides={"action": pl.List(pl.Float32)},
    )


def info(version: str, cameras: tuple[str, ...]) -> dict[str, Any]:
    number = {"dtype": "int64", "shape": [1], "names": None}
    features: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": ["pan", "tilt"]},
        "action": {"dtype": "float32", "shape": [2], "names": ["pan", "tilt"]},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), number),
    }
    for camera in cameras:
        features[camera] = {"dtype": "video", "shape": [16, 32, 3], "names": ["height", "width", "channels"]}
    return {
        "codebase_version": version, "robot_type": "arm", "total_episodes": len(LENGTHS), "total_chunks": 0,
        "fps": FPS, "splits": {"train": "0:100"}, "features": features,
        "data_path": "elsewhere/{episode_index}.parquet", "video_path": "elsewhere/{episode_index}.mp4",
    }  # fmt: skip


def version_2(root: Path, videos: str = "videos") -> Path:
    """Three episodes of one camera."""
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    first = 0
    for episode, length in enumerate(LENGTHS):
        rows(episode, first, length).write_parquet(root / f"data/chunk-000/episode_{episode:06d}.parquet")
        path = root / f"{videos}/chunk-000/{CAMERA}/episode_{episode:06d}.mp4"
        write_video(path, [level(episode, frame) for frame in range(length)])
        first += length
    (root / "meta/info.json").write_text(json.dumps(info("v2.1", (CAMERA,))))
    lines(root / "meta/tasks.jsonl", [{"task_index": k, "task": text} for k, text in enumerate(TASKS)])
    lines(
        root / "meta/episodes.jsonl",
        [{"episode_index": k, "tasks": [TASKS[k % 2]], "length": n} for k, n in enumerate(LENGTHS)],
    )
    lines(
        root / "meta/episodes_stats.jsonl",
        [{"episode_index": k, "stats": {"action": {"mean": [0.5, 1.0], "count": [n]}}} for k, n in enumerate(LENGTHS)],
    )
    return root


def version_3(root: Path) -> Path:
    """Three episodes of two cameras, which are cut into files in different places, as is the data."""
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    firsts = np.cumsum([0, *LENGTHS]).tolist()
    frames = [rows(k, firsts[k], n) for k, n in enumerate(LENGTHS)]
    groups(root / "data/chunk-000/file-000.parquet", frames[:2])
    groups(root / "data/chunk-000/file-001.parquet", frames[2:])
    where = {CAMERA: [(0, 0), (1, 0), (1, 3)], WRIST: [(0, 0), (0, 5), (0, 8)]}  # file, and frames before the episode
    for camera, places in where.items():
        for file in sorted({f for f, _ in places}):
            levels = [level(k, i, camera) for k, n in enumerate(LENGTHS) if places[k][0] == file for i in range(n)]
            write_video(root / f"videos/{camera}/chunk-000/file-{file:03d}.mp4", levels, g=1)
    listed = []
    for k, n in enumerate(LENGTHS):
        row: dict[str, Any] = {
            "episode_index": k, "tasks": [TASKS[k % 2]], "length": n, "data/chunk_index": 0,
            "data/file_index": 0,  # wrong for the last one, as in sets of the wild
            "dataset_from_index": firsts[k], "dataset_to_index": firsts[k] + n, "stats/action/mean": [0.5, 1.0],
        }  # fmt: skip
        for camera, places in where.items():
            file, before = places[k]
            row |= {
                f"videos/{camera}/chunk_index": 0, f"videos/{camera}/file_index": file,
                f"videos/{camera}/from_timestamp": before / FPS, f"videos/{camera}/to_timestamp": (before + n) / FPS,
            }  # fmt: skip
        listed.append(row)
    pq.write_table(pa.Table.from_pylist(listed), root / "meta/episodes/chunk-000/file-000.parquet")
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": TASKS})
    pq.write_table(tasks, root / "meta/tasks.parquet")
    (root / "meta/info.json").write_text(json.dumps(info("v3.0", (CAMERA, WRIST))))
    (root / "meta/stats.json").write_text(json.dumps({"action": {"mean": [0.5, 1.0], "count": [12]}}))
    return root


def groups(path: Path, frames: list[pl.DataFrame]) -> None:
    """A Parquet file with a row group for each frame."""
    tables = [frame.to_arrow() for frame in frames]
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def lines(path: Path, values: list[dict]) -> None:
    path.write_text("".join(json.dumps(v) + "\n" for v in values))


def samples() -> dict[str, bytes]:
    """The files of two data sets by their names, `v2/...` and `v3/...`: what a mutation may hit."""
    with tempfile.TemporaryDirectory() as folder:
        version_2(Path(folder, "v2"))
        version_3(Path(folder, "v3"))
        paths = sorted(p for p in Path(folder).rglob("*") if p.is_file())
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}
