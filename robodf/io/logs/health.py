"""What is wrong with a recording: gaps, jitter, order, duplicates, clocks, missing topics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from robodf.io.files import FileReader
from robodf.io.logs.containers import container
from robodf.io.logs.files import counted, workers
from robodf.io.logs.model import ChunkIndex, Summary
from robodf.io.logs.selection import END_OF_TIME
from robodf.io.logs.topic import TIME, kind_of
from robodf.io.messages import Payloads, header_stamp

_SPAN = pl.Duration("ns")
_COLUMNS = {
    "recording": pl.String(),
    "topic": pl.String(),
    "type": pl.String(),
    "count": pl.Int64(),
    "start": TIME,
    "end": TIME,
    "rate_hz": pl.Float64(),
    "interval": _SPAN,
    "jitter": _SPAN,
    "gaps": pl.Int64(),
    "longest_gap": _SPAN,
    "longest_gap_at": TIME,
    "out_of_order": pl.Int64(),
    "duplicates": pl.Int64(),
    "stamps_missing": pl.Int64(),
    "stamps_out_of_order": pl.Int64(),
    "stamps_duplicates": pl.Int64(),
    "clock_offset": _SPAN,
    "clock_spread": _SPAN,
    "undecodable": pl.Int64(),
}
_NO_STAMP = np.iinfo(np.int64).min
_GAP = 3.0  # without a length given, an interval of more than so many medians is a gap


class Health(NamedTuple):
    """`topics`: one row for each recording and topic. `problems`: what is lost or wrong in the files themselves.

    Of each topic: count, start, end; rate_hz, the messages over that time; interval, the median time between messages
    (in order of time); jitter, the standard deviation of those times; gaps, how many were too long; longest_gap and
    the time at which it begins; out_of_order, messages whose log_time is below that of the one before in the file;
    duplicates, messages whose log_time another message has already. Of header stamps, where the type has one:
    stamps_missing (zero or not valid), stamps_out_of_order, stamps_duplicates; clock_offset, the median of log_time
    minus stamp, and clock_spread, from its 5th to its 95th percentile. undecodable: messages that do not fit their
    type. A topic that the recording lacks, though others have it, has count 0.
    """

    topics: pl.DataFrame
    problems: list[str]

    def __repr__(self) -> str:
        with pl.Config(tbl_rows=60, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True,
                       tbl_width_chars=240):  # fmt: skip
            said = "\n".join(self.problems) or "no problem in the files themselves"
            return f"{self.topics}\n{said}"

    def _repr_html_(self) -> str:
        return self.topics._repr_html_()


class _Part(NamedTuple):
    """The messages of one topic in one chunk: times in ns, `_NO_STAMP` where there is none."""

    topic: str
    log_time: np.ndarray
    stamp: np.ndarray | None
    undecodable: int


def health(files: list[tuple[str, str, str, Summary]], storage: tuple, gap: int | None) -> Health:
    """The health of (path, format, recording, summary)s. One pass reads every chunk, and decodes the stamps alone."""
    problems = [problem for *_, summary in files for problem in summary.problems]
    parts: dict[tuple[str, str], list[_Part]] = defaultdict(list)
    types: dict[str, str] = {}
    for path, format, recording, summary in files:
        for channel_id in sorted(summary.channels):
            topic = summary.channels[channel_id].topic
            types.setdefault(topic, kind_of(summary, channel_id).schema_name)
            parts[recording, topic] += []
        with counted(path, format, storage) as file:
            for found, lost in _chunks(file, format, summary):
                problems += lost
                for part in found:
                    parts[recording, part.topic].append(part)
    recordings = dict.fromkeys(recording for _, _, recording, _ in files)
    rows = [
        {"recording": recording, "topic": topic, "type": types[topic], **_facts(parts.get((recording, topic), []), gap)}
        for recording in recordings
        for topic in sorted(types)
    ]
    return Health(pl.DataFrame(rows, schema=_COLUMNS), list(dict.fromkeys(problems)))


def _chunks(file: FileReader, format: str, summary: Summary) -> Iterator[tuple[list[_Part], list[str]]]:
    with ThreadPoolExecutor(workers()) as pool:
        chunks = iter(summary.chunks)
        while batch := [c for _, c in zip(range(2 * workers()), chunks)]:
            yield from pool.map(lambda chunk: _chunk(file, format, summary, chunk), batch)


def _chunk(file: FileReader, format: str, summary: Summary, chunk: ChunkIndex) -> tuple[list[_Part], list[str]]:
    lost: list[str] = []
    found = container(format).read_chunk(file, summary, chunk, on_error="collect", problems=lost)
    parts = []
    for channel_id in np.unique(found.channel_id).tolist():
        at = np.flatnonzero(found.channel_id == channel_id)
        decoder = kind_of(summary, channel_id).decoder()
        path = header_stamp(decoder.schema) if decoder.schema else None
        stamp, broken = None, []
        if path is not None:
            assert decoder.schema is not None
            wanted: dict[str, Any] = {path[0]: None if len(path) == 1 else {path[1]: None}}
            payloads = Payloads(found.buffer, found.offset[at], found.length[at])
            column = decoder.decode(payloads, wanted, decoder.schema, broken).get_column(path[0])
            for name in path[1:]:
                column = column.struct.field(name)
            stamp = column.cast(pl.Int64).fill_null(_NO_STAMP).to_numpy()
        # A time beyond what Datetime("ns") holds is null in the frame: it says nothing of rates and gaps.
        times = found.log_time[at]
        usable = times < np.uint64(END_OF_TIME)
        parts.append(_Part(
            summary.channels[channel_id].topic,
            times[usable].astype(np.int64),
            None if stamp is None else stamp[usable],
            len(broken),
        ))  # fmt: skip
    return parts, lost


def _facts(parts: list[_Part], gap: int | None) -> dict[str, Any]:
    """The figures of one topic of one recording, its parts in file order."""
    undecodable = sum(p.undecodable for p in parts)
    log_time = np.concatenate([p.log_time for p in parts]) if parts else np.empty(0, np.int64)
    if not len(log_time):
        return {"count": 0, "undecodable": undecodable}
    facts: dict[str, Any] = {"count": len(log_time), "undecodable": undecodable}
    ordered = np.sort(log_time)
    facts |= {"start": int(ordered[0]), "end": int(ordered[-1])}
    facts["out_of_order"] = int((np.diff(log_time) < 0).sum())
    between = np.diff(ordered)
    facts["duplicates"] = int((between == 0).sum())
    if len(between) and ordered[-1] > ordered[0]:
        median = float(np.median(between))
        longest = int(between.argmax())
        limit = _GAP * median if gap is None else gap
        facts |= {
            "rate_hz": len(between) / float(ordered[-1] - ordered[0]) * 1e9,
            "interval": round(median),
            "jitter": round(float(between.std())),
            "gaps": int((between > limit).sum()),
            "longest_gap": int(between[longest]),
            "longest_gap_at": int(ordered[longest]),
        }
    stamped = [p for p in parts if p.stamp is not None]
    if stamped:
        stamps = np.concatenate([p.stamp for p in stamped if p.stamp is not None])
        times = np.concatenate([p.log_time for p in stamped])
        given = (stamps != _NO_STAMP) & (stamps != 0)
        facts["stamps_missing"] = int((~given).sum())
        stamps, times = stamps[given], times[given]
        facts["stamps_out_of_order"] = int((np.diff(stamps) < 0).sum())
        facts["stamps_duplicates"] = int(len(stamps) - len(np.unique(stamps)))
        if len(stamps):
            offset = times - stamps
            low, middle, high = np.percentile(offset, [5, 50, 95])
            facts |= {"clock_offset": round(float(middle)), "clock_spread": round(float(high - low))}
    return facts
