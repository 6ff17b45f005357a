"""Truncated, mutated and hostile bags: an error that says what to do, or the messages that are there."""

from __future__ import annotations

import bz2
import random
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import lz4.frame
import pytest
from bag_builder import (
    COMPRESS,
    DATA_START,
    MAGIC,
    Message,
    bag_header,
    chunk,
    chunk_info,
    connection,
    index,
    indexed_chunk,
    message,
    read_all,
    record,
    ros_time,
    some_messages,
    u32,
    u64,
    whole_bag,
    write_bag,
)

from robodf.errors import FileFormatError
from robodf.io.bag import count, read_chunk, read_summary
from robodf.io.bag.inflate import inflate
from robodf.io.files import open_file

KINDS = ["none", "bz2", "lz4", "no chunks"]


def small_bag(path: Path, kind: str) -> list[Message]:
    messages = some_messages()
    if kind == "no chunks":
        messages = messages[:60]
        bare = b"".join(connection(i, f"/t{i}") for i in range(3))
        bare += b"".join(message(int(t[2:]), time, data) for t, time, data in messages)
        path.write_bytes(bag_header(DATA_START + len(bare), 3, 0) + bare + connection(0, "/t0"))
    else:
        write_bag(path, messages, kind)
    return messages


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_gives_the_whole_messages_before_it(tmp_path: Path, kind: str):
    path = tmp_path / "a.bag"
    messages = small_bag(path, kind)
    data = path.read_bytes()
    cut_path = tmp_path / "cut.bag"
    before = 0
    for cut in [1, 12, *range(14, 4000, 997), *range(DATA_START, len(data), 61), len(data) - 1]:
        cut_path.write_bytes(data[:cut])
        with open_file(cut_path) as file, pytest.raises(FileFormatError, match=r"cut\.bag") as error:
            read_summary(file)
        if cut < len(MAGIC):
            continue
        got, problems, complete = read_all(cut_path, "collect")
        assert not complete
        assert problems
        assert all("cut.bag" in p for p in problems)
        assert got == messages[: len(got)]
        assert len(got) >= before
        before = len(got)
        assert f"; {len(got)} messages are readable: pass on_error='skip'" in str(error.value)
    assert before == len(messages)


def test_truncation_inside_an_uncompressed_chunk_keeps_its_whole_messages(tmp_path: Path):
    path = tmp_path / "a.bag"
    rows = [(0, t, bytes([t]) * 10) for t in range(1, 100)]
    front = connection(0, "/a")
    data = bag_header(0, 0, 0) + indexed_chunk(rows, "none", front)
    start = DATA_START + len(chunk(b"")) + len(front)
    for cut in range(start, start + 99 * 56, 97):
        path.write_bytes(data[:cut])
        got, problems, _ = read_all(path, "collect")
        whole = (cut - start) // len(message(0, 1, bytes(10)))
        assert [t for _, t, _ in got] == list(range(1, whole + 1))
        assert any("cut off" in p for p in problems)
        with open_file(path) as file, pytest.raises(FileFormatError, match=f"; {whole} messages are readable"):
            read_summary(file)


def test_a_recording_that_was_not_closed(tmp_path: Path):
    path = tmp_path / "a.bag"
    messages = some_messages()
    data = write_bag(path, messages, "lz4").read_bytes()
    index_at = struct.unpack_from("<Q", data, data.index(b"index_pos=") + 10)[0]
    path.write_bytes(data[:index_at].replace(data[13 : 13 + 73], bag_header(0, 0, 0)[13 : 13 + 73]))
    with open_file(path) as file:
        with pytest.raises(FileFormatError, match="recording was not closed; 120 messages are readable"):
            read_summary(file)
        file.bytes_read = 0
        summary = read_summary(file, "skip")
        assert (summary.complete, summary.message_count, len(summary.problems)) == (False, 120, 1)
        assert count(summary, file, start_time=messages[50][1]) == 70
    assert read_all(path, "skip")[0] == messages


def test_the_index_vanishes_but_bodies_are_not_read_for_it(tmp_path: Path):
    path = tmp_path / "a.bag"
    messages = [("/a", 1 + i, bytes(500_000)) for i in range(20)]
    data = bytearray(write_bag(path, messages, chunk=600_000).read_bytes())
    at = data.index(b"index_pos=") + 10
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    with open_file(path) as file:
        summary = read_summary(file, "skip")
        assert summary.message_count == 20
        assert file.bytes_read < 0.4 * file.size  # one chunk for its connections, and blocks between the others


def test_damage_in_one_chunk_costs_that_chunk_only(tmp_path: Path):
    path = tmp_path / "a.bag"
    chunks = [([(0, 10 * k + i, bytes([k]) * 50) for i in range(1, 9)], "bz2") for k in range(3)]
    data = bytearray(whole_bag([connection(0, "/a")], chunks))
    second = data.index(b"BZh", data.index(b"BZh") + 1)
    data[second + 30] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"chunk at offset \d+: its bz2 data is damaged.*on_error='skip'"):
        read_all(path)
    got, problems, complete = read_all(path, "collect")
    assert (len(got), len(problems), complete) == (16, 1, True)
    assert {t // 10 for _, t, _ in got} == {0, 2}


def test_damage_between_chunks_is_passed_over_where_the_index_knows_more(tmp_path: Path):
    path = tmp_path / "a.bag"
    parts = [indexed_chunk([(0, 1, b"a")]), indexed_chunk([(0, 2, b"b")])]
    infos = chunk_info(DATA_START, 1, 1, {0: 1}) + chunk_info(DATA_START + len(parts[0]) + 50, 2, 2, {0: 1})
    body = parts[0] + b"\xff" * 50 + parts[1]
    path.write_bytes(bag_header(DATA_START + len(body), 1, 2) + body + connection(0, "/a") + infos)
    with pytest.raises(FileFormatError, match="50 bytes|105 bytes|not its index"):
        read_all(path)
    got, problems, _ = read_all(path, "collect")
    assert [t for _, t, _ in got] == [1, 2]
    assert len(problems) == 1


def exercise(path: Path) -> None:
    """All that can be asked of a damaged file: no other error, and answers that fit together."""
    for on_error in ("raise", "collect"):
        try:
            with open_file(path) as file:
                summary = read_summary(file, on_error)
                assert summary.complete or on_error == "collect"
                assert summary.complete or summary.problems
                problems = list(summary.problems)
                for channels, start in ((None, None), (None, 10**9 + 5 * 10**8), (frozenset([1]), None)):
                    assert count(summary, file, channels, start, on_error="skip") >= 0
                for c in summary.chunks:
                    m = read_chunk(file, summary, c, on_error=on_error, problems=problems)
                    assert (m.offset >= 0).all()
                    assert (m.length >= 0).all()
                    assert (m.offset + m.length <= len(m.buffer)).all()
                    assert set(m.channel_id.tolist()) <= summary.channels.keys()
                    first = read_chunk(file, summary, c, limit=1, on_error="skip")
                    assert first.log_time.tolist() == m.log_time.tolist()[:1]
        except FileFormatError as error:
            text = str(error)
            assert path.name in text
            if on_error == "collect":
                assert "not a ROS 1 bag" in text or "another version" in text or "encrypted" in text


@pytest.mark.parametrize("kind", KINDS)
def test_random_mutations(tmp_path: Path, kind: str):
    path = tmp_path / "a.bag"
    small_bag(path, kind)
    whole = path.read_bytes()
    rng = random.Random(kind)
    mutant = tmp_path / "mutant.bag"
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 10))):
            where = rng.choice((0, DATA_START, DATA_START, len(data) * 3 // 4))
            at = rng.randrange(where, where + 100 if where == 0 else len(data))
            action = rng.randrange(5)
            if action == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif action == 1:
                data[at : at + 4] = rng.choice((bytes(4), b"\xff" * 4, struct.pack("<I", 1 << rng.randrange(32))))
            elif action == 2:
                del data[at : at + rng.randrange(1, 30)]
            elif action == 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 30))
            else:
                data[at : at + 4] = rng.randbytes(4)
        mutant.write_bytes(data)
        exercise(mutant)


def test_a_flipped_bit_is_an_error_or_told_or_harmless(tmp_path: Path):
    """bz2 has checksums, so nothing that changes a message goes unnoticed; names and definitions have none."""
    path = tmp_path / "a.bag"
    rows = [(t % 3, 10**9 + t, bytes([t]) * (t % 30)) for t in range(1, 90)]
    chunks = [(rows[:30], "bz2"), (rows[30:60], "bz2"), (rows[60:], "bz2")]
    whole = whole_bag([connection(i, f"/t{i}") for i in range(3)], chunks)
    expected = Counter((t, data) for _, t, data in rows)
    rng = random.Random(5)
    places = [*range(20, 90), *range(DATA_START, len(whole))]
    for at in rng.sample(places, 1000):
        data = bytearray(whole)
        data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            got, problems, _ = read_all(path, "collect")
        except FileFormatError as error:
            assert "encrypted" in str(error)  # noqa: PT017
            continue
        found = Counter((t, payload) for _, t, payload in got)
        assert found <= expected, at
        assert found == expected or problems, at
        try:
            strict, _, complete = read_all(path)
        except FileFormatError:
            assert problems, at
        else:
            assert complete
            assert Counter((t, payload) for _, t, payload in strict) == expected, at


def lie(body: bytes, compression: str, size: int) -> bytes:
    """A bag of one chunk that says it has `size` bytes."""
    data = record(5, body, compression=compression.encode(), size=u32(size)) + index(0, [(1, 0)])
    infos = chunk_info(DATA_START, 1, 1, {0: 1})
    return bag_header(DATA_START + len(data), 1, 1) + data + connection(0, "/a") + infos


TOP = 2**32 - 1
BOMBS = {
    "bz2 says little": lie(bz2.compress(bytes(300 << 20), 1), "bz2", 1000),
    "lz4 says little": lie(lz4.frame.compress(bytes(300 << 20), store_size=False), "lz4", 1000),
    "bz2 says much": lie(bz2.compress(b"abc"), "bz2", TOP),
    "lz4 says much": lie(lz4.frame.compress(b"abc"), "lz4", TOP),
    "none says much": lie(b"abc", "none", TOP),
    "unknown": lie(b"abc", "zstd", 3),
    "index of many": bag_header(DATA_START + 100, 1, 1)
    + bytes(100)
    + connection(0, "/a")
    + chunk_info(DATA_START, 1, 2, {0: TOP, 1: TOP}),
    "counts of many": bag_header(DATA_START, TOP, TOP),
    "a long chunk": bag_header(0, 0, 0)
    + chunk(b"abc").replace(u32(3) + b"abc", u32(TOP) + b"abc").replace(b"size=\x03\0\0\0", b"size=" + u32(TOP)),
    "a long message": bag_header(0, 0, 0) + message(0, 1, b"abc").replace(u32(3) + b"abc", u32(TOP) + b"abc"),
    "a long header": bag_header(0, 0, 0) + u32(TOP) + b"abcdefghijkl",
    "long connections": bag_header(DATA_START, 1, 0) + connection(0, "/a")[:-100],
    "a long chunk info": bag_header(DATA_START, 0, 1)
    + record(6, b"", ver=u32(1), chunk_pos=u64(9), start_time=ros_time(1), end_time=ros_time(1), count=u32(TOP))[:-9],
}

CHILD = """
import resource, sys
from robodf.errors import FileFormatError
from robodf.io.files import open_file
from robodf.io.bag import read_chunk, read_summary
import bz2, lz4.frame
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (256 << 20), now + (256 << 20)))
for path in sys.argv[1:]:
    with open_file(path) as file:
        try:
            summary = read_summary(file)
            for chunk in summary.chunks:
                read_chunk(file, summary, chunk)
        except FileFormatError as error:
            assert path in str(error)
        else:
            raise SystemExit(f"{path}: no error")
        summary = read_summary(file, "skip")
        for chunk in summary.chunks:
            read_chunk(file, summary, chunk, on_error="skip", problems=[])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, "MiB")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space by RLIMIT_AS of Linux")
def test_sizes_that_lie_take_no_memory(tmp_path: Path):
    paths = []
    for name, data in BOMBS.items():
        paths.append(tmp_path / f"{name}.bag")
        paths[-1].write_bytes(data)
    done = subprocess.run([sys.executable, "-c", CHILD, *map(str, paths)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) < 200, done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="makes a file with a hole")
def test_an_index_that_spans_a_large_file_is_not_read_whole(tmp_path: Path):
    path = tmp_path / "a.bag"
    far = 40 << 30
    infos = chunk_info(DATA_START, 1, 1, {0: 1}) + chunk_info(far - 200, 2, 2, {0: 1})
    with path.open("wb") as out:
        out.write(bag_header(far, 1, 2) + indexed_chunk([(0, 1, b"a")]))
        out.seek(far)
        out.write(connection(0, "/a") + infos)
    with open_file(path) as file:
        summary = read_summary(file, "skip")
        for c in summary.chunks:
            read_chunk(file, summary, c, on_error="skip")
        assert file.bytes_read < 300 << 20
        assert not summary.complete


def test_too_many_connections_are_an_error(tmp_path: Path):
    path = tmp_path / "a.bag"
    path.write_bytes(bag_header(DATA_START, 70_000, 0) + b"".join(connection(i, "/a") for i in range(70_000)))
    with open_file(path) as file, pytest.raises(FileFormatError, match="more than 65535 connections"):
        read_summary(file)


@pytest.mark.parametrize("size", [0, 1, 1000, 1_200_000])
@pytest.mark.parametrize("compression", ["none", "bz2", "lz4", "bz2 in two streams"])
def test_inflate(size: int, compression: str):
    raw = (random.Random(size).randbytes(1000) * (size // 1000 + 1))[:size]
    if compression == "bz2 in two streams":
        compression, body = "bz2", bz2.compress(raw[: size // 2]) + bz2.compress(raw[size // 2 :])
    else:
        body = COMPRESS[compression](raw)
    assert inflate(compression, body, size) == (raw, None)
    assert inflate(compression, memoryview(body), size) == (raw, None)
    out, problem = inflate(compression, body, size + 5)
    assert (out, problem is not None) == (raw, True)
    if size > 5:
        for part in (inflate(compression, body, size - 5), inflate(compression, body[: len(body) * 2 // 3], size)):
            out, problem = part
            assert raw.startswith(out)
            assert problem is not None


@pytest.mark.parametrize("compression", ["none", "bz2", "lz4"])
def test_inflate_keeps_what_precedes_the_damage(compression: str):
    size = 2_000_000
    noise = random.Random(9).randbytes(size)
    body = COMPRESS[compression](noise)
    out, problem = inflate(compression, body[: len(body) * 2 // 3], size)
    assert problem is not None
    assert noise.startswith(out)
    assert len(out) > size // 3
    if compression != "none":  # which has no checksum
        damaged = bytearray(body)
        damaged[len(body) * 2 // 3] ^= 1
        out, problem = inflate(compression, bytes(damaged), size)
        assert problem is not None
        assert len(out) > size // 3
    if compression == "bz2":
        assert noise.startswith(out)
