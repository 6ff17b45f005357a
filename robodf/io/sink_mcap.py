"""Writing a query to an MCAP file: raw messages as they are, or the columns of one topic encoded as messages."""

from __future__ import annotations

import os
import stat
import time as clock
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl

from robodf.compat import KEEP_ORDER
from robodf.errors import OptionError, QueryError, SchemaError, column_not_found, hint, listing
from robodf.io import publish
from robodf.io.log_channels import Channels, Definition, Given, Key, log_sources
from robodf.io.logs.files import workers
from robodf.io.logs.source import LogSource
from robodf.io.logs.topic import META
from robodf.io.mcap.copying import copy_extras
from robodf.io.mcap.summary import McapSummary
from robodf.io.mcap.writer import COMPRESSIONS, McapWriter
from robodf.io.messages.decoder import Schema
from robodf.io.messages.encoder import Unencodable, first_true
from robodf.io.sink import WriteReport
from robodf.plan.base import Plan

ENCODINGS = ("raw", "cdr", "ros1", "json")
_BATCH_ROWS = 4096  # batches of fewer rows are put together before they are written
_BATCH_BYTES = 16 << 20  # ... unless they hold images
_TEXT = (pl.String, pl.Categorical, pl.Enum)
_MOST_THREADS = 8  # that compress: each holds chunks in memory

Encode = Callable[[pl.DataFrame], pl.Series]
"""The payloads of rows; raises `Unencodable` for a row that has none."""


@dataclass(frozen=True)
class McapSink:
    """One write, checked as far as the schema of the frame tells. `columns` are those that it reads."""

    name: str
    path: Path
    columns: tuple[str, ...]
    time: str
    topic: str | None  # None: the column
    encode: Encode | None  # None: the column data holds the messages
    definition: Definition | None  # of the encoded messages
    metadata: Mapping[str, str]  # of their channel
    channels: Channels
    sources: tuple[LogSource, ...]
    mode: str
    attachments: bool
    compression: str
    chunk_size: int

    def write(self, query: pl.LazyFrame) -> WriteReport:
        """Run the query of `columns` and write its rows, in their order."""
        started = clock.monotonic()
        with publish.staging(self.path) as area:
            staged = area / "file"
            with self._disk():
                writer = McapWriter(
                    staged, self.compression, self.chunk_size, self._profile(), threads=min(workers(), _MOST_THREADS)
                )
            with writer:
                rows = _Rows(self, writer)
                for batch in _batches(query):
                    rows.write(batch)
                if self.attachments:
                    copy_extras(writer, rows.sources(), self._disk)
                with self._disk():
                    writer.finish()
            with self._disk():
                size = staged.stat().st_size
                publish.publish_file(staged, self.path, replace=self.mode == "overwrite")
        return WriteReport(self.name, rows.count, (str(self.path),), size, clock.monotonic() - started)

    def _profile(self) -> str:
        """The profile of the logs, where they are MCAP files of one, and JSON does not break it."""
        if self.definition is not None and self.definition.message_encoding == "json":
            return ""
        found = {s.profile if isinstance(s, McapSummary) else "" for source in self.sources for s in source.summaries}
        return found.pop() if len(found) == 1 else ""

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Name the target in the errors of writing it; those of reading the input name the input."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise publish.naming(error, self.path) from error


class _Rows:
    """The rows on their way to the writer."""

    def __init__(self, sink: McapSink, writer: McapWriter):
        self.count = 0
        self._sink = sink
        self._writer = writer
        self._keys = [c for c in Key._fields if c in sink.columns]
        if sink.topic is not None and "topic" in self._keys:
            self._keys.remove("topic")
        self._ids: dict[Key, int] = {}
        self._channels: dict[tuple, int] = {}
        if sink.definition is not None:
            assert sink.topic is not None
            self._ids[Key(None, sink.topic, None)] = self._channel(sink.topic, sink.definition, sink.metadata)
            self._keys = []

    def write(self, batch: pl.DataFrame) -> None:
        """Write the rows of a batch."""
        sink = self._sink
        log_time = self._times(batch, sink.time)
        publish_time = self._times(batch, "publish_time") if "publish_time" in sink.columns else None
        sequence = self._integers(batch.get_column("sequence"), pl.UInt32()) if "sequence" in sink.columns else None
        if sink.encode is None:
            data = batch.get_column("data")
            self._no_nulls(data)
        else:
            try:
                data = sink.encode(batch)
            except Unencodable as error:
                self._refuse(error.row, error.why)
        channel = self._channel_of(batch)
        with sink._disk():
            self._writer.write_batch(channel, log_time, data, publish_time, sequence)
        self.count += batch.height

    def sources(self) -> list[tuple[LogSource, int]]:
        """The files (source and number) of the recordings that the rows came from; all where the rows do not say."""
        seen = {key.recording for key in self._ids}
        return [
            (source, k)
            for source in self._sink.sources
            for k, recording in enumerate(source.recordings)
            if "recording" not in self._keys or recording in seen
        ]

    def _refuse(self, row: int, why: str) -> NoReturn:
        raise QueryError(f"to_mcap: row {self.count + row} {why}")

    def _no_nulls(self, column: pl.Series) -> None:
        if column.null_count():
            why = f"has null in column {column.name!r}; drop such rows (drop_nulls), fill it, or drop the column"
            self._refuse(first_true(column.is_null()), why)

    def _times(self, batch: pl.DataFrame, name: str) -> np.ndarray:
        """ns since 1970."""
        column = batch.get_column(name)
        if isinstance(column.dtype, pl.Datetime):
            column = column.cast(pl.Datetime("ns", column.dtype.time_zone)).cast(pl.Int64)
        return self._integers(column, pl.UInt64())

    def _integers(self, column: pl.Series, dtype: pl.DataType) -> np.ndarray:
        self._no_nulls(column)
        found = column.cast(dtype, strict=False)
        if found.null_count():
            row = first_true(found.is_null())
            self._refuse(row, f"has {column[row]} in column {column.name!r}, which does not fit {dtype}")
        return found.to_numpy()

    def _channel_of(self, batch: pl.DataFrame) -> np.ndarray:
        sink = self._sink
        if not self._keys:
            key = Key(None, sink.topic, None)
            return np.full(batch.height, self._id(key), np.uint16)
        # No query of Polars here: its threads are busy with the rows that come next.
        columns = [batch.get_column(name) for name in self._keys]
        columns = [c if c.dtype == pl.String else c.cast(pl.String) for c in columns]
        if "topic" in self._keys:
            self._no_nulls(batch.get_column("topic"))
        first, which = _distinct(columns)
        ids = []
        for i in first.tolist():
            # A null is a value that no channel has, other than a column that is not there.
            known = {c.name: "" if c[i] is None else c[i] for c in columns}
            ids.append(self._id(Key(known.get("recording"), known.get("topic", sink.topic), known.get("type"))))
        return np.array(ids, np.uint16)[which]

    def _id(self, key: Key) -> int:
        if key not in self._ids:
            definition, metadata = self._sink.channels.find(key)
            assert key.topic is not None
            self._ids[key] = self._channel(key.topic, definition, metadata)
        return self._ids[key]

    def _channel(self, topic: str, definition: Definition, metadata: Mapping[str, str]) -> int:
        """The id of the channel; channels of one topic that differ in nothing are one."""
        whole = (topic, definition, tuple(sorted(metadata.items())))
        if whole not in self._channels:
            type, encoding, text, message_encoding = definition
            schema = self._writer.add_schema(type, encoding, text) if type or encoding or text else 0
            self._channels[whole] = self._writer.add_channel(topic, message_encoding, schema, metadata)
        return self._channels[whole]


def _distinct(keys: list[pl.Series]) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each distinct one, and for each row which of these it is."""
    height = len(keys[0])
    code = np.zeros(height, np.int64)
    known = 1
    for column in keys:
        # Several times as fast as Polars' unique and join on texts.
        coded = column.to_arrow().dictionary_encode("encode")
        if len(coded.dictionary) == 1:
            continue
        code = code * len(coded.dictionary) + coded.indices.to_numpy()
        known *= len(coded.dictionary)
        if known > 4 * height:
            distinct, code = np.unique(code, return_inverse=True)
            known = len(distinct)
    row = np.full(known, -1)
    row[code[::-1]] = np.arange(height)[::-1]
    seen = row >= 0
    return row[seen], (np.cumsum(seen) - 1)[code]


def _batches(query: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows in order, in the batches that the sources give: theirs are bounded in bytes."""
    waiting: list[pl.DataFrame] = []
    rows = size = 0
    for batch in query.collect_batches(maintain_order=True, engine="streaming", optimizations=KEEP_ORDER):
        if not batch.height:
            continue
        waiting.append(batch)
        rows += batch.height
        size += batch.estimated_size()
        if rows >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield pl.concat(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pl.concat(waiting)


def mcap_sink(
    plan: Plan,
    target: str | os.PathLike[str],
    *,
    topic: str | None = None,
    encoding: str | None = None,
    time: str = "log_time",
    mode: str = "error",
    compression: str = "zstd",
    chunk_size: int = 1 << 20,
    schemas: Given | None = None,
    attachments: bool = True,
) -> McapSink:
    """Check a write; the arguments are those of `to_mcap`, which says what they mean."""
    if encoding is not None and encoding not in ENCODINGS:
        raise OptionError(
            f"to_mcap: no encoding {encoding!r}{hint(str(encoding), ENCODINGS)} There are {listing(ENCODINGS)}."
        )
    if compression not in COMPRESSIONS:
        raise OptionError(f"to_mcap: compression is one of {', '.join(COMPRESSIONS)}, not {compression!r}")
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise OptionError(f"to_mcap: chunk_size is a positive number of bytes, not {chunk_size!r}")
    if topic is not None and not isinstance(topic, str):
        raise OptionError(f"to_mcap: topic is a text such as '/imu', not {topic!r}")
    name, path = _target(target, mode)
    schema = plan.schema
    _check_numbers(schema, time)
    sources = tuple(log_sources(plan))
    channels = Channels(sources, schemas)
    chosen = encoding or _encoding(schema, sources)
    make = partial(McapSink, name=name, path=path, time=time, channels=channels, sources=sources, mode=mode,
                   compression=compression, chunk_size=chunk_size)  # fmt: skip
    about = [time, *(c for c in ("publish_time", "sequence") if c in schema and c != time)]
    if chosen == "raw":
        keys = _check_raw(schema, topic)
        columns = tuple(dict.fromkeys([*keys, *about, "data"]))
        return make(columns=columns, topic=topic, encode=None, definition=None, metadata={}, attachments=attachments)
    topics = sorted({s.topic for s in sources if s.topic is not None})
    if topic is None and len(topics) != 1:
        raise OptionError("to_mcap: which topic are the messages to be on? Pass topic='/name'")
    fields = {_field(c): dtype for c, dtype in schema.items() if c not in {*META, *about}}
    names = {_field(c): c for c in schema if c not in {*META, *about}}
    encode, definition, metadata = _encoder(chosen, fields, names, topic or topics[0], channels, topics, schemas)
    return make(columns=(*about, *names.values()), topic=topic or topics[0], encode=encode, definition=definition,
                metadata=metadata, attachments=False)  # fmt: skip


def _field(column: str) -> str:
    """The field of the message that a column is: reading gives `msg.` to a field named as one of META."""
    bare = column.removeprefix("msg.")
    return bare if bare in META else column


def _encoder(
    chosen: str, fields: Schema, names: dict[str, str], topic: str, channels: Channels, topics: list[str],
    schemas: Given | None,
) -> tuple[Encode, Definition, Mapping[str, str]]:  # fmt: skip
    """How rows are encoded, the definition of the messages, and the metadata of their channel."""
    if not fields:  # nothing would tell a message that could not be read from one without fields
        raise SchemaError(
            "to_mcap: the frame has no columns for the fields of a message; read the log without a topic, and the raw "
            "messages pass as they are"
        )
    if chosen == "json":
        from robodf.io.messages.json_encode import JsonEncoder

        json = JsonEncoder(fields)
        text = json.schema_text(topic)
        return (lambda batch: json.encode(_message(batch, names))), Definition(topic, "jsonschema", text, "json"), {}
    from robodf.io.messages.ros_encode import RosEncoder

    metadata: Mapping[str, str] = {}
    if len(topics) == 1 and not schemas:
        original, metadata = channels.find(Key(None, topics[0], None))
    else:
        original = channels.given(None, next(iter(schemas))) if schemas and len(schemas) == 1 else None
    if original is None:
        raise OptionError(
            f"to_mcap: {chosen} messages need the definition of their type: write a frame of one topic of a log, or "
            "pass schemas={'pkg/msg/Type': ('ros2msg', text, 'cdr')}"
        )
    if original.message_encoding != chosen:
        raise OptionError(
            f"to_mcap: the definition of {original.type} is of {original.message_encoding!r} messages, which "
            f"encoding={chosen!r} does not make"
        )
    type, schema_encoding, text, _ = original
    ros = RosEncoder(chosen, schema_encoding, type, text, fields)
    return (lambda batch: ros.encode(_message(batch, names))), original, metadata


def _message(batch: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    return batch.select(pl.col(column).alias(name) for name, column in names.items())


def _encoding(schema: Schema, sources: tuple[LogSource, ...]) -> str:
    """The encoding that the frame itself calls for."""
    if schema.get("data") == pl.Binary and isinstance(schema.get("topic"), _TEXT):
        return "raw"
    kinds = {kind for s in sources if s.table is not None for kind in s.table.kinds}
    found = {kind.message_encoding for kind in kinds}
    if len({s.topic for s in sources}) == 1 and found in ({"cdr"}, {"ros1"}, {"json"}):
        return found.pop()
    raise OptionError(
        "to_mcap: how are the rows to be encoded as messages? Raw messages need the columns topic, log_time and data: "
        "read the log without a topic and filter by the column topic, and they pass as they are. Any other frame can "
        "be written with encoding='json' and topic='/name'"
    )


def _check_numbers(schema: Schema, time: str) -> None:
    if time not in schema:
        raise column_not_found(time, schema, "to_mcap (time= names the column of the log times)")
    for name in (time, "publish_time"):
        dtype = schema.get(name)
        if dtype is not None and not (isinstance(dtype, pl.Datetime) or dtype.is_integer()):
            raise SchemaError(f"to_mcap: column {name!r} is {dtype}; it takes Datetime, or integers of ns since 1970")
    if "sequence" in schema and not schema["sequence"].is_integer():
        raise SchemaError(f"to_mcap: column 'sequence' is {schema['sequence']}; it takes integers. Cast or drop it")


def _check_raw(schema: Schema, topic: str | None) -> list[str]:
    """The columns that tell the channel of a raw message."""
    if "data" not in schema:
        raise column_not_found("data", schema, "to_mcap (it has the messages)")
    if schema["data"] != pl.Binary:
        raise SchemaError(f"to_mcap: column 'data' is {schema['data']}; raw messages are Binary")
    if "topic" not in schema and topic is None:
        raise column_not_found("topic", schema, "to_mcap (or pass topic='/name')")
    if "topic" in schema and topic is not None:
        raise OptionError("to_mcap: the frame has a column 'topic': drop it, or do not pass topic=")
    keys = [name for name in Key._fields if name in schema]
    for name in keys:
        if not isinstance(schema[name], _TEXT):
            raise SchemaError(f"to_mcap: column {name!r} is {schema[name]}; it takes text")
    return keys


def _target(target: str | os.PathLike[str], mode: str) -> tuple[str, Path]:
    """The target as given and its real path, which is free or may be replaced."""
    text = os.fspath(target)
    if not isinstance(text, str) or not text or "\0" in text:
        raise OptionError(f"to_mcap: a target is a path as text, not {target!r}")
    if mode not in ("error", "overwrite"):
        raise OptionError(
            f"to_mcap: mode is 'error' or 'overwrite', not {mode!r}: an MCAP file cannot be appended to whole or not "
            "at all; read, concat and overwrite it"
        )
    text = text.removeprefix("file://")
    if "://" in text:
        raise OptionError(f"to_mcap: {text!r} is no local path; write a local file and upload it")
    if not text.lower().endswith(".mcap"):
        raise OptionError(f"to_mcap: writes one file, so its name ends in .mcap: {text!r}")
    path = Path(os.path.realpath(os.path.expanduser(text)))
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return text, path
    except OSError as error:
        raise publish.naming(error, path) from error
    if not stat.S_ISREG(kind):
        raise OptionError(f"to_mcap: {str(path)!r} is no regular file and is not replaced by one; choose another name")
    if mode == "error":
        raise publish.exists(path)
    return text, path
