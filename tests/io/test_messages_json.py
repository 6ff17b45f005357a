"""JSON messages: all at once and one by one must agree, and nothing may slip from one row to another."""

from __future__ import annotations

import json
import math
import pickle
import random
from typing import Any

import polars as pl
import pytest

from robodf.errors import ColumnNotFoundError
from robodf.io.messages import Payloads, decoder_for
from robodf.io.messages import json as decoding
from robodf.io.messages.decoder import project

NUMBER: dict[str, pl.DataType] = {"a": pl.Float64()}
INTEGER: dict[str, pl.DataType] = {"a": pl.Int64()}
TEXT: dict[str, pl.DataType] = {"a": pl.String()}


def decoder_of(schema: Any) -> Any:
    return decoder_for("json", "jsonschema", "X", json.dumps(schema).encode())


def decoded(messages: list[bytes], schema: Any, fields: Any = None) -> tuple[list[Any], list[Any]]:
    problems: list[Any] = []
    decoder = decoder_for("json", "", "", b"")
    frame = decoder.decode(Payloads.of(messages), fields, schema, problems)
    assert frame.height == len(messages)
    assert dict(frame.schema) == project(schema, fields)
    return frame.to_dicts(), problems


@pytest.fixture
def only_bulk(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> Any:
        raise AssertionError("the messages were parsed one by one")

    monkeypatch.setattr(decoding, "_one_by_one", fail)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "format": "date-time"}, pl.String()),
        ({"type": "string", "contentEncoding": "base64"}, pl.String()),
        ({"type": "integer"}, pl.Int64()),
        ({"type": ["number", "null"]}, pl.Float64()),
        ({"type": ["integer", "number"]}, pl.Float64()),
        ({"type": "boolean"}, pl.Boolean()),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, pl.Int64()),
        ({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}, pl.String()),
        ({"enum": ["a", "b", None]}, pl.String()),
        ({"const": "a"}, pl.String()),
        (
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            pl.List(pl.List(pl.Float64)),
        ),
        ({"type": "object", "properties": {"sec": {"type": "integer"}}}, pl.Struct({"sec": pl.Int64})),
        ({"properties": {"sec": {"type": "integer"}}}, pl.Struct({"sec": pl.Int64})),
        ({"$ref": "#/$defs/p"}, pl.Struct({"x": pl.Float64})),
        ({}, None),
        (True, None),
        ({"type": "array"}, None),
        ({"type": "array", "items": [{"type": "integer"}]}, None),
        ({"type": "object", "additionalProperties": {"type": "number"}}, None),
        ({"type": "object", "properties": {}}, None),
        ({"type": ["string", "number"]}, None),
        ({"anyOf": [{"type": "string"}, {"type": "number"}]}, None),
        ({"allOf": [{"type": "string"}]}, None),
        ({"type": "what"}, None),
        ({"type": [["a"]]}, None),
        ({"type": {"a": 1}}, None),
        ({"$ref": "#/$defs/loop"}, None),
        ({"$ref": "#/nowhere"}, None),
        ({"$ref": "http://example.com/x.json"}, None),
        ({"$ref": 5}, None),
        ({"enum": [1, "a"]}, None),
        ({"enum": 3}, None),
    ],
)
def test_json_schema(schema: Any, expected: Any):
    definitions = {
        "p": {"type": "object", "properties": {"x": {"type": "number"}}},
        "loop": {"anyOf": [{"$ref": "#/$defs/loop"}, {"$ref": "#/$defs/loop"}]},
    }
    root = {"type": "object", "properties": {"v": schema}, "$defs": definitions}
    assert decoder_of(root).schema == (None if expected is None else {"v": expected})


@pytest.mark.parametrize("text", [b"", b" ", b"{", b"[]", b"5", b"\xff", b"[" * 100_000, b'{"type":"string"}'])
def test_unreadable_json_schema_is_none(text: bytes):
    assert decoder_for("json", "jsonschema", "X", text).schema is None


def test_a_protobuf_schema_of_json_messages_is_not_read():
    assert decoder_for("json", "protobuf", "X", b'{"properties":{"a":{"type":"number"}}}').schema is None


def test_infer():
    messages = [
        b'{"i": 1, "f": 1, "s": "a", "o": {"x": null}, "l": [], "n": null, "e": {}, "le": [{}]}',
        b'{"f": 2.5, "o": {"x": true, "y": [[1], [2.5]]}, "l": [{"p": 1}, {"q": "z"}], "late": 0}',
        b"broken", b"[1]", b"", b"\xff", b'{"i": "not a number"}', b'{"\\ud800": 1}',
    ]  # fmt: skip
    schema = decoder_for("json", "", "", b"").infer(Payloads.of(messages))
    assert schema == {
        "i": pl.Int64(),
        "f": pl.Float64(),
        "s": pl.String(),
        "o": pl.Struct({"x": pl.Boolean, "y": pl.List(pl.List(pl.Float64))}),
        "l": pl.List(pl.Struct({"p": pl.Int64, "q": pl.String})),
        "n": pl.String(),
        "late": pl.Int64(),
    }
    found, problems = decoded(messages, schema)
    assert [row for row, _ in problems] == [2, 3, 4, 5, 6]
    assert found[1]["l"] == [{"p": 1, "q": None}, {"p": None, "q": "z"}]
    assert found[0]["f"] == 1.0


def test_infer_of_hostile_messages():
    infer = decoder_for("json", "", "", b"").infer
    deep = b'{"a":' * 500 + b"1" + b"}" * 500
    many = json.dumps({f"k{i}": i for i in range(50_000)}).encode()
    schema = infer(Payloads.of([deep, b'{"b": 1}']))
    assert schema["b"] == pl.Int64()
    found, _ = decoded([deep, b'{"b": 1}'], schema)
    assert found[1]["b"] == 1
    assert len(infer(Payloads.of([many]))) == 10_000
    assert infer(Payloads.of([])) == {}
    assert infer(Payloads.of([b"{}"])) == {}


@pytest.mark.usefixtures("only_bulk")
def test_the_normal_path_parses_all_at_once():
    messages = [
        json.dumps({"a": i + (0.5 if i % 2 else 0), "s": 'ä\n"' * i, "o": {"l": [i, None]}, "x": [{}]}).encode()
        for i in range(500)
    ]
    schema = {"a": pl.Float64(), "s": pl.String(), "o": pl.Struct({"l": pl.List(pl.Int64), "m": pl.Boolean})}
    found, problems = decoded(messages, schema)
    assert problems == []
    for row, message in zip(found, map(json.loads, messages)):
        assert row == {"a": message["a"], "s": message["s"], "o": {"l": message["o"]["l"], "m": None}}
    part, _ = decoded(messages, schema, {"o": {"l": None}})
    assert part == [{"o": {"l": row["o"]["l"]}} for row in found]


@pytest.mark.usefixtures("only_bulk")
def test_pretty_printed_messages_and_space_around_them():
    messages = [b'\n {\n "a":\r\n\t1\n}\n', b'{"a": 2}', b"  {}\t"]
    assert decoded(messages, NUMBER) == ([{"a": 1.0}, {"a": 2.0}, {"a": None}], [])


def test_much_space_around_a_message():
    assert decoded([b" " * 1000 + b'{"a": 1}' + b"\n" * 1000, b'{"a":2}'], NUMBER)[0] == [
        {"a": 1.0},
        {"a": 2.0},
    ]


@pytest.mark.parametrize(
    ("message", "schema", "value"),
    [
        (b'{"a": "1"}', NUMBER, None),
        (b'{"a": true}', NUMBER, None),
        (b'{"a": [1]}', NUMBER, None),
        (b'{"a": 1}', TEXT, None),
        (b'{"a": 1.5}', INTEGER, None),
        (b'{"a": 9223372036854775808}', INTEGER, None),
        (b'{"a": 1' + b"0" * 400 + b"}", NUMBER, math.inf),
        (b'{"a": -1' + b"0" * 5000 + b"}", NUMBER, -math.inf),
        (b'{"a": 1' + b"0" * 5000 + b"}", INTEGER, None),
        (b'{"a": "\\ud800"}', TEXT, None),
        (b'{"a": "\xff"}', TEXT, None),
        (b'{"a": "x\ny"}', TEXT, None),
        (b'{"a": 1', NUMBER, None),
        (b'{"a": 1}}', NUMBER, None),
        (b'{"a": 1}{"a": 2}', NUMBER, None),
        (b"", NUMBER, None),
        (b"null", NUMBER, None),
        (b"[]", NUMBER, None),
        (b'"{}"', NUMBER, None),
        (b"{'a': 1}", NUMBER, None),
        (b'{"a": 01}', NUMBER, None),
        (b'{"a": Infinity}', INTEGER, None),
        (b'\xef\xbb\xbf{"a": 1}', NUMBER, None),
        ('{"a": 1}'.encode("utf-16"), NUMBER, None),
        (b'{"a":' * 100_000, NUMBER, None),
        (b'{"a": Infinity}', NUMBER, math.inf),
        (b'{"a": -Infinity}', NUMBER, -math.inf),
        (b'{"a": 1e400}', NUMBER, math.inf),
        (b'{"a": 3.0}', INTEGER, 3),
        (b'{"a": -9223372036854775808}', INTEGER, -(2**63)),
        (b'{"a": "x", "a": "y"}', TEXT, "y"),
        (b'{"a": "\\u0000"}', TEXT, "\0"),
    ],
)
def test_odd_values(message: bytes, schema: Any, value: Any):
    good = {"a": "t"} if schema is TEXT else {"a": 7}
    text = json.dumps(good).encode()
    found, problems = decoded([text, message, text], schema)
    assert found == [good, {"a": value}, good]
    assert [row for row, _ in problems] == ([1] if value is None else [])
    assert all(len(why) < 300 for _, why in problems)


def test_nan():
    for messages in ([b'{"a": NaN}'], [b'{"a": NaN}', b"broken"]):
        found, problems = decoded(messages, NUMBER)
        assert math.isnan(found[0]["a"])
        assert len(problems) == len(messages) - 1


@pytest.mark.parametrize(
    "messages",
    [
        [b'{"a":1}{"a":2}', b'{"a":3', b"}"],
        [b'{"a":1}\n{"a":2}', b""],
        [b'{"a":{"b":1}', b'{"a":2}}'],
        [b'{"a":1},{"a":2}', b'{"a":3}'],
        [b'{"a":"x}', b'{"}'],
        [b'{"a":1}\n{"a":2}', b"", b'{"a":3}'],
        [b'{"a":[{}', b"{}]}", b'{"a":1}{"a":1}'],
    ],
)
def test_no_value_slips_into_another_row(messages: list[bytes]):
    found, problems = decoded(messages, NUMBER)
    broken = {row for row, _ in problems}
    for i, message in enumerate(messages):
        try:
            expected = json.loads(message)["a"]
        except ValueError:
            assert i in broken
            expected = None
        assert found[i] == {"a": expected}


@pytest.mark.parametrize("seed", range(30))
def test_mutated_messages(seed: int):
    rng = random.Random(seed)
    schema = {
        "a": pl.Float64(),
        "s": pl.String(),
        "o": pl.Struct({"l": pl.List(pl.Int64)}),
        "b": pl.Boolean(),
    }
    messages = []
    for i in range(20):
        text = json.dumps({"a": i / 4, "s": 'ä"' * (i % 3), "o": {"l": [i, i]}, "b": bool(i % 2)}, ensure_ascii=False)
        data = bytearray(text.encode())
        for _ in range(rng.choice([0, 0, 1, 2])):
            data[rng.randrange(len(data))] = rng.choice(b'{}[]",:1a \n\\\xff\x00')
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        messages.append(bytes(data))
    found, problems = decoded(messages, schema)
    broken = {row for row, _ in problems}
    for i, message in enumerate(messages):
        alone, alone_problems = decoded([message], schema)
        assert alone == [found[i]] or repr(alone) == repr([found[i]])
        assert bool(alone_problems) == (i in broken)
        if i not in broken:
            value = json.loads(message)
            expected = {name: value.get(name) for name in schema}
            if expected["o"] is not None:
                expected["o"] = {"l": expected["o"].get("l")}
            assert found[i] == expected


def test_no_messages_and_no_columns():
    decoder = decoder_for("json", "", "", b"")
    assert decoded([], NUMBER) == ([], [])
    assert decoder.decode(Payloads.of([b"{}", b"{}"]), {}, NUMBER, []).shape == (2, 0)
    assert decoder.decode(Payloads.of([b"{}"]), None, {}, []).shape == (1, 0)
    with pytest.raises(ColumnNotFoundError):
        decoder.decode(Payloads.of([]), {"b": None}, NUMBER, [])


def test_pickle():
    decoder = decoder_of({"type": "object", "properties": {"v": {"type": "number"}}})
    copy = pickle.loads(pickle.dumps(decoder))
    assert copy == decoder
    assert copy.schema == {"v": pl.Float64()}
    assert copy.infer(Payloads.of([])) == {"v": pl.Float64()}
