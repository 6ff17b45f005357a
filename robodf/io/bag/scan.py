"""A bag from its first record to its last, where its index is absent or wrong."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import replace

from robodf.errors import FileFormatError
from robodf.io.bag.connections import Connections
from robodf.io.bag.load import Entries, load_chunk, parse_index
from robodf.io.bag.records import LARGEST_HEADER, MAGIC, BadRecord, Head, Op, chunk_header, index_count
from robodf.io.bag.walk import Records, walk
from robodf.io.bag.window import Window
from robodf.io.files import FileReader
from robodf.io.logs.model import ChunkIndex

_BETWEEN_CHUNKS = (Op.CHUNK, Op.MESSAGE, Op.CONNECTION, Op.CHUNK_INFO)
# A run of messages outside of chunks is cut into units of at least this many bytes.
_BARE_SIZE = 1 << 20
_LARGEST_CONNECTION = 256 << 20


class Scan:
    """What a pass over the file found, in its order. `damage` is what was lost.

    Bodies of chunks are skipped where index records follow them, and read otherwise; `deep` reads all.
    """

    def __init__(self, file: FileReader, connections: Connections, deep: bool = False):
        self.file = file
        self.connections = connections
        self.chunks: list[ChunkIndex] = []
        self.damage: list[str] = []
        self._deep = deep
        self._window = Window(file)
        self._run: ChunkIndex | None = None

    def run(self, start: int, known_chunks: list[int]) -> Scan:
        """Scan from `start`; after damage, go on at the next of `known_chunks` (sorted offsets)."""
        at = start
        while at < self.file.size:
            try:
                at = self._record(at)
            except (FileFormatError, BadRecord) as error:
                place = "" if isinstance(error, FileFormatError) else f"{self.file.path}: record at offset {at}: "
                self.damage.append(f"{place}{error}")
                next_chunk = bisect_right(known_chunks, at)
                if next_chunk == len(known_chunks):
                    break
                at = known_chunks[next_chunk]
        self._close_run()
        self.chunks = [c for c in self.chunks if any((c.counts or {}).values())]
        return self

    def counts(self) -> Counter[int]:
        """Messages per channel."""
        total: Counter[int] = Counter()
        for chunk in self.chunks:
            total.update(chunk.counts or {})
        return total

    def _record(self, at: int) -> int:
        """Take the record at `at`; the offset of the next."""
        head = self._window.head(at)
        size = head.data + head.length - (at - self._window.base)
        if head.op in (Op.MESSAGE, Op.CONNECTION):
            return self._bare(at, head, size)
        self._close_run()
        if head.op == Op.CHUNK:
            return self._chunk(at, head, size)
        if head.op not in (Op.INDEX, Op.CHUNK_INFO) and at != len(
            MAGIC
        ):  # where the bag header is, with whatever damage
            raise BadRecord(f"op {head.op:#04x} does not belong here, the file is damaged")
        self._whole(at, size)
        return at + size

    def _whole(self, at: int, size: int) -> None:
        if size > self.file.size - at:
            raise BadRecord(f"it has {size} bytes, but the file ends after {self.file.size - at}")

    def _bare(self, at: int, head: Head, size: int) -> int:
        """Messages and connections outside of chunks: as many as the window holds, at least one."""
        self._whole(at, size)
        if head.op == Op.CONNECTION:
            self._window.record(at, _LARGEST_CONNECTION)
        data, base = self._window.data, self._window.base
        found = walk(data, at - base)
        if found.end == at - base:  # a message larger than the window: its head is enough
            conn, time = head.u32(b"conn"), head.time(b"time")
            self._extend_run(at, at + size, {self.connections.channel_id(conn): 1}, (time, time))
            return at + size
        self.connections.add_at(data, found.connections, base)
        self._extend_run(at, base + found.end, *self._tally(found.messages))
        return base + found.end

    def _tally(self, found: Records | Entries) -> tuple[dict[int, int], tuple[int, int]]:
        """Messages per channel, and the least and greatest time (zeros where there are none)."""
        if not len(found.conn):
            return {}, (0, 0)
        return self.connections.count(found.conn), (int(found.time.min()), int(found.time.max()))

    def _extend_run(self, at: int, after: int, counts: dict[int, int], times: tuple[int, int]) -> None:
        run = self._run
        start = at if run is None else run.offset
        if run is not None and run.counts:
            both = (min(run.start_time, times[0]), max(run.end_time, times[1]))
            times = both if counts else (run.start_time, run.end_time)
            counts = dict(Counter(run.counts) + Counter(counts))
        size = after - start
        self._run = ChunkIndex(*times, start, size, "none", size, size, bare=True, counts=counts)
        if size >= _BARE_SIZE:
            self._close_run()

    def _close_run(self) -> None:
        if self._run is not None:
            self.chunks.append(self._run)
            self._run = None

    def _chunk(self, at: int, head: Head, size: int) -> int:
        compression, inflated = chunk_header(head)
        there = min(size, self.file.size - at)
        chunk = ChunkIndex(0, 0, at, there, compression, head.length, inflated)
        indexed = self._indexed(chunk, inflated) if there == size else None
        if indexed is None or self._deep:
            walked = self._walked(chunk)
            if indexed is None:
                indexed = walked
            elif indexed.counts != walked.counts:  # no more is kept of an index that lies
                indexed = replace(walked, message_index_length=indexed.message_index_length)
        self.chunks.append(indexed)
        return at + there + indexed.message_index_length

    def _indexed(self, chunk: ChunkIndex, inflated: int) -> ChunkIndex | None:
        """The chunk with what the index records behind it say; None where they cannot be the whole truth."""
        start = at = chunk.offset + chunk.length
        data = b""
        while True:
            try:
                head = self._window.head(at)
                if head.op != Op.INDEX:
                    break
                index_count(head)
                size = head.data + head.length - (at - self._window.base)
                head = self._window.record(at, inflated + LARGEST_HEADER)  # a message takes more than its entry
            except BadRecord:
                return None  # the file is cut off or damaged among them: more may be missing than the last
            i = at - self._window.base
            data += head.buffer[i : i + size]
            at += size
        if head.op not in _BETWEEN_CHUNKS or not data:
            return None
        try:
            entries = parse_index(data, 0, len(data), inflated)
        except BadRecord:
            return None
        counts, times = self._tally(entries)
        if not counts:
            return None
        return replace(chunk, start_time=times[0], end_time=times[1], message_index_length=at - start, counts=counts)

    def _walked(self, chunk: ChunkIndex) -> ChunkIndex:
        """The chunk with what its records say; without an index nothing else does."""
        loaded = load_chunk(self.file, chunk)
        if loaded.problem is not None:
            self.damage.append(
                f"{self.file.path}: chunk at offset {chunk.offset}: {loaded.problem}; "
                f"{len(loaded.found.messages.at)} messages before that are readable"
            )
        self.connections.add_at(loaded.buffer, loaded.found.connections, chunk.offset)
        counts, times = self._tally(loaded.found.messages)
        return replace(chunk, start_time=times[0], end_time=times[1], counts=counts)
