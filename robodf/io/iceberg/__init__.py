"""Apache Iceberg tables: which files a snapshot has, from the table's metadata; their rows are Parquet.

    metadata.py      the newest metadata file, the snapshot that is meant, its schema
    avro.py          files of Avro; manifests.py: the files of a snapshot; locations.py: where they lie
    types.py         fields and their types; columns.py: the columns of a table in one file, by field id
    facts.py         bounds, nulls and partitions, by which files are left out
    deletes.py       which rows of a file are deleted; bitmaps.py: deletion vectors
    files.py         the source

The format: https://iceberg.apache.org/spec/. It is read here, and not by pyiceberg (0.12), which takes a manifest that
was cut for one with less files: rows would be lost without a word.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from robodf.errors import FileFormatError, OptionError
from robodf.io.files import StorageOptions, is_remote

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.iceberg.files import IcebergFiles

_S3 = {
    "s3.endpoint": "aws_endpoint_url",
    "s3.access-key-id": "aws_access_key_id",
    "s3.secret-access-key": "aws_secret_access_key",
    "s3.session-token": "aws_session_token",
    "s3.region": "aws_region",
}


def read_iceberg(
    table: str | os.PathLike[str] | Any,
    version: int | str | datetime | None = None,
    *,
    snapshot_id: int | None = None,
    moved: bool = False,
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of an Apache Iceberg table: the rows of its current snapshot, or of the one that is asked for.

    The metadata and the manifests are read now, of the data nothing. Columns are found by their ids, so that files from
    before a column was renamed, added, dropped or widened are read right. Files whose bounds, null counts or partitions
    (identity, year, month, day, hour) exclude a filter are not opened; for the rest it is as `read_parquet`: row groups
    are skipped by statistics, large columns fetched late. Rows that position deletes or deletion vectors name are left
    out. Rows are in the order of the commits that added their files, then of the names of these.

    Parameters
    ----------
    table
        The folder that holds `metadata`, a metadata.json of it, or a URL of one; or a table of pyiceberg, as
        `catalog.load_table("robots.episodes")` gives it. Of a folder it is the newest metadata file, by
        version-hint.text or its number; a catalog knows which is current, as one that was not committed may be newer.
    version
        A time, as a datetime (without a zone: UTC) or an ISO text: the snapshot that was current then; the name of a
        branch or a tag; or the id of a snapshot. A snapshot is read with the schema that it was written with.
    snapshot_id
        The same for an id alone, under the name that Polars and pyiceberg have.
    moved
        True where the table's folder was moved or copied: paths below its old location are then looked for in the new.
    storage_options
        For object stores, by the names of Polars (aws_access_key_id, ...). Of a pyiceberg table those of S3 are taken
        from its properties.

    Format versions 1, 2 and 3 are read. A uuid and a fixed are Binary, a map is a list of structs of key and value.

    Raises
    ------
    OptionError
        For a snapshot that the table does not have.
    NoFilesError
        Where there is no table, or where a file of the snapshot is gone (snapshots expire).
    FileFormatError
        For damaged metadata, and for what robodf does not read: equality deletes, files of Avro and ORC, encryption,
        types such as variant. The message says what to do.

    Examples
    --------
    >>> import robodf as rd, pathlib
    >>> df = rd.read_iceberg(table)  # doctest: +SKIP
    >>> df.filter(rd.col("day") == "2026-01-31").count_rows()  # doctest: +SKIP
    1200
    """
    from robodf.io.read import from_source

    return from_source(iceberg_files(table, version, snapshot_id, moved, storage_options))


def is_iceberg(path: str) -> bool:
    """Whether a local folder is an Iceberg table."""
    from robodf.io.iceberg.metadata import has_metadata

    return not is_remote(path) and has_metadata(os.path.expanduser(path))


def iceberg_files(
    table: Any,
    version: int | str | datetime | None = None,
    snapshot_id: int | None = None,
    moved: bool = False,
    storage: StorageOptions = None,
) -> IcebergFiles:
    """The source of a snapshot of a table."""
    from robodf.io.iceberg.deletes import by_file
    from robodf.io.iceberg.facts import facts_of, identity, table_types
    from robodf.io.iceberg.files import IcebergFiles
    from robodf.io.iceberg.locations import Locations
    from robodf.io.iceberg.manifests import GONE, files_of
    from robodf.io.iceberg.metadata import FOLDER, metadata_file, read_metadata
    from robodf.io.table_log import states

    version = _version(version, snapshot_id)
    root, storage = _root(table, storage)
    found = read_metadata(metadata_file(root, storage), version, storage, root)
    folder = found.path.rsplit("/", 1)[0]
    locations = Locations(root, found.location, folder.removesuffix(f"/{FOLDER}") if moved else None)
    files = sorted(files_of(found, locations, storage), key=lambda file: (file.sequence, file.told))
    data = [file for file in files if not file.content]
    for file in data:
        if file.format != "parquet":
            raise FileFormatError(
                f"{found.where}: {file.path} is {file.format}, which robodf does not read in a table. Set its property "
                "write.format.default to parquet and rewrite its files with its engine"
            )
    if len({file.told for file in data}) < len(data):
        raise FileFormatError(f"{found.where}: its manifests list a file twice: repair the table with its engine")
    deletes = by_file(files, found.where)
    gone = dict(zip(of := sorted({d.path for some in deletes for d in some}), states(of, storage, found.where, GONE)))
    try:
        given = tuple(tuple(identity(found, file).items()) for file in data)
    except ValueError as error:
        raise FileFormatError(f"{found.where}: its manifests are damaged: {error}") from error
    return IcebergFiles(
        "parquet",
        tuple(file.path for file in data),
        storage=tuple(sorted((storage or {}).items())),
        state=states([file.path for file in data], storage, found.where, GONE),
        columns=tuple(table_types(found).items()),
        counts=tuple(file.rows for file in data),
        table=f"iceberg {found.where}",
        kind="iceberg",
        facts=facts_of(found, data),
        fields=found.schema,
        mapping=found.mapping,
        given=given,
        deletes=tuple(tuple(replace(d, state=gone[d.path]) for d in some) for some in deletes),
    )


def _version(version: Any, snapshot_id: Any) -> int | str | datetime | None:
    if snapshot_id is not None:
        if version is not None:
            raise OptionError("read_iceberg: version and snapshot_id say the same: pass one")
        if not isinstance(snapshot_id, int) or isinstance(snapshot_id, bool):
            raise OptionError(f"read_iceberg: snapshot_id is the number of a snapshot, not {snapshot_id!r}")
        return snapshot_id
    if isinstance(version, bool) or not isinstance(version, (int, str, datetime, type(None))):
        raise OptionError(f"read_iceberg: version is a time, a branch or tag, or the id of a snapshot, not {version!r}")
    return version


def _root(table: Any, storage: StorageOptions) -> tuple[str, StorageOptions]:
    """The folder or the metadata file of a table, and what its storage needs."""
    if not isinstance(table, (str, os.PathLike)):
        where = getattr(table, "metadata_location", None)
        if not isinstance(where, str):
            raise OptionError(
                "read_iceberg: table is one table: its folder, a metadata.json, or a Table of pyiceberg; concat frames "
                "of several"
            )
        if storage is None:
            told = getattr(getattr(table, "io", None), "properties", {})
            storage = {ours: str(told[theirs]) for theirs, ours in _S3.items() if told.get(theirs)} or None
        table = where
    path = os.fspath(table)
    path = path.rstrip("/") or path
    if is_remote(path):
        return path, storage
    path = "/" + path[5:].lstrip("/") if path.startswith("file:/") else path
    return os.path.abspath(os.path.expanduser(path)), storage
