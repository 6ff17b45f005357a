"""What an MCAP file holds, from its summary where that can be believed, else from its data section."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from robodf.errors import FileFormatError
from robodf.io.files import FileReader
from robodf.io.logs.model import ChunkIndex, Summary, check_on_error, times_known
from robodf.io.mcap import records
from robodf.io.mcap.definitions import Definitions
from robodf.io.mcap.records import (
    FOOTER_SIZE,
    MAGIC,
    MESSAGE_HEAD,
    RECORD_HEAD,
    AttachmentIndex,
    Fields,
    Footer,
    Header,
    MetadataIndex,
    Op,
    Statistics,
    iter_records,
)
from robodf.io.mcap.scan import Scan

TAIL = 64 << 10  # one read of this size holds the whole summary of most files
_HEAD = 1 << 10
_DATA_END_SIZE = RECORD_HEAD + 4
_INDEX_OVERHEAD = RECORD_HEAD + 6  # of a MessageIndex record, without its 16-byte entries


@dataclass(frozen=True, slots=True)
class McapSummary(Summary):
    """An MCAP file as a whole. Times are ns; `chunks` are in the order of the file.

    `from_index`: the file's own chunk indexes were enough; False where the data section was scanned.
    `statistics`, where there are any, agree with the chunks as far as can be told without reading them.
    `data_end`: where the data section ends, or stops being readable.
    """

    profile: str
    library: str
    statistics: Statistics | None
    attachments: tuple[AttachmentIndex, ...]
    metadata: tuple[MetadataIndex, ...]
    data_end: int
    from_index: bool


class _Doubt(NamedTuple):
    """Why the summary is not enough; `wrong` where it contradicts itself or the file."""

    text: str
    wrong: bool


@dataclass
class _Index:
    """The summary section, as it says."""

    definitions: Definitions
    chunks: list[ChunkIndex] = field(default_factory=list)
    attachments: list[AttachmentIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    statistics: Statistics | None = None
    start: int = 0


def read_summary(file: FileReader, on_error: str = "raise") -> McapSummary:
    """Read what `file` holds: two reads (head and tail), as long as its summary can be believed.

    A summary that is missing, cut off or contradicts the file is rebuilt by a pass over the data section
    which skips the bodies of indexed chunks.

    Raises FileFormatError for a file that is not MCAP; for one that is truncated or damaged only with
    `on_error="raise"`, otherwise the summary of what can be read has `complete=False` and `problems`.
    """
    check_on_error(on_error)
    head = _read_magic(file)
    tail = head if file.size <= TAIL else file.read_at(file.size - TAIL, TAIL)
    damage: list[str] = []
    notes: list[str] = []
    header, start = Header("", ""), len(MAGIC)
    try:
        header, start = _read_header(file, head)
    except FileFormatError as error:
        damage.append(str(error))
    index = section_end = None
    try:
        footer = _read_footer(file, tail)
    except FileFormatError as error:
        damage.append(str(error))
    else:
        section_end = footer.summary_start or file.size - len(MAGIC) - FOOTER_SIZE
        try:
            index = _read_index(file, footer, tail)
        except FileFormatError as error:
            notes.append(f"{error}; the data section was scanned instead")
    if index is not None and not damage:
        doubt = _doubt(index, start, file.size)
        if doubt is None:
            summary = _from_index(file, header, index)
            if summary is not None:
                return summary
        elif doubt.wrong:
            notes.append(f"{file.path}: summary: {doubt.text}; the data section was scanned instead")
    return _from_scan(file, header, (start, section_end), index, damage, notes, on_error)


def _read_magic(file: FileReader) -> bytes:
    if file.size == 0:
        raise FileFormatError(f"{file.path}: is empty (0 bytes)")
    head = file.read_at(0, file.size if file.size <= TAIL else _HEAD)
    if head[: len(MAGIC)] != MAGIC:
        if head[:5] == MAGIC[:5] and len(head) >= len(MAGIC):
            raise FileFormatError(
                f"{file.path}: is an MCAP file of another version or damaged in its first bytes: {head[:8]!r}"
            )
        raise FileFormatError(f"{file.path}: is not an MCAP file: it starts with {head[:8]!r}, not {MAGIC!r}")
    return head


def _read_header(file: FileReader, head: bytes) -> tuple[Header, int]:
    """The Header record and the offset behind it."""
    at = len(MAGIC)
    if file.size < at + RECORD_HEAD:
        raise FileFormatError(f"{file.path}: ends at offset {file.size}, before its header")
    length = int.from_bytes(head[at + 1 : at + RECORD_HEAD], "little")
    end = at + RECORD_HEAD + length
    if head[at] != Op.HEADER or end > file.size:
        raise FileFormatError(f"{file.path}: no whole Header record at offset {at}")
    if end > len(head):
        head = file.read_at(0, end)
    return records.header(Fields(file.path, head, at + RECORD_HEAD, end, 0, "header")), end


def _read_footer(file: FileReader, tail: bytes) -> Footer:
    at = len(tail) - len(MAGIC) - FOOTER_SIZE
    if at < len(MAGIC) or tail[-len(MAGIC) :] != MAGIC:
        raise FileFormatError(f"{file.path}: has no footer at its end (offset {file.size}): it is truncated")
    if tail[at] != Op.FOOTER or int.from_bytes(tail[at + 1 : at + RECORD_HEAD], "little") != 20:
        raise FileFormatError(f"{file.path}: the footer at offset {file.size - len(tail) + at} is damaged")
    end = at + FOOTER_SIZE
    return records.footer(Fields(file.path, tail, at + RECORD_HEAD, end, file.size - len(tail), "footer"))


def _read_index(file: FileReader, footer: Footer, tail: bytes) -> _Index | None:
    """The summary section; None where the file has none."""
    path, start = file.path, footer.summary_start
    if start == 0:
        return None
    footer_at = file.size - len(MAGIC) - FOOTER_SIZE
    if not len(MAGIC) <= start <= footer_at:
        raise FileFormatError(f"{path}: the footer puts the summary at offset {start} of {file.size}")
    base = file.size - len(tail)
    if start < base:
        tail = file.read_at(start, base - start) + tail
        base = start
    if footer.summary_crc and zlib.crc32(memoryview(tail)[start - base : -12]) != footer.summary_crc:
        raise FileFormatError(f"{path}: the summary at offset {start} does not match its checksum")
    section = tail[start - base : footer_at - base]
    index = _Index(Definitions(path), start=start)
    for record in iter_records(path, section, start):
        f = Fields(path, section, record.at, record.end, start, "summary record")
        if record.op in (Op.SCHEMA, Op.CHANNEL):
            index.definitions.add(section, record, start)
        elif record.op == Op.CHUNK_INDEX:
            index.chunks.append(records.chunk_index(f))
        elif record.op == Op.STATISTICS:
            index.statistics = records.statistics(f)
        elif record.op == Op.ATTACHMENT_INDEX:
            index.attachments.append(records.attachment_index(f))
        elif record.op == Op.METADATA_INDEX:
            index.metadata.append(records.metadata_index(f))
    index.chunks.sort(key=lambda c: c.offset)
    return index


def _doubt(index: _Index, data_start: int, file_size: int) -> _Doubt | None:
    """Check the summary against itself; where it can vouch for the counts of each chunk, they are set."""
    statistics = index.statistics
    places = [(c.offset, c.length + c.message_index_length) for c in index.chunks]
    places += [(a.offset, a.length) for a in index.attachments]
    places += [(m.offset, m.length) for m in index.metadata]
    at = data_start
    unexplained = index.start - data_start - _DATA_END_SIZE
    for offset, length in sorted(places):
        if offset < at or offset + length > index.start:
            return _Doubt(f"what it puts at offset {offset} overlaps another record or leaves the file", True)
        at = offset + length
        unexplained -= length
    for chunk in index.chunks:
        first = chunk.offset + chunk.length
        if not all(first <= o < first + chunk.message_index_length for o in chunk.message_index_offsets.values()):
            return _Doubt(f"the message indexes of the chunk at offset {chunk.offset} are not behind it", True)
        if not chunk.message_index_offsets and chunk.uncompressed_size and statistics is None:
            return _Doubt("a chunk without message indexes, and no statistics to name its channels", False)
    if unexplained >= MESSAGE_HEAD:  # room for messages that no index mentions
        return _Doubt(f"{unexplained} bytes of the data section are in no index", False)
    if statistics is None:
        return None
    return _doubt_counts(index, statistics)


def _doubt_counts(index: _Index, statistics: Statistics) -> _Doubt | None:
    if statistics.chunk_count != len(index.chunks):
        return _Doubt(f"{statistics.chunk_count} chunks counted, {len(index.chunks)} indexed", True)
    stated = {c: n for c, n in statistics.channel_message_counts.items() if n}
    if stated and sum(stated.values()) != statistics.message_count:
        return _Doubt("the statistics of the channels do not add up to those of the file", True)
    counts = [_counts_by_size(chunk) for chunk in index.chunks]
    known = [c for c in counts if c is not None]
    if len(known) < len(counts):
        filled = index.chunks
        indexed = set().union(*(c.message_index_offsets for c in filled))
        if all(c.message_index_offsets for c in filled) and stated.keys() - indexed:
            return _Doubt(f"channels {sorted(stated.keys() - indexed)} have messages but no index", True)
    else:
        total: Counter[int] = Counter()
        for each in known:
            total.update(each)
        real = {c: n for c, n in total.items() if n}
        if total.total() != statistics.message_count or (stated and stated != real):
            text = f"the statistics count {statistics.message_count} messages, the indexes {total.total()}"
            return _Doubt(text, True)
        index.statistics = replace(statistics, channel_message_counts=real)
        index.chunks = [replace(c, counts=n) for c, n in zip(index.chunks, known)]
        filled = [c for c in index.chunks if c.counts]
    timed = [c for c in filled if times_known(c)]
    if statistics.message_count and len(known) == len(counts) and len(timed) == len(filled):
        first, last = min(c.start_time for c in timed), max(c.end_time for c in timed)
        if statistics.start_time < first or statistics.end_time > last:
            return _Doubt("the statistics have times outside of those of the chunks", True)
        # Writers that take 0 for "not set yet" state a later start than their chunks have.
        index.statistics = replace(index.statistics or statistics, start_time=first, end_time=last)
    return None


def _counts_by_size(chunk: ChunkIndex) -> dict[int, int] | None:
    """Messages per channel from the sizes of the MessageIndex records: 16 bytes each.

    None where the sizes do not fit, as with bytes that pad the records.
    """
    if not chunk.message_index_offsets:
        return {} if not chunk.uncompressed_size else None
    places = sorted((o, c) for c, o in chunk.message_index_offsets.items())
    ends = [o for o, _ in places[1:]] + [chunk.offset + chunk.length + chunk.message_index_length]
    if places[0][0] != chunk.offset + chunk.length:
        return None
    counts = {}
    for (start, channel_id), end in zip(places, ends):
        entries, rest = divmod(end - start - _INDEX_OVERHEAD, 16)
        if rest or entries < 0:
            return None
        if entries:
            counts[channel_id] = entries
    return counts if counts or chunk.uncompressed_size < MESSAGE_HEAD else None


def _from_index(file: FileReader, header: Header, index: _Index) -> McapSummary | None:
    """None where a channel with messages is defined neither in the summary nor in a chunk."""
    used = set(index.statistics.channel_message_counts) if index.statistics else set()
    for chunk in index.chunks:
        used.update(chunk.message_index_offsets if chunk.counts is None else chunk.counts)
    index.definitions.find_in_chunks(file, index.chunks, used)
    channels, schemas = index.definitions.missing(used)
    if channels:
        return None
    notes = [_no_schema(file, s) for s in sorted(schemas)]
    return McapSummary(
        file.path,
        index.definitions.schemas,
        index.definitions.channels,
        tuple(index.chunks),
        *_counts(index.statistics),
        True,
        (*index.definitions.problems, *notes),
        header.profile,
        header.library,
        index.statistics,
        tuple(index.attachments),
        tuple(index.metadata),
        index.start,
        True,
    )


def _from_scan(
    file: FileReader,
    header: Header,
    section: tuple[int, int | None],
    index: _Index | None,
    damage: list[str],
    notes: list[str],
    on_error: str,
) -> McapSummary:
    definitions = index.definitions if index is not None else Definitions(file.path)
    known_chunks = [c.offset for c in index.chunks] if index is not None else []
    start, section_end = section
    scan = Scan(file, definitions, section_end).run(start, known_chunks)
    if index is not None and _indexes_lack(index.statistics, scan.statistics()):
        scan = Scan(file, definitions, section_end, deep=True).run(start, known_chunks)
    damage = damage + scan.damage
    if index is not None and scan.private and _indexes_lack(index.statistics, scan.statistics()):
        damage += scan.private
    used = {c for chunk in scan.chunks for c, n in (chunk.counts or {}).items() if n}
    definitions.find_in_chunks(file, scan.chunks, used)
    channels, schemas = definitions.missing(used)
    damage += [f"{file.path}: messages of channel {c}, but no Channel record" for c in sorted(channels)]
    notes = notes + definitions.problems + [_no_schema(file, s) for s in sorted(schemas)]
    statistics = scan.statistics()
    if damage and on_error == "raise":
        more = f" (and {len(damage) - 1} more problems)" if len(damage) > 1 else ""
        raise FileFormatError(
            f"{damage[0]}{more}; {statistics.message_count} messages are readable: pass on_error='skip' to "
            f"read them, or on_error='collect' to be told as well what is lost"
        )
    return McapSummary(
        file.path,
        definitions.schemas,
        definitions.channels,
        tuple(scan.chunks),
        *_counts(statistics),
        not damage,
        tuple(dict.fromkeys([*damage, *notes])),
        header.profile,
        header.library,
        statistics,
        tuple(scan.attachments),
        tuple(scan.metadata),
        scan.end,
        False,
    )


def _counts(statistics: Statistics | None) -> tuple[int | None, Mapping[int, int] | None]:
    return (None, None) if statistics is None else (statistics.message_count, statistics.channel_message_counts)


def _indexes_lack(stated: Statistics | None, found: Statistics) -> bool:
    """Whether there may be messages that the message indexes leave out: then only reading all tells."""
    if stated is None:
        return False
    return stated.message_count > found.message_count or any(
        n > found.channel_message_counts.get(c, 0) for c, n in stated.channel_message_counts.items()
    )


def _no_schema(file: FileReader, schema_id: int) -> str:
    return f"{file.path}: schema {schema_id} is used by a channel but not in the file"
