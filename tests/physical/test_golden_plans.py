"""What robots' queries become over recordings: no rows move between partitions, for a recording is in one.

The plans are in `golden/`, a file each. ROBODF_WRITE_GOLDEN=1 writes them anew; read the difference before you keep it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from cut_plans import SECOND, START, optimized, same_rows, write_log
from polars.testing import assert_frame_equal

import robodf as rd
from robodf import PipelineDataFrame as Frame
from robodf import col
from robodf.physical.cut import Limits, cut
from robodf.physical.exchange import Broadcast, ByHash, ByRange, Counted, Gather, Rebatched, Tagged
from robodf.plan.base import plans, tree

GOLDEN = Path(__file__).with_name("golden")
MOVING = (ByHash, ByRange, Gather, Broadcast, Counted, Rebatched, Tagged)

APART = Limits(cpus=2, partition_bytes=3000, small_bytes=0)
"""A recording is a piece, and nothing is so small that it would be gathered or sent."""

Query = Callable[[Frame, Frame], Frame]

QUERIES: dict[str, Query] = {
    "group_by_recording": lambda imu, cam: imu.group_by("recording").agg(n=rd.len(), x=col("x").mean()),
    "group_by_recording_whole": lambda imu, cam: imu.group_by("recording").agg(col("x").median(), last=col("x").last()),
    "group_by_recording_and_more": lambda imu, cam: imu.group_by("recording", "ok", maintain_order=True).agg(
        col("x").max()),
    "align_to_a_rate": lambda imu, cam: rd.align({"imu": imu, "cam": cam}, "20hz", tolerance="50ms"),
    "align_to_frames": lambda imu, cam: rd.align({"imu": imu, "cam": cam}, "cam", tolerance="50ms",
                                                 method={"imu": "linear", "cam": "none"}),
    "align_to_frames_of_a_time": lambda imu, cam: rd.align({"imu": imu, "cam": cam}, "cam", tolerance="50ms").filter(
        col("log_time") < datetime(2023, 11, 15, 0, 13), col("recording") != "b"),
    "align_then_features": lambda imu, cam: rd.align({"imu": imu, "cam": cam}, "cam").select(
        "recording", "log_time", "imu.x", step=col("imu.x").diff().over("recording")),
    "resample_by_windows": lambda imu, cam: imu.resample("100ms", by="recording", agg="mean"),
    "resample_to_a_rate": lambda imu, cam: imu.resample("50hz", by="recording", interpolation="linear"),
    "segments": lambda imu, cam: imu.segment(when=col("ok"), min_duration="100ms"),
    "with_segment": lambda imu, cam: imu.with_segment(when=col("ok"), gap="1s"),
    "rows_within_segments": lambda imu, cam: cam.within(imu.segment(when=col("ok"))),
    "rows_with_their_segment": lambda imu, cam: cam.join_within(imu.segment(when=col("ok")), columns=["segment"]),
    "merged_segments": lambda imu, cam: imu.segment(when=col("ok")).merge_intervals("10ms"),
    "unique": lambda imu, cam: imu.unique(["recording", "sequence"]),
    "unique_times": lambda imu, cam: imu.select("recording", "log_time").unique(),
    "dedup": lambda imu, cam: imu.dedup(["recording", "x"]),
    "windows": lambda imu, cam: imu.with_columns(
        z=col("x") - col("x").mean().over("recording"), d=col("x").diff().over("recording")),
    "first_seconds": lambda imu, cam: imu.filter(
        (col("log_time") - col("log_time").min().over("recording")).dt.total_milliseconds() < 300),
    "join_of_topics": lambda imu, cam: imu.join(cam, on=["recording", "log_time"]),
    "left_join_of_topics": lambda imu, cam: imu.join(cam, on=["recording", "log_time"], how="left",
                                                     maintain_order="left"),
    "rows_of_good_recordings": lambda imu, cam: imu.join(
        cam.group_by("recording").agg(n=rd.len()).filter(col("n") > 22), on="recording", how="semi"),
    "asof": lambda imu, cam: imu.select("recording", "log_time", "x").join_asof(
        cam.select("recording", "log_time", frame="sequence"), on="log_time", by="recording"),
    "asof_of_sorted": lambda imu, cam: imu.select("recording", "log_time", "x").sort("recording", "log_time").join_asof(
        cam.select("recording", "log_time", frame="sequence").sort("recording", "log_time"), on="log_time",
        by="recording"),
    "rolling": lambda imu, cam: imu.sort("recording", "log_time").rolling(
        "log_time", period="100ms", group_by="recording").agg(col("x").mean()),
    "sorted": lambda imu, cam: imu.sort("recording", "x"),
    "renamed": lambda imu, cam: imu.select(run="recording", v="x").with_columns(m=col("v").max().over("run"))
    .group_by("run").agg(col("m").median()),
    "recording_dropped_at_the_end": lambda imu, cam: imu.with_columns(m=col("x").max().over("recording")).select("m"),
    "used_twice": lambda imu, cam: _with_itself(imu.group_by("recording").agg(n=rd.len(), x=col("x").median())),
    "shifted_clock": lambda imu, cam: rd.align({"imu": imu.shift_time({"a": "5ms", "b": "-5ms"}), "cam": cam}, "cam"),
    "one_recording": lambda imu, cam: imu.filter(col("recording") == "b").group_by("recording").agg(col("x").median()),
}  # fmt: skip

UNORDERED = ("group_by_recording", "group_by_recording_whole", "unique", "unique_times", "join_of_topics",
             "rows_of_good_recordings", "rolling", "renamed", "used_twice", "one_recording")  # fmt: skip


def _with_itself(means: Frame) -> Frame:
    return means.join(means.filter(col("n") > 110).select("recording", "x"), on="recording", suffix="_some")


@pytest.mark.parametrize("name", QUERIES)
def test_nothing_moves(logs: Path, name: str) -> None:
    imu, cam = (rd.read_log(str(logs), topic=topic) for topic in ("/imu", "/cam"))
    plan = optimized(QUERIES[name](imu, cam))
    done = cut(plan, APART)
    text = tree(done.plan) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("ROBODF_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")
    assert [n.label() for n in plans(done.plan) if isinstance(n, MOVING)] == []
    assert done.place.parts == {"one_recording": 1, "align_to_frames_of_a_time": 2}.get(name, 4)
    same_rows(plan, APART, ordered=name not in UNORDERED)


def test_every_file_is_of_a_query() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == QUERIES.keys()


@pytest.fixture(scope="module")
def split_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of two files each, listed in their metadata.yaml."""
    folder = tmp_path_factory.mktemp("split")
    for k, name in enumerate(["r1", "r2", "r3"]):
        (folder / name).mkdir()
        for part in range(2):
            write_log(folder / name / f"{name}_{part}.mcap", START + (60 * k + 2 * part) * SECOND, 100,
                      (("/imu", 1), ("/cam", 5)))  # fmt: skip
        files = "".join(f"    - {name}_{part}.mcap\n" for part in range(2))
        (folder / name / "metadata.yaml").write_text(
            f"rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: mcap\n  relative_file_paths:\n{files}"
        )
    return folder


@pytest.mark.parametrize("name", [name for name in QUERIES if name != "one_recording"])
def test_nothing_moves_of_recordings_of_several_files(split_logs: Path, name: str) -> None:
    imu, cam = (rd.read_log(str(split_logs / "*" / "*.mcap"), topic=topic) for topic in ("/imu", "/cam"))
    plan = optimized(QUERIES[name](imu, cam))
    done = cut(plan, APART)
    assert [n.label() for n in plans(done.plan) if isinstance(n, MOVING)] == []
    assert done.place.parts == 3
    same_rows(plan, APART, ordered=name not in UNORDERED)


def test_files_of_recordings_that_lie_between_those_of_others(split_logs: Path) -> None:
    """The rows are in the order of the files: where somebody sees it, it is kept."""
    files = [str(split_logs / name / f"{name}_{part}.mcap") for part in range(2) for name in ("r1", "r2", "r3")]
    imu = rd.read_log(files, topic="/imu")
    windows = optimized(imu.with_columns(d=col("x").diff().over("recording")))
    assert any(isinstance(n, ByHash) for n in plans(cut(windows, APART).plan))
    same_rows(windows, APART, ordered=True)
    grouped = optimized(imu.group_by("recording").agg(col("x").median()))
    assert [n.label() for n in plans(cut(grouped, APART).plan) if isinstance(n, MOVING)] == []
    same_rows(grouped, APART, ordered=False)


def test_writing(logs: Path, tmp_path: Path) -> None:
    """A part for each recording; with resume=True the partitions are those of a cluster."""
    imu, cam = (rd.read_log(str(logs), topic=topic) for topic in ("/imu", "/cam"))
    frame = rd.align({"imu": imu, "cam": cam}, "cam", tolerance="50ms")
    wanted = frame.collect()
    with rd.config(partition_bytes=3000, small_bytes=0, progress=False):
        report = frame.to_parquet(tmp_path / "out", resume=True)
    assert len(report.files) == 4
    assert_frame_equal(rd.read_parquet(str(tmp_path / "out" / "*.parquet")).collect(), wanted)
