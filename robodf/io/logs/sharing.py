"""Chunks that several readers of one file need at the same time are read and decompressed once.

A query over several topics of a log, such as `rd.align`, has a reader for each, and they go through the same chunks.
The first that comes to a chunk reads it whole; the others take it from here, as long as they are not far behind.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock
from typing import TypeAlias

import numpy as np

from robodf.io.logs.choosing import among, between
from robodf.io.logs.model import Messages

_MOST = 128 << 20  # uncompressed bytes of chunks that are kept

File: TypeAlias = tuple  # path, state, on_error
Loaded: TypeAlias = tuple[Messages, list[str]]
"""All messages of a chunk, and what is wrong with it."""

_lock = Lock()
_readers: Counter[File] = Counter()
_chunks: OrderedDict[tuple[File, int], _Chunk] = OrderedDict()


class _Chunk:
    """A chunk that is being read, or was; `left` of the readers have not asked for it."""

    def __init__(self, size: int, left: int):
        self.loaded: Future[Loaded] = Future()
        self.size, self.left = size, left


@contextmanager
def reading(file: File) -> Iterator[None]:
    """Counts a reader of the file while it goes through its chunks."""
    with _lock:
        _readers[file] += 1
    try:
        yield
    finally:
        with _lock:
            _readers[file] -= 1
            if not _readers[file]:
                del _readers[file]
                for key in [k for k in _chunks if k[0] == file]:
                    del _chunks[key]


def shared(file: File, offset: int, size: int, load: Callable[[], Loaded]) -> Loaded | None:
    """The chunk at `offset`, of `size` bytes, read by whoever needs it first; None where there is one reader alone."""
    with _lock:
        if _readers[file] < 2 or size > _MOST // 2:
            return None
        key = (file, offset)
        found = _chunks.get(key)
        first = found is None
        if found is None:
            found = _chunks[key] = _Chunk(size, _readers[file])
            total = sum(chunk.size for chunk in _chunks.values())
            while total > _MOST and len(_chunks) > 1:
                total -= _chunks.popitem(last=False)[1].size
        found.left -= 1
        if not found.left:  # nobody else will ask: its memory serves the next one
            _chunks.pop(key, None)
    if not first:
        return found.loaded.result()
    try:
        found.loaded.set_result(load())
    except BaseException as error:  # the others, who wait for it, meet the same
        found.loaded.set_exception(error)
        raise
    return found.loaded.result()


def select(found: Messages, channels: frozenset[int], start_time: int | None, end_time: int | None) -> Messages:
    """The messages of these channels with `start_time <= log_time < end_time`, in their order."""
    keep = between(found.log_time, start_time, end_time, among(found.channel_id, channels))
    at = np.flatnonzero(keep)  # once, not for each of the arrays
    if len(at) == len(keep):
        return found
    return found.at(at)
