"""Intervals and rows in them: odd frames, units, pushdown, refusals (tests/property has the naive oracle)."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError
from robodf.optimizer import optimize
from robodf.plan.base import lower_all, plans, tree
from robodf.plan.nodes import intervals as nodes
from robodf.plan.nodes.intervals import JoinOverlaps, MergeIntervals, SubtractIntervals, Within

T0 = datetime(2026, 1, 1)


def both(frame: rd.PipelineDataFrame, run) -> pl.DataFrame:
    found = run(frame)
    assert found.equals(lower_all(frame._plan).collect())
    assert list(found.schema.items()) == list(frame.schema.items())
    return found


def table(*pairs: tuple[int, int], **columns: list) -> rd.PipelineDataFrame:
    return rd.from_dict({"start": [a for a, _ in pairs], "end": [b for _, b in pairs], **columns})


@pytest.fixture
def points() -> rd.PipelineDataFrame:
    return rd.from_dict({"t": [1, 2, 3, 4], "x": list("abcd"), "recording": ["r", "r", "s", "s"]})


def test_episodes_find_their_rows(run) -> None:
    seconds = [0, 1, 2, 9, 10, 30]
    df = rd.from_dict({"recording": ["r"] * 6, "log_time": [T0 + timedelta(seconds=s) for s in seconds]})
    episodes = df.segment(gap="5s", min_duration="1s")
    assert both(df.within(episodes), run)["log_time"].to_list() == [T0 + timedelta(seconds=s) for s in seconds[:5]]
    joined = both(df.join_within(episodes, columns=["segment", "start"]), run)
    assert joined.columns == ["recording", "log_time", "segment", "start"]
    assert joined["segment"].to_list() == [0, 0, 0, 1, 1]
    marked = df.with_segment(gap="5s", min_duration="1s").filter(col("segment").is_not_null()).select("segment")
    assert marked.collect().equals(joined.select("segment"))


@pytest.mark.parametrize(
    ("bounds", "left", "right"),
    [("us", "ns", "us"), ("ns", "us", "ns"), ("ns", "ms", "ns"), ("ms", "ns", "ms"), ("us", "us", "us")],
)
def test_units(run, bounds: str, left: str, right: str) -> None:
    """Intervals in other units than the rows: exact, whichever is finer."""
    step = {"ns": 1, "us": 1_000, "ms": 1_000_000}
    units = [-3_000_001, -3_000_000, -2_999_999, -1_000_001, -1, 0, 1, 999_999, 1_000_000, 1_999_999, 2_000_000]
    rows = sorted({n // step[left] for n in units})
    intervals = [(-3_000_000, -1_000_001), (1, 1_999_999), (2_000_000, 2_000_000), (500, 400)]
    scaled = [(-(-a // step[bounds]), b // step[bounds]) for a, b in intervals]
    df = rd.from_polars(pl.DataFrame({"t": pl.Series(rows, dtype=pl.Int64).cast(pl.Datetime(left))}))  # type: ignore[arg-type]
    made = [pl.Series(n, v, pl.Int64).cast(pl.Datetime(right)) for n, v in zip(("start", "end"), zip(*scaled))]  # type: ignore[arg-type]
    wanted = [r for r in rows if any(a * step[right] <= r * step[left] <= b * step[right] for a, b in scaled)]
    found = both(df.within(rd.from_polars(pl.DataFrame(made)), on="t", by=None), run)
    assert found["t"].to_physical().to_list() == wanted


def test_far_bounds(run) -> None:
    df = rd.from_dict({"t": [T0]}).with_columns(col("t").dt.cast_time_unit("ns"))
    ever = rd.from_dict({"start": [datetime(1, 1, 1)], "end": [datetime(9999, 12, 31)]})
    assert both(df.within(ever, on="t", by=None), run).height == 1
    last, first = (1 << 63) - 1, -(1 << 63)
    ends = rd.from_dict({"t": [first, 0, last]})
    assert both(ends.within(table((first, first), (1, last)), on="t", by=None), run)["t"].to_list() == [first, last]
    parts = both(table((first, last)).subtract_intervals(table((first, -5), (5, last)), by=None), run)
    assert parts.rows() == [(-4, 4)]
    assert both(table((first, last)).subtract_intervals(table((first, last)), by=None), run).height == 0


def test_zones_are_instants(run) -> None:
    at = pl.Series("t", [0, 3_600_000_000], pl.Int64).cast(pl.Datetime("us", "UTC"))
    df = rd.from_polars(pl.DataFrame([at]))
    there = at.dt.convert_time_zone("Asia/Tokyo")
    other = rd.from_polars(pl.DataFrame([there.head(1).alias("start"), there.head(1).alias("end")]))
    assert both(df.within(other, on="t", by=None), run).height == 1


def test_no_rows(points, run) -> None:
    some, none = table((0, 9), tag=["x"]), table((0, 9), tag=["x"]).head(0)
    for rows, intervals in ((points.head(0), some), (points, none), (points.head(0), none)):
        assert both(rows.within(intervals, on="t", by=None), run).height == 0
        assert both(rows.join_within(intervals, on="t", by=None), run).columns == [
            *points.columns,
            "start",
            "end",
            "tag",
        ]
    assert both(some.subtract_intervals(none, by=None), run).rows() == [(0, 9, "x")]
    assert both(none.subtract_intervals(some, by=None), run).height == 0
    assert both(none.merge_intervals(by=None), run).height == 0
    assert both(none.overlap_intervals(none, by=None), run).height == 0
    assert both(none.pad_intervals(1, 1), run).height == 0


def test_names_that_are_taken(points, run) -> None:
    named = table((1, 2), (2, 3), x=["p", "q"])
    found = both(points.join_within(named, on="t", by=None), run)
    assert found.columns == ["t", "x", "recording", "start", "end", "x_right"]
    assert found.select("t", "x", "x_right").rows() == [(1, "a", "p"), (2, "b", "p"), (2, "b", "q"), (3, "c", "q")]
    only = points.join_within(named, on="t", by=None, suffix="_of").select("x_of", "t")
    assert both(only, run).rows() == [("p", 1), ("p", 2), ("q", 2), ("q", 3)]
    with pytest.raises(QueryError, match="x_right"):
        points.with_columns(x_right=1).join_within(named, on="t", by=None)
    with pytest.raises(QueryError, match="suffix"):
        points.join_within(named, on="t", by=None, suffix="")


def test_many_pairs_come_in_parts(run, monkeypatch) -> None:
    monkeypatch.setattr(nodes, "_PAIRS", 100)
    monkeypatch.setattr(nodes, "_ROWS", 7)
    df = rd.from_dict({"t": list(range(60))})
    found = both(df.join_within(table(*[(0, 100 - i) for i in range(80)], n=list(range(80))), on="t", by=None), run)
    assert found.select("t", "n").rows() == [(t, n) for t in range(60) for n in range(80) if t <= 100 - n]
    first = df.join_within(table(*[(0, 100)] * 80), on="t", by=None).head(3)
    assert both(first, run)["t"].to_list() == [0, 0, 0]


def test_lengths_go_with_the_bounds(run) -> None:
    df = rd.from_dict({"log_time": [T0, T0 + timedelta(seconds=10)], "recording": ["r", "r"]})
    episode = df.segment(gap="1h")
    padded = both(episode.pad_intervals("1s", timedelta(seconds=2)), run)
    assert padded.select("start", "duration", "rows").rows() == [
        (T0 - timedelta(seconds=1), timedelta(seconds=13), 2)
    ]  # fmt: skip
    rest = both(episode.subtract_intervals(episode.pad_intervals("-1s", "-1s")), run)
    assert rest["duration"].to_list() == [timedelta(seconds=1) - timedelta(microseconds=1)] * 2
    common = both(episode.intersect_intervals(episode.pad_intervals("-2s", 0).select("recording", "start", "end")), run)
    assert common.columns == episode.columns
    assert common["duration"].to_list() == [timedelta(seconds=8)]
    assert both(episode.pad_intervals("-6s", "-6s"), run).height == 0
    small = pl.DataFrame(
        {"start": [250], "end": [255], "duration": [5]}, {"start": pl.UInt8, "end": pl.UInt8, "duration": pl.Int64}
    )
    assert both(rd.from_polars(small).pad_intervals(50, 0), run).rows() == [(200, 255, 55)]


def test_intersections_in_other_units(run) -> None:
    fine = pl.Series([1_500, 3_000], dtype=pl.Int64).cast(pl.Datetime("ns"))
    coarse = pl.Series([2, 9], dtype=pl.Int64).cast(pl.Datetime("us"))
    a = rd.from_polars(pl.DataFrame({"start": fine[:1], "end": fine[1:]}))
    b = rd.from_polars(pl.DataFrame({"start": coarse[:1], "end": coarse[1:]}))
    assert both(a.intersect_intervals(b, by=None), run).select(pl.all().to_physical()).rows() == [(2_000, 3_000)]
    with pytest.raises(SchemaError, match="finer"):
        b.intersect_intervals(a, by=None)


def test_merged_by_a_gap(run) -> None:
    df = table((0, 4), (5, 6), (8, 9), (3, 3), (20, 10))
    assert both(df.merge_intervals(by=None), run).rows() == [(0, 6, 6), (8, 9, 1)]
    assert both(df.merge_intervals(gap=2, by=None), run).rows() == [(0, 9, 9)]
    assert both(df.with_columns(recording=rd.lit("r")).merge_intervals(2).filter(recording="r"), run).height == 1


def test_filters_go_down(points, run) -> None:
    mine = table((1, 3), (3, 4), recording=["r", "s"], tag=["p", "q"])
    both_sides = points.within(mine, on="t").filter(recording="s")
    plan = tree(optimize(both_sides._plan))
    assert plan.startswith("Within")
    assert plan.count('Filter col("recording")') == 2
    assert both(both_sides, run)["x"].to_list() == ["c", "d"]
    late = points.within(mine, on="t").filter(col("t") > 1)
    assert tree(optimize(late._plan)).count("Filter") == 1
    assert tree(optimize(late._plan)).startswith("Within")
    joined = points.join_within(mine, on="t").filter(col("tag") == "q", col("x") != "c", recording="s")
    plan = tree(optimize(joined._plan))
    assert plan.startswith("JoinOverlaps")
    assert both(joined, run)["x"].to_list() == ["d"]
    mixed = points.join_within(mine, on="t").filter(col("t") > col("start"))
    assert tree(optimize(mixed._plan)).startswith("Filter")
    assert both(mixed, run)["x"].to_list() == ["b", "d"]
    rest = mine.subtract_intervals(mine.head(1)).filter(col("tag") != "x", recording="s").filter(col("start") > 0)
    plan = tree(optimize(rest._plan))
    assert plan.startswith('Filter col("start")')
    assert plan.index("SubtractIntervals") < plan.index("MergeIntervals") < plan.rindex("Filter")
    assert both(rest, run)["tag"].to_list() == ["q"]
    assert both(points.within(mine, on="t").select("x"), run)["x"].to_list() == ["a", "b", "c", "d"]


def test_a_frame_of_polars(points, run) -> None:
    intervals = pl.DataFrame({"start": [1], "end": [2]})
    assert both(points.within(intervals, on="t", by=None), run).height == 2
    assert both(points.within(intervals.lazy(), on="t", by=None), run).height == 2


def test_errors(points) -> None:
    good = table((0, 9))
    with pytest.raises(ColumnNotFoundError, match="None"):
        points.within(good, on="t")
    with pytest.raises(ColumnNotFoundError, match="None"):
        points.drop("recording").within(table((0, 9), recording=["r"]), on="t")
    with pytest.raises(ColumnNotFoundError, match="start"):
        points.within(points, on="t", by=None)
    with pytest.raises(ColumnNotFoundError, match="log_time"):
        points.within(good, by=None)
    with pytest.raises(ColumnNotFoundError, match="tag"):
        points.join_within(good, on="t", by=None, columns="tag")
    for wrong in (
        lambda: points.within(good, on="x", by=None),
        lambda: points.within(rd.from_dict({"start": ["a"], "end": ["b"]}), on="t", by=None),
        lambda: points.within(rd.from_dict({"start": [T0], "end": [T0]}), on="t", by=None),
        lambda: points.within(rd.from_dict({"start": [T0], "end": [1]}), on="t", by=None),
        lambda: points.within(table((0, 1), recording=[5]), on="t"),
        lambda: good.with_columns(t=rd.lit(T0)).within(
            rd.from_dict({"start": [T0], "end": [T0]}).with_columns(col("start", "end").dt.replace_time_zone("UTC")),
            on="t", by=None),
    ):  # fmt: skip
        with pytest.raises(SchemaError):
            wrong()
    for wrong in (
        lambda: good.pad_intervals("1s"), lambda: good.merge_intervals(-1, by=None), lambda: good.pad_intervals(True),
        lambda: points.within([(0, 1)], on="t", by=None), lambda: good.merge_intervals("1s", by=None),
    ):  # fmt: skip
        with pytest.raises(OptionError):
            wrong()


def test_pickle() -> None:
    a = table((0, 9))
    for frame, kind in (
        (a.within(a, on="start", by=None), Within), (a.overlap_intervals(a, by=None), JoinOverlaps),
        (a.subtract_intervals(a, by=None), SubtractIntervals), (a.merge_intervals(by=None), MergeIntervals),
    ):  # fmt: skip
        assert any(isinstance(p, kind) for p in plans(pickle.loads(pickle.dumps(frame))._plan))
