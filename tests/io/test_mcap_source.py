"""MCAP as a table: rows, pushdown by what was read, damage, projections."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, OptionError, QueryError, SchemaError
from robodf.io.counting import read
from robodf.io.mcap.writer import McapWriter
from robodf.optimizer import optimize
from robodf.plan.base import tree
from robodf.plan.nodes.rows import Count

EPOCH = datetime(2026, 1, 1)
T0 = int((EPOCH - datetime(1970, 1, 1)).total_seconds()) * 1_000_000_000
MS = 1_000_000
POSE_SCHEMA = {
    "type": "object",
    "properties": {
        "x": {"type": "number"},
        "pose": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "string"}}},
        "log_time": {"type": "integer"},
    },
}


def write_log(path: Path, seconds: int = 20, topics: tuple[str, ...] = ("/imu", "/pose"), chunk: int = 4096) -> Path:
    """100 messages a second on each topic, JSON, in chunks of about `chunk` bytes."""
    with McapWriter(str(path), chunk_size=chunk) as out:
        schema = out.add_schema("Pose", "jsonschema", json.dumps(POSE_SCHEMA).encode())
        channels = [out.add_channel(t, "json", schema) for t in topics]
        for i in range(seconds * 100):
            for k, channel in enumerate(channels):
                data = json.dumps({"x": i + k / 10, "pose": {"a": i * 2.0, "b": f"p{i}"}, "log_time": i}).encode()
                out.write(channel, T0 + i * 10 * MS, data, publish_time=T0 + i * 10 * MS + 5, sequence=i)
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "run.mcap")


def read_by(df) -> tuple[pl.DataFrame, int, int]:
    """The rows, and the bytes and chunks that were read for them (summaries are read before)."""
    _ = df.schema
    before = (read.bytes, read.chunks)
    rows = df.collect()
    return rows, read.bytes - before[0], read.chunks - before[1]


def test_all_messages(log):
    rows = rd.read_mcap(log).collect()
    assert rows.columns == ["recording", "topic", "type", "log_time", "publish_time", "sequence", "size", "data"]
    assert rows.height == 4000
    assert rows["recording"].unique().to_list() == ["run"]
    first = rows.row(0, named=True)
    assert first["topic"] == "/imu"
    assert first["type"] == "Pose"
    assert first["log_time"] == EPOCH
    assert json.loads(first["data"])["x"] == 0
    assert first["size"] == len(first["data"])
    assert rows.schema["log_time"] == pl.Datetime("ns")


def test_a_topic_in_typed_columns(log):
    df = rd.read_mcap(log, "/pose")
    assert df.schema == {
        "recording": pl.String, "log_time": pl.Datetime("ns"), "publish_time": pl.Datetime("ns"), "sequence": pl.UInt32,
        "header_stamp": pl.Datetime("ns"), "x": pl.Float64, "pose": pl.Struct({"a": pl.Float64, "b": pl.String}),
        "msg.log_time": pl.Int64,
    }  # fmt: skip
    rows = df.collect()
    assert rows["x"].to_list()[:3] == [0.1, 1.1, 2.1]
    assert rows["msg.log_time"].to_list()[:3] == [0, 1, 2]
    assert rows["header_stamp"].null_count() == 2000
    assert rows["publish_time"][0] - rows["log_time"][0] < timedelta(microseconds=1)


def test_one_second_of_a_topic_reads_under_5_percent(log, tmp_path):
    long = write_log(tmp_path / "long.mcap", seconds=60)
    df = rd.read_mcap(long, topic="/imu").filter(
        rd.col("log_time") >= EPOCH + timedelta(seconds=30), rd.col("log_time") < EPOCH + timedelta(seconds=31)
    )
    rows, size, _ = read_by(df)
    assert rows.height == 100
    assert rows["sequence"].to_list() == list(range(3000, 3100))
    total = long.stat().st_size
    assert 0 < size < 0.05 * total
    assert f"{size:,} of {total:,} bytes" in str(df.explain("physical"))
    assert "(exact)" in str(df.explain("optimized"))


def test_a_user_of_polars_gets_the_same_pushdown(log):
    when = EPOCH + timedelta(seconds=19.5)
    ours, size, chunks = read_by(rd.read_mcap(log).filter(rd.col("log_time") > when, rd.col("topic") == "/imu"))
    theirs, size2, chunks2 = read_by(
        rd.read_mcap(log).filter((pl.col("log_time") > when) & (pl.col("topic") == "/imu"))
    )
    assert ours.equals(theirs)
    assert ours.height == 49
    assert (size, chunks) == (size2, chunks2)
    assert size < 0.05 * log.stat().st_size


def test_a_traced_lambda_is_pushed(log):
    rows, _, chunks = read_by(rd.read_mcap(log).filter(lambda m: m["topic"] == "/none"))
    assert (rows.height, chunks) == (0, 0)


def test_a_limit_touches_one_chunk(log):
    rows, _, chunks = read_by(rd.read_mcap(log).head(5))
    assert (rows.height, chunks) == (5, 1)
    rows, _, chunks = read_by(rd.read_mcap(log, "/pose").with_columns(y=rd.col("x") * 2).head(5))
    assert (rows["y"].to_list()[1], chunks) == (2.2, 1)


def test_a_limit_over_several_chunks(log):
    whole = rd.read_mcap(log, "/imu").collect()
    for n in (0, 1, 99, 1999, 2000, 2001):
        assert rd.read_mcap(log, "/imu").head(n).collect().equals(whole.head(n))


def test_a_count_reads_the_summary_only(log):
    df = rd.read_mcap(log)
    before = (read.bytes, read.chunks)
    assert len(df) == 4000
    assert len(df.filter(topic="/imu")) == 2000
    assert len(df.head(7)) == 7
    assert len(rd.read_mcap(log, "/imu")) == 2000
    assert (read.bytes, read.chunks) == before
    assert "Known count 4,000" in tree(optimize(Count(df._plan)))


def test_a_count_of_a_time_range_reads_message_indexes_only(log):
    df = rd.read_mcap(log).filter(rd.col("log_time") < EPOCH + timedelta(seconds=7.505))
    before = read.chunks
    assert len(df) == 1502
    assert read.chunks == before
    assert df.collect().height == 1502


@pytest.mark.parametrize("seconds", [-5, 0, 0.01, 3.333, 19.99, 20, 100])
def test_time_bounds_are_exact(log, seconds):
    when = EPOCH + timedelta(seconds=seconds)
    whole = rd.read_mcap(log).collect()
    for e in (rd.col("log_time") < when, rd.col("log_time") <= when, rd.col("log_time") > when,
              rd.col("log_time") >= when, rd.col("log_time") == when):  # fmt: skip
        df = rd.read_mcap(log).filter(e)
        assert "exact" in str(df.explain("optimized"))
        assert df.collect().equals(whole.filter(e.polars)), e
        assert len(df) == whole.filter(e.polars).height


def test_start_and_end(log):
    df = rd.read_mcap(log, "/imu", start=EPOCH + timedelta(seconds=1), end="2026-01-01T00:00:02")
    assert df.collect()["sequence"].to_list() == list(range(100, 200))
    assert len(df) == 100
    assert df.filter(rd.col("log_time") >= EPOCH + timedelta(seconds=1.5)).collect().height == 50
    with pytest.raises(OptionError, match="no time such as"):
        rd.read_mcap(log, start="yesterday")


def test_columns_that_are_not_asked_for_are_not_decoded(log):
    df = rd.read_mcap(log, "/imu").select("log_time", a=rd.col("pose").struct.field("a"))
    assert "columns=[log_time, pose.a]" in str(df.explain("optimized"))
    assert df.collect()["a"].to_list()[:3] == [0.0, 2.0, 4.0]
    whole = rd.read_mcap(log, "/imu").select("pose", a=rd.col("pose").struct.field("a")).collect()
    assert whole.schema["pose"] == pl.Struct({"a": pl.Float64, "b": pl.String})


def test_several_files_are_one_table(log, tmp_path):
    for name in ("b", "a"):
        write_log(tmp_path / f"{name}.mcap", seconds=1)
    df = rd.read_mcap(tmp_path, "/imu")
    assert df.collect()["recording"].to_list() == ["a"] * 100 + ["b"] * 100
    rows, _, chunks = read_by(df.filter(recording="b"))
    assert rows["recording"].unique().to_list() == ["b"]
    assert chunks == read_by(rd.read_mcap(tmp_path / "b.mcap", "/imu"))[2]
    assert len(df.filter(recording="b")) == 100


def test_recordings_of_the_same_name_are_told_apart(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_log(tmp_path / folder / "log.mcap", seconds=1)
    assert rd.read_mcap(tmp_path).collect()["recording"].unique().sort().to_list() == ["x/log", "y/log"]


def test_a_wrong_topic_is_reported_with_what_exists(log):
    with pytest.raises(QueryError, match=r"no topic '/imuu'.*did you mean '/imu'.*/pose"):
        rd.read_mcap(log, "/imuu")


def test_a_topic_whose_files_disagree_names_them(tmp_path):
    for name, kind in (("a", "number"), ("b", "string")):
        with McapWriter(str(tmp_path / f"{name}.mcap")) as out:
            text = json.dumps({"type": "object", "properties": {"x": {"type": kind}}}).encode()
            channel = out.add_channel("/t", "json", out.add_schema("T", "jsonschema", text))
            out.write(channel, 1, b'{"x": 1}' if kind == "number" else b'{"x": "s"}')
    with pytest.raises(SchemaError, match=r"'x' is Float64 in .*a\.mcap and String in .*b\.mcap"):
        rd.read_mcap(tmp_path, "/t")


def test_channels_with_other_fields_are_united_by_name(tmp_path):
    with McapWriter(str(tmp_path / "a.mcap")) as out:
        for k, names in enumerate((("x", "y"), ("x", "z"))):
            text = json.dumps({"type": "object", "properties": {n: {"type": "number"} for n in names}}).encode()
            channel = out.add_channel("/t", "json", out.add_schema(f"T{k}", "jsonschema", text))
            for i in range(3):
                out.write(channel, 10 * i + k, json.dumps(dict.fromkeys(names, i + k / 10)).encode())
    rows = rd.read_mcap(tmp_path / "a.mcap", "/t").select("x", "y", "z").collect()
    assert rows.schema == {"x": pl.Float64, "y": pl.Float64, "z": pl.Float64}
    assert rows.sort("x")["y"].to_list() == [0.0, None, 1.0, None, 2.0, None]


def test_an_undecodable_message_keeps_its_row(tmp_path):
    with McapWriter(str(tmp_path / "a.mcap")) as out:
        channel = out.add_channel("/t", "json", out.add_schema("T", "jsonschema", json.dumps(POSE_SCHEMA).encode()))
        for i, data in enumerate((b'{"x": 1}', b'{"x": ', b'{"x": 3}')):
            out.write(channel, T0 + i, data)
    with pytest.raises(FileFormatError, match=r"a\.mcap: topic /t, message at log_time 1767225600000000001 ns"):
        rd.read_mcap(tmp_path / "a.mcap", "/t").collect()
    df = rd.read_mcap(tmp_path / "a.mcap", "/t", on_error="collect")
    assert df.errors.height == 0
    assert df.select("x").collect()["x"].to_list() == [1.0, None, 3.0]
    problem = df.errors.row(0, named=True)
    assert problem["topic"] == "/t"
    assert df.errors.height == 1
    assert df.select("log_time").collect().height == 3


def test_an_unknown_encoding_is_raw(tmp_path):
    with McapWriter(str(tmp_path / "a.mcap")) as out:
        out.write(out.add_channel("/t", "smoke-signals", 0), 5, b"\x01\x02")
    df = rd.read_mcap(tmp_path / "a.mcap", "/t")
    assert df.collect()["_raw"].to_list() == [b"\x01\x02"]
    assert "no decoder for the message encoding 'smoke-signals'" in str(df.explain("physical"))


def test_times_beyond_what_a_datetime_holds_are_null(tmp_path):
    with McapWriter(str(tmp_path / "a.mcap")) as out:
        channel = out.add_channel("/t", "json", 0)
        for t in (5, (1 << 63) + 5, (1 << 64) - 1):
            out.write(channel, t, b"{}")
    df = rd.read_mcap(tmp_path / "a.mcap")
    assert df.collect()["log_time"].null_count() == 2
    later = df.filter(rd.col("log_time") >= datetime(1970, 1, 1))
    assert later.collect().height == 1
    assert len(later) == 1


def test_a_truncated_log(log, tmp_path):
    data = log.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileFormatError, match=r"cut\.mcap.*on_error"):
        rd.read_mcap(cut)
    df = rd.read_mcap(cut, on_error="collect")
    rows = df.collect()
    assert 0 < rows.height < 4000
    assert rows.equals(rd.read_mcap(log).head(rows.height).collect().with_columns(recording=pl.lit("cut")))
    assert df.errors.height >= 1
    assert len(df) == rows.height


def test_an_empty_file_and_another_format(tmp_path):
    (tmp_path / "empty.mcap").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"empty\.mcap"):
        rd.read_mcap(tmp_path / "empty.mcap")
    (tmp_path / "text.mcap").write_bytes(b"hello " * 100)
    with pytest.raises(FileFormatError, match=r"text\.mcap"):
        rd.read_mcap(tmp_path / "text.mcap")
    with pytest.raises(FileNotFoundError, match="no file"):
        rd.read_mcap(tmp_path / "none.mcap")


def test_open_log_reads_no_message(log):
    before = read.chunks
    opened = rd.open_log(log)
    topics = opened.topics
    assert topics["topic"].to_list() == ["/imu", "/pose"]
    assert topics["count"].to_list() == [2000, 2000]
    assert topics["start"].to_list() == [EPOCH, EPOCH]
    assert topics["rate_hz"][0] == pytest.approx(100, rel=0.01)
    assert opened.message_count == 4000
    assert opened.duration == timedelta(seconds=19.99)
    assert "/imu" in opened
    assert list(opened) == ["/imu", "/pose"]
    assert "4,000 messages" in repr(opened)
    assert read.chunks == before
    assert opened["/imu"].collect().equals(rd.read_mcap(log, "/imu").collect())
    with pytest.raises(QueryError, match="no topic"):
        opened["/none"]


def test_every_topic_of_the_real_logs(real_data):
    expected = json.loads((real_data / "EXPECTED_messages.json").read_text())
    checked = 0
    for name, facts in expected.items():
        if not name.endswith(".mcap"):
            continue
        whole = rd.read_mcap(real_data / name)
        assert len(whole) == facts["total"], name
        counts = dict(whole.group_by("topic").len().collect().iter_rows())
        for topic, known in facts["topics"].items():
            assert counts.get(topic, 0) == known["n"], (name, topic)
            df = rd.read_mcap(real_data / name, topic, on_error="collect")
            times = df.collect()["log_time"].cast(pl.Int64)
            assert len(times) == known["n"]
            if known["n"]:
                assert (times.min(), times.max()) == (known["t0"], known["t1"]), (name, topic)
            checked += 1
    assert checked > 700


def test_a_file_that_was_rewritten_is_read_anew(tmp_path):
    path = write_log(tmp_path / "a.mcap", seconds=1)
    assert len(rd.read_mcap(path)) == 200
    write_log(path, seconds=2)
    assert len(rd.read_mcap(path)) == 400


def test_it_travels_to_another_process(log):
    import pickle

    df = pickle.loads(pickle.dumps(rd.read_mcap(log, "/imu").filter(rd.col("x") > 5).head(3)))
    assert df.collect()["x"].to_list() == [6.0, 7.0, 8.0]
