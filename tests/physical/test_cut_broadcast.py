"""A small side goes to each partition of the other."""

from __future__ import annotations

import pytest
from cut_plans import ROOMY, SMALL, same_rows

import robodf as rd
from robodf.physical.cut import cut
from robodf.physical.exchange import Broadcast, ByHash
from robodf.plan.base import plans


def test_the_small_side_is_sent(df, other, cuts) -> None:
    cuts(df.join(other, on="k"), """
        Join inner on col("k") == col("k")
          Pieces 3 of 12 rows
            InMemory 12 rows, 5 columns
          Broadcast
            InMemory 5 rows, 3 columns""", ROOMY, ordered=False)  # fmt: skip
    cuts(other.join(df, on="k"), """
        Join inner on col("k") == col("k")
          Broadcast
            InMemory 5 rows, 3 columns
          Pieces 3 of 12 rows
            InMemory 12 rows, 5 columns""", ROOMY, ordered=False)  # fmt: skip


@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_the_order_of_the_left_stays(df, other, how) -> None:
    order = {} if how in ("semi", "anti") else {"maintain_order": "left_right"}
    frame = df.join(other.select("k", "y"), on="k", how=how, **order)
    done = cut(frame._plan, ROOMY)
    assert any(isinstance(n, Broadcast) for n in plans(done.plan))
    same_rows(frame._plan, ROOMY, ordered=bool(order))
    assert done.place.ordered or not order


def test_the_side_of_which_all_rows_stay_is_not_sent(df, other) -> None:
    """Rows of a small left side that match nothing would come once from each partition."""
    frame = other.join(df, on="k", how="left")
    done = cut(frame._plan, ROOMY)
    assert not any(isinstance(n, Broadcast) for n in plans(done.plan))
    same_rows(frame._plan, ROOMY, ordered=False)
    back = df.join(other, on="k", how="right")
    assert not any(isinstance(n, Broadcast) for n in plans(cut(back._plan, ROOMY).plan))
    same_rows(back._plan, ROOMY, ordered=False)


@pytest.mark.parametrize("order", [None, "left_right"])
def test_not_for_a_full_join(df, other, cuts, order) -> None:
    cuts(df.join(other, on="k", how="full", maintain_order=order), """
        Join full on col("k") == col("k")
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns
          InMemory 5 rows, 3 columns""", ROOMY, ordered=order is not None)  # fmt: skip


def test_not_where_both_are_large(df, other, cuts) -> None:
    cuts(df.join(other, on="k"), """
        Join inner on col("k") == col("k")
          Shuffle by hash of [col("k")] to 3 partitions
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns
          Shuffle by hash of [col("k")] to 3 partitions
            InMemory 5 rows, 3 columns""", SMALL, ordered=False)  # fmt: skip


def test_without_keys_one_side_is_sent_whatever_its_size(df, other, cuts) -> None:
    cuts(df.select("k").join(other.select("y"), how="cross"), """
        Join cross
          Select [k]
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns
          Broadcast
            Select [y]
              InMemory 5 rows, 3 columns""", SMALL, ordered=False)  # fmt: skip
    cuts(df.select("t").join_asof(other.select("t", "y").sort("t"), on="t"), """
        JoinAsof t backward t
          Select [t]
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns
          Broadcast
            Sort col("t")
              Select [t, y]
                InMemory 5 rows, 3 columns""", SMALL)  # fmt: skip


def test_topics_that_lie_together_are_not_sent(logs) -> None:
    imu, cam = (rd.read_log(str(logs), topic=topic) for topic in ("/imu", "/cam"))
    plan = imu.join(cam, on=["recording", "log_time"])._plan
    limits = ROOMY.__class__(cpus=2, partition_bytes=3000, small_bytes=1 << 20)
    done = cut(plan, limits)
    assert done.place.parts == 4
    assert not any(isinstance(n, (Broadcast, ByHash)) for n in plans(done.plan))
    same_rows(plan, limits, ordered=False)


def test_intervals_are_sent(df, cuts) -> None:
    spans = rd.from_dict({"start": [1, 7], "end": [3, 8]})
    cuts(df.within(spans, on="t", by=None), """
        Within t
          Pieces 3 of 12 rows
            InMemory 12 rows, 5 columns
          Broadcast
            InMemory 2 rows, 2 columns""", SMALL)  # fmt: skip
