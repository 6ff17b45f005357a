"""Corrected clocks: exact in every unit, and filters on the corrected time reach the log."""

from __future__ import annotations

import json
import operator
from datetime import datetime, timedelta

import polars as pl
import pytest

import robodf as rd
from robodf.errors import ColumnNotFoundError, OptionError, SchemaError
from robodf.io.mcap.writer import McapWriter
from robodf.plan.base import lower_all, plans
from robodf.plan.nodes.shift import ShiftTimes

EPOCH = datetime(2026, 1, 1)
T0 = int((EPOCH - datetime(1970, 1, 1)).total_seconds()) * 10**9
COMPARE = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two recordings of 20 s with 100 messages a second."""
    folder = tmp_path_factory.mktemp("logs")
    for name in ("a", "b"):
        with McapWriter(str(folder / f"{name}.mcap"), chunk_size=2048) as out:
            schema = out.add_schema("X", "jsonschema", json.dumps({"properties": {"x": {"type": "number"}}}).encode())
            channel = out.add_channel("/x", "json", schema)
            for i in range(2000):
                out.write(channel, T0 + i * 10_000_000, json.dumps({"x": i}).encode())
    return folder


def both(frame: rd.PipelineDataFrame, run) -> pl.DataFrame:
    found = run(frame)
    assert found.equals(lower_all(frame._plan).collect())
    assert found.schema == frame.schema
    return found


@pytest.mark.parametrize("by", ["-12ms", timedelta(milliseconds=-12)])
@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_every_unit(run, by, unit: str, zone: str | None) -> None:
    dtype = pl.Datetime(unit, zone)  # type: ignore[arg-type]
    series = pl.Series("log_time", [0, 20_000_000, None], pl.Int64).cast(dtype)
    found = both(rd.from_polars(pl.DataFrame([series])).shift_time(by), run)
    step = {"ns": 12_000_000, "us": 12_000, "ms": 12}[unit]
    assert found.schema["log_time"] == dtype
    assert found["log_time"].to_physical().to_list() == [-step, 20_000_000 - step, None]


@pytest.mark.parametrize("dtype", [pl.Int64(), pl.UInt64(), pl.Int16(), pl.Duration("us")])
def test_other_times(run, dtype) -> None:
    series = pl.Series("t", [100, 50], pl.Int64).cast(dtype)
    df = rd.from_polars(pl.DataFrame([series, pl.Series("recording", ["a", "b"])]))
    by = (-7, {"b": -7}) if dtype.is_integer() else ("-7us", {"b": "-7us"})
    one, each = (both(df.shift_time(b, on="t"), run)["t"] for b in by)
    assert (one.dtype, each.dtype) == (dtype, dtype)
    assert (one.to_physical().to_list(), each.to_physical().to_list()) == ([93, 43], [100, 43])


def test_offsets_by_recording(run) -> None:
    series = pl.Series("log_time", [0, 0, 0, None, 0], pl.Int64).cast(pl.Datetime("ns"))
    df = rd.from_polars(pl.DataFrame([series, pl.Series("recording", ["a", "b", None, "a", "c"])]))
    found = both(df.shift_time({"a": "5ns", "b": timedelta(microseconds=-1), "unused": "1s"}), run)
    assert found["log_time"].to_physical().to_list() == [5, -1000, 0, None, 0]
    assert both(df.shift_time({}), run).equals(df.collect())
    numbered = rd.from_dict({"robot": [1, 2], "t": [10, 10]})
    assert both(numbered.shift_time({2: 5}, on="t", key="robot"), run)["t"].to_list() == [10, 15]
    assert "ShiftTimes" in str(df.shift_time({"a": "5ns"}).explain("optimized"))


def test_a_filter_on_the_corrected_time_reaches_the_log(logs, run) -> None:
    df = rd.read_mcap(logs / "a.mcap", "/x").shift_time("-1.5s")
    part = df.time_range(EPOCH + timedelta(seconds=3), EPOCH + timedelta(seconds=3.03))
    plan = str(part.explain("optimized"))
    assert "Filter" not in plan
    assert plan.count("(exact)") == 2
    assert both(part, run)["x"].to_list() == [450, 451, 452]
    again = df.shift_time("1s").filter(rd.col("log_time") >= EPOCH + timedelta(seconds=19.4))
    assert "(exact)" in str(again.explain("optimized"))
    assert both(again, run)["x"].to_list() == list(range(1990, 2000))


def test_a_filter_on_times_corrected_by_recording_narrows_the_log(logs, run) -> None:
    df = rd.read_mcap(logs, "/x").shift_time({"a": "100ms", "b": "-50ms"})
    part = df.time_range(EPOCH + timedelta(seconds=3), EPOCH + timedelta(seconds=3.02)).select("recording", "x")
    plan = str(part.explain("optimized"))
    assert plan.count("(exact)") == 2
    assert "0, 0, 2, 900000)" in plan
    found = both(part, run)
    assert sorted(found.rows()) == [("a", 290), ("a", 291), ("b", 305), ("b", 306)]
    one = df.filter(recording="b").filter(rd.col("log_time") == EPOCH)
    assert both(one, run)["x"].to_list() == [5]
    assert str(one.explain("optimized")).count("(exact)") == 3
    assert both(df.select("x"), run).height == 4000
    assert "ShiftTimes" not in str(df.select("x").explain("optimized"))


@pytest.mark.parametrize("compare", COMPARE)
@pytest.mark.parametrize("by", ["-1001ns", "999ns", "1us", "0ns", {"a": "-1001ns", "b": "2us"}])
def test_comparisons_around_the_bound(run, compare, by) -> None:
    """Polars rounds nanoseconds to compare them with microseconds, or not, and what is pushed must do as it does."""
    units = [*range(-2003, 4005, 331), 0, 999, 1000, 1001, 1999, 2000, 2001, None]
    series = pl.Series("log_time", units, pl.Int64).cast(pl.Datetime("ns"))
    df = rd.from_polars(pl.DataFrame([series, pl.Series("recording", ["a", "b"] * len(units))[: len(units)]]))
    shifted = df.shift_time(by)
    for bound in (datetime(1970, 1, 1, 0, 0, 0, 1), rd.lit(1000, pl.Datetime("ns")), rd.lit(1, pl.Datetime("us"))):
        both(shifted.filter(compare(rd.col("log_time"), bound)), run)


def test_bounds_that_no_longer_fit(run) -> None:
    last = (1 << 63) - 1
    series = pl.Series("log_time", [0, None, last - 20], pl.Int64).cast(pl.Datetime("ns"))
    df = rd.from_polars(pl.DataFrame([series, pl.Series("recording", ["a", "a", "a"])]))
    for by in ("-10ns", {"a": "-10ns"}):
        late = df.shift_time(by).filter(rd.col("log_time") >= rd.lit(last - 5, pl.Datetime("ns")))
        assert both(late, run).height == 0
        assert both(df.shift_time(by).filter(rd.col("log_time") > rd.lit(0, pl.Datetime("ns"))), run).height == 1


def test_what_is_known_of_the_times(logs) -> None:
    df = rd.read_mcap(logs, "/x").time_range(T0, T0 + 10**9)
    known = df.shift_time({"a": "100ms", "b": "-50ms"})._plan
    low, high = df._plan.range_of("log_time")
    assert known.range_of("log_time") == (low - 50_000_000, high + 100_000_000)
    assert known.range_of("publish_time") == df._plan.range_of("publish_time")
    marked = df.with_segment(gap="1s")
    assert (
        marked._plan.range_of("log_time")
        == marked.within(df.segment(gap="1s"))._plan.range_of("log_time")
        == (low, high)
    )
    assert rd.from_dict({"t": [1], "recording": ["a"]}).shift_time({"a": 1}, on="t")._plan.range_of("t") == (None, None)


def test_errors() -> None:
    df = rd.from_polars(pl.DataFrame({"log_time": [EPOCH], "recording": ["a"], "x": ["y"]}))
    for wrong in (
        lambda: df.shift_time(5), lambda: df.shift_time("12"), lambda: df.shift_time("1 month"),
        lambda: df.shift_time("1ns"), lambda: df.shift_time({"a": 5}), lambda: df.shift_time("300000d"),
    ):  # fmt: skip
        with pytest.raises(OptionError):
            wrong()
    with pytest.raises(ColumnNotFoundError):
        df.shift_time("1s", on="t")
    with pytest.raises(ColumnNotFoundError):
        df.shift_time({"a": "1s"}, key="robot")
    with pytest.raises(SchemaError):
        df.shift_time("1s", on="x")
    with pytest.raises(SchemaError, match="keys"):
        df.shift_time({1: "1s"})


def test_pickle() -> None:
    import pickle

    df = rd.from_dict({"t": [1], "recording": ["a"]}).shift_time({"a": 2}, on="t")
    assert any(isinstance(p, ShiftTimes) for p in plans(pickle.loads(pickle.dumps(df))._plan))


@pytest.mark.parametrize("dtype", [pl.UInt32, pl.Int8, pl.UInt64])
def test_what_an_integer_does_not_hold_is_an_error(dtype) -> None:
    frame = rd.from_polars(pl.DataFrame({"t": [3], "recording": ["a"]}, schema_overrides={"t": dtype}))
    least = 0 if dtype in (pl.UInt32, pl.UInt64) else -128
    for by in (least - 4, {"a": least - 4}):
        with pytest.raises(pl.exceptions.PolarsError):
            frame.shift_time(by, on="t").collect()
    large = rd.from_polars(pl.DataFrame({"t": [2**63], "recording": ["a"]}, schema_overrides={"t": pl.UInt64}))
    for by in (-5, {"a": -5}):
        assert large.shift_time(by, on="t").collect()["t"].to_list() == [2**63 - 5]
