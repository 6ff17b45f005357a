"""Unions, what several parts of a query use, and what the user keeps."""

from __future__ import annotations

from cut_plans import ROOMY, SMALL, optimized

import robodf as rd
from robodf import col
from robodf.physical.cut import cut
from robodf.physical.exchange import Gather
from robodf.plan.base import plans, tree
from robodf.plan.nodes.shared import Shared


def test_a_union_has_the_partitions_of_its_inputs(df, other, cuts) -> None:
    done = cuts(rd.concat([df, other], how="diagonal"), """
        Concat of 2, diagonal
          Pieces 3 of 12 rows
            InMemory 12 rows, 5 columns
          InMemory 5 rows, 3 columns""")  # fmt: skip
    assert done.place.parts == 4
    assert done.place.ordered


def test_a_union_of_small_inputs_is_one_partition(other, cuts) -> None:
    both = rd.concat([other, other.filter(col("k") > 1)])
    text = """
        Concat of 2
          #1 InMemory 5 rows, 3 columns
          Filter col("k") > 1
            (same as #1: InMemory 5 rows, 3 columns)"""
    assert cuts(both, text, ROOMY).place.parts == 1
    assert cuts(both, text, SMALL).place.parts == 2


def test_a_union_forgets_by_what_its_inputs_lie(logs) -> None:
    """A recording has rows in two of its partitions, so a group-by above must not take them for together."""
    imu, cam = (rd.read_log(str(logs), topic=topic).select("recording", "x") for topic in ("/imu", "/cam"))
    done = cut(optimized(rd.concat([imu, cam]).group_by("recording").agg(col("x").median())), SMALL)
    assert "Shuffle by hash" in tree(done.plan)


def test_a_union_of_shuffled_rows_is_put_back_in_order_first(df, other, cuts) -> None:
    windowed = df.select("k", m=col("t").sum().over("k"))
    cuts(rd.concat([windowed, other.select("k", m="t")]), """
        Concat of 2
          Select [k, m]
            Sort col("__robodf_at")
              Shuffle by range of [col("__robodf_at")] to 3 partitions
                Select [k, m=col("t").sum().over(col("k")), __robodf_at]
                  Shuffle by hash of [col("k")] to 3 partitions
                    Number the rows
                      Select [k, t]
                        Pieces 3 of 12 rows
                          InMemory 12 rows, 5 columns
          Select [k, m=col("t")]
            InMemory 5 rows, 3 columns""")  # fmt: skip


def test_what_is_used_twice_is_computed_once_in_its_partitions(logs) -> None:
    imu = rd.read_log(str(logs), topic="/imu")
    means = imu.group_by("recording").agg(x=col("x").median())
    plan = optimized(means.join(means.filter(col("x") > 1), on="recording"))
    done = cut(plan, SMALL)
    (shared,) = [n for n in plans(done.plan) if isinstance(n, Shared)]
    assert done.items[id(shared)].place.parts == 4
    assert done.items[id(shared)].place.by == ("recording",)
    assert "Shuffle" not in tree(done.plan)


def test_what_the_user_keeps_is_brought_to_one_place(df, cuts) -> None:
    cuts(df.cache().filter(col("t") > 3), """
        Filter col("t") > 3
          Cached (by the first run)
            Gather
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""")  # fmt: skip


def test_a_cache_of_one_partition_is_not_gathered(other, cuts) -> None:
    done = cuts(other.cache(), "Cached (by the first run)\n  InMemory 5 rows, 3 columns")
    assert not any(isinstance(n, Gather) for n in plans(done.plan))


def test_rows_that_are_kept_already_are_cut_like_any(df, cuts) -> None:
    """What they were computed from is not run again."""
    kept = df.filter(col("t") > 1).cache()
    kept.collect(engine="local")
    cuts(kept.select("k"), """
        Select [k]
          Pieces 3 of 10 rows
            InMemory 10 rows, 5 columns""")  # fmt: skip
