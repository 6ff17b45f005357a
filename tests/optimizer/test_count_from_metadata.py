"""Counts without reading."""

from __future__ import annotations

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.optimizer.count_from_metadata import count_from_metadata
from robodf.plan.nodes.rows import Count


def _count(frame: rd.PipelineDataFrame) -> rd.PipelineDataFrame:
    return rd.PipelineDataFrame(Count(frame._plan))


@pytest.mark.parametrize(
    ("frame", "rows"),
    [
        (lambda d: d, 4),
        (lambda d: d.sort("k").with_columns(n=col("k") + 1).with_row_index(), 4),
        (lambda d: d.with_columns(n=col("k").shift()), 4),
        (lambda d: d.slice(1, 2), 2),
        (lambda d: d.slice(-3, 2), 2),
        (lambda d: d.slice(-9, 6), 1),
        (lambda d: d.slice(2, 100), 2),
        (lambda d: d.slice(-2), 2),
        (lambda d: d.slice(9), 0),
        (lambda d: d.tail(9), 4),
        (lambda d: rd.concat([d, d.head(3)]), 7),
        (lambda d: d.drop("p").join(d.select("k"), how="cross"), 16),
        (lambda d: d.unpivot(["k", "x"]), 8),
        (lambda d: d.map_batches(lambda b: b, preserves_rows=True), 4),
        (lambda d: d.unnest("p"), 4),
    ],
)
def test_known(df, frame, rows: int) -> None:
    made = frame(df)
    text = str(_count(made).explain("optimized"))
    assert text.startswith(f"Known count {rows} (from the metadata of ")
    assert len(made) == rows == made.collect().height


def test_parquet_by_its_footer(tmp_path, fires) -> None:
    pl.DataFrame({"a": range(10)}).write_parquet(tmp_path / "x.parquet")
    frame = rd.read_parquet(tmp_path / "x.parquet").sort("a")
    fires(_count(frame), count_from_metadata, "Known count 10 (from the metadata of Scan parquet x.parquet)")


def test_what_does_not_change_the_number_is_left_out(df, fires) -> None:
    fires(_count(df.filter(col("k") > 1).sort("x").with_columns(n=col("k").sum())), count_from_metadata, """
        Count
          Filter col("k") > 1
            InMemory 4 rows, 5 columns""")  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.filter(col("k") > 1),
        lambda d: d.dedup("k"),
        lambda d: d.explode("l"),
        lambda d: d.group_by("k").len(),
        lambda d: d.join(d, on="k"),
        lambda d: d.sample(2),
        lambda d: d.map_batches(lambda b: b.head(1)),
        lambda d: d.select(rd.lit(1)),  # one row, not four
        lambda d: d.select(col("k").sum()),
        lambda d: d.select(col("k").unique()),
    ],
)
def test_stays(df, keeps, frame) -> None:
    made = frame(df)
    keeps(_count(made), count_from_metadata)
    assert len(made) == made.collect().height
