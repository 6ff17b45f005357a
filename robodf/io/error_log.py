"""What a source skipped or could not decode."""

from __future__ import annotations

import threading


class ErrorLog:
    """Problems that the runs of one frame met; shared by all frames made from it, and not part of their identity."""

    def __init__(self) -> None:
        self.problems: list[dict] = []
        self._seen: set[tuple] = set()
        self._lock = threading.Lock()

    def add(self, file: str | None, error: str, topic: str | None = None, offset: int | None = None,
            time: int | None = None) -> None:  # fmt: skip
        """Keep a problem once, however often the file is read."""
        key = (file, topic, offset, time, error)
        with self._lock:
            if key not in self._seen:
                self._seen.add(key)
                self.problems.append({"file": file, "topic": topic, "offset": offset, "time": time, "error": error})

    def __reduce__(self):
        return ErrorLog, ()
