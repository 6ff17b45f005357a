"""Every CDR and JSON channel of the real recordings equals what rosbags and `json` make of it."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

from mcap.reader import NonSeekingReader
from messages_oracle import FAILURES, rows, same, store_with, values
from rosbags.typesys import Stores, TypesysError, get_typestore

import robodf as rd
from robodf.io.logs.topic import META
from robodf.io.messages import Payloads, decoder_for, header_stamp


def channels(path: Path) -> dict[tuple[str, str, str, str, bytes], list[bytes]]:
    found: dict[Any, list[bytes]] = defaultdict(list)
    with path.open("rb") as file:
        for schema, channel, message in NonSeekingReader(file).iter_messages(log_time_order=False):
            parts = (schema.encoding, schema.name, bytes(schema.data)) if schema else ("", "", b"")
            found[(channel.topic, channel.message_encoding, *parts)].append(bytes(message.data))
    return found


def recordings(real_data: Path) -> list[Path]:
    paths = [*real_data.glob("mcap/*.mcap"), *real_data.glob("mcap/rosbag2/*.mcap")]
    return sorted([*paths, *real_data.glob("generated/*.mcap")])


def test_cdr_channels_equal_rosbags(real_data: Path):
    checked = events = refused = 0
    for path in recordings(real_data):
        for (topic, encoding, schema_encoding, name, text), messages in channels(path).items():
            if encoding != "cdr":
                continue
            decoder = decoder_for(encoding, schema_encoding, name, text)
            problems: list[Any] = []
            frame = decoder.decode(Payloads.of(messages), None, decoder.schema or {}, problems)
            assert frame.height == len(messages)
            assert dict(frame.schema) == decoder.schema
            try:
                kind = name if "/msg/" in name else name.replace("/", "/msg/")
                store = store_with(text.decode(), name)
            except TypesysError:
                # rosbags does not read the .srv text that stands for service events.
                assert name.endswith("_Event") or "====" in text.decode() or decoder.name == "raw", name
                events += name.endswith("_Event")
                assert problems == [] or decoder.name == "CDR"
                continue
            if decoder.name == "raw":
                assert "does not define" in decoder.reason
                refused += 1
                continue
            found, broken = rows(frame), dict(problems)
            for i, message in enumerate(messages):
                try:
                    expected = values(store, kind, store.deserialize_cdr(message, kind))
                except FAILURES:
                    assert i in broken
                    continue
                assert i not in broken, (path.name, topic, broken[i])
                assert same(found[i], expected), (path.name, topic, i)
            checked += 1
    assert checked > 80
    assert events == 4
    assert refused == 1


def test_service_events(real_data: Path):
    path = next(real_data.glob("mcap/rosbag2/*only_services.mcap"))
    ((topic, *parts), messages) = next(iter(channels(path).items()))
    decoder = decoder_for(*parts)
    problems: list[Any] = []
    frame = decoder.decode(Payloads.of(messages), None, decoder.schema or {}, problems)
    assert problems == []
    requests = [row["a"] + row["b"] for rows in frame["request"].to_list() for row in rows]
    responses = [row["sum"] for rows in frame["response"].to_list() for row in rows]
    assert requests
    assert requests == responses


def test_json_channels_equal_json(real_data: Path):
    checked = 0
    for path in recordings(real_data):
        for (_topic, encoding, schema_encoding, name, text), messages in channels(path).items():
            if encoding != "json":
                continue
            decoder = decoder_for(encoding, schema_encoding, name, text)
            payloads = Payloads.of(messages)
            problems: list[Any] = []
            schema = decoder.schema or decoder.infer(payloads)
            assert schema
            frame = decoder.decode(payloads, None, schema, problems)
            assert problems == []
            assert frame.to_dicts() == [{name: row.get(name) for name in schema} for row in map(json.loads, messages)]
            checked += 1
    assert checked >= 2


def test_other_channels_stay_raw_with_a_reason(real_data: Path):
    kinds = set()
    for path in recordings(real_data):
        for (_topic, encoding, *parts), messages in channels(path).items():
            decoder = decoder_for(encoding, *parts)
            if encoding in ("cdr", "json", "flatbuffer") or (encoding == "protobuf" and parts[0] == "protobuf"):
                continue  # decoded, and compared elsewhere
            assert decoder.name == "raw"
            assert decoder.reason
            frame = decoder.decode(Payloads.of(messages), None, decoder.schema or {}, [])
            assert frame["_raw"].to_list() == messages
            kinds.add(encoding)
    assert kinds >= {"wrong_format"}


def test_header_stamps(real_data: Path):
    found = {}
    for (topic, *parts), _ in channels(real_data / "mcap" / "rerun_rosbag2_2025_09_10.mcap").items():
        found[topic] = header_stamp(decoder_for(*parts).schema or {})
    assert found["/imu"] == ("header", "stamp")
    assert found["/rosout"] == ("stamp",)
    assert found["/region_of_interest"] is None


def test_databases_equal_rosbags(real_data: Path):
    checked = 0
    for path in sorted(real_data.glob("db3/**/*.db3")):
        raw = rd.read_log(path, on_error="collect").collect()
        for (topic, kind), messages in raw.group_by("topic", "type"):
            text = _definition(path, str(kind))
            try:
                store = store_with(text, str(kind)) if text else get_typestore(Stores.LATEST)
            except TypesysError:
                continue  # the .srv text of service events
            frame = rd.read_log(path, str(topic), on_error="collect").collect()
            if "_raw" in frame.columns or kind not in store.fielddefs:
                continue
            names = [c for c in frame.columns if c not in META]
            found = rows(frame.select(names))
            payloads = messages.sort("log_time", maintain_order=True)["data"].to_list()
            assert len(found) == len(payloads)
            for row, payload in zip(found, payloads):
                try:
                    expected = values(store, str(kind), store.deserialize_cdr(payload, str(kind)))
                except FAILURES:
                    continue
                assert same(row, expected), (path.name, topic)
                checked += 1
    assert checked > 9_000


def _definition(path: Path, kind: str) -> str:
    """The definition of a type in the database; "" where it has none."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as found:
        if not found.execute("select 1 from sqlite_master where name = 'message_definitions'").fetchone():
            return ""
        query = "select encoded_message_definition from message_definitions where topic_type = ?"
        row = found.execute(query, [kind]).fetchone()
        return row[0] if row else ""
