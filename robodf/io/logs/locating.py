"""Messages of logs by their number: how they are found again, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from robodf.io.logs.containers import container
from robodf.io.logs.model import ChunkIndex, Summary
from robodf.io.logs.selection import Selection
from robodf.io.source import Fetching

FILES, CHUNKS, MESSAGES = 20, 20, 24
"""Bits of a locator: the file, the chunk in it, the message in that, among those that the source has of it."""

_SMALLEST = 8  # bytes that a message takes at least in a chunk

_PAYLOAD, _OTHERS = 64 << 10, 1 << 10
"""Bytes of a message with images or the like, and of others. No index says how large messages are."""


@dataclass(frozen=True)
class Located:
    """How the messages of a file are numbered. `first` is the number of the summary's first chunk in the file.

    `channels` and `selection` are what the source has of the file, whatever the predicates of a query.
    """

    file: int
    first: int
    channels: frozenset[int]
    selection: Selection

    def locators(self, summary: Summary, chunk: ChunkIndex, numbers: np.ndarray) -> np.ndarray:
        at = self.first + _places(summary)[id(chunk)]
        return numbers.astype(np.uint64) | np.uint64(((self.file << CHUNKS) | at) << MESSAGES)


class _Once:
    """A summary as a key: by identity, as its fields have no hash."""

    def __init__(self, summary: Summary):
        self.summary = summary

    def __hash__(self) -> int:
        return id(self.summary)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and other.summary is self.summary


def _places(summary: Summary) -> dict[int, int]:
    return _places_of(_Once(summary))


@lru_cache(maxsize=64)
def _places_of(key: _Once) -> dict[int, int]:
    return {id(chunk): k for k, chunk in enumerate(key.summary.chunks)}


def taken_apart(locators: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of the files, of the chunks in them, and of the messages in those."""
    file = (locators >> np.uint64(CHUNKS + MESSAGES)).astype(np.int64)
    chunk = (locators >> np.uint64(MESSAGES)).astype(np.int64) & ((1 << CHUNKS) - 1)
    return file, chunk, locators.astype(np.int64) & ((1 << MESSAGES) - 1)


def numberable(files: int, summaries: Iterable[Summary]) -> bool:
    """Whether the bits of a locator are enough."""
    if files > 1 << FILES:
        return False
    for summary in summaries:
        if len(summary.chunks) > 1 << CHUNKS:
            return False
        for chunk in summary.chunks:
            most = max(chunk.uncompressed_size, chunk.length) // _SMALLEST
            if most > 1 << MESSAGES and (chunk.counts is None or sum(chunk.counts.values()) > 1 << MESSAGES):
                return False
    return True


def known_by_heads(format: str, columns: Iterable[str], bare: bool) -> bool:
    """Whether an index knows these columns; `bare`: messages are not decoded, and have a column for their topic."""
    heads = container(format).HEADS | {"recording"} | ({"topic", "type"} if bare else set())
    return all(column in heads - (set() if bare else {"size"}) for column in columns)


def fetching(
    chosen: Iterable[tuple[frozenset[int], list[ChunkIndex]]], share: float, by_index: bool, bare: bool
) -> Fetching:
    """What it costs to fetch payloads of `share` of the messages of these channels in these chunks.

    A chunk is read whole for any of its messages, and which ones are left is not known: each message stays by chance.
    With `by_index` the others columns are had without the chunks; else the chunks are read and decompressed for these,
    and what is saved is to decode the payloads and to hold them.
    """
    share = min(max(share, 0.0), 1.0)
    whole = fetched = 0.0
    for channels, chunks in chosen:
        for chunk in chunks:
            size = chunk.length if by_index else max(chunk.uncompressed_size, chunk.length)
            counts = chunk.counts
            own = 1 if counts is None else sum(n for c, n in counts.items() if c in channels)
            others = 0 if counts is None or bare else sum(counts.values()) - own
            whole += size if by_index else size * own * _PAYLOAD / max(own * _PAYLOAD + others * _OTHERS, 1)
            fetched += size * (1 - (1 - share) ** own)
    return Fetching(int(whole), int(fetched), "read" if by_index else "decoded")
