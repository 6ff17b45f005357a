"""Streams of an align are filtered to the times that the clock can ask for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.io.source import Request, Source, Support
from robodf.optimizer import optimize
from robodf.optimizer.narrow_align import narrow_align
from robodf.optimizer.push_filter import push_filter
from robodf.plan.base import lower_all, tree
from robodf.plan.bounds import narrowed
from robodf.plan.comparison import as_comparison
from robodf.plan.nodes.scan import Scan


@dataclass(frozen=True)
class Log(Source):
    """Times from `first` to `last` in steps of 10, known to its metadata; `exact`: it can filter them."""

    title: str
    first: int
    last: int
    exact: bool = True
    knows: bool = True

    @property
    def name(self) -> str:
        return self.title

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {"t": pl.Int64(), "recording": pl.String(), "x": pl.Int64()}

    def support(self, predicate) -> Support:
        simple = as_comparison(predicate)
        return Support.EXACT if self.exact and simple is not None and simple[0] == "t" else Support.NONE

    def bounds(self, column: str, predicates: tuple) -> tuple[int, int] | None:
        return (self.first, self.last) if self.knows and column == "t" else None

    def scan(self, request: Request) -> pl.LazyFrame:
        times = pl.int_range(self.first, self.last + 1, 10, eager=True).alias("t")
        frame = pl.LazyFrame({"t": times}).select("t", pl.lit("a").alias("recording"), x=pl.col("t") * 2)
        return frame.filter(*(p.polars for p in request.predicates)).select(request.columns)


CAM, IMU = Log("cam", 1000, 1100), Log("imu", 0, 5000)


def frame(source: Source) -> rd.PipelineDataFrame:
    return rd.PipelineDataFrame(Scan(source))


def aligned(clock="cam", method="nearest", tolerance=20, cam=CAM, imu=IMU, **more) -> rd.PipelineDataFrame:
    frames = {"imu": frame(imu)} if not isinstance(clock, str) else {"cam": frame(cam), "imu": frame(imu)}
    return rd.align(frames, clock, on="t", method=method, tolerance=tolerance, **more)


@pytest.mark.parametrize(
    ("method", "tolerance", "where"),
    [
        ("nearest", 20, '(col("t") >= 980) & (col("t") <= 1120)'),
        ("linear", 20, '(col("t") >= 980) & (col("t") <= 1120)'),
        ("slerp", 0, '(col("t") >= 1000) & (col("t") <= 1100)'),
        ("previous", 20, '(col("t") >= 980) & (col("t") <= 1100)'),
        ("next", 20, '(col("t") >= 1000) & (col("t") <= 1120)'),
        ("none", None, '(col("t") >= 1000) & (col("t") <= 1100)'),
        ("previous", None, 'col("t") <= 1100'),
        ("next", None, 'col("t") >= 1000'),
    ],
)
def test_what_metadata_says_of_the_clock(fires, method: str, tolerance: int | None, where: str) -> None:
    query = aligned(method=method, tolerance=tolerance)
    said = where.replace("(", "").replace(")", "").replace('col"t"', 'col("t")')
    parts = " & ".join(f"{p} (exact)" for p in said.split(" & "))
    within = "" if tolerance is None else f"({tolerance})"
    fires(query, narrow_align, f"""
        Align on t by recording clock=cam imu:{method}{within}
          Select [recording, t, cam.x=col("x"), cam.age=(col("t") - col("t")).cast(Int64, strict=False)]
            Scan cam
          Scan imu where={parts}""")  # fmt: skip


def test_filters_say_it_too(fires) -> None:
    imu = Log("imu", 0, 5000, exact=False)
    clock = rd.from_dict({"t": [5, 40, 90], "recording": ["a", "a", "b"]})
    query = aligned(clock, imu=imu, method="previous", tolerance=7).filter(col("t") >= 40, col("t") < 80)
    fires(query, (push_filter, narrow_align), """
        Align on t by recording clock=frame imu:previous(7)
          Filter col("t") < 80
            Filter col("t") >= 40
              InMemory 3 rows, 2 columns
          Filter col("t") <= 80
            Filter col("t") >= 33
              Scan imu""")  # fmt: skip


def test_a_rate_keeps_the_filter_and_bounds_its_ticks(fires) -> None:
    query = aligned(50, tolerance=20).filter(col("t") > 100).filter(col("recording") == "a")
    fires(query, (push_filter, narrow_align), """
        Filter col("t") > 100
          Align on t by recording clock=50 >= 100 imu:nearest(20)
            Filter col("recording") == 'a'
              Scan imu where=col("t") >= 80 (exact)""")  # fmt: skip


def test_start_and_end_of_a_rate(fires) -> None:
    fires(aligned(50, tolerance=20, start=100, end=200), narrow_align, """
        Align on t by recording clock=50 >= 100 <= 199 imu:nearest(20)
          Scan imu where=col("t") >= 80 (exact) & col("t") <= 219 (exact)""")  # fmt: skip


def test_what_is_narrow_enough_stays(keeps) -> None:
    keeps(aligned(imu=Log("imu", 1000, 1100)), narrow_align)
    keeps(aligned(method="linear", tolerance=None), narrow_align)
    keeps(aligned(cam=Log("cam", 0, 9, knows=False)), narrow_align)
    keeps(aligned(50, tolerance=None, start=100, end=200), narrow_align)  # its ticks depend on the ends of all streams
    already = frame(IMU).filter(col("t") >= 980, col("t") <= 1120)
    query = rd.align({"cam": frame(CAM), "imu": already}, "cam", on="t", method="nearest", tolerance=20)
    keeps(query, narrow_align)


def test_it_comes_to_an_end_where_the_filter_is_not_seen_any_more() -> None:
    # A join says nothing of the times that it gives: the node itself remembers what it asked for.
    joined = frame(Log("imu", 0, 5000, knows=False)).join(rd.from_dict({"recording": ["a"]}), on="recording")
    query = rd.align({"cam": frame(CAM), "imu": joined}, "cam", on="t", method="nearest", tolerance=20)
    after = optimize(query._plan)
    assert tree(after).count("980") == 1
    assert optimize(after) is after
    narrower = optimize(query.filter(col("t") <= 1050)._plan)
    assert "1070" in tree(narrower)
    assert lower_all(narrower).collect().rows() == lower_all(query.filter(col("t") <= 1050)._plan).collect().rows()


def test_times_in_ns(fires) -> None:
    times = [datetime(2026, 1, 1, 0, 0, s) for s in range(4)]
    imu = rd.from_polars(pl.DataFrame({"t": times, "x": [0, 1, 2, 3]}, schema_overrides={"t": pl.Datetime("ns")}))
    query = rd.align({"imu": imu}, "10hz", on="t", by=None, tolerance="20ms").filter(col("t") >= datetime(2026, 1, 1))
    after = optimize(query._plan)
    assert after is not query._plan
    assert lower_all(after).collect().rows() == lower_all(query._plan).collect().rows()
    assert lower_all(after).collect().height == 4


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (lambda f: f.filter(col("t") > 2000), (2000, 5000)),
        (lambda f: f.filter(col("t") == 2000), (2000, 2000)),
        (lambda f: f.filter(col("t").is_in([7, 9])), (7, 9)),
        (lambda f: f.filter(col("t") != 7), (0, 5000)),
        (lambda f: f.filter(col("t") < 7.5), (0, 5000)),
        (lambda f: f.filter(col("x") < 7), (0, 5000)),
        (lambda f: f.filter((col("t") < 7) | (col("x") > 1)), (0, 5000)),
        (lambda f: f.select("t", y=col("x") + 1).sort("y").head(3).unique().with_row_index(), (0, 5000)),
        (lambda f: f.with_columns(y=col("x") + 1).sample(3), (0, 5000)),
        (lambda f: f.rename({"t": "u"}).rename({"u": "t"}), (0, 5000)),
        (lambda f: f.with_columns(t=col("t") + 1), (None, None)),
        (lambda f: f.group_by("recording").agg(t=col("t").max()), (None, None)),
        (lambda f: rd.concat([f, frame(CAM), frame(Log("x", -50, 10))]), (-50, 5000)),
        (lambda f: rd.concat([f, frame(Log("x", 0, 10, knows=False))]), (None, None)),
        (lambda f: rd.concat([f, f.drop("t")], how="diagonal"), (0, 5000)),
        (lambda f: rd.align({"a": f}, frame(CAM), on="t"), (1000, 1100)),
        (lambda f: rd.align({"a": f}, 50, on="t", start=10, end=20), (10, 19)),
    ],
)
def test_what_is_known_of_a_column(make, known: tuple) -> None:
    assert make(frame(IMU))._plan.range_of("t") == known


def test_comparisons_of_times_may_be_off_by_the_coarser_unit() -> None:
    at = datetime(1970, 1, 1, 0, 0, 0, 5)
    bounds = lambda unit: narrowed((None, None), [col("t") == at], "t", pl.Datetime(unit))  # noqa: E731
    assert bounds("us") == (5, 5)
    assert bounds("ns") == (4000, 6000)
    assert bounds("ms") == (-1, 2)
