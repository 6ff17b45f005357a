"""Attachments and metadata records of MCAP files, copied as they are."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from robodf.errors import FileFormatError
from robodf.io.files import FileReader
from robodf.io.logs.files import counted
from robodf.io.logs.source import LogSource
from robodf.io.mcap import records
from robodf.io.mcap.records import RECORD_HEAD, AttachmentIndex, Fields, MetadataIndex, Op
from robodf.io.mcap.summary import McapSummary
from robodf.io.mcap.writer import McapWriter

_PIECE = 8 << 20


def copy_extras(
    writer: McapWriter, files: Iterable[tuple[LogSource, int]], disk: Callable[[], AbstractContextManager[None]]
) -> None:
    """Copy what the files (a source, and the number of its file) hold beside messages; each file once.

    `disk` is the context of writing. A record that is damaged is an error, or one of the source's problems where it
    reads with `on_error` other than raise.
    """
    done = set()
    for source, k in files:
        path, summary = source.paths[k], source.summaries[k]
        if path in done or not isinstance(summary, McapSummary):
            continue
        done.add(path)
        with counted(path, source.formats[k], source.storage) as file:
            for place in (*summary.attachments, *summary.metadata):
                try:
                    if isinstance(place, MetadataIndex):
                        found = _metadata(file, place)
                        with disk():
                            writer.add_metadata(found.name, found.metadata)
                    else:
                        _check_attachment(file, place)
                        with disk():
                            writer.copy_attachment(place, _pieces(file, place), place.length - RECORD_HEAD)
                except FileFormatError as error:
                    if source.on_error == "raise":
                        raise FileFormatError(f"{error}; pass attachments=False to leave such records out") from error
                    source.log.add(path, str(error), None, place.offset)


def _metadata(file: FileReader, place: MetadataIndex) -> records.Metadata:
    _check_head(file, place, Op.METADATA)
    data = file.read_at(place.offset + RECORD_HEAD, place.length - RECORD_HEAD)
    return records.metadata(Fields(file.path, data, 0, len(data), place.offset + RECORD_HEAD, "metadata"))


def _check_attachment(file: FileReader, place: AttachmentIndex) -> None:
    """Raise where it is not what its index says, or does not match its checksum."""
    _check_head(file, place, Op.ATTACHMENT)
    fixed = 36 + len(place.name.encode()) + len(place.media_type.encode())  # times, lengths, checksum
    if place.length - RECORD_HEAD != fixed + place.data_size:
        raise FileFormatError(f"{file.path}: the attachment at offset {place.offset} is not as long as its index says")
    crc, last = 0, b""
    for piece in _pieces(file, place):
        whole = last + piece
        crc, last = zlib.crc32(whole[:-4], crc), whole[-4:]
    stated = int.from_bytes(last, "little")
    if stated and stated != crc:
        raise FileFormatError(f"{file.path}: the attachment at offset {place.offset} does not match its checksum")


def _check_head(file: FileReader, place: AttachmentIndex | MetadataIndex, op: Op) -> None:
    head = file.read_at(place.offset, RECORD_HEAD)
    if head[0] != op or int.from_bytes(head[1:], "little") != place.length - RECORD_HEAD:
        raise FileFormatError(f"{file.path}: no {op.name.lower()} of {place.length} bytes at offset {place.offset}")


def _pieces(file: FileReader, place: AttachmentIndex) -> Iterator[bytes]:
    at, end = place.offset + RECORD_HEAD, place.offset + place.length
    while at < end:
        size = min(_PIECE, end - at)
        yield file.read_at(at, size)
        at += size
