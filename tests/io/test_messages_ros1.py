"""ROS 1 messages made by rosbags come back as columns, and broken ones as nulls with a reason."""

from __future__ import annotations

import pickle
import random
import struct
import tracemalloc
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from messages_oracle import FAILURES, random_message, random_schema, rows, same, store_with, values
from rosbags.rosbag1 import Reader
from rosbags.typesys import Stores, get_typestore

from robodf.io.messages import Payloads, decoder_for, header_stamp
from robodf.io.messages.decoder import project

NOETIC = get_typestore(Stores.ROS1_NOETIC)
T: Any = NOETIC.types
SEP = "=" * 80


def decoder(text: str, kind: str = "x/A") -> Any:
    found = decoder_for("ros1", "ros1msg", kind, text.encode())
    assert found.reason == ""
    assert found.name == "ROS 1"
    return found


def decoded(decoder: Any, messages: list[bytes], fields: Any = None) -> tuple[pl.DataFrame, list[Any]]:
    problems: list[Any] = []
    frame = decoder.decode(Payloads.of(messages), fields, decoder.schema, problems)
    assert frame.height == len(messages)
    assert dict(frame.schema) == project(decoder.schema, fields)
    return frame, problems


def clean(decoder: Any, messages: list[bytes], fields: Any = None) -> pl.DataFrame:
    frame, problems = decoded(decoder, messages, fields)
    assert problems == []
    return frame


def plain(store: Any, kind: str, message: bytes) -> dict[str, Any]:
    return values(store, kind, store.deserialize_ros1(message, kind), ros1=True)


def text_of(kind: str) -> str:
    return NOETIC.generate_msgdef(kind, ros_version=1)[0]


def header(i: int) -> Any:
    return T["std_msgs/msg/Header"](i, T["builtin_interfaces/msg/Time"](1_700_000_000 + i, 5), "base_link"[: i % 10])


def joint_state(i: int) -> Any:
    names = [f"gelenk_ä{k}" * k for k in range(i % 5)]
    return T["sensor_msgs/msg/JointState"](header(i), names, np.ones(i % 5), np.ones(i % 3), np.ones(0))


def path(i: int) -> Any:
    pose = T["geometry_msgs/msg/Pose"](
        T["geometry_msgs/msg/Point"](1.0, 2.0, float(i)), T["geometry_msgs/msg/Quaternion"](0.0, 0.0, -0.0, 1.0)
    )
    poses = [T["geometry_msgs/msg/PoseStamped"](header(k), pose) for k in range(i % 4)]
    return T["nav_msgs/msg/Path"](header(i), poses)


KINDS = {"sensor_msgs/msg/JointState": joint_state, "nav_msgs/msg/Path": path}


def serialized(kind: str, count: int) -> list[bytes]:
    return [bytes(NOETIC.serialize_ros1(KINDS[kind](i), kind)) for i in range(count)]


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_rosbags(kind: str, defined: bool):
    messages = serialized(kind, 40)
    found = decoder(text_of(kind) if defined else "", kind.replace("/msg/", "/"))
    assert same(rows(clean(found, messages)), [plain(NOETIC, kind, m) for m in messages])
    assert header_stamp(found.schema) == ("header", "stamp")
    assert found.schema["header"].fields[0] == pl.Field("seq", pl.UInt32)


@pytest.mark.parametrize("seed", range(120))
def test_random_types_equal_rosbags(seed: int):
    rng = random.Random(seed)
    text = random_schema(rng, ros1=True)
    store = store_with(text, "x/msg/A", Stores.ROS1_NOETIC)
    messages = [
        bytes(store.serialize_ros1(random_message(store, "x/msg/A", rng), "x/msg/A")) for _ in range(12)
    ] * rng.choice([1, 3])
    found = decoder(text, rng.choice(["x/A", "x/msg/A"]))
    frame = clean(found, messages)
    assert same(rows(frame), [plain(store, "x/msg/A", m) for m in messages])
    for name in found.schema:
        assert same(rows(clean(found, messages, {name: None})), rows(frame.select(name)))


def test_real_bags_equal_rosbags(real_data: Path):
    checked = 0
    for bag in sorted(real_data.glob("bag/*.bag")):
        found: dict[Any, list[bytes]] = defaultdict(list)
        with Reader(bag) as reader:
            if not reader.message_count:
                continue
            for connection, _, data in reader.messages():
                found[(connection.msgtype, connection.msgdef.data)].append(bytes(data))
        for (kind, text), messages in found.items():
            store = store_with(text, kind, Stores.ROS1_NOETIC)
            frame = clean(decoder(text, kind.replace("/msg/", "/")), messages)
            assert same(rows(frame), [plain(store, kind, m) for m in messages]), (bag.name, kind)
            checked += len(messages)
    assert checked > 20_000


def test_types():
    text = (
        "# a comment = 3\r\nbool a # b = c\nbyte b\nchar c\nint64 d\nfloat32 e\nstring f\ntime g\nduration h\n"
        "byte[] i\nchar[] j\nuint8[] k\nuint8[4] l\nint8[] m\nstring[2] n\ntime[] o\nHeader p\nstd_msgs/Header q\n"
        "B r\nx/B[] s\ny/B[2] t\nEmpty u\nEmpty[] v\nint32 lower=-3\nint32  UPPER = 4 # four\n"
        f"string TEXT=it's # a 'text' = x\nstd_msgs/Time w\nMixed_Pkg/C xX_1\n\n{SEP}\nMSG: x/B\nfloat64 x\n"
        f"Empty none\n{SEP}\nMSG: y/B\nfloat32 y\n{SEP}\nMSG: x/Empty\n# nothing\n{SEP}\nMSG: Mixed_Pkg/C\nint8 z"
    )
    b = pl.Struct({"x": pl.Float64})
    header = pl.Struct({"seq": pl.UInt32, "stamp": pl.Datetime("ns"), "frame_id": pl.String})
    assert decoder(text).schema == {
        "a": pl.Boolean(), "b": pl.UInt8(), "c": pl.UInt8(), "d": pl.Int64(), "e": pl.Float32(), "f": pl.String(),
        "g": pl.Datetime("ns"), "h": pl.Duration("ns"), "i": pl.Binary(), "j": pl.Binary(), "k": pl.Binary(),
        "l": pl.Array(pl.UInt8, 4), "m": pl.List(pl.Int8), "n": pl.Array(pl.String, 2),
        "o": pl.List(pl.Datetime("ns")), "p": header, "q": header, "r": b, "s": pl.List(b),
        "t": pl.Array(pl.Struct({"y": pl.Float32}), 2), "w": pl.Struct({"data": pl.Datetime("ns")}),
        "xX_1": pl.Struct({"z": pl.Int8}),
    }  # fmt: skip


def test_times():
    found = decoder("time t\nduration d\n")
    pairs = [(0, 0), (2**32 - 1, 999_999_999), (2**31, 1), (5, 10**9), (5, 2**32 - 1)]
    signed = [(-1, 5), (-(2**31), 0), (3, -5), (3, 10**9), (3, -(10**9))]
    messages = [struct.pack("<IIii", *t, *d) for t, d in zip(pairs, signed)]
    for frame in (clean(found, messages), clean(found, messages * 4)[:5]):  # few rows, and alike ones
        got = rows(frame)
        assert [row["t"] for row in got] == [0, (2**32 - 1) * 10**9 + 999_999_999, 2**31 * 10**9 + 1, None, None]
        assert [row["d"] for row in got] == [-(10**9) + 5, -(2**31) * 10**9, 3 * 10**9 - 5, None, None]


def test_empty_messages():
    for found in (decoder("", "std_msgs/Empty"), decoder("# nothing")):
        frame, problems = decoded(found, [b"", b"", b"\0"])
        assert frame.shape == (3, 0)
        assert [row for row, _ in problems] == [2]
        assert clean(found, [b""] * 50).shape == (50, 0)
    nested = decoder(f"Empty e\nEmpty[2] f\nint32 v\nEmpty[] g\n{SEP}\nMSG: x/Empty\n")
    messages = [struct.pack("<iI", 9, count) for count in (0, 3, 2**32 - 1)]
    assert clean(nested, messages).rows() == [(9,)] * 3


def test_an_empty_definition_stands_for_a_known_type():
    for text in ("", " \n", "*", "d41d8cd98f00b204e9800998ecf8427e"):
        assert decoder(text, "std_msgs/Float64").schema == {"data": pl.Float64()}
        unknown = decoder_for("ros1", "ros1msg", "my_pkg/Thing", text.encode())
        assert unknown.name == "raw"
        assert "my_pkg/Thing: the recording has no definition" in unknown.reason
    assert list(decoder("", "tf2_msgs/TFMessage").schema) == ["transforms"]


def test_a_definition_wins_over_the_known_type():
    assert decoder("int8 other\n", "std_msgs/Float64").schema == {"other": pl.Int8()}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("THIS IS NOT A SCHEMA", "not a field: 'THIS IS NOT A SCHEMA'"),
        ("y/Missing m", "does not define y/msg/Missing"),
        ("A again", "contains itself"),
        ("int32[0] none", "array of 0"),
        ("int32 a\nint32 a", "two fields"),
        ("int32[<=4] a", "not a field"),
        ("wstring a", "does not define x/msg/wstring"),
        ("float64[99999999999999999999] much", "not a field"),
        ("float64[9999999999] much", "array of"),
        (f"B b\n{SEP}\nMSG: x/B\nA a", "contains itself"),
        (f"B b\n{SEP}\nMSG: x/B\nint8 a\n{SEP}\nMSG: x/B\nint16 a", "defined twice"),
        ("string" * 100_000, "not a field"),
        ("[" * 20_000, "not a field"),
        ("int32 a\n" * 120_000, "lines"),
        ("int32 a#\n" * 30_000, "two fields"),
        ("".join(f"int32 a{i}\n" for i in range(25_000)), "more than 20000 fields"),
        ("#" * (1 << 20) + "#", "bytes"),
        ("\x00", "not a field"),
        ("int32\u2028a\u2028b", "not a field"),
    ],
)
def test_unreadable_definitions_leave_messages_raw(text: str, why: str):
    found = decoder_for("ros1", "ros1msg", "x/A", text.encode())
    assert found.name == "raw"
    assert found.reason.startswith("x/A: ")
    assert why in found.reason
    assert len(found.reason) < 300


def test_a_schema_that_grows_exponentially_is_refused():
    levels = [f"MSG: x/L{i}\n" + "".join(f"L{i + 1} f{k}\n" for k in range(10)) for i in range(12)]
    text = f"{SEP}\n".join([*levels, "MSG: x/L12\nint32 v\n"]).removeprefix("MSG: x/L0\n")
    assert "more than 20000 fields" in decoder_for("ros1", "ros1msg", "x/L0", text.encode()).reason
    chain = "".join(f"L{i} f\n{SEP}\nMSG: x/L{i}\n" for i in range(3000)) + "int8 v\n"
    assert "nested more than" in decoder_for("ros1", "ros1msg", "x/A", chain.encode()).reason


def test_comments_in_another_encoding():
    found = decoder_for("ros1", "ros1msg", "x/A", "int8 v # Größe".encode("latin-1"))
    assert found.schema == {"v": pl.Int8()}


def test_mutated_definitions_never_raise():
    rng = random.Random(0)
    text = text_of("nav_msgs/msg/Path").encode()
    names = set()
    for _ in range(400):
        data = bytearray(text)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.choice(b"[]<>=(){};:/ \n019aZ_-\"'\xff\0#")
        names.add(decoder_for("ros1", "ros1msg", "nav_msgs/Path", bytes(data)).name)
    assert names == {"raw", "ROS 1"}


@pytest.mark.parametrize("line", ["string s", "string[] s", "float64[] s", "uint8[] s", "B[] s", "C[] s", "time[] s"])
@pytest.mark.parametrize("count", [2, 1000, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_count_beyond_the_payload_takes_no_memory(line: str, count: int):
    found = decoder(f"{line}\n{SEP}\nMSG: x/B\nfloat64 x\n{SEP}\nMSG: x/C\nstring y\n")
    clean(found, [struct.pack("<I", 0)])
    tracemalloc.start()
    try:
        frame, problems = decoded(found, [struct.pack("<I", count)] * 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert frame["s"].null_count() == len(problems) == 20
    assert peak < 2_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_payloads(kind: str):
    rng = random.Random(kind)
    messages = []
    for message in serialized(kind, 12) * 25:
        data = bytearray(message)
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        if rng.random() < 0.2:
            data += bytes(rng.randrange(12))
        messages.append(bytes(data))
    found = decoder(text_of(kind), kind)
    frame, problems = decoded(found, messages)
    got, broken = rows(frame), dict(problems)
    assert list(broken) == sorted(broken)
    assert 30 < len(broken) < 290
    part, part_problems = decoded(found, messages, {"header": {"stamp": None}})
    # Texts that nobody asked for are stepped over, whatever is in them.
    assert {i for i, _ in part_problems} == {i for i, why in problems if "UTF-8" not in why}
    for i, message in enumerate(messages):
        try:
            expected: Any = plain(NOETIC, kind, message)
        except FAILURES:
            assert i in broken
            expected = dict.fromkeys(frame.columns)
        else:
            assert i not in broken, broken[i]
        assert same(got[i], expected), i
        if i not in broken:
            assert same(rows(part)[i], {"header": {"stamp": expected["header"]["stamp"]}})


def test_pickle_and_other_schemas():
    found = decoder(text_of("nav_msgs/msg/Path"), "nav_msgs/Path")
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found
    messages = serialized("nav_msgs/msg/Path", 9)
    assert same(rows(clean(copy, messages)), rows(clean(found, messages)))
    other = decoder_for("ros1", "ros2msg", "x/A", b"int8 a")
    assert other.name == "raw"
    assert other.reason == "ROS 1 messages need a schema in ros1msg, not 'ros2msg'"
    assert clean(found, []).height == 0
