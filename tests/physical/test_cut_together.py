"""What lies together stays where it is: a recording is in one partition."""

from __future__ import annotations

import pytest
from cut_plans import optimized, same_rows

import robodf as rd
from robodf import col
from robodf.physical.cut import Limits, cut
from robodf.physical.exchange import Broadcast, ByHash, ByRange, Gather
from robodf.plan.base import plans

APART = Limits(cpus=2, partition_bytes=3000, small_bytes=0)


@pytest.fixture
def imu(logs) -> rd.PipelineDataFrame:
    return rd.read_log(str(logs), topic="/imu")


@pytest.fixture
def cam(logs) -> rd.PipelineDataFrame:
    return rd.read_log(str(logs), topic="/cam")


def _moves(frame: rd.PipelineDataFrame) -> set[str]:
    done = cut(optimized(frame), APART)
    return {type(n).__name__ for n in plans(done.plan) if isinstance(n, (ByHash, ByRange, Gather, Broadcast))}


STAYS = {
    "more keys than the recording": lambda imu, cam: imu.group_by("recording", "ok").agg(col("x").median()),
    "keys the other way round": lambda imu, cam: imu.unique(["ok", "recording"]).select("ok", "recording"),
    "a renamed key": lambda imu, cam: imu.select(run="recording", v="x").group_by("run").agg(col("v").median()),
    "after a filter and a computed column": lambda imu, cam: imu.filter(col("x") > 3).with_columns(y=col("x") * 2)
    .group_by("recording").agg(col("y").median()),
    "after another group": lambda imu, cam: imu.group_by("recording", "ok").agg(col("x").median())
    .group_by("recording").agg(col("x").median()),
    "after a join by recording": lambda imu, cam: imu.join(cam, on=["recording", "log_time"])
    .group_by("recording").agg(col("x_right").median()),
    "after an explode": lambda imu, cam: imu.with_columns(two=rd.concat_list("x", "x")).explode("two")
    .group_by("recording").agg(col("two").median()),
    "one topic twice": lambda imu, cam: imu.select("recording", "x").join(
        imu.group_by("recording").agg(m=col("x").median()), on="recording"),
    "a topic and its summary": lambda imu, cam: cam.join(imu.group_by("recording").agg(m=col("x").median()),
                                                         on="recording"),
    "sides that were pruned in other ways": lambda imu, cam: imu.filter(col("x") > 3).join(
        cam.filter(col("recording") != "c").select("recording", "log_time"), on=["recording", "log_time"]),
    "the key by itself": lambda imu, cam: imu.select("recording").unique(),
    "an order that is asked for": lambda imu, cam: imu.group_by("recording", maintain_order=True).agg(col("x").last()),
}  # fmt: skip


@pytest.mark.parametrize("name", STAYS)
def test_stays(imu, cam, name) -> None:
    frame = STAYS[name](imu, cam)
    assert not _moves(frame)
    same_rows(optimized(frame), APART, ordered="order" in name)


MOVES = {
    "other keys": (lambda imu, cam: imu.group_by("ok").agg(col("x").median()), {"ByHash"}),
    "a computed key": (lambda imu, cam: imu.group_by(r=col("recording").str.slice(0, 1) + "x").agg(col("x").median()),
                       {"ByHash"}),
    "a recording that was replaced": (lambda imu, cam: imu.with_columns(recording=rd.lit("one"))
                                      .group_by("recording", "ok").agg(col("x").median()), {"ByHash"}),
    "a join by time alone": (lambda imu, cam: imu.join(cam.select("log_time", y="x"), on="log_time"), {"ByHash"}),
    "recording against another column": (lambda imu, cam: imu.select("recording", "x").join(
        cam.select(other=col("recording") + "", y="x"), left_on="recording", right_on="other"), {"ByHash"}),
    "a window over all rows": (lambda imu, cam: imu.select("recording", m=col("x").rank()), {"Gather"}),
    "a full join gives rows of both sides": (lambda imu, cam: imu.select("recording", "log_time", "x").join(
        cam.select("recording", "log_time", y="x"), on=["recording", "log_time"], how="full", coalesce=True)
        .group_by("recording").agg(col("x").median()), {"ByHash"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_moves(imu, cam, name) -> None:
    make, moves = MOVES[name]
    frame = make(imu, cam)
    assert _moves(frame) == moves
    same_rows(optimized(frame), APART, ordered=False)


def test_other_files_are_other_partitions(logs, imu) -> None:
    """Recordings of the same names, but of other files: nobody knows that they lie alike."""
    some = rd.read_log([str(logs / f"{name}.mcap") for name in "abc"], topic="/imu").select("recording", y="x")
    frame = (
        imu.group_by("recording")
        .agg(col("x").median())
        .join(some.group_by("recording").agg(col("y").median()), on="recording")
    )
    assert _moves(frame) & {"ByHash", "Gather"}
    same_rows(optimized(frame), APART, ordered=False)


def test_a_topic_that_few_recordings_have(logs, imu) -> None:
    rare = rd.read_log(str(logs), topic="/rare").select("recording", "log_time", rare="x")
    frame = imu.join(rare, on=["recording", "log_time"], how="left", maintain_order="left")
    done = cut(optimized(frame), APART)
    assert done.place.parts == 4
    assert not _moves(frame)
    same_rows(optimized(frame), APART, ordered=True)
