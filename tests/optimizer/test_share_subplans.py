"""Costly sub-plans with several uses are computed once; cheap ones are read by each use."""

from __future__ import annotations

import pytest

import robodf as rd
from robodf import col
from robodf.optimizer import optimize
from robodf.optimizer.share_subplans import share_subplans


def test_a_group_by_that_is_used_twice(df, fires) -> None:
    counts = df.group_by("s").agg(n=rd.len())
    fires(df.join(counts, on="s").join(counts.select("s", m=col("n")), on="s"), share_subplans, """
        Join inner on col("s") == col("s")
          Join inner on col("s") == col("s")
            #1 InMemory 4 rows, 5 columns
            #2 Shared
              GroupBy by [s] agg [n=len()]
                (same as #1: InMemory 4 rows, 5 columns)
          Select [s, m=col("n")]
            (same as #2: Shared)""")  # fmt: skip


def test_it_runs_once(df) -> None:
    calls = []

    def count(batch):
        calls.append(batch.height)
        return batch

    slow = df.map_batches(count, None)
    assert rd.concat([slow, slow.head(1), slow.filter(col("k") > 1)]).collect().height == 7
    assert calls == [4]


def test_the_same_query_written_twice_is_one(df) -> None:
    make = lambda: df.group_by("s").agg(n=col("k").sum()).sort("s")  # noqa: E731
    assert str(make().join(make(), on="s").explain("optimized")).count("GroupBy") == 1


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.join(d, on="k"),
        lambda d: (lambda e: e.join(e.filter(col("k") > 1), on="k"))(
            d.with_columns(n=col("k") + 1).filter(col("n") > 1)
        ),
        lambda d: d.group_by("s").len(),
        lambda d: (lambda e: e.join(e.select("k"), on="k"))(d.sort("k").cache()),  # kept already
        lambda d: (lambda e: rd.concat([e.head(2), e.head(2)]))(d.group_by("s").len().cache()),
    ],
)
def test_stays(df, keeps, frame) -> None:
    keeps(frame(df), share_subplans)


def test_cheap_work_on_a_kept_result_is_not_kept_again(df) -> None:
    sampled = df.join(df.sample(3), on="k", how="left", maintain_order="left_right")
    again = rd.concat([sampled, sampled]).head(5)
    assert str(again.explain("optimized")).count("Shared") == 1
    assert again.collect().height == 5


def test_the_second_time_nothing_is_left_to_do(df, keeps) -> None:
    counts = df.group_by("s").agg(n=rd.len())
    once = optimize(counts.join(counts, on="s")._plan, (share_subplans,))
    assert share_subplans(once) is None
