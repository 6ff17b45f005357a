"""`rd.align`: what it takes, what it refuses, and values that were worked out by hand. Rows: see tests/property."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.align.match import _search
from robodf.align.quaternion import slerp
from robodf.align.ticks import Ticks, pieces
from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError
from robodf.optimizer import optimize
from robodf.plan.nodes.align import Align
from robodf.plan.nodes.rows import Count, Known

T0 = datetime(2026, 1, 1)


def stream(times: list, **columns: list) -> rd.PipelineDataFrame:
    return rd.from_dict({"t": times, **columns})


def timed(milliseconds: list, unit: str = "ns", **columns: list) -> rd.PipelineDataFrame:
    times = pl.Series([T0 + timedelta(milliseconds=m) for m in milliseconds], dtype=pl.Datetime(unit))  # type: ignore[arg-type]
    return rd.from_polars(pl.DataFrame({"t": times, **columns}))


CAM = stream([10, 20, 30], n=[0, 1, 2])
IMU = stream([5, 15, 25], gyro=[0.0, 1.0, 3.0])


def rows(frame: rd.PipelineDataFrame, run) -> list[tuple]:
    return run(frame).rows()


@pytest.mark.parametrize(
    ("method", "gyro", "age"),
    [
        ("previous", [0.0, 1.0, 3.0], [5, 5, 5]),
        ("next", [1.0, 3.0, None], [-5, -5, None]),
        ("nearest", [0.0, 1.0, 3.0], [5, 5, 5]),
        ("linear", [0.5, 2.0, None], [5, 5, None]),
        ("slerp", [0.5, 2.0, None], [5, 5, None]),
        ("none", [None, None, None], [None, None, None]),
    ],
)
def test_methods(run, method: str, gyro: list, age: list) -> None:
    found = run(rd.align({"cam": CAM, "imu": IMU}, "cam", on="t", by=None, method=method))
    assert found.columns == ["t", "cam.n", "cam.age", "imu.gyro", "imu.age"]
    assert found["imu.gyro"].to_list() == gyro
    assert found["imu.age"].to_list() == age
    assert found["cam.age"].to_list() == [0, 0, 0]


def test_options_by_stream(run) -> None:
    frames = {"imu": IMU, "cam": CAM}
    aligned = rd.align(frames, "cam", on="t", by=None, method={"imu": "next"}, tolerance={"imu": 5}, prefix={"imu": ""})
    assert aligned.columns == ["t", "gyro", "imu.age", "cam.n", "cam.age"]
    assert rows(aligned, run) == [(10, 1.0, -5, 0, 0), (20, 3.0, -5, 1, 0), (30, None, None, 2, 0)]


def test_a_frame_as_the_clock_keeps_its_columns_and_order(run) -> None:
    clock = pl.DataFrame({"label": ["b", "a", "c"], "t": [22, 4, None]})
    aligned = rd.align({"imu": IMU}, clock, on="t", by=None)
    assert aligned.columns == ["t", "label", "imu.gyro", "imu.age"]
    assert rows(aligned, run) == [(22, "b", 1.0, 7), (4, "a", None, None), (None, "c", None, None)]


def test_ticks_lie_on_multiples_of_the_period(run) -> None:
    imu = timed([3, 47, 140], x=[1, 2, 3])
    found = run(rd.align({"imu": imu}, "50hz", on="t", by=None, tolerance="25ms"))
    at = [(t - T0) // timedelta(milliseconds=1) for t in found["t"]]
    assert at == [20, 60, 140, 160]
    assert found["imu.x"].to_list() == [1, 2, 3, 3]
    assert found["imu.age"].to_list() == [timedelta(milliseconds=m) for m in (17, 13, 0, 20)]
    assert found.schema["imu.age"] == pl.Duration("ns")
    whole = run(rd.align({"imu": imu}, "20ms", on="t", by=None))  # without tolerance: to the last sample
    assert [(t - T0) // timedelta(milliseconds=1) for t in whole["t"]] == [20, 40, 60, 80, 100, 120, 140]


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("clock", ["cam", "100hz", "frame"])
def test_start_and_end(run, unit: str, clock: str) -> None:
    cam, imu = timed([0, 10, 20, 30], unit, n=[0, 1, 2, 3]), timed([0, 10, 20, 30], unit, x=[0, 1, 2, 3])
    given = cam if clock == "frame" else clock
    frames = {"imu": imu} if clock == "frame" else {"cam": cam, "imu": imu}
    ends = [
        (T0 + timedelta(milliseconds=10), T0 + timedelta(milliseconds=30)),
        ("2026-01-01T00:00:00.010", "2026-01-01T00:00:00.030"),
        (1_767_225_600_009_999_999, 1_767_225_600_020_000_001),  # ns, whatever the unit of the times is
    ]
    for start, end in ends:
        aligned = rd.align(frames, given, on="t", by=None, start=start, end=end)
        assert run(aligned)["imu.x"].to_list() == [1, 2]


def test_rates_do_not_drift() -> None:
    ticks = Ticks((100_000_000_000, 2997))  # 29.97 Hz in ns
    k = np.array([0, 1, 2, 2997, 2997 * 10**7 + 5, -1, -2997])
    exact = [(2 * int(i) * 100_000_000_000 + 2997) // (2 * 2997) for i in k]
    assert ticks.times(k).tolist() == exact
    near = np.array([t + d for t in exact for d in (-1, 0, 1)])
    first = ticks.at_or_after(near)
    assert (ticks.times(first) >= near).all()
    assert (ticks.times(first - 1) < near).all()


def test_ticks_far_from_1970_and_of_one_unit() -> None:
    ticks = Ticks((1, 1))
    low, high = ticks._limits
    assert ticks.at_or_after(np.array([low, -1, 0, high])).tolist() == [low, -1, 0, high]


def test_numbers_of_ticks_in_pieces() -> None:
    starts, ends = np.array([-3, 5, 100]), np.array([2, 6, 104])
    wanted = [*range(-3, 2), 5, *range(100, 104)]
    for size in (1, 2, 3, 7, 100):
        made = list(pieces(starts, ends, size))
        assert np.concatenate(made).tolist() == wanted
        assert max(map(len, made)) <= size
    assert list(pieces(starts[:0], ends[:0], 5)) == []


def test_a_stray_time_does_not_make_a_billion_ticks(run) -> None:
    imu = rd.concat([timed([0, 10], x=[1, 2]), rd.from_polars(pl.DataFrame({"t": [0], "x": [3]})
                     .with_columns(pl.col("t").cast(pl.Datetime("ns")), pl.col("x").cast(pl.Int64)))])  # fmt: skip
    aligned = rd.align({"imu": imu}, "1khz", on="t", by=None)
    with pytest.raises(QueryError, match=r"ticks in one group.*tolerance=.*start= and end="):
        run(aligned)
    assert run(rd.align({"imu": imu}, "1khz", on="t", by=None, tolerance="2ms")).height == 3 + 3 + 3
    assert run(rd.align({"imu": imu}, "1khz", on="t", by=None, start=T0, end="2026-01-01T00:00:01")).height == 11


def test_times_at_the_ends_of_their_type(run) -> None:
    ends = [-(2**63), 2**63 - 1]
    far, near = stream(ends, x=[1, 2]), stream([0, *ends], y=[1, 2, 3])
    for method, x in (("previous", [1, 1, 2]), ("next", [2, 1, 2]), ("nearest", [2, 1, 2])):
        aligned = rd.align({"near": near, "far": far}, "near", on="t", by=None, method=method)
        assert run(aligned)["far.x"].to_list() == x
    aligned = rd.align({"far": far}, stream([2**63 - 2]), on="t", by=None, method="nearest", tolerance=2**63 - 1)
    assert rows(aligned, run) == [(2**63 - 2, 2, -1)]
    opposite = rd.align({"far": far.head(1)}, stream([2**63 - 1]), on="t", by=None)
    assert rows(opposite, run) == [(2**63 - 1, 1, None)]  # 2**64 - 1 fits no age
    ticks = rd.align({"far": far}, 2**59, on="t", by=None, tolerance=2**60)
    assert run(ticks)["far.age"].null_count() == 0


def test_a_pose_turns_on_the_shorter_arc(run) -> None:
    poses = stream(
        [0, 10],
        pose=[
            {"position": {"x": 0.0, "y": 1.0}, "orientation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 2.0}},
            {"position": {"x": 1.0, "y": 1.0}, "orientation": {"x": 0.0, "y": 0.0, "z": -3.0, "w": 0.0}},
        ],
    )
    (pose,) = run(rd.align({"tf": poses}, stream([5]), on="t", by=None, method="slerp"))["tf.pose"].to_list()
    assert pose["position"] == {"x": 0.5, "y": 1.0}
    assert [round(pose["orientation"][k], 6) for k in "xyzw"] == [0, 0, -0.707107, 0.707107]
    straight = run(rd.align({"tf": poses}, stream([5]), on="t", by=None, method="linear"))["tf.pose"].to_list()[0]
    assert straight["orientation"] == {"x": 0.0, "y": 0.0, "z": -1.5, "w": 1.0}


def test_slerp_of_near_and_opposite_rotations() -> None:
    a = np.array([[0, 0, 0, 1.0], [0, 0, 0, 1.0], [0, 0, 0, 1.0], [0, 0, 0, 0.0], [0, 0, np.inf, 1]])
    b = np.array([[0, 0, 1e-9, 1.0], [0, 0, 0, -1.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0], [0, 0, 0, 1]])
    made = slerp(a, b, np.full(5, 0.25))
    assert np.allclose(np.linalg.norm(made[:3], axis=1), 1)
    assert made[1].tolist() == [0, 0, 0, 1]  # -q is the same rotation as q
    assert np.allclose(made[2], [0, 0, np.sin(np.pi / 8), np.cos(np.pi / 8)])
    assert np.isnan(made[3:]).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_merging_finds_what_searching_finds(side) -> None:
    random = np.random.default_rng(1)
    for samples, times, top in ((0, 100, 9), (50, 100, 9), (500, 100, 40), (300, 300, 10**6), (5000, 70, 50)):
        a, b = np.sort(random.integers(-top, top, samples)), np.sort(random.integers(-top, top, times))
        for asked in (b, b[::-1], np.full(100, 3)):
            assert _search(a, asked, side).tolist() == np.searchsorted(a, asked, side).tolist()


def test_many_rows_in_pieces(run) -> None:
    n = 300_000
    clock, imu = stream(list(range(n))), stream(list(range(0, n, 7)), x=list(range(0, n, 7)))
    found = run(rd.align({"imu": imu}, clock, on="t", by=None))
    assert found.select((col("t").polars - col("t").polars % 7 == pl.col("imu.x")).all()).item()
    assert found["t"].to_list() == list(range(n))
    ticked = run(rd.align({"imu": imu}, 2, on="t", by=None, tolerance=3))
    assert ticked["t"].to_list() == [t for t in range(0, n + 3, 2) if t - t // 7 * 7 <= 3 and t // 7 * 7 < n]


def test_recordings_are_kept_apart(run) -> None:
    cam = rd.from_dict({"recording": ["b", "a", None], "log_time": [5, 5, 5]})
    imu = rd.from_dict({"recording": ["a", None, "b", "a"], "log_time": [4, 3, 9, 9], "x": [1, 2, 3, 4]})
    assert rows(rd.align({"cam": cam, "imu": imu}, "cam"), run) == [
        ("b", 5, 0, None, None), ("a", 5, 0, 1, 1), (None, 5, 0, 2, 2),
    ]  # fmt: skip
    ticks = rd.align({"imu": imu}, 1, tolerance=0)
    assert rows(ticks, run) == [(None, 3, 2, 0), ("a", 4, 1, 0), ("a", 9, 4, 0), ("b", 9, 3, 0)]


@pytest.mark.parametrize(
    "dtype",
    [pl.Int8, pl.UInt32, pl.Int64, pl.Duration("us"), pl.Datetime("ms"), pl.Datetime("ns", "Europe/Berlin")],
)
def test_kinds_of_time(run, dtype) -> None:
    times = pl.Series([1, 5, 9]).cast(dtype)
    a, b = rd.from_polars(pl.DataFrame({"t": times, "x": [1, 2, 3]})), pl.DataFrame({"t": times, "y": [1, 2, 3]})
    aligned = rd.align({"a": a, "b": b}, "a", on="t", by=None, method="nearest", tolerance=7)
    at = 5 if dtype.is_integer() else rd.lit(5, dtype)
    found = run(aligned.filter(col("t") <= at))
    assert found.schema["t"] == dtype
    assert found.schema["b.age"] == (pl.Int64 if dtype.is_integer() else pl.Duration(dtype.time_unit))
    assert found["b.y"].to_list() == [1, 2]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([True, False, None, True]),
        pl.Series(["b", "a", None, "b"], dtype=pl.Categorical),
        pl.Series(["b", "a", None, "b"], dtype=pl.Enum(["a", "b"])),
        pl.Series([float("nan"), 0.0, None, float("nan")]),
        pl.Series([3, 1, None, 3], dtype=pl.UInt8),
        pl.Series([datetime(2026, 1, 2), datetime(2026, 1, 1), None, datetime(2026, 1, 2)]),
    ],
)
def test_kinds_of_groups(run, values: pl.Series) -> None:
    clock = rd.from_polars(pl.DataFrame({"k": values, "t": [5, 5, 5, 6]}))
    imu = rd.from_polars(pl.DataFrame({"k": values.reverse(), "t": [1, 2, 3, 4], "x": [1, 2, 3, 4]}))
    aligned = rd.align({"imu": imu}, clock, on="t", by="k")
    assert run(aligned)["imu.x"].to_list() == [4, 3, 2, 4]
    assert run(aligned.filter(col("k").is_null()))["imu.x"].to_list() == [2]
    ticks = rd.align({"imu": imu}, 1, on="t", by=["k"], tolerance=0)
    assert run(ticks)["imu.x"].to_list() == [2, 3, 1, 4]  # null, the smaller, the larger


def test_one_group_of_nan(run) -> None:
    imu = rd.from_dict({"k": [float("nan")] * 2, "t": [1, 4], "x": [1, 4]})
    assert run(rd.align({"imu": imu}, 1, on="t", by=["k"], tolerance=0))["imu.x"].to_list() == [1, 4]


def test_frames_of_nothing_but_times(run) -> None:
    assert rows(rd.align({"a": stream([1, 2]), "b": stream([2])}, "a", on="t", by=None), run) == [
        (1, 0, None), (2, 0, 0),
    ]  # fmt: skip
    assert rows(rd.align({"a": stream([1, 2])}, "a", on="t", by=None), run) == [(1, 0), (2, 0)]
    empty = rd.from_dict({"t": []}, schema={"t": pl.Int64})
    assert rows(rd.align({"a": empty}, "a", on="t", by=None), run) == []
    assert rows(rd.align({"a": empty, "b": stream([1])}, "a", on="t", by=None), run) == []
    assert rows(rd.align({"a": empty}, 5, on="t", by=None), run) == []


def test_types_of_columns_in_between() -> None:
    wide = rd.from_polars(
        pl.DataFrame(
            schema={"t": pl.Int64, "i": pl.Int8, "f": pl.Float32, "s": pl.String, "b": pl.Boolean,
                    "l": pl.List(pl.Int16), "a": pl.Array(pl.Float32, 3), "at": pl.Datetime("ns"),
                    "p": pl.Struct({"x": pl.UInt64, "name": pl.String}), "m": pl.Array(pl.Int8, (2, 2))}
        )
    )  # fmt: skip
    made = rd.align({"w": wide}, stream([1]), on="t", by=None, method="linear", prefix="").schema
    assert made == {
        "t": pl.Int64, "i": pl.Float64, "f": pl.Float32, "s": pl.String, "b": pl.Boolean,
        "l": pl.List(pl.Float64), "a": pl.Array(pl.Float32, 3), "at": pl.Datetime("ns"),
        "p": pl.Struct({"x": pl.Float64, "name": pl.String}), "m": pl.Array(pl.Float64, (2, 2)), "w.age": pl.Int64,
    }  # fmt: skip
    kept = rd.align({"w": wide}, stream([1]), on="t", by=None, method="nearest", prefix="").schema
    assert dict(list(kept.items())[:-1]) == dict(wide.schema)


def test_arrays_of_arrays_go_element_by_element(run) -> None:
    rows_ = [[[0, 1], [2, 3]], [[10, 11], [12, 13]]]
    frame = rd.from_polars(pl.DataFrame({"t": [0, 10], "m": rows_}, schema_overrides={"m": pl.Array(pl.Int8, (2, 2))}))
    found = run(rd.align({"a": frame}, stream([5, 10, 11]), on="t", by=None, method="linear"))
    assert found["a.m"].to_list() == [[[5, 6], [7, 8]], [[10, 11], [12, 13]], None]


def test_a_plan_travels_and_says_what_it_does(run) -> None:
    cam, imu = timed([0, 10], n=[1, 2]), timed([0, 10], x=[1, 2])
    aligned = rd.align({"cam": cam, "imu": imu}, "cam", on="t", by=None, method="linear", tolerance="20ms")
    assert isinstance(aligned._plan, Align)
    assert "Align on t clock=cam imu:linear(20ms)\n" in str(aligned.explain("logical"))
    assert "the streams are held whole" in str(aligned.explain("physical"))
    assert rows(pickle.loads(pickle.dumps(aligned)), run) == rows(aligned, run)
    ticks = rd.align({"imu": imu}, "50hz", on="t", by=None, tolerance=1500, start=T0)
    assert "clock=50hz >= 2026-01-01 00:00:00.000000000 imu:previous(1500ns)\n" in str(ticks.explain("logical"))


def test_only_asked_columns_are_read(tmp_path) -> None:
    pl.DataFrame({"t": [1], "p": [{"x": 1.0, "y": 2.0}], "big": ["b"]}).write_parquet(tmp_path / "s.parquet")
    imu = rd.read_parquet(tmp_path / "s.parquet")
    aligned = rd.align({"imu": imu, "other": imu}, stream([1]), on="t", by=None)
    assert "columns=[t]" in str(aligned.select("imu.age").explain("optimized"))
    assert str(aligned.select("imu.age").explain("optimized")).count("Scan") == 1
    assert "Scan" not in str(aligned.select("t").explain("optimized"))
    assert "columns=[t, big]" in str(aligned.select("imu.big").explain("optimized"))
    assert aligned.select(col("imu.p").struct.field("y")).collect().to_series().to_list() == [2.0]
    ticks = rd.align({"imu": imu, "other": imu}, 1, on="t", by=None).select("imu.age")
    assert str(ticks.explain("optimized")).count("columns=[t]") >= 1
    assert ticks.collect().height == 1


def test_a_count_needs_the_clock_alone() -> None:
    aligned = rd.align({"cam": CAM, "imu": IMU}, "cam", on="t", by=None)
    assert optimize(Count(aligned._plan)) is Known(3, CAM._plan.label())
    assert aligned.count_rows() == 3
    assert rd.align({"imu": IMU}, 5, on="t", by=None).count_rows() == 5


# -- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, QueryError, r"no column 'recording'.*pass by=None"),
        ({"by": None, "on": "time"}, ColumnNotFoundError, r"no column 'time' in align: stream 'cam'"),
        ({"by": "t"}, OptionError, "names a column twice"),
        ({"by": 3}, OptionError, "by is a column, a list of columns or None"),
        ({"by": None, "method": "lienar"}, OptionError, r"did you mean 'linear'"),
        ({"by": None, "method": 3}, OptionError, r"method is one of previous"),
        ({"by": None, "method": {"imo": "next"}}, OptionError, r"'imo', which is no stream; did you mean 'imu'"),
        ({"by": None, "tolerance": -1}, OptionError, "at least zero"),
        ({"by": None, "tolerance": 2**63}, OptionError, "less than"),
        ({"by": None, "tolerance": "20ms"}, OptionError, "whole number"),
        ({"by": None, "tolerance": 1.5}, OptionError, "whole number"),
        ({"by": None, "tolerance": True}, OptionError, "whole number"),
        ({"by": None, "prefix": 3}, OptionError, "prefix is a text"),
        ({"by": None, "clock": "kam"}, OptionError, r"no stream; did you mean 'cam'"),
        ({"by": None, "clock": "50hz"}, OptionError, "needs times of a Datetime type"),
        ({"by": None, "clock": 0}, OptionError, "at least one unit"),
        ({"by": None, "clock": -5}, OptionError, "at least one unit"),
        ({"by": None, "clock": 2.5}, OptionError, "no frame can be made of float"),
        ({"by": None, "clock": {"t": [1.0]}}, SchemaError, r"'t' is Int64 in 'cam' and Float64 in 'clock='"),
        ({"by": None, "clock": {"x": [1]}}, ColumnNotFoundError, "no column 't'"),
        ({"by": None, "start": "soon"}, OptionError, "whole number"),
    ],
)
def test_what_is_refused(options: dict, error, said: str) -> None:
    given = {"clock": "cam", "on": "t", **options}
    with pytest.raises(error, match=f"(?s){said}"):
        rd.align({"cam": CAM, "imu": IMU}, **given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clock": "50"}, "neither a stream"),
        ({"clock": "0hz"}, "at least one unit"),
        ({"clock": "2ghz"}, "neither a stream"),
        ({"clock": "2000mhz"}, "neither a stream"),
        ({"clock": "9999999khz"}, "at least one unit"),
        ({"clock": "29.97002997002997hz"}, "few digits"),
        ({"clock": "-20ms"}, "at least one unit"),
        ({"clock": 20}, "the name of a stream, a rate"),
        ({"clock": None}, "the name of a stream, a rate"),
        ({"clock": "50hz", "tolerance": "fast"}, "tolerance='fast' is no length of time"),
        ({"clock": "50hz", "start": "soon"}, "start='soon' is no time"),
        ({"clock": "50hz", "end": 1.5}, "end is a datetime"),
    ],
)
def test_rates_and_times_that_are_none(options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        rd.align({"imu": timed([0], x=[1])}, on="t", by=None, **options)


def test_streams_that_do_not_fit() -> None:
    for streams in ({}, [CAM], None, {3: CAM}, {"": CAM}, {"a": 3}):
        with pytest.raises(OptionError):
            rd.align(streams, "a", on="t", by=None)  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match=r"'t' is Int64 in 'a' and Datetime.*cast one of them"):
        rd.align({"a": CAM, "b": timed([0])}, "a", on="t", by=None)
    with pytest.raises(SchemaError, match=r"times are Datetime, Duration, or integers"):
        rd.align({"a": stream([1.0])}, "a", on="t", by=None)
    with pytest.raises(SchemaError, match=r"'k' is List.*match by a plain column"):
        rd.align({"a": stream([1], k=[[1]])}, "a", on="t", by="k")
    with pytest.raises(SchemaError, match=r"'k' is Int64 in 'a' and String in 'b'"):
        rd.align({"a": stream([1], k=[1]), "b": stream([1], k=["1"])}, "a", on="t", by=["k"])
    with pytest.raises(SchemaError, match="are Int64: cast it"):
        rd.align({"a": rd.from_dict({"t": [1]}, schema={"t": pl.Int8})}, 5, on="t", by=None)


def test_names_that_would_be_twice() -> None:
    with pytest.raises(QueryError, match=r"would be called 'x', one of 'a' and one of 'b': give another prefix"):
        rd.align({"a": stream([1], x=[1]), "b": stream([1], x=[1])}, "a", on="t", by=None, prefix="")
    with pytest.raises(QueryError, match=r"'a.age'"):
        rd.align({"a": stream([1], age=[1])}, "a", on="t", by=None)
    with pytest.raises(QueryError, match=r"called 'x', one of the clock"):
        rd.align({"a": stream([1], x=[1])}, stream([1], x=[1]), on="t", by=None, prefix="")


def test_odd_names(run) -> None:
    name = '"ü\n{}$^'
    frame = rd.from_dict({"t": [1], name: [2]})
    aligned = rd.align({name: frame, "b": frame}, name, on="t", by=None, method="linear")
    assert rows(aligned, run) == [(1, 2, 0, 2.0, 0)]
    assert rows(aligned.filter(col("t") > 0), run) == [(1, 2, 0, 2.0, 0)]


def test_an_abandoned_query_ends_quietly(monkeypatch) -> None:
    """A limit abandons the generator of rows; the garbage collector may close it in one of its own threads."""
    import gc
    import sys

    from robodf.align import rows

    lost: list[object] = []
    monkeypatch.setattr(rows, "STEP", 2)
    monkeypatch.setattr(sys, "unraisablehook", lambda found: lost.append(found.exc_value))
    before = gc.get_threshold()
    gc.set_threshold(3, 1, 1)
    try:
        frame = rd.from_dict({"t": list(range(40)), "x": list(range(40))})
        for _ in range(30):
            aligned = rd.align({"a": frame, "b": frame}, "a", on="t", by=None)
            assert aligned.filter(rd.col("b.x") > 3).head(1).collect()["b.x"].to_list() == [4]
    finally:
        gc.set_threshold(*before)
    assert lost == []
