"""A log before anything is read of its messages: topics, counts, rates, times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import QueryError
from robodf.io.logs.containers import format_of
from robodf.io.logs.files import state_of, summaries
from robodf.io.logs.model import Summary, check_on_error, times_known
from robodf.io.logs.recordings import recording_names
from robodf.io.logs.selection import END_OF_TIME
from robodf.io.logs.topic import TIME, kind_of

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.logs.health import Health


_TOPICS = {
    "topic": pl.String,
    "type": pl.String,
    "encoding": pl.String,
    "count": pl.Int64,
    "rate_hz": pl.Float64,
    "start": TIME,
    "end": TIME,
    "files": pl.Int64,
}


def _facts(summary: Summary) -> dict[str, dict[str, Any]]:
    """For each topic of a file: type, encoding, count (None: not known), first and last time (ns) of its chunks."""
    counts = summary.channel_counts
    facts: dict[str, dict[str, Any]] = {}
    for channel_id, channel in sorted(summary.channels.items()):
        kind = kind_of(summary, channel_id)
        new = {"topic": channel.topic, "type": kind.schema_name, "encoding": kind.message_encoding, "count": 0}
        row = facts.setdefault(channel.topic, {**new, "start": None, "end": None})
        row["count"] = None if counts is None else row["count"] + counts.get(channel_id, 0)
    for chunk in summary.chunks:
        if not times_known(chunk):
            continue
        held = chunk.counts if chunk.counts is not None else chunk.message_index_offsets
        for topic in {summary.channels[c].topic for c in held if c in summary.channels}:
            row = facts[topic]
            row["start"] = chunk.start_time if row["start"] is None else min(row["start"], chunk.start_time)
            row["end"] = chunk.end_time if row["end"] is None else max(row["end"], chunk.end_time)
    return facts


class Log:
    """One or several recordings. `log.topics` is a table, `log["/imu"]` the lazy frame of a topic.

    Everything here comes from the summaries of the files; no message is read.
    """

    def __init__(
        self,
        paths: list[str],
        on_error: str = "raise",
        storage_options: dict | None = None,
        missing: list[str] | None = None,
    ):
        check_on_error(on_error)
        self.paths = tuple(paths)
        self._on_error, self._storage = on_error, storage_options
        self._formats = tuple(format_of(p, storage_options) for p in paths)
        self._states = tuple(state_of(p, storage_options) for p in paths)
        frozen = tuple(sorted((storage_options or {}).items()))
        damaged: list[tuple[str, str]] | None = None if on_error == "raise" else []
        self._recordings = recording_names(self.paths, storage_options, damaged)
        self._lost = [f"{path}: metadata.yaml lists this file, but it is not there" for path in missing or ()]
        self._lost += [error for _, error in damaged or ()]
        self._summaries = summaries(self.paths, self._formats, self._states, on_error, frozen)

    @property
    def recordings(self) -> list[str]:
        """The name of each file's recording; the splits of one recording share it."""
        return list(self._recordings)

    @property
    def topics(self) -> pl.DataFrame:
        """One row a topic: topic, type, encoding, count, rate_hz, start, end, files.

        `start` and `end` are those of the chunks that hold the topic (an index has no finer times), `rate_hz` is the
        count over that time, gaps between files left out; `count` is null where a file has no counts.
        """
        rows: dict[str, dict[str, Any]] = {}
        for summary in self._summaries:
            for topic, part in _facts(summary).items():
                row = rows.setdefault(topic, {**part, "files": 0, "count": 0, "span": 0, "start": None, "end": None})
                row["files"] += 1
                row["count"] = None if None in (row["count"], part["count"]) else row["count"] + part["count"]
                if part["start"] is not None:
                    row["span"] += part["end"] - part["start"]
                    row["start"] = min(part["start"], row["start"] if row["start"] is not None else part["start"])
                    row["end"] = max(part["end"], row["end"] if row["end"] is not None else part["end"])
        for row in rows.values():
            row["rate_hz"] = row["count"] / row["span"] * 1e9 if row["count"] and row["span"] else None
            for name in ("start", "end"):
                row[name] = None if row[name] is None or row[name] >= END_OF_TIME else row[name]
        table = [{name: row[name] for name in _TOPICS} for _, row in sorted(rows.items())]
        return pl.DataFrame(table, schema=_TOPICS)

    @property
    def message_count(self) -> int | None:
        """The number of messages; None where a file has no counts."""
        counts = [s.message_count for s in self._summaries]
        return None if None in counts else sum(counts)  # type: ignore[arg-type]

    @property
    def start(self) -> Any:
        """The first log_time as a datetime (to the microsecond), or None."""
        return self.topics["start"].min()

    @property
    def end(self) -> Any:
        """The last log_time as a datetime (to the microsecond), or None."""
        return self.topics["end"].max()

    @property
    def duration(self) -> timedelta:
        """From the first to the last message."""
        return self.end - self.start if self.start is not None else timedelta(0)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for size, _ in self._states)

    @property
    def problems(self) -> list[str]:
        """What is damaged or lost, as the summaries tell."""
        return [*self._lost, *(p for s in self._summaries for p in s.problems)]

    def health(self, gap: str | timedelta | None = None) -> Health:
        """Gaps, rate, jitter, order and duplicates of each topic, clocks against header stamps, missing topics.

        Reads every chunk once, and of the messages only their stamps. `gap` (text such as "100ms", or a timedelta) is
        the time between two messages of a topic above which there is a gap; without it, three times the median.
        See `robodf.io.logs.health.Health` for the columns.

        >>> import robodf as rd, tempfile, os
        >>> from robodf.io.mcap import McapWriter
        >>> path = os.path.join(tempfile.mkdtemp(), "a.mcap")
        >>> with McapWriter(path) as out:
        ...     tick = out.add_channel("/tick", "json", out.add_schema("Tick", "jsonschema", b"{}"))
        ...     for k in [1, 2, 3, 9, 10]:
        ...         out.write(tick, log_time=k * 1_000_000_000, data=b"{}")
        >>> found = rd.open_log(path).health()
        >>> found.topics["gaps"].item(), found.topics["longest_gap"].item().total_seconds(), found.problems
        (1, 6.0, [])
        """
        from robodf.io.logs.health import health
        from robodf.plan.durations import nanoseconds_of

        files = list(zip(self.paths, self._formats, self.recordings, self._summaries))
        frozen = tuple(sorted((self._storage or {}).items()))
        return health(files, frozen, None if gap is None else nanoseconds_of(gap, "gap"))

    def messages(self) -> PipelineDataFrame:
        """All messages, not decoded: see `rd.read_log` without a topic."""
        from robodf.io.read import read_log

        return read_log(list(self.paths), on_error=self._on_error, storage_options=self._storage)

    def __getitem__(self, topic: str) -> PipelineDataFrame:
        """The lazy frame of one topic, in typed columns."""
        from robodf.io.read import read_log

        if not isinstance(topic, str):
            raise QueryError(f"log[...] takes a topic such as '/imu', not {topic!r}")
        return read_log(list(self.paths), topic, on_error=self._on_error, storage_options=self._storage)

    def __iter__(self) -> Iterator[str]:
        return iter(self.topics["topic"].to_list())

    def __contains__(self, topic: object) -> bool:
        return topic in set(self)

    def __len__(self) -> int:
        return len({c.topic for s in self._summaries for c in s.channels.values()})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        count = self.message_count
        facts = (
            f"{len(self.paths)} file{'s' * (len(self.paths) != 1)}, {'?' if count is None else f'{count:,}'} messages"
        )
        with pl.Config(tbl_rows=60, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=60,
                       tbl_width_chars=160):  # fmt: skip
            return f"Log of {facts}, {self.duration}, {self.size:,} bytes\n{self.topics}"

    def _repr_html_(self) -> str:
        return self.topics._repr_html_()
