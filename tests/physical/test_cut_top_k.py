"""The first rows of a sort, without a sort of all."""

from __future__ import annotations

import pytest

from robodf import col
from robodf.plan.base import plans
from robodf.plan.nodes.scan import InMemory


def test_each_partition_gives_its_first_rows(df, cuts) -> None:
    done = cuts(df.sort("t", descending=True).head(2), """
        Limit 2
          Sort col("t") desc
            Gather
              Limit 2
                Sort col("t") desc
                  Pieces 3 of 12 rows
                    InMemory 12 rows, 5 columns""")  # fmt: skip
    assert done.place.parts == 1
    # All nodes have a place and an estimate, the sorts too.
    assert [done.items[id(n)].rows for n in plans(done.plan) if not isinstance(n, InMemory)] == [
        2, 6, 6, 6, 12, 12]  # fmt: skip


@pytest.mark.parametrize("key", ["k", "x", "s"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("nulls_last", [False, True])
def test_ties_nulls_and_nan(df, cuts, key, descending, nulls_last) -> None:
    frame = df.sort(key, descending=descending, nulls_last=nulls_last).slice(1, 1)
    label = f'Sort col("{key}"){" desc" * descending}{" nulls last" * nulls_last}'
    cuts(frame, f"""
        Slice offset=1 length=1
          {label}
            Gather
              Limit 2
                {label}
                  Pieces 3 of 12 rows
                    InMemory 12 rows, 5 columns""")  # fmt: skip


def test_not_where_that_moves_as_much_as_a_sort_of_all(df, cuts) -> None:
    cuts(df.sort("x").head(9), """
        Limit 9
          Gather, 9 rows are enough
            Limit 9
              Sort col("x")
                Shuffle by range of [col("x")] to 3 partitions
                  Pieces 3 of 12 rows
                    InMemory 12 rows, 5 columns""")  # fmt: skip


def test_the_last_rows(df, cuts) -> None:
    cuts(df.sort("t").tail(2), """
        Slice offset=-2 length=2
          Sort col("t")
            Gather
              Slice offset=-2 length=None
                Sort col("t")
                  Pieces 3 of 12 rows
                    InMemory 12 rows, 5 columns""")  # fmt: skip


def test_not_for_all_rows_from_one_on(df, cuts) -> None:
    cuts(df.sort("t").slice(4), """
        Slice offset=4 length=None
          Count partitions
            Sort col("t")
              Shuffle by range of [col("t")] to 3 partitions
                Pieces 3 of 12 rows
                  InMemory 12 rows, 5 columns""")  # fmt: skip


def test_not_by_keys_that_read_other_rows(df, cuts) -> None:
    cuts(df.sort(col("t").sum().over("k")).head(2), """
        Limit 2
          Sort col("t").sum().over(col("k"))
            Gather
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""")  # fmt: skip


def test_not_in_one_partition(other, cuts) -> None:
    cuts(other.sort("y").head(2), """
        Limit 2
          Sort col("y")
            InMemory 5 rows, 3 columns""")  # fmt: skip
