"""Few, large reads of a remote file: pieces that lie close together are fetched at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock

from robodf.io.files import FileReader

GAP = 256 << 10  # bytes between two pieces that are rather fetched than asked around
LARGEST = 16 << 20  # bytes of one fetch of several pieces


@dataclass
class _Run:
    """Pieces that are fetched together; the bytes are kept until each was read once."""

    start: int
    end: int
    readers: int = 1
    data: bytes | None = None
    lock: Lock = field(default_factory=Lock)


def coalesced(file: FileReader, pieces: Iterable[tuple[int, int]]) -> FileReader:
    """The file, with its reads of these pieces (offset, length) served by fewer, larger ones; others pass through.

    Each piece is to be read, else what was fetched with it is kept as long as the file. A local file stays as it is.
    """
    if file.local is not None:
        return file
    return FileReader(file.path, file.size, _Coalesced(file, pieces))


class _Coalesced:
    def __init__(self, file: FileReader, pieces: Iterable[tuple[int, int]]):
        self._file = file
        self._runs: list[_Run] = []
        for offset, length in sorted(pieces):
            end = min(offset + length, file.size)
            last = self._runs[-1] if self._runs else None
            if last and offset - last.end <= GAP and end - last.start <= LARGEST:
                last.end = max(last.end, end)
                last.readers += 1
            else:
                self._runs.append(_Run(offset, end))
        self._starts = [run.start for run in self._runs]

    def close(self) -> None:
        """The file below is closed by who opened it."""

    def read(self, offset: int, length: int) -> bytes:
        found = bisect_right(self._starts, offset) - 1
        run = self._runs[found] if found >= 0 else None
        if run is None or offset + length > run.end:
            return self._file.read_at(offset, length)
        with run.lock:  # of several threads that need it one fetches it
            if run.readers <= 0:  # a piece that is read again
                return self._file.read_at(offset, length)
            if run.data is None:
                run.data = self._file.read_at(run.start, run.end - run.start)
            piece = run.data[offset - run.start : offset - run.start + length]
            run.readers -= 1
            if run.readers == 0:
                run.data = None
        return piece
