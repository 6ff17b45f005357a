"""The files of a snapshot: its list of manifests, and the entries of each.

The format: https://iceberg.apache.org/spec/#manifests. Fields are found by the ids that the specification gives them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from robodf.errors import FileFormatError, NoFilesError
from robodf.io.ahead import in_order
from robodf.io.files import StorageOptions, filesystem, is_remote
from robodf.io.iceberg.avro import records
from robodf.io.iceberg.locations import Locations
from robodf.io.iceberg.metadata import Metadata
from robodf.io.indexed_files import ROWS

DATA, POSITIONS, EQUALITY = range(3)
"""What a file holds: rows, positions of deleted rows, or values of deleted rows."""

_EXISTING, _ADDED, _DELETED = range(3)
_REQUESTS = 16


@dataclass(frozen=True)
class DataFile:
    """A file that a manifest lists. `told` is its path as it stands there, `path` as this machine opens it.

    `sequence` is the number of the commit that its rows are of; the mappings are by field id. Of a deletion vector,
    `offset` and `length` are where it lies in a file, and `of` is the file of which rows are deleted.
    """

    told: str
    path: str
    content: int
    format: str
    rows: int
    size: int
    spec: int
    sequence: int
    partition: Mapping[int, Any]
    nulls: Mapping[int, int] = field(default_factory=dict)
    nans: Mapping[int, int] = field(default_factory=dict)
    lower: Mapping[int, bytes] = field(default_factory=dict)
    upper: Mapping[int, bytes] = field(default_factory=dict)
    of: str | None = None
    offset: int | None = None
    length: int | None = None


@dataclass(frozen=True)
class _Manifest:
    path: str
    size: int
    spec: int
    sequence: int
    live: int | None  # how many of its entries are of files that are there


def files_of(table: Metadata, locations: Locations, storage: StorageOptions) -> list[DataFile]:
    """All files of the snapshot, those with deletes too. FileFormatError for what is damaged or not read here."""
    if table.snapshot is None:
        return []
    if table.snapshot.manifests is None:
        raise FileFormatError(
            f"{table.where}: has no list of manifests, as tables had before 2018. Commit a change to it with its "
            "engine, which writes one, and read the new snapshot"
        )
    where = locations.of(table.snapshot.manifests)
    try:
        manifests = [_manifest(told, locations, where) for told in records(where, storage)]
    except NoFilesError as error:
        raise NoFilesError(f"{table.where}: {error}. {GONE}") from error
    remote = any(is_remote(manifest.path) for manifest in manifests)
    if remote:
        filesystem(manifests[0].path, storage)  # made once, not by each thread
    jobs = (partial(_entries, manifest, table, locations, storage) for manifest in manifests)
    return list(in_order(jobs, _REQUESTS if remote else 1))


GONE = (
    "Files of a table are deleted when its snapshots expire, and move with it only where moved=True says so. Read a "
    "newer snapshot, or restore them"
)


def _manifest(told: Mapping[Any, Any], locations: Locations, where: str) -> _Manifest:
    counts = told.get(504), told.get(505)
    known = all(type(count) is int for count in counts)
    return _Manifest(
        locations.of(_text(told, 500, where)),
        _count(told, 501, where),
        _count(told, 502, where),
        _count(told, 515, where, 0),
        sum(counts) if known else None,  # type: ignore[arg-type]
    )


def _entries(manifest: _Manifest, table: Metadata, locations: Locations, storage: StorageOptions) -> Iterator[DataFile]:
    where = manifest.path
    live = 0
    try:
        for told in records(where, storage, manifest.size):
            status = told.get(0)
            if status not in (_EXISTING, _ADDED, _DELETED) or not isinstance(told.get(2), dict):
                raise FileFormatError(f"{where}: is damaged: an entry of status {status!r}")
            if status == _DELETED:
                continue
            live += 1
            sequence = told.get(3)
            if sequence is None:  # of the commit that the manifest is of
                if status == _EXISTING and table.version > 1 and manifest.sequence:
                    raise FileFormatError(f"{where}: is damaged: an older file without a sequence number")
                sequence = manifest.sequence
            yield _file(told[2], manifest.spec, sequence, locations, where)
    except NoFilesError as error:
        raise NoFilesError(f"{table.where}: {error}. {GONE}") from error
    if manifest.live is not None and live != manifest.live:
        raise FileFormatError(f"{where}: lists {live} files, where the table says {manifest.live}: it is not whole")


def _file(told: dict, spec: int, sequence: Any, locations: Locations, where: str) -> DataFile:
    path = _text(told, 100, where)
    content, format = told.get(134, DATA), _text(told, 101, where).lower()
    if content not in (DATA, POSITIONS, EQUALITY) or type(sequence) is not int:
        raise FileFormatError(f"{where}: is damaged: {path} has the content {content!r}, sequence {sequence!r}")
    if told.get(131) is not None:
        raise FileFormatError(f"{path}: is encrypted, which robodf does not read: write a copy that is not")
    rows = _count(told, 103, where)
    if rows >= 1 << ROWS:
        raise FileFormatError(f"{where}: is damaged: {path} has {rows} rows")
    of, offset, length = told.get(143), told.get(144), told.get(145)
    if of is not None and not isinstance(of, str):
        raise FileFormatError(f"{where}: is damaged: {path} deletes rows of {of!r}")
    partition = told.get(102)
    return DataFile(
        path,
        locations.of(path),
        content,
        format,
        rows,
        _count(told, 104, where),
        spec,
        sequence,
        partition if isinstance(partition, dict) else {},
        nulls=_map(told, 110, where),
        nans=_map(told, 137, where),
        lower=_map(told, 125, where),
        upper=_map(told, 128, where),
        of=of,
        offset=None if offset is None else _count(told, 144, where),
        length=None if length is None else _count(told, 145, where),
    )


def _count(told: Mapping[Any, Any], key: int, where: str, default: int | None = None) -> int:
    found = told.get(key, default)
    found = default if found is None else found
    if type(found) is not int or not 0 <= found < 1 << 63:
        raise FileFormatError(f"{where}: is damaged: the field {key} is {found!r}, where a count stands")
    return found


def _map(told: Mapping[Any, Any], key: int, where: str) -> dict[int, Any]:
    found = told.get(key)
    if found is not None and not isinstance(found, dict):
        raise FileFormatError(f"{where}: is damaged: the field {key} is {found!r}, where a map stands")
    return found or {}


def _text(told: Mapping[Any, Any], key: int, where: str) -> str:
    found = told.get(key)
    if not isinstance(found, str) or not found or "\0" in found:
        raise FileFormatError(f"{where}: is damaged: the field {key} is {found!r}, where a text stands")
    return found
