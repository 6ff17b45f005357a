"""ROS 2 bags made by plain SQLite, in the shapes that recorders and attackers leave."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from robodf.io.db3 import Db3Summary, read_chunk, read_summary
from robodf.io.files import open_file

TOPICS = """CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
    serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)"""
MESSAGES = """CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    data BLOB NOT NULL)"""
INDEX = "CREATE INDEX timestamp_idx ON messages (timestamp ASC)"

Row = tuple[object, object, object]  # topic id, timestamp, data


def write_bag(
    path: Path,
    rows: Iterable[Row],
    topics: Iterable[tuple] = ((1, "/a"), (2, "/b")),
    schema: Iterable[str] = (TOPICS, MESSAGES, INDEX),
    after: Iterable[str] = (),
) -> Path:
    """A bag of these rows, whose ids count from 1."""
    with closing(sqlite3.connect(path)) as bag:
        for statement in schema:
            bag.execute(statement)
        for topic in topics:
            bag.execute("INSERT INTO topics VALUES(?, ?, 'std_msgs/msg/String', 'cdr', '')", topic)
        for row in rows:
            bag.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", row)
        for statement in after:
            bag.execute(statement)
        bag.commit()
    return path


Message = tuple[str, int, bytes]


def read_bag(path: Path, on_error: str = "raise", **bounds) -> tuple[Db3Summary, list[Message], list[str]]:
    """The summary, the (topic, log_time, payload) of all messages and the problems met."""
    with open_file(path) as file:
        summary = read_summary(file, on_error)
        problems = list(summary.problems)
        messages: list[Message] = []
        for chunk in summary.chunks:
            found = read_chunk(file, summary, chunk, on_error=on_error, problems=problems, **bounds)
            messages += [
                (summary.channels[channel].topic, time, found.payload(i))
                for i, (channel, time) in enumerate(zip(found.channel_id.tolist(), found.log_time.tolist()))
            ]
        return summary, messages, problems
