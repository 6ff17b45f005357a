"""Schemas and channels, gathered from wherever a file has them."""

from __future__ import annotations

from collections.abc import Iterable

from robodf.errors import FileFormatError
from robodf.io.files import FileReader
from robodf.io.logs.model import Channel, ChunkIndex, Schema
from robodf.io.mcap import records
from robodf.io.mcap.load import load_chunk, parse_index
from robodf.io.mcap.records import Fields, Op, Record, iter_records
from robodf.io.mcap.walk import walk, walk_indexed


class Definitions:
    """The first Schema and Channel record of each id; `problems` names those that contradict them."""

    def __init__(self, path: str):
        self.path = path
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.problems: list[str] = []

    def add(self, data: bytes, record: Record, base: int) -> None:
        """Take a record of a buffer whose first byte is at file offset `base`; others are ignored."""
        try:
            if record.op == Op.SCHEMA:
                found = records.schema(Fields(self.path, data, record.at, record.end, base, "schema"))
                known = self.schemas.setdefault(found.id, found)
            elif record.op == Op.CHANNEL:
                found = records.channel(Fields(self.path, data, record.at, record.end, base, "channel"))
                known = self.channels.setdefault(found.id, found)
            else:
                return
        except FileFormatError as error:
            self.problems.append(str(error))
            return
        if known != found:
            kind = "schema" if record.op == Op.SCHEMA else "channel"
            self.problems.append(f"{self.path}: {kind} {found.id} is defined twice, differently; the first is used")

    def add_at(self, data: bytes, offsets: Iterable[int], base: int) -> None:
        """As `add`, for the whole records that start at these offsets of the buffer."""
        for at in offsets:
            self.add(data, next(iter_records(self.path, data, base, at)), base)

    def missing(self, used: set[int]) -> tuple[set[int], set[int]]:
        """Channel ids in `used` and schema ids of known channels that no record defines."""
        schemas = {self.channels[c].schema_id for c in used if c in self.channels} - {0}
        return used - self.channels.keys(), schemas - self.schemas.keys()

    def find_in_chunks(self, file: FileReader, chunks: Iterable[ChunkIndex], used: set[int]) -> None:
        """Read chunks until all that `used` needs is defined, the likeliest first."""
        left = [c for c in chunks if not c.bare]  # those were read when they were found
        while left:
            channels, schemas = self.missing(used)
            if not channels and not schemas:
                return
            wanted = channels | {c.id for c in self.channels.values() if c.schema_id in schemas}
            chunk = next((c for c in left if not wanted.isdisjoint(c.message_index_offsets)), left[0])
            left.remove(chunk)
            try:
                buffer, index, *_ = load_chunk(file, chunk)
            except FileFormatError:
                continue  # the reader of its messages reports it
            entries = parse_index(chunk, index) if index else None
            found = walk(buffer) if entries is None else walk_indexed(buffer, entries.offset)
            self.add_at(buffer, found.definitions, chunk.offset)
