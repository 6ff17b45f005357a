"""to_mcap: cuts, filters and merges of logs, tables as messages, and what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from mcap_ros2.decoder import DecoderFactory

import robodf as rd
from robodf.errors import ColumnNotFoundError, FileFormatError, OptionError, QueryError, SchemaError
from robodf.io import publish
from robodf.io.mcap.writer import McapWriter

KEYS = ["topic", "type", "log_time", "publish_time", "sequence", "size", "data"]
IMU = (
    "std_msgs/Header header\nfloat64 x\n"
    + "=" * 80
    + ("\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n")
)


def write_log(path: Path, start: int = 0, rows: int = 300, imu: str = "float64 x\n", serial: str = "7") -> Path:
    """CDR on /imu and /odom (of one type), JSON on /text, every 10 ns in turn."""
    with McapWriter(path, chunk_size=2000, profile="ros2") as out:
        x = out.add_schema("my_msgs/msg/X", "ros2msg", imu.encode())
        channels = [
            out.add_channel("/imu", "cdr", x, {"qos": "reliable", "serial": serial}),
            out.add_channel("/odom", "cdr", x),
            out.add_channel("/text", "json", out.add_schema("Text", "jsonschema", b'{"type": "object"}')),
            out.add_channel("/bare", "x-own"),
        ]
        for i in range(rows):
            value = pl.Series([i * 0.5]).to_numpy().tobytes()
            data = (b"\0\1\0\0" + value, b"\0\1\0\0" + value, b'{"i": %d}' % i, b"raw")[i % 4]
            out.write(channels[i % 4], start + i * 10, data, publish_time=start + i * 10 + 1, sequence=i)
        out.add_attachment("calibration.yaml", b"f: 1\n" * 3, start, 5, "text/yaml")
        out.add_metadata("vehicle", {"name": f"v{serial}"})
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "run.mcap")


def channels(path: Path) -> set[tuple]:
    """topic, metadata, encoding, and the schema of each channel, by the official reader."""
    with path.open("rb") as stream:
        summary = make_reader(stream, validate_crcs=True).get_summary()
    assert summary is not None
    found = set()
    for c in summary.channels.values():
        schema = summary.schemas.get(c.schema_id)
        said = None if schema is None else (schema.name, schema.encoding, schema.data)
        found.add((c.topic, tuple(sorted(c.metadata.items())), c.message_encoding, said))
    return found


def official(path: Path) -> list[tuple]:
    """The messages in the order of the file; the strict reader has read every record of it."""
    with path.open("rb") as stream:
        assert [type(r).__name__ for r in StreamReader(stream, validate_crcs=True).records][-1] == "Footer"
    with path.open("rb") as stream:
        found = make_reader(stream, validate_crcs=True).iter_messages(log_time_order=False)
        return [(c.topic, m.log_time, m.publish_time, m.sequence, m.data) for _, c, m in found]


def plain(frame: pl.DataFrame) -> list[tuple]:
    times = pl.col("log_time", "publish_time").cast(pl.Int64)
    return frame.select("topic", times, "sequence", "data").rows()


def test_a_whole_log(log, tmp_path):
    out = tmp_path / "out.mcap"
    frame = rd.read_mcap(log)
    report = frame.to_mcap(out)
    assert (report.rows, report.files, report.bytes) == (300, (str(out),), out.stat().st_size)
    assert report.path == str(out)
    assert official(out) == plain(frame.collect()) == official(log)
    assert channels(out) == channels(log)
    assert rd.read_mcap(out).select(*KEYS).collect().equals(frame.select(*KEYS).collect())
    with out.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        assert [(a.name, a.data, a.create_time, a.media_type) for a in reader.iter_attachments()] == [
            ("calibration.yaml", b"f: 1\n" * 3, 5, "text/yaml")
        ]
        assert [(m.name, m.metadata) for m in reader.iter_metadata()] == [("vehicle", {"name": "v7"})]


def test_cut_and_filter(log, tmp_path):
    out = tmp_path / "out.mcap"
    frame = rd.read_mcap(log).filter(rd.col("log_time").cast(pl.Int64).is_between(500, 900), rd.col("topic") != "/odom")
    frame.to_mcap(out, compression="lz4", chunk_size=100)
    expected = [m for m in official(log) if 500 <= m[1] <= 900 and m[0] != "/odom"]
    assert official(out) == expected
    assert {c[0] for c in channels(out)} == {"/imu", "/text", "/bare"}
    assert channels(out) <= channels(log)
    with out.open("rb") as stream:
        statistics = make_reader(stream).get_summary().statistics  # type: ignore[union-attr]
    assert statistics is not None
    assert (statistics.message_start_time, statistics.message_end_time) == (500, 900)
    assert statistics.message_count == len(expected)
    assert rd.open_log(out).message_count == len(expected)


def test_a_time_range_of_the_reader(log, tmp_path):
    out = tmp_path / "out.mcap"
    rd.read_mcap(log, start=1000, end=2000).to_mcap(out, attachments=False)
    assert official(out) == [m for m in official(log) if 1000 <= m[1] < 2000]
    with out.open("rb") as stream:
        assert list(make_reader(stream).iter_attachments()) == []


def test_merge_by_time(log, tmp_path):
    other, out = write_log(tmp_path / "other.mcap", start=5, serial="8"), tmp_path / "out.mcap"
    rd.concat([rd.read_mcap(log), rd.read_mcap(other)]).sort("log_time").to_mcap(out)
    assert official(out) == sorted(official(log) + official(other), key=lambda m: m[1])
    # /imu differs in its metadata, the other channels are the same in both.
    assert sorted(c[0] for c in channels(out)) == ["/bare", "/imu", "/imu", "/odom", "/text"]
    assert channels(out) == channels(log) | channels(other)
    with out.open("rb") as stream:
        assert sorted(m.metadata["name"] for m in make_reader(stream).iter_metadata()) == ["v7", "v8"]


def test_only_the_recordings_among_the_rows_bring_their_attachments(log, tmp_path):
    other, out = write_log(tmp_path / "other.mcap", serial="8"), tmp_path / "out.mcap"
    rd.read_mcap([log, other]).filter(rd.col("recording") == "other").to_mcap(out)
    with out.open("rb") as stream:
        reader = make_reader(stream)
        assert [m.metadata for m in reader.iter_metadata()] == [{"name": "v8"}]
        assert len(list(reader.iter_attachments())) == 1


def test_logs_that_disagree_about_a_type_keep_their_definitions(log, tmp_path):
    other, out = write_log(tmp_path / "other.mcap", imu="float32 y\nfloat32 z\n"), tmp_path / "out.mcap"
    both = rd.read_mcap([log, other])
    both.to_mcap(out)
    assert channels(out) == channels(log) | channels(other)
    with pytest.raises(SchemaError, match=r"type 'my_msgs/msg/X', topic '/imu' is one of 2 different definitions"):
        both.drop("recording").to_mcap(tmp_path / "lost.mcap")
    assert not (tmp_path / "lost.mcap").exists()
    both.drop("recording").filter(rd.col("topic") == "/text").to_mcap(tmp_path / "text.mcap")
    given = {"/imu": ("ros2msg", "float64 x\n", "cdr"), "my_msgs/msg/X": ("ros2msg", b"uint8 z\n", "cdr")}
    both.drop("recording").to_mcap(tmp_path / "given.mcap", schemas=given)
    texts = {c[0]: c[3] for c in channels(tmp_path / "given.mcap")}
    assert texts["/imu"] == ("my_msgs/msg/X", "ros2msg", b"float64 x\n")
    assert texts["/odom"] == ("my_msgs/msg/X", "ros2msg", b"uint8 z\n")


def test_two_definitions_in_one_recording(tmp_path):
    path = tmp_path / "a.mcap"
    with McapWriter(path) as out:
        for text in (b"int8 a", b"int8 b"):
            out.write(out.add_channel("/a", "cdr", out.add_schema("x/msg/X", "ros2msg", text)), 1, b"")
    with pytest.raises(SchemaError, match="2 different definitions"):
        rd.read_mcap(path).to_mcap(tmp_path / "b.mcap")


def test_channels_of_one_topic_become_one_with_what_they_agree_on(tmp_path):
    path, out = tmp_path / "a.mcap", tmp_path / "b.mcap"
    with McapWriter(path) as writer:
        schema = writer.add_schema("x/msg/X", "ros2msg", b"int8 a")
        for k in range(2):
            metadata = {"qos": "1", "publisher": str(k)}
            writer.write(writer.add_channel("/a", "cdr", schema, metadata), k, b"\0\1\0\0\1")
    rd.read_mcap(path).to_mcap(out)
    assert [c[1] for c in channels(out)] == [(("qos", "1"),)]


def test_a_topic_or_a_recording_may_be_renamed(log, tmp_path):
    out = tmp_path / "out.mcap"
    frame = rd.read_mcap(log).filter(rd.col("topic").is_in(["/imu", "/text"]))
    renamed = frame.with_columns(topic=pl.lit("/a") + pl.col("topic"), recording=pl.lit("new"))
    renamed.to_mcap(out)
    assert official(out) == [("/a" + m[0], *m[1:]) for m in official(log) if m[0] in ("/imu", "/text")]
    assert {(c[0], c[3]) for c in channels(out)} == {
        ("/a" + c[0], c[3]) for c in channels(log) if c[0] in ("/imu", "/text")
    }


def test_columns_may_be_left_out(log, tmp_path):
    out = tmp_path / "out.mcap"
    rd.read_mcap(log).select("data", "topic", "log_time").to_mcap(out)
    assert official(out) == [(m[0], m[1], m[1], 0, m[4]) for m in official(log)]
    assert channels(out) == channels(log)
    rd.read_mcap(log).filter(rd.col("topic") == "/imu").select("data", "log_time", "type").to_mcap(
        out, topic="/x", encoding="raw", mode="overwrite"
    )
    assert {m[0] for m in official(out)} == {"/x"}


def test_overwriting_the_log_that_is_read(log):
    before = official(log)
    rd.read_mcap(log).filter(rd.col("topic") == "/imu").to_mcap(log, mode="overwrite")
    assert official(log) == [m for m in before if m[0] == "/imu"]
    assert os.listdir(log.parent) == [log.name]


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_frames_without_rows(log, tmp_path, compression):
    out = tmp_path / "out.mcap"
    report = rd.read_mcap(log).filter(rd.col("topic") == "/nothing").to_mcap(out, compression=compression)
    assert report.rows == 0
    assert official(out) == []
    assert rd.read_mcap(out).count_rows() == 0


def test_rows_of_no_log(tmp_path):
    table = rd.from_dict(
        {"topic": ["/a", "/b"], "type": ["t", ""], "log_time": [5, 6], "data": [b"1", b"2"], "sequence": [1, 2]}
    )
    out = tmp_path / "out.mcap"
    with pytest.raises(QueryError, match=r"topic '/a'.*need the definition.*reads no log.*schemas=\{'t'"):
        table.to_mcap(out)
    assert os.listdir(tmp_path) == []
    table.to_mcap(out, schemas={"t": ("ros2msg", "int8 a", "cdr"), "/b": ("", "", "own")})
    assert official(out) == [("/a", 5, 5, 1, b"1"), ("/b", 6, 6, 2, b"2")]
    assert channels(out) == {("/a", (), "cdr", ("t", "ros2msg", b"int8 a")), ("/b", (), "own", None)}


def test_more_topics_than_rows_of_a_batch_repeat(tmp_path):
    n = 3000
    frame = pl.DataFrame({"log_time": range(2 * n), "data": [b"x"] * (2 * n), "i": [*range(n), *range(n)]}).select(
        "log_time", "data", topic=pl.format("/t{}", "i").cast(pl.Categorical), type=pl.format("T{}", pl.col("i") % 7),
        recording=pl.format("r{}", pl.col("i") % 11),
    )  # fmt: skip
    out = tmp_path / "out.mcap"
    given = {f"T{k}": ("ros2msg", f"int8 f{k}", "cdr") for k in range(7)}
    rd.from_polars(frame).to_mcap(out, schemas=given)
    assert [m[0] for m in official(out)] == frame["topic"].cast(pl.String).to_list()
    texts = {c[0]: c[3][2] for c in channels(out)}
    assert texts == {f"/t{i}": f"int8 f{i % 7}".encode() for i in range(n)}


def test_an_unknown_type_names_close_ones(log, tmp_path):
    frame = rd.read_mcap(log).with_columns(type=pl.lit("my_msgs/msg/Y"), topic=pl.lit("/other"))
    with pytest.raises(QueryError, match="did you mean 'my_msgs/msg/X'"):
        frame.to_mcap(tmp_path / "out.mcap")


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("log_time", None, "row 7 has null in column 'log_time'"),
        ("publish_time", None, "row 7 has null in column 'publish_time'"),
        ("data", None, "row 7 has null in column 'data'"),
        ("topic", None, "row 7 has null in column 'topic'"),
        ("sequence", None, "row 7 has null in column 'sequence'"),
        ("log_time", -1, "row 7 has -1 in column 'log_time', which does not fit UInt64"),
        ("sequence", 2**32, "row 7 has 4294967296 in column 'sequence', which does not fit UInt32"),
    ],
)
def test_values_that_no_message_has(log, tmp_path, column, value, why):
    dtype = pl.Int64 if column in ("log_time", "publish_time", "sequence") else None
    found = pl.col(column) if dtype is None else pl.col(column).cast(dtype)
    frame = rd.read_mcap(log).with_columns(
        pl.when(pl.col("sequence") == 7).then(pl.lit(value, dtype)).otherwise(found).alias(column)
    )
    with pytest.raises(QueryError, match=why):
        frame.to_mcap(tmp_path / "out.mcap")
    assert os.listdir(tmp_path) == [log.name]


def test_a_null_type_is_no_type(log, tmp_path):
    frame = rd.read_mcap(log).filter(rd.col("topic") == "/bare").with_columns(type=pl.lit(None, pl.String))
    frame.to_mcap(tmp_path / "out.mcap")
    assert channels(tmp_path / "out.mcap") == {("/bare", (), "x-own", None)}


def test_what_is_refused_before_anything_runs(log, tmp_path):
    frame = rd.read_mcap(log)
    out = tmp_path / "out.mcap"
    for options, error, why in [
        ({"encoding": "protobuf"}, OptionError, "no encoding 'protobuf'.*raw, cdr, ros1, json"),
        ({"compression": "gzip"}, OptionError, "zstd, lz4, none"),
        ({"chunk_size": 0}, OptionError, "chunk_size is a positive number"),
        ({"mode": "append"}, OptionError, "cannot be appended to"),
        ({"topic": "/x"}, OptionError, "has a column 'topic'"),
        ({"topic": 3}, OptionError, "topic is a text"),
        ({"time": "nothing"}, ColumnNotFoundError, "no column 'nothing'"),
        ({"time": "topic"}, SchemaError, "column 'topic' is String; it takes Datetime"),
        ({"schemas": {"a": "int8 b"}}, OptionError, r"schemas\['a'\] is \(schema encoding"),
        ({"encoding": "cdr"}, OptionError, "which topic"),
        ({"encoding": "cdr", "topic": "/a"}, OptionError, "need the definition of their type"),
    ]:
        with pytest.raises(error, match=why):
            frame.to_mcap(out, **options)
    with pytest.raises(SchemaError, match="column 'data' is String"):
        frame.with_columns(data=pl.lit("x")).to_mcap(out, encoding="raw")
    with pytest.raises(ColumnNotFoundError, match="no column 'data'"):
        frame.drop("data").to_mcap(out, encoding="raw")
    with pytest.raises(OptionError, match="how are the rows to be encoded"):
        frame.drop("data").to_mcap(out)
    with pytest.raises(OptionError, match="no local path"):
        frame.to_mcap("s3://bucket/a.mcap")
    with pytest.raises(OptionError, match="ends in .mcap"):
        frame.to_mcap(tmp_path / "out.parquet")
    with pytest.raises(FileExistsError):
        frame.to_mcap(log)
    folder = tmp_path / "folder.mcap"
    folder.mkdir()
    with pytest.raises(OptionError, match="no regular file"):
        frame.to_mcap(folder, mode="overwrite")
    assert sorted(os.listdir(tmp_path)) == ["folder.mcap", log.name]


# -- columns as messages --------------------------------------------------------------------------------------


def test_a_topic_of_cdr_is_encoded_again(log, tmp_path):
    out = tmp_path / "out.mcap"
    rd.read_mcap(log, "/imu").filter(rd.col("x") > 50).to_mcap(out)
    kept = [m for m in official(log) if m[0] == "/imu" and m[3] * 0.5 > 50]
    assert official(out) == kept
    assert channels(out) == {c for c in channels(log) if c[0] == "/imu"}
    with out.open("rb") as stream:
        decoded = make_reader(stream, decoder_factories=[DecoderFactory()]).iter_decoded_messages()
        assert [m.x for *_, m in decoded] == [m[3] * 0.5 for m in kept]


def test_a_changed_field_is_encoded_as_it_is_now(log, tmp_path):
    out = tmp_path / "out.mcap"
    rd.read_mcap(log, "/imu").with_columns(x=rd.col("x") + 1).to_mcap(out, topic="/more")
    assert rd.read_mcap(out, "/more").collect()["x"].to_list() == [i * 0.5 + 1 for i in range(0, 300, 4)]
    wider = rd.read_mcap(log, "/imu").with_columns(y=rd.col("x"))
    with pytest.raises(SchemaError, match="has as well y"):
        wider.to_mcap(tmp_path / "b.mcap")
    wider.to_mcap(out, encoding="json", mode="overwrite")
    assert rd.read_mcap(out, "/imu").select("x", "y").head(2).to_dicts() == [{"x": 0.0, "y": 0.0}, {"x": 2.0, "y": 2.0}]


def test_a_null_field_names_its_row(log, tmp_path):
    frame = rd.read_mcap(log, "/imu").with_columns(x=pl.when(pl.col("sequence") != 8).then("x"))
    with pytest.raises(QueryError, match="row 2 has null in x; drop such rows"):
        frame.to_mcap(tmp_path / "out.mcap")


def test_a_table_as_messages_of_a_given_type(tmp_path):
    out = tmp_path / "out.mcap"
    header = {"stamp": datetime(2026, 1, 1), "frame_id": "käse"}
    columns = {"t": [datetime(2026, 1, 1), datetime(2026, 1, 2)], "header": [header] * 2, "x": [1.5, float("nan")]}
    stamp = pl.Struct({"stamp": pl.Datetime("ns"), "frame_id": pl.String})
    table = rd.from_polars(pl.DataFrame(columns).with_columns(pl.col("header").cast(stamp)))
    table.to_mcap(out, topic="/imu", time="t", encoding="cdr", schemas={"my/msg/Imu": ("ros2msg", IMU, "cdr")})
    back = rd.read_mcap(out, "/imu").collect()
    assert back["header"].to_list() == [header] * 2
    assert back["header_stamp"].to_list() == [header["stamp"]] * 2
    assert back["log_time"].to_list() == columns["t"]
    assert str(back["x"].to_list()) == "[1.5, nan]"
    with out.open("rb") as stream:
        decoded = make_reader(stream, decoder_factories=[DecoderFactory()]).iter_decoded_messages()
        assert [m.header.frame_id for *_, m in decoded] == ["käse", "käse"]


def test_a_table_as_json(tmp_path):
    out = tmp_path / "out.mcap"
    rows = [{"v": 1.5, "tag": "ä", "pose": {"x": [1, 2]}}, {"v": None, "tag": None, "pose": None}]
    table = rd.from_polars(pl.DataFrame([{"at": 10 * i, "sequence": i, **row} for i, row in enumerate(rows)]))
    table.to_mcap(out, topic="/v", encoding="json", time="at")
    assert [(m[0], m[1], m[3], json.loads(m[4])) for m in official(out)] == [
        ("/v", 0, 0, rows[0]), ("/v", 10, 1, rows[1]),
    ]  # fmt: skip
    assert rd.read_mcap(out, "/v").select("v", "tag", "pose").to_dicts() == rows
    ((_, _, encoding, schema),) = channels(out)
    assert (encoding, schema[:2]) == ("json", ("/v", "jsonschema"))
    assert json.loads(schema[2])["properties"]["pose"]["properties"]["x"]["items"] == {"type": "integer"}


def test_fields_named_as_the_columns_of_every_log(tmp_path):
    out = tmp_path / "out.mcap"
    rd.from_dict({"log_time": [1], "msg.log_time": [5], "msg.other": [6]}).to_mcap(out, topic="/a", encoding="json")
    assert json.loads(official(out)[0][4]) == {"log_time": 5, "msg.other": 6}
    back = rd.read_mcap(out, "/a")
    assert back.select("msg.log_time", "msg.other").to_dicts() == [{"msg.log_time": 5, "msg.other": 6}]
    again = tmp_path / "again.mcap"
    back.to_mcap(again)
    assert official(again) == official(out)


def test_a_frame_without_fields(tmp_path):
    with pytest.raises(SchemaError, match="no columns for the fields"):
        rd.from_dict({"log_time": [1]}).to_mcap(tmp_path / "out.mcap", topic="/a", encoding="json")


# -- real logs ------------------------------------------------------------------------------------------------

REAL = ["keelson_test", "rerun_rosbag2_2025_09_10", "pj_test_large_file", "rerun_simple-protobuf", "rerun_foxglove_log"]


def digests(path: Path) -> dict[str, str]:
    found: dict[str, hashlib._Hash] = {}
    for topic, *_, data in official(path):
        found.setdefault(topic, hashlib.md5()).update(data)
    return {topic: h.hexdigest() for topic, h in found.items()}


@pytest.mark.parametrize("name", REAL)
def test_real_logs_pass_unchanged(real_data, tmp_path, name):
    path, out = real_data / "mcap" / f"{name}.mcap", tmp_path / "out.mcap"
    frame = rd.read_mcap(path)
    frame.to_mcap(out)
    assert digests(out) == digests(path)
    used = set(digests(path))
    assert {c for c in channels(path) if c[0] in used} == channels(out)
    assert rd.read_mcap(out).select(*KEYS).collect().equals(frame.select(*KEYS).collect())


def test_topics_of_a_real_log_are_encoded_again(real_data, tmp_path):
    path, out = real_data / "mcap" / "rerun_rosbag2_2025_09_10.mcap", tmp_path / "out.mcap"
    log = rd.open_log(path)
    for topic, count in log.topics.select("topic", "count").rows():
        log[topic].to_mcap(out, mode="overwrite")
        first, second = (rd.read_mcap(p, topic).drop("recording").collect() for p in (path, out))
        assert first.equals(second)
        assert second.height == count
        before, after = ([m[4] for m in official(p) if m[0] == topic] for p in (path, out))
        # Some writers pad a message to a multiple of four bytes.
        assert all(a[: len(b)] == b and len(a) - len(b) < 4 for a, b in zip(before, after))


def test_a_bag_of_ros_1(real_data, tmp_path):
    path, out, typed = real_data / "bag" / "example.bag", tmp_path / "out.mcap", tmp_path / "typed.mcap"
    frame = rd.read_log(path)
    frame.to_mcap(out)
    assert (
        rd.read_mcap(out)
        .select("topic", "type", "data")
        .collect()
        .equals(frame.select("topic", "type", "data").collect())
    )
    assert {(c[2], c[3][1]) for c in channels(out)} == {("ros1", "ros1msg")}
    for topic in rd.open_log(path):
        rd.read_log(path, topic).to_mcap(typed, mode="overwrite")
        assert (
            rd.read_mcap(typed)
            .select("data")
            .collect()
            .equals(frame.filter(rd.col("topic") == topic).select("data").collect())
        )


# -- damage and crashes ---------------------------------------------------------------------------------------


def test_a_damaged_source_is_named_and_leaves_the_old(log, tmp_path):
    out = tmp_path / "out.mcap"
    out.write_bytes(b"old")
    data = bytearray(log.read_bytes())
    at = data.index(b"f: 1\n")
    data[at] ^= 1
    log.write_bytes(data)
    with pytest.raises(FileFormatError, match=f"{log}.*does not match its checksum; pass attachments=False"):
        rd.read_mcap(log).to_mcap(out, mode="overwrite")
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["out.mcap", "run.mcap"]
    rd.read_mcap(log).to_mcap(out, mode="overwrite", attachments=False)
    lenient = rd.read_mcap(log, on_error="collect")
    lenient.to_mcap(out, mode="overwrite")
    assert len(official(out)) == 300
    assert any("does not match its checksum" in e for e in lenient.errors["error"])


WRITER = """
import os, shutil, sys
import polars as pl
from polars.io.plugins import register_io_source
from robodf.io import publish
import robodf as rd

target, signal, batch, step = sys.argv[1], *map(int, sys.argv[2:])

def dying(call):
    def run(*args, **kwargs):
        global step
        if step == 0:
            os.kill(os.getpid(), 9)
        step -= 1
        return call(*args, **kwargs)
    return run

def source(with_columns, predicate, n_rows, batch_size):
    for k in range(40):
        if k == batch:
            os.kill(os.getpid(), signal)
        i = pl.int_range(k * 1000, (k + 1) * 1000, eager=True)
        yield pl.DataFrame({"log_time": i, "i": i})

if step >= 0:
    os.fsync, os.replace, os.link, shutil.rmtree = map(dying, (os.fsync, os.replace, os.link, shutil.rmtree))
frame = rd.from_polars(register_io_source(source, schema={"log_time": pl.Int64, "i": pl.Int64}))
frame.to_mcap(target, topic="/new", encoding="json", mode="overwrite", chunk_size=20_000)
print("done", flush=True)
"""


def run(target: Path, signal: int = 0, batch: int = -1, step: int = -1, **options) -> subprocess.CompletedProcess:
    """Overwrite the target by 40 batches of 1000 rows; die at a batch, or at a step of publishing."""
    environment = {**os.environ, "PYTHONPATH": str(Path(publish.__file__).parents[2]), "POLARS_MAX_THREADS": "2"}
    command = [sys.executable, "-c", WRITER, str(target), str(int(signal)), str(batch), str(step)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, **options)


@pytest.mark.parametrize("batch", [0, 7, 39])
def test_a_killed_writer_leaves_the_old(log, tmp_path, batch):
    old = log.read_bytes()
    assert run(log, signal.SIGKILL, batch).returncode == -signal.SIGKILL
    assert log.read_bytes() == old
    assert len(os.listdir(tmp_path)) == 2  # and the staged file, which the next write removes
    rd.read_mcap(log).to_mcap(log, mode="overwrite")
    assert os.listdir(tmp_path) == [log.name]


@pytest.mark.parametrize("step", range(5))
def test_a_kill_at_each_step_of_publishing(log, tmp_path, step):
    old = log.read_bytes()
    process = run(log, step=step)
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    assert log.read_bytes() == old or len(official(log)) == 40_000
    rd.read_mcap(log).to_mcap(log, mode="overwrite")
    assert os.listdir(tmp_path) == [log.name]


def test_an_interrupt_leaves_the_old(log, tmp_path):
    old = log.read_bytes()
    process = run(log, signal.SIGINT, 7)
    assert "done" not in process.stdout
    assert "KeyboardInterrupt" in process.stderr
    assert log.read_bytes() == old
    assert os.listdir(tmp_path) == [log.name]


def limit_files() -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_full_disk_names_the_target_and_leaves_the_old(log, tmp_path):
    old = log.read_bytes()
    error = run(log, preexec_fn=limit_files).stderr
    assert f"cannot write {log}, which is left as it was: {os.strerror(errno.EFBIG)}" in error
    assert log.read_bytes() == old
    assert os.listdir(tmp_path) == [log.name]
