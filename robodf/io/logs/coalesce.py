"""Few, large reads of a remote file: chunks that lie close together are fetched at once."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from threading import Lock

from robodf.io.files import FileReader
from robodf.io.logs.model import ChunkIndex

GAP = 256 << 10  # bytes between two chunks that are rather fetched than asked around
LARGEST = 16 << 20  # bytes of one fetch of several chunks


@dataclass
class _Run:
    """Chunks that are fetched together; the bytes are kept until each chunk was read once."""

    start: int
    end: int
    readers: int = 1
    data: bytes | None = None
    lock: Lock = field(default_factory=Lock)


def coalesced(file: FileReader, chunks: list[ChunkIndex]) -> FileReader:
    """The file, with its reads of these chunks served by fewer, larger ones; other reads pass through."""
    return FileReader(file.path, file.size, _Coalesced(file, chunks), file.local)


class _Coalesced:
    def __init__(self, file: FileReader, chunks: list[ChunkIndex]):
        self._file = file
        self._runs: list[_Run] = []
        for chunk in sorted(chunks, key=lambda c: c.offset):
            end = min(chunk.offset + chunk.length + chunk.message_index_length, file.size)
            last = self._runs[-1] if self._runs else None
            if last and chunk.offset - last.end <= GAP and end - last.start <= LARGEST:
                last.end = max(last.end, end)
                last.readers += 1
            else:
                self._runs.append(_Run(chunk.offset, end))
        self._starts = [run.start for run in self._runs]

    def close(self) -> None:
        """The file below is closed by who opened it."""

    def read(self, offset: int, length: int) -> bytes:
        found = bisect_right(self._starts, offset) - 1
        run = self._runs[found] if found >= 0 else None
        if run is None or offset + length > run.end:
            return self._file.read_at(offset, length)
        with run.lock:  # of several threads that need it one fetches it
            if run.readers <= 0:  # a chunk that is read again
                return self._file.read_at(offset, length)
            if run.data is None:
                run.data = self._file.read_at(run.start, run.end - run.start)
            piece = run.data[offset - run.start : offset - run.start + length]
            run.readers -= 1
            if run.readers == 0:
                run.data = None
        return piece
