"""Payloads that are alike are read by one walk over the first; the result is that of the general way."""

from __future__ import annotations

import gc
import pickle
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import pytest
from messages_oracle import random_message, random_schema, rows, same, store_with
from polars.testing import assert_frame_equal
from rosbags.typesys import Stores, get_typestore

from robodf.io.messages import Payloads, decoder_for, walk

LATEST = get_typestore(Stores.LATEST)


def laid_out(messages: list[bytes], rng: random.Random) -> Payloads:
    """The messages in a buffer with equal or random gaps, in or out of order."""
    gap = rng.choice([0, 31, None])
    places = list(range(len(messages)))
    if rng.random() < 0.3:
        rng.shuffle(places)
    buffer = bytearray(rng.randbytes(rng.randrange(9)))
    offset = [0] * len(messages)
    for i in places:
        buffer += rng.randbytes(rng.randrange(9) if gap is None else gap)
        offset[i] = len(buffer)
        buffer += messages[i]
    return Payloads(bytes(buffer), np.array(offset), np.array([len(m) for m in messages]))


def both_ways(decoder: Any, payloads: Payloads, fields: Any, monkeypatch: Any) -> tuple[pl.DataFrame, list[Any]]:
    """What is decoded, the same with and without the walk over alike payloads."""
    problems: list[Any] = []
    frame = decoder.decode(payloads, fields, decoder.schema, problems)
    with monkeypatch.context() as patch:
        patch.setattr(walk, "_FEW_ROWS", 1 << 40)
        expected_problems: list[Any] = []
        expected = decoder.decode(payloads, fields, decoder.schema, expected_problems)
    assert_frame_equal(frame, expected)
    assert problems == expected_problems
    return frame, problems


def projection(schema: Any, rng: random.Random) -> Any:
    fields: Any = {}
    for name, dtype in schema.items():
        if rng.random() < 0.5:
            while isinstance(dtype, pl.List | pl.Array):
                dtype = dtype.inner
            below = {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, pl.Struct) else {}
            fields[name] = projection(below, rng) or None
    return fields


def broken(message: bytes, rng: random.Random) -> bytes:
    data = bytearray(message)
    for _ in range(rng.randrange(3)):
        if data:
            data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
    if rng.random() < 0.2 and data:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


@pytest.mark.parametrize("seed", range(150))
def test_random_types_and_mixtures(seed: int, monkeypatch: pytest.MonkeyPatch):
    rng = random.Random(seed)
    ros1 = seed % 3 == 0
    text = random_schema(rng, ros1)
    store = store_with(text, "x/msg/A", Stores.ROS1_NOETIC if ros1 else Stores.LATEST)
    decoder = decoder_for("ros1" if ros1 else "cdr", "ros1msg" if ros1 else "ros2msg", "x/msg/A", text.encode())
    assert decoder.reason == ""
    little = rng.random() < 0.5

    def serialize(message: Any) -> bytes:
        if ros1:
            return bytes(store.serialize_ros1(message, "x/msg/A"))
        return bytes(store.serialize_cdr(message, "x/msg/A", little_endian=little))

    def change(message: bytes) -> bytes:
        """Other values, which leaves most of the messages valid and some of them with the same lengths."""
        return broken(message, rng) if rng.random() < 0.5 else message

    for _ in range(3):
        kinds = [serialize(random_message(store, "x/msg/A", rng)) for _ in range(rng.choice([1, 1, 2]))]
        messages = [rng.choice(kinds) for _ in range(rng.choice([7, 8, 40]))]
        payloads = laid_out(messages, rng)
        frame, problems = both_ways(decoder, payloads, None, monkeypatch)
        assert problems == []
        both_ways(decoder, payloads, projection(decoder.schema, rng), monkeypatch)
        mixed = [change(message) for message in messages]
        both_ways(decoder, laid_out(mixed, rng), None, monkeypatch)
        both_ways(decoder, laid_out(mixed, rng), projection(decoder.schema, rng), monkeypatch)
        # One message that differs in one byte, among many that do not.
        alone = messages[:1] * 20
        alone[rng.randrange(20)] = broken(messages[0], rng)
        both_ways(decoder, laid_out(alone, rng), None, monkeypatch)


def test_each_value_may_differ_where_the_lengths_do_not(monkeypatch: pytest.MonkeyPatch):
    text = "string[] names\nfloat64[] v\nx/B[] b\nuint8[] blob\n" + "=" * 80 + "\nMSG: x/B\nstring s\nint8 i\n"
    store = store_with(text, "x/msg/A")
    types = store.types
    decoder = decoder_for("cdr", "ros2msg", "x/msg/A", text.encode())
    messages = []
    for i in range(30):
        b = [types["x/msg/B"](f"{i + k:03d}", k) for k in range(3)]
        blob = np.full(20, i, np.uint8)
        one = types["x/msg/A"]([f"{i:02d}", "same", "ä" * 3], np.array([i, 1.5]), b, blob)
        messages.append(bytes(store.serialize_cdr(one, "x/msg/A")))
    frame, problems = both_ways(decoder, Payloads.of(messages), None, monkeypatch)
    assert problems == []
    for i, row in enumerate(rows(frame)):
        assert row["names"] == [f"{i:02d}", "same", "äää"]
        assert row["v"] == [i, 1.5]
        assert [item["s"] for item in row["b"]] == [f"{i + k:03d}" for k in range(3)]
        assert row["blob"] == bytes([i]) * 20


def wide(text: str) -> bytes:
    units = np.frombuffer(text.encode("utf-16-le"), "<u2").astype("<u4")
    return struct.pack("<I", len(units)) + units.tobytes()


def test_wide_text(monkeypatch: pytest.MonkeyPatch):
    decoder = decoder_for("cdr", "ros2msg", "x/msg/A", b"wstring a\nwstring[] b\n")
    messages = [
        b"\0\1\0\0" + wide(f"{i:02d}") + struct.pack("<I", 2) + wide("ü" + chr(65 + i)) + wide("") for i in range(12)
    ]
    frame, _ = both_ways(decoder, Payloads.of(messages), None, monkeypatch)
    assert frame["a"].to_list() == [f"{i:02d}" for i in range(12)]
    assert frame["b"].to_list() == [["ü" + chr(65 + i), ""] for i in range(12)]
    both_ways(decoder, Payloads.of(messages), {"b": None}, monkeypatch)
    messages[7] = messages[7][:8] + struct.pack("<I", 0xD800) + messages[7][12:]
    _, problems = both_ways(decoder, Payloads.of(messages), None, monkeypatch)
    assert problems == [(7, "a is not UTF-16")]


@pytest.mark.parametrize("count", [2, 64, 65, 300])
def test_many_texts_and_one_that_is_not_utf8(count: int, monkeypatch: pytest.MonkeyPatch):
    for encoding in ("cdr", "ros1"):
        end = b"\0" if encoding == "cdr" else b""
        head = b"\0\1\0\0" if encoding == "cdr" else b""
        decoder = decoder_for(encoding, "ros2msg" if encoding == "cdr" else "ros1msg", "x/A", b"string[] a\n")
        texts = [[f"{i:02d}{k:05d}"[: 7 - 4 * (k == 1)] for k in range(count)] for i in range(12)]
        messages = []
        for names in texts:
            body = struct.pack("<I", count)
            for name in names:
                body += bytes(-len(body) % 4 if encoding == "cdr" else 0)
                body += struct.pack("<I", len(name + "x") if end else len(name)) + name.encode() + end
            messages.append(head + body)
        frame, problems = both_ways(decoder, Payloads.of(messages), None, monkeypatch)
        assert problems == []
        assert frame["a"].to_list() == texts
        messages[5] = messages[5].replace(b"0500000", b"050000\xff")
        _, problems = both_ways(decoder, Payloads.of(messages), None, monkeypatch)
        assert problems == [(5, "a is not UTF-8")]


def test_text_that_nobody_reads_must_fit_too(monkeypatch: pytest.MonkeyPatch):
    text = "string[] names\nint32 v\n"
    store = store_with(text, "x/msg/A")
    decoder = decoder_for("cdr", "ros2msg", "x/msg/A", text.encode())
    good = bytes(store.serialize_cdr(store.types["x/msg/A"](["abc", "def"], 7), "x/msg/A"))
    bad = good.replace(b"abc\0", b"abcX")
    shifted = bytes(store.serialize_cdr(store.types["x/msg/A"](["abcdefg", ""], 9), "x/msg/A"))
    for messages, expected in (([good] * 9 + [bad], [7] * 9 + [None]), ([good] * 9 + [shifted], [7] * 9 + [9])):
        frame, _ = both_ways(decoder, Payloads.of(messages), {"v": None}, monkeypatch)
        assert frame["v"].to_list() == expected


def clouds(count: int, size: int) -> list[bytes]:
    kind = "std_msgs/msg/UInt8MultiArray"
    types = LATEST.types
    layout = types["std_msgs/msg/MultiArrayLayout"]([], 0)
    blobs = [np.random.default_rng(i).integers(0, 256, size, dtype=np.uint8) for i in range(count)]
    return [bytes(LATEST.serialize_cdr(types[kind](layout, blob), kind)) for blob in blobs]


@pytest.mark.parametrize("sizes", [[5000] * 12, [5000, 6000, 0, 4000], [5000, 0, 7], [0, 0], [100] * 20])
@pytest.mark.parametrize("stable", [True, False])
def test_blobs_that_are_not_copied(sizes: list[int], stable: bool, monkeypatch: pytest.MonkeyPatch):
    decoder = decoder_for("cdr", "ros2msg", "std_msgs/msg/UInt8MultiArray", b"")
    messages = [clouds(1, size)[0] for size in sizes]
    expected = [message[-size:] if size else b"" for message, size in zip(messages, sizes)]
    found = Payloads.of(messages)
    buffer = found.buffer if stable else bytearray(found.buffer)
    payloads = Payloads(memoryview(buffer), found.offset, found.length)
    frame, problems = both_ways(decoder, payloads, None, monkeypatch)
    assert problems == []
    if isinstance(buffer, bytearray):
        buffer[:] = bytes(len(buffer))  # nothing may refer to a buffer that can change
    del found, payloads, buffer
    gc.collect()
    assert frame.schema["data"] == pl.Binary()
    assert frame["data"].to_list() == expected
    assert pl.concat([frame[1:], frame[:1]])["data"].to_list() == expected[1:] + expected[:1]
    assert pickle.loads(pickle.dumps(frame))["data"].to_list() == expected
    assert frame.filter(pl.col("data").bin.size() > 50)["data"].to_list() == [b for b in expected if len(b) > 50]


def test_a_few_blobs_do_not_keep_a_large_buffer():
    decoder = decoder_for("cdr", "ros2msg", "std_msgs/msg/UInt8MultiArray", b"")
    messages = clouds(4, 3000)
    buffer = b"".join(messages) + bytes(1 << 20)
    found = Payloads.of(messages)
    frame = decoder.decode(Payloads(buffer, found.offset, found.length), None, decoder.schema or {}, [])
    assert frame["data"].to_list() == [message[-3000:] for message in messages]
    assert sum(len(chunk) for chunk in frame["data"].to_arrow().buffers()[2:] if chunk) < 1 << 18


def test_decoding_in_threads():
    text = LATEST.generate_msgdef("sensor_msgs/msg/JointState", ros_version=2)[0].encode()
    store = store_with(text.decode(), "sensor_msgs/msg/JointState")
    rng = random.Random(1)
    batches = []
    for _ in range(16):
        one = bytes(
            store.serialize_cdr(random_message(store, "sensor_msgs/msg/JointState", rng), "sensor_msgs/msg/JointState")
        )
        batches.append(Payloads.of([one] * rng.choice([3, 50]) + [one[:-5]] * rng.randrange(2)))

    def decode(payloads: Payloads) -> tuple[Any, Any]:
        decoder = decoder_for("cdr", "ros2msg", "sensor_msgs/msg/JointState", text)
        problems: list[Any] = []
        return rows(decoder.decode(payloads, None, decoder.schema or {}, problems)), problems

    expected = [decode(payloads) for payloads in batches]
    with ThreadPoolExecutor(8) as pool:
        for found, wanted in zip(pool.map(decode, batches * 4), expected * 4):
            assert same(found, wanted)
