"""Columns that channels or files state differently."""

from __future__ import annotations

import polars as pl
import pytest

import robodf as rd
from robodf.errors import SchemaError
from robodf.io.logs.unite import fitted, unite
from robodf.io.mcap.writer import McapWriter

I32, I64, U64, F32, F64, S = pl.Int32(), pl.Int64(), pl.UInt64(), pl.Float32(), pl.Float64(), pl.String()


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        (I32, I32, I32),
        (I32, I64, I64),
        (I32, F64, F64),
        (F32, F64, F64),
        (I64, U64, None),  # no type holds both exactly
        (I64, S, None),
        (pl.Datetime("ns"), I64, None),
        (pl.Struct({"x": I32}), pl.Struct({"y": S}), pl.Struct({"x": I32, "y": S})),
        (pl.Struct({"x": I32}), pl.Struct({"x": S}), None),
        (pl.List(I32), pl.List(F64), pl.List(F64)),
        (pl.Array(F64, 3), pl.Array(F64, 3), pl.Array(F64, 3)),
        (pl.Array(F64, 3), pl.Array(F64, 2), pl.List(F64)),
        (pl.Array(F32, 3), pl.List(F64), pl.List(F64)),
        (pl.List(pl.Struct({"a": I32})), pl.List(pl.Struct({"b": I32})), pl.List(pl.Struct({"a": I32, "b": I32}))),
        (pl.List(I32), I32, None),
    ],
)
def test_unite(a, b, both) -> None:
    assert unite(a, b) == both
    if both is not None:
        assert unite(b, a) is not None


@pytest.mark.parametrize(
    ("values", "have", "want", "expected"),
    [
        ([1, None], I32, F64, [1.0, None]),
        ([{"a": 1}, None], pl.Struct({"a": I32}), pl.Struct({"b": S, "a": I64}), [{"b": None, "a": 1}, None]),
        ([{"a": 1, "b": 2}], pl.Struct({"a": I32, "b": I32}), pl.Struct({"b": I32}), [{"b": 2}]),
        ([[{"a": 1}], [], None], pl.List(pl.Struct({"a": I32})), pl.List(pl.Struct({"a": F64, "z": S})),
         [[{"a": 1.0, "z": None}], [], None]),
        ([[1, 2], None], pl.Array(I32, 2), pl.List(F64), [[1.0, 2.0], None]),
        ([[{"a": 1}, None]], pl.Array(pl.Struct({"a": I32}), 2), pl.Array(pl.Struct({"a": I64, "q": I64}), 2),
         [[{"a": 1, "q": None}, None]]),
        ([[[1], []], None], pl.List(pl.List(I32)), pl.List(pl.List(F64)), [[[1.0], []], None]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows", [None, 0])
def test_fitted(values, have, want, expected, rows) -> None:
    found = fitted(pl.Series("x", values[:rows], dtype=have), want)
    assert (found.name, found.dtype) == ("x", want)
    assert found.to_list() == expected[:rows]


def _log(path, schemas, payloads) -> None:
    with McapWriter(path) as out:
        for k, (schema, payload) in enumerate(zip(schemas, payloads)):
            channel = out.add_channel("/pose", "cdr", out.add_schema("x/msg/Pose", "ros2msg", schema))
            out.write(channel, log_time=k, data=b"\0\1\0\0" + payload)


def test_two_schemas_of_one_topic_are_united_by_name(tmp_path) -> None:
    one = (b"int32 x\nP[] p\n" + b"=" * 80 + b"\nMSG: x/P\nint32 a\n", bytes([7, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0]))
    two = (b"float64 x\nstring s\nP[] p\n" + b"=" * 80 + b"\nMSG: x/P\nint32 b\n",
           b"\0\0\0\0\0\0\xf8\x3f" + b"\2\0\0\0k\0\0\0" + b"\1\0\0\0\t\0\0\0")  # fmt: skip
    _log(tmp_path / "a.mcap", [one[0], two[0]], [one[1], two[1]])
    frame = rd.read_mcap(tmp_path / "a.mcap", "/pose")
    assert frame.schema["p"] == pl.List(pl.Struct({"a": I32, "b": I32}))
    assert frame.select("x", "s", "p").collect().rows() == [
        (7.0, None, [{"a": 5, "b": None}]),
        (1.5, "k", [{"a": None, "b": 9}]),
    ]
    assert frame.select(rd.col("p").list.first().struct.field("b")).collect()["b"].to_list() == [None, 9]
    assert frame.filter(rd.col("x") > 2).select("log_time").collect().height == 1


def test_types_that_cannot_be_united_say_what_to_do(tmp_path) -> None:
    _log(tmp_path / "a.mcap", [b"int32 x", b"string x"], [b"\7\0\0\0", b"\2\0\0\0k\0"])
    with pytest.raises(SchemaError, match="'x' is Int32 .* and String .*without topic="):
        rd.read_mcap(tmp_path / "a.mcap", "/pose")


def test_a_schema_that_cannot_be_read_degrades_its_channel_alone(tmp_path) -> None:
    _log(tmp_path / "a.mcap", [b"int32 x", b"Unknown x"], [b"\7\0\0\0", b"??"])
    rows = rd.read_mcap(tmp_path / "a.mcap", "/pose").select("x", "_raw", "_error").collect().rows()
    assert rows[0] == (7, None, None)
    assert rows[1][:2] == (None, b"\0\1\0\0??")
    assert "Unknown" in rows[1][2]
