"""FlatBuffers messages: what was written is read, and broken buffers are read no further than they reach."""

from __future__ import annotations

import pickle
import random
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import polars as pl
import pytest
from flatbuffers_oracle import Shape, binary_schema, message, table, vector
from mcap.reader import NonSeekingReader
from messages_oracle import _plain, same

from robodf.errors import ColumnNotFoundError
from robodf.io.messages import Payloads, header_stamp
from robodf.io.messages.flatbuffers import FlatbuffersDecoder, SchemaDataError, compiled

SCALARS = ["bool", "byte", "ubyte", "short", "ushort", "int", "uint", "long", "ulong", "float", "double"]
SHAPE: Shape = {
    "t.E": {0: "RED", 1: "GREEN", 5: "BLUE"},
    "t.S": [("x", "float"), ("l", "long"), ("a", "{ushort:3}"), ("e", "t.E"), ("p", "{t.P:2}"), ("y", "{ubyte:4}")],
    "t.P": [("x", "double"), ("ok", "bool")],
    "t.A": {"n": "int", "s": "string", "p": "t.P", "inner": "[t.B]"},
    "t.B": {"v": "[double]", "t": "string"},
    "t.Nothing": {},
    "t.U": ("union", {1: ("A", "t.A"), 2: ("S", "t.S"), 3: ("T", "string"), 4: ("Nothing", "t.Nothing")}),
    "foxglove.Time": [("sec", "uint"), ("nsec", "uint")],
    "foxglove.Duration": [("sec", "int"), ("nsec", "uint")],
    "t.M": {
        **{f"d_{kind}": (kind, 1) for kind in SCALARS},
        **{f"o_{kind}": (kind, None) for kind in SCALARS},
        **{f"v_{kind}": f"[{kind}]" for kind in SCALARS},
        "e": ("t.E", 5), "es": "[t.E]", "text": "string", "texts": "[string]",
        "s": "t.S", "ss": "[t.S]", "a": "t.A", "many": "[t.A]", "u_type": "utype t.U", "u": "t.U",
        "timestamp": "foxglove.Time", "times": "[foxglove.Time]", "lasts": "foxglove.Duration",
        "nothing": "t.Nothing", "self": "t.M", "deprecated": "int", "last": "int",
    },
}  # fmt: skip
DATA = binary_schema(SHAPE)
LIMITS = {"byte": (-128, 127), "ubyte": (0, 255), "short": (-(2**15), 2**15 - 1), "ushort": (0, 2**16 - 1)} | {
    "int": (-(2**31), 2**31 - 1), "uint": (0, 2**32 - 1), "long": (-(2**63), 2**63 - 1), "ulong": (0, 2**64 - 1)
}  # fmt: skip


def random_value(kind: str, rng: random.Random) -> tuple[Any, Any]:
    """A value as the writer takes it, and as it should be read."""
    if kind in LIMITS:
        value = rng.choice([0, *LIMITS[kind], rng.randint(*LIMITS[kind])])
        return value, value
    if kind in ("float", "double", "bool", "string"):
        value = {"float": rng.randint(-9, 9) / 4, "double": rng.gauss(0, 1), "bool": rng.random() < 0.5}.get(kind)
        value = rng.choice(["", "ä€😀", "x" * rng.randint(1, 50)]) if kind == "string" else value
        return value, value
    if kind == "[ubyte]":
        return (rng.randbytes(rng.randint(0, 30)),) * 2
    if kind[0] in "[{":
        inner, _, many = kind[1:-1].partition(":")
        items = [random_value(inner, rng) for _ in range(int(many) if many else rng.choice([0, 1, 4]))]
        return [one for one, _ in items], [one for _, one in items]
    shape = SHAPE[kind]
    if kind == "foxglove.Time":
        sec, nsec = rng.choice([0, 2**32 - 1, 1_700_000_000]), rng.choice([0, 10**9 - 1, 10**9])
        return {"sec": sec, "nsec": nsec}, sec * 10**9 + nsec if nsec < 10**9 else None
    if kind == "foxglove.Duration":
        sec, nsec = rng.choice([0, -5, 2**31 - 1]), rng.choice([0, 10**9 - 1, 2**32 - 1])
        return {"sec": sec, "nsec": nsec}, sec * 10**9 + nsec if nsec < 10**9 else None
    if kind == "t.E":
        value = rng.choice([0, 1, 5, 9])
        return value, shape.get(value, str(value))
    if isinstance(shape, list):
        pairs = {name: random_value(inner, rng) for name, inner in shape}
        return {name: one for name, (one, _) in pairs.items()}, {name: one for name, (_, one) in pairs.items()}
    return random_table(kind, rng)


def random_table(name: str, rng: random.Random, share: float = 0.6) -> tuple[dict[str, Any], Any]:
    given: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    for field, what in SHAPE[name].items():
        kind, default = what if isinstance(what, tuple) else (what, None)
        there = rng.random() < share
        if field in ("self", "deprecated"):
            if there:
                given[field] = {} if field == "self" else 5
            continue
        if kind == "t.U":
            expected[field] = None
            expected["u_type"] = "0"
            if there:
                choice = rng.randint(1, 4)
                label, inner = SHAPE["t.U"][1][choice]
                one, value = random_value(inner, rng)
                given[field], expected["u_type"] = (choice, one), label
                expected[field] = {member: None for member, _ in SHAPE["t.U"][1].values()} | {label: value}
            continue
        if kind.startswith("utype"):
            expected[field] = None
            continue
        if there:
            given[field], expected[field] = random_value(kind, rng)
        elif isinstance(what, tuple):
            expected[field] = "BLUE" if kind == "t.E" else default and (True if kind == "bool" else default)
        else:
            expected[field] = 0 if kind in LIMITS else None
    return given, expected or True


def decoded(messages: list[bytes], fields: Any = None, data: bytes = DATA, name: str = "t.M") -> Any:
    return read(Payloads.of(messages), fields, data, name)


def read(payloads: Payloads, fields: Any = None, data: bytes = DATA, name: str = "t.M") -> Any:
    decoder = FlatbuffersDecoder(name, data)
    problems: list[Any] = []
    frame = decoder.decode(payloads, fields, decoder.schema, problems)
    assert frame.height == len(payloads)
    if fields is None:
        assert dict(frame.schema) == decoder.schema
    assert problems == sorted(problems)
    # Not strict: Polars 1.44 fails to cast an Array in a struct that is null.
    plain = frame.cast({name: _plain(dtype) for name, dtype in frame.schema.items()}, strict=False)
    return plain.to_dicts(), dict(problems)


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (60, 0.6), (300, 0.1), (40, 1.0), (2, 0.0)])
def test_what_is_written_is_read(count: int, share: float):
    rng = random.Random(count)
    pairs = [random_table("t.M", rng, share) for _ in range(count)]
    found, problems = decoded([message(SHAPE, "t.M", given) for given, _ in pairs])
    assert problems == {}
    for left, (_, right) in zip(found, pairs):
        assert left == right


def test_schema():
    schema = FlatbuffersDecoder("t.M", DATA).schema
    point = pl.Struct({"x": pl.Float64, "ok": pl.Boolean})
    assert schema["s"] == pl.Struct(
        {"x": pl.Float32, "l": pl.Int64, "a": pl.Array(pl.UInt16, 3), "e": pl.String, "p": pl.Array(point, 2),
         "y": pl.Array(pl.UInt8, 4)}
    )  # fmt: skip
    assert schema["v_ubyte"] == pl.Binary()
    assert schema["v_byte"] == pl.List(pl.Int8)
    assert schema["timestamp"] == pl.Datetime("ns")
    assert schema["lasts"] == pl.Duration("ns")
    assert schema["nothing"] == pl.Boolean()
    assert "self" not in schema
    assert "deprecated" not in schema
    assert header_stamp(schema) == ("timestamp",)


def test_projection():
    rng = random.Random(5)
    messages = [message(SHAPE, "t.M", random_table("t.M", rng)[0]) for _ in range(50)]
    whole, _ = decoded(messages)
    fields: Any = {"many": {"inner": {"t": None}}, "s": {"p": {"ok": None}}, "u": {"T": None}, "last": None}
    part, problems = decoded(messages, fields)
    assert problems == {}
    for left, right in zip(part, whole):
        assert left["last"] == right["last"]
        assert left["u"] == (right["u"] and {"T": right["u"]["T"]})
        assert left["s"] == (right["s"] and {"p": [{"ok": p["ok"]} for p in right["s"]["p"]]})
        for one, other in zip(left["many"] or [], right["many"] or [], strict=True):
            assert one == {"inner": other["inner"] and [{"t": inner["t"]} for inner in other["inner"]]}
    for field in whole[0]:
        assert decoded(messages, {field: None})[0] == [{field: row[field]} for row in whole]
    decoder = FlatbuffersDecoder("t.M", DATA)
    assert decoder.decode(Payloads.of([]), None, decoder.schema, []).schema == pl.Schema(decoder.schema)
    with pytest.raises(ColumnNotFoundError, match="nope"):
        decoded(messages, {"nope": None})
    assert pickle.loads(pickle.dumps(decoder)) == decoder


@pytest.mark.parametrize("seed", range(5))
def test_mutated_messages(seed: int):
    rng = random.Random(seed)
    plain = [message(SHAPE, "t.M", random_table("t.M", rng, rng.choice([0.1, 0.4, 1]))[0]) for _ in range(100)]
    messages = []
    for one in plain:
        mutated = bytearray(one)
        for _ in range(rng.choice([0, 1, 1, 3])):
            at = rng.randrange(len(mutated))
            mutated[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        if rng.random() < 0.2:
            del mutated[rng.randrange(len(mutated)) :]
        messages.append(bytes(mutated))
    found, problems = decoded(messages)
    assert 0 < len(problems) < 100
    before, _ = decoded(plain)
    for i, one in list(enumerate(messages))[::3]:
        alone, why = decoded([one])
        assert same(alone, [found[i]]), (problems.get(i), why)
        assert why == ({0: problems[i]} if i in problems else {})
        if i in problems:
            assert set(found[i].values()) == {None}
        elif one == plain[i]:
            assert same(found[i], before[i])


@pytest.mark.parametrize("seed", range(4))
def test_nothing_outside_of_a_payload_is_read(seed: int):
    rng = random.Random(seed)
    messages = []
    for _ in range(60):
        one = bytearray(message(SHAPE, "t.M", random_table("t.M", rng, 0.3)[0]))
        one[rng.randrange(len(one))] = rng.choice([0, 0x10, 0xFF, rng.randrange(256)])
        messages.append(bytes(one))
    views = []
    for garbage in (b"\0" * 300, b"\x10\0\0\0" * 75, rng.randbytes(300)):
        buffer, offsets = bytearray(garbage), []
        for one in messages:
            offsets.append(len(buffer))
            buffer += one + garbage
        lengths = np.array([len(one) for one in messages])
        views.append(read(Payloads(bytes(buffer), np.array(offsets), lengths)))
    assert same(views[0], views[1])
    assert same(views[0], views[2])


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"", "too short"),
        (bytes(7), "too short"),
        (bytes(8), "root table lies outside"),
        (b"\xff\xff\xff\xff" + bytes(4), "root table lies outside"),
        (struct.pack("<II", 8, 0), "root table lies outside"),
        (struct.pack("<Ii", 4, -2**31), "vtable"),
        (struct.pack("<IiHH", 4, -4, 4, 100), "vtable"),
        (struct.pack("<IiHH", 4, -4, 2, 4), "vtable"),
        (struct.pack("<IiHH", 4, -4, 400, 4), "vtable"),
        (struct.pack("<IiHHHH", 4, -4, 8, 8, 3, 7), "lies outside of its table"),
    ],
)  # fmt: skip
def test_broken_messages(payload: bytes, problem: str):
    good = message(SHAPE, "t.M", {"text": "good"})
    found, problems = decoded([good, payload, good])
    assert list(problems) == [1]
    assert problem in problems[1]
    assert found[0]["text"] == found[2]["text"] == "good"


def test_not_utf8():
    bad = message(SHAPE, "t.M", {"text": "good", "texts": ["good"]}).replace(b"good", b"\xff\xff\xff\xff", 1)
    good = message(SHAPE, "t.M", {"text": "good"})
    found, problems = decoded([bad, good])
    assert list(problems) == [0]
    assert "is not UTF-8" in problems[0]
    assert found[1]["text"] == "good"


def test_messages_that_stand_for_much_more_than_they_hold():
    b = flatbuffers.Builder(0)
    text = b.CreateString("x" * 10_000)
    number = list(SHAPE["t.M"]).index("texts")
    b.Finish(table(b, {number: ("UOffsetTRelative", vector(b, [text] * 100_000))}))
    bomb = bytes(b.Output())
    few = flatbuffers.Builder(0)
    text = few.CreateString("shared")
    few.Finish(table(few, {number: ("UOffsetTRelative", vector(few, [text] * 50))}))
    found, problems = decoded([bomb, bytes(few.Output())])
    assert list(problems) == [0]
    assert "more than it holds" in problems[0]
    assert found[1]["texts"] == ["shared"] * 50


def test_lists_of_lists_that_name_one_list_again_and_again():
    shape: Shape = {"t.T5": {"x": "int"}}
    for i in range(5):
        shape[f"t.T{4 - i}"] = {"l": f"[t.T{5 - i}]"}
    b = flatbuffers.Builder(0)
    inner = table(b, {0: ("Int32", 7)})
    for _ in range(5):
        inner = table(b, {0: ("UOffsetTRelative", vector(b, [inner] * 100))})
    b.Finish(inner)
    _, problems = decoded([bytes(b.Output())], data=binary_schema(shape), name="t.T0")
    assert "more than it holds" in problems[0]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("t.M", b"", "no binary FlatBuffers schema"),
        ("t.M", b"\0\0\0\0BFBS", "."),
        ("t.M", b"\xff\xff\xff\xffBFBS", "outside"),
        ("t.Nope", DATA, "does not define t.Nope"),
        ("t.S", DATA, "is a struct"),
        ("t.M", bytes((1 << 22) + 1), "more than 4194304"),
        ("t.M", binary_schema({"t.M": {"a": "t.S"}, "t.S": [("x", "int")]}).replace(b"t.S", b"t.\xff"), "UTF-8"),
    ],
)
def test_unreadable_schemas(name: str, data: bytes, problem: str):
    with pytest.raises(SchemaDataError, match=problem):
        compiled(name, data)


def test_schemas_that_are_refused():
    deep: Shape = {f"t.M{i}": {"x": f"t.M{i + 1}"} for i in range(60)} | {"t.M60": {"x": "int"}}
    with pytest.raises(SchemaDataError, match="more than 50 deep"):
        compiled("t.M0", binary_schema(deep))
    wide: Shape = {f"t.M{i}": {"x": f"t.M{i + 1}", "y": f"t.M{i + 1}"} for i in range(20)} | {"t.M20": {"x": "int"}}
    with pytest.raises(SchemaDataError, match="more than 20000 fields"):
        compiled("t.M0", binary_schema(wide))


@pytest.mark.parametrize("seed", range(6))
def test_mutated_schemas(seed: int):
    rng = random.Random(seed)
    payloads = Payloads.of([message(SHAPE, "t.M", random_table("t.M", rng)[0]) for _ in range(5)])
    readable = 0
    for _ in range(120):
        data = bytearray(DATA)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(8, len(data))] = rng.choice([0, 1, 0xFF, rng.randrange(256)])
        decoder = FlatbuffersDecoder("t.M", bytes(data))
        try:
            schema = decoder.schema
        except SchemaDataError:
            continue
        frame = decoder.decode(payloads, None, schema, [])
        assert frame.height == 5
        assert dict(frame.schema) == schema
        readable += 1
    assert readable


def test_foxglove_recording(real_data: Path):
    found: dict[Any, list[bytes]] = defaultdict(list)
    with (real_data / "generated" / "foxglove_flatbuffer.mcap").open("rb") as file:
        for schema, _, one in NonSeekingReader(file).iter_messages(log_time_order=False):
            assert schema is not None
            found[schema.name, bytes(schema.data)].append(bytes(one.data))
    tables = {name: decoded(messages, None, data, name) for (name, data), messages in found.items()}
    moves, problems = tables["foxglove.FrameTransform"]
    assert problems == {}
    for i, row in enumerate(moves):
        assert row == {
            "timestamp": 1_700_000_000 * 10**9 + i * 10**8,
            "parent_frame_id": "world",
            "child_frame_id": "base",
            "translation": {"x": float(i), "y": 2.0, "z": 3.0},
            "rotation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0},
        }
    images, problems = tables["foxglove.CompressedImage"]
    assert problems == {}
    assert len(images) == 10
    assert {(row["frame_id"], row["format"], row["data"][:4]) for row in images} == {("cam", "jpeg", b"\0\1\2\3")}
