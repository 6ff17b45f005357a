"""The leaves in pieces: splits of a source by size, recordings whole, rows of a frame."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from cut_plans import optimized, same_rows

import robodf as rd
from robodf import col
from robodf.io.logs import runs
from robodf.physical.cut import Cut, Limits, cut
from robodf.physical.exchange import Pieces
from robodf.plan.base import plans

APART = Limits(cpus=2, partition_bytes=3000, small_bytes=0)


def pieces(done: Cut) -> list[Pieces]:
    return [n for n in plans(done.plan) if isinstance(n, Pieces)]


@pytest.fixture
def tables(tmp_path: Path) -> str:
    for k in range(4):
        pl.DataFrame({"a": range(100 * k, 100 * k + 100)}).write_parquet(tmp_path / f"{k}.parquet")
    return str(tmp_path / "*.parquet")


def test_splits_of_files(tables, cuts) -> None:
    done = cuts(rd.read_parquet(tables).filter(col("a") % 2 == 0), """
        Filter (col("a") % 2) == 0
          Pieces 4 of 4 splits
            Scan parquet 0.parquet and 3 more""")  # fmt: skip
    assert done.place == done.place.__class__(4)


def test_small_splits_are_packed_into_one_piece(tables, cuts) -> None:
    text = "Scan parquet 0.parquet and 3 more"
    assert cuts(rd.read_parquet(tables), text, Limits(cpus=8)).place.parts == 1


def test_a_limit_stops_at_enough_pieces(tables, cuts) -> None:
    plan = rd.from_polars(pl.DataFrame({"a": [0]}))._then(optimized(rd.read_parquet(tables).head(150)))
    cuts(plan, """
        Limit 150
          Gather, 150 rows are enough
            Pieces 4 of 4 splits
              Scan parquet 0.parquet and 3 more limit=150""")  # fmt: skip


def test_rows_of_a_frame(df, cuts) -> None:
    done = cuts(df.select("k"), "Select [k]\n  Pieces 3 of 12 rows\n    InMemory 12 rows, 5 columns")
    assert pieces(done)[0].pieces == ((0, 4), (4, 4), (8, 4))
    cuts(df.select("k"), "Select [k]\n  InMemory 12 rows, 5 columns", Limits())
    whole = Limits(cpus=2, partition_bytes=1, small_bytes=0, partitions=100)
    assert pieces(cut(df._plan, whole))[0].pieces == tuple((k, 1) for k in range(12))


def test_a_lazy_frame_of_polars_is_in_one_place(cuts) -> None:
    frame = rd.from_polars(pl.LazyFrame({"a": [1, 2, 3]}).with_columns(b=pl.col("a") * 2))
    cuts(frame, "LazyFrame of Polars, 2 columns")


def test_recordings_are_whole(logs) -> None:
    done = cut(optimized(rd.read_log(str(logs), topic="/imu")), APART)
    (found,) = pieces(done)
    assert found.label() == "Pieces 4 of 4 recordings"
    assert [[s.key for s in piece] for piece in found.pieces] == [["a"], ["b"], ["c"], ["d"]]
    assert done.place.by == ("recording",)


def test_estimates_are_those_of_the_splits(logs) -> None:
    done = cut(optimized(rd.read_log(str(logs), topic="/imu")), APART)
    assert done.items[id(done.plan)].rows == 100 + 120 + 140 + 160
    one = optimized(rd.read_log(str(logs), topic="/cam").filter(col("recording") == "b"))
    assert cut(one, APART).items[id(one)].rows == 24
    limited = optimized(rd.read_log(str(logs), topic="/imu").head(7))
    assert cut(limited, APART).items[id(cut(limited, APART).plan)].rows == 7


def test_recordings_that_are_not_read_have_no_piece(logs) -> None:
    imu = rd.read_log(str(logs), topic="/imu")
    done = cut(optimized(imu.filter(col("recording").is_in(["b", "d"]))), APART)
    assert pieces(done)[0].label() == "Pieces 2 of 2 recordings"
    assert not pieces(cut(optimized(imu.filter(col("recording") == "b")), APART))
    # A recording that one of the topics needs is in a piece of both, so that they lie alike.
    both = optimized(imu.join(rd.read_log(str(logs), topic="/rare"), on=["recording", "log_time"]))
    assert [n.label() for n in pieces(cut(both, APART))] == ["Pieces 4 of 4 recordings"] * 2


@pytest.fixture
def many_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RUN", 2000)


def test_recordings_are_cut_where_there_are_fewer_than_processors(logs, many_splits) -> None:
    imu = optimized(rd.read_log(str(logs), topic="/imu"))
    done = cut(imu, Limits(cpus=8, partition_bytes=3000, small_bytes=0))
    assert pieces(done)[0].of.endswith("splits")
    assert done.place.parts > 4
    assert done.place.by is None
    same_rows(imu, Limits(cpus=8, partition_bytes=3000, small_bytes=0), ordered=True)
    assert pieces(cut(imu, APART))[0].of == "4 recordings"


@pytest.mark.parametrize(
    ("make", "whole"),
    [
        (lambda d: d.group_by("recording").agg(col("x").median()), True),
        (lambda d: d.select(r="recording", v="x").filter(col("v") > 3).dedup(["r", "v"]), False),
        (lambda d: d.with_columns(m=col("x").mean().over("recording")).select("m"), True),
        (lambda d: d.segment(when=col("ok")), True),
        (lambda d: d.resample("100ms", by="recording", agg="mean"), True),
        (lambda d: d.group_by("recording").agg(col("x").sum()), False),  # partial sums are little to bring together
        (lambda d: d.group_by("ok").agg(col("x").median()), False),
        (lambda d: d.filter(col("x") > 3), False),
    ],
)
def test_they_are_not_cut_where_they_would_be_put_together_again(logs, many_splits, make, whole) -> None:
    plan = optimized(make(rd.read_log(str(logs), topic="/imu")))
    limits = Limits(cpus=8, partition_bytes=20_000, small_bytes=0)
    (found,) = pieces(cut(plan, limits)) or [None]
    assert (found is not None and found.of == "4 recordings") == whole
    same_rows(plan, limits, ordered=False)


def test_they_are_cut_where_one_is_more_than_a_task_should_hold(logs, many_splits) -> None:
    plan = optimized(rd.read_log(str(logs), topic="/imu").group_by("recording").agg(col("x").median()))
    done = cut(plan, Limits(cpus=8, partition_bytes=3000, small_bytes=0))
    assert pieces(done)[0].of.endswith("splits")


def test_the_same_rows_whatever_the_number_of_partitions(logs) -> None:
    plan = optimized(rd.read_log(str(logs), topic="/imu").sort("x"))
    for parts in (1, 2, 5):
        limits = Limits(cpus=2, partition_bytes=2000, small_bytes=0, partitions=parts)
        same_rows(plan, limits, ordered=True)
