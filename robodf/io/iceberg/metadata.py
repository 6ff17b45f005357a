"""The metadata of an Iceberg table: where its newest file is, and which snapshot a query is of.

The format: https://iceberg.apache.org/spec/#table-metadata-fields.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone

from robodf.errors import FileFormatError, NoFilesError, OptionError, hint, listing
from robodf.io.files import StorageOptions, filesystem, is_remote, open_file
from robodf.io.iceberg.types import Field, fields_of
from robodf.plan.comparison import instant

FOLDER = "metadata"
_HINT = "version-hint.text"
_NAME = re.compile(r"(?:v(\d{1,18})|(\d{1,18})-[^/\\]*?)(?:\.gz)?\.metadata\.json(?:\.gz)?")
_LARGEST = 1 << 30
_VERSIONS = (1, 2, 3)


@dataclass(frozen=True)
class Snapshot:
    """A state of a table, whose manifests are listed in the file `manifests`; None: as tables had them before 2018."""

    id: int
    manifests: str | None


@dataclass(frozen=True)
class Metadata:
    """What a metadata file says of one snapshot, which is None for a table without rows.

    `specs` are the ways in which files were partitioned: by id, the source columns and transforms by field id.
    """

    path: str
    location: str
    version: int
    schema: tuple[Field, ...]
    snapshot: Snapshot | None
    specs: dict[int, dict[int, tuple[int, str]]]
    mapping: str | None  # of names to ids, as JSON, for files without ids
    where: str  # for messages: the table and the snapshot


def metadata_file(table: str, storage: StorageOptions) -> str:
    """The metadata file that is meant: the one given, or the newest of a table's folder.

    NoFilesError where the folder is no table, FileFormatError where two files could be the newest.
    """
    if table.endswith((".metadata.json", ".metadata.json.gz")):
        return table
    folder = f"{table}/{FOLDER}"
    names = _names(folder, storage)
    told = _hinted(folder, storage) if _HINT in names else None
    if isinstance(told, str):
        return f"{folder}/{told}"
    numbers = {name: int(found[1] or found[2]) for name in names if (found := _NAME.fullmatch(name))}
    if not numbers:
        raise NoFilesError(f"{table}: no Iceberg table: no metadata file lies in {folder}")
    newest = max(numbers.values())
    if told is not None and newest < told:
        raise NoFilesError(f"{table}: its {_HINT} says version {told}, but the newest file in {folder} is {newest}")
    found = sorted(name for name, number in numbers.items() if number == newest)
    if len(found) > 1:
        raise FileFormatError(
            f"{table}: several files of {folder} are of the newest version, {newest}: {listing(found)}. One is of a "
            "commit that failed: its catalog knows which. Pass the path of one, or the table that the catalog gives"
        )
    return f"{folder}/{found[0]}"


def has_metadata(folder: str) -> bool:
    """Whether a local folder has metadata files of Iceberg."""
    try:
        with os.scandir(os.path.join(folder, FOLDER)) as entries:
            return any(_NAME.fullmatch(entry.name) for entry in entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False


def _names(folder: str, storage: StorageOptions) -> list[str]:
    try:
        if not is_remote(folder):
            return os.listdir(folder)
        fs, inner = filesystem(folder, storage)
        return [str(name).rstrip("/").rsplit("/", 1)[-1] for name in fs.ls(inner, detail=False)]
    except (FileNotFoundError, NotADirectoryError):
        raise NoFilesError(
            f"{folder.removesuffix('/' + FOLDER)}: no Iceberg table: it has no folder {FOLDER}"
        ) from None


def _hinted(folder: str, storage: StorageOptions) -> int | str | None:
    """The version or the file that the hint tells. It may be older than the newest: it is written after that."""
    with open_file(f"{folder}/{_HINT}", storage) as file:
        text = file.read_at(0, min(file.size, 4096)).decode("utf-8", "replace").strip()
    if _NAME.fullmatch(text):
        return text
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def read_metadata(path: str, version: int | str | datetime | None, storage: StorageOptions, name: str) -> Metadata:
    """What is said of the current snapshot, of the one by id, at a time, or by a branch or tag.

    OptionError for a snapshot that there is not, FileFormatError for what is damaged or not known here.
    """
    try:
        told = json.loads(_text(path, storage))
        form = told["format-version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path}: is damaged or no metadata of Iceberg: {error}") from error
    if form not in _VERSIONS or isinstance(form, bool):
        raise FileFormatError(f"{path}: is of format version {form!r}; robodf reads {listing(map(str, _VERSIONS))}")
    try:
        return _metadata(path, told, form, version, name)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, (FileFormatError, OptionError)):
            raise
        raise FileFormatError(f"{path}: is damaged: {error!r}") from error


def _text(path: str, storage: StorageOptions) -> bytes:
    with open_file(path, storage) as file:
        if file.size > _LARGEST:
            raise FileFormatError(f"{path}: {file.size} bytes are too many for metadata")
        data = file.read_at(0, file.size)
    if data[:2] != b"\x1f\x8b":
        return data
    unpack = zlib.decompressobj(31)
    try:
        found = unpack.decompress(data, _LARGEST)
    except zlib.error as error:
        raise FileFormatError(f"{path}: is damaged: {error}") from error
    if not unpack.eof:
        raise FileFormatError(f"{path}: is cut, or larger than metadata is")
    return found


def _metadata(path: str, told: dict, form: int, version: int | str | datetime | None, name: str) -> Metadata:
    schemas = {one.get("schema-id", 0): one for one in told.get("schemas") or [told["schema"]]}
    current = schemas[told.get("current-schema-id", 0)] if "schemas" in told else told["schema"]
    if told.get("encryption-keys"):
        raise FileFormatError(f"{path}: the table is encrypted, which robodf does not read: write a copy that is not")
    chosen, newest_schema = _chosen(told, version, path)
    where = f"{name} snapshot {chosen['snapshot-id']}" if chosen else f"{name} (no snapshot)"
    schema = current if newest_schema or not chosen else schemas.get(chosen.get("schema-id"), current)
    specs = told.get("partition-specs")
    if specs is None:
        specs = [{"spec-id": 0, "fields": told.get("partition-spec") or []}]
    mapping = (told.get("properties") or {}).get("schema.name-mapping.default")
    return Metadata(
        path,
        _text_of(told, "location").rstrip("/"),
        form,
        fields_of(schema, where),
        None if chosen is None else _snapshot(chosen),
        {_whole(spec, "spec-id"): _spec(spec["fields"]) for spec in specs},
        mapping if isinstance(mapping, str) else None,
        where,
    )


def _spec(fields: list[dict]) -> dict[int, tuple[int, str]]:
    """Columns and transforms by the ids of partition fields, which in version 1 may be counted from 1000 on."""
    found = {}
    for k, field in enumerate(fields):
        sources = field.get("source-ids") or [field.get("source-id")]
        if len(sources) == 1:  # a transform of several columns tells nothing of one
            found[field.get("field-id", 1000 + k)] = _whole({"id": sources[0]}, "id"), str(field["transform"])
    return found


def _snapshot(told: dict) -> Snapshot:
    return Snapshot(_whole(told, "snapshot-id"), _text_of(told, "manifest-list") if "manifest-list" in told else None)


def _chosen(told: dict, version: int | str | datetime | None, path: str) -> tuple[dict | None, bool]:
    """The snapshot that is meant, and whether it is read by the newest schema: where it is the end of a branch."""
    snapshots = {_whole(one, "snapshot-id"): one for one in told.get("snapshots") or []}
    current = told.get("current-snapshot-id")
    if version is None:
        if current in (None, -1):
            return None, True
        if current not in snapshots:
            raise FileFormatError(f"{path}: is damaged: it has no snapshot {current}, which is the current one")
        return snapshots[current], True
    if isinstance(version, int):
        if version not in snapshots:
            raise OptionError(f"read_iceberg: no snapshot {version}. There are {_listed(snapshots)}")
        return snapshots[version], False
    refs = told.get("refs") or {}
    if isinstance(version, str) and version in refs:
        number = refs[version]["snapshot-id"]
        if number not in snapshots:
            raise FileFormatError(f"{path}: is damaged: it has no snapshot {number}, which {version!r} stands for")
        return snapshots[number], refs[version].get("type") == "branch"
    try:
        at = instant(version, "version")
    except OptionError as error:
        known = hint(str(version), refs) + (f" There are {listing(sorted(refs))}" if refs else "")
        raise OptionError(f"read_iceberg: version={version!r} is no time, branch or tag.{known}") from error
    assert at is not None
    log = [(_whole(one, "timestamp-ms"), one["snapshot-id"]) for one in told.get("snapshot-log") or []]
    until = [number for when, number in log if when * 1_000_000 <= at]
    if not until:
        first = f": the first of {len(log)} is of {_shown(min(log)[0])}" if log else ": its log is empty"
        raise OptionError(f"read_iceberg: no snapshot as of {version}{first}")
    if until[-1] not in snapshots:
        raise OptionError(f"read_iceberg: the snapshot as of {version}, {until[-1]}, was expired: {_listed(snapshots)}")
    return snapshots[until[-1]], False


def _listed(snapshots: dict[int, dict]) -> str:
    """The newest snapshots and their times."""
    newest = sorted(snapshots, key=lambda number: snapshots[number].get("timestamp-ms", 0), reverse=True)
    shown = (f"{number} of {_shown(snapshots[number].get('timestamp-ms', 0))}" for number in newest[:5])
    return ", ".join(shown) + (f" and {len(newest) - 5} older ones" if len(newest) > 5 else "") if newest else "none"


def _shown(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def _whole(told: dict, name: str) -> int:
    found = told[name]
    if type(found) is not int or not -(1 << 63) <= found < 1 << 63:
        raise ValueError(f"{name} is {found!r}")
    return found


def _text_of(told: dict, name: str) -> str:
    if not isinstance(told[name], str):
        raise ValueError(f"{name} is {told[name]!r}")
    return told[name]
