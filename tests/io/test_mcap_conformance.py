"""The MCAP project's conformance suite, and other people's recordings, read whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from robodf.io.files import open_file
from robodf.io.mcap import count, index_only, read_chunk, read_summary


def fields(record: dict) -> dict:
    return dict(record["fields"])


def data(numbers: list[str]) -> bytes:
    return bytes(map(int, numbers))


def compare_one(path: Path) -> list[str]:
    """What differs between a conformance file and the records that its JSON lists."""
    records = json.loads(path.with_suffix(".json").read_text())["records"]
    by_type: dict[str, list[dict]] = {}
    for record in records:
        by_type.setdefault(record["type"], []).append(fields(record))
    schemas = {int(f["id"]): (f["name"], f["encoding"], data(f["data"])) for f in by_type.get("Schema", [])}
    channels = {
        int(f["id"]): (f["topic"], int(f["schema_id"]), f["message_encoding"], f["metadata"])
        for f in by_type.get("Channel", [])
    }
    messages = [
        (*(int(f[k]) for k in ("channel_id", "sequence", "log_time", "publish_time")), data(f["data"]))
        for f in by_type.get("Message", [])
    ]
    with open_file(path) as file:
        summary = read_summary(file)
        read = [read_chunk(file, summary, chunk, check_crc=True) for chunk in summary.chunks]
        indexed = [index_only(file, summary, chunk) for chunk in summary.chunks]
        counted = count(summary, file)
    rows = [
        (int(m.channel_id[i]), int(m.sequence[i]), int(m.log_time[i]), int(m.publish_time[i]), m.payload(i))
        for m in read
        for i in range(len(m))
    ]
    header = by_type["Header"][0]
    pairs = {
        "header": ((summary.profile, summary.library), (header["profile"], header["library"])),
        "schemas": ({k: (s.name, s.encoding, s.data) for k, s in summary.schemas.items()}, schemas),
        "channels": (
            {k: (c.topic, c.schema_id, c.message_encoding, c.metadata) for k, c in summary.channels.items()},
            channels,
        ),
        "messages": (rows, messages),
        "index": ([int(t) for i in indexed for t in i.log_time], [m[2] for m in messages]),
        "count": (counted, len(messages)),
        "complete": (summary.complete, True),
        "problems": (summary.problems, ()),
    }
    if summary.statistics is not None and "Statistics" in by_type:
        said, want = summary.statistics, by_type["Statistics"][0]
        pairs["statistics"] = (
            [said.message_count, said.start_time, said.end_time, said.chunk_count, said.attachment_count]
            + [said.metadata_count, said.channel_count, said.schema_count]
            + [{str(c): str(n) for c, n in said.channel_message_counts.items()}],
            [int(want["message_count"]), int(want["message_start_time"]), int(want["message_end_time"])]
            + [int(want[k + "_count"]) for k in ("chunk", "attachment", "metadata", "channel", "schema")]
            + [want["channel_message_counts"]],
        )
    if not summary.from_index or any("Index" in kind for kind in by_type):
        names = [f["name"] for f in by_type.get("AttachmentIndex", [])]
        if names:
            pairs["attachments"] = ([a.name for a in summary.attachments], names)
    return [f"{path.name}: {what}: {got} != {want}" for what, (got, want) in pairs.items() if got != want]


def test_every_file_of_the_conformance_suite(real_data: Path):
    paths = sorted((real_data / "mcap" / "conformance").glob("*/*.mcap"))
    assert len(paths) == 502
    wrong = [text for path in paths for text in compare_one(path)]
    assert wrong == []


def test_every_real_recording_has_the_messages_that_independent_readers_found(real_data: Path):
    expected = json.loads((real_data / "EXPECTED_messages.json").read_text())
    names = [name for name in expected if name.endswith(".mcap")]
    assert len(names) >= 30
    for name in names:
        with open_file(real_data / name) as file:
            summary = read_summary(file)
            topics: dict[str, dict] = {}
            for chunk in summary.chunks:
                m = read_chunk(file, summary, chunk, check_crc=True)
                for i in range(len(m)):
                    topic = summary.channels[int(m.channel_id[i])].topic
                    seen = topics.setdefault(
                        topic, {"n": 0, "times": [], "bytes": 0, "pubdiff": 0, "md5": hashlib.md5()}
                    )
                    payload = m.payload(i)
                    seen["n"] += 1
                    seen["times"].append(int(m.log_time[i]))
                    seen["bytes"] += len(payload)
                    seen["pubdiff"] += int(m.log_time[i] != m.publish_time[i])
                    seen["md5"].update(payload)
            assert count(summary, file) == expected[name]["total"], name
            for topic, seen in topics.items():
                ids = frozenset(c.id for c in summary.channels.values() if c.topic == topic)
                assert count(summary, file, ids) == seen["n"], (name, topic)
        got = {
            topic: {
                "n": seen["n"],
                "t0": min(seen["times"]),
                "t1": max(seen["times"]),
                "bytes": seen["bytes"],
                "ooo": sum(b < a for a, b in zip(seen["times"], seen["times"][1:])),
                "pubdiff": seen["pubdiff"],
                "md5": seen["md5"].hexdigest(),
            }
            for topic, seen in topics.items()
        }
        want = {
            topic: {key: value for key, value in facts.items() if key != "type"}
            for topic, facts in expected[name]["topics"].items()
            if facts["n"]
        }
        assert got.keys() == want.keys(), name
        for topic, facts in want.items():  # not every reader that was asked told every fact
            assert {"n", "t0", "t1", "bytes", "md5"} <= facts.keys()
            assert {key: got[topic][key] for key in facts} == facts, (name, topic)
        assert summary.complete, name
