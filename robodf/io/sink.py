"""Writing a query to files: streaming, in row order, and all or nothing."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from robodf.errors import OptionError, SchemaError, hint
from robodf.io import publish
from robodf.io.sink_format import (
    FORMATS,
    Format,
    check_types,
    checked_options,
    format_named,
    lines_to_array,
    run_sink,
)
from robodf.io.sink_parts import (
    NULL_FOLDER,
    bad_key,
    check_append,
    check_keys,
    check_overwrite,
    merge,
    name_parts,
)

__all__ = ["FORMATS", "WriteReport", "write"]

MODES = ("error", "overwrite", "append")
ROWS_PER_FILE = 4_000_000
_NEVER = 2**63 - 1  # bytes per file: files are cut by rows alone, so that names depend on the plan only
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG}
# The errors of a full disk come from Polars as text.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True)
class WriteReport:
    """What one write did: the target, the new rows, files and bytes in it, and the seconds it took.

    `bytes` is 0 for an object store that fsspec has no package for here.
    """

    path: str
    rows: int
    files: tuple[str, ...]
    bytes: int
    seconds: float

    def __repr__(self) -> str:
        files = f"{len(self.files):,} file{'' if len(self.files) == 1 else 's'}"
        rows = f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        return f"{rows}, {files}, {_size(self.bytes)}, {self.seconds:.1f} s -> {self.path}"


def write(
    lf: pl.LazyFrame,
    target: str | os.PathLike[str],
    format: str,
    *,
    mode: str = "error",
    partition_by: Sequence[str] = (),
    rows_per_file: int | None = None,
    options: Mapping[str, Any] = {},
    storage_options: Mapping[str, Any] | None = None,
) -> WriteReport:
    """Run `lf` and write its rows, in order, to a file or a directory of parts.

    A target with one of the format's extensions is one file; any other name, one that ends in `/`, or an
    existing directory is a directory of `part-00000.parquet`, .... The data is staged in a hidden directory
    beside the target, flushed to disk and renamed into place: after a crash at any moment the target is the
    old data or the new, whole. So a frame may overwrite the files that it is read from.

    Parameters
    ----------
    lf
        Any query. It runs once, by Polars' streaming engine.
    target
        A local path, or for single files a URL of an object store (`s3://bucket/x.parquet`).
    format
        "parquet", "csv", "ndjson" (one object a line), "json" (one array) or "ipc" (Arrow, Feather).
    mode
        "error": FileExistsError, before anything runs, where the target is there. "overwrite": replaces it, a
        directory only where it holds data files alone. "append": adds parts to a directory, after those
        that are there, all or nothing; two appends at the same time both arrive.
    partition_by
        Columns for folders `key=value/`. Keys are text in the names and percent-escaped; null is
        `__HIVE_DEFAULT_PARTITION__`. Parquet and IPC files leave the key columns out, as readers take them
        from the folders; text formats keep them. A frame without rows gives one empty file in the folder of
        nulls, so that the columns are kept.
    rows_per_file
        Rows after which the next part begins, per folder; 4,000,000 by default.
    options
        For the Polars sink of the format: `compression`, `row_group_size`, `separator`, .... Parquet is
        written as zstd with statistics. Row groups of tables with binary, list or array columns are cut so
        that one stays near 128 MiB.
    storage_options
        For object stores, as Polars takes them.

    Raises
    ------
    OptionError, ColumnNotFoundError, SchemaError
        Before anything runs, for arguments and column types that cannot be written.
    FileExistsError
        The target is there (mode "error").
    OSError
        The disk is full, or the target may not be written; it is left as it was.

    Examples
    --------
    >>> import polars as pl, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = write(pl.LazyFrame({"x": [1, 2, 3]}), f"{folder}/x.parquet", "parquet")
    ...     report.rows, pl.read_parquet(f"{folder}/x.parquet")["x"].to_list()
    (3, [1, 2, 3])
    """
    started = time.monotonic()
    form = format_named(format)
    if mode not in MODES:
        raise OptionError(f"no mode {mode!r}{hint(str(mode), MODES)} Modes: 'error', 'overwrite', 'append'.")
    text = os.fspath(target)
    if not isinstance(text, str) or not text or "\0" in text:
        raise OptionError(f"a target is a path as text, not {target!r}")
    partition_by = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    if rows_per_file is not None and not (isinstance(rows_per_file, int) and rows_per_file > 0):
        raise OptionError(f"rows_per_file is a positive number of rows, not {rows_per_file!r}")
    schema = lf.collect_schema()
    if not len(schema):
        raise SchemaError("a frame without columns cannot be written")
    check_types(form, schema)
    check_keys(partition_by, schema)
    counter = _Counter(partition_by)
    counted = lf.map_batches(counter, streamable=True)
    settings = checked_options(form, options, schema, text)

    text = text.removeprefix("file://")
    if "://" in text:
        _check_remote(text, form, mode, partition_by, rows_per_file, storage_options)
        run_sink(counted, text, form, settings, storage_options=dict(storage_options or {}) or None)
        return WriteReport(text, counter.rows, (text,), _remote_size(text, storage_options), _since(started))

    path, single = _local(text, form)
    if single and (partition_by or rows_per_file):
        option = "partition_by" if partition_by else "rows_per_file"
        raise OptionError(f"{option} makes a directory of files, but {text!r} names one file; drop its extension")
    _check_target(path, single, mode)
    adding = mode == "append" and path.is_dir() and any(path.iterdir())
    if adding:
        check_append(path, form, partition_by, schema, settings)
    job = _Job(counted, counter, path, form, settings, schema, partition_by, rows_per_file or ROWS_PER_FILE)
    with publish.staging(path) as area:
        files, size = _write_file(job, area, mode) if single else _write_directory(job, area, mode, adding)
    return WriteReport(text, counter.rows, tuple(map(str, files)), size, _since(started))


@dataclass(frozen=True)
class _Job:
    """What the two ways of writing share."""

    lf: pl.LazyFrame
    counter: _Counter
    path: Path
    format: Format
    options: Mapping[str, Any]
    schema: pl.Schema
    partition_by: tuple[str, ...]
    rows_per_file: int

    def run(self, lf: pl.LazyFrame, to: Any, **more: Any) -> None:
        try:
            run_sink(lf, to, self.format, self.options, **more)
        except (PolarsError, OSError, _BadKeyError) as error:
            if self.counter.problem:
                raise OptionError(self.counter.problem) from error
            found = _OS_ERROR.search(str(error))
            number = int(found[1]) if found else getattr(error, "errno", None)
            if number in _DISK:  # others come from reading the input, and name it
                raise publish.naming(OSError(number, os.strerror(number)), self.path) from error
            raise


class _BadKeyError(Exception):
    """Stops the query from inside; `write` raises it again where the user's line is known."""


class _Counter:
    """Counts the rows that pass to the sink, and looks at the partition keys on their way."""

    def __init__(self, partition_by: Sequence[str]):
        self.rows = 0
        self.problem: str | None = None
        self._keys = partition_by
        self._lock = threading.Lock()

    def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
        if self._keys and (problem := bad_key(batch, self._keys)):
            self.problem = problem
            raise _BadKeyError(problem)
        with self._lock:
            self.rows += batch.height
        return batch


def _write_file(job: _Job, area: Path, mode: str) -> tuple[list[Path], int]:
    staged = area / "file"
    job.run(job.lf, staged)
    try:
        if job.format.name == "json":
            lines_to_array(staged)
        size = staged.stat().st_size
        publish.publish_file(staged, job.path, replace=mode == "overwrite")
    except FileExistsError:
        raise
    except OSError as error:
        raise publish.naming(error, job.path) from error
    return [job.path], size


def _write_directory(job: _Job, area: Path, mode: str, adding: bool) -> tuple[list[Path], int]:
    if mode != "error" and job.path.is_dir():
        publish.check_swap(area, job.path)
    new = area / "new"
    new.mkdir()
    extension = job.format.part_extension(job.options)
    to = pl.PartitionBy(
        new,
        key=list(job.partition_by) or None,
        include_key=not job.format.hive if job.partition_by else None,
        max_rows_per_file=job.rows_per_file,
        approximate_bytes_per_file=_NEVER,
    )
    job.run(job.lf, to, mkdir=bool(job.partition_by))
    if adding and not job.counter.rows:
        return [], 0
    if job.partition_by and not job.counter.rows:
        folder = Path(new, *(f"{key}={NULL_FOLDER}" for key in job.partition_by))
        folder.mkdir(parents=True)
        empty = pl.LazyFrame(schema=job.schema)
        job.run(empty.drop(job.partition_by) if job.format.hive else empty, folder / f"00000000{extension}")
    try:
        name_parts(new, extension)
        staged = sorted(p for p in new.rglob("*") if p.is_file())
        if job.format.name == "json":
            for file in staged:
                lines_to_array(file)
        size = sum(p.stat().st_size for p in staged)
        publish.sync_tree(new)  # the slow part, before the lock
        with publish.publishing(job.path):
            result, files = new, staged
            if mode == "append" and job.path.is_dir():
                # Looked at again: another writer may have published since this one began.
                check_append(job.path, job.format, job.partition_by, job.schema, job.options)
                result = area / "merged"
                files = merge(job.path, new, result)
            publish.publish_directory(result, job.path, replace=mode != "error")
    except FileExistsError:
        raise
    except OSError as error:
        raise publish.naming(error, job.path) from error
    return [job.path / p.relative_to(result) for p in files], size


def _local(text: str, form: Format) -> tuple[Path, bool]:
    """The real path of a target (links followed, as open() does), and whether it is one file."""
    given = os.path.expanduser(text)
    path = Path(os.path.realpath(given))
    if not path.name:
        raise OptionError(f"{text!r} is no name for a file or directory")
    name = os.path.basename(given)
    if not name or path.is_dir():
        return path, False
    if form.matches(name):
        return path, True
    for other in FORMATS.values():
        if other.matches(name):
            raise OptionError(
                f"{text!r} has the extension of {other.name}, but {form.name} is to be written; name it "
                f"{form.extensions[0]!r}, or end it in '/' for a directory of that name"
            )
    return path, False


def _check_target(path: Path, single: bool, mode: str) -> None:
    if single and mode == "append":
        raise OptionError(
            f"a single file cannot be appended to whole or not at all: {str(path)!r}; append to a "
            f"directory (a name without an extension), or read, concat and overwrite"
        )
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(kind):
        if mode == "error" and any(path.iterdir()):
            raise publish.exists(path)
        if mode == "overwrite":
            check_overwrite(path)
    elif not stat.S_ISREG(kind):
        raise OptionError(f"{str(path)!r} is a device, pipe or socket, which cannot be replaced by a file")
    elif not single:
        raise OptionError(f"{str(path)!r} is a file, where a directory is to be written; choose another name")
    elif mode == "error":
        raise publish.exists(path)


def _check_remote(
    url: str,
    form: Format,
    mode: str,
    partition_by: Sequence[str],
    rows_per_file: int | None,
    storage_options: Mapping[str, Any] | None,
) -> None:
    if form.name == "json":
        raise OptionError("a JSON array is made on a local disk; write ndjson to object stores, or write and upload")
    if not form.matches(url) or partition_by or rows_per_file or mode == "append":
        raise OptionError(
            f"{url!r}: object stores publish single objects, not directories, whole; write one file "
            f"(a name that ends in {form.extensions[0]}), or write a local directory and upload it"
        )
    if mode == "error":
        fs, inner = _remote(url, storage_options)
        if fs.exists(inner):
            raise publish.exists(url)


def _remote(url: str, storage_options: Mapping[str, Any] | None) -> tuple[Any, str]:
    """The fsspec filesystem for Polars' own option names, where the two differ."""
    from fsspec.core import url_to_fs

    names = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_session_token": "token"}
    names["aws_endpoint_url"] = "endpoint_url"
    given = {names[k]: v for k, v in (storage_options or {}).items() if k in names}
    try:
        return url_to_fs(url, **given)
    except (ImportError, ValueError) as error:
        raise OptionError(
            f"cannot look whether {url!r} exists: {error}; install that package, or pass mode='overwrite'"
        ) from error


def _remote_size(url: str, storage_options: Mapping[str, Any] | None) -> int:
    # The object is written; a missing package must not fail the write over a number in a report.
    try:
        fs, inner = _remote(url, storage_options)
    except OptionError:
        return 0
    return int(fs.size(inner) or 0)


def _since(started: float) -> float:
    return time.monotonic() - started


def _size(count: float) -> str:
    if count < 1000:
        return f"{count:,.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} TB"
