"""What is little is brought to one place rather than shuffled, and so is all of which nothing else is known."""

from __future__ import annotations

import pytest
from cut_plans import ROOMY, SMALL

from robodf import col
from robodf.physical.cut import Limits


@pytest.mark.parametrize(
    ("make", "label"),
    [
        (lambda d: d.group_by("k").agg(col("x").median(), "s", "l", "t"),
         'GroupBy by [k] agg [x=col("x").median(), s, l, t]'),
        (lambda d: d.group_by("k", maintain_order=True).agg(col("x").sum(), "s", "l", "t"),
         'GroupBy by [k] agg [x=col("x").sum(), s, l, t] in order'),
        (lambda d: d.dedup("k"), "Dedup on k, keep first: exact, each verified by value"),
        (lambda d: d.drop_duplicates("k"), "Unique on k, keep first, in order"),
        (lambda d: d.sort("x"), 'Sort col("x")'),
        (lambda d: d.with_columns(m=col("t").sum().over("k")), 'WithColumns [m=col("t").sum().over(col("k"))]'),
    ],
)  # fmt: skip
def test_little(df, cuts, make, label) -> None:
    ordered = "GroupBy" not in label or "in order" in label
    done = cuts(make(df), f"""
        {label}
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""", ROOMY, ordered)  # fmt: skip
    assert done.place.parts == 1
    assert done.place.ordered == ordered


def test_not_where_there_is_nothing_to_bring_together(df, cuts) -> None:
    cuts(df.filter(col("t") > 3), """
        Filter col("t") > 3
          Pieces 3 of 12 rows
            InMemory 12 rows, 5 columns""", ROOMY)  # fmt: skip


def test_not_of_what_is_more(df, cuts) -> None:
    cuts(df.group_by("k").agg(col("t").median()), """
        GroupBy by [k] agg [t=col("t").median()]
          Shuffle by hash of [col("k")] to 3 partitions
            Select [k, t]
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""", SMALL, ordered=False)  # fmt: skip


ONE = Limits(cpus=2, partition_bytes=200, small_bytes=0)
"""Of two columns there is enough for one partition after a shuffle."""


@pytest.mark.parametrize(
    ("make", "label"),
    [
        (lambda d: d.group_by("k", maintain_order=True).agg(col("t").median()),
         'GroupBy by [k] agg [t=col("t").median()] in order'),
        (lambda d: d.with_columns(m=col("t").sum().over("k")), 'WithColumns [m=col("t").sum().over(col("k"))]'),
        (lambda d: d.sort("k"), 'Sort col("k")'),
    ],
)  # fmt: skip
def test_a_shuffle_to_one_partition_is_a_gather(df, cuts, make, label) -> None:
    cuts(make(df.select("k", "t")), f"""
        {label}
          Gather
            Select [k, t]
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""", ONE)  # fmt: skip


def test_but_an_aggregate_goes_half_done(df, cuts) -> None:
    cuts(df.select("k", "t").group_by("k").agg(col("t").sum()), """
        GroupBy by [k] agg [t=col("__robodf_part_0").sum()]
          Shuffle by hash of [col("k")] to 1 partition
            GroupBy by [k] agg [__robodf_part_0=col("t").sum()]
              Select [k, t]
                Pieces 3 of 12 rows
                  InMemory 12 rows, 5 columns""", ONE, ordered=False)  # fmt: skip


def test_an_operator_in_one_place_stays_there(other, cuts) -> None:
    cuts(other.sort("y").group_by("k", maintain_order=True).agg(col("t").sum()), """
        GroupBy by [k] agg [t=col("t").sum()] in order
          Sort col("y")
            InMemory 5 rows, 3 columns""", SMALL)  # fmt: skip


@pytest.mark.parametrize(
    ("make", "label"),
    [
        (lambda d: d.map_batches(_same, None), "MapBatches of all rows: _same (on polars)"),
        (lambda d: d.sample(3, seed=1), "Sample n=3 seed=1"),
        (lambda d: d.with_columns(m=col("t").sum().over("k"), n=col("t").sum()),
         'WithColumns [m=col("t").sum().over(col("k")), n=col("t").sum()]'),
        (lambda d: d.with_columns(m=col("t").sum().over("k"), n=col("t").sum().over("s")),
         'WithColumns [m=col("t").sum().over(col("k")), n=col("t").sum().over(col("s"))]'),
    ],
)  # fmt: skip
def test_what_is_not_known_to_be_cut(df, cuts, make, label) -> None:
    cuts(make(df), f"""
        {label}
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""", SMALL)  # fmt: skip


def test_columns_that_it_does_not_read_are_left_behind(df, cuts) -> None:
    """Such as those that a filter below has read."""
    frame = df.filter(col("x") > 0).pivot("s", on_columns=["a", "b"], index="k", values="t", aggregate_function="sum")
    cuts(frame, """
        Pivot s values=[t] index=[k]
          Gather
            Select [k, s, t]
              Filter col("x") > 0
                Pieces 3 of 12 rows
                  InMemory 12 rows, 5 columns""", SMALL)  # fmt: skip


def test_but_not_a_column_in_whose_place_a_new_one_comes(df, cuts) -> None:
    cuts(df.with_columns(x=col("k").max()), """
        WithColumns [x=col("k").max()]
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""", SMALL)  # fmt: skip


def _same(batch):
    return batch
