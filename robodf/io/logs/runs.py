"""Runs of chunks: what a file is cut into so that several machines can read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import NamedTuple

from robodf.errors import FileFormatError
from robodf.io.logs.model import ChunkIndex, Summary

RUN = 64 << 20
"""Bytes of the chunks in a run, as they are in the file."""


class Run(NamedTuple):
    """The chunks `first` to `last` of a file, both included, and the offsets at which these two are."""

    first: int
    last: int
    offsets: tuple[int, int]


def runs(summary: Summary, chosen: list[ChunkIndex]) -> Iterator[tuple[Run | None, list[ChunkIndex]]]:
    """The chosen chunks of a file, some at a time, and where they are; None: they are all that is wanted of the file.

    `chosen` are chunks of the summary in its order.
    """
    if sum(map(cost, chosen)) < 2 * RUN:
        yield None, chosen
        return
    place = {id(chunk): k for k, chunk in enumerate(summary.chunks)}
    held: list[ChunkIndex] = []
    size = 0
    for k, chunk in enumerate(chosen):
        held.append(chunk)
        size += cost(chunk)
        if size >= RUN or k == len(chosen) - 1:
            yield Run(place[id(held[0])], place[id(chunk)], (held[0].offset, chunk.offset)), held
            held, size = [], 0


def cost(chunk: ChunkIndex) -> int:
    """The bytes that are read for a chunk."""
    return chunk.length + chunk.message_index_length


def within(summary: Summary, run: Run | None) -> Summary:
    """What the summary says of the chunks of a run. FileFormatError where they are not where they were."""
    if run is None:
        return summary
    chunks = summary.chunks[run.first : run.last + 1]
    if len(chunks) != run.last + 1 - run.first or (chunks[0].offset, chunks[-1].offset) != run.offsets:
        raise FileFormatError(f"{summary.path}: was changed since the query was planned; make the frame anew")
    counts: dict[int, int] | None = {}
    for chunk in chunks:
        if chunk.counts is None:
            counts = None
            break
        for channel, n in chunk.counts.items():
            counts[channel] = counts.get(channel, 0) + n
    changes: dict = {"chunks": chunks, "channel_counts": counts}
    changes["message_count"] = None if counts is None else sum(counts.values())
    if "statistics" in {f.name for f in fields(summary)}:  # of an MCAP file: they are about all of it
        changes["statistics"] = None
    return replace(summary, **changes)


def joined(a: Run | None, b: Run | None) -> Run | None:
    """Two runs of one file as one, where nothing lies between them."""
    if a is None or b is None or a.last + 1 != b.first:
        return None
    return Run(a.first, b.last, (a.offsets[0], b.offsets[1]))


def nested(outer: Run | None, inner: Run | None) -> Run | None:
    """A run of the chunks of a run, as a run of the file."""
    if outer is None or inner is None:
        return inner or outer
    return Run(outer.first + inner.first, outer.first + inner.last, inner.offsets)
