"""Payloads, raw messages and the questions asked of message schemas."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import polars as pl
import pytest

from robodf.errors import ColumnNotFoundError
from robodf.io.messages import Payloads, decoder_for, header_stamp
from robodf.io.messages.payloads import ragged


def slices(rng: random.Random, size: int, count: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    data = rng.randbytes(size)
    start = np.array([rng.randint(0, size) for _ in range(count)], dtype=np.int64)
    length = np.array([rng.randint(0, min(300, size - s)) for s in start.tolist()], dtype=np.int64)
    return data, start, length


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("longest", [3, 90, 300])
def test_slices_in_any_order_with_overlaps(seed: int, longest: int):
    data, start, length = slices(random.Random(seed), 2000, 200)
    length = np.minimum(length, longest)
    expected = [data[s : s + n] for s, n in zip(start.tolist(), length.tolist())]
    payloads = Payloads(data, start, length)
    assert [bytes(p) for p in payloads] == expected
    series = payloads.to_series("x")
    assert series.name == "x"
    assert series.dtype == pl.Binary
    assert series.to_list() == expected
    assert ragged(payloads.data, start, length).tobytes() == b"".join(expected)


def test_a_large_copy_of_small_slices():
    data = np.arange(256, dtype=np.uint8).repeat(4)
    start = np.tile(np.arange(0, 1000, dtype=np.int64), 500)
    length = np.full(len(start), 17)
    assert ragged(data, start, length).reshape(-1, 17)[777].tolist() == data[777 : 777 + 17].tolist()
    assert len(ragged(data, start, length)) == 17 * len(start)


@pytest.mark.parametrize(
    ("offset", "length"),
    [([0], [4]), ([4], [0]), ([-1], [1]), ([0], [-1]), ([2], [2**63 - 1]), ([2**63 - 1], [1]), ([0, 1], [1])],
)
def test_slices_outside_of_the_buffer(offset: list[int], length: list[int]):
    with pytest.raises(ValueError, match="buffer|alike"):
        Payloads(b"abc", np.array(offset), np.array(length))


def test_no_payloads():
    payloads = Payloads(b"", np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    assert len(payloads) == 0
    assert payloads.to_series("x").to_list() == []
    assert Payloads.of([]).to_series("x").dtype == pl.Binary
    assert Payloads.of([b"", b"", b"a"]).to_series("x").to_list() == [b"", b"", b"a"]


def test_a_memoryview_and_no_reference_to_it():
    buffer = bytearray(b"abcdef")
    series = Payloads(memoryview(buffer), np.array([1]), np.array([3])).to_series("x")
    buffer[:] = b"......"
    buffer.clear()
    assert series.to_list() == [b"bcd"]


@pytest.mark.parametrize(
    ("encoding", "schema_encoding", "reason"),
    [
        ("protobuf", "protobuf", "is no FileDescriptorSet"),
        ("protobuf", "proto", "not 'proto'"),
        ("flatbuffer", "flatbuffer", "x/msg/Y: "),
        ("thrift", "thrift", "'thrift'"),
        ("ros1", "", "ros1msg, not ''"),
        ("", "", "''"),
        ("wrong_format", "ros2msg", "'wrong_format'"),
        ("cdr", "omgidl", "ros2msg or ros2idl, not 'omgidl'"),
        ("cdr", "", "not ''"),
    ],
)
def test_encodings_without_a_decoder(encoding: str, schema_encoding: str, reason: str):
    decoder = decoder_for(encoding, schema_encoding, "x/msg/Y", b"int32 a")
    assert decoder.name == "raw"
    assert reason in decoder.reason
    problems: list[Any] = []
    frame = decoder.decode(Payloads.of([b"a", b"\xff"]), None, {"_raw": pl.Binary()}, problems)
    assert frame.rows() == [(b"a", decoder.reason), (b"\xff", decoder.reason)]
    assert problems == []
    assert decoder.decode(Payloads.of([b"a"]), {}, {"_raw": pl.Binary()}, []).shape == (1, 0)
    with pytest.raises(ColumnNotFoundError):
        decoder.decode(Payloads.of([b"a"]), {"data": None}, {"_raw": pl.Binary()}, [])
    assert pickle.loads(pickle.dumps(decoder)) == decoder
    assert decoder.infer(Payloads.of([])) == {"_raw": pl.Binary(), "_error": pl.String()}


def test_header_stamp():
    stamp = pl.Datetime("ns")
    assert header_stamp({"a": pl.Int8(), "header": pl.Struct({"stamp": stamp})}) == ("header", "stamp")
    assert header_stamp({"stamp": stamp}) == ("stamp",)
    assert header_stamp({"timestamp": stamp}) == ("timestamp",)
    assert header_stamp({"header": pl.Struct({"seq": pl.Int8}), "stamp": stamp}) == ("stamp",)
    assert header_stamp({"header": pl.Struct({"stamp": pl.Int64}), "timestamp": pl.Int64()}) is None
    assert header_stamp({}) is None
