"""User functions on each other get the same batches."""

from __future__ import annotations

import polars as pl
import pytest

from robodf.optimizer.fuse_map_batches import fuse_map_batches


def crop(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.with_columns(pl.col("k") + 1)


def embed(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.with_columns(pl.col("k") * 2)


def test_the_same_size(df, fires) -> None:
    fires(df.map_batches(crop, 2, preserves_rows=True).map_batches(embed, 2), fuse_map_batches, """
        MapBatches of 2 rows: crop (on polars, preserves rows); then embed (on polars)
          InMemory 4 rows, 5 columns""")  # fmt: skip


def test_all_rows_at_once(df, fires) -> None:
    fires(df.map_batches(crop, None).map_batches(embed, None), fuse_map_batches, """
        MapBatches of all rows: crop (on polars); then embed (on polars)
          InMemory 4 rows, 5 columns""")  # fmt: skip


def test_the_same_resources(df, fires) -> None:
    fires(df.map_batches(crop, 2, preserves_rows=True, num_gpus=1, concurrency=2)
            .map_batches(embed, 2, num_gpus=1, concurrency=2), fuse_map_batches, """
        MapBatches of 2 rows (num_gpus=1, concurrency=2): crop (on polars, preserves rows); then embed (on polars)
          InMemory 4 rows, 5 columns""")  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.map_batches(crop, 2).map_batches(embed, 2),  # crop may drop rows: embed's batches would be smaller
        lambda d: d.map_batches(crop, 2, preserves_rows=True).map_batches(embed, 3),
        lambda d: d.map_batches(crop, 2, preserves_rows=True).map_batches(embed, None),
        lambda d: d.map_batches(crop, None).map_batches(embed, 2),
        lambda d: d.map_batches(crop, 2, preserves_rows=True).sort("k").map_batches(embed, 2),
        lambda d: d.map_batches(crop, 2, preserves_rows=True, num_cpus=1).map_batches(embed, 2),
        lambda d: d.map_batches(crop, 2, preserves_rows=True).map_batches(embed, 2, num_gpus=0.5),
        lambda d: d.map_batches(crop, 2, preserves_rows=True, concurrency=1).map_batches(embed, 2, concurrency=2),
        lambda d: d.map_batches(crop, 2, preserves_rows=True).map_batches(embed, 2, on_error="skip"),
        lambda d: d.map_batches(crop, None, on_error="skip").map_batches(embed, None),
    ],
)
def test_stays(df, keeps, frame) -> None:
    keeps(frame(df), fuse_map_batches)


def test_sizes_seen(df) -> None:
    seen = []

    def watch(batch: pl.DataFrame) -> pl.DataFrame:
        seen.append(batch.height)
        return batch

    df.map_batches(lambda b: b.head(1), 3).map_batches(watch, 3).collect()
    assert seen == [2]
    seen.clear()
    df.map_batches(crop, 3, preserves_rows=True).map_batches(watch, 3).collect()
    assert seen == [3, 1]
