"""Writing MCAP files: chunks with message indexes, and a summary that repeats all a reader needs."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
import polars as pl

from robodf.errors import OptionError
from robodf.io.mcap.records import MAGIC, AttachmentIndex, Channel, ChunkIndex, MetadataIndex, Op, Schema

_U16_END, _U32_END, _U64_END = 1 << 16, 1 << 32, 1 << 64
COMPRESSIONS = {"zstd": "zstd", "lz4": "lz4", "none": ""}
_MESSAGE = struct.Struct("<BQHIQQ")
_HEADS = np.dtype(
    [("op", "u1"), ("length", "<u8"), ("channel", "<u2"), ("sequence", "<u4"), ("log", "<u8"), ("publish", "<u8")]
)


class McapWriter:
    """Writes one MCAP file to a path or to a binary file object (which stays open).

    Chunks close at `chunk_size` uncompressed bytes and are compressed with `"zstd"`, `"lz4"` or
    `"none"`, by up to `threads` threads; the bytes of the file do not depend on their number. Message indexes
    list the messages in the order of writing, which the format leaves open. Leaving the `with` block by an
    exception leaves the file without its end, so that no reader takes it for a whole one.

    >>> import io
    >>> out = io.BytesIO()
    >>> with McapWriter(out, compression="lz4") as writer:
    ...     schema = writer.add_schema("Imu", "jsonschema", b"{}")
    ...     imu = writer.add_channel("/imu", "json", schema)
    ...     writer.write(imu, log_time=1_700_000_000_000_000_000, data=b'{"x": 1}')
    >>> out.getvalue()[:8] == out.getvalue()[-8:]
    True
    """

    def __init__(
        self,
        output: str | os.PathLike[str] | BinaryIO,
        compression: str = "zstd",
        chunk_size: int = 1 << 20,
        profile: str = "",
        library: str = "robodf",
        threads: int = 1,
    ):
        if compression not in COMPRESSIONS:
            raise OptionError(f"compression is one of {', '.join(COMPRESSIONS)}, not {compression!r}")
        if chunk_size < 1:
            raise OptionError(f"chunk_size is at least 1 byte, not {chunk_size}")
        self._compression = COMPRESSIONS[compression]
        self._chunk_size = chunk_size
        self._owned = isinstance(output, str | os.PathLike)
        self._file: BinaryIO = open(output, "wb") if isinstance(output, str | os.PathLike) else output  # noqa: SIM115
        self._at = 0
        self._finished = False
        self._schemas: list[Schema] = []
        self._schema_ids: dict[tuple[str, str, bytes], int] = {}
        self._channels: list[Channel] = []
        self._counts: list[int] = []
        self._chunks: list[ChunkIndex] = []
        self._attachments: list[AttachmentIndex] = []
        self._metadata: list[MetadataIndex] = []
        self._data_crc = 0
        self._buffer = bytearray()
        self._index = (array("H"), array("Q"), array("Q"))  # of each message in it: channel, log time, offset
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 and self._compression else None
        self._pending: deque[tuple[Future[bytes | bytearray], _Chunk]] = deque()  # in the order of the file
        self._put(MAGIC)
        self._put(_record(Op.HEADER, _text(profile) + _text(library)))

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """The id of the schema, which is the same for the same schema; ids start at 1."""
        self._check_open()
        key = (name, encoding, bytes(data))
        if key not in self._schema_ids:
            schema = Schema(len(self._schemas) + 1, *key)
            _check("the number of schemas", schema.id, _U16_END)
            self._schemas.append(schema)
            self._schema_ids[key] = schema.id
            self._buffer += _schema(schema)
        return self._schema_ids[key]

    def add_channel(
        self,
        topic: str,
        message_encoding: str,
        schema_id: int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """The id of a new channel; `schema_id` 0 is for messages without a schema."""
        self._check_open()
        if not 0 <= schema_id <= len(self._schemas):
            raise OptionError(f"schema {schema_id} was not added; there are {len(self._schemas)}")
        channel = Channel(len(self._channels) + 1, topic, schema_id, message_encoding, dict(metadata or {}))
        _check("the number of channels", channel.id, _U16_END)
        self._channels.append(channel)
        self._counts.append(0)
        self._buffer += _channel(channel)
        return channel.id

    def write(
        self,
        channel_id: int,
        log_time: int,
        data: bytes | bytearray | memoryview,
        publish_time: int | None = None,
        sequence: int = 0,
    ) -> None:
        """Append one message; times are ns, `publish_time` is the log time unless given."""
        self._check_open()
        if not 1 <= channel_id <= len(self._channels):
            raise OptionError(f"channel {channel_id} was not added; there are {len(self._channels)}")
        if publish_time is None:
            publish_time = log_time
        try:
            head = _MESSAGE.pack(Op.MESSAGE, 22 + len(data), channel_id, sequence, log_time, publish_time)
        except struct.error:
            _check("log_time", log_time, _U64_END)
            _check("publish_time", publish_time, _U64_END)
            _check("sequence", sequence, _U32_END)
            raise
        for column, value in zip(self._index, (channel_id, log_time, len(self._buffer))):
            column.append(value)
        self._buffer += head
        self._buffer += data
        self._counts[channel_id - 1] += 1
        if len(self._buffer) >= self._chunk_size:
            self._end_chunk()

    def write_batch(
        self,
        channel_id: np.ndarray,
        log_time: np.ndarray,
        data: pl.Series,
        publish_time: np.ndarray | None = None,
        sequence: np.ndarray | None = None,
    ) -> None:
        """Append messages, in order: as `write` for each, without a Python object per message.

        Arrays of integers and a Binary series, all of one length and without nulls.

        >>> import io
        >>> with McapWriter(io.BytesIO()) as writer:
        ...     a, b = writer.add_channel("/a", "x"), writer.add_channel("/b", "x")
        ...     writer.write_batch(np.array([a, b]), np.array([5, 6]), pl.Series([b"one", b"two"]))
        """
        self._check_open()
        heads = np.zeros(len(channel_id), _HEADS)
        heads["op"] = Op.MESSAGE
        given = (("log", log_time), ("publish", publish_time), ("sequence", sequence))
        for name, values in (("channel", channel_id), *given):
            if values is None:
                continue
            if len(values) != len(heads):
                raise OptionError(f"{name} has {len(values)} values for {len(heads)} messages")
            if len(values):
                least, most = int(values.min()), int(values.max())
                end = 1 << 8 * heads.dtype[name].itemsize
                _check(name, least if least < 0 else most, end)
            heads[name] = values
        if publish_time is None:
            heads["publish"] = heads["log"]
        if data.dtype != pl.Binary or len(data) != len(heads) or data.null_count():
            raise OptionError(f"data is a Binary series of {len(heads)} values without nulls")
        known = (heads["channel"] >= 1) & (heads["channel"] <= len(self._channels))
        if not known.all():
            missing = heads["channel"][~known][0]
            raise OptionError(f"channel {missing} was not added; there are {len(self._channels)}")
        if len(heads):
            self._append(heads, *_joined(heads, data))

    def _append(self, heads: np.ndarray, records: memoryview, ends: np.ndarray) -> None:
        """Take message records that end at `ends` of `records`, cut into chunks."""
        for channel_id, count in zip(*np.unique(heads["channel"], return_counts=True)):
            self._counts[channel_id - 1] += int(count)
        first = start = 0
        while first < len(heads):
            room = self._chunk_size - len(self._buffer)
            last = min(int(np.searchsorted(ends, start + room)) + 1, len(heads))
            offsets = np.empty(last - first, np.uint64)
            offsets[0] = len(self._buffer)
            offsets[1:] = ends[first : last - 1] - start + len(self._buffer)
            columns = (heads["channel"][first:last], heads["log"][first:last], offsets)
            for column, values in zip(self._index, columns):
                column.frombytes(values.tobytes())
            first, end = last, int(ends[last - 1])
            self._buffer += records[start:end]
            start = end
            if len(self._buffer) >= self._chunk_size:
                self._end_chunk()

    def add_attachment(
        self, name: str, data: bytes, log_time: int = 0, create_time: int = 0, media_type: str = ""
    ) -> None:
        """Append a file of any kind; times are ns, 0 where there is none."""
        _check("log_time", log_time, _U64_END)
        _check("create_time", create_time, _U64_END)
        head = struct.pack("<QQ", log_time, create_time) + _text(name) + _text(media_type)
        head += struct.pack("<Q", len(data))
        crc = zlib.crc32(data, zlib.crc32(head))
        facts = AttachmentIndex(0, 0, log_time, create_time, len(data), name, media_type)
        self.copy_attachment(facts, (head, data, struct.pack("<I", crc)), len(head) + len(data) + 4)

    def copy_attachment(self, facts: AttachmentIndex, content: Iterable[bytes], length: int) -> None:
        """Append the content of an Attachment record, of `length` bytes in all, that `facts` describes."""
        self._check_open()
        offset = self._at
        self._put(struct.pack("<BQ", Op.ATTACHMENT, length))
        for piece in content:
            self._put(piece)
        if self._at - offset != 9 + length:
            raise OptionError(f"attachment {facts.name!r} has {self._at - offset - 9} bytes, not {length}")
        times = (facts.log_time, facts.create_time)
        self._attachments.append(
            AttachmentIndex(offset, 9 + length, *times, facts.data_size, facts.name, facts.media_type)
        )

    def add_metadata(self, name: str, values: Mapping[str, str]) -> None:
        """Append a named set of texts, such as the vehicle or the place."""
        self._check_open()
        record = _record(Op.METADATA, _text(name) + _pairs(values))
        self._metadata.append(MetadataIndex(self._at, len(record), name))
        self._put(record)

    def finish(self) -> None:
        """Write the last chunk and the summary; nothing can be added afterwards."""
        self._check_open()
        if self._buffer:
            self._end_chunk()
        while self._pending:
            self._write_oldest()
        self._finished = True
        self._put(_record(Op.DATA_END, struct.pack("<I", self._data_crc)))
        start = self._at
        groups = [
            (Op.SCHEMA, b"".join(map(_schema, self._schemas))),
            (Op.CHANNEL, b"".join(map(_channel, self._channels))),
            (Op.STATISTICS, self._statistics()),
            (Op.CHUNK_INDEX, b"".join(map(_chunk_index, self._chunks))),
            (Op.ATTACHMENT_INDEX, b"".join(map(_attachment_index, self._attachments))),
            (Op.METADATA_INDEX, b"".join(map(_metadata_index, self._metadata))),
        ]
        offsets = b""
        at = start
        for op, group in groups:
            if group:
                offsets += _record(Op.SUMMARY_OFFSET, struct.pack("<BQQ", op, at, len(group)))
                at += len(group)
        summary = b"".join(group for _, group in groups) + offsets
        footer = struct.pack("<BQQQ", Op.FOOTER, 20, start, at)
        crc = zlib.crc32(footer, zlib.crc32(summary))
        self._put(summary + footer + struct.pack("<I", crc) + MAGIC)
        self._file.flush()  # a full disk is told here, not when the file is closed

    def __enter__(self) -> McapWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if kind is None and not self._finished:
                self.finish()
        finally:
            self._finished = True
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
            if self._owned:
                # After an error, that of closing the file on a full disk must not hide it.
                with contextlib.suppress(*([] if kind is None else [OSError])):
                    self._file.close()

    def _check_open(self) -> None:
        if self._finished:
            raise OptionError("the MCAP file is finished: nothing can be added to it")

    def _put(self, data: bytes | bytearray) -> None:
        self._file.write(data)
        self._data_crc = zlib.crc32(data, self._data_crc)
        self._at += len(data)

    def _end_chunk(self) -> None:
        records, self._buffer = self._buffer, bytearray()
        chunk = _Chunk(self._index, len(records), zlib.crc32(records))
        self._index = (array("H"), array("Q"), array("Q"))
        if self._pool is None:
            self._write_chunk(chunk, self._compress(records))
            return
        self._pending.append((self._pool.submit(self._compress, records), chunk))
        while len(self._pending) > 2 * self._threads or self._pending[0][0].done():
            self._write_oldest()
            if not self._pending:
                return

    def _write_oldest(self) -> None:
        body, chunk = self._pending.popleft()
        self._write_chunk(chunk, body.result())

    def _write_chunk(self, chunk: _Chunk, body: bytes | bytearray) -> None:
        head = struct.pack("<QQQI", chunk.start_time, chunk.end_time, chunk.size, chunk.crc)
        head += _text(self._compression) + struct.pack("<Q", len(body))
        offset = self._at
        self._put(struct.pack("<BQ", Op.CHUNK, len(head) + len(body)) + head)
        self._put(body)
        length = self._at - offset
        offsets = {}
        for channel_id, entries in chunk.indexes():
            offsets[channel_id] = self._at
            self._put(_record(Op.MESSAGE_INDEX, struct.pack("<HI", channel_id, len(entries)) + entries))
        index_length = self._at - offset - length
        self._chunks.append(
            ChunkIndex(
                chunk.start_time,
                chunk.end_time,
                offset,
                length,
                self._compression,
                len(body),
                chunk.size,
                offsets,
                index_length,
            )
        )

    def _compress(self, records: bytearray) -> bytes | bytearray:
        if self._compression == "zstd":
            import zstandard

            return zstandard.ZstdCompressor().compress(records)
        if self._compression == "lz4":
            import lz4.frame

            return lz4.frame.compress(records)
        return records

    def _statistics(self) -> bytes:
        filled = [c for c in self._chunks if c.message_index_offsets]
        counts = b"".join(struct.pack("<HQ", i, n) for i, n in enumerate(self._counts, 1) if n)
        content = struct.pack(
            "<QHIIIIQQI",
            sum(self._counts),
            len(self._schemas),
            len(self._channels),
            len(self._attachments),
            len(self._metadata),
            len(self._chunks),
            min((c.start_time for c in filled), default=0),
            max((c.end_time for c in filled), default=0),
            len(counts),
        )
        return _record(Op.STATISTICS, content + counts)


class _Chunk:
    """What is known of a chunk before it is compressed."""

    def __init__(self, index: tuple[array[int], array[int], array[int]], size: int, crc: int):
        self.size, self.crc = size, crc
        self._channel, self._time, self._offset = (np.frombuffer(c, c.typecode) for c in index)
        self.start_time = int(self._time.min()) if len(self._time) else 0
        self.end_time = int(self._time.max()) if len(self._time) else 0

    def indexes(self) -> Iterable[tuple[int, bytes]]:
        """The entries of the message index of each channel, in the order in which the channels appear."""
        ids, first, counts = np.unique(self._channel, return_index=True, return_counts=True)
        order = np.argsort(self._channel, kind="stable")
        entries = np.column_stack([self._time[order], self._offset[order]]).astype("<u8", copy=False)
        ends = np.cumsum(counts)
        for i in np.argsort(first):
            yield int(ids[i]), entries[ends[i] - counts[i] : ends[i]].tobytes()


def _joined(heads: np.ndarray, data: pl.Series) -> tuple[memoryview, np.ndarray]:
    """The Message records of these heads and payloads, one after the other, and where each ends.

    Sets the lengths in `heads`.
    """
    import pyarrow as pa
    from pyarrow.compute import call_function

    payloads = data.to_arrow().cast(pa.large_binary())
    heads["length"] = call_function("binary_length", [payloads]).to_numpy() + (_MESSAGE.size - 9)
    offsets = np.arange(len(heads) + 1, dtype=np.int64) * _MESSAGE.size
    fixed = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(heads), [None, pa.py_buffer(offsets), pa.py_buffer(heads)]
    )
    empty = pa.scalar(b"", pa.large_binary())
    joined = call_function("binary_join_element_wise", [fixed, payloads, empty])
    _, places, values = joined.buffers()
    ends = np.frombuffer(places, np.int64)[joined.offset + 1 : joined.offset + 1 + len(heads)]
    return memoryview(values), ends


def _check(name: str, value: int, end: int) -> None:
    if not 0 <= value < end:
        raise OptionError(f"{name} is {value}; MCAP takes 0 to {end - 1}")


def _record(op: Op, content: bytes) -> bytes:
    return struct.pack("<BQ", op, len(content)) + content


def _blob(data: bytes) -> bytes:
    _check("the length of a field", len(data), _U32_END)
    return struct.pack("<I", len(data)) + data


def _text(text: str) -> bytes:
    return _blob(text.encode())


def _pairs(values: Mapping[str, str]) -> bytes:
    return _blob(b"".join(_text(k) + _text(v) for k, v in values.items()))


def _schema(schema: Schema) -> bytes:
    content = struct.pack("<H", schema.id) + _text(schema.name) + _text(schema.encoding)
    return _record(Op.SCHEMA, content + _blob(schema.data))


def _channel(channel: Channel) -> bytes:
    content = struct.pack("<HH", channel.id, channel.schema_id) + _text(channel.topic)
    return _record(Op.CHANNEL, content + _text(channel.message_encoding) + _pairs(channel.metadata))


def _chunk_index(chunk: ChunkIndex) -> bytes:
    offsets = b"".join(struct.pack("<HQ", c, o) for c, o in chunk.message_index_offsets.items())
    content = struct.pack("<QQQQ", chunk.start_time, chunk.end_time, chunk.offset, chunk.length)
    content += _blob(offsets) + struct.pack("<Q", chunk.message_index_length) + _text(chunk.compression)
    return _record(Op.CHUNK_INDEX, content + struct.pack("<QQ", chunk.compressed_size, chunk.uncompressed_size))


def _attachment_index(a: AttachmentIndex) -> bytes:
    content = struct.pack("<QQQQQ", a.offset, a.length, a.log_time, a.create_time, a.data_size)
    return _record(Op.ATTACHMENT_INDEX, content + _text(a.name) + _text(a.media_type))


def _metadata_index(m: MetadataIndex) -> bytes:
    return _record(Op.METADATA_INDEX, struct.pack("<QQ", m.offset, m.length) + _text(m.name))
