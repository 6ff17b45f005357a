"""The episodes of a data set as a table."""

from __future__ import annotations

import polars as pl

from robodf.io.files import StorageOptions
from robodf.io.lerobot.metadata import DataFile, Layout
from robodf.io.lerobot.tables import open_parquet


def episodes_table(about: Layout, files: tuple[DataFile, ...], storage: StorageOptions) -> pl.DataFrame:
    """Episode, length, tasks, fps, and where each camera has its frames. Lengths are those of the files (version 2)."""
    found = about.episodes
    if about.version.startswith("v2"):
        rows = []
        for file in files:
            with open_parquet(file.path, storage) as parquet:
                rows.append((file.episode, sum(parquet.rows(g) for g in range(parquet.groups))))
        lengths = pl.DataFrame(rows, schema={"episode_index": pl.Int64, "length": pl.Int64}, orient="row")
        found = lengths.join(found.drop("length"), on="episode_index", how="left", maintain_order="left")
    found = found.with_columns(fps=pl.lit(about.fps, pl.Float64))
    for camera in about.cameras:
        of = about.videos.filter(pl.col("camera") == camera).select(
            "episode_index", pl.struct("path", "from_timestamp", "to_timestamp").alias(camera)
        )
        found = found.join(of, on="episode_index", how="left", maintain_order="left")
    return found
