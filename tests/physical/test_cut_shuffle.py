"""Rows with equal keys meet in one partition."""

from __future__ import annotations

import polars as pl
import pytest
from cut_plans import SMALL, run_cut, same_rows

import robodf as rd
from robodf import col
from robodf.physical.cut import cut
from robodf.physical.exchange import ByHash
from robodf.plan.base import plans, tree


def test_an_aggregate_goes_half_done(df, cuts) -> None:
    done = cuts(df.group_by("k").agg(col("t").sum(), n=rd.len()), """
        GroupBy by [k] agg [t=col("__robodf_part_0").sum(), n=col("__robodf_part_1").sum().cast(UInt32)]
          Shuffle by hash of [col("k")] to 3 partitions
            GroupBy by [k] agg [__robodf_part_0=col("t").sum(), __robodf_part_1=len()]
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""", ordered=False)  # fmt: skip
    assert done.place.by == ("k",)
    assert not done.place.ordered


def test_what_cannot_be_taken_apart_goes_whole(df, cuts) -> None:
    cuts(df.group_by("k").agg(col("t").median(), m=col("t").sum()), """
        GroupBy by [k] agg [t=col("t").median(), m=col("t").sum()]
          Shuffle by hash of [col("k")] to 3 partitions
            Select [k, t]
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""", ordered=False)  # fmt: skip


def test_columns_that_nobody_reads_do_not_travel(df, cuts) -> None:
    """Such as `x`, which only the filter reads."""
    cuts(df.filter(col("x") > 0).group_by("k", "s").agg(col("t").median()), """
        GroupBy by [k, s] agg [t=col("t").median()]
          Shuffle by hash of [col("k"), col("s")] to 3 partitions
            Select [k, s, t]
              Filter col("x") > 0
                Pieces 3 of 12 rows
                  InMemory 12 rows, 5 columns""", ordered=False)  # fmt: skip


@pytest.mark.parametrize("key", ["k", "x", "s", "l"])
def test_keys_of_all_types(df, key) -> None:
    """NaN is one key and so are 0.0 and -0.0; null is one too."""
    frame = df.group_by(key).agg(col("t").sort(), n=rd.len())
    assert any(isinstance(n, ByHash) for n in plans(cut(frame._plan, SMALL).plan))
    groups = sorted(repr(row[1:]) for row in frame.collect().rows())
    assert sorted(repr(row[1:]) for row in run_cut(frame._plan, SMALL).rows()) == groups


def test_keys_that_are_computed(df, cuts) -> None:
    done = cuts(df.group_by(odd=col("t") % 2).agg(col("t").sum()), """
        GroupBy by [odd] agg [t=col("__robodf_part_0").sum()]
          Shuffle by hash of [col("odd")] to 3 partitions
            GroupBy by [odd=col("t") % 2] agg [__robodf_part_0=col("t").sum()]
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""", ordered=False)  # fmt: skip
    assert done.place.by is None


def test_not_by_python_objects() -> None:
    """They have no value that another process could compare."""
    frame = rd.from_polars(pl.DataFrame({"o": pl.Series([object(), object()], dtype=pl.Object), "t": [1, 2]}))
    done = cut(frame.with_columns(m=col("t").sum().over("o"))._plan, SMALL)
    assert not any(isinstance(n, ByHash) for n in plans(done.plan))


def test_joins_by_computed_keys(df, other) -> None:
    frame = df.join(other.with_columns(k=col("k").cast(pl.Float64)), left_on=col("k").cast(pl.Float64), right_on="k")
    same_rows(frame._plan, SMALL, ordered=False)


def test_one_row_of_each_kind(df, cuts) -> None:
    cuts(df.unique(["k"], keep="first"), """
        Unique on k, keep first
          Shuffle by hash of [col("k")] to 3 partitions
            Unique on k, keep first
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""", ordered=False)  # fmt: skip
    cuts(df.unique(["s", "k"], keep="none"), """
        Unique on s, k, keep none
          Shuffle by hash of [col("s"), col("k")] to 3 partitions
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""", ordered=False)  # fmt: skip


def test_windows_with_one_key_in_common(df, cuts) -> None:
    frame = df.with_columns(m=col("t").sum().over("k"), n=col("t").max().over("k", "s")).select("m", "n")
    cuts(frame.unique(), """
        Unique on all columns, keep any
          Shuffle by hash of [col("m"), col("n")] to 3 partitions
            Unique on m, n, keep any
              Select [m, n]
                WithColumns [m=col("t").sum().over(col("k")), n=col("t").max().over(col("k"), col("s"))]
                  Shuffle by hash of [col("k")] to 3 partitions
                    Pieces 3 of 12 rows
                      InMemory 12 rows, 5 columns""", ordered=False)  # fmt: skip


@pytest.mark.parametrize(
    "window",
    [
        col("t").sum(),
        col("t").cum_sum(),
        col("t").shift(1).over("k") + col("t").sum(),
        col("t").sum().over("k") + col("t").sum().over("s"),
        col("t").sort().over("k", mapping_strategy="join"),
    ],
)
def test_not_where_windows_have_no_key_in_common(df, window) -> None:
    frame = df.with_columns(m=window)
    assert not any(isinstance(n, ByHash) for n in plans(cut(frame._plan, SMALL).plan))
    same_rows(frame._plan, SMALL, ordered=True)


@pytest.mark.parametrize("how", ["inner", "left", "right", "full", "semi", "anti"])
@pytest.mark.parametrize("nulls_equal", [False, True])
def test_joins_of_two_large_sides(df, other, how, nulls_equal) -> None:
    frame = df.join(other.select("k", "y"), on="k", how=how, nulls_equal=nulls_equal)
    text = tree(cut(frame._plan, SMALL).plan)
    assert text.count("Shuffle by hash") == 2
    assert "Number the rows" not in text
    same_rows(frame._plan, SMALL, ordered=False)


def test_sides_that_were_shuffled_by_the_key_stay(df, other, cuts) -> None:
    left, right = df.group_by("k").agg(col("t").median()), other.group_by("k").agg(col("y").median())
    limits = SMALL.__class__(cpus=2, partition_bytes=20, small_bytes=0, partitions=3)
    done = cut(left.join(right, on="k")._plan, limits)
    assert tree(done.plan).count("Shuffle by hash") == 2
    same_rows(left.join(right, on="k")._plan, limits, ordered=False)
