"""The reader of ROS 1 bags against rosbags, real files, and bags made record by record."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bag_builder import (
    DATA_START,
    bag_header,
    chunk,
    chunk_info,
    connection,
    fields,
    index,
    indexed_chunk,
    message,
    read_all,
    record,
    ros_time,
    some_messages,
    u32,
    whole_bag,
    write_bag,
)
from rosbags.interfaces import ConnectionExtRosbag1
from rosbags.rosbag1 import Reader

from robodf.errors import FileFormatError, OptionError
from robodf.io.bag import count, read_chunk, read_summary
from robodf.io.files import open_file
from robodf.io.logs.model import select_chunks

REAL = [
    "example.bag",
    "example-bz2.bag",
    "example-lz4.bag",
    "example-unsorted-chunks.bag",
    "no-messages.bag",
    "ouster_512x10_raw.bag",
    "rosbag2_bag_v2_test_bag.bag",
    "rosbag2_bag_v2_test_bag_end_to_end.bag",
    "rosbag2_bag_v2_test_bag_multiple_connections.bag",
]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("indexed", [True, False])
def test_real_bags(real_data: Path, tmp_path: Path, name: str, indexed: bool):
    path = real_data / "bag" / name
    expected = json.loads((real_data / "EXPECTED_messages.json").read_text())[f"bag/{name}"]
    if not indexed:  # as a recorder leaves it that crashes: the index position is still 0
        data = path.read_bytes()
        at = data.index(b"index_pos=") + len(b"index_pos=")
        path = tmp_path / name
        path.write_bytes(data[:at] + bytes(8) + data[at + 8 :])
    got, problems, complete = read_all(path, "raise" if indexed else "collect")
    assert complete == indexed
    assert len(problems) == (0 if indexed else 1)
    topics = defaultdict(list)
    for topic, time, data in got:
        topics[topic].append((time, data))
    assert topics.keys() == expected["topics"].keys()
    for topic, e in expected["topics"].items():
        rows = sorted(topics[topic], key=lambda row: row[0])
        payloads = b"".join(data for _, data in rows)
        assert (len(rows), rows[0][0], rows[-1][0], len(payloads)) == (e["n"], e["t0"], e["t1"], e["bytes"])
        assert hashlib.md5(payloads).hexdigest() == e["md5"]
    with open_file(path) as file:
        summary = read_summary(file, "collect")
        assert summary.from_index == indexed
        assert summary.message_count == count(summary, file) == expected["total"]
        for i, channel in summary.channels.items():
            assert channel.message_encoding == "ros1"
            schema = summary.schemas[channel.schema_id]
            assert schema.encoding == "ros1msg"
            kind = expected["topics"].get(channel.topic)
            assert kind is None or schema.name == kind["type"].replace("/msg/", "/")
            assert summary.channel_counts is not None
            assert count(summary, file, frozenset([i])) == summary.channel_counts.get(i, 0)


@pytest.mark.parametrize("name", [n for n in REAL if n != "no-messages.bag"])
def test_definitions_are_those_that_rosbags_sees(real_data: Path, name: str):
    with open_file(real_data / "bag" / name) as file, Reader(real_data / "bag" / name) as reader:
        summary = read_summary(file)
        assert len(summary.channels) == len(reader.connections)
        for c in reader.connections:
            channel = summary.channels[summary.connections[c.id]]
            schema = summary.schemas[channel.schema_id]
            assert (channel.topic.strip("/"), schema.data.decode()) == (c.topic.strip("/"), c.msgdef.data)
            assert channel.metadata["md5sum"] == c.digest
            assert isinstance(c.ext, ConnectionExtRosbag1)
            assert channel.metadata.get("callerid") == c.ext.callerid
            latching = channel.metadata.get("latching")
            assert (None if latching is None else int(latching)) == c.ext.latching


@pytest.mark.parametrize("compression", ["none", "bz2", "lz4"])
@pytest.mark.parametrize("chunk_size", [1, 1500, 1 << 20])
def test_equal_to_rosbags_message_by_message(tmp_path: Path, compression: str, chunk_size: int):
    messages = some_messages(300)
    path = write_bag(tmp_path / "a.bag", messages, compression, chunk_size)
    got, problems, complete = read_all(path)
    assert (got, problems, complete) == (messages, [], True)
    with Reader(path) as reader:
        theirs = [(c.topic, t, bytes(data)) for c, t, data in reader.messages()]
    assert sorted(got, key=lambda m: m[1]) == theirs


def test_times_are_unsigned(tmp_path: Path):
    last = (2**32 - 1) * 10**9 + 999_999_999
    path = write_bag(tmp_path / "a.bag", [("/a", 0, b"x"), ("/a", last, b"y")])
    assert read_all(path)[0] == [("/a", 0, b"x"), ("/a", last, b"y")]
    with open_file(path) as file:
        summary = read_summary(file)
        assert count(summary, file, end_time=last) == count(summary, file, start_time=last) == 1
        assert count(summary, file, start_time=1 << 64) == count(summary, file, end_time=0) == 0
        assert count(summary, file, end_time=1 << 64) == 2


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_selection_and_count_agree_with_a_filter(tmp_path: Path, compression: str):
    messages = some_messages(200)
    messages = messages[50:120] + messages[:50] + messages[120:]  # chunks overlap and are not sorted
    path = write_bag(tmp_path / "a.bag", messages, compression)
    times = sorted(t for _, t, _ in messages)
    with open_file(path) as file:
        summary = read_summary(file)
        assert len(summary.chunks) > 5
        for channels in (None, frozenset(), frozenset([0]), frozenset([1, 2]), frozenset([7, 1 << 20, -1])):
            for start, end in ((None, None), (times[20], times[90]), (times[60], None), (None, times[3]), (5, 3)):
                topics = (
                    None if channels is None else {summary.channels[c].topic for c in channels if c in summary.channels}
                )
                wanted = [
                    m
                    for m in messages
                    if (topics is None or m[0] in topics)
                    and (start is None or m[1] >= start)
                    and (end is None or m[1] < end)
                ]
                got = []
                for c in select_chunks(summary, channels, start, end):
                    found = read_chunk(file, summary, c, channels, start, end)
                    assert not found.sequence.any()
                    got += [found.payload(i) for i in range(len(found))]
                    few = read_chunk(file, summary, c, channels, start, end, 2)
                    assert few.log_time.tolist() == found.log_time.tolist()[:2]
                assert got == [m[2] for m in wanted]
                assert count(summary, file, channels, start, end) == len(wanted)


def test_what_is_read(tmp_path: Path):
    messages = [("/imu", i * 10**7, bytes(200)) for i in range(2000)]
    messages += [("/cam", 50 * 10**9 + i * 10**8, bytes(9000)) for i in range(200)]
    path = write_bag(tmp_path / "a.bag", messages, chunk=30_000)
    with open_file(path) as file:
        summary = read_summary(file)
        opened = file.bytes_read
        assert file.reads == 2
        assert opened < 30_000 < file.size / 20
        imu = next(i for i, c in summary.channels.items() if c.topic == "/imu")
        wanted = select_chunks(summary, frozenset([imu]), 5 * 10**9, 6 * 10**9)
        assert len(wanted) <= 3
        m = [read_chunk(file, summary, c, frozenset([imu]), 5 * 10**9, 6 * 10**9) for c in wanted]
        assert sum(map(len, m)) == 100
        assert file.bytes_read - opened == sum(c.length + c.message_index_length for c in wanted)
        opened, reads = file.bytes_read, file.reads
        assert count(summary, file) == 2200
        assert count(summary, file, frozenset([imu])) == 2000
        assert (file.bytes_read, file.reads) == (opened, reads)
        assert count(summary, file, frozenset([imu]), 5 * 10**9, 6 * 10**9) == 100
        assert file.reads - reads <= 2
        cut = [c for c in wanted if c.start_time < 5 * 10**9 or c.end_time >= 6 * 10**9]
        assert file.bytes_read - opened == sum(c.message_index_length for c in cut)


def test_threads_read_side_by_side(tmp_path: Path):
    messages = some_messages(600)
    path = write_bag(tmp_path / "a.bag", messages, "lz4", 1000)
    with open_file(path) as file, ThreadPoolExecutor(8) as pool:
        summary = read_summary(file)
        found = list(pool.map(lambda c: read_chunk(file, summary, c), summary.chunks))
    assert [m.payload(i) for m in found for i in range(len(m))] == [m[2] for m in messages]


def test_summaries_can_be_pickled(tmp_path: Path):
    with open_file(write_bag(tmp_path / "a.bag", some_messages())) as file:
        summary = read_summary(file)
        assert pickle.loads(pickle.dumps(summary)) == summary


def test_topics_without_messages_and_an_empty_bag(tmp_path: Path):
    path = write_bag(tmp_path / "a.bag", [], empty=("/a", "/b"))
    with open_file(path) as file:
        summary = read_summary(file)
        assert (summary.complete, summary.problems, summary.message_count, count(summary, file)) == (True, (), 0, 0)
    path = write_bag(tmp_path / "a.bag", some_messages(5), empty=("/a",))
    with open_file(path) as file:
        summary = read_summary(file)
        assert [c.topic for c in summary.channels.values()] == ["/t0", "/t1", "/t2", "/a"]
        assert summary.channel_counts == {0: 2, 1: 2, 2: 1}


def test_connection_ids_are_mapped_and_topics_may_repeat(tmp_path: Path):
    big = 2**32 - 1
    connections = [
        connection(big, "/scan", callerid=b"/left", latching=b"1"),
        connection(70_000, "/scan", callerid=b"/right", topic=b"/other"),  # the outer topic counts
        connection(3, "/scan", "std_msgs/Int32", "int32 é".encode()),
    ]
    rows = [(70_000, 1, b"a"), (big, 2, b"b"), (3, 3, b""), (70_000, 4, b"d")]
    path = tmp_path / "a.bag"
    path.write_bytes(whole_bag(connections, [(rows[:2], "none"), (rows[2:], "bz2")]))
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.problems == ()
        assert summary.connections == {big: 0, 70_000: 1, 3: 2}
        assert {c.topic for c in summary.channels.values()} == {"/scan"}
        assert [c.schema_id for c in summary.channels.values()] == [1, 1, 2]
        assert summary.schemas[2].data.decode() == "int32 é"
        assert summary.channels[0].metadata == {"callerid": "/left", "latching": "1", "md5sum": "0" * 32}
        assert summary.channel_counts == {0: 1, 1: 2, 2: 1}
        m = [read_chunk(file, summary, c) for c in summary.chunks]
        assert [x for part in m for x in part.channel_id.tolist()] == [1, 0, 2, 1]
        assert count(summary, file, frozenset([1]), 2, 9) == 1


def test_a_connection_that_changes_is_told(tmp_path: Path):
    path = tmp_path / "a.bag"
    connections = [connection(0, "/a"), connection(0, "/b"), connection(0, "/a")]
    path.write_bytes(whole_bag(connections, [([(0, 1, b"x")], "none")]))
    got, problems, complete = read_all(path)
    assert (got, complete) == ([("/a", 1, b"x")], True)
    assert [p for p in problems if "connection 0 is defined twice, differently" in p]


def test_headers_of_any_layout(tmp_path: Path):
    """Each writer orders the fields of a message's header in its own way, and may add some."""
    body, expected = connection(1, "/a"), []
    for i in range(400):
        values = {"conn": u32(1), "time": ros_time(i + 1), f"x{i % 40}": bytes(i % 7)}
        names = sorted(values, key=lambda n, i=i: hashlib.md5(f"{n}{i % 3}".encode()).digest())
        head = fields(**{n: values[n] for n in names[:2]}, op=b"\x02", **{n: values[n] for n in names[2:]})
        body += u32(len(head)) + head + u32(i % 5) + bytes(i % 5)
        expected.append(("/a", i + 1, bytes(i % 5)))
    path = tmp_path / "a.bag"
    path.write_bytes(bag_header(0, 0, 0) + chunk(body, "lz4"))
    got, problems, complete = read_all(path, "collect")
    assert (got, complete, len(problems)) == (expected, False, 1)


def test_connections_only_in_chunks(tmp_path: Path):
    """An index section may lack them; a file without an index has them nowhere else."""
    path = tmp_path / "a.bag"
    rows = [(0, 1, b"a"), (1, 2, b"b")]
    both = indexed_chunk(rows, "bz2", connection(0, "/a") + connection(1, "/b"))
    infos = chunk_info(DATA_START, 1, 2, {0: 1, 1: 1})
    path.write_bytes(bag_header(DATA_START + len(both), 0, 1) + both + infos)
    assert read_all(path) == ([("/a", 1, b"a"), ("/b", 2, b"b")], [], True)
    path.write_bytes(bag_header(0, 0, 0) + both)
    got, _, complete = read_all(path, "skip")
    assert (got, complete) == ([("/a", 1, b"a"), ("/b", 2, b"b")], False)


def test_messages_outside_of_chunks(tmp_path: Path):
    path = tmp_path / "a.bag"
    big = bytes(200_000)  # more than a window of the scan
    bare = connection(0, "/a") + b"".join(message(0, t, bytes(t % 50)) for t in range(1, 3000)) + message(0, 9000, big)
    expected = [("/a", t, bytes(t % 50)) for t in range(1, 3000)] + [("/a", 9000, big)]
    path.write_bytes(bag_header(DATA_START + len(bare), 1, 0) + bare + connection(0, "/a"))
    assert read_all(path) == (expected, [], True)
    data = bare + indexed_chunk([(0, 9001, b"z")]) + message(0, 9002, b"")
    infos = chunk_info(DATA_START + len(bare), 9001, 9001, {0: 1})
    path.write_bytes(bag_header(DATA_START + len(data), 1, 1) + data + connection(0, "/a") + infos)
    assert read_all(path) == ([*expected, ("/a", 9001, b"z"), ("/a", 9002, b"")], [], True)
    with open_file(path) as file:
        summary = read_summary(file)
        assert count(summary, file) == 3002
        assert count(summary, file, start_time=2999, end_time=9002) == 3


def test_records_between_chunks_that_no_index_has(tmp_path: Path):
    first, second = indexed_chunk([(0, 1, b"a")]), indexed_chunk([(0, 3, b"c")])
    path = tmp_path / "a.bag"

    def bag(between: bytes) -> None:
        at = DATA_START + len(first) + len(between)
        infos = chunk_info(DATA_START, 1, 1, {0: 1}) + chunk_info(at, 3, 3, {0: 1})
        data = first + between + second
        path.write_bytes(bag_header(DATA_START + len(data), 1, 2) + data + connection(0, "/a") + infos)

    bag(connection(5, "/other"))
    assert read_all(path) == ([("/a", 1, b"a"), ("/a", 3, b"c")], [], True)
    bag(message(0, 2, b"b"))
    with pytest.raises(FileFormatError, match="messages may be lost"):
        read_all(path)
    got, problems, _ = read_all(path, "collect")
    assert got == [("/a", 1, b"a"), ("/a", 3, b"c")]
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("wrong", "note"),
    [
        (index(0, [(1, 0)]), "not those of the index behind it"),  # one is missing
        (index(0, [(1, 0), (3, 47)]), "not those of the index behind it"),  # another time
        (index(0, [(1, 0), (2, 20)]), "not those of the index behind it"),  # within a record
        (index(0, [(1, 0), (2, 10**6)]), "its index is damaged"),
        (index(1, [(1, 0), (2, 47)]), "not those of the index behind it"),
    ],
)
def test_an_index_that_lies_costs_only_time(tmp_path: Path, wrong: bytes, note: str):
    body = message(0, 1, b"a") + message(0, 2, b"b")
    data = chunk(body) + wrong
    assert len(message(0, 1, b"a")) == 47
    infos = chunk_info(DATA_START, 1, 2, {0: 2})
    path = tmp_path / "a.bag"
    path.write_bytes(bag_header(DATA_START + len(data), 1, 1) + data + connection(0, "/a") + infos)
    got, problems, complete = read_all(path)
    assert (got, complete) == ([("/a", 1, b"a"), ("/a", 2, b"b")], True)
    assert len(problems) == 1
    assert note in problems[0]
    with open_file(path) as file:
        summary = read_summary(file)
        assert count(summary, file, start_time=2) == 1


def test_a_chunk_info_that_lies_is_told(tmp_path: Path):
    data = indexed_chunk([(0, 10, b"a"), (0, 20, b"b")])
    path = tmp_path / "a.bag"
    for info, text in (
        (chunk_info(DATA_START, 10, 20, {0: 1}), "index counts 1 messages"),
        (chunk_info(DATA_START, 10, 15, {0: 2}), "at times outside"),
    ):
        path.write_bytes(bag_header(DATA_START + len(data), 1, 1) + data + connection(0, "/a") + info)
        got, problems, _ = read_all(path)
        assert [m[1] for m in got] == [10, 20]
        assert len(problems) == 1
        assert text in problems[0]


def test_bytes_behind_the_index_are_ignored(tmp_path: Path):
    path = write_bag(tmp_path / "a.bag", some_messages())
    path.write_bytes(path.read_bytes() + bytes(100))
    got, problems, complete = read_all(path)
    assert (got, complete) == (some_messages(), True)
    assert problems == [f"{path}: 100 bytes behind its index are ignored"]


@pytest.mark.parametrize("line", [b"#ROSBAG V1.2\n", b"#ROSRECORD V1.1\n", b"#ROSBAG V3.0\n"])
def test_other_versions_say_how_to_convert(tmp_path: Path, line: bytes):
    path = tmp_path / "old.bag"
    path.write_bytes(line + bytes(100))
    with open_file(path) as file, pytest.raises(FileFormatError, match=r"rosbag filter old\.bag new\.bag True"):
        read_summary(file, "skip")


@pytest.mark.parametrize("content", [b"", b"#ROSBAG V2.", b"\x89MCAP0\r\n", "kein Bag: ü".encode(), bytes(5000)])
def test_what_is_no_bag(tmp_path: Path, content: bytes):
    path = tmp_path / "a.bag"
    path.write_bytes(content)
    with open_file(path) as file, pytest.raises(FileFormatError, match=r"a\.bag"):
        read_summary(file, "skip")


def test_an_encrypted_bag_says_so(tmp_path: Path):
    path = tmp_path / "a.bag"
    path.write_bytes(whole_bag([connection(0, "/a")], [([(0, 1, b"x")], "none")], encryptor=b"rosbag/AesCbcEncryptor"))
    with open_file(path) as file, pytest.raises(FileFormatError, match="AesCbcEncryptor.*decrypt"):
        read_summary(file, "skip")


def test_on_error_is_checked(tmp_path: Path):
    with open_file(write_bag(tmp_path / "a.bag", some_messages(3))) as file:
        with pytest.raises(OptionError, match="on_error"):
            read_summary(file, "ignore")
        summary = read_summary(file)
        with pytest.raises(OptionError, match="on_error"):
            read_chunk(file, summary, summary.chunks[0], on_error="ignore")


def test_a_bad_connection_degrades_alone(tmp_path: Path):
    path = tmp_path / "a.bag"
    bad = record(7, fields(type=b"std_msgs/\xff", message_definition=b""), conn=u32(1), topic=b"/bad")
    path.write_bytes(whole_bag([connection(0, "/a"), bad], [([(0, 1, b"x"), (1, 2, b"y")], "none")]))
    with open_file(path) as file, pytest.raises(FileFormatError, match="connection 1, but no connection record"):
        read_summary(file)
    got, problems, complete = read_all(path, "collect")
    assert (got[0], len(got), complete) == (("/a", 1, b"x"), 1, False)
    assert [p for p in problems if "UTF-8" in p]
