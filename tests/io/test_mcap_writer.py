"""What McapWriter writes, as the official reader and this one see it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mcap.reader import NonSeekingReader, make_reader
from mcap.stream_reader import StreamReader

from robodf.errors import FileFormatError, OptionError
from robodf.io.files import open_file
from robodf.io.mcap import McapWriter, read_chunk, read_summary
from robodf.io.mcap.records import AttachmentIndex


def write_log(output, n: int = 300, **options) -> list[tuple]:
    """Three topics, times out of order, payloads of many lengths; returns the rows in file order."""
    rows = []
    with McapWriter(output, **options) as writer:
        imu = writer.add_channel("/imu", "json", writer.add_schema("Imu", "jsonschema", b"{}"))
        late = writer.add_channel("/späť 🤖", "cdr", 0, {"qos": "ě", "": ""})
        for i in range(n):
            if i == n // 2:
                last = writer.add_channel("/last", "x", writer.add_schema("Last", "ros2msg", b"int8 a"))
            channel = imu if i < n // 2 else (imu, late, last)[i % 3]
            row = (channel, i * 10 - 7 * (i % 3) + 100, 5 * i, i, bytes([i % 256]) * (i % 41))
            rows.append(row)
            writer.write(row[0], row[1], row[4], publish_time=row[2], sequence=row[3])
    return rows


def read_back(path: Path) -> list[tuple]:
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.from_index
        assert summary.complete
        assert summary.problems == ()
        parts = [read_chunk(file, summary, chunk, check_crc=True) for chunk in summary.chunks]
    return [
        (int(m.channel_id[i]), int(m.log_time[i]), int(m.publish_time[i]), int(m.sequence[i]), m.payload(i))
        for m in parts
        for i in range(len(m))
    ]


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
@pytest.mark.parametrize("chunk_size", [1, 1000, 1 << 20])
def test_the_official_readers_and_ours_read_it(tmp_path: Path, compression: str, chunk_size: int):
    path = tmp_path / "a.mcap"
    rows = write_log(path, compression=compression, chunk_size=chunk_size, profile="p", library="l")
    assert read_back(path) == rows
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        official = [
            (m.channel_id, m.log_time, m.publish_time, m.sequence, m.data)
            for _, _, m in reader.iter_messages(log_time_order=False)
        ]
        header = reader.get_header()
    assert official == rows
    assert (header.profile, header.library) == ("p", "l")
    assert summary.statistics.message_count == len(rows)
    assert summary.statistics.message_start_time == min(r[1] for r in rows)
    assert summary.statistics.message_end_time == max(r[1] for r in rows)
    assert {c.topic: dict(c.metadata) for c in summary.channels.values()} == {
        "/imu": {},
        "/späť 🤖": {"qos": "ě", "": ""},
        "/last": {},
    }
    with path.open("rb") as stream:
        linear = NonSeekingReader(stream, validate_crcs=True)
        assert [m.data for _, _, m in linear.iter_messages(log_time_order=False)] == [r[4] for r in rows]


def test_an_empty_log(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with McapWriter(path):
        pass
    assert read_back(path) == []
    with path.open("rb") as stream:
        assert list(make_reader(stream).iter_messages()) == []


def test_a_file_object_stays_open_and_gets_the_same_bytes(tmp_path: Path):
    out = io.BytesIO()
    write_log(out)
    write_log(tmp_path / "a.mcap")
    assert not out.closed
    assert out.getvalue() == (tmp_path / "a.mcap").read_bytes()


def test_extreme_values(tmp_path: Path):
    path = tmp_path / "a.mcap"
    end = (1 << 64) - 1
    with McapWriter(path) as writer:
        channel = writer.add_channel("", "")
        writer.write(channel, end, b"", publish_time=end, sequence=(1 << 32) - 1)
        writer.write(channel, 0, bytes(3 << 20), publish_time=0)
    rows = read_back(path)
    assert [r[:4] for r in rows] == [(1, end, end, (1 << 32) - 1), (1, 0, 0, 0)]
    assert len(rows[1][4]) == 3 << 20


def test_an_exception_leaves_no_whole_file(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with contextlib.suppress(KeyError), McapWriter(path, chunk_size=10) as writer:
        writer.write(writer.add_channel("/a", "x"), 1, b"payload")
        raise KeyError
    with open_file(path) as file, pytest.raises(FileFormatError, match="1 messages are readable"):
        read_summary(file)


def test_what_the_writer_refuses(tmp_path: Path):
    with pytest.raises(OptionError, match="zstd, lz4, none"):
        McapWriter(tmp_path / "a.mcap", compression="gzip")
    with pytest.raises(OptionError, match="chunk_size"):
        McapWriter(tmp_path / "a.mcap", chunk_size=0)
    writer = McapWriter(io.BytesIO())
    with pytest.raises(OptionError, match="schema 3"):
        writer.add_channel("/a", "x", 3)
    with pytest.raises(OptionError, match="channel 9"):
        writer.write(9, 0, b"")
    channel = writer.add_channel("/a", "x")
    with pytest.raises(OptionError, match="log_time is -1"):
        writer.write(channel, -1, b"")
    with pytest.raises(OptionError, match="publish_time"):
        writer.write(channel, 0, b"", publish_time=1 << 64)
    with pytest.raises(OptionError, match="sequence"):
        writer.write(channel, 0, b"", sequence=1 << 32)
    writer.finish()
    for add in (lambda: writer.write(channel, 0, b""), lambda: writer.add_channel("/b", "x"), writer.finish):
        with pytest.raises(OptionError, match="finished"):
            add()


def test_the_same_schema_is_written_once():
    writer = McapWriter(io.BytesIO())
    assert writer.add_schema("A", "x", b"1") == writer.add_schema("A", "x", b"1") == 1
    assert writer.add_schema("A", "x", b"2") == 2


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
@pytest.mark.parametrize("chunk_size", [1, 700, 1 << 20])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_batch_gives_the_same_bytes_as_one_message_after_the_other(compression: str, chunk_size: int, threads: int):
    def write(batches: list[int]) -> bytes:
        out = io.BytesIO()
        with McapWriter(out, compression, chunk_size, threads=threads if batches else 1) as writer:
            schema = writer.add_schema("A", "x", b"1")
            for topic in ("/a", "/b", "/c"):
                writer.add_channel(topic, "x", schema)
            n = 500
            channel = np.arange(n) * 7 % 3 + 1
            log, publish, sequence = np.arange(n) * 5 % 997, np.arange(n) + 1000, np.arange(n)
            data = pl.Series([bytes([i % 256]) * (i * 13 % 61) for i in range(n)])
            if not batches:
                for i in range(n):
                    writer.write(int(channel[i]), int(log[i]), data[i], int(publish[i]), i)
            first = 0
            for last in batches:
                part = slice(first, last)
                writer.write_batch(channel[part], log[part], data[part], publish[part], sequence[part])
                first = last
        return out.getvalue()

    assert write([1, 2, 2, 130, 500]) == write([500]) == write([])


def test_a_batch_without_publish_times(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with McapWriter(path) as writer:
        channel = writer.add_channel("/a", "x")
        writer.write_batch(np.array([channel] * 2), np.array([7, 8]), pl.Series([b"one", b""]))
        writer.write_batch(np.array([], np.int64), np.array([], np.int64), pl.Series([], dtype=pl.Binary))
    assert read_back(path) == [(1, 7, 7, 0, b"one"), (1, 8, 8, 0, b"")]


def test_what_a_batch_refuses():
    writer = McapWriter(io.BytesIO())
    one = writer.add_channel("/a", "x")
    good = pl.Series([b"x", b"y"])

    def write(channel=(one, one), log=(1, 2), data=good, **more) -> None:
        writer.write_batch(np.array(channel), np.array(log), data, **more)

    with pytest.raises(OptionError, match="channel 2 was not added; there are 1"):
        write(channel=(1, 2))
    with pytest.raises(OptionError, match="channel is 65537"):
        write(channel=(1, 65537))
    with pytest.raises(OptionError, match="log is -2"):
        write(log=(1, -2))
    with pytest.raises(OptionError, match="log has 1 values for 2 messages"):
        write(log=(1,))
    with pytest.raises(OptionError, match="sequence is 4294967296"):
        write(sequence=np.array([0, 1 << 32]))
    for data in (pl.Series([b"x", None]), pl.Series(["x", "y"]), pl.Series([b"x"])):
        with pytest.raises(OptionError, match="data is a Binary series of 2 values without nulls"):
            write(data=data)
    writer.finish()
    with pytest.raises(OptionError, match="finished"):
        write()


def test_attachments_and_metadata(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with McapWriter(path, chunk_size=50) as writer:
        channel = writer.add_channel("/a", "x")
        for i in range(5):
            writer.write(channel, i, bytes(40))
            writer.add_attachment(f"{i}.bin", bytes([i]) * i, i, 2 * i, "application/ü")
        writer.add_metadata("vehicle", {"name": "Käfer", "": ""})
        writer.add_metadata("vehicle", {})
    assert len(read_back(path)) == 5
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        found = [(a.name, a.data, a.log_time, a.create_time, a.media_type) for a in reader.iter_attachments()]
        metadata = [(m.name, m.metadata) for m in reader.iter_metadata()]
        summary = reader.get_summary()
    assert sorted(found) == [(f"{i}.bin", bytes([i]) * i, i, 2 * i, "application/ü") for i in range(5)]
    assert sorted(metadata, key=lambda m: len(m[1])) == [("vehicle", {}), ("vehicle", {"name": "Käfer", "": ""})]
    assert summary is not None
    assert summary.statistics is not None
    assert (summary.statistics.attachment_count, summary.statistics.metadata_count) == (5, 2)
    with path.open("rb") as stream:
        kinds = [type(r).__name__ for r in StreamReader(stream, validate_crcs=True).records]
    assert kinds.count("Attachment") == kinds.count("AttachmentIndex") == 5
    assert kinds[-1] == "Footer"


def test_an_attachment_of_another_length_than_said():
    writer = McapWriter(io.BytesIO())
    with pytest.raises(OptionError, match="has 3 bytes, not 4"):
        writer.copy_attachment(AttachmentIndex(0, 0, 0, 0, 0, "a", ""), [b"abc"], 4)
    with pytest.raises(OptionError, match="log_time is -1"):
        writer.add_attachment("a", b"", -1)


def test_an_error_in_a_compressing_thread_arrives(monkeypatch):
    def fail(self, records):
        raise MemoryError

    monkeypatch.setattr(McapWriter, "_compress", fail)
    with pytest.raises(MemoryError), McapWriter(io.BytesIO(), threads=2) as writer:
        writer.write(writer.add_channel("/a", "x"), 0, b"")
