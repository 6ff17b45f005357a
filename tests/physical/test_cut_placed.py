"""Operators that must know where in the whole a partition lies."""

from __future__ import annotations

import polars as pl
import pytest
from cut_plans import SMALL, same_rows

import robodf as rd
from robodf import col
from robodf.physical.cut import cut
from robodf.physical.exchange import Counted, Rebatched
from robodf.plan.base import plans

BELOW = """
          Count partitions
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns"""


@pytest.mark.parametrize(
    ("make", "label"),
    [
        (lambda d: d.with_row_index(), "RowIndex index"),
        (lambda d: d.with_row_index("n", 7), "RowIndex n"),
        (lambda d: d.sample(fraction=0.5, seed=3), "Sample fraction=0.5 seed=3"),
        (lambda d: d.slice(5), "Slice offset=5 length=None"),
        (lambda d: d.slice(99), "Slice offset=99 length=None"),
    ],
)
def test_partitions_are_counted(df, cuts, make, label) -> None:
    done = cuts(make(df), f"        {label}{BELOW}")
    assert done.place.parts == 3


def test_row_numbers_after_filters_that_leave_partitions_empty(df, cuts) -> None:
    cuts(df.filter(col("t") >= 9).with_row_index(), """
        RowIndex index
          Count partitions
            Filter col("t") >= 9
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""")  # fmt: skip


def test_row_numbers_after_a_shuffle_count_the_rows_in_order(df, cuts) -> None:
    cuts(df.dedup("k").select("k").with_row_index(), """
        RowIndex index
          Count partitions
            Select [k]
              Sort col("__robodf_at")
                Shuffle by range of [col("__robodf_at")] to 3 partitions
                  Select [k, __robodf_at]
                    Unique on k, keep first, in order
                      Shuffle by hash of [col("k")] to 3 partitions
                        Unique on k, keep first, in order
                          Number the rows
                            Pieces 3 of 12 rows
                              InMemory 12 rows, 5 columns""")  # fmt: skip


@pytest.mark.parametrize("make", [lambda d: d.sample(3, seed=1), lambda d: d.head(3), lambda d: d.slice(-3)])
def test_not_where_a_number_of_rows_is_asked_for(df, make) -> None:
    plan = make(df)._plan
    assert not any(isinstance(n, Counted) for n in plans(cut(plan, SMALL).plan))
    same_rows(plan, SMALL, ordered=True)


def test_not_in_one_partition(other, cuts) -> None:
    cuts(other.with_row_index(), "RowIndex index\n  InMemory 5 rows, 3 columns")


def _seen(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.select("t", rows=pl.lit(batch.height), first=pl.col("t").first())


@pytest.mark.parametrize("size", [1, 3, 5, 7, 12, 100])
def test_a_function_gets_the_batches_of_one_place(df, cuts, size) -> None:
    schema = {"t": pl.Int64, "rows": pl.Int32, "first": pl.Int64}
    cuts(df.map_batches(_seen, size, schema=schema), f"""
        MapBatches of {size} rows: _seen (on polars)
          Cut at batches of {size} rows
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""")  # fmt: skip
    few = df.filter(col("t") % 4 != 1).map_batches(_seen, size, schema=schema)
    same_rows(few._plan, SMALL, ordered=True)
    same_rows(df.filter(col("t") > 99).map_batches(_seen, size, schema=schema)._plan, SMALL, ordered=True)


def test_a_function_of_all_rows_gets_them(df, cuts) -> None:
    schema = {"t": pl.Int64, "rows": pl.Int32, "first": pl.Int64}
    done = cuts(df.map_batches(_seen, None, schema=schema), """
        MapBatches of all rows: _seen (on polars)
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""")  # fmt: skip
    assert not any(isinstance(n, Rebatched) for n in plans(done.plan))


def test_batches_do_not_lie_by_recording(logs) -> None:
    """A batch may have rows of two recordings: nothing is together after it."""
    imu = rd.read_log(str(logs), topic="/imu").select("recording", "x")
    frame = imu.map_batches(lambda b: b, 64).group_by("recording").agg(col("x").median())
    limits = SMALL.__class__(cpus=2, partition_bytes=3000, small_bytes=0)
    assert "Shuffle by hash" in str(cut(frame._plan, limits).plan)
    same_rows(frame._plan, limits, ordered=False)
