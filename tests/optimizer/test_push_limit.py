"""A limit reaches the source, and passes nothing that chooses rows."""

from __future__ import annotations

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.optimizer.push_limit import push_limit


def test_into_a_scan(tmp_path, fires) -> None:
    pl.DataFrame({"a": range(10)}).write_parquet(tmp_path / "x.parquet")
    frame = rd.read_parquet(tmp_path / "x.parquet").with_columns(b=col("a") + 1).with_row_index()
    fires(frame.head(3), push_limit, """
        RowIndex index
          WithColumns [b=col("a") + 1]
            Scan parquet x.parquet limit=3""")  # fmt: skip
    fires(frame.slice(2, 3), push_limit, """
        Slice offset=2 length=3
          RowIndex index
            WithColumns [b=col("a") + 1]
              Scan parquet x.parquet limit=5""")  # fmt: skip


def test_slices_of_slices(df, fires) -> None:
    fires(df.head(3).head(2), push_limit, "Limit 2\n  InMemory 4 rows, 5 columns")
    fires(df.head(2).head(3), push_limit, "Limit 2\n  InMemory 4 rows, 5 columns")
    fires(df.slice(1, 3).head(2), push_limit, "Slice offset=1 length=2\n  InMemory 4 rows, 5 columns")
    fires(df.slice(1).head(2), push_limit, "Slice offset=1 length=2\n  InMemory 4 rows, 5 columns")


def test_unions(df, fires) -> None:
    fires(rd.concat([df.sort("k"), df.sort("s")]).head(2), push_limit, """
        Limit 2
          Concat of 2
            Limit 2
              Sort col("k")
                #1 InMemory 4 rows, 5 columns
            Limit 2
              Sort col("s")
                (same as #1: InMemory 4 rows, 5 columns)""")  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.filter(col("k") > 1).head(2),
        lambda d: d.sort("k").head(2),
        lambda d: d.tail(2),
        lambda d: d.slice(1),
        lambda d: d.tail(3).head(2),
        lambda d: d.dedup("k").head(2),
        lambda d: d.explode("l").head(2),
        lambda d: d.group_by("k").len().head(2),
        lambda d: d.sample(3).head(2),
        lambda d: d.with_columns(n=col("k").sum()).head(2),
        lambda d: d.with_columns(n=col("k").shift(-1)).head(2),
        lambda d: d.select(col("k").sum()).head(1),
        lambda d: d.select(rd.lit(1)).head(1),
        lambda d: d.join(d.select("k"), on="k", maintain_order="left_right").head(2),
        lambda d: d.map_batches(lambda b: b).head(2),
    ],
)
def test_stays(df, keeps, frame) -> None:
    keeps(frame(df), push_limit)


def test_past_a_function_that_keeps_rows(df, fires) -> None:
    def same(batch):
        return batch

    name = same.__qualname__.replace("<locals>.", "")
    fires(df.map_batches(same, 2, preserves_rows=True).head(1), push_limit, f"""
        MapBatches of 2 rows: {name} (on polars, preserves rows)
          Limit 1
            InMemory 4 rows, 5 columns""")  # fmt: skip


def test_not_into_a_scan_that_only_prunes() -> None:
    from test_sources import Half  # INEXACT

    source = Half()
    frame = rd.PipelineDataFrame(source.plan()).filter(col("a") > 2).head(2)
    assert "limit=" not in str(frame.explain("optimized"))
    assert frame.collect()["a"].to_list() == [3, 4]
