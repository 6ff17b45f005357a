"""What a bag holds, from its index where that can be believed, else from its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from robodf.errors import FileFormatError
from robodf.io.bag.connections import Connections
from robodf.io.bag.load import LARGEST_CHUNK, load_chunk
from robodf.io.bag.records import (
    INDEX_ENTRY,
    INDEX_HEAD,
    MAGIC,
    BadRecord,
    ChunkInfo,
    Op,
    chunk_header,
    chunk_info,
    read_head,
)
from robodf.io.bag.scan import Scan
from robodf.io.bag.window import Window
from robodf.io.files import FileReader
from robodf.io.logs.model import ChunkIndex, Summary, check_on_error

_HEAD = 8 << 10  # the bag header is padded to 4 KiB; the header of the first chunk follows
_TAIL = 4 << 20  # one read of this size holds the whole index of most files
_LARGEST_RECORD = 256 << 20
# The record of an empty chunk: nothing is shorter.
_SMALLEST_CHUNK = 47


@dataclass(frozen=True, slots=True)
class BagSummary(Summary):
    """A bag as a whole. Times are ns; `chunks` are in the order of the file.

    `connections`: the channel of each connection id in the file. `from_index`: the file's own index was enough;
    False where its records were scanned. The index does not give the sizes of chunks: their `length` is right
    as long as the index records behind them are the usual ones, `compression` and `uncompressed_size` are
    estimated from the first chunk; only together are `length` and `message_index_length` exact.
    """

    connections: Mapping[int, int]
    from_index: bool


class _Header(NamedTuple):
    index_at: int
    conn_count: int
    chunk_count: int
    end: int


@dataclass
class _Index:
    """The index section, as it says."""

    connections: Connections
    infos: list[ChunkInfo] = field(default_factory=list)
    defined: int = 0
    ignored: int = 0  # bytes behind it


def read_summary(file: FileReader, on_error: str = "raise") -> BagSummary:
    """Read what `file` holds: two reads (head and index), as long as its index can be believed.

    An index that is missing, cut off or contradicts the file is rebuilt by a pass over the records
    which skips the bodies of chunks that have an index of their own.

    Raises FileFormatError for a file that is no bag of format 2.0, or encrypted; for one that was not closed, is
    truncated or damaged only with `on_error="raise"`, otherwise the summary of what can be read has
    `complete=False` and `problems`.

    >>> import os, tempfile
    >>> from rosbags.rosbag1 import Writer
    >>> from robodf.io.files import open_file
    >>> name = os.path.join(tempfile.mkdtemp(), "a.bag")
    >>> with Writer(name) as out:
    ...     chatter = out.add_connection("/chatter", "std_msgs/msg/String", msgdef="string data", md5sum="9")
    ...     out.write(chatter, 1_500_000_000, b"\\x02\\x00\\x00\\x00hi")
    >>> with open_file(name) as file:
    ...     summary = read_summary(file)
    >>> summary.channels[0].topic, summary.schemas[1].name, summary.message_count
    ('/chatter', 'std_msgs/String', 1)
    """
    check_on_error(on_error)
    head = _read_magic(file)
    damage: list[str] = []
    notes: list[str] = []
    header = index = None
    try:
        header = _read_header(file, head)
    except BadRecord as error:
        damage.append(f"{file.path}: bag header: {error}")
    if header is not None and header.index_at == 0:
        damage.append(f"{file.path}: has no index: its recording was not closed")
    elif header is not None and header.index_at > file.size:
        text = f"its index should be at offset {header.index_at}, but it ends at offset {file.size}"
        damage.append(f"{file.path}: is truncated: {text}")
    elif header is not None:
        try:
            index = _read_index(file, header)
            if len(index.infos) < header.chunk_count:
                text = f"its index has {len(index.infos)} of {header.chunk_count} chunks"
                damage.append(f"{file.path}: is truncated or damaged: {text}")
            else:
                summary = _from_index(file, head, header, index)
                if summary is not None:
                    return summary
        except BadRecord as error:
            notes.append(f"{file.path}: index: {error}; the file was scanned instead")
    return _from_scan(file, header, index, damage, notes, on_error)


def _read_magic(file: FileReader) -> bytes:
    if file.size == 0:
        raise FileFormatError(f"{file.path}: is empty (0 bytes)")
    head = file.read_at(0, min(file.size, _HEAD))
    if head.startswith(MAGIC):
        return head
    line = head[:32].split(b"\n")[0]
    if line.startswith((b"#ROSBAG V", b"#ROSRECORD V")):
        raise FileFormatError(
            f"{file.path}: is a bag of another version ({line.decode('ascii', 'replace')}); robodf reads 2.0: convert "
            f"it with the tools of ROS 1: `rosbag filter old.bag new.bag True`"
        )
    raise FileFormatError(f"{file.path}: is not a ROS 1 bag: it starts with {head[:13]!r}, not {MAGIC!r}")


def _read_header(file: FileReader, data: bytes) -> _Header:
    head = read_head(data, len(MAGIC), len(data))
    if head.op != Op.BAG_HEADER:
        raise BadRecord(f"there is a record of op {head.op:#04x}")
    if b"encryptor" in head.fields and head.value(b"encryptor"):
        name = head.value(b"encryptor").decode("ascii", "replace")
        raise FileFormatError(f"{file.path}: is encrypted ({name}); decrypt it first, with `rosbag decrypt` of ROS 1")
    end = head.data + head.length
    if end > file.size:
        raise BadRecord(f"it has {end - len(MAGIC)} bytes, but the file ends after {file.size - len(MAGIC)}")
    return _Header(head.u64(b"index_pos"), head.u32(b"conn_count"), head.u32(b"chunk_count"), end)


def _read_index(file: FileReader, header: _Header) -> _Index:
    """The index section: connections and chunk infos, up to the end of the file."""
    if header.index_at < header.end:
        raise BadRecord(f"it should be at offset {header.index_at}, within the bag header")
    index = _Index(Connections(file.path))
    window = Window(file, _TAIL)
    at = header.index_at
    while at < file.size:
        try:
            head = window.record(at, _LARGEST_RECORD)
            if head.op == Op.CONNECTION:
                index.connections.add(head, window.base)
                index.defined += 1
            elif head.op == Op.CHUNK_INFO:
                index.infos.append(chunk_info(head))
            else:
                raise BadRecord(f"there is a record of op {head.op:#04x}")
        except BadRecord as error:
            if index.defined >= header.conn_count and len(index.infos) == header.chunk_count:
                index.ignored = file.size - at
                break
            raise BadRecord(f"record at offset {at}: {error}") from None
        at = window.base + head.data + head.length
    index.infos.sort(key=lambda info: info.offset)
    return index


def _from_index(file: FileReader, head: bytes, header: _Header, index: _Index) -> BagSummary | None:
    """BadRecord where the index contradicts the file; None where it is not enough."""
    if len(index.infos) > header.chunk_count:
        raise BadRecord(f"it has {len(index.infos)} chunks, of {header.chunk_count} in the bag header")
    if not index.infos and header.index_at > header.end:
        return None
    if index.infos and index.infos[0].offset > header.end:
        return None  # there may be messages outside of chunks
    chunks = [
        _chunk(info, end, index.connections)
        for info, end in zip(index.infos, [*(i.offset for i in index.infos[1:]), header.index_at])
        if _possible(info, end, header.end)
    ]
    chunks = _sized(head, chunks)
    for chunk in chunks:
        if not chunk.counts:
            loaded = load_chunk(file, chunk)
            if loaded.problem is not None or len(loaded.found.messages.at):
                raise BadRecord(f"it has no messages for the chunk at offset {chunk.offset}, which is not empty")
    counts: Counter[int] = Counter()
    for chunk in chunks:
        counts.update(chunk.counts or {})
    index.connections.find_in_chunks(file, chunks, set(counts))
    if index.connections.missing(set(counts)):
        return None
    notes = list(index.connections.problems)
    if index.defined != header.conn_count:
        notes.append(f"{file.path}: its index has {index.defined} connections, of {header.conn_count} in its header")
    if index.ignored:
        notes.append(f"{file.path}: {index.ignored} bytes behind its index are ignored")
    return _summary(file, index.connections, chunks, counts, [], notes, True)


def _possible(info: ChunkInfo, end: int, data_start: int) -> bool:
    """True; BadRecord where a chunk cannot be what the index says and end at `end`."""
    room = end - info.offset
    if info.offset < data_start or room < _SMALLEST_CHUNK:
        raise BadRecord(f"the chunk that it puts at offset {info.offset} overlaps another record")
    if room - _index_length(info) < _SMALLEST_CHUNK:
        raise BadRecord(f"{sum(info.counts.values())} messages in the {room} bytes of the chunk at {info.offset}")
    if room > LARGEST_CHUNK + _index_length(info):
        raise BadRecord(f"{room} bytes at offset {info.offset} are no chunk")
    return True


def _index_length(info: ChunkInfo) -> int:
    return sum(INDEX_HEAD + INDEX_ENTRY.itemsize * n for n in info.counts.values())


def _chunk(info: ChunkInfo, end: int, connections: Connections) -> ChunkIndex:
    index = _index_length(info)
    length = end - info.offset - index
    counts = connections.channel_counts(info.counts)
    return ChunkIndex(
        info.start_time,
        info.end_time,
        info.offset,
        length,
        "",
        length,
        length,
        message_index_length=index,
        counts=counts,
    )


def _sized(head: bytes, chunks: list[ChunkIndex]) -> list[ChunkIndex]:
    """The chunks with the compression of the first, and sizes as by its ratio."""
    if not chunks:
        return chunks
    try:
        first = read_head(head, min(chunks[0].offset, len(head)), len(head))
        compression, size = chunk_header(first)
    except BadRecord:
        return chunks  # whoever reads it reports it
    ratio = size / max(first.length, 1)
    return [replace(c, compression=compression, uncompressed_size=int(c.length * ratio)) for c in chunks]


def _from_scan(
    file: FileReader,
    header: _Header | None,
    index: _Index | None,
    damage: list[str],
    notes: list[str],
    on_error: str,
) -> BagSummary:
    connections = index.connections if index is not None else Connections(file.path)
    known_chunks = [i.offset for i in index.infos] if index is not None else []
    start = header.end if header is not None else len(MAGIC)
    # Where the index is, records start again, whatever is in front of them.
    restart = sorted(o for o in (*known_chunks, header.index_at if header else 0) if start < o < file.size)
    scan = Scan(file, connections).run(start, restart)
    if index is not None and sum(sum(i.counts.values()) for i in index.infos) > scan.counts().total():
        scan = Scan(file, connections, deep=True).run(start, restart)
    damage = damage + scan.damage
    counts = scan.counts()
    connections.find_in_chunks(file, scan.chunks, set(counts))
    missing = connections.missing(set(counts))
    damage += [f"{file.path}: messages of connection {c}, but no connection record" for c in missing]
    if damage and on_error == "raise":
        more = f" (and {len(damage) - 1} more problems)" if len(damage) > 1 else ""
        readable = sum(n for c, n in counts.items() if c in connections.channels)
        raise FileFormatError(
            f"{damage[0]}{more}; {readable} messages are readable: pass on_error='skip' to read them, or "
            f"on_error='collect' to be told as well what is lost"
        )
    return _summary(file, connections, scan.chunks, counts, damage, notes + connections.problems, False)


def _summary(
    file: FileReader,
    connections: Connections,
    chunks: list[ChunkIndex],
    counts: Counter[int],
    damage: list[str],
    notes: list[str],
    from_index: bool,
) -> BagSummary:
    known = {channel: n for channel, n in counts.items() if channel in connections.channels}
    return BagSummary(
        file.path,
        connections.schemas,
        connections.channels,
        tuple(chunks),
        sum(known.values()),
        known,
        not damage,
        tuple(dict.fromkeys([*damage, *notes])),
        {conn: channel for conn, channel in connections.ids.items() if channel in connections.channels},
        from_index,
    )
