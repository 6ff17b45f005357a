"""Limits and aggregates without keys: only what each partition answers is gathered."""

from __future__ import annotations

import pytest

import robodf as rd
from robodf import col

WHOLE = """
          Gather
            Select [{}]
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns"""


def test_an_aggregate(df, cuts) -> None:
    cuts(df.select(col("t").sum(), n=rd.len()), """
        Aggregate [t=col("__robodf_part_0").sum(), n=col("__robodf_part_1").sum().cast(UInt32)]
          Gather
            Aggregate [__robodf_part_0=col("t").sum(), __robodf_part_1=len()]
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""")  # fmt: skip


@pytest.mark.parametrize("keep", [lambda d: d, lambda d: d.filter(col("t") > 99)])
def test_aggregates_of_all_kinds_of_columns_and_of_no_rows(df, keep) -> None:
    from cut_plans import SMALL, same_rows

    frame = keep(df).select(
        total=col("k").sum(), low=col("x").min(), high=col("s").max(), mean=col("x").mean(), some=(col("t") > 5).any(),
        there=col("k").count(), gone=col("k").null_count(), ratio=col("t").sum() / col("t").max(), one=rd.lit(1),
    )  # fmt: skip
    same_rows(frame._plan, SMALL, ordered=True)


def test_a_limit_stops_when_there_is_enough(df, cuts) -> None:
    cuts(df.head(3), """
        Limit 3
          Gather, 3 rows are enough
            Limit 3
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""")  # fmt: skip
    cuts(df.slice(2, 3), """
        Slice offset=2 length=3
          Gather, 5 rows are enough
            Limit 5
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""")  # fmt: skip


def test_the_last_rows_need_all_partitions(df, cuts) -> None:
    cuts(df.slice(-3, 2), """
        Slice offset=-3 length=2
          Gather
            Slice offset=-3 length=None
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""")  # fmt: skip


def test_an_aggregate_needs_no_order_after_a_shuffle(df, cuts) -> None:
    cuts(df.with_columns(m=col("t").sum().over("k")).select(col("m").max()), """
        Aggregate [m=col("__robodf_part_0").max()]
          Gather
            Aggregate [__robodf_part_0=col("m").max()]
              WithColumns [m=col("t").sum().over(col("k"))]
                Shuffle by hash of [col("k")] to 3 partitions
                  Pieces 3 of 12 rows
                    InMemory 12 rows, 5 columns""")  # fmt: skip


@pytest.mark.parametrize(
    ("make", "label", "reads"),
    [
        (lambda d: d.select(col("t").median()), 'Select [t=col("t").median()]', "t"),
        (lambda d: d.select(col("x").first()), 'Select [x=col("x").first()]', "x"),
        (lambda d: d.select(col("s").n_unique()), 'Select [s=col("s").n_unique()]', "s"),
        (lambda d: d.select("k", n=col("t").sum()), 'Select [k, n=col("t").sum()]', "k, t"),
        (lambda d: d.select(col("t").head(2)), 'Select [t=col("t").head(2)]', "t"),
        (lambda d: d.select(col("l").first()), 'Select [l=col("l").first()]', "l"),
    ],
)
def test_not_where_it_cannot_be_taken_apart(df, cuts, make, label, reads) -> None:
    cuts(make(df), f"        {label}{WHOLE.format(reads)}")
