"""Files of Protobuf messages."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, OptionError, RobodfError, SchemaError
from robodf.io.counting import read

pytest.importorskip("google.protobuf")
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.encoder import _VarintBytes

PROTO = """syntax = "proto3";
package robot;
message Step { uint32 step = 1; repeated double q = 2 [packed = true]; string size = 3; Pose pose = 4; }
message Pose { double x = 1; }
"""


def schema() -> bytes:
    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name="robot.proto", package="robot", syntax="proto3")
    pose = file.message_type.add(name="Pose")
    pose.field.add(name="x", number=1, type=1, label=1)
    step = file.message_type.add(name="Step")
    step.field.add(name="step", number=1, type=13, label=1)
    step.field.add(name="q", number=2, type=1, label=3)
    step.field.add(name="size", number=3, type=9, label=1)
    step.field.add(name="pose", number=4, type=11, type_name=".robot.Pose", label=1)
    return files.SerializeToString()


def messages(count: int) -> list[bytes]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorSet.FromString(schema()).file[0])
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("robot.Step"))
    return [kind(step=k, q=[0.5, k], size="s" * k, pose={"x": k}).SerializeToString() for k in range(1, count + 1)]


def framed(made: list[bytes], framing: str) -> bytes:
    if framing == "varint":
        return b"".join(_VarintBytes(len(m)) + m for m in made)
    return b"".join(len(m).to_bytes(4, "little") + m for m in made) if framing == "uint32" else made[0]


@pytest.mark.parametrize("framing", ["varint", "uint32"])
@pytest.mark.parametrize("said", [True, False])
def test_messages_are_rows(tmp_path: Path, framing: str, said: bool) -> None:
    made = messages(300)
    (tmp_path / "a.pb").write_bytes(framed(made, framing))
    (tmp_path / "b.pb").write_bytes(b"")
    df = rd.read_protobuf(tmp_path, "robot.Step", schema(), framing=framing if said else None)
    found = df.collect()
    assert found["message"].to_list() == list(range(300))
    assert found["size"].to_list() == [len(m) for m in made]
    assert found["step"].to_list() == list(range(1, 301))
    assert found["q"].to_list() == [[0.5, k] for k in range(1, 301)]
    assert found["msg.size"].to_list() == ["s" * k for k in range(1, 301)]
    assert found["pose"].struct.field("x").to_list() == list(range(1, 301))


def test_only_wanted_messages_are_read_and_decoded(tmp_path: Path) -> None:
    made = [m + bytes([0xAA, 0x3E]) + _VarintBytes(200_000) + bytes(200_000) for m in messages(20)]  # an unknown field
    (tmp_path / "a.pb").write_bytes(framed(made, "varint"))
    df = rd.read_protobuf(tmp_path / "a.pb", "robot.Step", schema(), framing="varint")
    df.select("size").collect()
    before = read.bytes
    found = df.filter(rd.col("message").is_in([3, 15])).select("step").collect()
    assert found["step"].to_list() == [4, 16]
    assert read.bytes - before < 500_000


def test_one_message_a_file(tmp_path: Path) -> None:
    for k, made in enumerate(messages(3)):
        (tmp_path / f"{k}.pb").write_bytes(made)
    df = rd.read_protobuf(tmp_path, "robot.Step", schema(), framing="single")
    assert df.collect()["step"].to_list() == [1, 2, 3]
    with pytest.raises(FileFormatError, match="framing="):
        rd.read_protobuf(tmp_path, "robot.Step", schema()).collect()


def test_a_proto_file_is_compiled(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    (tmp_path / "robot.proto").write_text(PROTO)
    (tmp_path / "a.pb").write_bytes(framed(messages(3), "varint"))
    df = rd.read_protobuf(tmp_path / "a.pb", "robot.Step", tmp_path / "robot.proto")
    assert df.collect()["step"].to_list() == [1, 2, 3]
    (tmp_path / "robot.proto").write_text("message {")
    with pytest.raises(SchemaError, match="cannot be compiled"):
        rd.read_protobuf(tmp_path / "a.pb", "robot.Step", tmp_path / "robot.proto")


def test_damage_is_told(tmp_path: Path) -> None:
    made = messages(5)
    made[2] = b"\x0a\xff"  # no message
    data = framed(made, "varint")
    (tmp_path / "a.pb").write_bytes(data + b"\x7f\x01")
    with pytest.raises(FileFormatError, match=rf"at byte {len(data)} has 127 bytes, which are not there"):
        rd.read_protobuf(tmp_path / "a.pb", "robot.Step", schema(), framing="varint").collect()
    df = rd.read_protobuf(tmp_path / "a.pb", "robot.Step", schema(), framing="varint", on_error="collect")
    assert df.collect()["step"].to_list() == [1, 2, None, 4, 5]
    assert sorted(df.errors["offset"].to_list()) == [sum(len(framed([m], "varint")) for m in made[:2]) + 1, len(data)]
    (tmp_path / "a.pb").write_bytes(data)
    with pytest.raises(FileFormatError, match="message 2 at byte"):
        rd.read_protobuf(tmp_path / "a.pb", "robot.Step", schema(), framing="varint").collect()


def test_arguments_are_checked(tmp_path: Path) -> None:
    (tmp_path / "a.pb").write_bytes(b"")
    with pytest.raises(SchemaError, match=r"did you mean 'robot\.Step'"):
        rd.read_protobuf(tmp_path, "robot.Stp", schema())
    with pytest.raises(SchemaError, match="no FileDescriptorSet"):
        rd.read_protobuf(tmp_path, "robot.Step", b"\xff\xff")
    with pytest.raises(OptionError, match="did you mean 'varint'"):
        rd.read_protobuf(tmp_path, "robot.Step", schema(), framing="varints")


def test_a_file_of_another_tool(real_data: Path) -> None:
    folder = real_data / "protobuf"
    df = rd.read_protobuf(folder / "osi_small_test.osi", "osi3.SensorView", folder / "osi_descriptor_set.pb")
    assert df.count_rows() == 250
    assert df.collect().schema["offset"] == pl.UInt64()


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    draw = random.Random(7)
    outcomes = set()
    for framing in ("varint", "uint32"):
        whole = framed(messages(12), framing)
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(draw.choice((1, 4))):
                data[draw.randrange(len(data))] = draw.randrange(256)
            (tmp_path / "a.pb").write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
            try:
                rd.read_protobuf(tmp_path / "a.pb", "robot.Step", schema(), framing=framing).collect()
                outcomes.add("read")
            except RobodfError:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}
