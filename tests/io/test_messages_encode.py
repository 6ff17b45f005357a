"""Columns as messages: what rosbags writes, byte for byte, and what reading gives back."""

from __future__ import annotations

import json
import math
import random
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from messages_oracle import random_message, random_schema, store_with
from rosbags.typesys import Stores, get_typestore

from robodf.errors import SchemaError
from robodf.io.messages import Payloads, decoder_for, ros_encode
from robodf.io.messages.encoder import Unencodable
from robodf.io.messages.json_encode import JsonEncoder
from robodf.io.messages.ros_encode import RosEncoder

LATEST = get_typestore(Stores.LATEST)
SEPARATOR = "=" * 80 + "\n"


def decoded(payloads: list[bytes], text: str, name: str = "x/msg/A", wire: str = "cdr") -> pl.DataFrame:
    encoding = "ros2msg" if wire == "cdr" else "ros1msg"
    decoder = decoder_for(wire, encoding, name, text.encode())
    assert decoder.reason == ""
    assert decoder.schema is not None
    problems: list[Any] = []
    frame = decoder.decode(Payloads.of(payloads), None, decoder.schema, problems)
    assert problems == []
    return frame


def encoded(frame: pl.DataFrame, text: str, name: str = "x/msg/A", wire: str = "cdr") -> list[bytes]:
    encoding = "ros2msg" if wire == "cdr" else "ros1msg"
    return RosEncoder(wire, encoding, name, text.encode(), dict(frame.schema)).encode(frame).to_list()


def valid_times(message: Any) -> Any:
    """The message with times that have less than a second of nanoseconds; others have no column value."""
    for name in getattr(message, "__dataclass_fields__", {}):
        value = getattr(message, name)
        if name == "nanosec":
            object.__setattr__(message, name, value % 10**9)
        for item in value if isinstance(value, list) else [value]:
            valid_times(item)
    return message


@pytest.mark.parametrize("seed", range(40))
def test_random_types_are_the_bytes_of_rosbags(seed: int, monkeypatch):
    rng = random.Random(seed)
    text = random_schema(rng)
    store = store_with(text, "x/msg/A")
    messages = [
        bytes(store.serialize_cdr(valid_times(random_message(store, "x/msg/A", rng)), "x/msg/A")) for _ in range(12)
    ]
    frame = decoded(messages, text)
    assert encoded(frame, text) == messages
    with monkeypatch.context() as patch:  # as for long lists
        patch.setattr(ros_encode, "_MANY_STEPS", 0)
        patch.setattr(ros_encode, "_MOST_SIZES", 2)
        assert encoded(frame, text) == messages
    assert encoded(frame[3:7], text) == messages[3:7]
    assert encoded(frame.clear(), text) == []


@pytest.mark.parametrize("seed", range(20))
def test_random_types_of_ros_1(seed: int, monkeypatch):
    rng = random.Random(seed)
    text = random_schema(rng, ros1=True)
    store = store_with(text, "x/msg/A", Stores.ROS1_NOETIC)
    made = [valid_times(random_message(store, "x/msg/A", rng)) for _ in range(12)]
    for message in made:
        positive(message)
    messages = [bytes(store.serialize_ros1(m, "x/msg/A")) for m in made]
    frame = decoded(messages, text, "x/A", "ros1")
    assert encoded(frame, text, "x/A", "ros1") == messages
    monkeypatch.setattr(ros_encode, "_MANY_STEPS", 0)
    assert encoded(frame, text, "x/A", "ros1") == messages


def positive(message: Any) -> None:
    """Times after 1970: rosbags writes the seconds of ROS 1 as if they had a sign."""
    for name in getattr(message, "__dataclass_fields__", {}):
        value = getattr(message, name)
        if name == "sec":
            object.__setattr__(message, name, abs(value) % 2**31)
        for item in value if isinstance(value, list) else [value]:
            positive(item)


def test_long_values_and_chunked_columns():
    kind = "sensor_msgs/msg/PointCloud2"
    header = LATEST.types["std_msgs/msg/Header"](LATEST.types["builtin_interfaces/msg/Time"](-5, 3), "käse")
    field = LATEST.types["sensor_msgs/msg/PointField"]("x", 0, 7, 1)
    messages = []
    for size in (0, 1, 99, 2000, 3):
        message = LATEST.types[kind](header, 1, size, [field] * size, False, 1, size, np.full(size, 7, np.uint8), True)
        messages.append(bytes(LATEST.serialize_cdr(message, kind)))
    frame = decoded(messages, "", kind)
    assert encoded(frame, "", kind) == messages
    assert encoded(pl.concat([frame[:2], frame[2:]], rechunk=False), "", kind) == messages


def test_wide_texts_wide_arrays_and_empty_messages():
    text = f"uint8 a\nwstring[] b\nfloat64[5000] c\nx/Empty none\nwstring d\n{SEPARATOR}MSG: x/Empty\n"
    frame = pl.DataFrame(
        {"a": [1, 2], "b": [["grün 🤖", ""], []], "c": [[0.5] * 5000, [1.0] * 5000], "d": ["x", "日本"]},
        schema={"a": pl.UInt8, "b": pl.List(pl.String), "c": pl.List(pl.Float64), "d": pl.String},
    )
    assert decoded(encoded(frame, text), text).equals(frame)
    short = frame.with_columns(c=pl.Series([[0.5] * 5000, [1.0]]))
    with pytest.raises(Unencodable, match="row 1 has 1 items in c, which has 5000"):
        encoded(short, text)


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("a", [1.0, None], "row 1 has null in a"),
        ("b", [["x"], ["y", None]], "row 1 has null in b"),
        ("c", [[1], [2, None]], "row 1 has null in c"),
        ("d", [{"x": 1.0}, {"x": None}], "row 1 has null in d.x"),
        ("d", [{"x": 1.0}, None], "row 1 has null in d"),
        ("e", [[{"x": 1.0}], [{"x": 1.0}, {"x": None}]], "row 1 has null in e.x"),
        ("f", [datetime(2020, 1, 1), datetime(2100, 1, 1)], "row 1 has .* ns in f, which holds"),
        ("g", ["x", None], "row 1 has null in g"),
        ("h", [[1, 2], None], "row 1 has null in h"),
        ("h", [[1, 2], [3, None]], "row 1 has null in h"),
        ("i", [b"", None], "row 1 has null in i"),
    ],
)
def test_what_no_message_holds(column: str, values: list, why: str):
    text = (
        "float64 a\nstring[] b\nint32[] c\nx/B d\nx/B[] e\nbuiltin_interfaces/Time f\nwstring g\nint8[2] h\nuint8[] i\n"
        f"{SEPARATOR}MSG: x/B\nfloat64 x\n"
    )
    schema = decoder_for("cdr", "ros2msg", "x/msg/A", text.encode()).schema
    assert schema is not None
    good: dict[str, Any] = {
        "a": [1.0] * 2, "b": [[]] * 2, "c": [[]] * 2, "d": [{"x": 0.0}] * 2, "e": [[]] * 2,
        "f": [datetime(2020, 1, 1)] * 2, "g": [""] * 2, "h": [[0, 0]] * 2, "i": [b""] * 2,
    }  # fmt: skip
    assert len(encoded(pl.DataFrame(good, schema=schema), text)) == 2
    with pytest.raises(Unencodable, match=why) as caught:
        encoded(pl.DataFrame({**good, column: values}, schema=schema), text)
    assert caught.value.row == 1


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"x": pl.Float64()}, "lacks y$|lacks y\\."),
        ({"x": pl.Float64(), "y": pl.String(), "z": pl.Int8()}, "has as well z"),
        ({"x": pl.Float32(), "y": pl.String()}, r"has of another type x \(is Float32, not Float64\)"),
    ],
)
def test_columns_that_are_not_the_fields(schema: dict, why: str):
    with pytest.raises(SchemaError, match=why):
        RosEncoder("cdr", "ros2msg", "x/msg/A", b"float64 x\nstring y\n", schema)


def test_types_that_cannot_be_encoded():
    with pytest.raises(SchemaError, match="does not define x/msg/Missing"):
        RosEncoder("cdr", "ros2msg", "x/msg/A", b"x/Missing a\n", {})
    with pytest.raises(SchemaError, match="'protobuf' with a schema in 'protobuf'"):
        RosEncoder("protobuf", "protobuf", "A", b"", {})
    text = f"x/Empty[] a\nint8 b\n{SEPARATOR}MSG: x/Empty\n"
    with pytest.raises(SchemaError, match="a is a list of messages without fields"):
        RosEncoder("cdr", "ros2msg", "x/msg/A", text.encode(), {"b": pl.Int8()})


# -- JSON -----------------------------------------------------------------------------------------------------

FRAME = pl.DataFrame(
    {
        "u": pl.Series([2**63, None, 0], dtype=pl.UInt64),
        "f": [1.5, math.nan, -math.inf],
        "s": ['a"\n\u0001é🤖\\', None, ""],
        "t": pl.Series([0, -1, None], dtype=pl.Datetime("ns")),
        "zone": pl.Series([0, 1, None], dtype=pl.Datetime("us", "Asia/Tokyo")),
        "day": [date(2020, 1, 1), None, date(1, 1, 1)],
        "clock": [time(1, 2, 3, 4), None, time()],
        "span": [timedelta(microseconds=-1), None, timedelta()],
        "b": [b"\0\xff", None, b""],
        "l": [[1.0, math.nan], None, []],
        "a": pl.Series([[1.0, 2.0], None, [3.0, math.inf]], dtype=pl.Array(pl.Float64, 2)),
        "st": [{"x": 1.0, "y": [{"z": b"a"}]}, None, {"x": math.nan, "y": []}],
        "e": pl.Series(["u", None, "v"], dtype=pl.Enum(["u", "v"])),
        "c": pl.Series(["u", None, "v"], dtype=pl.Categorical),
        "bo": [True, None, False],
        "n": [None, None, None],
        "d": pl.Series(["1.10", None, "2"]).cast(pl.Decimal(10, 2)),
        "lt": [[datetime(2020, 1, 1)], None, []],
        "": [1, 2, 3],
    }
)


def test_json_values():
    found = [json.loads(m) for m in JsonEncoder(dict(FRAME.schema)).encode(FRAME)]
    assert found[0] == {
        "u": 2**63, "f": 1.5, "s": 'a"\n\u0001é🤖\\', "t": "1970-01-01T00:00:00.000000000Z",
        "zone": "1970-01-01T00:00:00.000000Z", "day": "2020-01-01", "clock": "01:02:03.000004000", "span": -1000,
        "b": "AP8=", "l": [1.0, None], "a": [1.0, 2.0], "st": {"x": 1.0, "y": [{"z": "YQ=="}]}, "e": "u", "c": "u",
        "bo": True, "n": None, "d": "1.10", "lt": ["2020-01-01T00:00:00.000000Z"], "": 1,
    }  # fmt: skip
    assert {k: v for k, v in found[1].items() if v is not None} == {
        "t": "1969-12-31T23:59:59.999999999Z", "zone": "1970-01-01T00:00:00.000001Z", "": 2,
    }  # fmt: skip
    assert found[2]["f"] is None
    assert found[2]["a"] == [3.0, None]
    assert found[2]["st"] == {"x": None, "y": []}
    assert list(found[2]) == FRAME.columns


def test_json_schema():
    root = json.loads(JsonEncoder(dict(FRAME.schema)).schema_text("Käse"))
    assert (root["title"], root["type"]) == ("Käse", "object")
    assert list(root["properties"]) == FRAME.columns
    assert root["properties"]["t"] == {"type": "string", "format": "date-time"}
    assert root["properties"]["b"] == {"type": "string", "contentEncoding": "base64"}
    assert root["properties"]["st"]["properties"]["y"]["items"]["properties"]["z"]["contentEncoding"] == "base64"


def test_json_is_read_back_with_the_types_of_its_schema():
    frame = FRAME.select("f", "s", "bo", "st", pl.col("span").alias("i")).filter(pl.col("s").is_not_null())
    encoder = JsonEncoder(dict(frame.schema))
    decoder = decoder_for("json", "jsonschema", "x", encoder.schema_text("x"))
    problems: list[Any] = []
    back = decoder.decode(Payloads.of(encoder.encode(frame).to_list()), None, decoder.schema or {}, problems)
    assert problems == []
    assert back["i"].to_list() == [-1000, 0]
    assert back["st"].to_list() == [{"x": 1.0, "y": [{"z": "YQ=="}]}, {"x": None, "y": []}]
    assert back["f"].to_list() == [1.5, None]


def test_json_refuses_what_it_has_no_form_for():
    with pytest.raises(SchemaError, match=r"column 'a\.b' is Int128"):
        JsonEncoder({"a": pl.Struct({"b": pl.List(pl.Int128)})})
    with pytest.raises(SchemaError, match="column 'o' is Object"):
        JsonEncoder({"o": pl.Object()})
    assert JsonEncoder({"a": pl.Int8()}).encode(pl.DataFrame(schema={"a": pl.Int8})).to_list() == []
