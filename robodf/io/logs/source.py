"""Logs as a source: topic, recording, time range and limit are answered by the index of each file, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.io.coalesce import coalesced
from robodf.io.counting import read
from robodf.io.error_log import ErrorLog
from robodf.io.files import FileReader
from robodf.io.indexed_files import together
from robodf.io.logs.containers import container, format_of
from robodf.io.logs.files import State, counted, state_of, summaries, summary_of
from robodf.io.logs.locating import Located, fetching, known_by_heads, numberable, taken_apart
from robodf.io.logs.model import ChunkIndex, Summary, check_on_error, select_chunks, times_known
from robodf.io.logs.reading import Reading
from robodf.io.logs.recordings import recording_names
from robodf.io.logs.runs import Run, cost, joined, nested, runs, within
from robodf.io.logs.selection import END_OF_TIME, Selection
from robodf.io.logs.topic import (
    TIME,
    TopicTable,
    channels_of,
    topic_table,
)
from robodf.io.source import Fetching, Request, ScanReport, Source, Split, Support, file_names
from robodf.io.stream import from_batches
from robodf.plan.comparison import instant
from robodf.plan.expr import Expr

if TYPE_CHECKING:
    import numpy as np

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


@dataclass(frozen=True)
class LogSource(Source):
    """Messages of log files in file order. `start` and `end` (ns) are what the user gave; both may be None.

    `formats` and `recordings` have one name for each file; `state` is its size and time of change. Of a part, `runs`
    are the chunks of each file that are in it (None: all), `united` is the table of the topic over all files, and
    `numbers` are those of its files in the whole.
    """

    paths: tuple[str, ...]
    formats: tuple[str, ...]
    recordings: tuple[str, ...]
    topic: str | None
    start: int | None
    end: int | None
    on_error: str
    storage: tuple[tuple[str, Any], ...]
    state: tuple[State, ...]
    log: ErrorLog = field(compare=False, default_factory=ErrorLog)
    runs: tuple[Run | None, ...] | None = None
    united: TopicTable | None = None
    numbers: tuple[int, ...] = ()  # of the files of a part, in the whole

    __hash__ = Source.hash_once

    @property
    def name(self) -> str:
        return self.formats[0] if len(set(self.formats)) == 1 else "log"

    @cached_property
    def summaries(self) -> list[Summary]:
        found = summaries(self.paths, self.formats, self.state, self.on_error, self.storage)
        for path, summary in zip(self.paths, found):
            for problem in summary.problems if not summary.complete else ():
                self.log.add(path, problem)
        return found if self.runs is None else list(map(within, found, self.runs))

    @cached_property
    def table(self) -> TopicTable | None:
        if self.topic is None or self.united is not None:
            return self.united
        return topic_table(self.topic, self.paths, self.formats, self.summaries, self.storage)

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        if self.table is not None:
            return self.table.columns
        if self.runs is None:
            _ = self.summaries  # a damaged file is reported when the frame is made
        return dict(ALL)

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
            with counted(self.paths[k], self.formats[k], self.storage, self.on_error) as file:
                total += container(self.formats[k]).count(summary, file, channels, *selection.bounds)
        return total

    def bounds(self, column: str, predicates: tuple[Expr, ...]) -> tuple[int, int] | None:
        """The first and last log_time (ns) that there can be, by the summaries; None where they do not tell."""
        if column != "log_time":
            return None
        selection = self._selection(predicates)
        chunks = [chunk for _, _, _, chosen in self._chosen(selection) for chunk in chosen]
        if not chunks or not all(map(times_known, chunks)):
            return None
        start, end = selection.bounds
        first = max(min(c.start_time for c in chunks), start or 0)
        last = min(max(c.end_time for c in chunks), END_OF_TIME - 1, *(() if end is None else (end - 1,)))
        return (first, last) if first <= last else None

    def report(self, request: Request) -> ScanReport:
        selection = self._selection(request.predicates)
        messages = chunks = size = files = 0
        left = request.limit
        exact = True
        by_index = request.locator and self._by_index(request.columns)
        for _, _, channels, chosen in self._chosen(selection):
            files += 1
            for chunk in chosen:
                if left is not None and left <= 0:
                    break
                chunks += 1
                size += chunk.message_index_length + (0 if by_index else chunk.length)
                if chunk.counts is not None:
                    held = sum(n for c, n in chunk.counts.items() if c in channels)
                    messages += held
                    left = None if left is None else left - (held if selection.bounds == (None, None) else 0)
                else:
                    exact = False
        total = sum(s.message_count for s in self.summaries if s.message_count is not None)
        notes = () if self.table is None else (f"messages by {self.table.decoders}",)
        if by_index:
            notes = ("of indexes alone, no message",)
        if request.limit is not None and (not exact or selection.bounds != (None, None)):
            notes = (f"at most; it stops after {request.limit} rows", *notes)
        return ScanReport(
            size, sum(s for s, _ in self.state), messages if exact else None, total, chunks,
            sum(len(s.chunks) for s in self.summaries), "chunk", files, notes,
        )  # fmt: skip

    # -- what is fetched late -------------------------------------------------------------------------------------

    @cached_property
    def heavy(self) -> frozenset[str]:  # type: ignore[override]
        """The payloads; of a topic the fields of bytes, such as images and clouds have."""
        if not numberable(len(self.paths), self.summaries):
            return frozenset()
        if self.table is None:
            return frozenset(["data"])
        return frozenset(name for name, dtype in self.schema.items() if isinstance(dtype, pl.Binary))

    def fetching(self, columns: tuple[str, ...], share: float) -> Fetching | None:
        return self.fetching_beside(columns, share, tuple(c for c in self.schema if c not in columns))

    def fetching_beside(self, columns: tuple[str, ...], share: float, beside: tuple[str, ...]) -> Fetching | None:
        chosen = ((channels, chunks) for _, _, channels, chunks in self._chosen(self._base))
        return fetching(chosen, share, self._by_index(beside), self.topic is None)

    def _by_index(self, columns: tuple[str, ...]) -> bool:
        """Whether these columns are had without reading messages, where rows are numbered."""
        bare = self.topic is None
        return self.on_error == "raise" and all(known_by_heads(f, columns, bare) for f in set(self.formats))

    def fetcher(self) -> LogSource:
        return self if self.table is None else replace(self, united=self.table)

    def fetch(self, locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        yield from together(self._fetched(locators, columns))

    def _fetched(self, locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        import numpy as np

        request, schema = Request(columns), {name: self.schema[name] for name in columns}
        files, chunks, messages = taken_apart(locators)
        of_number = {self._number(k): k for k in range(len(self.paths))}
        for part in _runs_of(files, np.arange(len(files))):
            k = of_number[int(files[part[0]])]
            summary = summary_of(self.paths[k], self.formats[k], self.state[k], self.on_error, self.storage)
            wanted = [(summary.chunks[int(chunks[run[0]])], messages[run]) for run in _runs_of(chunks[part], part)]
            with counted(self.paths[k], self.formats[k], self.storage, self.on_error) as file:
                reader = coalesced(file, _places(chunk for chunk, _ in wanted))
                for frame, problems in self._reading(k, reader, summary, self._base, request, schema).fetched(wanted):
                    for problem in problems:
                        self.log.add(*problem)
                    read.add(rows=frame.height)
                    yield frame

    # -- parts ------------------------------------------------------------------------------------------------

    @property
    def partition_column(self) -> str:
        return "recording"

    def splits(self, request: Request) -> Iterator[Split]:
        for k, summary, channels, chosen in self._chosen(self._selection(request.predicates)):
            for run, chunks in runs(summary, chosen):
                known = [sum(n for c, n in x.counts.items() if c in channels) for x in chunks if x.counts is not None]
                rows = sum(known) if len(known) == len(chunks) else None
                yield Split(self.paths[k], (k, run), rows, sum(map(cost, chunks)), self.recordings[k])

    def part(self, splits: tuple[Split, ...]) -> LogSource:
        pieces: list[tuple[int, Run | None]] = []
        for split in splits:
            k, run = split.part
            both = joined(pieces[-1][1], run) if pieces and pieces[-1][0] == k else None
            if both is not None:
                pieces[-1] = k, both
            else:
                pieces.append((k, run))
        own = self.runs or (None,) * len(self.paths)
        files = [k for k, _ in pieces]
        return LogSource(
            tuple(self.paths[k] for k in files),
            tuple(self.formats[k] for k in files),
            tuple(self.recordings[k] for k in files),
            self.topic,
            self.start,
            self.end,
            self.on_error,
            self.storage,
            tuple(self.state[k] for k in files),
            self.log,
            tuple(nested(own[k], run) for k, run in pieces),
            None if self.table is None else self.table.of(self.summaries[k] for k in set(files)),
            tuple(self._number(k) for k in files),
        )

    def _number(self, k: int) -> int:
        return self.numbers[k] if self.numbers else k

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        schema = self.reduced(request)
        return from_batches(lambda: self._batches(request, schema), schema, self.describe())

    def reduced(self, request: Request) -> dict[str, pl.DataType]:
        """The schema of what a request gives."""
        from robodf.plan.nodes.scan import Scan

        return Scan(self, request.columns, request.fields, locator=request.locator).schema

    def _batches(self, request: Request, schema: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        frames = self._frames(request, schema)
        yield from frames if request.limit is not None else together(frames)

    def _frames(self, request: Request, schema: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """One frame a chunk, in file order, until the limit."""
        selection = self._selection(request.predicates)
        left = request.limit
        for k, summary, _, chunks in self._chosen(selection):
            with counted(self.paths[k], self.formats[k], self.storage, self.on_error) as file:
                reader = coalesced(file, _places(chunks)) if left is None else file
                reading = self._reading(k, reader, summary, selection, request, schema)
                for frame, problems in reading.frames(chunks, left):
                    for problem in problems:
                        self.log.add(*problem)
                    if not frame.height:
                        continue
                    read.add(rows=frame.height)
                    yield frame
                    if left is not None:
                        left -= frame.height
                        if left <= 0:
                            return

    def _reading(self, k: int, reader: FileReader, summary: Summary, selection: Selection, request: Request,
                 schema: dict[str, pl.DataType]) -> Reading:  # fmt: skip
        """The file number `k` under a request."""
        run = None if self.runs is None else self.runs[k]
        # Of a file that is fetched from, the summary is that of the whole.
        first = run.first if run is not None and len(summary.chunks) == run.last + 1 - run.first else 0
        located = Located(self._number(k), first, channels_of(summary, self._base.topics), self._base)
        channels = channels_of(summary, selection.topics)
        identity = (self.paths[k], self.state[k], self.on_error)
        return Reading(reader, self.formats[k], self.recordings[k], summary, channels, selection, request, self.table,
                       schema, self.on_error, identity, located)  # fmt: skip

    def key_bytes(self) -> dict[str, int] | None:
        found: dict[str, int] = {}
        for recording, (size, _) in zip(self.recordings, self.state):
            found[recording] = found.get(recording, 0) + size
        return found

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def describe(self) -> str:
        topic = "" if self.topic is None else f" topic={self.topic}"
        start = "" if self.start is None else f" start={self.start}"
        end = "" if self.end is None else f" end={self.end}"
        return f"{self.name} {file_names(self.paths)}{topic}{start}{end}"


def log_source(paths: list[str], topic: str | None, start: Any, end: Any, on_error: str,
               storage: dict | None) -> LogSource:  # fmt: skip
    """A source over files that exist; an unknown topic or a damaged file is reported here."""
    check_on_error(on_error)
    log = ErrorLog()
    damaged: list[tuple[str, str]] | None = None if on_error == "raise" else []
    source = LogSource(
        tuple(paths),
        tuple(format_of(p, storage) for p in paths),
        recording_names(tuple(paths), storage, damaged),
        topic,
        instant(start, "start"),
        instant(end, "end"),
        on_error,
        tuple(sorted((storage or {}).items())),
        tuple(state_of(p, storage) for p in paths),
        log,
    )
    for path, error in damaged or ():
        log.add(path, error)
    return source


def _places(chunks: Iterable[ChunkIndex]) -> Iterator[tuple[int, int]]:
    return ((chunk.offset, chunk.length + chunk.message_index_length) for chunk in chunks)


def _runs_of(values: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    """`numbers` cut where the values, one for each, change."""
    import numpy as np

    return np.split(numbers, np.flatnonzero(np.diff(values)) + 1)
