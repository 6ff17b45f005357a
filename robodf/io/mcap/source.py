"""MCAP logs as a source: topic, recording, time range and limit are answered by the index, chunk by chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.counting import read
from robodf.io.error_log import ErrorLog
from robodf.io.files import FileReader, fingerprint
from robodf.io.mcap.chunks import Messages, count, read_chunk, select_chunks
from robodf.io.mcap.files import State, counted, recording_names, summaries, workers
from robodf.io.mcap.records import ChunkIndex
from robodf.io.mcap.selection import END_OF_TIME, Selection, instant
from robodf.io.mcap.summary import Summary, check_on_error
from robodf.io.mcap.topic import TIME, TopicTable, channels_of, kind_of, message_columns, projection, topic_table
from robodf.io.messages import Payloads
from robodf.io.source import Request, ScanReport, Source, Split, Support, file_names
from robodf.io.stream import from_batches
from robodf.plan.expr import Expr

ALL = {
    "recording": pl.String(),
    "topic": pl.String(),
    "type": pl.String(),
    "log_time": TIME,
    "publish_time": TIME,
    "sequence": pl.UInt32(),
    "size": pl.UInt32(),
    "data": pl.Binary(),
}
"""The columns of a log that is read without a topic."""

_ROWS = 4096  # frames of fewer rows are put together before they are handed on
_BYTES = 16 << 20  # ... unless they hold images
_IN_FLIGHT = 256 << 20  # uncompressed bytes of chunks that are read ahead


@dataclass(frozen=True)
class McapSource(Source):
    """Messages of MCAP files in file order. `start` and `end` (ns) are what the user gave; both may be None."""

    paths: tuple[str, ...]
    topic: str | None
    start: int | None
    end: int | None
    on_error: str
    storage: tuple[tuple[str, Any], ...]
    state: tuple[State, ...]
    log: ErrorLog = field(compare=False, default_factory=ErrorLog)

    @property
    def name(self) -> str:
        return "mcap"

    @cached_property
    def summaries(self) -> list[Summary]:
        found = summaries(self.paths, self.state, self.on_error, self.storage)
        for path, summary in zip(self.paths, found):
            for problem in summary.problems if not summary.complete else ():
                self.log.add(path, problem)
        return found

    @cached_property
    def recordings(self) -> list[str]:
        return recording_names(self.paths)

    @cached_property
    def table(self) -> TopicTable | None:
        return None if self.topic is None else topic_table(self.topic, self.paths, self.summaries, self.storage)

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        if self.table is not None:
            return self.table.columns
        _ = self.summaries  # a damaged file is reported when the frame is made
        return dict(ALL)

    def __getstate__(self):
        derived = ("summaries", "recordings", "table", "schema")
        return {k: v for k, v in self.__dict__.items() if k not in derived}

    # -- what can be skipped ----------------------------------------------------------------------------------

    def support(self, predicate: Expr) -> Support:
        return Support.NONE if self._base.narrowed(predicate) is None else Support.EXACT

    @property
    def nested_projection(self) -> bool:
        return self.topic is not None

    @cached_property
    def _base(self) -> Selection:
        topics = None if self.topic is None else frozenset([self.topic])
        return Selection(topics, None, self.start, self.end)

    def _selection(self, predicates: tuple[Expr, ...]) -> Selection:
        selection = self._base
        for predicate in predicates:
            narrowed = selection.narrowed(predicate)
            assert narrowed is not None, f"{predicate!r} was pushed into a log that cannot apply it"
            selection = narrowed
        return selection

    def _chosen(self, selection: Selection) -> Iterator[tuple[int, Summary, frozenset[int], list[ChunkIndex]]]:
        """(file number, summary, channels, chunks) of the files that may hold selected messages."""
        if selection.empty:
            return
        for k, summary in enumerate(self.summaries):
            if selection.recordings is not None and self.recordings[k] not in selection.recordings:
                continue
            channels = channels_of(summary, selection.topics)
            chunks = select_chunks(summary, channels, *selection.bounds) if channels else []
            if chunks:
                yield k, summary, channels, chunks

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        if self.on_error != "raise":
            return None  # only reading tells how many messages of a damaged file there are
        total = 0
        selection = self._selection(predicates)
        for k, summary, channels, _ in self._chosen(selection):
            with counted(self.paths[k], self.storage) as file:
                total += count(summary, file, channels, *selection.bounds)
        return total

    def report(self, request: Request) -> ScanReport:
        selection = self._selection(request.predicates)
        messages = chunks = size = files = 0
        left = request.limit
        exact = True
        for _, _, channels, chosen in self._chosen(selection):
            files += 1
            for chunk in chosen:
                if left is not None and left <= 0:
                    break
                chunks += 1
                size += chunk.length + chunk.message_index_length
                if chunk.counts is not None:
                    held = sum(n for c, n in chunk.counts.items() if c in channels)
                    messages += held
                    left = None if left is None else left - (held if selection.bounds == (None, None) else 0)
                else:
                    exact = False
        total = sum(s.statistics.message_count for s in self.summaries if s.statistics is not None)
        notes = () if self.table is None else (f"messages by {self.table.decoders}",)
        if request.limit is not None and (not exact or selection.bounds != (None, None)):
            notes = (f"at most; it stops after {request.limit} rows", *notes)
        return ScanReport(
            size, sum(s for s, _ in self.state), messages if exact else None, total, chunks,
            sum(len(s.chunks) for s in self.summaries), "chunk", files, notes,
        )  # fmt: skip

    def splits(self, request: Request) -> Iterator[Split]:
        for k, _, channels, chunks in self._chosen(self._selection(request.predicates)):
            known = [
                sum(n for c, n in chunk.counts.items() if c in channels) for chunk in chunks if chunk.counts is not None
            ]
            rows = sum(known) if len(known) == len(chunks) else None
            yield Split(self.paths[k], None, rows, sum(c.length for c in chunks))

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        schema = self.reduced(request)
        return from_batches(lambda: self._batches(request, schema), schema, self.describe())

    def reduced(self, request: Request) -> dict[str, pl.DataType]:
        """The schema of what a request gives."""
        from robodf.plan.nodes.scan import Scan

        return Scan(self, request.columns, request.fields).schema

    def _batches(self, request: Request, schema: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        waiting: list[pl.DataFrame] = []
        rows = size = 0
        for frame in self._frames(request):
            waiting.append(frame)
            rows += frame.height
            size += frame.estimated_size()
            if rows >= _ROWS or size >= _BYTES or request.limit is not None:
                yield pl.concat(waiting)
                waiting, rows, size = [], 0, 0
        if waiting:
            yield pl.concat(waiting)

    def _frames(self, request: Request) -> Iterator[pl.DataFrame]:
        """One frame a chunk, in file order, until the limit."""
        selection = self._selection(request.predicates)
        left = request.limit
        for k, summary, channels, chunks in self._chosen(selection):
            with counted(self.paths[k], self.storage) as file:
                for chunk, messages in self._messages(file, summary, chunks, channels, selection, left):
                    if not len(messages):
                        continue
                    frame = self._frame(k, summary, chunk, messages, request)
                    read.add(rows=frame.height)
                    yield frame
                    if left is not None:
                        left -= frame.height
                        if left <= 0:
                            return

    def _messages(self, file: FileReader, summary: Summary, chunks: list[ChunkIndex], channels: frozenset[int],
                  selection: Selection, limit: int | None) -> Iterator[tuple[ChunkIndex, Messages]]:  # fmt: skip
        """The messages of the chunks in order. Chunks are read and inflated side by side, some ahead of the reader."""

        def one(chunk: ChunkIndex, most: int | None) -> Messages:
            problems: list[str] = []
            found = read_chunk(file, summary, chunk, channels, *selection.bounds, most, on_error=self.on_error,
                               problems=problems)  # fmt: skip
            for problem in problems:
                self.log.add(file.path, problem, offset=chunk.offset)
            read.add(chunks=1)
            return found

        if limit is not None or len(chunks) == 1 or workers() == 1:
            for chunk in chunks:  # one after the other: the limit may be reached before the next
                found = one(chunk, limit)
                yield chunk, found
                if limit is not None:
                    limit -= len(found)
                    if limit <= 0:
                        return
            return
        with ThreadPoolExecutor(workers()) as pool:
            ahead: deque[tuple[ChunkIndex, Future[Messages]]] = deque()
            rest = iter(chunks)
            size = 0
            try:
                while True:
                    while len(ahead) < 2 * workers() and size < _IN_FLIGHT:
                        chunk = next(rest, None)
                        if chunk is None:
                            break
                        ahead.append((chunk, pool.submit(one, chunk, None)))
                        size += chunk.uncompressed_size
                    if not ahead:
                        return
                    chunk, future = ahead.popleft()
                    size -= chunk.uncompressed_size
                    yield chunk, future.result()
            finally:
                for _, future in ahead:
                    future.cancel()

    def _frame(self, k: int, summary: Summary, chunk: ChunkIndex, found: Messages, request: Request) -> pl.DataFrame:
        plain = self._plain(k, summary, found, request.columns)
        if self.table is None:
            return pl.DataFrame(plain).select(request.columns)
        fields = projection(self.table, request.columns, request.fields)
        rows = pl.DataFrame(plain) if plain else None
        asked = [c for c in request.columns if c not in {s.name for s in plain}]
        if not asked:
            return pl.DataFrame(plain).select(request.columns)
        parts, order = [], []
        for channel_id in np.unique(found.channel_id):
            at = np.flatnonzero(found.channel_id == channel_id)
            order.append(at)
            parts.append(self._decoded(k, summary, chunk, found, int(channel_id), at, fields, asked, request))
        decoded = pl.concat(parts)
        if len(parts) > 1:
            decoded = decoded[np.argsort(np.concatenate(order), kind="stable")]
        return (decoded if rows is None else rows.hstack(decoded.get_columns())).select(request.columns)

    def _decoded(self, k: int, summary: Summary, chunk: ChunkIndex, found: Messages, channel_id: int, at: np.ndarray,
                 fields: dict | None, asked: list[str], request: Request) -> pl.DataFrame:  # fmt: skip
        assert self.table is not None
        kind = kind_of(summary, channel_id)
        schema = self.table.kinds[kind]
        own = None if fields is None else {name: below for name, below in fields.items() if name in schema}
        problems: list[tuple[int, str]] = []
        if own:
            payloads = Payloads(found.buffer, found.offset[at], found.length[at])
            decoded = kind.decoder().decode(payloads, own, schema, problems)
        else:
            decoded = pl.DataFrame({"_": np.zeros(len(at), np.int8)})
        for row, error in problems:
            time = int(found.log_time[at[row]])
            if self.on_error == "raise":
                raise FileFormatError(
                    f"{self.paths[k]}: topic {self.topic}, message at log_time {time} ns, in the chunk at offset "
                    f"{chunk.offset}: {error}. Pass on_error='collect' to get null for it and its error in df.errors"
                )
            self.log.add(self.paths[k], error, self.topic, chunk.offset, time if time < END_OF_TIME else None)
        return pl.DataFrame(message_columns(self.table, decoded, asked, request.fields))

    def _plain(self, k: int, summary: Summary, found: Messages, columns: tuple[str, ...]) -> list[pl.Series]:
        """The wanted columns that need no decoding."""
        made = []
        for name in columns:
            if name == "recording":
                made.append(pl.Series(name, [self.recordings[k]], dtype=pl.String).new_from_index(0, len(found)))
            elif name == "log_time":
                made.append(_times(name, found.log_time))
            elif name == "publish_time":
                made.append(_times(name, found.publish_time))
            elif name == "sequence":
                made.append(pl.Series(name, found.sequence.astype(np.uint32)))
            elif self.table is None and name == "topic":
                made.append(_named(name, found, {i: c.topic for i, c in summary.channels.items()}))
            elif self.table is None and name == "type":
                made.append(_named(name, found, {i: kind_of(summary, i).schema_name for i in summary.channels}))
            elif self.table is None and name == "size":
                made.append(pl.Series(name, found.length.astype(np.uint32)))
            elif self.table is None and name == "data":
                made.append(Payloads(found.buffer, found.offset, found.length).to_series(name))
        return made

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def describe(self) -> str:
        topic = "" if self.topic is None else f" topic={self.topic}"
        start = "" if self.start is None else f" start={self.start}"
        end = "" if self.end is None else f" end={self.end}"
        return f"mcap {file_names(self.paths)}{topic}{start}{end}"


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


def mcap_source(paths: list[str], topic: str | None, start: Any, end: Any, on_error: str,
                storage: dict | None) -> McapSource:  # fmt: skip
    """A source over files that exist; an unknown topic or a damaged file is reported here."""
    check_on_error(on_error)
    state = tuple(fingerprint(p, storage) for p in paths)
    frozen = tuple(sorted((storage or {}).items()))
    return McapSource(tuple(paths), topic, instant(start, "start"), instant(end, "end"), on_error, frozen, state)
