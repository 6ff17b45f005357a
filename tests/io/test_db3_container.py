"""ROS 2 .db3 files: what the summary says, and the messages of each piece, with bounds."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sqlite3
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zstandard
from db3_files import INDEX, MESSAGES, TOPICS, read_bag, write_bag

from robodf.errors import FileFormatError
from robodf.io.db3 import count, pieces, read_chunk, read_summary
from robodf.io.db3.chunks import _statements
from robodf.io.db3.database import database
from robodf.io.files import open_file
from robodf.io.logs.model import select_chunks

PY = "rosbag2/rosbag2_py/test/resources/sqlite3"
REAL = [
    "foxglove_chatter.db3",
    "rosbag2/ros2bag/test/resources/empty_bag/empty_bag_0.db3",
    "rosbag2/rosbag2_cpp/test/rosbag2_cpp/bags/topics_and_services.db3",
    "rosbag2/rosbag2_py/test/resources/sqlite3/convert_a/rewriter_a_0.db3",
    "rosbag2/rosbag2_py/test/resources/sqlite3/convert_b/rewriter_b_0.db3",
    *(f"{PY}/reindex_test_bags/multiple_files/multiple_files_{i}.db3" for i in range(3)),
    "rosbag2/rosbag2_py/test/resources/sqlite3/talker/talker.db3",
    *(f"rosbag2/rosbag2_py/test/resources/sqlite3/wbag/wbag_{i}.db3" for i in range(5)),
    "rosbag2/rosbag2_tests/resources/sqlite3/bag_with_topics_and_service_events/bag_with_topics_and_service_events.db3",
    "rosbag2/rosbag2_tests/resources/sqlite3/cdr_test/cdr_test_0.db3",
    "rosbag2/rosbag2_tests/resources/sqlite3/wrong_rmw_test/wrong_rmw_test_0.db3",
    "rosbag2/rosbag2_transport/test/resources/sqlite3/rewriter_a/rewriter_a_0.db3",
    "rosbag2/rosbag2_transport/test/resources/sqlite3/rewriter_b/rewriter_b_0.db3",
    "rosbag2/rosbag2_transport/test/resources/sqlite3/test_bag_for_seek/test_bag_for_seek_0.db3",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_bags_give_every_message_of_every_topic(real_data, name):
    expected = json.loads((real_data / "EXPECTED_messages.json").read_text())[f"db3/{name}"]
    summary, messages, problems = read_bag(real_data / "db3" / name)
    assert not problems
    assert summary.complete
    assert summary.message_count == expected["total"] == len(messages)
    by_topic = defaultdict(list)
    for topic, time, payload in messages:
        by_topic[topic].append((time, payload))
    kinds = {c.topic: summary.schemas[c.schema_id].name for c in summary.channels.values()}
    for topic, said in expected["topics"].items():
        found = by_topic.pop(topic)
        assert kinds[topic] == said["type"]
        assert (len(found), found[0][0], found[-1][0]) == (said["n"], said["t0"], said["t1"])
        assert sum(len(payload) for _, payload in found) == said["bytes"]
        assert hashlib.md5(b"".join(payload for _, payload in found)).hexdigest() == said["md5"]
    assert not by_topic
    counts = {summary.channels[c].topic: n for c, n in summary.channel_counts.items() if n}
    assert counts == {topic: said["n"] for topic, said in expected["topics"].items()}


def test_definitions_in_the_file_are_used_and_absent_ones_are_left_to_the_built_in_types(real_data):
    folder = real_data / "db3/rosbag2/rosbag2_tests/resources/sqlite3"
    new = read_bag(folder / "cdr_test/cdr_test_0.db3")[0]
    basic = next(s for s in new.schemas.values() if s.name == "test_msgs/msg/BasicTypes")
    assert basic.encoding == "ros2msg"
    assert b"float64" in basic.data
    assert sorted(c.topic for c in new.channels.values()) == ["/array_topic", "/test_topic"]
    old = read_bag(folder / "wrong_rmw_test/wrong_rmw_test_0.db3")[0]
    assert {(s.encoding, s.data) for s in old.schemas.values()} == {("", b"")}
    assert {c.message_encoding for c in old.channels.values()} == {"cdr"}
    assert "history" in old.channels[0].metadata["offered_qos_profiles"]


def test_a_bag_that_rosbags_wrote(tmp_path):
    from rosbags.rosbag2 import Writer
    from rosbags.rosbag2.enums import StoragePlugin
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    text = store.types["std_msgs/msg/String"]
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/chatter", text.__msgtype__, typestore=store)
        for i in range(10):
            writer.write(connection, 1000 - i, store.serialize_cdr(text(data=f"n{i}"), text.__msgtype__))
    summary, messages, _ = read_bag(tmp_path / "bag" / "bag.db3")
    assert [time for _, time, _ in messages] == list(range(991, 1001))
    assert b"n9" in messages[0][2]
    assert summary.schemas[1].name == "std_msgs/msg/String"
    assert b"string data" in summary.schemas[1].data
    assert summary.channel_counts == {0: 10}


def _rows(seed: int, n: int = 500) -> list[tuple[int, int, bytes]]:
    """Topics in turn, times with many ties and out of order, sizes from 0."""
    source = random.Random(seed)
    return [(source.choice((7, 3)), source.randrange(100), source.randbytes(source.randrange(60))) for _ in range(n)]


@pytest.fixture(params=["heads", "index", "no index", "not a key"])
def bag(request, tmp_path, monkeypatch):
    """(path, rows in their order): cut into many pieces in each of the ways there are."""
    monkeypatch.setattr(pieces, "PIECE", 300)
    if request.param == "index":
        monkeypatch.setattr(pieces, "HEADS_ROWS", 10)
    schema = [TOPICS, MESSAGES, INDEX][: 2 if request.param == "no index" else 3]
    if request.param == "not a key":
        schema[1] = "CREATE TABLE messages(topic_id, timestamp INTEGER, data, id)"
    rows = _rows(3)
    path = write_bag(tmp_path / "a.db3", rows, [(7, "/seven"), (3, "/three")], schema)
    with open_file(path) as file:
        summary = read_summary(file)
    assert len(summary.chunks) > 20
    assert summary.indexed == (request.param != "no index")
    names = {7: "/seven", 3: "/three"}
    order = sorted(range(len(rows)), key=lambda i: (rows[i][1], i))
    return path, [(names[rows[i][0]], rows[i][1], rows[i][2]) for i in order]


def test_pieces_are_the_time_order_and_ties_keep_the_order_of_recording(bag):
    path, expected = bag
    summary, messages, problems = read_bag(path)
    assert messages == expected
    assert not problems
    assert summary.message_count == 500
    assert [c.topic for c in summary.channels.values()] == ["/three", "/seven"]  # by id
    assert summary.channel_counts == {c: sum(m[0] == summary.channels[c].topic for m in expected) for c in (0, 1)}


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (20, 21), (None, 50), (99, None), (50, 50), (60, 10), (100, None), (-5, 1 << 70), (0, 0), (37, 80)],
)
@pytest.mark.parametrize(
    "channels", [None, frozenset({0}), frozenset({1}), frozenset({0, 1}), frozenset(), frozenset({9})]
)
def test_channels_time_range_and_limit_give_what_filtering_everything_gives(bag, start, end, channels):
    path, expected = bag
    topics = {0: "/three", 1: "/seven"}
    wanted = {topics.get(c) for c in (channels if channels is not None else (0, 1))}
    low, high = start or 0, 1 << 64 if end is None else end
    expected = [m for m in expected if m[0] in wanted and low <= m[1] < high]
    with open_file(path) as file:
        summary = read_summary(file)
        chosen = select_chunks(summary, channels, start, end)
        found = [read_chunk(file, summary, c, channels, start, end) for c in chosen]
        total = count(summary, file, channels, start, end)
        least = [read_chunk(file, summary, c, channels, start, end, 2) for c in chosen]
    messages = [
        (topics[c], t, m.payload(i))
        for m in found
        for i, (c, t) in enumerate(zip(m.channel_id.tolist(), m.log_time.tolist()))
    ]
    assert messages == expected
    assert total == len(expected)
    for some, all_ in zip(least, found):
        assert len(some) == min(2, len(all_))
        assert [some.payload(i) for i in range(len(some))] == [all_.payload(i) for i in range(len(some))]
    for m in found:
        dtypes = [a.dtype for a in (m.channel_id, m.sequence, m.log_time, m.publish_time, m.offset, m.length)]
        assert dtypes == [np.uint16, np.uint32, np.uint64, np.uint64, np.int64, np.int64]
        assert type(m.buffer) is bytes


def test_counts_of_pieces_are_those_of_their_messages(bag):
    path, _ = bag
    with open_file(path) as file:
        summary = read_summary(file)
        for chunk in summary.chunks:
            found = read_chunk(file, summary, chunk)
            ids, counts = np.unique(found.channel_id, return_counts=True)
            assert chunk.counts in (None, dict(zip(ids.tolist(), counts.tolist())))
            assert (chunk.start_time, chunk.end_time) == (found.log_time.min(), found.log_time.max())
            assert (read_chunk(file, summary, chunk, limit=0).channel_id.size, len(found)) == (0, chunk.rows)


def test_threads_read_pieces_of_one_file_side_by_side(bag):
    path, expected = bag
    with open_file(path) as file, ThreadPoolExecutor(8) as pool:
        summary = read_summary(file)
        found = list(pool.map(lambda chunk: read_chunk(file, summary, chunk), summary.chunks))
        counts = list(pool.map(lambda time: count(summary, file, None, time, time + 1), range(100)))
    assert [m.payload(i) for m in found for i in range(len(m))] == [payload for _, _, payload in expected]
    assert counts == [sum(time == t for _, time, _ in expected) for t in range(100)]


def test_thousands_of_messages_of_one_time(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "HEADS_ROWS", 10)
    rows = [(1, 0 if i < 3000 else 5, i.to_bytes(2, "big")) for i in range(3100)]
    monkeypatch.setattr(pieces, "MOST_ROWS", 64)
    path = write_bag(tmp_path / "a.db3", rows)
    summary, messages, _ = read_bag(path)
    assert [int.from_bytes(m[2], "big") for m in messages] == list(range(3100))
    assert len(summary.chunks) > 40
    with open_file(path) as file:
        assert count(summary, file, start_time=1) == 100


def test_the_time_index_is_what_is_searched(bag):
    path, _ = bag
    with open_file(path) as file, database(file) as db:
        summary = read_summary(file)
        chunk = summary.chunks[len(summary.chunks) // 2]
        for topics in (None, [3]):
            for rest, values in _statements(summary, chunk, topics, 0, 90):
                sql = f"EXPLAIN QUERY PLAN SELECT data, timestamp FROM {rest} ORDER BY timestamp, _rowid_"
                plan = " ".join(str(row[3]) for row in db.run(sql, values))
                if summary.indexed:
                    assert "SEARCH messages USING INDEX timestamp_idx" in plan
                    assert "TEMP B-TREE" not in plan
                else:
                    assert "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan


def test_negative_times_are_given_as_times_that_do_not_fit(tmp_path):
    rows = [(1, t, b"%d" % t) for t in (5, -1, 0, -(1 << 63), (1 << 63) - 1)]
    path = write_bag(tmp_path / "a.db3", rows)
    payloads = [m[2] for m in read_bag(path)[1]]
    assert payloads == [b"%d" % t for t in (-(1 << 63), -1, 0, 5, (1 << 63) - 1)]
    assert [m[1] for m in read_bag(path)[1]] == [1 << 63, (1 << 64) - 1, 0, 5, (1 << 63) - 1]
    assert [m[2] for m in read_bag(path, start_time=0, end_time=1 << 63)[1]] == payloads[2:]
    assert [m[2] for m in read_bag(path, start_time=1)[1]] == [payloads[0], payloads[1], b"5", payloads[4]]
    with open_file(path) as file:
        summary = read_summary(file)
        assert count(summary, file, start_time=0, end_time=1 << 63) == 3


def test_nothing_is_written_beside_the_bag(tmp_path):
    folder = tmp_path / "with space #1?%41 é"
    folder.mkdir()
    path = write_bag(folder / "a b.db3", _rows(1), [(7, "/seven"), (3, "/three")])
    folder.chmod(0o555)
    before = (
        [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())],
        folder.stat().st_mtime_ns,
    )
    assert len(read_bag(path)[1]) == 500
    after = (
        [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())],
        folder.stat().st_mtime_ns,
    )
    assert before == after


def _crashed(tmp_path: Path) -> Path:
    """A bag whose last 100 messages are only in the -wal file."""
    source, folder = tmp_path / "source.db3", tmp_path / "bag"
    folder.mkdir()
    with closing(sqlite3.connect(source)) as bag:
        bag.execute("PRAGMA journal_mode=WAL")
        for statement in (TOPICS, MESSAGES, INDEX, "INSERT INTO topics VALUES(1, '/a', 'x/msg/Y', 'cdr', '')"):
            bag.execute(statement)
        bag.commit()
        bag.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        bag.executemany(
            "INSERT INTO messages(topic_id, timestamp, data) VALUES(1, ?, ?)", [(i, b"x" * i) for i in range(100)]
        )
        bag.commit()
        for ending in ("", "-wal"):
            shutil.copy(f"{source}{ending}", f"{folder / 'a.db3'}{ending}")
    return folder / "a.db3"


def test_messages_that_are_only_in_the_log_of_a_crashed_recorder(tmp_path):
    path = _crashed(tmp_path)
    before = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(path.parent.iterdir())]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read_bag(path), range(8)))
    for summary, messages, problems in found:
        assert [m[2] for m in messages] == [b"x" * i for i in range(100)]
        assert summary.complete
        assert not problems
    assert before == [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(path.parent.iterdir())]


def test_a_half_done_write_is_taken_back(tmp_path):
    source = write_bag(tmp_path / "source.db3", [(1, i, b"a" * 1000) for i in range(100)])
    path = tmp_path / "b.db3"
    with closing(sqlite3.connect(source, isolation_level=None)) as bag:
        bag.execute("PRAGMA cache_size=2")
        bag.execute("BEGIN")
        bag.execute("UPDATE messages SET data = zeroblob(1000)")
        shutil.copy(source, path)
        shutil.copy(f"{source}-journal", f"{path}-journal")
        bag.execute("ROLLBACK")
    assert b"\0" * 1000 in path.read_bytes()
    assert {m[2] for m in read_bag(path)[1]} == {b"a" * 1000}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.db3", "b.db3-journal", "source.db3"]


def test_a_journal_cannot_make_sqlite_delete_another_file(tmp_path):
    path = write_bag(tmp_path / "a.db3", [(1, 1, b"")])
    victim = tmp_path / "victim"
    victim.write_text("precious")
    magic = bytes.fromhex("d9d505f920a163d7")
    name = str(victim).encode()
    tail = name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + magic
    (tmp_path / "a.db3-journal").write_bytes(magic + bytes(504) + tail)
    with pytest.raises(FileFormatError, match="-journal belongs to a transaction over several databases"):
        read_bag(path)
    assert victim.read_text() == "precious"


def test_an_empty_journal_changes_nothing(tmp_path):
    path = write_bag(tmp_path / "a.db3", [(1, 1, b"z")])
    (tmp_path / "a.db3-journal").write_bytes(bytes(512))  # as journal_mode=PERSIST leaves it
    (tmp_path / "a.db3-wal").write_bytes(b"")
    assert read_bag(path)[1] == [("/a", 1, b"z")]


def test_the_oldest_schema_has_no_qos(tmp_path):
    schema = ["CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)", MESSAGES,
              "INSERT INTO topics VALUES(4, '/é', 'std_msgs/String', 'cdr')"]  # fmt: skip
    summary, messages, _ = read_bag(write_bag(tmp_path / "a.db3", [(4, 1, b"q")], (), schema))
    assert messages == [("/é", 1, b"q")]
    assert summary.channels[0].metadata == {}
    assert not summary.indexed


def test_a_definition_is_found_by_its_hash_before_its_type(tmp_path):
    schema = [
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name, type, serialization_format, type_description_hash)",
        MESSAGES,
        "CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type, encoding, encoded_message_definition, "
        "type_description_hash)",
        "INSERT INTO topics VALUES(1, '/a', 'p/msg/T', 'cdr', 'h2'), "
        "(2, '/b', 'p/msg/T', 'cdr', 'h9'), (3, '/c', 'p/msg/U', 'cdr', '')",
        "INSERT INTO message_definitions VALUES(1, 'p/msg/T', 'ros2msg', 'int8 x', 'h1'), "
        "(2, 'p/msg/T', 'ros2idl', 'module p', 'h2'), (3, 'p/msg/U', 'unknown', '', '')",
    ]  # fmt: skip
    summary = read_bag(write_bag(tmp_path / "a.db3", [], (), schema))[0]
    found = [summary.schemas[c.schema_id] for c in summary.channels.values()]
    assert [(s.encoding, s.data) for s in found] == [("ros2idl", b"module p"), ("ros2msg", b"int8 x"), ("", b"")]


@pytest.mark.parametrize("beside", [True, False])
def test_payloads_that_the_recorder_compressed(tmp_path, beside):
    metadata = "compression_format: zstd\n{0}compression_mode: MESSAGE\n{0}relative_file_paths: [a.db3]\n"
    plain = [bytes([i]) * (i * 100) for i in range(50)]
    rows = [(1, i, zstandard.compress(data)) for i, data in enumerate(plain)]
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(b"stream" * 1000)
    rows.append((1, 50, stream))
    after = ()
    if beside:
        (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information:\n  " + metadata.format("  "))
    else:
        text = "version: 8\nstorage_identifier: sqlite3\n" + metadata.format("")
        after = ["CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER, metadata TEXT)",
                 f"INSERT INTO metadata VALUES(1, 8, '{text}')"]  # fmt: skip
    path = write_bag(tmp_path / "a.db3", rows, after=after)
    summary, messages, problems = read_bag(path)
    assert summary.compression == "zstd"
    assert [m[2] for m in messages] == [*plain, b"stream" * 1000]
    assert not problems


def test_counts_of_a_large_file_come_from_its_metadata(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "HEADS_ROWS", 10)
    monkeypatch.setattr(pieces, "SCANNED", 100)
    path = write_bag(tmp_path / "a.db3", [(1 + i % 2, i, b"12345") for i in range(31)])
    assert read_bag(path)[0].channel_counts is None
    said = """rosbag2_bagfile_information:
  relative_file_paths: [{files}]
  topics_with_message_count:
    - {{message_count: {n}, topic_metadata: {{name: /a, type: std_msgs/msg/String}}}}
    - {{message_count: 15, topic_metadata: {{name: /b, type: std_msgs/msg/String}}}}
"""
    for files, n, expected in (("a.db3", 16, {0: 16, 1: 15}), ("a.db3", 17, None), ("a.db3, b.db3", 16, None)):
        (tmp_path / "metadata.yaml").write_text(said.format(files=files, n=n))
        assert read_bag(path)[0].channel_counts == expected
        with open_file(path) as file:
            summary = read_summary(file)
            assert count(summary, file, frozenset({1})) == 15
            assert count(summary, file, frozenset({1}), 10, 20) == 5


def test_a_metadata_file_that_is_damaged_costs_no_message(tmp_path):
    path = write_bag(tmp_path / "a.db3", [(1, 1, b"z")])
    (tmp_path / "metadata.yaml").write_text("{{{")
    summary, messages, problems = read_bag(path)
    assert messages == [("/a", 1, b"z")]
    assert summary.complete
    assert "metadata.yaml" in problems[0]
