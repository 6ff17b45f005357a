"""Writing MCAP files: chunks with message indexes, and a summary that repeats all a reader needs."""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections.abc import Mapping
from typing import BinaryIO

from robodf.errors import OptionError
from robodf.io.mcap.records import MAGIC, Channel, ChunkIndex, Op, Schema

_U16_END, _U32_END, _U64_END = 1 << 16, 1 << 32, 1 << 64
_COMPRESSIONS = {"zstd": "zstd", "lz4": "lz4", "none": ""}
_MESSAGE = struct.Struct("<BQHIQQ")


class McapWriter:
    """Writes one MCAP file to a path or to a binary file object (which stays open).

    Chunks close at `chunk_size` uncompressed bytes and are compressed with `"zstd"`, `"lz4"` or
    `"none"`. Leaving the `with` block by an exception leaves the file without its end, so that no
    reader takes it for a whole one.

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
    ):
        if compression not in _COMPRESSIONS:
            raise OptionError(f"compression is one of {', '.join(_COMPRESSIONS)}, not {compression!r}")
        if chunk_size < 1:
            raise OptionError(f"chunk_size is at least 1 byte, not {chunk_size}")
        self._compression = _COMPRESSIONS[compression]
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
        self._data_crc = 0
        self._buffer = bytearray()
        self._index: dict[int, array[int]] = {}  # channel id: time and offset of each message, in turn
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
        index = self._index.get(channel_id)
        if index is None:
            index = self._index[channel_id] = array("Q")
        index.append(log_time)
        index.append(len(self._buffer))
        self._buffer += head
        self._buffer += data
        self._counts[channel_id - 1] += 1
        if len(self._buffer) >= self._chunk_size:
            self._end_chunk()

    def finish(self) -> None:
        """Write the last chunk and the summary; nothing can be added afterwards."""
        self._check_open()
        if self._buffer:
            self._end_chunk()
        self._finished = True
        self._put(_record(Op.DATA_END, struct.pack("<I", self._data_crc)))
        start = self._at
        groups = [
            (Op.SCHEMA, b"".join(map(_schema, self._schemas))),
            (Op.CHANNEL, b"".join(map(_channel, self._channels))),
            (Op.STATISTICS, self._statistics()),
            (Op.CHUNK_INDEX, b"".join(map(_chunk_index, self._chunks))),
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

    def __enter__(self) -> McapWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if kind is None and not self._finished:
                self.finish()
        finally:
            self._finished = True
            if self._owned:
                self._file.close()

    def _check_open(self) -> None:
        if self._finished:
            raise OptionError("the MCAP file is finished: nothing can be added to it")

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._data_crc = zlib.crc32(data, self._data_crc)
        self._at += len(data)

    def _end_chunk(self) -> None:
        records = bytes(self._buffer)
        body = self._compress(records)
        times = [t for index in self._index.values() for t in (min(index[::2]), max(index[::2]))]
        start_time, end_time = min(times, default=0), max(times, default=0)
        head = struct.pack("<QQQI", start_time, end_time, len(records), zlib.crc32(records))
        content = head + _text(self._compression) + struct.pack("<Q", len(body)) + body
        offset = self._at
        self._put(_record(Op.CHUNK, content))
        length = self._at - offset
        offsets = {}
        for channel_id, index in self._index.items():
            offsets[channel_id] = self._at
            entries = struct.pack(f"<{len(index)}Q", *index)
            self._put(_record(Op.MESSAGE_INDEX, struct.pack("<HI", channel_id, len(entries)) + entries))
        index_length = self._at - offset - length
        self._chunks.append(
            ChunkIndex(
                start_time,
                end_time,
                offset,
                length,
                self._compression,
                len(body),
                len(records),
                offsets,
                index_length,
            )
        )
        self._buffer.clear()
        self._index.clear()

    def _compress(self, records: bytes) -> bytes:
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
            0,
            0,
            len(self._chunks),
            min((c.start_time for c in filled), default=0),
            max((c.end_time for c in filled), default=0),
            len(counts),
        )
        return _record(Op.STATISTICS, content + counts)


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


def _schema(schema: Schema) -> bytes:
    content = struct.pack("<H", schema.id) + _text(schema.name) + _text(schema.encoding)
    return _record(Op.SCHEMA, content + _blob(schema.data))


def _channel(channel: Channel) -> bytes:
    content = struct.pack("<HH", channel.id, channel.schema_id) + _text(channel.topic)
    pairs = b"".join(_text(k) + _text(v) for k, v in channel.metadata.items())
    return _record(Op.CHANNEL, content + _text(channel.message_encoding) + _blob(pairs))


def _chunk_index(chunk: ChunkIndex) -> bytes:
    offsets = b"".join(struct.pack("<HQ", c, o) for c, o in chunk.message_index_offsets.items())
    content = struct.pack("<QQQQ", chunk.start_time, chunk.end_time, chunk.offset, chunk.length)
    content += _blob(offsets) + struct.pack("<Q", chunk.message_index_length) + _text(chunk.compression)
    return _record(Op.CHUNK_INDEX, content + struct.pack("<QQ", chunk.compressed_size, chunk.uncompressed_size))
