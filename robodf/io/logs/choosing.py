"""Which messages are wanted: by channel and by time, as every container asks it."""

from __future__ import annotations

import numpy as np

from robodf.io.logs.model import ChunkIndex, times_known

_U64_END = 1 << 64


def inside(chunk: ChunkIndex, start_time: int | None, end_time: int | None) -> bool:
    """True where all messages of the chunk have `start_time <= log_time < end_time`."""
    if start_time is None and end_time is None:
        return True
    if not times_known(chunk):
        return False
    return (start_time is None or start_time <= chunk.start_time) and (end_time is None or chunk.end_time < end_time)


def among(channel_id: np.ndarray, channels: frozenset[int]) -> np.ndarray:
    """Which of the messages (uint16 channels) are of these channels."""
    table = np.zeros(1 << 16, dtype=bool)
    table[[c for c in channels if 0 <= c < 1 << 16]] = True
    return table[channel_id]


def between(log_time: np.ndarray, start_time: int | None, end_time: int | None, keep: np.ndarray) -> np.ndarray:
    """`keep`, and `start_time <= log_time < end_time` (uint64); the bounds may lie outside of what uint64 holds."""
    if start_time is not None and start_time > 0:
        if start_time >= _U64_END:
            return np.zeros_like(keep)
        keep = keep & (log_time >= np.uint64(start_time))
    if end_time is not None and end_time < _U64_END:
        if end_time <= 0:
            return np.zeros_like(keep)
        keep = keep & (log_time < np.uint64(end_time))
    return keep
