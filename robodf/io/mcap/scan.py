"""The data section from its first record to its last, for files whose summary is absent or wrong."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter
from dataclasses import replace

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.files import FileReader
from robodf.io.logs.model import ChunkIndex
from robodf.io.mcap import records
from robodf.io.mcap.definitions import Definitions
from robodf.io.mcap.load import index_fits, load_chunk
from robodf.io.mcap.records import (
    MESSAGE_HEAD,
    RECORD_HEAD,
    AttachmentIndex,
    Fields,
    MetadataIndex,
    Op,
    Record,
    Statistics,
)
from robodf.io.mcap.walk import message_heads, walk

_HEAD = struct.Struct("<BQ")
_INDEX_HEAD = struct.Struct("<BQHI")
_BARE = frozenset((Op.MESSAGE, Op.SCHEMA, Op.CHANNEL))
_AFTER_INDEXES = _BARE | {Op.CHUNK, Op.ATTACHMENT, Op.METADATA, Op.DATA_END}
_BLOCK = 64 << 10
_LARGEST_BLOCK = 4 << 20
# A run of messages outside of chunks is cut into units of at least this many bytes.
_BARE_SIZE = 1 << 20
_PRIVATE = 0x80  # opcodes from here on are free for applications
_HEAD_ROOM = 1024  # for what precedes the body of a chunk or an attachment


class _Window:
    """Blocks of the file, larger while they follow each other, small after a jump."""

    def __init__(self, file: FileReader):
        self._file = file
        self._block = _BLOCK // 2
        self.data = b""
        self.base = 0

    def at(self, offset: int, need: int) -> tuple[bytes, int]:
        """A buffer, and the position in it from which it holds `need` bytes of the file's `offset`."""
        i = offset - self.base
        if i < 0 or i + need > len(self.data):
            follows = 0 <= i <= len(self.data)
            self._block = min(self._block * 2, _LARGEST_BLOCK) if follows else _BLOCK
            length = min(max(need, self._block), self._file.size - offset)
            self.data, self.base, i = self._file.read_at(offset, length), offset, 0
        return self.data, i


class Scan:
    """What a pass over the data section found, in the order of the file.

    `damage` is what was lost, empty if the pass met the DataEnd record (which ends at `section_end`,
    where that is known); `end` is where it stopped. `private` are records of applications, or damaged ones.
    Bodies of chunks are skipped where message indexes follow them, and read otherwise; `deep` reads all.
    """

    def __init__(self, file: FileReader, definitions: Definitions, section_end: int | None, deep: bool = False):
        self.file = file
        self.definitions = definitions
        self.chunks: list[ChunkIndex] = []
        self.attachments: list[AttachmentIndex] = []
        self.metadata: list[MetadataIndex] = []
        self.damage: list[str] = []
        self.private: list[str] = []
        self.end = 0
        self._deep = deep
        self._section_end = section_end
        self._window = _Window(file)
        self._run: ChunkIndex | None = None
        self._behind_chunk = False

    def run(self, start: int, known_chunks: list[int]) -> Scan:
        """Scan from `start`; after damage, go on at the next of `known_chunks` (sorted offsets)."""
        at = start
        while True:
            self.end = at
            try:
                after = self._record(at)
            except FileFormatError as error:
                self.damage.append(str(error))
                next_chunk = bisect_right(known_chunks, at)
                if next_chunk == len(known_chunks):
                    break
                after = known_chunks[next_chunk]
            if after is None:
                break
            at = after
        self._close_run()
        self.chunks = [c for c in self.chunks if c.counts is None or any(c.counts.values())]
        return self

    def statistics(self) -> Statistics:
        """What was really found, in the form of the record that the file should have had."""
        per_channel: Counter[int] = Counter()
        for chunk in self.chunks:
            per_channel.update(chunk.counts or {})
        filled = [c for c in self.chunks if any((c.counts or {}).values())]
        return Statistics(
            per_channel.total(),
            len(self.definitions.schemas),
            len(self.definitions.channels),
            len(self.attachments),
            len(self.metadata),
            sum(not c.bare for c in self.chunks),
            min((c.start_time for c in filled), default=0),
            max((c.end_time for c in filled), default=0),
            dict(per_channel),
        )

    def _error(self, at: int, text: str) -> FileFormatError:
        return FileFormatError(f"{self.file.path}: record at offset {at}: {text}")

    def _record(self, at: int) -> int | None:
        """Take the record at `at`; the offset of the next, None at the end of the section."""
        left = self.file.size - at
        if left == 0:
            raise FileFormatError(f"{self.file.path}: ends at offset {at} without a DataEnd record")
        if left < RECORD_HEAD:
            raise self._error(at, f"the file ends after {left} bytes of it")
        data, i = self._window.at(at, RECORD_HEAD)
        op, length = _HEAD.unpack_from(data, i)
        size = RECORD_HEAD + length
        if op == Op.DATA_END:
            if self._section_end not in (None, at + size):
                raise self._error(at, f"DataEnd, but the data section ends at offset {self._section_end}")
            return None
        if op == Op.FOOTER:
            raise self._error(at, "the footer follows without a DataEnd record")
        if op == 0:
            raise self._error(at, "opcode 0 does not exist, the file is damaged here")
        if op in _BARE:
            self._behind_chunk = False
            return self._bare(at, op, size)
        self._close_run()
        if op == Op.CHUNK:
            self._behind_chunk = True
            return self._chunk(at, size)
        self._whole(at, op, size)
        if op == Op.MESSAGE_INDEX and self._behind_chunk:
            return at + size  # one of several of which another is damaged
        self._behind_chunk = False
        if op in (Op.ATTACHMENT, Op.METADATA):
            self._aside(at, op, size)
        elif op >= _PRIVATE:
            self.private.append(str(self._error(at, f"opcode {op:#04x} is of no record that is known here")))
        else:
            # Whole message indexes are passed over with their chunk: alone, they have lost it.
            self.damage.append(str(self._error(at, f"opcode {op:#04x} has no place here, the file is damaged")))
        return at + size

    def _whole(self, at: int, op: int, size: int) -> None:
        if size > self.file.size - at:
            text = f"opcode {op:#04x}, {size} bytes long, but the file ends after {self.file.size - at}"
            raise self._error(at, text)

    def _bare(self, at: int, op: int, size: int) -> int:
        """Messages, schemas and channels outside of chunks: as many as the window holds, at least one."""
        self._whole(at, op, size)
        if op == Op.MESSAGE and size < MESSAGE_HEAD:
            raise self._error(at, f"a message of {size} bytes, less than its head")
        need = min(size, MESSAGE_HEAD) if op == Op.MESSAGE else size
        data, i = self._window.at(at, need)
        found = walk(data, i, only=_BARE)
        heads, after = found.heads, at + found.end - i
        if found.end == i:  # a message larger than the window: its head is enough
            heads, after = message_heads(data, np.array([i])), at + size
        self.definitions.add_at(data, found.definitions, at - i)
        counts, times = _tally(heads)
        self._extend_run(at, after, counts, times)
        return after

    def _extend_run(self, at: int, after: int, counts: dict[int, int], times: tuple[int, int]) -> None:
        run = self._run
        if run is None:
            size = after - at
            self._run = ChunkIndex(*times, at, size, "", size, size, {}, 0, bare=True, counts=counts)
        else:
            size = after - run.offset
            if any(counts.values()):
                if any((run.counts or {}).values()):
                    times = min(run.start_time, times[0]), max(run.end_time, times[1])
            else:
                times = run.start_time, run.end_time
            both = dict(Counter(run.counts or {}) + Counter(counts))
            self._run = ChunkIndex(*times, run.offset, size, "", size, size, {}, 0, bare=True, counts=both)
        if size >= _BARE_SIZE:
            self._close_run()

    def _close_run(self) -> None:
        if self._run is not None:
            self.chunks.append(self._run)
            self._run = None

    def _chunk(self, at: int, size: int) -> int:
        there = min(size, self.file.size - at)
        data, i = self._window.at(at, min(there, _HEAD_ROOM))
        end = min(i + there, len(data))
        head = records.chunk_header(Fields(self.file.path, data, i + RECORD_HEAD, end, self._window.base, "chunk"))
        chunk = ChunkIndex(
            head.start_time,
            head.end_time,
            at,
            there,
            head.compression,
            head.compressed_size,
            head.uncompressed_size,
            {},
            0,
        )
        if there == size:
            chunk = self._indexes(chunk)
        if self._deep or not any((chunk.counts or {}).values()):
            chunk = self._walk_chunk(chunk)
        self.chunks.append(chunk)
        return at + there + chunk.message_index_length

    def _indexes(self, chunk: ChunkIndex) -> ChunkIndex:
        """The chunk with what the heads of the MessageIndex records behind it say."""
        offsets: dict[int, int] = {}
        counts: dict[int, int] = {}
        start = at = chunk.offset + chunk.length
        ended = False
        while at + _INDEX_HEAD.size <= self.file.size:
            data, i = self._window.at(at, _INDEX_HEAD.size)
            op, length, channel_id, entries = _INDEX_HEAD.unpack_from(data, i)
            if op != Op.MESSAGE_INDEX:
                ended = op in _AFTER_INDEXES
                break
            after = at + RECORD_HEAD + length
            if after > self.file.size or not index_fits(entries, length):
                return chunk  # cut off or damaged: the chunk itself tells
            offsets[channel_id] = at
            counts[channel_id] = counts.get(channel_id, 0) + entries // 16
            at = after
        if not ended:
            return chunk  # the file is cut off or damaged among them: more may be missing than the last
        return replace(chunk, message_index_offsets=offsets, message_index_length=at - start, counts=counts)

    def _walk_chunk(self, chunk: ChunkIndex) -> ChunkIndex:
        """The chunk with what its records say; without indexes nothing else does."""
        place = f"{self.file.path}: chunk at offset {chunk.offset}"
        buffer, _, problem, _ = load_chunk(self.file, replace(chunk, message_index_length=0))
        found = walk(buffer)
        if problem is None and found.end != len(buffer):
            problem = f"the record at byte {found.end} of its uncompressed bytes is damaged"
        counts, times = _tally(found.heads)
        if problem is not None:
            self.damage.append(f"{place}: {problem}; {len(found.messages)} messages before that are readable")
        self.definitions.add_at(buffer, found.definitions, chunk.offset)
        chunk = replace(chunk, start_time=times[0], end_time=times[1])
        if counts == {c: n for c, n in (chunk.counts or {}).items() if n}:
            return chunk
        return replace(chunk, message_index_offsets={}, counts=counts)

    def _aside(self, at: int, op: int, size: int) -> None:
        """An attachment or metadata: note where it is, without its body."""
        data, i = self._window.at(at, min(size, _HEAD_ROOM))
        end = min(i + size, len(data))
        record = Record(op, i + RECORD_HEAD, end)
        f = Fields(self.file.path, data, record.at, record.end, self._window.base, Op(op).name.lower())
        try:
            if op == Op.METADATA:
                self.metadata.append(MetadataIndex(at, size, f.text("name")))
            else:
                times = f.u64("log_time"), f.u64("create_time")
                name, media = f.text("name"), f.text("media_type")
                self.attachments.append(AttachmentIndex(at, size, *times, f.u64("data"), name, media))
        except FileFormatError as error:
            self.definitions.problems.append(str(error))


def _tally(heads: np.ndarray) -> tuple[dict[int, int], tuple[int, int]]:
    """Messages per channel, and the least and greatest log time (zeros where there are none)."""
    if not len(heads):
        return {}, (0, 0)
    ids, counts = np.unique(heads["channel_id"], return_counts=True)
    times = int(heads["log_time"].min()), int(heads["log_time"].max())
    return dict(zip(ids.tolist(), counts.tolist())), times
