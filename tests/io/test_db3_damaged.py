""".db3 files that are cut off, mutated, hostile or hold what no recorder writes."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import zstandard
from db3_files import INDEX, MESSAGES, TOPICS, read_bag, write_bag

from robodf.errors import FileFormatError
from robodf.io.db3 import pieces
from robodf.io.db3.inflate import MAX_SIZE


def _good(folder: Path, n: int = 120) -> tuple[Path, Counter]:
    """A bag of small pages (so that damage meets all kinds of them), and its messages."""
    source = random.Random(5)
    rows = [(1 + i % 2, 1000 + i // 2, source.randbytes(source.choice((3, 40, 900)))) for i in range(n)]
    path = write_bag(folder / "good.db3", rows, schema=["PRAGMA page_size=512", TOPICS, MESSAGES, INDEX])
    return path, Counter(("/" + "ab"[topic - 1], time, data) for topic, time, data in rows)


def _tried(path: Path) -> tuple[str, list, list]:
    """What reading a mutated file comes to; anything but FileFormatError is a failure of the test."""
    try:
        read_bag(path)
        outcome = "read"
    except FileFormatError as error:
        outcome = "refused" if str(path) in str(error) else "refused without its name"
    try:
        summary, messages, problems = read_bag(path, "collect")
    except FileFormatError:
        assert outcome == "refused"
        return outcome, [], ["unreadable"]
    if not summary.complete:
        assert summary.problems
    return outcome, messages, problems


@pytest.mark.parametrize("cut", ["heads", "index"])
def test_a_truncated_bag_is_refused_and_its_rest_is_readable(tmp_path, monkeypatch, cut):
    if cut == "index":
        monkeypatch.setattr(pieces, "HEADS_ROWS", 10)
    path, whole = _good(tmp_path)
    data = path.read_bytes()
    bad = tmp_path / "bad.db3"
    most = 0
    for size in [*range(0, 1024, 100), *range(1024, len(data), 512)]:
        bad.write_bytes(data[:size])
        outcome, messages, problems = _tried(bad)
        assert outcome == "refused"
        assert problems
        if size >= 100:
            with pytest.raises(FileFormatError, match=f"truncated: it has {size} of {len(data)} bytes; pass on_error"):
                read_bag(bad)
        assert not Counter(messages) - whole
        most = max(most, len(messages))
    assert most > len(whole) // 2


def _mutated(data: bytes, source: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(source.choice((1, 1, 3, 30))):
        at = source.randrange(len(out))
        kind = source.randrange(4)
        if kind == 0:
            out[at] ^= 1 << source.randrange(8)
        elif kind == 1:
            out[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:  # what a page starts with: kind, free list, cells, pointers
            page = at // 512 * 512
            out[min(page + source.randrange(16), len(out) - 1)] = source.randrange(256)
        else:
            other = source.randrange(len(out) // 512) * 512
            page = at // 512 * 512
            out[page : page + 512] = data[other : other + 512]
    return bytes(out)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_bags_are_refused_or_read_in_part(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(pieces, "PIECE", 10_000)
    if seed % 2:
        monkeypatch.setattr(pieces, "HEADS_ROWS", 10)
    path, whole = _good(tmp_path)
    data = path.read_bytes()
    source = random.Random(seed)
    outcomes: Counter[str] = Counter()
    bad = tmp_path / "bad.db3"
    for _ in range(130):
        bad.write_bytes(_mutated(data, source))
        outcome, messages, problems = _tried(bad)
        outcomes[outcome] += 1
        # SQLite has no checksums: values may differ, but no message may be missing without a word.
        assert len(messages) >= len(whole) or problems, "messages were lost silently"
        assert len(messages) <= 2 * len(whole)
    assert len(outcomes) == 2


def test_a_damaged_page_costs_the_messages_on_it(tmp_path):
    rows = [(1, i, b"%04d" % i * 20) for i in range(400)]
    path = write_bag(tmp_path / "a.db3", rows)
    data = bytearray(path.read_bytes())
    at = data.index(b"0200" * 20)
    page = at // 4096 * 4096
    data[page : page + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="damaged.*on_error='skip'"):
        read_bag(path)
    summary, messages, problems = read_bag(path, "collect")
    numbers = [int(m[2][:4]) for m in messages]
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert numbers[-1] == 399
    assert 300 < len(numbers) < 400
    assert 200 not in numbers
    assert not summary.complete
    assert "damaged" in problems[0]


def test_a_damaged_index_costs_nothing(tmp_path):
    path = write_bag(tmp_path / "a.db3", [(1, 300 - i, b"%d" % i) for i in range(300)])
    with closing(sqlite3.connect(path)) as bag:
        page = bag.execute("SELECT rootpage FROM sqlite_master WHERE name = 'timestamp_idx'").fetchone()[0]
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : (page - 1) * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)
    summary, messages, problems = read_bag(path)
    assert [m[1] for m in messages] == list(range(1, 301))
    assert summary.complete
    assert not summary.indexed
    assert "time index" in problems[0]


@pytest.mark.parametrize("rows", [10, 50_000])
def test_an_index_that_lacks_messages_is_not_used(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(pieces, "HEADS_ROWS", rows)
    after = ["PRAGMA writable_schema=ON", "DELETE FROM sqlite_master WHERE name = 'timestamp_idx'"]
    path = write_bag(tmp_path / "a.db3", [(1, i, b"") for i in range(50)])
    with closing(sqlite3.connect(path)) as bag:
        saved = bag.execute("SELECT * FROM sqlite_master WHERE name = 'timestamp_idx'").fetchone()
        for statement in after:
            bag.execute(statement)
        bag.commit()
    with closing(sqlite3.connect(path)) as bag:  # a table whose index SQLite does not know gets more messages
        bag.executemany(
            "INSERT INTO messages(topic_id, timestamp, data) VALUES(1, ?, '')", [(i,) for i in range(50, 60)]
        )
        bag.execute("UPDATE messages SET data = x'01'")
        bag.execute("PRAGMA writable_schema=ON")
        bag.execute("INSERT INTO sqlite_master VALUES(?, ?, ?, ?, ?)", saved)
        bag.commit()
    summary, messages, problems = read_bag(path)
    assert [m[1] for m in messages] == list(range(60))
    assert not summary.indexed
    assert summary.complete
    assert "index" in problems[0]


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("rows", [3, 50_000])
def test_values_of_wrong_types_are_told_and_the_others_are_read(tmp_path, monkeypatch, index, rows):
    monkeypatch.setattr(pieces, "HEADS_ROWS", rows)
    good = [(1, t, b"%d" % t) for t in range(1, 20)]
    bad = [(1, 5, "text"), (1, 5.5, b"real"), (1, "soon", b"text time"), (1, b"\xff", b"blob time"),
           ("x", 6, b"text topic"), (1.5, 6, b"real topic"), (1, 7, 12)]  # fmt: skip
    path = write_bag(tmp_path / "a.db3", good + bad, schema=[TOPICS, MESSAGES, INDEX][: 2 + index])
    with pytest.raises(FileFormatError, match="of another type|that are no integers|messages"):
        read_bag(path)
    _, messages, problems = read_bag(path, "collect")
    assert messages == [("/a", t, b"%d" % t) for t in range(1, 20)]
    assert any("messages have a timestamp, topic or payload of another type" in p for p in problems)


def test_payloads_that_are_null(tmp_path):
    schema = [TOPICS, MESSAGES.replace("data BLOB NOT NULL", "data BLOB"), INDEX]
    path = write_bag(tmp_path / "a.db3", [(1, 1, None), (1, 2, b"")], schema=schema)
    with pytest.raises(FileFormatError, match="1 messages have"):
        read_bag(path)
    assert read_bag(path, "skip")[1] == [("/a", 2, b"")]


def test_times_that_are_null(tmp_path):
    schema = [TOPICS, MESSAGES.replace("timestamp INTEGER NOT NULL", "timestamp INTEGER"), INDEX]
    path = write_bag(tmp_path / "a.db3", [(1, None, b"x"), (1, 2, b"")], schema=schema)
    summary, messages, _ = read_bag(path, "skip")
    assert messages == [("/a", 2, b"")]
    assert not summary.complete


@pytest.mark.parametrize("rows", [3, 50_000])
def test_messages_of_unknown_topics_are_counted_as_lost(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(pieces, "HEADS_ROWS", rows)
    path = write_bag(tmp_path / "a.db3", [(1, 1, b"x"), (77, 2, b"y"), (77, 3, b"y"), (2, 4, b"z")])
    with pytest.raises(FileFormatError, match="2 messages are of topic 77, which the file does not define"):
        read_bag(path)
    summary, messages, problems = read_bag(path, "collect")
    assert messages == [("/a", 1, b"x"), ("/b", 4, b"z")]
    assert not summary.complete
    assert summary.message_count == 2
    assert any("2 messages are of topic 77" in p for p in problems)


PLAIN = [TOPICS, MESSAGES, INDEX]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([TOPICS], "no table messages"),
        (["CREATE TABLE x(y)"], "no table topics"),
        ([TOPICS, "CREATE VIEW messages AS SELECT 1 AS topic_id, 2 AS timestamp, x'00' AS data"], "ordinary table"),
        ([TOPICS, "CREATE VIEW Messages AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x FROM r) "
                  "SELECT x AS id, x AS topic_id, x AS timestamp, x AS data FROM r"], "ordinary table"),
        ([MESSAGES, "CREATE VIEW topics AS SELECT 1 AS id, 'n' AS name, 't' AS type"], "ordinary table"),
        ([TOPICS, "CREATE VIRTUAL TABLE messages USING fts4(topic_id, timestamp, data)"], "ordinary table"),
        ([TOPICS, "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data AS (zeroblob(1000000000)))"],
         "computed columns"),
        ([TOPICS, "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp)"], "no column data"),
        ([TOPICS, "CREATE TABLE messages(id INTEGER PRIMARY KEY, _rowid_, topic_id, timestamp, data)"], "_rowid_"),
        ([TOPICS, "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data) WITHOUT ROWID"], "_rowid_"),
        ([MESSAGES, "CREATE TABLE topics(id, name, type)", "INSERT INTO topics VALUES(1, 'a', 't'), (1, 'b', 't')"],
         "two rows of the id 1"),
        ([MESSAGES, "CREATE TABLE topics(id, name, type)", "INSERT INTO topics VALUES('x', 'a', 't')"], "another kind"),
        ([*PLAIN, "CREATE VIEW message_definitions AS SELECT 1 AS topic_type"], "ordinary table"),
    ],
)  # fmt: skip
def test_databases_that_are_no_bags_are_refused(tmp_path, schema, message):
    path = write_bag(tmp_path / "a.db3", [], (), schema)
    for on_error in ("raise", "skip"):
        with pytest.raises(FileFormatError, match=message):
            read_bag(path, on_error)


@pytest.mark.parametrize("content", [b"", b"SQLite", b"SQLite format 3\0", b"#ROSBAG V2.0\n" * 20, bytes(4096)])
def test_files_that_are_no_databases_are_refused(tmp_path, content):
    path = tmp_path / "a.db3"
    path.write_bytes(content)
    for on_error in ("raise", "collect"):
        with pytest.raises(FileFormatError, match="a.db3"):
            read_bag(path, on_error)


def test_pages_that_refer_to_one_page_over_and_over_are_not_followed_for_ever(tmp_path):
    path = write_bag(tmp_path / "a.db3", [(1, i, b"") for i in range(20_000)])
    with closing(sqlite3.connect(path)) as bag:
        pages = dict(bag.execute("SELECT name, rootpage FROM sqlite_master"))
    data = bytearray(path.read_bytes())

    def page(number: int) -> memoryview:
        return memoryview(data)[(number - 1) * 4096 : number * 4096]

    for name, kind in (("messages", 5), ("timestamp_idx", 2)):
        root = page(pages[name])
        assert root[0] == kind
        cells = int.from_bytes(root[3:5], "big")
        for i in range(cells):  # each child of the root is the root's own sibling copy: a tree without an end
            at = int.from_bytes(root[12 + 2 * i : 14 + 2 * i], "big")
            child = int.from_bytes(root[at : at + 4], "big")
            page(child)[:] = root
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="damaged"):
        read_bag(path)
    assert _tried(path)[2]


def test_payloads_that_share_their_pages_are_not_added_up(tmp_path):
    path = write_bag(tmp_path / "a.db3", [(7, 100 + i, bytes([i]) * 5000) for i in range(60)], [(7, "/a")])
    whole = path.stat().st_size
    data = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as bag:
        assert bag.execute("PRAGMA page_size").fetchone() == (4096,)
    chains: list[int] = []
    for start in range(4096, len(data), 4096):
        if data[start] != 13:  # a leaf of a table
            continue
        for i in range(int.from_bytes(data[start + 3 : start + 5], "big")):
            at = start + int.from_bytes(data[start + 8 + 2 * i : start + 10 + 2 * i], "big")
            head = at + 3  # behind the sizes of payload (2 bytes) and id
            if not data[at] & 0x80 or data[head + 1] != 0:
                continue  # a row of another table
            # 5000 bytes, of which 4092 are on one other page, become 8185, which need two.
            size = ((data[at] & 0x7F) << 7 | data[at + 1]) + 3185
            local, pointer = 489, head + size - 3185 - 4092
            chains.append(int.from_bytes(data[pointer : pointer + 4], "big"))
            data[at : at + 2] = bytes([0x80 | size >> 7, size & 0x7F])
            kind = 8185 * 2 + 12
            data[head + data[head] - 2 : head + data[head]] = bytes([0x80 | kind >> 7, kind & 0x7F])
            data[head + local : head + local + 4] = chains[0].to_bytes(4, "big")
    assert len(chains) == 60
    first, second = ((page - 1) * 4096 for page in chains[:2])
    data[first : first + 4] = chains[1].to_bytes(4, "big")
    data[second : second + 4] = bytes(4)
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as bag:  # SQLite itself does not mind
        assert bag.execute("SELECT sum(length(data)) FROM messages").fetchone()[0] == 60 * 8185 > whole
    with pytest.raises(FileFormatError, match="larger than the file"):
        read_bag(path)
    _, messages, problems = read_bag(path, "collect")
    assert sum(len(m[2]) for m in messages) <= whole
    assert problems


def test_compressed_payloads_that_are_damaged_or_too_large(tmp_path):
    (tmp_path / "metadata.yaml").write_text(
        "rosbag2_bagfile_information: "
        "{compression_format: zstd, compression_mode: MESSAGE, relative_file_paths: [a.db3]}"
    )
    good = zstandard.compress(b"good")
    bomb = zstandard.ZstdCompressor().compressobj(size=MAX_SIZE + 1)
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(b"stream" * 1000)
    rows = [(1, 1, good), (1, 2, b"no zstd"), (1, 3, good[:-2]), (1, 4, bomb.compress(b"x") + bomb.flush(1)),
            (1, 5, b""), (1, 6, stream[: len(stream) // 2]), (1, 7, good)]  # fmt: skip
    path = write_bag(tmp_path / "a.db3", rows)
    with pytest.raises(FileFormatError, match="5 messages cannot be decompressed"):
        read_bag(path)
    _, messages, problems = read_bag(path, "collect")
    assert messages == [("/a", 1, b"good"), ("/a", 7, b"good")]
    assert "cannot be decompressed" in problems[0]


def test_an_unknown_compression_is_refused(tmp_path):
    (tmp_path / "metadata.yaml").write_text(
        "rosbag2_bagfile_information: "
        "{compression_format: fake, compression_mode: MESSAGE, relative_file_paths: [a.db3]}"
    )
    path = write_bag(tmp_path / "a.db3", [(1, 1, b"")])
    with pytest.raises(FileFormatError, match="'fake'; robodf reads 'zstd'"):
        read_bag(path)


def test_text_that_is_not_utf_8_is_replaced(tmp_path):
    schema = [TOPICS, MESSAGES, "INSERT INTO topics VALUES(1, CAST(x'2fff' AS TEXT), 'a/b', 'cdr', '')"]
    summary, messages, _ = read_bag(write_bag(tmp_path / "a.db3", [(1, 1, b"x")], (), schema))
    assert messages == [("/�", 1, b"x")]


def test_a_trigger_or_an_index_with_a_function_is_not_run(tmp_path):
    after = [
        "CREATE TRIGGER t AFTER INSERT ON messages BEGIN DELETE FROM messages; END",
        "CREATE INDEX e ON messages(length(hex(zeroblob(100000))))",
        "CREATE INDEX timestamp_partial ON messages(timestamp) WHERE timestamp > 5",
    ]
    path = write_bag(tmp_path / "a.db3", [(1, i, b"x") for i in range(10)], after=after)
    assert len(read_bag(path)[1]) == 10
