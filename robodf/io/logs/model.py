"""What the reader of every log container gives: a summary, chunks, and the messages of a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from robodf.errors import OptionError


@dataclass(frozen=True, slots=True)
class Schema:
    """A message definition as the file states it."""

    id: int
    name: str
    encoding: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Channel:
    """Messages of one kind on one topic; `schema_id` 0: there is no schema. Ids are below 65,536."""

    id: int
    topic: str
    schema_id: int
    message_encoding: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """One unit of reading. Times in ns; `offset` and `length` (bytes) say where it is in the file.

    `counts`: messages per channel where something vouches for them, None where only reading would tell.
    `message_index_offsets` names the channels that have an index behind the chunk, of `message_index_length` bytes.
    `bare`: no Chunk record, but a run of records in the data section (a file written without chunks).
    """

    start_time: int
    end_time: int
    offset: int
    length: int
    compression: str = ""
    compressed_size: int = 0
    uncompressed_size: int = 0
    message_index_offsets: Mapping[int, int] = field(default_factory=dict)
    message_index_length: int = 0
    bare: bool = False
    counts: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A log file as a whole; `chunks` are in the order in which their messages are read.

    `message_count` and `channel_counts` are None where only reading everything would tell. `complete`: nothing is
    lost. `problems` says what is lost or was wrong.
    """

    path: str
    schemas: Mapping[int, Schema]
    channels: Mapping[int, Channel]
    chunks: tuple[ChunkIndex, ...]
    message_count: int | None
    channel_counts: Mapping[int, int] | None
    complete: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Messages:
    """Messages of one chunk in the order of the file, one element per message in each array.

    Times are ns. The payload of message `i` is `buffer[offset[i] : offset[i] + length[i]]`.
    """

    channel_id: np.ndarray  # uint16
    sequence: np.ndarray  # uint32
    log_time: np.ndarray  # uint64
    publish_time: np.ndarray  # uint64
    offset: np.ndarray  # int64
    length: np.ndarray  # int64
    buffer: bytes

    @classmethod
    def without_payloads(cls, channel_id: np.ndarray, log_time: np.ndarray) -> Messages:
        """Messages of which an index knows channel and time: a bag has no more of them."""
        none = np.zeros(len(channel_id), np.int64)
        return cls(channel_id, none.astype(np.uint32), log_time, log_time, none, none, b"")

    def at(self, rows: np.ndarray) -> Messages:
        """Some of the messages, by their numbers here."""
        return Messages(
            self.channel_id[rows],
            self.sequence[rows],
            self.log_time[rows],
            self.publish_time[rows],
            self.offset[rows],
            self.length[rows],
            self.buffer,
        )

    def __len__(self) -> int:
        return len(self.channel_id)

    def payload(self, i: int) -> bytes:
        start = int(self.offset[i])
        return self.buffer[start : start + int(self.length[i])]


def times_known(chunk: ChunkIndex) -> bool:
    """Whether the chunk's time range can be believed; zeros are what writers leave that do not fill it."""
    return chunk.start_time <= chunk.end_time and chunk.end_time > 0


def check_on_error(on_error: str) -> None:
    if on_error not in ("raise", "skip", "collect"):
        raise OptionError(f"on_error is 'raise', 'skip' or 'collect', not {on_error!r}")


def select_chunks(
    summary: Summary,
    channels: frozenset[int] | None = None,
    start_time: int | None = None,
    end_time: int | None = None,
) -> list[ChunkIndex]:
    """The chunks that may hold messages of these channels with `start_time <= log_time < end_time`.

    A chunk without message indexes may hold any channel, and one without times any time.
    """
    chosen = []
    for chunk in summary.chunks:
        if channels is not None and not _may_hold(chunk, channels):
            continue
        if chunk.counts is not None and not any(chunk.counts.values()):
            continue
        if times_known(chunk):
            if start_time is not None and chunk.end_time < start_time:
                continue
            if end_time is not None and chunk.start_time >= end_time:
                continue
        chosen.append(chunk)
    return chosen


def _may_hold(chunk: ChunkIndex, channels: frozenset[int]) -> bool:
    if chunk.counts is not None:
        return any(n and c in channels for c, n in chunk.counts.items())
    return not chunk.message_index_offsets or not channels.isdisjoint(chunk.message_index_offsets)
