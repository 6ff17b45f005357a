"""Writing a query to files: streaming, in row order, and all or nothing."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from robodf.errors import OptionError, SchemaError, hint
from robodf.io import publish
from robodf.io.files import filesystem
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

Before = Callable[[Path, list[Path], int], None]
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
    job = checked(
        lf.collect_schema(),
        target,
        format,
        mode=mode,
        partition_by=partition_by,
        rows_per_file=rows_per_file,
        options=options,
        storage_options=storage_options,
    )
    counter = Counter(job.partition_by)
    counted = lf.map_batches(counter, streamable=True)
    if job.remote:
        _check_remote(job)
        run_sink(counted, job.text, job.format, job.options, storage_options=dict(storage_options or {}) or None)
        size = _remote_size(job.text, storage_options)
        return WriteReport(job.text, counter.rows, (job.text,), size, since(started))
    adding = check_target(job)
    with publish.staging(job.path) as area:
        way = _write_file if job.single else partial(_write_directory, adding=adding)
        files, size = way(job, counted, counter, area)
    return WriteReport(job.text, counter.rows, tuple(map(str, files)), size, since(started))


@dataclass(frozen=True)
class Job:
    """The arguments of a write, after every check that needs neither rows nor a look at the target.

    `path` is the real path of a local target, and `single` says whether it is one file; `rows_per_file` is None
    where the user gave none.
    """

    text: str
    path: Path
    single: bool
    format: Format
    mode: str
    options: Mapping[str, Any]
    schema: pl.Schema
    partition_by: tuple[str, ...]
    rows_per_file: int | None
    storage_options: Mapping[str, Any] | None

    @property
    def remote(self) -> bool:
        return "://" in self.text

    def run(self, counter: Counter, lf: pl.LazyFrame, to: Any, **more: Any) -> None:
        run_counted(counter, lf, to, self.format, self.options, self.path, **more)


def checked(
    schema: pl.Schema,
    target: str | os.PathLike[str],
    format: str,
    *,
    mode: str,
    partition_by: Sequence[str],
    rows_per_file: int | None,
    options: Mapping[str, Any],
    storage_options: Mapping[str, Any] | None,
) -> Job:
    """The arguments of `write` as a `Job`, or the error that it raises for them."""
    form = format_named(format)
    if mode not in MODES:
        raise OptionError(f"no mode {mode!r}{hint(str(mode), MODES)} Modes: 'error', 'overwrite', 'append'.")
    text = os.fspath(target)
    if not isinstance(text, str) or not text or "\0" in text:
        raise OptionError(f"a target is a path as text, not {target!r}")
    partition_by = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    if rows_per_file is not None and not (isinstance(rows_per_file, int) and rows_per_file > 0):
        raise OptionError(f"rows_per_file is a positive number of rows, not {rows_per_file!r}")
    if not len(schema):
        raise SchemaError("a frame without columns cannot be written")
    check_types(form, schema)
    check_keys(partition_by, schema)
    settings = checked_options(form, options, schema, text)
    text = text.removeprefix("file://")
    path, single = Path(text), False
    if "://" not in text:
        path, single = _local(text, form)
        if single and (partition_by or rows_per_file):
            option = "partition_by" if partition_by else "rows_per_file"
            raise OptionError(f"{option} makes a directory of files, but {text!r} names one file; drop its extension")
    return Job(text, path, single, form, mode, settings, schema, partition_by, rows_per_file, storage_options)


def run_counted(
    counter: Counter,
    lf: pl.LazyFrame,
    to: Any,
    format: Format,
    options: Mapping[str, Any],
    target: Path | str,
    **more: Any,
) -> None:
    """`run_sink` of a query that passes `counter`; an error of a key or a full disk is worded for `target`."""
    try:
        run_sink(lf, to, format, options, **more)
    except (PolarsError, OSError, _BadKeyError) as error:
        if counter.problem:
            raise OptionError(counter.problem) from error
        found = _OS_ERROR.search(str(error))
        number = int(found[1]) if found else getattr(error, "errno", None)
        if number in _DISK:  # others come from reading the input, and name it
            raise publish.naming(OSError(number, os.strerror(number)), target) from error
        raise


class _BadKeyError(Exception):
    """Stops the query from inside; `write` raises it again where the user's line is known."""


class Counter:
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


def _write_file(job: Job, lf: pl.LazyFrame, counter: Counter, area: Path) -> tuple[list[Path], int]:
    staged = area / "file"
    job.run(counter, lf, staged)
    return publish_one(job, staged)


def publish_one(job: Job, staged: Path, before: Before | None = None) -> tuple[list[Path], int]:
    """Make a staged file the target; the files and bytes of the report. `before` as in `publish_parts`."""
    with _naming(job):
        if job.format.name == "json":
            lines_to_array(staged)
        size = staged.stat().st_size
        if before:
            before(staged, [job.path], size)
        publish.publish_file(staged, job.path, replace=job.mode == "overwrite")
    return [job.path], size


def part_files(folder: Path, partition_by: Sequence[str], rows_per_file: int | None, *, include_key: bool) -> Any:
    """What Polars' sinks take to write `folder` as parts, cut by rows alone."""
    return pl.PartitionBy(
        folder,
        key=list(partition_by) or None,
        include_key=include_key if partition_by else None,
        max_rows_per_file=rows_per_file or ROWS_PER_FILE,
        approximate_bytes_per_file=_NEVER,
    )


def _write_directory(job: Job, lf: pl.LazyFrame, counter: Counter, area: Path, adding: bool) -> tuple[list[Path], int]:
    if job.mode != "error" and job.path.is_dir():
        publish.check_swap(area, job.path)
    new = area / "new"
    new.mkdir()
    extension = job.format.part_extension(job.options)
    to = part_files(new, job.partition_by, job.rows_per_file, include_key=not job.format.hive)
    job.run(counter, lf, to, mkdir=bool(job.partition_by))
    if adding and not counter.rows:
        return [], 0
    if job.partition_by and not counter.rows:
        write_empty(job, new, f"00000000{extension}")
    with _naming(job):
        name_parts(new, extension)
        staged = sorted(p for p in new.rglob("*") if p.is_file())
        if job.format.name == "json":
            for file in staged:
                lines_to_array(file)
        publish.sync_tree(new)  # the slow part, before the lock
    return publish_parts(job, area, staged)


def write_empty(job: Job, new: Path, name: str) -> Path:
    """The one file of a data set without rows, in the folder of nulls where there are keys."""
    folder = Path(new, *(f"{key}={NULL_FOLDER}" for key in job.partition_by))
    folder.mkdir(parents=True, exist_ok=True)
    empty = pl.LazyFrame(schema=job.schema)
    if job.partition_by and job.format.hive:
        empty = empty.drop(job.partition_by)
    job.run(Counter(()), empty, folder / name)
    return folder / name


def publish_parts(
    job: Job, area: Path, staged: list[Path], before: Before | None = None, *, files: bool = True
) -> tuple[list[Path], int]:
    """Make the directory `new` of a staging area, with these files, the target or a part of it.

    Returns the files and bytes of the report. `before` is told the directory or file that is renamed, and these two,
    in the moment before. `files` as in `publish.publish_directory`.
    """
    with _naming(job):
        size = sum(p.stat().st_size for p in staged)
        new = area / "new"
        with publish.publishing(job.path):
            result = new
            if job.mode == "append" and job.path.is_dir():
                # Looked at again: another writer may have published since this one began.
                check_append(job.path, job.format, job.partition_by, job.schema, job.options)
                result, files = area / "merged", True  # linked files may be copies, which nobody has flushed
                staged = merge(job.path, new, result)
            found = [job.path / p.relative_to(result) for p in staged]
            if before:
                before(result, found, size)
            publish.publish_directory(result, job.path, replace=job.mode != "error", files=files)
    return found, size


@contextmanager
def _naming(job: Job) -> Iterator[None]:
    """Errors of the filesystem name the target."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise publish.naming(error, job.path) from error


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


def check_target(job: Job) -> bool:
    """Raise where what is at the target forbids this write; True where rows are added to a data set."""
    _check_mode(job.path, job.single, job.mode)
    adding = job.mode == "append" and job.path.is_dir() and any(job.path.iterdir())
    if adding:
        check_append(job.path, job.format, job.partition_by, job.schema, job.options)
    return adding


def _check_mode(path: Path, single: bool, mode: str) -> None:
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


def _check_remote(job: Job) -> None:
    form = job.format
    if form.name == "json":
        raise OptionError("a JSON array is made on a local disk; write ndjson to object stores, or write and upload")
    if not form.matches(job.text) or job.partition_by or job.rows_per_file or job.mode == "append":
        raise OptionError(
            f"{job.text!r}: object stores publish single objects, not directories, whole; write one file "
            f"(a name that ends in {form.extensions[0]}), or write a local directory and upload it"
        )
    if job.mode == "error":
        fs, inner = _remote(job.text, job.storage_options)
        if fs.exists(inner):
            raise publish.exists(job.text)


def _remote(url: str, storage_options: Mapping[str, Any] | None) -> tuple[Any, str]:
    try:
        return filesystem(url, storage_options)
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


def since(started: float) -> float:
    return time.monotonic() - started


def _size(count: float) -> str:
    if count < 1000:
        return f"{count:,.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} TB"
