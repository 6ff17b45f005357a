"""`FROM align(...)` gives what `rd.align` gives."""

from __future__ import annotations

import polars as pl
import pytest

import robodf as rd
from robodf.errors import SQLError


@pytest.fixture
def streams() -> dict[str, pl.DataFrame]:
    def at(*ms: int) -> pl.Series:
        return pl.Series([t * 1_000_000 for t in ms], dtype=pl.Datetime("ns"))

    return {
        "camera": pl.DataFrame({"recording": "a", "log_time": at(0, 33, 66, 100), "frame": range(4)}),
        "imu": pl.DataFrame({"recording": "a", "log_time": at(0, 10, 60, 70), "gyro": [0.0, 1.0, 2.0, 4.0]}),
        "joints": pl.DataFrame({"recording": ["a", "b"], "log_time": at(30, 30), "q": [[1.0, 2.0], [3.0, 4.0]]}),
    }


CASES = [
    ("align(camera, imu, clock => 'camera')", lambda s: (_pick(s, "camera", "imu"), "camera", {})),
    ("align(camera, imu, clock => camera, tolerance => interval '5 ms')",
     lambda s: (_pick(s, "camera", "imu"), "camera", {"tolerance": "5ms"})),
    ("align(imu, joints, clock => '50hz', tolerance => '20ms')",
     lambda s: (_pick(s, "imu", "joints"), "50hz", {"tolerance": "20ms"})),
    ("align(imu, joints, clock => camera, method => {'imu': 'linear'}, tolerance => {'joints': interval '5 ms'})",
     lambda s: (_pick(s, "imu", "joints"), s["camera"], {"method": {"imu": "linear"}, "tolerance": {"joints": "5ms"}})),
    ("align(gyro => (select * from imu where gyro > 0), clock => (select * from camera where frame > 0))",
     lambda s: ({"gyro": s["imu"].filter(pl.col("gyro") > 0)}, s["camera"].filter(pl.col("frame") > 0), {})),
    ("align(imu, clock => '50hz', \"by\" => null, tolerance => '5ms', prefix => '')",
     lambda s: (_pick(s, "imu"), "50hz", {"by": None, "tolerance": "5ms", "prefix": ""})),
    ("align(imu, clock => '10ms', start => timestamp '1970-01-01 00:00:00.02', method => 'nearest', "
     "by => ['recording'])",
     lambda s: (_pick(s, "imu"), "10ms", {"start": 20_000_000, "method": "nearest"})),
]  # fmt: skip


def _pick(streams, *names):
    return {name: streams[name] for name in names}


@pytest.mark.parametrize(("call", "same"), CASES, ids=[c for c, _ in CASES])
def test_the_same_as_the_function(streams, call: str, same) -> None:
    frames, clock, options = same(streams)
    want = rd.align(frames, clock, **options).collect()
    assert want.height > 0
    found = rd.sql(f"select * from {call}", **streams).collect()
    assert found.equals(want)


def test_it_is_a_table_like_any_other(streams) -> None:
    query = """
        with fast as (select * from imu where gyro < 4)
        select a."camera.frame" f, a."fast.gyro" g
        from align(camera, fast, clock => camera) a join joints on a.recording = joints.recording
        where a.log_time > timestamp '1970-01-01 00:00:00.03' order by f"""
    assert rd.sql(query, **streams).collect().rows() == [(1, 1.0), (2, 2.0), (3, 2.0)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("align(camera)", "takes streams and a clock"),
        ("align(clock => '50hz')", "takes streams and a clock"),
        ("align(camera, camera, clock => '50hz')", "two streams are named 'camera'"),
        ("align(camra, clock => '50hz')", "did you mean 'camera'"),
        ("align(camera, clock => 'fast')", "neither a stream"),
        ("align(camera, imu, clock => camera, method => 'liner')", "did you mean 'linear'"),
        ("align(camera, clock => '50hz', tolerance => frame)", "frame"),
        ("align(camera, clock => '50hz', speed => 3)", "a stream is a table"),
    ],
)
def test_errors(streams, call: str, message: str) -> None:
    with pytest.raises(SQLError, match=message):
        rd.sql(f"select * from {call}", **streams)
