"""The chunks of one log file, read side by side and decoded into frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.counting import read
from robodf.io.files import FileReader
from robodf.io.logs.containers import container
from robodf.io.logs.files import workers
from robodf.io.logs.model import ChunkIndex, Messages, Summary
from robodf.io.logs.selection import END_OF_TIME, Selection
from robodf.io.logs.sharing import File, reading, select, shared
from robodf.io.logs.topic import TIME, TopicTable, kind_of, message_columns, present, projection
from robodf.io.messages import Payloads
from robodf.io.source import Request

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
        pool = ThreadPoolExecutor(workers(), "robodf-read")
        ahead: deque[tuple[ChunkIndex, Future[Part]]] = deque()
        rest = iter(chunks)
        size = 0
        try:
            while True:
                while len(ahead) < 2 * workers() and size < _IN_FLIGHT:
                    chunk = next(rest, None)
                    if chunk is None:
                        break
                    ahead.append((chunk, pool.submit(self.frame, chunk, None)))
                    size += chunk.uncompressed_size
                if not ahead:
                    return
                chunk, future = ahead.popleft()
                size -= chunk.uncompressed_size
                yield future.result()
        finally:
            # Without waiting: an abandoned generator may be closed by the garbage collector in one of its own threads.
            pool.shutdown(wait=False, cancel_futures=True)

    def frame(self, chunk: ChunkIndex, limit: int | None) -> Part:
        """The wanted columns of the chunk's wanted messages, and what could not be read."""
        found, lost = self._messages(chunk, limit)
        read.add(chunks=1)
        problems: list[Problem] = [(self.file.path, problem, None, chunk.offset, None) for problem in lost]
        plain = self._plain(found)
        asked = [c for c in self.request.columns if c not in {s.name for s in plain}]
        if not asked:
            return pl.DataFrame(plain).select(self.request.columns), problems
        decoded = self._message(chunk, found, asked, problems)
        return pl.DataFrame([*plain, *decoded.get_columns()]).select(self.request.columns), problems

    def _messages(self, chunk: ChunkIndex, limit: int | None) -> tuple[Messages, list[str]]:
        """The wanted messages of a chunk, and what is wrong with it."""
        reader = container(self.format)
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
        ids = np.unique(found.channel_id)
        if len(ids) == 1:
            return self._decoded(chunk, found, int(ids[0]), np.arange(len(found)), asked, problems)
        parts, order = [], []
        for channel_id in ids:
            at = np.flatnonzero(found.channel_id == channel_id)
            order.append(at)
            parts.append(self._decoded(chunk, found, int(channel_id), at, asked, problems))
        if not parts:
            return pl.DataFrame(schema={name: self.schema[name] for name in asked})
        return pl.concat(parts)[np.argsort(np.concatenate(order), kind="stable")]

    def _decoded(
        self, chunk: ChunkIndex, found: Messages, channel_id: int, at: np.ndarray, asked: list[str],
        problems: list[Problem],
    ) -> pl.DataFrame:  # fmt: skip
        table = self.table
        assert table is not None
        kind = kind_of(self.summary, channel_id)
        schema = table.kinds[kind]
        wanted = present(projection(table, self.request.columns, self.request.fields), schema)
        broken: list[tuple[int, str]] = []
        if wanted:
            payloads = Payloads(found.buffer, found.offset[at], found.length[at])
            decoded = kind.decoder().decode(payloads, wanted, schema, broken)
        else:
            decoded = pl.DataFrame(height=len(at))
        for row, error in broken:
            time = int(found.log_time[at[row]])
            if self.on_error == "raise":
                raise FileFormatError(
                    f"{self.file.path}: topic {table.topic}, message at log_time {time} ns, in the chunk at offset "
                    f"{chunk.offset}: {error}. Pass on_error='collect' to get null for it and its error in df.errors"
                )
            known = time if time < END_OF_TIME else None
            problems.append((self.file.path, error, table.topic, chunk.offset, known))
        return pl.DataFrame(message_columns(table, decoded, asked, self.request.fields))

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
