"""Selection by topic and time, what it reads, and files whose indexes are absent or wrong."""

from __future__ import annotations

import pickle
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import CompressionType, IndexType, Writer

from robodf.errors import FileFormatError, OptionError
from robodf.io.files import open_file
from robodf.io.mcap import McapWriter, count, index_only, read_chunk, read_summary, select_chunks
from robodf.io.mcap.walk import walk, walk_indexed

N = 2000


def rows_of(n: int = N) -> list[tuple[int, int, int, bytes]]:
    """(channel, log time, sequence, payload): clocks that jump, channels of very different rates."""
    rng = random.Random(7)
    rows = []
    for i in range(n):
        channel = 1 if i % 50 == 0 else rng.choice((2, 2, 3))
        rows.append((channel, 1000 + i * 10 + rng.randrange(-40, 40), i, rng.randbytes(rng.randrange(60))))
    return rows


def write_official(path: Path, rows, n_channels: int = 3, **options) -> None:
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=4096, **options)
        writer.start()
        schema = writer.register_schema("A", "x", b"s")
        for i in range(n_channels):
            writer.register_channel(f"/t{i + 1}", "x", schema)
        for i, (channel, log_time, sequence, payload) in enumerate(rows):
            if i == len(rows) // 2:
                writer.add_attachment(1, 2, "att", "text/plain", b"a" * 5000)
                writer.add_metadata("meta", {"k": "v"})
            writer.add_message(channel, log_time, payload, log_time + 1, sequence)
        writer.finish()


VARIANTS = {
    "as usual": {},
    "lz4": {"compression": CompressionType.LZ4},
    "not compressed": {"compression": CompressionType.NONE},
    "no chunks": {"use_chunking": False},
    "no chunks, no summary": {
        "use_chunking": False,
        "use_statistics": False,
        "repeat_channels": False,
        "repeat_schemas": False,
        "index_types": IndexType.NONE,
        "use_summary_offsets": False,
    },
    "no message index": {"index_types": IndexType.CHUNK},
    "no message index, no statistics": {"index_types": IndexType.CHUNK, "use_statistics": False},
    "no chunk index": {"index_types": IndexType.MESSAGE},
    "no indexes": {"index_types": IndexType.NONE},
    "no statistics": {"use_statistics": False},
    "nothing repeated": {"repeat_channels": False, "repeat_schemas": False},
    "chunk and message index alone": {
        "repeat_channels": False,
        "repeat_schemas": False,
        "use_statistics": False,
        "index_types": IndexType.CHUNK | IndexType.MESSAGE,
    },
}
# What `index_only` and `count` must answer without decompressing anything.
INDEXED = {"as usual", "lz4", "not compressed", "no statistics", "nothing repeated"}


def as_rows(m) -> list[tuple[int, int, int, bytes]]:
    ids, times, sequences = m.channel_id.tolist(), m.log_time.tolist(), m.sequence.tolist()
    return [(ids[i], times[i], sequences[i], m.payload(i)) for i in range(len(m))]


SELECTIONS = [
    (None, None, None),
    ({1}, None, None),
    ({2, 3}, 5000, 9000),
    (None, 5000, 5010),
    ({1}, 5000, 1 << 70),
    (None, -5, 1005),
    (None, 9000, 5000),
    (None, None, -1),
    (None, 1 << 64, None),
    ({9, -1, 70000}, None, None),
    (set(), None, None),
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_topics_and_times_give_what_brute_force_gives(tmp_path: Path, variant: str):
    path = tmp_path / "a.mcap"
    rows = rows_of()
    write_official(path, rows, **VARIANTS[variant])
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.complete
        assert summary.problems == ()
        assert {c.topic for c in summary.channels.values()} == {"/t1", "/t2", "/t3"}
        assert summary.schemas[1].data == b"s"
        for ids, start, end in SELECTIONS:
            channels = None if ids is None else frozenset(ids)
            want = [
                r
                for r in rows
                if (channels is None or r[0] in channels)
                and (start is None or r[1] >= start)
                and (end is None or r[1] < end)
            ]
            chunks = select_chunks(summary, channels, start, end)
            parts = [read_chunk(file, summary, c, channels, start, end) for c in chunks]
            got = [row for m in parts for row in as_rows(m)]
            assert got == want, (ids, start, end)
            assert all((m.publish_time == m.log_time + 1).all() for m in parts)
            before = file.bytes_read
            indexed = [index_only(file, summary, c, channels, start, end) for c in chunks]
            if variant in INDEXED:
                assert file.bytes_read - before == sum(c.message_index_length for c in chunks)
            assert [int(t) for i in indexed for t in i.log_time] == [r[1] for r in want]
            assert [int(c) for i in indexed for c in i.channel_id] == [r[0] for r in want]
            for m, i in zip(parts, indexed):
                assert (m.offset - 31).tolist() == i.offset.tolist()
            assert count(summary, file, channels, start, end) == len(want), (ids, start, end)


def test_limit_is_of_the_rows_that_match(tmp_path: Path):
    path = tmp_path / "a.mcap"
    write_official(path, rows_of())
    with open_file(path) as file:
        summary = read_summary(file)
        chunk = summary.chunks[3]
        every = as_rows(read_chunk(file, summary, chunk, frozenset([2])))
        for limit in (0, 1, 7, 10_000):
            got = read_chunk(file, summary, chunk, frozenset([2]), limit=limit)
            assert as_rows(got) == every[:limit]
            assert len(read_chunk(file, summary, chunk, limit=limit)) == min(
                limit, len(read_chunk(file, summary, chunk))
            )


def big_log(path: Path) -> None:
    """Some 4 MB of chunks: a rare small topic beside a heavy one."""
    rng = random.Random(1)
    with McapWriter(path, compression="none", chunk_size=100_000) as writer:
        rare, heavy = writer.add_channel("/rare", "x"), writer.add_channel("/heavy", "x")
        for i in range(400):
            if i % 100 == 0:
                writer.write(rare, i, b"rare")
            writer.write(heavy, i, rng.randbytes(10_000))


def test_a_selective_read_reads_little(tmp_path: Path):
    path = tmp_path / "a.mcap"
    big_log(path)
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.from_index
        assert file.reads == 2
        assert file.bytes_read < 70_000
        assert len(summary.chunks) >= 40
        rare = frozenset([1])

        before = file.reads, file.bytes_read
        assert count(summary, file) == 404
        assert count(summary, file, rare) == 4
        assert count(summary, file, rare, -1, 1 << 62) == 4
        assert (file.reads, file.bytes_read) == before  # the summary answers

        cut = summary.chunks[7].start_time + 1
        assert count(summary, file, None, cut) == sum(cut <= t for t in [*range(400), *range(0, 400, 100)])
        assert file.reads - before[0] == 1  # one chunk is cut by the range, the others are inside or out
        assert file.bytes_read - before[1] == summary.chunks[7].message_index_length

        chunks = select_chunks(summary, rare)
        assert len(chunks) == 4
        before = file.reads, file.bytes_read
        got = [m.payload(i) for c in chunks for m in [read_chunk(file, summary, c, rare)] for i in range(len(m))]
        assert got == [b"rare"] * 4
        assert file.reads - before[0] == 4
        assert file.bytes_read - before[1] == sum(c.length + c.message_index_length for c in chunks)
        assert file.bytes_read < file.size / 7


def test_a_summary_larger_than_the_tail_takes_one_more_read(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with McapWriter(path) as writer:
        schema = writer.add_schema("big", "x", random.Random(3).randbytes(200_000))
        writer.write(writer.add_channel("/a", "x", schema), 1, b"x")
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.from_index
        assert file.reads == 3
        assert len(summary.schemas[1].data) == 200_000


def test_a_scan_skips_the_bodies_of_indexed_chunks(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with McapWriter(path, compression="none", chunk_size=1 << 20) as writer:
        channel = writer.add_channel("/a", "x")
        for i in range(40):
            writer.write(channel, i, random.Random(i).randbytes(300_000))
    path.write_bytes(path.read_bytes()[:-8])  # the footer is no longer found
    with open_file(path) as file:
        summary = read_summary(file, "skip")
        assert not summary.complete
        assert not summary.from_index
        assert summary.statistics is not None
        assert summary.statistics.message_count == 40
        assert file.bytes_read < file.size / 4
        assert sum(len(read_chunk(file, summary, c)) for c in summary.chunks) == 40


def test_runs_of_messages_outside_of_chunks_are_cut_into_bounded_units(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream, use_chunking=False)
        writer.start()
        channel = writer.register_channel("/a", "x", 0)
        for i in range(900):
            size = 9_000_000 if i == 500 else 20_000
            writer.add_message(channel, i, bytes(size), i, i)
        writer.finish()
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.complete
        assert all(c.bare for c in summary.chunks)
        assert max(c.length for c in summary.chunks) < 15_000_000
        assert len(summary.chunks) >= 5
        parts = [read_chunk(file, summary, c) for c in summary.chunks]
        assert [s for m in parts for s in m.sequence.tolist()] == list(range(900))
        assert count(summary, file, None, 100, 200) == 100
        (one,) = select_chunks(summary, None, 500, 501)
        assert read_chunk(file, summary, one, None, 500, 501).length.tolist() == [9_000_000]


def test_chunks_are_read_by_threads_side_by_side(tmp_path: Path):
    path = tmp_path / "a.mcap"
    rows = rows_of(5000)
    write_official(path, rows)
    with open_file(path) as file, ThreadPoolExecutor(4) as pool:
        summary = read_summary(file)
        for _ in range(3):
            parts = pool.map(lambda c: as_rows(read_chunk(file, summary, c)), summary.chunks)
            assert [row for part in parts for row in part] == rows


def test_a_summary_travels_to_workers(tmp_path: Path):
    path = tmp_path / "a.mcap"
    write_official(path, rows_of())
    with open_file(path) as file:
        summary = read_summary(file)
        again = pickle.loads(pickle.dumps(summary))
        assert again == summary
        assert as_rows(read_chunk(file, again, again.chunks[0])) == as_rows(
            read_chunk(file, summary, summary.chunks[0])
        )


# --- indexes that lie -------------------------------------------------------------------------------


def patch_statistics(data: bytes, change) -> bytes:
    """The file with its Statistics record edited; the checksum of the summary is switched off."""
    summary_start = struct.unpack_from("<Q", data, len(data) - 28)[0]
    out = bytearray(data)
    out[-12:-8] = bytes(4)
    at = summary_start
    while out[at] != 0x0B:
        at += 9 + struct.unpack_from("<Q", out, at + 1)[0]
    change(out, at + 9)
    return bytes(out)


def set_u64(offset: int, value: int):
    return lambda out, at: struct.pack_into("<Q", out, at + offset, value)


# Offsets in the content: message_count 0, chunk_count 22 (u32), start 26, end 34, first channel's count 48.
WRONG_STATISTICS = {
    "more messages": set_u64(0, 10_000_000),
    "no messages": set_u64(0, 0),
    "a channel's count": set_u64(48, 3),
    "a huge count of a channel": set_u64(48, (1 << 64) - 1),
    "late start": set_u64(26, 5000),
    "early start": set_u64(26, 0),
    "early end": set_u64(34, 1),
    "chunks": lambda out, at: struct.pack_into("<I", out, at + 22, 1),
}


@pytest.mark.parametrize("what", WRONG_STATISTICS)
def test_wrong_statistics_do_not_change_the_rows(tmp_path: Path, what: str):
    path = tmp_path / "a.mcap"
    rows = rows_of()
    write_official(path, rows)
    path.write_bytes(patch_statistics(path.read_bytes(), WRONG_STATISTICS[what]))
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.complete
        for ids, start, end in SELECTIONS:
            channels = None if ids is None else frozenset(ids)
            chunks = select_chunks(summary, channels, start, end)
            n = sum(len(read_chunk(file, summary, c, channels, start, end)) for c in chunks)
            want = sum(
                (ids is None or r[0] in ids) and (start is None or r[1] >= start) and (end is None or r[1] < end)
                for r in rows
            )
            assert n == want
            assert count(summary, file, channels, start, end) == want
        assert summary.statistics is not None
        assert summary.statistics.start_time == min(r[1] for r in rows)
        assert summary.statistics.message_count == len(rows)


def test_message_indexes_that_leave_messages_out_are_found_out(tmp_path: Path):
    """The index of channel 1 is emptied in every chunk: its statistics give it away."""
    path = tmp_path / "a.mcap"
    rows = rows_of()
    write_official(path, rows)
    data = bytearray(path.read_bytes())
    with open_file(path) as file:
        chunks = read_summary(file).chunks
    for chunk in chunks:
        if 1 in chunk.message_index_offsets:
            at = chunk.message_index_offsets[1]
            struct.pack_into("<I", data, at + 11, 0)
    path.write_bytes(data)
    with open_file(path) as file:
        summary = read_summary(file)  # by the sizes of the records, all is well
        parts = [as_rows(read_chunk(file, summary, c, frozenset([1]))) for c in summary.chunks]
        assert [row for part in parts for row in part] == [r for r in rows if r[0] == 1]
        assert count(summary, file, frozenset([1]), 0, 9000) == sum(r[0] == 1 and r[1] < 9000 for r in rows)


def test_a_channel_that_the_chunk_indexes_forgot_is_found_by_its_statistics(tmp_path: Path):
    path = tmp_path / "a.mcap"
    rows = rows_of()
    write_official(path, rows)
    data = bytearray(path.read_bytes())
    with open_file(path) as file:
        chunks = read_summary(file).chunks
    # In the data section the records of channel 1 claim to be of channel 2, and so does the summary.
    start = struct.unpack_from("<Q", data, len(data) - 28)[0]
    data[-12:-8] = bytes(4)
    for chunk in chunks:
        if 1 in chunk.message_index_offsets:
            struct.pack_into("<H", data, chunk.message_index_offsets[1] + 9, 2)
    at = start
    while at < len(data) - 37:
        op, length = struct.unpack_from("<BQ", data, at)
        if op == 0x08:
            n = struct.unpack_from("<I", data, at + 9 + 32)[0] // 10
            for k in range(n):
                place = at + 9 + 36 + 10 * k
                if struct.unpack_from("<H", data, place)[0] == 1:
                    struct.pack_into("<H", data, place, 2)
        at += 9 + length
    path.write_bytes(data)
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.complete
        assert not summary.from_index
        assert "channels [1] have messages but no index" in summary.problems[0]
        wanted = frozenset([1])
        chunks = select_chunks(summary, wanted)
        got = [row for c in chunks for row in as_rows(read_chunk(file, summary, c, wanted))]
        assert got == [r for r in rows if r[0] == 1]
        assert count(summary, file, wanted) == len(got)


def test_walk_indexed_is_walk_whatever_the_index_says(tmp_path: Path):
    rng = np.random.default_rng(5)
    path = tmp_path / "a.mcap"
    write_official(path, rows_of(200), use_chunking=False)
    data = path.read_bytes()
    start = 8 + 9 + struct.unpack_from("<Q", data, 9)[0]
    records = data[start : struct.unpack_from("<Q", data, len(data) - 28)[0] - 13]
    plain = walk(records)
    assert len(plain.messages) == 200
    every = plain.messages.astype(np.uint64)
    for trial in range(300):
        entries = every[rng.random(len(every)) < rng.choice([0.0, 0.3, 0.95, 1.0])]
        if trial % 3 == 1 and len(entries):
            bad = rng.integers(0, len(records), 3).astype(np.uint64)
            entries = np.concatenate([entries, bad, entries[:1]])
        if trial % 3 == 2:
            entries = np.append(entries, np.uint64(rng.integers(0, 1 << 63)) * np.uint64(2))
        rng.shuffle(entries)
        found = walk_indexed(records, entries)
        assert found.messages.tolist() == plain.messages.tolist()
        assert list(found.definitions) == list(plain.definitions)
        assert found.end == plain.end


def test_a_chunk_index_that_lies_about_its_times_is_kept_where_zero(tmp_path: Path):
    path = tmp_path / "a.mcap"
    write_official(path, rows_of())
    with open_file(path) as file:
        summary = read_summary(file)
        unset = tuple(replace(c, start_time=0, end_time=0, counts=None) for c in summary.chunks)
        summary = replace(summary, chunks=unset)
        assert len(select_chunks(summary, None, 9000, 9001)) == len(unset)
        assert count(summary, file, None, 0, 5000) == sum(r[1] < 5000 for r in rows_of())


def test_two_channels_of_one_topic_and_no_schema(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with McapWriter(path) as writer:
        first = writer.add_channel("/a", "json", writer.add_schema("A", "x", b"1"))
        second = writer.add_channel("/a", "json", writer.add_schema("B", "x", b"2"))
        third = writer.add_channel("/b", "json", 0)
        for i, channel in enumerate((first, second, third) * 3):
            writer.write(channel, i, b"")
    with open_file(path) as file:
        summary = read_summary(file)
        assert [(c.topic, c.schema_id) for c in summary.channels.values()] == [
            ("/a", 1),
            ("/a", 2),
            ("/b", 0),
        ]
        assert count(summary, file, frozenset([first, second])) == 6


def test_a_channel_whose_schema_is_nowhere_is_a_problem_not_an_error(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        writer.add_message(writer.register_channel("/a", "x", 77), 1, b"", 1)
        writer.finish()
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.complete
        assert "schema 77" in summary.problems[0]
        assert count(summary, file) == 1


def test_messages_of_a_channel_that_is_nowhere_are_damage(tmp_path: Path):
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        writer.add_message(writer.register_channel("/a", "x", 0), 1, b"", 1)
        writer.add_message(9, 2, b"lost", 1)
        writer.finish()
    with open_file(path) as file:
        with pytest.raises(FileFormatError, match="messages of channel 9"):
            read_summary(file)
        summary = read_summary(file, "collect")
        assert not summary.complete
        problems: list[str] = []
        parts = [read_chunk(file, summary, c, on_error="skip", problems=problems) for c in summary.chunks]
        assert [row for m in parts for row in as_rows(m)] == [(1, 1, 0, b"")]
        assert "channel 9" in problems[0]


def test_on_error_is_checked(tmp_path: Path):
    path = tmp_path / "a.mcap"
    write_official(path, rows_of(10))
    with open_file(path) as file:
        with pytest.raises(OptionError, match="'ignore'"):
            read_summary(file, on_error="ignore")
        summary = read_summary(file)
        with pytest.raises(OptionError, match="'ignore'"):
            read_chunk(file, summary, summary.chunks[0], on_error="ignore")
