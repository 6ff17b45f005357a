"""What McapWriter writes, as the official reader and this one see it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from mcap.reader import NonSeekingReader, make_reader

from robodf.errors import FileFormatError, OptionError
from robodf.io.files import open_file
from robodf.io.mcap import McapWriter, read_chunk, read_summary


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
