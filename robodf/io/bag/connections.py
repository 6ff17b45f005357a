"""Connections of a bag as channels and schemas, gathered from wherever a file has them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.bag.load import load_chunk
from robodf.io.bag.records import BadRecord, Head, parse_fields, read_head
from robodf.io.files import FileReader
from robodf.io.logs.model import Channel, ChunkIndex, Schema

MOST_CONNECTIONS = 65_535
_METADATA = (b"callerid", b"latching", b"md5sum")


class Connections:
    """The first record of each connection; `problems` names those that contradict it.

    The file's connection ids may be any u32: `ids` maps them to channel ids, in the order in which they appear.
    Connections of the same type and definition share a schema.
    """

    def __init__(self, path: str):
        self.path = path
        self.ids: dict[int, int] = {}
        self.channels: dict[int, Channel] = {}
        self.schemas: dict[int, Schema] = {}
        self.problems: list[str] = []
        self._schema_ids: dict[tuple[str, bytes], int] = {}

    def channel_id(self, conn: int) -> int:
        """The channel of a connection, whether or not it is defined yet."""
        found = self.ids.get(conn)
        if found is None:
            if len(self.ids) == MOST_CONNECTIONS:
                raise FileFormatError(
                    f"{self.path}: has more than {MOST_CONNECTIONS} connections, which no recording has: it is damaged"
                )
            found = self.ids[conn] = len(self.ids)
        return found

    def channel_counts(self, counts: dict[int, int]) -> dict[int, int]:
        """Messages per channel from messages per connection."""
        return {self.channel_id(conn): n for conn, n in counts.items()}

    def count(self, conn: np.ndarray) -> dict[int, int]:
        """Messages per channel, from the connection of each message."""
        conns, counts = np.unique(conn, return_counts=True)
        return self.channel_counts(dict(zip(conns.tolist(), counts.tolist())))

    def add(self, head: Head, base: int) -> None:
        """Take a connection record of a buffer whose first byte is at file offset `base`; its data must be there."""
        try:
            conn = head.u32(b"conn")
            inner = parse_fields(head.buffer, head.data, head.data + head.length)
            topic = _text(head, head.fields if b"topic" in head.fields else inner, b"topic")
            name = _text(head, inner, b"type")
        except BadRecord as error:
            self.problems.append(f"{self.path}: connection record in what is at offset {base}: {error}")
            return
        start, end = inner.get(b"message_definition", (0, 0))
        schema = name, head.buffer[start:end]
        metadata = {
            k.decode(): head.buffer[slice(*inner[k])].decode("utf-8", "replace") for k in _METADATA if k in inner
        }
        known = self.channels.get(self.channel_id(conn))
        if known is None:
            schema_id = self._schema_ids.setdefault(schema, len(self._schema_ids) + 1)
            self.schemas[schema_id] = Schema(schema_id, name, "ros1msg", schema[1])
            channel_id = self.channel_id(conn)
            self.channels[channel_id] = Channel(channel_id, topic, schema_id, "ros1", metadata)
        elif known.topic != topic or self._schema_ids.get(schema) != known.schema_id:
            text = f"{self.path}: connection {conn} is defined twice, differently; the first is used"
            if text not in self.problems[-1:]:
                self.problems.append(text)

    def add_at(self, data: bytes, offsets: Iterable[int], base: int) -> None:
        """As `add`, for the whole records that start at these offsets of the buffer."""
        for at in offsets:
            self.add(read_head(data, int(at), len(data)), base)

    def missing(self, used: set[int]) -> list[int]:
        """Connections whose channels are in `used` and that no record defines."""
        return sorted(conn for conn, channel in self.ids.items() if channel in used and channel not in self.channels)

    def find_in_chunks(self, file: FileReader, chunks: Iterable[ChunkIndex], used: set[int]) -> None:
        """Look for the connections in `used` that are not defined yet, in the chunks that have messages of them."""
        for chunk in chunks:
            lacking = used - self.channels.keys()
            if not lacking:
                return
            if chunk.counts is None or not lacking.isdisjoint(chunk.counts):
                try:
                    loaded = load_chunk(file, chunk)
                except FileFormatError:
                    continue  # whoever reads its messages reports it
                self.add_at(loaded.buffer, loaded.found.connections, chunk.offset)


def _text(head: Head, fields: dict[bytes, tuple[int, int]], name: bytes) -> str:
    if name not in fields:
        raise BadRecord(f"it has no {name.decode()}")
    value = head.buffer[slice(*fields[name])]
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRecord(f"its {name.decode()} {value[:80]!r} is no UTF-8") from None
