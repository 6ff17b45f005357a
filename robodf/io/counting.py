"""What sources read while a query runs: for the progress bar, and for tests of what was not read."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Counter:
    """Bytes read from files, rows made of them, frames of video decoded; any thread adds to it."""

    bytes: int = 0
    rows: int = 0
    chunks: int = 0
    frames: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, rows: int = 0, bytes: int = 0, chunks: int = 0, frames: int = 0) -> None:
        with self._lock:
            self.rows += rows
            self.bytes += bytes
            self.chunks += chunks
            self.frames += frames


read = Counter()
"""What robodf's own readers have read in this process so far."""
