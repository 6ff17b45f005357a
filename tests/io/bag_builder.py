"""Bags of all shapes: by an independent writer, and record by record."""

from __future__ import annotations

import bz2
import random
import struct
from pathlib import Path

import lz4.frame
from rosbags.rosbag1 import Writer

from robodf.io.bag import read_chunk, read_summary
from robodf.io.files import open_file

MAGIC = b"#ROSBAG V2.0\n"
Message = tuple[str, int, bytes]  # topic, time in ns, payload


def write_bag(
    path: Path, messages: list[Message], compression: str = "none", chunk: int = 1500, empty: tuple[str, ...] = ()
) -> Path:
    """A bag by rosbags; `empty` are topics without messages. A chunk is closed once it exceeds `chunk` bytes."""
    path.unlink(missing_ok=True)
    writer = Writer(path)
    if compression != "none":
        writer.set_compression(Writer.CompressionFormat[compression.upper()])
    writer.chunk_threshold = chunk
    with writer:
        topics = dict.fromkeys([*(m[0] for m in messages), *empty])
        connections = {
            t: writer.add_connection(t, f"pkg/msg/T{i}", msgdef=f"int32 v{i}", md5sum=f"{i:032x}", callerid=f"/node{i}")
            for i, t in enumerate(topics)
        }
        for topic, time, data in messages:
            writer.write(connections[topic], time, data)
    return path


def some_messages(count: int = 120, topics: int = 3, seed: int = 11) -> list[Message]:
    rng = random.Random(seed)
    return [(f"/t{i % topics}", 10**9 + i * 10**7, rng.randbytes(rng.randrange(80))) for i in range(count)]


def read_all(path: Path, on_error: str = "raise") -> tuple[list[Message], list[str], bool]:
    """(messages in file order, problems, complete) of all that can be had."""
    with open_file(path) as file:
        summary = read_summary(file, on_error)
        problems = list(summary.problems)
        got = []
        for chunk in summary.chunks:
            m = read_chunk(file, summary, chunk, on_error=on_error, problems=problems)
            assert (m.log_time == m.publish_time).all()
            got += [
                (summary.channels[int(m.channel_id[i])].topic, int(m.log_time[i]), m.payload(i)) for i in range(len(m))
            ]
    return got, problems, summary.complete


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def ros_time(ns: int) -> bytes:
    return struct.pack("<II", ns // 10**9, ns % 10**9)


def fields(**values: bytes) -> bytes:
    return b"".join(u32(len(k) + 1 + len(v)) + k.encode() + b"=" + v for k, v in values.items())


def record(op: int, data: bytes = b"", **header: bytes) -> bytes:
    head = fields(op=bytes([op]), **header)
    return u32(len(head)) + head + u32(len(data)) + data


def bag_header(index_pos: int, conns: int, chunks: int, **more: bytes) -> bytes:
    head = fields(index_pos=u64(index_pos), conn_count=u32(conns), chunk_count=u32(chunks), **more, op=b"\x03")
    pad = 4096 - 8 - len(head)
    return MAGIC + u32(len(head)) + head + u32(pad) + b" " * pad


DATA_START = len(MAGIC) + 4096


def connection(
    conn: int, outer: str, name: str = "std_msgs/String", definition: bytes = b"string data", **more: bytes
) -> bytes:
    inner = fields(type=name.encode(), md5sum=b"0" * 32, message_definition=definition, **more)
    return record(7, inner, conn=u32(conn), topic=outer.encode())


def message(conn: int, time: int, data: bytes) -> bytes:
    return record(2, data, conn=u32(conn), time=ros_time(time))


COMPRESS = {"none": bytes, "bz2": bz2.compress, "lz4": lambda b: lz4.frame.compress(b, content_checksum=True)}


def chunk(body: bytes, compression: str = "none", size: int | None = None) -> bytes:
    data = COMPRESS.get(compression, bytes)(body)
    return record(5, data, compression=compression.encode(), size=u32(len(body) if size is None else size))


def index(conn: int, entries: list[tuple[int, int]]) -> bytes:
    """`entries`: (time, offset in the chunk)."""
    return record(
        4, b"".join(ros_time(t) + u32(o) for t, o in entries), ver=u32(1), conn=u32(conn), count=u32(len(entries))
    )


def chunk_info(pos: int, start: int, end: int, counts: dict[int, int]) -> bytes:
    data = b"".join(u32(c) + u32(n) for c, n in counts.items())
    times = {"start_time": ros_time(start), "end_time": ros_time(end)}
    return record(6, data, ver=u32(1), chunk_pos=u64(pos), **times, count=u32(len(counts)))


def indexed_chunk(messages: list[tuple[int, int, bytes]], compression: str = "none", front: bytes = b"") -> bytes:
    """A chunk of (conn, time, payload) behind `front`, and its index records."""
    body, entries = front, {}
    for conn, time, data in messages:
        entries.setdefault(conn, []).append((time, len(body)))
        body += message(conn, time, data)
    return chunk(body, compression) + b"".join(index(c, e) for c, e in entries.items())


def whole_bag(
    connections: list[bytes], chunks: list[tuple[list[tuple[int, int, bytes]], str]], **header: bytes
) -> bytes:
    """A bag with an index, of chunks of (conn, time, payload) and their compression."""
    data, infos = b"", b""
    for messages, compression in chunks:
        counts: dict[int, int] = {}
        for conn, _, _ in messages:
            counts[conn] = counts.get(conn, 0) + 1
        times = [t for _, t, _ in messages]
        infos += chunk_info(DATA_START + len(data), min(times), max(times), counts)
        data += indexed_chunk(messages, compression)
    head = bag_header(DATA_START + len(data), len(connections), len(chunks), **header)
    return head + data + b"".join(connections) + infos
