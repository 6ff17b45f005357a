"""Delta tables: which files a version has, from the table's log by the deltalake package; their rows are Parquet.

The format: Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import polars as pl

from robodf.errors import FileFormatError, NoFilesError, OptionError, listing
from robodf.io.delta_facts import facts_of
from robodf.io.files import StorageOptions, is_remote, open_file
from robodf.io.table_log import LoggedFiles, states

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from robodf.frame.frame import PipelineDataFrame

_LOG = "_delta_log"
_KNOWN = frozenset("columnMapping deletionVectors timestampNtz v2Checkpoint vacuumProtocolCheck".split())
"""Features of readers that change nothing here, or that are looked at: a mapping, deletion vectors of live files."""


def read_delta(
    path: str | os.PathLike[str],
    version: int | str | datetime | None = None,
    *,
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of a Delta table: the rows of its newest version, of the one numbered, or of the one at a time.

    The log is read now, of the data nothing. Values of partition columns are those in the log, so that a filter on
    them leaves out files before any is opened, and so do filters that the least and greatest values and the null counts
    exclude which the log has of other columns; for the rest it is as `read_parquet`: row groups are skipped by
    statistics, large columns fetched late. A column that a file lacks is null. Rows are in the order of the partition
    values, then of the time at which their file was added, then of its name.

    Parameters
    ----------
    path
        The folder that holds `_delta_log`, or its URL.
    version
        A number; or a datetime (without a zone: UTC) or a text of RFC 3339 such as "2026-01-31T00:00:00Z", which is
        the last version of that time or before.
    storage_options
        For object stores, by the names that Polars and deltalake have in common (aws_access_key_id, ...).

    Paths in the log are URL-encoded and stay below the table. Absolute ones, which the format has for clones, are read
    where they are URLs of the same kind of storage as the table.

    Raises
    ------
    OptionError
        For a version that the table does not have.
    NoFilesError
        Where there is no Delta table, or where a file of that version was removed since (VACUUM).
    FileFormatError
        For what would be read wrong: deletion vectors, column mapping, widened types, features that are not known
        here, paths that leave the table. The message says what to do.
    ImportError
        Without deltalake (`pip install 'robodf[delta]'`).

    Examples
    --------
    >>> import robodf as rd, polars as pl, tempfile
    >>> from deltalake import write_deltalake
    >>> folder = tempfile.mkdtemp()
    >>> for day in (1, 2):
    ...     write_deltalake(folder, pl.DataFrame({"day": [day], "x": [day / 2]}), mode="append", partition_by=["day"])
    >>> rd.read_delta(folder).filter(rd.col("day") == 2).collect().rows()
    [(2, 1.0)]
    >>> rd.read_delta(folder, version=0).count_rows()
    1
    """
    from robodf.io.read import from_source

    if not isinstance(path, (str, os.PathLike)):
        raise OptionError("read_delta: path is one table, the folder that holds _delta_log; concat frames of several")
    return from_source(delta_files(os.fspath(path), version, storage_options))


def is_delta(path: str) -> bool:
    """Whether a local folder is a Delta table."""
    return not is_remote(path) and os.path.isdir(os.path.join(os.path.expanduser(path), _LOG))


def delta_files(path: str, version: int | str | datetime | None, storage: StorageOptions) -> LoggedFiles:
    """The source of a version of a table."""
    root = path.rstrip("/") or path
    if not is_remote(root):
        root = os.path.abspath(os.path.expanduser(root.removeprefix("file://")))
    table = _opened(root, version, storage)
    where = f"{root} version {table.version()}"
    _check_readable(table, where)
    schema = _schema(table)
    keys = tuple(table.metadata().partition_columns)
    added = pl.DataFrame(table.get_add_actions())
    if keys:
        values = added.get_column("partition").struct.unnest().select(pl.col(k).cast(schema[k]) for k in keys)
        added = added.hstack(values.rename(dict(zip(keys, _named(keys)))))
    added = added.sort(*_named(keys), "modification_time", "path")
    paths = [_located(root, told, where) for told in added["path"]]
    if len(set(paths)) < len(paths):
        raise FileFormatError(f"{where}: its log names a file twice; repair the table (a checkpoint) with its writer")
    return LoggedFiles(
        "parquet",
        tuple(paths),
        storage=tuple(sorted((storage or {}).items())),
        state=states(paths, storage, where, _GONE),
        columns=tuple(schema.items()),
        of_file=keys,
        values=tuple(added.select(_named(keys)).rows()) if keys else (),
        counts=tuple(added["num_records"]),
        table=f"delta {where}",
        kind="delta",
        facts=facts_of(added, {name: dtype for name, dtype in schema.items() if name not in keys}),
    )


_GONE = "they were removed since (VACUUM deletes the files of old versions). Read a newer version, or restore them"


def _named(keys: tuple[str, ...]) -> list[str]:
    """Names of partition columns that no other column of the log has."""
    return [f"partition.{key}" for key in keys]


def _opened(root: str, version: Any, storage: StorageOptions) -> DeltaTable:
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ImportError as error:
        raise ImportError("read_delta needs deltalake: pip install 'robodf[delta]'") from error
    number = version if isinstance(version, int) else None
    if isinstance(version, bool) or not isinstance(version, (int, str, datetime, type(None))) or (number or 0) < 0:
        raise OptionError(f"read_delta: version is a number from 0, a datetime or a text of RFC 3339, not {version!r}")
    if not is_remote(root) and not is_delta(root):
        raise NoFilesError(f"{root}: no Delta table: it has no folder {_LOG}")
    options = {name: str(value) for name, value in (storage or {}).items()} or None
    try:
        table = DeltaTable(root, version=number, storage_options=options)
    except TableNotFoundError as error:
        raise NoFilesError(f"{root}: no Delta table: {_first_line(error)}") from error
    except DeltaError as error:
        if number is not None:
            raise OptionError(f"read_delta: {root} has no version {number} to read: {_first_line(error)}") from error
        raise FileFormatError(f"{root}: its log cannot be read: {_first_line(error)}") from error
    if isinstance(version, (str, datetime)):
        try:
            table.load_as_version(version)
        except (DeltaError, ValueError) as error:
            raise OptionError(
                f"read_delta: {root} has no version as of {version} to read, version {table.version()} is the newest: "
                f"{_first_line(error)}"
            ) from error
        _check_began(table, version, root, storage)
    return table


def _check_began(table: DeltaTable, version: str | datetime, root: str, storage: StorageOptions) -> None:
    """deltalake gives the first version for a time before it; a commit says its time, unless it was cleaned up."""
    wanted = datetime.fromisoformat(version) if isinstance(version, str) else version
    wanted = wanted if wanted.tzinfo else wanted.replace(tzinfo=timezone.utc)
    try:
        with open_file(f"{root}/{_LOG}/{table.version():020}.json", storage) as file:
            actions = [json.loads(line) for line in file.read_at(0, file.size).splitlines() if line.strip()]
    except NoFilesError:
        return
    began = next((action["commitInfo"].get("timestamp") for action in actions if "commitInfo" in action), None)
    if began is not None and began > wanted.timestamp() * 1000 + 1:
        first = datetime.fromtimestamp(began / 1000, timezone.utc).isoformat()
        raise OptionError(f"read_delta: {root} has no version as of {version}: version {table.version()} is of {first}")


def _check_readable(table: DeltaTable, where: str) -> None:
    from deltalake.exceptions import DeltaError

    protocol, settings = table.protocol(), table.metadata().configuration
    features = set(protocol.reader_features or ())
    if protocol.min_reader_version > 3 or features - _KNOWN:
        unknown = listing(sorted(features - _KNOWN)) or f"reader version {protocol.min_reader_version}"
        raise FileFormatError(
            f"{where}: needs what robodf does not read: {unknown}. Write a copy without it (in Spark: ALTER TABLE ... "
            "DROP FEATURE), or read it with its own engine"
        )
    if settings.get("delta.columnMapping.mode", "none") != "none":
        raise FileFormatError(
            f"{where}: its columns have other names in the files (column mapping), which robodf does not read. Write a "
            "copy without it (in Spark: SET TBLPROPERTIES 'delta.columnMapping.mode' = 'none')"
        )
    if "deletionVectors" not in features:
        return
    try:
        deleted = pl.DataFrame(table.deletion_vectors()).height
    except DeltaError as error:
        raise FileFormatError(f"{where}: {_first_line(error)}. {_PURGE}") from error
    if deleted:
        raise FileFormatError(f"{where}: {deleted} files have deletion vectors: rows of them are deleted. {_PURGE}")


_PURGE = "Rewrite the files without deleted rows (in Spark: REORG TABLE ... APPLY (PURGE)), then read the new version"


def _schema(table: DeltaTable) -> dict[str, pl.DataType]:
    import pyarrow as pa

    found = pl.from_arrow(pa.schema(table.schema().to_arrow()).empty_table())  # type: ignore[arg-type]
    assert isinstance(found, pl.DataFrame)
    return dict(found.schema)


def _located(root: str, told: str, where: str) -> str:
    """The path of a file in the log, as this machine opens it; FileFormatError where it may not be opened."""
    parts = urlsplit(told)
    path = unquote(told)
    if "\0" in path or ".." in path.replace("\\", "/").split("/"):
        raise FileFormatError(f"{where}: its log names {told!r}, which leaves the table: do not trust it")
    if parts.scheme and "/" in told.partition(":")[2][:1]:  # an absolute URL; a colon may stand in a name
        own = urlsplit(root).scheme if is_remote(root) else "file"
        if parts.scheme != own or (own == "file" and parts.netloc):
            raise FileFormatError(
                f"{where}: its log names {told!r}, which lies in another kind of storage: copy the table to one"
            )
        return unquote(parts.path) if own == "file" else path
    if path.startswith(("/", "\\")):
        raise FileFormatError(
            f"{where}: its log names {told!r}; the format has paths below the table, and absolute ones as URLs alone"
        )
    return f"{root}/{path}"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
