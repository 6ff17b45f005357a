"""What a .db3 file holds: its topics, their definitions, and the pieces in which its messages are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robodf.errors import FileFormatError
from robodf.io.db3.database import Database, Text, complaints, database
from robodf.io.db3.pieces import Pieces, find_pieces
from robodf.io.files import FileReader
from robodf.io.logs.metadata import Metadata, metadata_beside, parse_metadata
from robodf.io.logs.model import Channel, Schema, Summary, check_on_error

_MOST_TOPICS = 1 << 16


@dataclass(frozen=True, slots=True)
class Db3Summary(Summary):
    """A .db3 file as a whole. The chunks are pieces of the order in which rosbag2 plays: by (timestamp, id).

    `topic_ids[c]` is the topic id in the database of channel `c`. `indexed`: the time index can be believed and is
    used. `compression` is that of each payload ("" or "zstd"). A negative timestamp is given as `2**64` more, so it is
    among the times that do not fit 63 bits. There is no time of publishing in the database: it is the timestamp too.
    """

    topic_ids: tuple[int, ...]
    indexed: bool
    compression: str


def read_summary(file: FileReader, on_error: str = "raise") -> Db3Summary:
    """Read what `file` holds: the tables of topics and definitions, and either the time index or the messages' heads.

    Messages per channel are counted where at most 256 MiB have to be read for it; beyond, they are those of
    metadata.yaml where it lists this file alone and agrees, else None.

    Raises FileFormatError for a file that is no ROS 2 bag or whose topics are unreadable; where messages are lost only
    with `on_error="raise"`, otherwise the summary of what can be read has `complete=False` and `problems`.
    """
    check_on_error(on_error)
    notes: list[str] = []
    with database(file, on_error) as db:
        _check_tables(db)
        topics = _topics(db)
        damage, definitions = _definitions(db)
        metadata = _metadata(db, file, notes)
        schemas, channels = _channels(db.name, topics, definitions)
        topic_ids = tuple(topic["id"] for topic in topics)
        found = find_pieces(db, frozenset(topic_ids), on_error)
    damage = [*([db.broken] if db.broken else []), *damage, *found.damage]
    counts = _counts(file, found, topics, metadata)
    if damage and on_error == "raise":
        more = f" (and {len(damage) - 1} more problems)" if len(damage) > 1 else ""
        raise FileFormatError(
            f"{damage[0]}{more}; {found.messages} messages are readable: pass on_error='skip' to read them, or "
            f"on_error='collect' to be told as well what is lost"
        )
    return Db3Summary(
        path=file.path,
        schemas=schemas,
        channels=channels,
        chunks=found.chunks,
        message_count=found.messages,
        channel_counts=counts,
        complete=not damage,
        problems=tuple(dict.fromkeys([*damage, *found.notes, *notes])),
        topic_ids=topic_ids,
        indexed=found.indexed,
        compression=_compression(file, metadata),
    )


def _check_tables(db: Database) -> None:
    """FileFormatError where the database is not a ROS 2 bag."""
    for table, needed in (("topics", ("id", "name", "type")), ("messages", ("topic_id", "timestamp", "data"))):
        columns = db.columns(table)
        if not columns:
            raise FileFormatError(f"{db.name}: is an SQLite database, but no ROS 2 bag: it has no table {table}")
        missing = [column for column in needed if column not in columns]
        if missing:
            raise FileFormatError(f"{db.name}: is no ROS 2 bag: its table {table} has no column {missing[0]}")
        if "_rowid_" in columns:
            raise FileFormatError(f"{db.name}: the table {table} has a column _rowid_, which hides the order of rows")


def _topics(db: Database) -> list[dict[str, Any]]:
    columns = db.columns("topics")
    optional = ("serialization_format", "offered_qos_profiles", "type_description_hash")
    wanted = ["id", "name", "type", *(c for c in optional if c in columns)]
    topics: list[dict[str, Any]] = []
    for row in db.run(f"SELECT {', '.join(wanted)} FROM topics NOT INDEXED ORDER BY id"):
        topic = dict(zip(wanted, row))
        if len(topics) == _MOST_TOPICS:
            raise FileFormatError(f"{db.name}: has more than {_MOST_TOPICS} topics")
        if not isinstance(topic["id"], int) or not all(isinstance(topic[c], Text) for c in ("name", "type")):
            raise FileFormatError(f"{db.name}: the table topics has a row whose id, name or type is of another kind")
        if topics and topics[-1]["id"] == topic["id"]:
            raise FileFormatError(f"{db.name}: the table topics has two rows of the id {topic['id']}")
        topics.append(topic)
    return topics


def _definitions(db: Database) -> tuple[list[str], dict[tuple[str, str], tuple[str, bytes]]]:
    """(encoding, text) by (type, hash) and by (type, ""), which is the first of that type."""
    found: dict[tuple[str, str], tuple[str, bytes]] = {}
    needed = ("topic_type", "encoding", "encoded_message_definition")
    columns = db.columns("message_definitions")
    if not columns.issuperset(needed):
        return [], found  # before Iron
    mark = "type_description_hash" if "type_description_hash" in columns else "''"
    try:
        with complaints(db.name):
            for kind, encoding, text, digest in db.run(
                f"SELECT {', '.join(needed)}, {mark} FROM message_definitions NOT INDEXED ORDER BY _rowid_"
            ):
                if isinstance(text, Text) and str(encoding) in ("ros2msg", "ros2idl"):
                    definition = str(encoding), bytes(text)
                    found.setdefault((str(kind), str(digest)), definition)
                    found.setdefault((str(kind), ""), definition)
    except FileFormatError as error:
        return [f"{error} (in the message definitions)"], found
    return [], found


def _channels(
    name: str, topics: list[dict[str, Any]], definitions: Mapping[tuple[str, str], tuple[str, bytes]]
) -> tuple[dict[int, Schema], dict[int, Channel]]:
    schemas: dict[tuple, Schema] = {}
    channels: dict[int, Channel] = {}
    for topic in topics:
        kind, digest = str(topic["type"]), str(topic.get("type_description_hash") or "")
        encoding, text = definitions.get((kind, digest)) or definitions.get((kind, "")) or ("", b"")
        key = kind, encoding, text
        schema = schemas.setdefault(key, Schema(len(schemas) + 1, kind, encoding, text))
        extra = {c: str(topic[c]) for c in ("offered_qos_profiles", "type_description_hash") if topic.get(c)}
        encoded = str(topic.get("serialization_format") or "cdr")
        channels[len(channels)] = Channel(len(channels), str(topic["name"]), schema.id, encoded, extra)
    return {schema.id: schema for schema in schemas.values()}, channels


def _metadata(db: Database, file: FileReader, notes: list[str]) -> Metadata | None:
    """metadata.yaml beside the file, else the copy of it that newer recorders keep in the database."""
    try:
        found = metadata_beside(file.path)
    except (FileFormatError, OSError) as error:
        notes.append(f"{error}; it was not used")
        found = None
    if found is not None or "metadata" not in db.columns("metadata"):
        return found
    try:
        with complaints(db.name):
            rows = db.run("SELECT metadata FROM metadata NOT INDEXED ORDER BY _rowid_ DESC LIMIT 1").fetchall()
        return parse_metadata(bytes(rows[0][0]), db.name) if rows and isinstance(rows[0][0], Text) else None
    except FileFormatError as error:
        notes.append(f"{error} (in its table metadata); it was not used")
        return None


def _compression(file: FileReader, metadata: Metadata | None) -> str:
    if metadata is None or metadata.compression_mode != "message":
        return ""
    if metadata.compression_format != "zstd":
        raise FileFormatError(
            f"{file.path}: its messages are compressed with {metadata.compression_format!r}; robodf reads 'zstd': "
            f"convert the recording with ros2 bag convert"
        )
    return "zstd"


def _counts(
    file: FileReader, found: Pieces, topics: list[dict[str, Any]], metadata: Metadata | None
) -> dict[int, int] | None:
    """Messages per channel."""
    if found.counts is not None:
        return {c: found.counts.get(topic["id"], 0) for c, topic in enumerate(topics)}
    if metadata is None or [os.path.basename(f) for f in metadata.files] != [os.path.basename(file.path)]:
        return None
    names = [str(topic["name"]) for topic in topics]
    stated = metadata.topic_counts
    if len(set(names)) != len(names) or sum(stated.values()) != found.messages or not stated.keys() <= set(names):
        return None
    return {c: stated.get(name, 0) for c, name in enumerate(names)}
