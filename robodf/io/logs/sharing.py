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

from robodf.io.logs.model import Messages

_MOST = 128 << 20  # uncompressed bytes of chunks that are kept

File: TypeAlias = tuple  # path, state, on_error
Loaded: TypeAlias = tuple[Messages, list[str]]
"""All messages of a chunk, and what is wrong with it."""

_lock = Lock()
_readers: Counter[File] = Counter()
_chunks: OrderedDict[tuple[File, int], tuple[Future[Loaded], int]] = OrderedDict()


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
        if found is not None:
            _chunks.move_to_end(key)
        else:
            mine: Future[Loaded] = Future()
            _chunks[key] = (mine, size)
            total = sum(kept for _, kept in _chunks.values())
            while total > _MOST and len(_chunks) > 1:
                total -= _chunks.popitem(last=False)[1][1]
    if found is not None:
        return found[0].result()
    try:
        mine.set_result(load())
    except BaseException as error:  # the others, who wait for it, meet the same
        mine.set_exception(error)
        raise
    return mine.result()


def select(found: Messages, channels: frozenset[int], start_time: int | None, end_time: int | None) -> Messages:
    """The messages of these channels with `start_time <= log_time < end_time`, in their order."""
    wanted = np.zeros(1 << 16, dtype=bool)
    wanted[list(channels)] = True
    keep = wanted[found.channel_id]
    if start_time is not None and start_time > 0:
        keep &= found.log_time >= np.uint64(min(start_time, (1 << 64) - 1))
    if end_time is not None and end_time < 1 << 64:
        keep &= found.log_time < np.uint64(max(end_time, 0))
    if keep.all():
        return found
    return Messages(
        found.channel_id[keep],
        found.sequence[keep],
        found.log_time[keep],
        found.publish_time[keep],
        found.offset[keep],
        found.length[keep],
        found.buffer,
    )
