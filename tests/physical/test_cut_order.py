"""The order of rows over a shuffle: numbers go with them, and are sorted by where somebody looks."""

from __future__ import annotations

import pytest
from cut_plans import SMALL, same_rows

import robodf as rd
from robodf import col
from robodf.physical.cut import cut
from robodf.physical.exchange import TAG, Tagged
from robodf.plan.base import plans, tree


def _tags(frame: rd.PipelineDataFrame) -> int:
    return sum(isinstance(n, Tagged) for n in plans(cut(frame._plan, SMALL).plan))


@pytest.fixture
def windowed(df) -> rd.PipelineDataFrame:
    return df.with_columns(m=col("t").sum().over("k"))


def test_rows_come_back_in_order(windowed, cuts) -> None:
    done = cuts(windowed, """
        Select [k, x, s, l, t, m]
          Sort col("__robodf_at")
            Shuffle by range of [col("__robodf_at")] to 3 partitions
              WithColumns [m=col("t").sum().over(col("k"))]
                Shuffle by hash of [col("k")] to 3 partitions
                  Number the rows
                    Pieces 3 of 12 rows
                      InMemory 12 rows, 5 columns""")  # fmt: skip
    assert done.place.ordered
    assert not done.place.tagged


@pytest.mark.parametrize(
    "above",
    [
        lambda d, _: d.group_by("s").agg(col("m").sum()),
        lambda d, _: d.select(col("m").max()),
        lambda d, _: d.unique(["s", "m"]).select("s", "m"),
        lambda d, other: d.join(other.select("k", "y"), on="k"),
        lambda d, _: d.filter(col("m") > 3).select("m").group_by("m").agg(n=rd.len()),
    ],
)
def test_nothing_is_numbered_where_nobody_looks(windowed, other, above) -> None:
    frame = above(windowed, other)
    assert _tags(frame) == 0
    same_rows(frame._plan, SMALL, ordered=False)


@pytest.mark.parametrize(
    "above",
    [
        lambda d, _: d.group_by("s").agg(col("m").first()),
        lambda d, _: d.group_by("s").agg("m"),
        lambda d, _: d.select(col("m").first()),
        lambda d, _: d.unique("s", keep="first"),
        lambda d, other: d.join(other.select("k", "y"), on="k", maintain_order="left"),
        lambda d, _: d.head(2),
        lambda d, _: d.with_row_index(),
    ],
)
def test_what_looks_at_the_order_gets_it(windowed, other, above) -> None:
    frame = above(windowed, other)
    assert _tags(frame) >= 1
    same_rows(frame._plan, SMALL, ordered=False)


def test_numbers_pass_row_by_row_work(windowed, cuts) -> None:
    cuts(windowed.filter(col("m") > 5).explode("l").select("l", double=col("m") * 2), """
        Select [l, double]
          Sort col("__robodf_at")
            Shuffle by range of [col("__robodf_at")] to 3 partitions
              Select [l, double=col("m") * 2, __robodf_at]
                Explode l
                  Filter col("m") > 5
                    WithColumns [m=col("t").sum().over(col("k"))]
                      Shuffle by hash of [col("k")] to 3 partitions
                        Number the rows
                          Pieces 3 of 12 rows
                            InMemory 12 rows, 5 columns""")  # fmt: skip


def test_rows_are_numbered_once(windowed, other, cuts) -> None:
    """Through a window by the same key, which moves nothing, and a join, which does."""
    frame = windowed.with_columns(n=col("m").max().over("k"), o=col("t").max().over("k"))
    cuts(frame.select("k", "n").join(other.select("k", "y"), on="k", how="left", maintain_order="left_right"), """
        Select [k, n, y]
          Sort col("__robodf_at")
            Shuffle by range of [col("__robodf_at")] to 3 partitions
              Join left on col("k") == col("k")
                Shuffle by hash of [col("k")] to 3 partitions
                  Select [k, n, __robodf_at]
                    WithColumns [n=col("m").max().over(col("k")), o=col("t").max().over(col("k"))]
                      WithColumns [m=col("t").sum().over(col("k"))]
                        Shuffle by hash of [col("k")] to 3 partitions
                          Number the rows
                            Pieces 3 of 12 rows
                              InMemory 12 rows, 5 columns
                Shuffle by hash of [col("k")] to 3 partitions
                  Select [k, y]
                    InMemory 5 rows, 3 columns""")  # fmt: skip


def test_numbers_do_not_pass_a_function_of_the_user(windowed) -> None:
    """It would see a column that is not there."""

    def look(batch):
        if TAG in batch.columns:
            raise ValueError("there are numbers in it")
        return batch

    same_rows(windowed.map_batches(look, 5)._plan, SMALL, ordered=True)


def test_all_columns_are_those_that_there_were(df) -> None:
    """`unique()` over all columns is not over the numbers as well, nor is a struct or a list of all columns."""
    windowed = df.select("s", m=col("t").max().over("s"))
    frame = windowed.unique(maintain_order=True)
    assert _tags(frame) >= 1
    same_rows(frame._plan, SMALL, ordered=True)


def test_groups_in_the_order_in_which_they_were_seen(df, cuts) -> None:
    cuts(df.group_by("k", maintain_order=True).agg(col("t").sum()), """
        Select [k, t]
          Sort col("__robodf_at")
            Shuffle by range of [col("__robodf_at")] to 3 partitions
              GroupBy by [k] agg [t=col("__robodf_part_0").sum(), __robodf_at=col("__robodf_part_1").min()]
                Shuffle by hash of [col("k")] to 3 partitions
                  GroupBy by [k] agg [__robodf_part_0=col("t").sum(), __robodf_part_1=col("__robodf_at").min()]
                    Number the rows
                      Pieces 3 of 12 rows
                        InMemory 12 rows, 5 columns""")  # fmt: skip
    frame = df.group_by("k", maintain_order=True).agg(col("t").sum()).select(col("t").max())
    assert _tags(frame) == 0
    same_rows(frame._plan, SMALL, ordered=True)


def test_rows_without_an_order_get_no_numbers(df, other) -> None:
    frame = df.join(other.select("k", "y"), on="k").dedup("s").select("s")
    text = tree(cut(frame._plan, SMALL).plan)
    assert "Number the rows" not in text
    same_rows(frame._plan, SMALL, ordered=False)
