"""The chunks of one log file, read side by side and decoded into frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.counting import read
from robodf.io.files import FileReader
from robodf.io.logs.choosing import among, between
from robodf.io.logs.containers import container
from robodf.io.logs.files import reading_threads, workers
from robodf.io.logs.locating import Located, known_by_heads
from robodf.io.logs.model import ChunkIndex, Messages, Summary
from robodf.io.logs.selection import END_OF_TIME, Selection
from robodf.io.logs.sharing import File, reading, select, shared
from robodf.io.logs.topic import (
    TIME,
    ChannelKind,
    Place,
    TopicTable,
    kind_of,
    message_columns,
    places,
    present,
    projection,
)
from robodf.io.messages import Payloads
from robodf.io.messages.decoder import project
from robodf.io.source import LOCATOR, Request

_IN_FLIGHT = 256 << 20  # uncompressed bytes of chunks that are read ahead

Problem: TypeAlias = tuple[str, str, str | None, int | None, int | None]
"""file, error, topic, offset, time (ns): what `ErrorLog.add` takes."""
Part: TypeAlias = tuple[pl.DataFrame, list[Problem]]


@dataclass(frozen=True)
class Reading:
    """One file under one request. `table` is None where messages are not decoded; `schema` is that of the frames."""

    file: FileReader
    format: str
    recording: str
    summary: Summary
    channels: frozenset[int]
    selection: Selection
    request: Request
    table: TopicTable | None
    schema: dict[str, pl.DataType]
    on_error: str
    identity: File  # of the file among those that several readers share
    located: Located | None = None  # how its messages are numbered, where locators are asked for or given

    def frames(self, chunks: list[ChunkIndex], limit: int | None) -> Iterator[Part]:
        """A frame for each chunk, in their order. Some are read and decoded ahead of the consumer, side by side."""
        with reading(self.identity):
            yield from self._frames(chunks, limit)

    def _frames(self, chunks: list[ChunkIndex], limit: int | None) -> Iterator[Part]:
        if limit is not None or len(chunks) == 1 or workers() == 1:
            for chunk in chunks:  # one after the other: the limit may be reached before the next
                frame, problems = self.frame(chunk, limit)
                yield frame, problems
                if limit is not None:
                    limit -= frame.height
                    if limit <= 0:
                        return
            return
        yield from self._side_by_side((chunk, lambda c=chunk: self.frame(c, None)) for chunk in chunks)

    def fetched(self, wanted: list[tuple[ChunkIndex, np.ndarray]]) -> Iterator[Part]:
        """A frame for each chunk: its messages of these numbers, which ascend, a row for each."""
        jobs = ((chunk, lambda c=chunk, n=numbers: self._fetched(c, n)) for chunk, numbers in wanted)
        with reading(self.identity):
            if len(wanted) == 1 or workers() == 1:
                yield from (job() for _, job in jobs)
            else:
                yield from self._side_by_side(jobs)

    def _side_by_side(self, jobs: Iterator[tuple[ChunkIndex, Callable[[], Part]]]) -> Iterator[Part]:
        """What jobs on chunks give, in their order; some run ahead of the consumer."""
        ahead: deque[tuple[ChunkIndex, Future[Part]]] = deque()
        size = 0
        try:
            while True:
                while len(ahead) < 2 * workers() and size < _IN_FLIGHT:
                    chunk, job = next(jobs, (None, None))
                    if chunk is None or job is None:
                        break
                    ahead.append((chunk, reading_threads().submit(job)))
                    size += chunk.uncompressed_size
                if not ahead:
                    return
                chunk, future = ahead.popleft()
                size -= chunk.uncompressed_size
                yield future.result()
        finally:
            for _, future in ahead:
                future.cancel()

    def frame(self, chunk: ChunkIndex, limit: int | None) -> Part:
        """The wanted columns of the chunk's wanted messages, and what could not be read."""
        if not self.request.locator:
            found, lost = self._messages(chunk, limit)
            return self._made(chunk, found, lost)
        assert self.located is not None
        whole, lost = self._numbered(chunk)
        keep = between(whole.log_time, *self.selection.bounds, among(whole.channel_id, self.channels))
        numbers = np.flatnonzero(keep)[:limit]
        frame, problems = self._made(chunk, whole.at(numbers), lost)
        locators = pl.Series(LOCATOR, self.located.locators(self.summary, chunk, numbers), dtype=pl.UInt64)
        return frame.hstack([locators]) if frame.width else locators.to_frame(), problems

    def _fetched(self, chunk: ChunkIndex, numbers: np.ndarray) -> Part:
        """The wanted columns of the messages of these numbers; null where they are not there any more."""
        found, lost = self._numbered(chunk)
        if self.on_error == "raise":
            self._check_heads(chunk, found)
        there = numbers[numbers < len(found)]
        gone = len(numbers) - len(there)
        if gone:
            text = f"{self.file.path}: chunk at offset {chunk.offset}: {gone} of its messages cannot be read any more"
            if self.on_error == "raise":
                raise FileFormatError(f"{text}; was the file changed since the query was planned?")
            lost = [*lost, text]
        frame, problems = self._made(chunk, found.at(there), lost)
        if gone:
            nothing = {name: pl.Series([None] * gone, dtype=dtype) for name, dtype in frame.schema.items()}
            frame = pl.concat([frame, pl.DataFrame(nothing)])
        return frame, problems

    def _numbered(self, chunk: ChunkIndex) -> tuple[Messages, list[str]]:
        """All messages of a chunk that the source has, whatever the predicates, in their order; and what is wrong.

        Without payloads where nothing needs them and an index knows the rest.
        """
        located = self.located
        assert located is not None
        bounds = located.selection.bounds
        if self.on_error == "raise" and known_by_heads(self.format, self.request.columns, self.table is None):
            heads = container(self.format).heads(self.file, self.summary, chunk)
            if heads is not None:
                return select(heads, located.channels, *bounds), []
        read.add(chunks=1)
        lost: list[str] = []

        def whole() -> tuple[Messages, list[str]]:
            return container(self.format).read_chunk(
                self.file, self.summary, chunk, on_error=self.on_error, problems=lost
            ), lost

        if self.format != "db3":
            both = shared(self.identity, chunk.offset, chunk.uncompressed_size, whole)
            found, problems = both or whole()
            return select(found, located.channels, *bounds), problems
        found = container(self.format).read_chunk(self.file, self.summary, chunk, located.channels, *bounds,
                                                  on_error=self.on_error, problems=lost)  # fmt: skip
        return found, lost

    def _check_heads(self, chunk: ChunkIndex, found: Messages) -> None:
        """FileFormatError where an index names other messages: rows may have been chosen by it."""
        located = self.located
        assert located is not None
        if self.format == "db3":
            return
        heads = container(self.format).heads(self.file, self.summary, chunk)
        if heads is None:
            return
        said = select(heads, located.channels, *located.selection.bounds)
        if not (np.array_equal(said.log_time, found.log_time) and np.array_equal(said.channel_id, found.channel_id)):
            raise FileFormatError(
                f"{self.file.path}: chunk at offset {chunk.offset}: its messages are not those of the index behind it; "
                "pass on_error='collect' to read them without the index"
            )

    def _made(self, chunk: ChunkIndex, found: Messages, lost: list[str]) -> Part:
        """The wanted columns of messages of a chunk."""
        problems: list[Problem] = [(self.file.path, problem, None, chunk.offset, None) for problem in lost]
        plain = self._plain(found)
        asked = [c for c in self.request.columns if c not in {s.name for s in plain}]
        if asked:
            plain += self._message(chunk, found, asked, problems).get_columns()
        made = {column.name: column for column in plain}
        return pl.DataFrame([made[name] for name in self.request.columns]), problems

    @cached_property
    def _kinds(self) -> dict[ChannelKind, list[int]]:
        """The channels by how their messages are decoded."""
        kinds: dict[ChannelKind, list[int]] = {}
        for channel_id in sorted(self.channels):
            kinds.setdefault(kind_of(self.summary, channel_id), []).append(channel_id)
        return kinds

    def _messages(self, chunk: ChunkIndex, limit: int | None) -> tuple[Messages, list[str]]:
        """The wanted messages of a chunk, and what is wrong with it."""
        reader = container(self.format)
        read.add(chunks=1)
        lost: list[str] = []

        def whole() -> tuple[Messages, list[str]]:
            return reader.read_chunk(self.file, self.summary, chunk, on_error=self.on_error, problems=lost), lost

        # A database gives what is asked of it; chunks of the others are decompressed whole for any of their messages.
        if limit is None and self.format != "db3":
            both = shared(self.identity, chunk.offset, chunk.uncompressed_size, whole)
            if both is not None:
                return select(both[0], self.channels, *self.selection.bounds), both[1]
        bounds = self.selection.bounds
        found = reader.read_chunk(self.file, self.summary, chunk, self.channels, *bounds, limit,
                                  on_error=self.on_error, problems=lost)  # fmt: skip
        return found, lost

    def _message(self, chunk: ChunkIndex, found: Messages, asked: list[str], problems: list[Problem]) -> pl.DataFrame:
        """The wanted columns of the message, each kind of channel by its own decoder."""
        if len(self._kinds) == 1:
            return self._decoded(chunk, found, next(iter(self._kinds)), None, problems)
        parts, order = [], []
        for kind, ids in self._kinds.items():
            at = np.flatnonzero(np.isin(found.channel_id, ids))
            if len(at):
                order.append(at)
                parts.append(self._decoded(chunk, found, kind, at, problems))
        if not parts:
            return pl.DataFrame(schema={name: self.schema[name] for name in asked})
        if len(parts) == 1:
            return parts[0]
        return pl.concat(parts)[np.argsort(np.concatenate(order), kind="stable")]

    def _decoded(
        self, chunk: ChunkIndex, found: Messages, kind: ChannelKind, at: np.ndarray | None,
        problems: list[Problem],
    ) -> pl.DataFrame:  # fmt: skip
        """The wanted columns of the messages at these positions (None: of all)."""
        table = self.table
        assert table is not None
        schema = table.kinds[kind]
        wanted, into = self._wanted[kind]
        broken: list[tuple[int, str]] = []
        offset, length = (found.offset, found.length) if at is None else (found.offset[at], found.length[at])
        if wanted:
            decoded = kind.decoder().decode(Payloads(found.buffer, offset, length), wanted, schema, broken)
        else:
            decoded = pl.DataFrame(height=len(offset))
        for row, error in broken:
            time = int(found.log_time[row if at is None else at[row]])
            if self.on_error == "raise":
                raise FileFormatError(
                    f"{self.file.path}: topic {table.topic}, message at log_time {time} ns, in the chunk at offset "
                    f"{chunk.offset}: {error}. Pass on_error='collect' to get null for it and its error in df.errors"
                )
            known = time if time < END_OF_TIME else None
            problems.append((self.file.path, error, table.topic, chunk.offset, known))
        return pl.DataFrame(message_columns(table, decoded, into))

    @cached_property
    def _wanted(self) -> dict[ChannelKind, tuple[dict | None, list[Place]]]:
        """For each kind of channel what its decoder is asked for, and into which columns that goes."""
        table, request = self.table, self.request
        assert table is not None
        tree = projection(table, request.columns, request.fields)
        found = {}
        for kind in self._kinds:
            schema = table.kinds[kind]
            wanted = present(tree, schema)
            given = project(schema, wanted) if wanted else {}
            found[kind] = wanted, places(table, request.columns, request.fields, given)
        return found

    def _plain(self, found: Messages) -> list[pl.Series]:
        """The wanted columns that need no decoding."""
        made = []
        bare = self.table is None
        for name in self.request.columns:
            if name == "recording":
                recording = pl.Series(name, [self.recording], dtype=pl.String)
                made.append(recording.new_from_index(0, len(found)))
            elif name == "log_time":
                made.append(_times(name, found.log_time))
            elif name == "publish_time":
                made.append(_times(name, found.publish_time))
            elif name == "sequence":
                made.append(pl.Series(name, found.sequence.astype(np.uint32)))
            elif bare and name == "topic":
                made.append(_named(name, found, {i: c.topic for i, c in self.summary.channels.items()}))
            elif bare and name == "type":
                names = {i: kind_of(self.summary, i).schema_name for i in self.summary.channels}
                made.append(_named(name, found, names))
            elif bare and name == "size":
                made.append(pl.Series(name, found.length.astype(np.uint32)))
            elif bare and name == "data":
                made.append(Payloads(found.buffer, found.offset, found.length).to_series(name))
        return made


def _times(name: str, values: np.ndarray) -> pl.Series:
    """ns since 1970 as Datetime("ns"); null where they do not fit 63 bits."""
    series = pl.Series(name, values.astype(np.int64)).cast(TIME)
    late = values >= np.uint64(END_OF_TIME)
    if late.any():
        series = pl.select(pl.when(pl.Series(~late)).then(series)).to_series().alias(name)
    return series


def _named(name: str, found: Messages, names: dict[int, str]) -> pl.Series:
    ids, inverse = np.unique(found.channel_id, return_inverse=True)
    values = pl.Series(name, [names[int(i)] for i in ids], dtype=pl.String)
    return values.gather(pl.Series(inverse.astype(np.uint32)))
