"""Protobuf messages equal what the `protobuf` package makes of them, whatever the bytes and the schema."""

from __future__ import annotations

import json
import pickle
import random
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError
from mcap.reader import NonSeekingReader
from mcap.records import Schema as McapSchema
from mcap_protobuf.decoder import DecoderFactory
from messages_oracle import rows, same
from protobuf_oracle import sorted_maps, values
from protobuf_writer import SETS, TYPES, add_field, class_of, file_of, fill, set_of

from robodf.errors import ColumnNotFoundError
from robodf.io.messages import Payloads, header_stamp
from robodf.io.messages.protobuf import ProtobufDecoder, SchemaDataError, compiled

REFUSED = (DecodeError, UnicodeError, AttributeError)


def decoded(data: bytes, name: str, messages: list[bytes], fields: Any = None) -> tuple[list[Any], dict[int, str]]:
    decoder = ProtobufDecoder(name, data)
    problems: list[Any] = []
    frame = decoder.decode(Payloads.of(messages), fields, decoder.schema, problems)
    assert frame.height == len(messages)
    if fields is None:
        assert dict(frame.schema) == decoder.schema
    assert len(dict(problems)) == len(problems)
    return rows(frame), dict(problems)


def with_json(row: Any) -> Any:
    """Rows with the JSON texts read, as they are in the oracle's."""
    for one in ("struct", "value", "listvalue"):
        for name, load in ((one, json.loads), (one + "s", lambda items: [json.loads(item) for item in items])):
            if row.get(name) is not None:
                row[name] = load(row[name])
    return row


def check(data: bytes, name: str, messages: list[bytes]) -> tuple[int, int]:
    """Every message equals the package's view of it; returns how many were decoded and how many refused."""
    kind = class_of(data, name)
    found, problems = decoded(data, name, messages)
    for i, message in enumerate(messages):
        try:
            expected = values(kind.FromString(message))
        except REFUSED:
            assert i in problems, (i, message)
            assert set(found[i].values()) <= {None}
            continue
        assert i not in problems, (problems[i], message)
        left, right = sorted_maps(with_json(found[i])), sorted_maps(expected)
        assert normal(left) == normal(right), (i, message)
    return len(messages) - len(problems), len(problems)


def normal(value: Any) -> Any:
    """`repr`, in which NaN is NaN, with 1 and 1.0 of JSON the same."""
    if isinstance(value, dict):
        return {name: normal(item) for name, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, float) and value == value and abs(value) < 2**53 and value == int(value):
        return (int(value), str(value)[0] == "-" and value == 0) if value == 0 else int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return (0, False)
    return repr(value) if isinstance(value, float) else value


@pytest.mark.parametrize("syntax", SETS)
@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (5, 0.9), (60, 0.3), (300, 0.05), (40, 1.0)])
def test_random_messages_equal_the_package(syntax: str, count: int, share: float):
    rng = random.Random(count)
    kind = class_of(SETS[syntax], "t.M")
    messages = [fill(kind(), rng, share=share).SerializePartialToString() for _ in range(count)]
    assert check(SETS[syntax], "t.M", messages) == (count, 0)


@pytest.mark.parametrize("syntax", SETS)
def test_alike_messages_step_together(syntax: str):
    rng = random.Random(3)
    kind = class_of(SETS[syntax], "t.M")
    message = fill(kind(), rng, share=0.8)
    messages = []
    for i in range(200):
        message.int32 = i * 1000
        message.string = "x" * i
        message.rep_double.append(i)
        messages.append(message.SerializePartialToString())
    assert check(SETS[syntax], "t.M", messages) == (200, 0)


@pytest.mark.parametrize("syntax", SETS)
@pytest.mark.parametrize("seed", range(6))
def test_mutated_messages(syntax: str, seed: int):
    rng = random.Random(seed)
    kind = class_of(SETS[syntax], "t.M")
    plain = [fill(kind(), rng, share=rng.choice([0.03, 0.1, 0.4])).SerializePartialToString() for _ in range(150)]
    messages = []
    for message in plain:
        mutated = bytearray(message)
        how = rng.randrange(5)
        for _ in range(rng.randint(1, 3)):
            if how == 1 and mutated:
                mutated[rng.randrange(len(mutated))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            elif how == 2:
                del mutated[rng.randrange(len(mutated) + 1) :]
            elif how == 3:  # a second message behind the first is merged into it
                mutated += rng.choice(plain)
            elif how == 4:
                mutated += rng.randbytes(rng.randint(1, 8))
        messages.append(bytes(mutated))
    _compare_mutated(SETS[syntax], messages, plain)


def _compare_mutated(data: bytes, messages: list[bytes], plain: list[bytes]) -> None:
    kind = class_of(data, "t.M")
    decoder = ProtobufDecoder("t.M", data)
    fields: Any = {name: None for name in decoder.schema if name != "node"}
    found, problems = decoded(data, "t.M", messages, fields)
    before, _ = decoded(data, "t.M", plain, fields)
    node = varint(kind.DESCRIPTOR.fields_by_name["node"].number << 3 | 2)
    refused = 0
    for i, message in enumerate(messages):
        if message == plain[i]:
            assert same(found[i], before[i])
        try:
            expected = values(kind.FromString(message))
        except REFUSED:
            # The package looks into `node`, which was not asked for, and here only into what is.
            assert i in problems or node in message, message
            refused += 1
            continue
        assert i not in problems, (problems[i], message)
        del expected["node"]
        assert normal(sorted_maps(with_json(found[i]))) == normal(sorted_maps(expected)), message
    assert 0 < refused < len(messages)


def field_number(name: str) -> int:
    return class_of(SETS["proto3"], "t.M").DESCRIPTOR.fields_by_name[name].number


def tag(name: str, wire: int) -> bytes:
    return varint(field_number(name) << 3 | wire)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


ODD = {
    "a field twice": tag("int32", 0) + b"\x01" + tag("int32", 0) + b"\x02",
    "a message in two parts": tag("sub", 2) + b"\x02\x08\x05" + tag("sub", 2) + b"\x03\x12\x01a",
    "a time in two parts": tag("timestamp", 2) + b"\x02\x08\x05" + tag("timestamp", 2) + b"\x02\x10\x07",
    "two members of a oneof": tag("o_int", 0) + b"\x05" + tag("o_text", 2) + b"\x01a",
    "another wire type": tag("int32", 5) + b"\1\2\3\4" + tag("string", 2) + b"\x01a",
    "a group nobody knows": varint(5000 << 3 | 3) + b"\x08\x01" + varint(5000 << 3 | 4) + tag("bool", 0) + b"\x01",
    "a group without end": varint(5000 << 3 | 3) + b"\x08\x01",
    "an end without group": varint(5000 << 3 | 4),
    "field number 0": b"\x00\x01",
    "field number 0 with text": b"\x02\x01a",
    "a wire type that is none": tag("int32", 6),
    "a tag in too many bytes": b"\x88\x00\x01",
    "a tag that is too large": b"\xff\xff\xff\xff\xff\x01\x01",
    "a varint in too many bytes": tag("uint64", 0) + b"\x81\x80\x80\x00",
    "a varint of 11 bytes": tag("uint64", 0) + b"\x80" * 10 + b"\x01",
    "a varint that overflows": tag("uint64", 0) + b"\xff" * 9 + b"\x7f",
    "an int32 beyond 32 bits": tag("int32", 0) + varint(2**40 + 7),
    "a bool of 2": tag("bool", 0) + b"\x02",
    "a bool of 256": tag("bool", 0) + b"\x80\x02",
    "numbers one by one": tag("rep_int32", 0) + b"\x01" + tag("rep_int32", 0) + b"\x80\x01",
    "numbers both ways": tag("rep_int32", 0) + b"\x01" + tag("rep_int32", 2) + b"\x02\x03\x04",
    "numbers packed twice": tag("rep_double", 2) + b"\x08" + bytes(8) + tag("rep_double", 2) + b"\x08" + b"\1" * 8,
    "packed doubles cut": tag("rep_double", 2) + b"\x07" + bytes(7),
    "packed varints cut": tag("rep_int32", 2) + b"\x02\x01\x80",
    "packed varint of 11 bytes": tag("rep_int32", 2) + b"\x0b" + b"\x80" * 10 + b"\x01",
    "an empty packed list": tag("rep_int32", 2) + b"\x00",
    "not UTF-8": tag("string", 2) + b"\x01\xff",
    "half a surrogate": tag("string", 2) + b"\x03\xed\xa0\x80",
    "not UTF-8 in a list": tag("rep_string", 2) + b"\x01a" + tag("rep_string", 2) + b"\x01\xff",
    "a length beyond the end": tag("string", 2) + b"\x05a",
    "a length beyond 64 bits": tag("string", 2) + b"\xff" * 9 + b"\x01",
    "an inner length beyond the outer": tag("sub", 2) + b"\x03\x12\x05a" + bytes(10),
    "a key twice": tag("map_string", 2) + b"\5\x0a\1k\x10\1" + tag("map_string", 2) + b"\5\x0a\1k\x10\2",
    "an entry without a value": tag("map_string", 2) + b"\x03\x0a\x01k",
    "an entry without a key": tag("map_string", 2) + b"\x02\x10\x07",
    "an entry without a message": tag("map_int32", 2) + b"\x02\x08\x07",
    "an entry with more": tag("map_string", 2) + b"\x07\x0a\x01k\x10\x07\x18\x01",
    "an empty entry": tag("map_int32", 2) + b"\x00",
    "an unknown value of an enum": tag("e", 0) + b"\x4d",
    "unknown values of enums": tag("rep_e", 2) + b"\x03\x01\x4d\x00",
    "an unknown value in a map": tag("map_sint64", 2) + b"\x04\x08\x02\x10\x4d",
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("count", [1, 40])
def test_messages_that_no_writer_writes(name: str, count: int):
    ordinary = class_of(SETS["proto3"], "t.M")(int32=7, string="ä", rep_int32=[1, 2**31 - 1]).SerializeToString()
    messages = [ordinary, ODD[name], *[ordinary, ODD[name]] * (count - 1)]
    decoded_count, _ = check(SETS["proto3"], "t.M", messages)
    assert decoded_count >= count
    assert decoded(SETS["proto3"], "t.M", messages)[0][-2]["rep_int32"] == [1, 2**31 - 1]
    # Every field for itself gives the same, or finds less wrong.
    whole, broken = decoded(SETS["proto3"], "t.M", messages)
    if 1 not in broken:
        for field in whole[1]:
            alone, problems = decoded(SETS["proto3"], "t.M", messages, {field: None})
            assert problems == {}
            assert same(alone[1], {field: whole[1][field]})


def test_proto2_keeps_unknown_enum_values_out():
    kind = class_of(SETS["proto2"], "t.M")
    number = kind.DESCRIPTOR.fields_by_name["e"].number
    many = kind.DESCRIPTOR.fields_by_name["rep_e"].number
    message = varint(number << 3) + b"\x4d" + varint(many << 3) + b"\x01" + varint(many << 3) + b"\x4d"
    assert check(SETS["proto2"], "t.M", [message, b""]) == (2, 0)
    found, _ = decoded(SETS["proto2"], "t.M", [message])
    assert (found[0]["e"], found[0]["rep_e"]) == (None, ["ONE"])


def test_what_is_null_and_what_is_a_default():
    proto3, _ = decoded(SETS["proto3"], "t.M", [b""])
    assert (proto3[0]["int32"], proto3[0]["string"], proto3[0]["e"], proto3[0]["bool"]) == (0, "", "ZERO", False)
    for name in ("opt_int32", "opt_string", "opt_e", "sub", "timestamp", "doublevalue", "o_int", "nothing", "struct"):
        assert proto3[0][name] is None
    assert proto3[0]["rep_int32"] == proto3[0]["map_string"] == []
    proto2, _ = decoded(SETS["proto2"], "t.M", [b""])
    assert all(value is None or value == [] for value in proto2[0].values())


def test_schema():
    schema = ProtobufDecoder("t.M", SETS["proto3"]).schema
    sub2 = pl.Struct({"x": pl.Float64, "b": pl.Binary, "e": pl.String})
    assert schema["sub"] == pl.Struct(
        {"a": pl.Int32, "s": pl.String, "l": pl.List(pl.Int64), "sub": sub2, "subs": pl.List(sub2)}
    )
    assert schema["node"] == pl.Struct({"value": pl.Int32, "next": pl.Binary, "children": pl.List(pl.Binary)})
    assert schema["timestamp"] == pl.Datetime("ns")
    assert schema["durations"] == pl.List(pl.Duration("ns"))
    assert schema["any"] == pl.Struct({"type_url": pl.String, "value": pl.Binary})
    assert schema["map_int32"] == pl.List(pl.Struct({"key": pl.Int32, "value": sub2}))
    assert schema["doublevalue"] == pl.Float64()
    assert schema["structs"] == pl.List(pl.String)
    assert schema["nothings"] == pl.List(pl.Boolean)
    assert header_stamp(schema) == ("timestamp",)


def test_projection():
    rng = random.Random(1)
    kind = class_of(SETS["proto3"], "t.M")
    messages = [fill(kind(), rng, share=0.5).SerializeToString() for _ in range(80)]
    whole, _ = decoded(SETS["proto3"], "t.M", messages)
    fields: Any = {"subs": {"sub": {"e": None}}, "o_int": None, "map_int32": {"value": {"x": None}}, "rep_float": None}
    part, problems = decoded(SETS["proto3"], "t.M", messages, fields)
    assert problems == {}
    for left, right in zip(part, whole):
        assert left == {
            "rep_float": right["rep_float"],
            "subs": [{"sub": s["sub"] and {"e": s["sub"]["e"]}} for s in right["subs"]],
            "o_int": right["o_int"],
            "map_int32": [{"value": entry["value"] and {"x": entry["value"]["x"]}} for entry in right["map_int32"]],
        }
    assert decoded(SETS["proto3"], "t.M", messages, {})[0] in ([], [{}] * 80)
    with pytest.raises(ColumnNotFoundError, match="int33"):
        decoded(SETS["proto3"], "t.M", messages, {"int33": None})


def test_what_is_not_asked_for_is_only_stepped_over():
    broken = tag("sub", 2) + b"\x03\xff\xff\xff" + tag("string", 2) + b"\x01\xff" + tag("uint32", 0) + b"\x05"
    assert decoded(SETS["proto3"], "t.M", [broken], {"uint32": None}) == ([{"uint32": 5}], {})
    assert list(decoded(SETS["proto3"], "t.M", [broken], {"sub": None})[1]) == [0]


def test_empty_batch_pickle_and_overlapping_payloads():
    decoder = pickle.loads(pickle.dumps(ProtobufDecoder("t.M", SETS["proto3"])))
    assert decoder == ProtobufDecoder("t.M", SETS["proto3"])
    assert decoder.decode(Payloads.of([]), None, decoder.schema, []).schema == pl.Schema(decoder.schema)
    message = tag("uint32", 0) + b"\x05" + tag("int32", 0) + b"\x06"
    half = len(tag("uint32", 0)) + 1
    payloads = Payloads(message, [half, 0, 0], [len(message) - half, half, len(message)])  # type: ignore[arg-type]
    frame = decoder.decode(payloads, {"uint32": None, "int32": None}, decoder.schema, [])
    assert sorted(frame.select("uint32", "int32").rows()) == [(0, 6), (5, 0), (5, 6)]


def test_messages_that_stand_for_much_more_than_they_hold():
    file = file_of(known=[])
    wide = file.message_type.add(name="Wide")
    for i in range(2000):
        add_field(wide, i + 1, f"int64 f{i}")
    m = file.message_type.add(name="M")
    add_field(m, 1, "repeated .t.Wide wide")
    add_field(m, 2, "int32 a")
    add_field(m, 3, "repeated #t#E e")
    file.enum_type.add(name="E").value.add(name="E" * 900, number=0)
    data = set_of(file, known=[])
    small, bomb, names = b"\x0a\x00\x10\x07", b"\x0a\x00" * 100_000, b"\x1a" + varint(10**6) + bytes(10**6)
    found, problems = decoded(data, "t.M", [small, bomb, small, names])
    assert sorted(problems) == [1, 3]
    assert "so many items" in problems[1]
    assert found[0]["a"] == found[2]["a"] == 7
    assert len(found[2]["wide"]) == 1


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("t.M", b"\xff\xff", "no FileDescriptorSet"),
        ("t.M", b"", "does not define t.M"),
        ("t.Nope", SETS["proto3"], "does not define t.Nope"),
        ("t.M", bytes((1 << 22) + 1), "more than 4194304"),
        ("t.M.O\ud800", SETS["proto3"], "."),
    ],
)
def test_unreadable_schemas(name: str, data: bytes, problem: str):
    with pytest.raises(SchemaDataError, match=problem):
        compiled(name, data)


def loop_of(*names: str) -> bytes:
    found = descriptor_pb2.FileDescriptorSet()
    for i, name in enumerate(names):
        found.file.add(name=name, syntax="proto3", dependency=[names[(i + 1) % len(names)]])
    return found.SerializeToString()


def bad_sets() -> dict[str, tuple[bytes, str]]:
    unknown = file_of(known=[])
    unknown.dependency.append("nowhere.proto")
    undefined = file_of(known=[])
    add_field(undefined.message_type.add(name="M"), 1, ".t.Nope x")
    group = file_of("proto2", known=[])
    m = group.message_type.add(name="M")
    m.nested_type.add(name="G")
    one = add_field(m, 1, ".t.M.G g")
    one.type = TYPES["group"]
    deep = file_of(known=[])
    for i in range(60):
        add_field(deep.message_type.add(name="M" if i == 0 else f"M{i}"), 1, f".t.M{i + 1} x")
    deep.message_type.add(name="M60")
    wide = file_of(known=[])
    for i in range(20):
        inner = wide.message_type.add(name="M" if i == 0 else f"M{i}")
        add_field(inner, 1, f".t.M{i + 1} x")
        add_field(inner, 2, f".t.M{i + 1} y")
    wide.message_type.add(name="M20")
    return {
        "import": (set_of(unknown, known=[]), "imports nowhere.proto"),
        "undefined": (set_of(undefined, known=[]), "cannot be read"),
        "loop": (loop_of("a", "b", "c"), "imports itself"),
        "self": (loop_of("a"), "imports itself"),
        "group": (set_of(group, known=[]), "g is a group"),
        "deep": (set_of(deep, known=[]), "more than 50 deep"),
        "wide": (set_of(wide, known=[]), "more than 20000 fields"),
    }


@pytest.mark.parametrize("name", bad_sets())
def test_schemas_that_are_refused(name: str):
    data, problem = bad_sets()[name]
    with pytest.raises(SchemaDataError, match=problem):
        compiled("t.M", data)


def test_known_files_may_be_left_out():
    file = file_of()
    add_field(file.message_type.add(name="M"), 1, ".google.protobuf.Timestamp timestamp")
    assert ProtobufDecoder(".t.M", set_of(file, known=[])).schema == {"timestamp": pl.Datetime("ns")}


@pytest.mark.parametrize("seed", range(4))
def test_mutated_schemas(seed: int):
    rng = random.Random(seed)
    kind = class_of(SETS["proto3"], "t.M")
    payloads = Payloads.of([fill(kind(), rng, share=0.2).SerializeToString() for _ in range(5)])
    read = 0
    for _ in range(120):
        data = bytearray(SETS["proto3"])
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        decoder = ProtobufDecoder("t.M", bytes(data))
        try:
            schema = decoder.schema
        except SchemaDataError:
            continue
        frame = decoder.decode(payloads, None, schema, [])
        assert frame.height == 5
        assert dict(frame.schema) == schema
        read += 1
    assert read


def recordings(real_data: Path) -> dict[tuple[str, str, bytes], list[bytes]]:
    found: dict[Any, list[bytes]] = defaultdict(list)
    for path in sorted([*real_data.glob("mcap/*.mcap"), *real_data.glob("generated/*.mcap")]):
        with path.open("rb") as file:
            for schema, channel, message in NonSeekingReader(file).iter_messages(log_time_order=False):
                if channel.message_encoding == "protobuf" and schema and schema.encoding == "protobuf":
                    found[path.name, schema.name, bytes(schema.data)].append(bytes(message.data))
    return found


def test_real_recordings_equal_mcap_protobuf_support(real_data: Path):
    count = 0
    for (path, name, data), messages in recordings(real_data).items():
        schema = McapSchema(id=1, name=name, encoding="protobuf", data=data)
        oracle = DecoderFactory().decoder_for("protobuf", schema)
        assert oracle is not None
        found, problems = decoded(data, name, messages)
        assert problems == {}
        for i, message in enumerate(messages):
            assert same(found[i], values(oracle(message))), (path, name, i)
        count += len(messages)
    assert count > 2300


def test_osi_traces(real_data: Path):
    data = (real_data / "protobuf" / "osi_descriptor_set.pb").read_bytes()
    trace = (real_data / "protobuf" / "osi_small_test.osi").read_bytes()
    messages, at = [], 0
    while at < len(trace):
        (length,) = struct.unpack_from("<I", trace, at)
        messages.append(trace[at + 4 : at + 4 + length])
        at += 4 + length
    assert len(messages) == 250
    for name in ("osi3.SensorView", "osi3.GroundTruth"):
        assert sum(check(data, name, messages)) == 250
    assert check(data, "osi3.SensorView", messages)[1] == 0
    truth = decoded(data, "osi3.SensorView", messages)[0][0]["global_ground_truth"]
    assert truth["timestamp"]["seconds"] == 1
    assert truth["moving_object"]
