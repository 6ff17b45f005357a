"""Only what is asked for is read and computed."""

from __future__ import annotations

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.optimizer import optimize
from robodf.optimizer.prune_columns import prune_columns
from robodf.plan.base import tree


@pytest.fixture
def file(tmp_path) -> rd.PipelineDataFrame:
    frame = pl.DataFrame({"a": [1, 2], "b": [3, 4], "c": ["x", "y"], "d": [True, False]})
    frame.write_parquet(tmp_path / "x.parquet")
    return rd.read_parquet(tmp_path / "x.parquet")


def test_a_scan_reads_what_is_asked(file, fires) -> None:
    fires(file.with_columns(e=col("d") & col("d"), f=col("a") + 1).filter(col("b") > 0).select("f"), prune_columns, """
        Select [f]
          Filter col("b") > 0
            WithColumns [f=col("a") + 1]
              Scan parquet x.parquet columns=[a, b]""")  # fmt: skip


def test_all_parents_are_served(file, fires) -> None:
    fires(file.select("a").join(file.select("a", "c"), on="a"), prune_columns, """
        Join inner on col("a") == col("a")
          Select [a]
            #1 Scan parquet x.parquet columns=[a, c]
          Select [a, c]
            (same as #1: Scan parquet x.parquet columns=[a, c])""")  # fmt: skip


def test_aggregates(file, fires) -> None:
    fires(file.group_by("c").agg(n=col("a").sum(), m=col("b").sum()).select("m"), prune_columns, """
        Select [m]
          GroupBy by [c] agg [m=col("b").sum()]
            Scan parquet x.parquet columns=[b, c]""")  # fmt: skip


def test_a_column_that_is_overwritten_keeps_its_place(file, fires) -> None:
    fires(file.with_columns(b=col("a") + 1), prune_columns, """
        Select [a, b, c, d]
          WithColumns [b=col("a") + 1]
            Scan parquet x.parquet columns=[a, c, d]""")  # fmt: skip


def test_unpivot_forgets_an_index_that_nobody_reads(file, fires) -> None:
    fires(file.unpivot(["a", "b"], index=["c", "d"]).select("value", "d"), prune_columns, """
        Select [value, d]
          Unpivot [a, b] index=[d]
            Scan parquet x.parquet columns=[a, b, d]""")  # fmt: skip


def test_unions_stay_alike(file, fires) -> None:
    fires(rd.concat([file, file.filter(col("b") > 0)]).select("a"), prune_columns, """
        Select [a]
          Concat of 2
            Select [a]
              #1 Scan parquet x.parquet columns=[a, b]
            Select [a]
              Filter col("b") > 0
                (same as #1: Scan parquet x.parquet columns=[a, b])""")  # fmt: skip
    other = file.sort("c").drop("d").filter(col("b") > 0)
    both = rd.concat([file.select("a", "b", "c").sort("a"), other])
    assert both.select("a").collect().height == 4
    assert rd.concat([other, file.select("a", "b", "c").sort("a")]).select("c").collect().height == 4


def test_suffixes_of_a_join_stay_what_they_are(file) -> None:
    # A join has no order of its own: without this the rows come as the threads finish.
    frame = file.join(file.with_columns(col("b") + 10), on="a", maintain_order="left")
    assert frame.select("b_right").collect()["b_right"].to_list() == [13, 14]
    assert frame.select("b").collect()["b"].to_list() == [3, 4]
    after = tree(optimize(frame.select("b_right")._plan))
    assert "columns=[a, b]" in after  # b of the left side too, or there would be no suffix


@pytest.mark.parametrize(
    ("frame", "columns"),
    [
        (lambda f: f.unique().select("a"), "abcd"),  # all columns make a row unique
        (lambda f: f.dedup().select("a"), "abcd"),
        (lambda f: f.dedup("b").select("a"), "ab"),
        (lambda f: f.sort("b").select("a"), "ab"),
        (lambda f: f.map_batches(lambda b: b).select("a"), "abcd"),
        (lambda f: f.map_batches(lambda b: b, reads=["b"], schema={"b": pl.Int64}).select("b"), "b"),
        (
            lambda f: f.map_batches(
                lambda b: b, reads=["b"], schema={"n": pl.Int64}, preserves_rows=True
            ).select("a", "b"),
            "ab",
        ),
        (lambda f: f.drop_nulls().select("a"), "abcd"),
        (lambda f: f.cache().select("a"), "abcd"),
        (lambda f: f.with_row_index().select("index"), "a"),
        (lambda f: f.sample(1).select("d"), "d"),
        (lambda f: f.select(rd.len()), "a"),
        (lambda f: f.pivot("c", ["x", "y"], index="d", values="a", aggregate_function="sum").select("x"), "acd"),
    ],
)  # fmt: skip
def test_read(file, frame, columns: str) -> None:
    made = frame(file)
    after = tree(optimize(made._plan, (prune_columns,)))
    scan = after.splitlines()[-1].strip()
    wanted = "Scan parquet x.parquet" + ("" if columns == "abcd" else f" columns=[{', '.join(columns)}]")
    assert scan == wanted


def test_names_with_nul_and_dots() -> None:
    odd = rd.from_dict({"a\0b": [1, 2], "a.b": [3, 4], "a": [5, 6]}).sort("a")
    assert odd.select("a\0b").collect().rows() == [(1,), (2,)]
    assert odd.filter(col("a\0b") > 1).select("a.b").collect().rows() == [(4,)]
    assert odd.with_columns(x=col("a.b") + 1).select("a\0b", "x").collect().rows() == [(1, 4), (2, 5)]


def test_fields_of_structs() -> None:
    frame = rd.from_dict({"p": [{"u": 1, "v": 2}, None], "q": [1, 2]})
    assert frame.select(u=col("p").struct.field("u")).collect()["u"].to_list() == [1, None]
    assert frame.with_columns(r="p").select(col("r").struct.field("v")).collect()["v"].to_list() == [2, None]
    assert frame.filter(col("p").struct.field("u") == 1).select("q").collect()["q"].to_list() == [1]
