"""A sort of all rows: ranges of the keys to partitions, or each partition where they lie in order."""

from __future__ import annotations

import pytest
from cut_plans import SMALL, optimized, same_rows

import robodf as rd
from robodf import col
from robodf.physical.cut import Limits, cut
from robodf.physical.exchange import ByRange
from robodf.plan.base import plans, tree
from robodf.plan.nodes.sort import Sort

APART = Limits(cpus=2, partition_bytes=3000, small_bytes=0)
"""A recording is a piece."""


@pytest.mark.parametrize("keys", [["k"], ["x"], ["s", "t"], ["k", "x"]])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("nulls_last", [False, True])
def test_ranges(df, cuts, keys, descending, nulls_last) -> None:
    frame = df.sort(*keys, descending=descending, nulls_last=nulls_last)
    done = cuts(frame, f"""
        {frame._plan.label()}
          Shuffle by range of [{", ".join(f'col("{key}")' for key in keys)}] to 3 partitions
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""")  # fmt: skip
    assert done.place.ordered
    assert done.place.by is None


def test_by_a_computed_key(df, cuts) -> None:
    cuts(df.sort(-col("t")), """
        Sort -col("t")
          Shuffle by range of [-col("t")] to 3 partitions
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""")  # fmt: skip


def test_not_by_a_key_that_reads_other_rows(df, cuts) -> None:
    cuts(df.sort(col("t").sum().over("k")), """
        Sort col("t").sum().over(col("k"))
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""")  # fmt: skip


def test_partitions_by_recording_are_sorted_where_they_are(logs) -> None:
    frame = rd.read_log(str(logs), topic="/imu").sort("recording", "x")
    done = cut(optimized(frame), APART)
    assert not any(isinstance(n, ByRange) for n in plans(done.plan))
    assert (done.place.parts, done.place.by, done.place.ordered) == (4, ("recording",), True)
    same_rows(optimized(frame), APART, ordered=True)


@pytest.mark.parametrize(
    "sort",
    [
        lambda d: d.sort("x", "recording"),
        lambda d: d.sort("recording", "x", descending=[True, False]),
        lambda d: d.sort(col("recording").str.to_uppercase(), "x"),
        lambda d: d.sort("log_time"),
    ],
)
def test_not_by_other_keys_or_the_other_way(logs, sort) -> None:
    plan = optimized(sort(rd.read_log(str(logs), topic="/imu")))
    assert any(isinstance(n, ByRange) for n in plans(cut(plan, APART).plan))
    same_rows(plan, APART, ordered=True)


def test_recordings_that_are_not_in_order(logs) -> None:
    """The order of all rows needs a shuffle; an order that matters within a recording only needs none."""
    files = [str(logs / f"{name}.mcap") for name in "dacb"]
    imu, cam = (rd.read_log(files, topic=topic).select("recording", "log_time", "x") for topic in ("/imu", "/cam"))
    in_order = imu.sort("recording", "log_time")
    assert any(isinstance(n, ByRange) for n in plans(cut(optimized(in_order), APART).plan))
    same_rows(optimized(in_order), APART, ordered=True)

    means = imu.resample("100ms", by="recording", agg="mean")
    text = tree(cut(optimized(means), APART).plan)
    assert text.count("Shuffle") == 1  # of the means
    assert text.index("Shuffle by range") < text.index("GroupByDynamic")
    same_rows(optimized(means), APART, ordered=True)

    nearest = in_order.join_asof(cam.rename({"x": "y"}).sort("recording", "log_time"), on="log_time", by="recording")
    ranges = [n for n in plans(cut(optimized(nearest), APART).plan) if isinstance(n, ByRange)]
    assert len(ranges) >= 1  # the rows of the left come out in their order
    same_rows(optimized(nearest), APART, ordered=True)
    total = optimized(nearest.group_by("recording").agg(col("y").median()))
    done = cut(total, APART)
    assert not any(isinstance(n, ByRange) for n in plans(done.plan))
    assert sum(isinstance(n, Sort) for n in plans(done.plan)) == 2
    same_rows(total, APART, ordered=False)


def test_one_who_sees_the_order_is_enough(logs) -> None:
    files = [str(logs / f"{name}.mcap") for name in "dacb"]
    ordered = rd.read_log(files, topic="/imu").select("recording", "log_time", "x").sort("recording", "log_time")
    both = rd.concat([ordered.group_by("recording").agg(col("x").last()), ordered.select("recording", "x")])
    plan = optimized(both)
    assert any(isinstance(n, ByRange) for n in plans(cut(plan, APART).plan))
    same_rows(plan, APART, ordered=False)


def test_a_sort_after_a_shuffle_is_of_ranges(df) -> None:
    """Partitions by the hash of a key are in no order of it."""
    frame = df.with_columns(m=col("t").sum().over("k")).sort("k", "t")
    text = tree(cut(frame._plan, SMALL).plan)
    assert 'Shuffle by range of [col("k"), col("t")]' in text
    same_rows(frame._plan, SMALL, ordered=True)
