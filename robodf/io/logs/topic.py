"""One topic as a table: the columns of its messages, over all channels and files that carry it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from robodf.errors import QueryError, SchemaError, column_not_found, hint, listing
from robodf.io.logs.containers import container
from robodf.io.logs.files import counted
from robodf.io.logs.model import Summary, select_chunks
from robodf.io.logs.unite import fitted, unite
from robodf.io.messages import Decoder, Payloads, decoder_for, header_stamp
from robodf.plan.nodes.scan import reduce_struct

TIME = pl.Datetime("ns")
META = {
    "recording": pl.String(),
    "log_time": TIME,
    "publish_time": TIME,
    "sequence": pl.UInt32(),
    "header_stamp": TIME,
}
"""What every topic has beside its message."""


@dataclass(frozen=True)
class ChannelKind:
    """What decides how the messages of a channel are decoded."""

    message_encoding: str
    schema_encoding: str
    schema_name: str
    schema_data: bytes

    def decoder(self) -> Decoder:
        return decoder_for(self.message_encoding, self.schema_encoding, self.schema_name, self.schema_data)


def kind_of(summary: Summary, channel_id: int) -> ChannelKind:
    channel = summary.channels[channel_id]
    schema = summary.schemas.get(channel.schema_id)
    if schema is None:
        return ChannelKind(channel.message_encoding, "", "", b"")
    return ChannelKind(channel.message_encoding, schema.encoding, schema.name, bytes(schema.data))


def channels_of(summary: Summary, topics: Iterable[str] | None) -> frozenset[int]:
    """The channels of a file that carry one of the topics (None: all)."""
    wanted = None if topics is None else frozenset(topics)
    return frozenset(i for i, c in summary.channels.items() if wanted is None or c.topic in wanted)


@dataclass(frozen=True)
class TopicTable:
    """The columns of a topic, and which decoder fills them for each kind of channel."""

    topic: str
    schema: dict[str, pl.DataType]  # of the message, united over the kinds
    kinds: dict[ChannelKind, dict[str, pl.DataType]]  # what each kind's decoder gives

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TopicTable) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple:
        """What makes two tables the same: the order of columns too, which dicts do not compare."""
        kinds = tuple((kind, tuple(schema.items())) for kind, schema in self.kinds.items())
        return self.topic, tuple(self.schema.items()), kinds

    def of(self, summaries: Iterable[Summary]) -> TopicTable:
        """The same columns, with the kinds of the channels in these files alone."""
        there = {kind_of(s, c) for s in summaries for c in channels_of(s, [self.topic])}
        return TopicTable(self.topic, self.schema, {k: v for k, v in self.kinds.items() if k in there})

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """The columns of the table: META, then the message, whose names get `msg.` where they are taken."""
        return {**META, **{self.column(name): dtype for name, dtype in self.schema.items()}}

    def column(self, field: str) -> str:
        return f"msg.{field}" if field in META else field

    def field(self, column: str) -> str:
        return column.removeprefix("msg.") if column not in self.schema else column

    @property
    def decoders(self) -> str:
        """How the messages are read, for `explain()`."""
        made = [kind.decoder() for kind in self.kinds]
        return ", ".join(dict.fromkeys(d.name + (f" ({d.reason})" if d.reason else "") for d in made))


def topic_table(
    topic: str, paths: tuple[str, ...], formats: tuple[str, ...], summaries: list[Summary], storage: tuple
) -> TopicTable:
    """The table of a topic. JSON without a usable schema is inferred from the first chunk that has it."""
    known = sorted({c.topic for s in summaries for c in s.channels.values()})
    if topic not in known:
        raise QueryError(f"no topic {topic!r} in {_files(paths)}{hint(topic, known)} Topics: {listing(known)}.")
    kinds: dict[ChannelKind, dict[str, pl.DataType]] = {}
    united: dict[str, pl.DataType] = {}
    origin: dict[str, str] = {}
    for path, format, summary in zip(paths, formats, summaries):
        for channel_id in sorted(channels_of(summary, [topic])):
            kind = kind_of(summary, channel_id)
            if kind in kinds:
                continue
            decoder = kind.decoder()
            schema = decoder.schema
            if schema is None:
                schema = decoder.infer(_sample(path, format, summary, topic, storage))
            kinds[kind] = schema
            for name, dtype in schema.items():
                both = unite(united[name], dtype) if name in united else dtype
                if both is None:
                    raise SchemaError(
                        f"topic {topic!r}: {name!r} is {united[name]} in {origin[name]} and {dtype} in {path}. "
                        "Read the files apart and cast, or read without topic= for the raw messages"
                    )
                united[name] = both
                origin.setdefault(name, path)
    return TopicTable(topic, united, kinds)


def _sample(path: str, format: str, summary: Summary, topic: str, storage: tuple) -> Payloads:
    channels = channels_of(summary, [topic])
    with counted(path, format, storage) as file:
        for chunk in select_chunks(summary, channels):
            found = container(format).read_chunk(file, summary, chunk, channels, on_error="skip")
            if len(found):
                return Payloads(found.buffer, found.offset, found.length)
    return Payloads.of([])


def projection(table: TopicTable, columns: Iterable[str], fields: tuple[tuple[str, ...], ...]) -> dict | None:
    """The wanted columns as the tree that decoders take; {} where no field of the message is wanted."""
    tree: dict = {}
    for column in columns:
        if column in META and column != "header_stamp":
            continue
        if column == "header_stamp":
            path = header_stamp(table.schema)
            if path is not None:
                _graft(tree, path)
            continue
        if column not in table.columns:
            raise column_not_found(column, table.columns, f"topic {table.topic}")
        paths = [(table.field(column), *f[1:]) for f in fields if f[0] == column]
        for path in paths or [(table.field(column),)]:
            _graft(tree, path)
    return tree


def present(tree: dict | None, schema: Mapping[str, pl.DataType]) -> dict | None:
    """The part of a projection that a channel of this schema has."""
    if tree is None:
        return None
    found = {}
    for name, below in tree.items():
        if name in schema:
            inner = _struct(schema[name])
            part = below if below is None or inner is None else present(below, inner)
            if part is None or part:
                found[name] = part
    return found


def _struct(dtype: pl.DataType) -> dict[str, pl.DataType] | None:
    """The fields of a struct, or of the structs in a list."""
    while isinstance(dtype, (pl.List, pl.Array)):
        dtype = dtype.inner  # type: ignore[assignment]
    return {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, pl.Struct) else None  # type: ignore[misc]


def _graft(tree: dict, path: tuple[str, ...]) -> None:
    for i, part in enumerate(path):
        last = i == len(path) - 1
        if part in tree and tree[part] is None:
            return  # wanted whole already
        if last:
            tree[part] = None
        else:
            tree = tree.setdefault(part, {})


class Place(NamedTuple):
    """A wanted column: the field of the message, its type, and whether the decoder gives another type."""

    column: str
    field: str
    dtype: pl.DataType
    differs: bool


def places(
    table: TopicTable, columns: Iterable[str], fields: tuple[tuple[str, ...], ...], given: Mapping[str, pl.DataType]
) -> list[Place]:
    """The wanted columns, where a decoder gives columns of the types `given`."""
    found = []
    for column in columns:
        if column == "header_stamp":
            found.append(Place(column, column, TIME, False))
        elif column not in META:
            paths = [f[1:] for f in fields if f[0] == column]
            name = table.field(column)
            dtype = reduce_struct(table.schema[name], paths) if paths else table.schema[name]
            found.append(Place(column, name, dtype, given.get(name) != dtype))
    return found


def message_columns(table: TopicTable, decoded: pl.DataFrame, wanted: list[Place]) -> list[pl.Series]:
    """The wanted columns of the message out of what a decoder gave; null where this channel lacks them."""
    made = []
    for place in wanted:
        if place.column == "header_stamp":
            made.append(_stamp(table, decoded))
        elif place.field not in decoded.columns:
            nothing = pl.Series(place.column, [None], dtype=place.dtype)
            made.append(nothing.new_from_index(0, decoded.height) if decoded.height else nothing.clear())
        else:
            column = decoded.get_column(place.field)
            made.append((fitted(column, place.dtype) if place.differs else column).alias(place.column))
    return made


def _stamp(table: TopicTable, decoded: pl.DataFrame) -> pl.Series:
    path = header_stamp(table.schema)
    if path is None or path[0] not in decoded.columns:
        return pl.Series("header_stamp", [None], dtype=TIME).new_from_index(0, decoded.height)
    column = decoded.get_column(path[0])
    for part in path[1:]:
        column = column.struct.field(part)
    return column.alias("header_stamp")


def _files(paths: tuple[str, ...]) -> str:
    return paths[0] if len(paths) == 1 else f"{len(paths)} files ({paths[0]}, …)"
