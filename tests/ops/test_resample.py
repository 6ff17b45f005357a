"""Regular windows and ticks, against loops in plain Python."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError
from robodf.optimizer import optimize
from robodf.plan.base import lower_all, tree

T0 = datetime(2026, 1, 1)
MS = 1_000_000


def both(frame: rd.PipelineDataFrame, run) -> pl.DataFrame:
    found = run(frame)
    assert found.equals(lower_all(frame._plan).collect())
    assert list(found.schema.items()) == list(frame.schema.items())
    return found


def stream(rows: list[tuple], unit: str = "ns") -> rd.PipelineDataFrame:
    """Rows of (recording, milliseconds, x)."""
    step = {"ns": MS, "us": 1_000, "ms": 1}[unit]
    at = pl.Series("log_time", [None if t is None else t * step for _, t, _ in rows], pl.Int64).cast(pl.Datetime(unit))  # type: ignore[arg-type]
    return rd.from_polars(
        pl.DataFrame([at, pl.Series("recording", [r for r, _, _ in rows], pl.String),
                      pl.Series("x", [x for _, _, x in rows], pl.Float64)])
    )  # fmt: skip


def naive(rows: list[tuple], every: int, closed: str, label: str) -> dict[tuple, list[float]]:
    found: dict[tuple, list[float]] = {}
    for recording, t, x in sorted((r for r in rows if r[1] is not None), key=lambda r: (r[0], r[1])):
        window = t // every if closed == "left" else (t - 1) // every
        found.setdefault((recording, (window + (label == "right")) * every), []).append(x)
    return found


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("label", ["left", "right"])
@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_windows(run, closed: str, label: str, unit: str) -> None:
    draw = random.Random(1)
    rows = [(draw.choice("cab"), draw.choice([None, *range(-90, 400, 10)]), draw.randrange(8) / 4) for _ in range(200)]
    wanted = naive(rows, 50, closed, label)
    df = stream(rows, unit)
    found = both(
        df.resample("50ms", by="recording", agg={"x": "sum", "n": rd.len(), "late": col("x").last()}, closed=closed,
                    label=label), run,
    )  # fmt: skip
    step = {"ns": MS, "us": 1_000, "ms": 1}[unit]
    assert found.columns == ["recording", "log_time", "x", "n", "late"]
    assert found.with_columns(col("log_time").to_physical().polars // step).rows() == [
        (r, t, sum(xs), len(xs), xs[-1]) for (r, t), xs in sorted(wanted.items())
    ]
    # What follows may not take the times for sorted: they are so in each recording only.
    again = df.resample("50ms", by="recording", agg="count").group_by("log_time").agg(rd.len()).sort("log_time")
    times = sorted({t for _, t in naive(rows, 50, "left", "left")})
    assert both(again, run)["log_time"].to_physical().to_list() == [t * step for t in times]


def test_rates_and_lengths(run) -> None:
    df = stream([("a", t, float(t)) for t in range(0, 100, 5)])
    by_rate = both(df.resample("50hz", agg="mean"), run)
    for every in ("20ms", timedelta(milliseconds=20), "0.02s"):
        assert both(df.resample(every, agg="mean"), run).equals(by_rate)
    assert by_rate["x"].to_list() == [7.5, 27.5, 47.5, 67.5, 87.5]
    thirty = both(df.resample("30Hz", agg="max"), run)
    assert thirty["log_time"].to_physical().to_list() == [0, 33_333_333, 66_666_666, 99_999_999][:3]
    assert both(stream([("a", 40, 1.0)], "ms").resample("30hz", agg="max"), run)["log_time"][0] == datetime(
        1970, 1, 1, microsecond=33_000
    )


def test_forms_of_agg(run) -> None:
    df = rd.from_dict({"t": [0, 1, 5], "x": [1.0, 3.0, 5.0], "b": [True, False, True], "s": ["p", "q", "r"]})
    assert both(df.resample(5, on="t", agg="mean"), run).rows() == [(0, 2.0, 0.5), (5, 5.0, 1.0)]
    assert both(df.resample(5, on="t", agg={"s": "last"}), run).rows() == [(0, "q"), (5, "r")]
    several = both(df.resample(5, on="t", agg={"x": ["min", "max"]}), run)
    assert several.columns == ["t", "x_min", "x_max"]
    listed = both(df.resample(5, on="t", agg=[col("x").sum(), col("s").first().alias("f")]), run)
    assert listed.rows() == [(0, 4.0, "p"), (5, 5.0, "r")]
    assert both(df.resample(5, on="t", agg=pl.col("x").sum()), run).rows() == [(0, 4.0), (5, 5.0)]


def test_no_rows(run) -> None:
    df = stream([("a", None, 1.0)])
    assert both(df.resample("1s", agg="mean"), run).height == 0
    assert both(df.head(0).resample("1s", agg="mean", by="recording"), run).columns == ["recording", "log_time", "x"]


def test_recordings_are_in_order_the_null_one_first(run) -> None:
    rows = [(name, 1000 * t, 1.0) for t, name in enumerate([None, "b", "a", None, "c", "é"])]
    for _ in range(20):  # Polars has the null group at a place that differs between runs
        found = both(stream(rows).resample("1s", by="recording", agg="mean"), run)
        assert found["recording"].to_list() == [None, None, "a", "b", "c", "é"]


def test_a_filter_on_the_recording_goes_down() -> None:
    df = stream([("a", 1, 1.0), ("b", 1, 2.0)]).resample("1s", by="recording", agg="mean").filter(recording="b")
    plan = tree(optimize(df._plan))
    assert plan.startswith("Sort")
    assert plan.index("GroupByDynamic") < plan.rindex("Sort") < plan.index("Filter")


def test_interpolated(run) -> None:
    df = stream([("a", 90, 9.0), ("a", 0, 0.0), ("a", None, 5.0), ("a", 30, 3.0), ("b", 25, 1.0), ("b", 55, None)])
    found = both(df.resample("20ms", by="recording", interpolation="linear"), run)
    assert found.columns == ["recording", "log_time", "x"]
    ticks = [(r, t // MS, x) for r, t, x in found.with_columns(col("log_time").to_physical().polars).rows()]
    a = [(t, x) for r, t, x in ticks if r == "a"]
    assert a == [(0, 0.0), (20, 2.0), (40, pytest.approx(4.0)), (60, pytest.approx(6.0)), (80, pytest.approx(8.0))]
    assert [(t, x) for r, t, x in ticks if r == "b"] == [(40, None)]
    held = both(stream([("a", 0, 0.0), ("a", 30, 3.0)]).resample("50hz", interpolation="previous"), run)
    assert held.columns == ["log_time", "recording", "x"]
    assert held["x"].to_list() == [0.0, 0.0]
    near = both(stream([("a", 0, 0.0), ("a", 99, 3.0)]).resample("50hz", interpolation="nearest", tolerance="1ms"), run)
    assert near["log_time"].to_physical().to_list() == [0, 100 * MS]


def test_errors() -> None:
    df = stream([("a", 1, 1.0)])
    for wrong in (
        lambda: df.resample("1s"), lambda: df.resample("1s", agg="mean", interpolation="linear"),
        lambda: df.resample("0s", agg="mean"), lambda: df.resample("-1s", agg="mean"),
        lambda: df.resample("0hz", agg="mean"), lambda: df.resample(5, agg="mean"),
        lambda: df.resample("1mo", agg="mean"), lambda: df.resample("1s", agg="mode of it"),
        lambda: stream([("a", 1, 1.0)], "ms").resample("1us", agg="mean"),
        lambda: stream([("a", 1, 1.0)], "ms").resample("5000hz", agg="mean"),
        lambda: rd.from_dict({"t": [1], "x": [1]}).resample(0, on="t", agg="mean"),
        lambda: rd.from_dict({"t": [1], "x": [1]}).resample("1s", on="t", agg="mean"),
        lambda: df.resample("1s", agg="mean", tolerance="1s"), lambda: df.resample("1s", interpolation="cubic"),
    ):  # fmt: skip
        with pytest.raises(OptionError):
            wrong()
    with pytest.raises(ColumnNotFoundError):
        df.resample("1s", agg={"y": "mean"})
    with pytest.raises(ColumnNotFoundError, match="recording"):
        df.drop("recording").resample("1s", agg="mean", by="recording")
    with pytest.raises(QueryError, match="numbers"):
        df.drop("x").resample("1s", agg="mean")
    with pytest.raises(SchemaError):
        df.with_columns(log_time=col("log_time") - T0).resample("1s", agg="mean")
