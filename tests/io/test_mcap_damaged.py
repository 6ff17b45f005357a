"""Truncated, mutated and hostile files: an error that says what to do, or the rows that are there."""

from __future__ import annotations

import random
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from mcap.writer import CompressionType, Writer

import robodf as rd
from robodf.errors import FileFormatError
from robodf.io.files import open_file
from robodf.io.mcap import McapWriter, count, index_only, inflate, read_chunk, read_summary, select_chunks
from robodf.io.mcap.records import MAGIC, Op

N = 120


def small_log(path: Path, compression: str = "zstd") -> list[bytes]:
    rng = random.Random(11)
    payloads = []
    with McapWriter(path, compression=compression, chunk_size=1500) as writer:
        schema = writer.add_schema("A", "x", b"schema")
        channels = [writer.add_channel(f"/t{i}", "x", schema) for i in range(3)]
        for i in range(N):
            payloads.append(rng.randbytes(rng.randrange(80)))
            writer.write(channels[i % 3], i + 1, payloads[-1], sequence=i)
    return payloads


def unchunked_log(path: Path) -> list[bytes]:
    rng = random.Random(12)
    payloads = []
    with path.open("wb") as stream:
        writer = Writer(stream, use_chunking=False, compression=CompressionType.NONE)
        writer.start()
        channel = writer.register_channel("/a", "x", writer.register_schema("A", "x", b"schema"))
        for i in range(40):
            payloads.append(rng.randbytes(rng.randrange(80)))
            writer.add_message(channel, i + 1, payloads[-1], i, i)
        writer.finish()
    return payloads


def read_leniently(path: Path) -> tuple[list[bytes], list[str], bool]:
    """(payloads, problems, complete) of all that can be had."""
    with open_file(path) as file:
        summary = read_summary(file, "collect")
        problems = list(summary.problems)
        parts = [read_chunk(file, summary, c, on_error="collect", problems=problems) for c in summary.chunks]
    return [m.payload(i) for m in parts for i in range(len(m))], problems, summary.complete


@pytest.mark.parametrize("kind", ["zstd", "lz4", "none", "no chunks"])
def test_every_truncation_gives_the_whole_records_before_it(tmp_path: Path, kind: str):
    path = tmp_path / "a.mcap"
    payloads = unchunked_log(path) if kind == "no chunks" else small_log(path, kind)
    data = path.read_bytes()
    cut_path = tmp_path / "cut.mcap"
    before = 0
    for cut in range(1, len(data), 1 if kind == "no chunks" else 5):
        cut_path.write_bytes(data[:cut])
        with open_file(cut_path) as file, pytest.raises(FileFormatError, match=r"cut\.mcap") as error:
            read_summary(file)
        if cut < len(MAGIC):
            continue
        got, problems, complete = read_leniently(cut_path)
        assert not complete
        assert problems
        assert all("cut.mcap" in p for p in problems)
        assert got == payloads[: len(got)]
        assert f"{len(got)} messages are readable" in str(error.value)
        assert "on_error=" in str(error.value)
        if kind in ("none", "no chunks"):  # more of the file never gives fewer rows
            assert len(got) >= before
            before = len(got)
    assert got == payloads


def test_truncation_inside_a_message_names_the_place(tmp_path: Path):
    path = tmp_path / "a.mcap"
    payloads = unchunked_log(path)
    data = path.read_bytes()
    at = data.index(payloads[20]) - 31
    path.write_bytes(data[: at + 35])
    with open_file(path) as file:
        with pytest.raises(FileFormatError, match="has no footer"):
            read_summary(file)
        summary = read_summary(file, "collect")
    assert any(f"offset {at}" in p for p in summary.problems)
    assert summary.data_end == at
    assert read_leniently(path)[0] == payloads[:20]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty"),
        (b"\x89", "not an MCAP file"),
        (b"hello world, this is a text file", "not an MCAP file"),
        (b"#ROSBAG V2.0\n" + bytes(100), "not an MCAP file"),
        (b"\x89MCAP1\r\n" + bytes(100), "another version"),
        (bytes(200_000), "not an MCAP file"),
    ],
)
def test_files_that_are_not_mcap_are_errors_whatever_is_asked(tmp_path: Path, content: bytes, text: str):
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    for on_error in ("raise", "skip", "collect"):
        with open_file(path) as file, pytest.raises(FileFormatError, match=text):
            read_summary(file, on_error)


@pytest.mark.parametrize("kind", ["zstd", "lz4", "none"])
def test_damage_inside_a_chunk_costs_that_chunk_only(tmp_path: Path, kind: str):
    path = tmp_path / "a.mcap"
    payloads = small_log(path, kind)
    with open_file(path) as file:
        chunk = read_summary(file).chunks[2]
        rows = [read_chunk(file, read_summary(file), c).sequence.tolist() for c in read_summary(file).chunks]
    data = bytearray(path.read_bytes())
    middle = chunk.offset + chunk.length // 2
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    with open_file(path) as file:
        summary = read_summary(file)
        damaged = summary.chunks[2]
        with pytest.raises(FileFormatError, match=rf"chunk at offset {chunk.offset}"):
            read_chunk(file, summary, damaged, check_crc=True)
        problems: list[str] = []
        kept = read_chunk(file, summary, damaged, on_error="skip", problems=problems, check_crc=True)
        assert len(problems) == 1
        assert "readable" in problems[0]
        assert kept.sequence.tolist()[: len(kept) // 2] == rows[2][: len(kept) // 2]
        for i, other in enumerate(summary.chunks):
            if i != 2:
                m = read_chunk(file, summary, other)
                assert [m.payload(k) for k in range(len(m))] == [payloads[s] for s in rows[i]]


def test_damage_between_chunks_is_passed_over_where_the_index_knows_more(tmp_path: Path):
    path = tmp_path / "a.mcap"
    small_log(path)
    with open_file(path) as file:
        chunks = read_summary(file).chunks
    data = bytearray(path.read_bytes())
    data[-12:-8] = bytes(4)
    at = struct.unpack_from("<Q", data, len(data) - 28)[0]
    while data[at] != Op.STATISTICS:
        at += 9 + struct.unpack_from("<Q", data, at + 1)[0]
    struct.pack_into("<I", data, at + 9 + 22, 1)  # the number of chunks, so that the section is scanned
    data[chunks[2].offset : chunks[2].offset + 9] = bytes(9)
    path.write_bytes(data)
    with open_file(path) as file:
        with pytest.raises(FileFormatError, match=rf"offset {chunks[2].offset}: opcode 0"):
            read_summary(file)
        summary = read_summary(file, "skip")
        assert not summary.complete
        assert [c.offset for c in summary.chunks] == [c.offset for c in chunks if c != chunks[2]]


def test_a_data_end_in_the_middle_is_damage(tmp_path: Path):
    path = tmp_path / "a.mcap"
    small_log(path)
    with open_file(path) as file:
        chunks = read_summary(file).chunks
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<Q", data, len(data) - 28)[0]
    data[chunks[3].offset] = Op.DATA_END
    data[-12:-8] = bytes(4)
    struct.pack_into("<Q", data, start + 1, 1 << 40)  # the summary cannot be parsed
    path.write_bytes(data)
    with open_file(path) as file, pytest.raises(FileFormatError, match="DataEnd, but the data section"):
        read_summary(file)
    assert not read_leniently(path)[2]


def exercise(path: Path) -> None:
    """All that a reader does; FileFormatError is the only error allowed, and only with 'raise'."""
    for on_error in ("raise", "collect"):
        try:
            with open_file(path) as file:
                summary = read_summary(file, on_error)
                problems: list[str] = []
                channels = frozenset(list(summary.channels)[:1])
                options = {"on_error": on_error, "problems": problems}
                total = 0
                for chunk in summary.chunks:
                    m = read_chunk(file, summary, chunk, **options)
                    total += len(m)
                    ends = m.offset + m.length
                    assert not len(m) or int(ends.max()) <= len(m.buffer)
                    assert bool((m.length >= 0).all())
                    index_only(file, summary, chunk, channels, 10, 50, **options)
                for chunk in select_chunks(summary, channels, 10, 50):
                    read_chunk(file, summary, chunk, channels, 10, 50, 5, **options)
                count(summary, file, channels, 10, 50, **options)
                counted = count(summary, file, **options)
                if on_error == "raise":
                    assert counted == total
        except FileFormatError as error:
            text = str(error)
            assert path.name in text
            if on_error == "collect":
                assert "not an MCAP" in text or "another version" in text


@pytest.mark.parametrize("kind", ["zstd", "lz4", "none", "no chunks"])
def test_random_mutations(tmp_path: Path, kind: str):
    path = tmp_path / "a.mcap"
    if kind == "no chunks":
        unchunked_log(path)
    else:
        small_log(path, kind)
    whole = path.read_bytes()
    rng = random.Random(kind)
    mutant = tmp_path / "mutant.mcap"
    for trial in range(250):
        data = bytearray(whole)
        if trial % 2:  # otherwise the checksum makes most of them equal to "no summary"
            data[-12:-8] = bytes(4)
        for _ in range(rng.choice((1, 1, 3, 10))):
            where = rng.choice((0, 0, len(data) * 2 // 3))
            at = rng.randrange(where, len(data))
            action = rng.randrange(5)
            if action == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif action == 1:
                data[at : at + 8] = rng.choice((bytes(8), b"\xff" * 8, struct.pack("<Q", 1 << rng.randrange(64))))
            elif action == 2:
                del data[at : at + rng.randrange(1, 30)]
            elif action == 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 30))
            else:
                data[at : at + 4] = rng.randbytes(4)
        mutant.write_bytes(data)
        exercise(mutant)


def record(op: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack("<BQ", op, len(content) if length is None else length) + content


def chunk_file(path: Path, compression: bytes, body: bytes, size: int, index: bool = False) -> None:
    """A file of one chunk record with any claims; optionally with a chunk index that repeats them."""
    out = MAGIC + record(Op.HEADER, bytes(8))
    offset = len(out)
    head = struct.pack("<QQQI", 1, 2, size, 0) + struct.pack("<I", len(compression)) + compression
    out += record(Op.CHUNK, head + struct.pack("<Q", len(body)) + body)
    length = len(out) - offset
    out += record(Op.DATA_END, bytes(4))
    start = len(out)
    if index:
        out += record(Op.CHANNEL, struct.pack("<HH", 1, 0) + struct.pack("<I", 2) + b"/a" + bytes(8))
        out += record(Op.STATISTICS, struct.pack("<QHIIIIQQIHQ", 1, 0, 1, 0, 0, 1, 1, 2, 10, 1, 1))
        out += record(
            Op.CHUNK_INDEX,
            struct.pack("<QQQQI", 1, 2, offset, length, 0)
            + struct.pack("<QI", 0, len(compression))
            + compression
            + struct.pack("<QQ", len(body), size),
        )
    out += record(Op.FOOTER, struct.pack("<QQI", start if index else 0, 0, 0)) + MAGIC
    path.write_bytes(out)


BOMBS = {
    "lz4 says little": (b"lz4", lz4.frame.compress(bytes(300 << 20), store_size=False), 1000),
    "zstd says little": (
        b"zstd",
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(300 << 20)),
        9,
    ),
    "zstd frame says much, chunk little": (
        b"zstd",
        zstandard.ZstdCompressor().compress(bytes(300 << 20)),
        1000,
    ),
    "lz4 says much": (b"lz4", lz4.frame.compress(b"abc"), 3 << 30),
    "zstd says much": (b"zstd", zstandard.ZstdCompressor(write_content_size=False).compress(b"abc"), 3 << 30),
    "more than any chunk may have": (b"zstd", zstandard.ZstdCompressor().compress(b"abc"), 1 << 62),
    "none says much": (b"", b"abc", 1 << 40),
}

CHILD = """
import resource, sys
from robodf.errors import FileFormatError
from robodf.io.files import open_file
from robodf.io.mcap import read_chunk, read_summary
import lz4.frame, zstandard
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
    for i, (compression, body, size) in enumerate(BOMBS.values()):
        for index in (False, True):
            paths.append(tmp_path / f"{i}-{index}.mcap")
            chunk_file(paths[-1], compression, body, size, index)
    done = subprocess.run([sys.executable, "-c", CHILD, *map(str, paths)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) < 200, done.stdout


def test_lengths_that_lie_take_no_memory(tmp_path: Path):
    """Every length of a record or field set to something huge, one at a time."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    path = tmp_path / "a.mcap"
    small_log(path)
    data = path.read_bytes()
    start = struct.unpack_from("<Q", data, len(data) - 28)[0]
    at = start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while at < len(data) - 8:
        length = struct.unpack_from("<Q", data, at + 1)[0]
        for place in range(at + 1, at + 9 + length, 4):
            for value in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x7f"):
                bad = bytearray(data)
                bad[place : place + 4] = value
                bad[-12:-8] = bytes(4)
                path.write_bytes(bad)
                with open_file(path) as file:
                    summary = read_summary(file, "skip")
                    for chunk in summary.chunks:
                        read_chunk(file, summary, chunk, on_error="skip")
        at += 9 + length
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_an_unknown_compression_is_named(tmp_path: Path):
    path = tmp_path / "a.mcap"
    chunk_file(path, b"brotli", b"abc", 3, index=True)
    with open_file(path) as file:
        summary = read_summary(file)
        with pytest.raises(FileFormatError, match="'brotli'"):
            read_chunk(file, summary, summary.chunks[0])
        problems: list[str] = []
        assert len(read_chunk(file, summary, summary.chunks[0], on_error="skip", problems=problems)) == 0
        assert "brotli" in problems[0]
    chunk_file(path, b"brotli", b"abc", 3)
    with open_file(path) as file, pytest.raises(FileFormatError, match="'brotli'"):
        read_summary(file)


def frames(raw: bytes) -> dict[str, tuple[str, bytes]]:
    """The ways in which real writers compress a chunk."""
    half = len(raw) // 2
    plain = zstandard.ZstdCompressor()
    return {
        "zstd": ("zstd", plain.compress(raw)),
        "zstd without content size": (
            "zstd",
            zstandard.ZstdCompressor(write_content_size=False).compress(raw),
        ),
        "zstd in two frames": ("zstd", plain.compress(raw[:half]) + plain.compress(raw[half:])),
        "lz4": ("lz4", lz4.frame.compress(raw)),
        "lz4 without content size": ("lz4", lz4.frame.compress(raw, store_size=False)),
        "lz4 with checksums": ("lz4", lz4.frame.compress(raw, content_checksum=True, block_checksum=True)),
        "none": ("", raw),
    }


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_000])
def test_inflate(size: int):
    raw = (random.Random(size).randbytes(1000) * (size // 1000 + 1))[:size]
    for name, (compression, body) in frames(raw).items():
        assert inflate.inflate(compression, body, size) == (raw, None), name
        assert inflate.inflate(compression, memoryview(body), size)[0] == raw
        out, problem = inflate.inflate(compression, body, size + 5)
        assert (out, problem is not None) == (raw, True), name
        if size > 5:
            out, problem = inflate.inflate(compression, body, size - 5)
            assert raw.startswith(out), name
            assert problem is not None
            out, problem = inflate.inflate(compression, body[: len(body) * 2 // 3], size)
            assert raw.startswith(out), name
            assert problem is not None, name
    if size == 3_000_000:
        noise = random.Random(9).randbytes(size)
        for compression, body in frames(noise).values():
            out, _ = inflate.inflate(compression, body[: size * 2 // 3], size)
            assert noise.startswith(out)
            assert len(out) > size // 2  # what precedes the cut is kept


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path: Path):
    path = tmp_path / "a.mcap"
    payloads = small_log(path, "none")
    data = bytearray(path.read_bytes())
    at = data.index(payloads[1])
    data[at] ^= 1
    path.write_bytes(data)
    with open_file(path) as file:
        summary = read_summary(file)
        chunk = summary.chunks[0]
        assert read_chunk(file, summary, chunk, check_crc=False).payload(1) != payloads[1]
        with pytest.raises(FileFormatError, match="checksum"):
            read_chunk(file, summary, chunk)
    with pytest.raises(FileFormatError, match="checksum"):
        rd.read_log(path).collect()
    frame = rd.read_log(path, on_error="collect")
    assert frame.collect().height == len(payloads)
    assert "checksum" in frame.errors["error"].item()


def test_a_summary_that_fails_its_checksum_is_rebuilt(tmp_path: Path):
    path = tmp_path / "a.mcap"
    payloads = small_log(path)
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<Q", data, len(data) - 28)[0]
    assert zlib.crc32(data[start:-12]) == struct.unpack_from("<I", data, len(data) - 12)[0]
    data[start + 40] ^= 1
    path.write_bytes(data)
    with open_file(path) as file:
        summary = read_summary(file)
        assert summary.complete
        assert not summary.from_index
        assert "checksum" in summary.problems[0]
        assert count(summary, file) == len(payloads)
    assert read_leniently(path)[0] == payloads


@pytest.mark.parametrize("opcode", [0x16, 0x86])
def test_a_chunk_that_lost_its_opcode_is_missed(tmp_path: Path, opcode: int):
    path = tmp_path / "a.mcap"
    small_log(path)
    with open_file(path) as file:
        chunk = read_summary(file).chunks[1]
    data = bytearray(path.read_bytes())
    data[chunk.offset] = opcode
    data[-29] ^= 1  # and the footer that leads to the index
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="97 messages are readable"):
        rd.read_log(path)
    frame = rd.read_log(path, on_error="collect")
    assert frame.collect().height == 97
    assert any("opcode" in error for error in frame.errors["error"])
