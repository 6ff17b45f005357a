"""The tables that the benchmarks read: deterministic, made once, kept in benchmarks/data/."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measure import DATA

_ROWS_PER_FILE = 2_000_000
_EPISODE = 900  # rows, at 30 Hz half a minute
_ROBOTS = 40
_TASKS = ["pick cup", "place cup", "open drawer", "fold cloth",
          "pour water", "stack blocks", "wipe table", "push button"]  # fmt: skip


def frames(rows: int) -> Path:
    """A folder of Parquet files with `rows` rows of a robot data set: about 67 bytes a row on disk, 109 in memory."""
    folder = DATA / f"frames-{rows}"
    mark = folder / "complete.json"
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for part, start in enumerate(range(0, rows, _ROWS_PER_FILE)):
            made = _part(start, min(_ROWS_PER_FILE, rows - start))
            made.write_parquet(folder / f"part-{part:03}.parquet", compression="zstd", row_group_size=250_000)
        mark.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return folder


def episodes(rows: int) -> Path:
    """One row an episode of `frames(rows)`: the small side of joins."""
    path = DATA / f"episodes-{rows}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        number = -(-rows // _EPISODE)
        rng = np.random.default_rng(7)
        pl.DataFrame({
            "episode": np.arange(number, dtype=np.int32),
            "operator": [f"operator-{i:02}" for i in rng.integers(0, 25, number)],
            "success": rng.random(number) < 0.7,
            "rating": rng.integers(1, 6, number).astype(np.int8),
        }).write_parquet(path)  # fmt: skip
    return path


def _part(start: int, rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(start + 1)
    at = np.arange(start, start + rows, dtype=np.int64)
    episode = at // _EPISODE
    task = pl.Series(_TASKS)
    walk = np.cumsum(rng.normal(0, 0.01, (3, rows)), axis=1)
    return pl.DataFrame({
        "episode": episode.astype(np.int32),
        "frame": (at % _EPISODE).astype(np.int32),
        "time": pl.Series(1_750_000_000_000_000_000 + at * 33_333_333).cast(pl.Datetime("ns")),
        "robot": "robot-" + pl.Series(episode % _ROBOTS).cast(pl.String).str.zfill(2),
        "task": task.gather(episode % len(_TASKS)),
        "x": walk[0], "y": walk[1], "z": walk[2],
        "vx": rng.normal(0, 1, rows), "vy": rng.normal(0, 1, rows), "vz": rng.normal(0, 1, rows),
        "gripper": rng.random(rows).astype(np.float32),
        "force": rng.gamma(2.0, 1.5, rows).astype(np.float32),
        "battery": (100 - (at % 100_000) / 1000).astype(np.float32),
        "status": rng.integers(0, 4, rows).astype(np.int16),
        "note": pl.Series(rng.integers(0, 1 << 40, rows)).cast(pl.String),
    })  # fmt: skip
