"""Protobuf schemas made at run time, and random messages of them."""

from __future__ import annotations

import random
import struct
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from protobuf_oracle import KINDS

NUMBERS = [
    "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "uint32", "sfixed32", "sfixed64",
    "sint32", "sint64",
]  # fmt: skip
TYPES = {name: number for number, name in KINDS.items()}
KNOWN = [any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2]


def add_field(message: Any, number: int, text: str, **options: Any) -> Any:
    """Adds a field given as `[optional|repeated] type name`; a type with a dot is a message, with a # an enum."""
    *labels, kind, name = text.split()
    one = message.field.add(name=name, number=number, label=1, **options)
    if "repeated" in labels:
        one.label = 3
    if "optional" in labels:
        one.proto3_optional = True
        one.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    if kind in TYPES:
        one.type = TYPES[kind]
    else:
        one.type = TYPES["enum" if "#" in kind else "message"]
        one.type_name = kind.replace("#", ".")
    return one


def map_field(message: Any, full_name: str, number: int, key: str, value: str, name: str) -> None:
    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    add_field(entry, 1, f"{key} key")
    add_field(entry, 2, f"{value} value")
    add_field(message, number, f"repeated {full_name}.{entry.name} {name}")


def file_of(syntax: str = "proto3", known: Any = KNOWN) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax=syntax)
    file.dependency.extend(module.DESCRIPTOR.name for module in known)
    return file


def set_of(*files: Any, known: Any = KNOWN) -> bytes:
    found = descriptor_pb2.FileDescriptorSet()
    for file in reversed(files):  # behind what they import would be too easy
        found.file.add().CopyFrom(file)
    for module in known:
        module.DESCRIPTOR.CopyToProto(found.file.add())
    return found.SerializeToString()


def class_of(data: bytes, name: str) -> Any:
    files = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(data).file}
    pool = descriptor_pool.DescriptorPool()

    def add(file: Any) -> None:
        for imported in file.dependency:
            if imported in files:
                add(files.pop(imported))
        pool.Add(file)

    while files:
        add(files.pop(next(iter(files))))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def everything(syntax: str) -> bytes:
    file = file_of(syntax)
    enum = file.enum_type.add(name="E")
    for name, number in (("ZERO", 0), ("ONE", 1), ("MINUS", -5), ("BIG", 2**31 - 1), ("ALIAS", 1)):
        enum.value.add(name=name, number=number)
    enum.options.allow_alias = True
    sub = file.message_type.add(name="Sub")
    for i, text in enumerate(["int32 a", "string s", "repeated sint64 l", ".t.Sub2 sub", "repeated .t.Sub2 subs"]):
        add_field(sub, i + 1, text)
    sub2 = file.message_type.add(name="Sub2")
    for i, text in enumerate(["double x", "bytes b", "t#E e"]):
        add_field(sub2, i + 1, text.replace("t#E", "#t#E"))
    file.message_type.add(name="Nothing")
    node = file.message_type.add(name="Node")
    for i, text in enumerate(["int32 value", ".t.Node next", "repeated .t.Node children"]):
        add_field(node, i + 1, text)
    m = file.message_type.add(name="M")
    number = 1
    labels = ["", "repeated"] + (["optional"] if syntax == "proto3" else [])
    for kind in [*NUMBERS, "string", "bytes", "#t#E"]:
        for label in labels:
            short = kind.replace("#t#", "").lower()
            one = add_field(m, number, f"{label} {kind} {(label[:3] + '_') * bool(label)}{short}")
            if label == "repeated" and kind in NUMBERS and number % 4 == 0:
                one.options.packed = syntax == "proto2"
            number += 1
    others = [
        ".t.Sub sub", "repeated .t.Sub subs", ".t.Nothing nothing", "repeated .t.Nothing nothings", ".t.Node node",
        *(f"{label}.google.protobuf.{name} {name.lower()}{'s' * bool(label)}"
          for name in ("Timestamp", "Duration", "Any", "Empty", "Struct", "Value", "ListValue", "DoubleValue",
                       "Int64Value", "BoolValue", "StringValue", "BytesValue", "UInt32Value")
          for label in ("", "repeated ")),
    ]  # fmt: skip
    for text in others:
        add_field(m, number, text)
        number += 1
    choice = len(m.oneof_decl)
    at = [i for i, one in enumerate(m.field) if one.proto3_optional]
    m.oneof_decl.insert(0, descriptor_pb2.OneofDescriptorProto(name="choice"))
    for i in at:
        m.field[i].oneof_index += 1
    assert choice == len(at)
    for text in ("int32 o_int", "string o_text", ".t.Sub2 o_sub", ".t.Nothing o_nothing"):
        add_field(m, number, text, oneof_index=0)
        number += 1
    for key, value in (("string", "int32"), ("int32", ".t.Sub2"), ("bool", "string"), ("sint64", "#t#E")):
        map_field(m, ".t.M", number, key, value, f"map_{key}")
        number += 1
    return set_of(file)


SETS = {syntax: everything(syntax) for syntax in ("proto3", "proto2")}


def random_number(kind: str, rng: random.Random) -> Any:
    if kind == "bool":
        return rng.random() < 0.5
    if kind in ("double", "float"):
        pick = rng.choice([0.0, -1.5, float("inf"), 1e30, rng.gauss(0, 1)])
        return struct.unpack("<f", struct.pack("<f", pick))[0] if kind == "float" else pick
    bits = int("".join(filter(str.isdigit, kind)))
    unsigned = kind.startswith(("u", "fixed"))
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return rng.choice([0, 1, 127, 128, low, high, rng.randint(low, high), rng.randint(low, high) >> bits // 2])


def random_single(one: Any, rng: random.Random, depth: int) -> Any:
    kind = KINDS[one.type]
    if kind in NUMBERS:
        return random_number(kind, rng)
    if kind == "enum":
        known = [value.number for value in one.enum_type.values]
        return rng.choice(known if one.enum_type.is_closed else [*known, 77, -(2**31)])
    if kind == "string":
        return rng.choice(["", "a", "ä€😀", "x" * rng.randint(0, 300), "zero\0"])
    if kind == "bytes":
        return rng.choice([b"", b"\xff\x00", bytes(rng.randint(0, 200))])
    raise AssertionError(kind)


def fill(message: Any, rng: random.Random, depth: int = 0, share: float = 0.5) -> Any:
    name = message.DESCRIPTOR.full_name
    if name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.seconds = rng.choice([0, 1, 1_700_000_000, -5, 2**40])
        message.nanos = rng.choice([0, 999_999_999, -1, 10**9])
        return message
    if name == "google.protobuf.Struct":
        message.update({"ä": [1, 2.5, None, {"x": True}], "b": "text"} if rng.random() < 0.7 else {})
        return message
    if name == "google.protobuf.Value":
        if rng.random() < 0.7:
            message.string_value = 'quote " and ä'
        return message
    if name == "google.protobuf.ListValue":
        message.extend([1, "a"])
        return message
    for one in message.DESCRIPTOR.fields:
        if rng.random() > share or (one.message_type is not None and depth > 3):
            continue
        if one.message_type is not None and one.message_type.GetOptions().map_entry:
            key, value = one.message_type.fields_by_name["key"], one.message_type.fields_by_name["value"]
            for _ in range(rng.randint(0, 3)):
                if value.message_type is not None:
                    fill(getattr(message, one.name)[random_single(key, rng, 0)], rng, depth + 1)
                else:
                    getattr(message, one.name)[random_single(key, rng, 0)] = random_single(value, rng, 0)
        elif one.is_repeated:
            for _ in range(rng.choice([0, 1, 2, 5])):
                if one.message_type is not None:
                    fill(getattr(message, one.name).add(), rng, depth + 1)
                else:
                    getattr(message, one.name).append(random_single(one, rng, depth))
        elif one.message_type is not None:
            getattr(message, one.name).SetInParent()
            fill(getattr(message, one.name), rng, depth + 1)
        else:
            setattr(message, one.name, random_single(one, rng, depth))
    return message
