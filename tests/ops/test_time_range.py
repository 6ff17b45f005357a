"""A range of time: exact to the unit of the column, and pushed into a log."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone

import polars as pl
import pytest

import robodf as rd
from robodf.errors import ColumnNotFoundError, OptionError, SchemaError
from robodf.io.mcap.writer import McapWriter
from robodf.plan.base import lower_all
from robodf.plan.comparison import instant

EPOCH = datetime(2026, 1, 1)
T0 = int((EPOCH - datetime(1970, 1, 1)).total_seconds()) * 10**9


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """20 s of 100 messages a second."""
    path = tmp_path_factory.mktemp("log") / "run.mcap"
    with McapWriter(str(path), chunk_size=2048) as out:
        schema = out.add_schema("X", "jsonschema", json.dumps({"properties": {"x": {"type": "number"}}}).encode())
        channel = out.add_channel("/x", "json", schema)
        for i in range(2000):
            out.write(channel, T0 + i * 10_000_000, json.dumps({"x": i}).encode())
    return path


def times(*units: int | None, dtype: pl.DataType | None = None) -> rd.PipelineDataFrame:
    series = pl.Series("log_time", units, pl.Int64).cast(dtype or pl.Datetime("ns"))
    return rd.from_polars(pl.DataFrame([series, pl.Series("i", range(len(units)))]))


def numbers(frame: rd.PipelineDataFrame, run) -> list[int]:
    found = run(frame)
    assert found.equals(lower_all(frame._plan).collect())
    return found["i"].to_list()


def test_half_open_and_no_nulls(run) -> None:
    df = times(9, 10, 11, None, 20, -5)
    assert numbers(df.time_range(10, 20), run) == [1, 2]
    assert numbers(df.time_range(start=10), run) == [1, 2, 4]
    assert numbers(df.time_range(end=10), run) == [0, 5]
    assert numbers(df.time_range(20, 10), run) == []


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_bounds_finer_than_the_column(run, unit: str, zone: str | None) -> None:
    step = {"ns": 1, "us": 1_000, "ms": 1_000_000}[unit]
    df = times(-1, 0, 1, 2, dtype=pl.Datetime(unit, zone))  # type: ignore[arg-type]
    for ns in (-1, 0, 1, 999, 1_000, 1_001, 2_000_000):
        assert numbers(df.time_range(start=ns), run) == [i for i in range(4) if (i - 1) * step >= ns]
        assert numbers(df.time_range(end=ns), run) == [i for i in range(4) if (i - 1) * step < ns]


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.000000007", 7),
        ("1970-01-01T01:00:00,5+01:00", 500_000_000),
        ("1969-12-31T23:59:59.999999999Z", -1),
        (date(1970, 1, 2), 86_400 * 10**9),
        (datetime(1970, 1, 1, 0, 0, 0, 3), 3_000),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
        (12, 12),
    ],
)
def test_what_a_time_may_be(value, ns: int) -> None:
    assert instant(value, "start") == ns


def test_pandas_and_numpy() -> None:
    pd, np = pytest.importorskip("pandas"), pytest.importorskip("numpy")
    assert instant(pd.Timestamp(1_700_000_000_123_456_789), "start") == 1_700_000_000_123_456_789
    assert instant(np.int64(5), "start") == 5
    with pytest.raises(OptionError, match="NaT"):
        times(1).time_range(pd.NaT)


def test_integers_and_dates(run) -> None:
    assert numbers(times(1, 2, 3, None, dtype=pl.UInt8()).time_range(2, 3), run) == [1]
    days = times(0, 1, 2, dtype=pl.Date())
    assert numbers(days.time_range(date(1970, 1, 2)), run) == [1, 2]
    assert numbers(days.time_range("1970-01-01T00:00:01", "1970-01-02T12:00"), run) == [1]


def test_it_is_pushed_into_a_log(log, run) -> None:
    whole = rd.read_mcap(log, "/x")
    for start, end in [
        (EPOCH + timedelta(seconds=5), EPOCH + timedelta(seconds=5.05)),
        ("2026-01-01T00:00:05", "2026-01-01T00:00:05.05"),
        (T0 + 5 * 10**9 - 3, T0 + 5 * 10**9 + 41_000_001),  # no datetime is so fine
    ]:
        part = whole.time_range(start, end)
        assert run(part)["x"].to_list() == [500, 501, 502, 503, 504]
        plan = str(part.explain("optimized"))
        assert plan.count("(exact)") == 2
        assert "Filter" not in plan
        assert len(part) == 5
    assert len(whole.time_range("2030-01-01")) == 0


def test_errors() -> None:
    df = times(1)
    for wrong in (
        lambda: df.time_range(), lambda: df.time_range("soon"), lambda: df.time_range(1.5),
        lambda: df.time_range(timedelta(seconds=1)), lambda: df.time_range("10s"), lambda: df.time_range(True),
        lambda: df.time_range("2026-01-01T00:00:00.0000000001"),
    ):  # fmt: skip
        with pytest.raises(OptionError):
            wrong()
    with pytest.raises(ColumnNotFoundError, match="stamp"):
        df.time_range(1, on="stamp")
    with pytest.raises(SchemaError, match="Duration"):
        times(1, dtype=pl.Duration("ns")).time_range(1)
    with pytest.raises(SchemaError, match="String"):
        rd.from_dict({"log_time": ["x"]}).time_range(1)
    with pytest.raises(OptionError, match="integers"):
        times(1, dtype=pl.Int64()).time_range("2026-01-01")
