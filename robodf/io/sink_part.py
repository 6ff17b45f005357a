"""One partition of a data set that many processes write: what travels to the workers, and what comes back."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from robodf.errors import FileFormatError, OptionError, SchemaError
from robodf.io import publish
from robodf.io.manifest import inside
from robodf.io.sink import Counter, part_files, run_counted
from robodf.io.sink_format import Format, format_named, lines_to_array
from robodf.io.sink_parts import NULL_FOLDER, name_parts

# Directories and files of a staging area.
PARTS, RECORDS, RUN = "parts", "done", "run"
STAGED = "ipc"  # the format of the parts of one file: it keeps every type, so that the file is what `write` makes


@dataclass(frozen=True)
class PartFile:
    """One staged file: its hive folder ("" for none), its name there, its rows and bytes."""

    folder: str
    name: str
    rows: int
    bytes: int

    @property
    def path(self) -> str:
        """Its place below the folder of its attempt, or of the data set in an object store."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


@dataclass(frozen=True)
class Written:
    """What one attempt at a partition wrote. Small, and picklable."""

    number: int
    attempt: str
    files: tuple[PartFile, ...]

    @property
    def rows(self) -> int:
        """The rows of all its files."""
        return sum(f.rows for f in self.files)

    def record(self) -> dict[str, Any]:
        """It as JSON."""
        return asdict(self)


def from_record(found: Any, where: str) -> Written:
    """What `Written.record` gave; FileFormatError, naming the file `where`, for anything else."""
    try:
        files = tuple(PartFile(f["folder"], f["name"], f["rows"], f["bytes"]) for f in found["files"])
        written = Written(found["number"], found["attempt"], files)
        numbers = [written.number, *(n for f in files for n in (f.rows, f.bytes))]
        right = re.fullmatch(r"[0-9a-f]{1,64}", written.attempt) and all(inside(f.path) for f in files)
        right = right and all(type(n) is int and n >= 0 for n in numbers)
    except (KeyError, TypeError):
        right = False
    if not right:
        raise FileFormatError(f"{where}: not a record of a written partition; remove it, and it is written again")
    return written


@dataclass(frozen=True)
class Part:
    """What a worker has to know of a shared write. Frozen and picklable; equal on every worker."""

    target: str  # as errors name it
    area: str  # the staging area, or the URL of the data set
    remote: bool
    single: bool
    format: str
    options: tuple[tuple[str, Any], ...]
    schema: pl.Schema
    partition_by: tuple[str, ...]
    rows_per_file: int
    run: str  # the driver's own token
    records: str  # the directory, below the area, of the records of a job that can be resumed; "" for another
    storage_options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)  # may hold secrets

    @property
    def form(self) -> Format:
        return format_named(self.format)

    @property
    def extension(self) -> str:
        return self.form.part_extension(dict(self.options))


def write_part(part: Part, frame: pl.DataFrame | pl.LazyFrame, number: int) -> Written:
    """Write partition `number` of a shared write: run `frame` and stage its rows, in order.

    Call it on any machine that sees the storage of the target, any number of times for one number and at the same
    time: each call writes files of its own, and only those of the `Written` that the driver commits are kept. A call
    that fails removes its files; what a killed one leaves is removed by the driver's commit or abort.

    Parameters
    ----------
    part
        `part` of the driver's `shared_write`.
    frame
        The rows of this partition, with the columns and types of the job. Files are cut inside a partition: the last
        file of one is never filled with rows of the next. A partition without rows writes no file.
    number
        The place of this partition in the row order of the data set, from 0.

    Raises
    ------
    SchemaError
        The frame has other columns than the job.
    OptionError
        A value cannot name a folder (see `partition_by` of `write`).
    OSError
        The disk is full; or this machine does not see the staging area: the target is not on shared storage, or the
        job has ended.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise OptionError(f"the number of a partition is 0 or more, not {number!r}")
    query = frame.lazy()
    _check_schema(part, query.collect_schema())
    attempt = secrets.token_hex(8)
    if part.remote:
        from robodf.io.sink_store import put_part

        with tempfile.TemporaryDirectory(prefix="robodf-part-") as folder:
            files = write_files(part, query, Path(folder))
            return put_part(part, Path(folder), files, number, attempt)
    return _stage(part, query, number, attempt)


def _check_schema(part: Part, schema: pl.Schema) -> None:
    if list(schema.items()) == list(part.schema.items()):
        return
    shown, own = (", ".join(f"{n}: {t}" for n, t in s.items()) for s in (part.schema, schema))
    raise SchemaError(
        f"a partition of {part.target} has other columns than the data set; select and cast them to fit\n"
        f"  data set:  {shown}\n  partition: {own}"
    )


def _stage(part: Part, query: pl.LazyFrame, number: int, attempt: str) -> Written:
    area = Path(part.area)
    _check_seen(part)
    folder = attempt_folder(area, number, attempt)
    os.mkdir(folder)
    try:
        files = write_files(part, query, folder)
        publish.sync_tree(folder)
        _check_seen(part)
        written = Written(number, attempt, tuple(files))
        if part.records:
            publish.sync(folder.parent)
            publish.write_json(area / part.records / f"{number}.json", written.record())
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if not publish.is_area(area):  # the job has ended, and Polars made its directories again
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
                area.rmdir()
        raise
    return written


def attempt_folder(area: Path, number: int, attempt: str) -> Path:
    """Where an attempt stages its files."""
    return area / PARTS / f"{number:05d}-{attempt}"


def _check_seen(part: Part) -> None:
    """OSError unless the driver's staging area is here, and is that of its present run."""
    try:
        seen = Path(part.area, RUN).read_text()
    except (FileNotFoundError, NotADirectoryError):
        seen = ""
    if seen != part.run:
        raise OSError(
            errno.ENOENT,
            f"{socket.gethostname()} does not see the driver's staging area of {part.target}: the target must be on "
            f"storage that all nodes share (or the write has ended meanwhile)",
            part.area,
        )


def write_files(part: Part, query: pl.LazyFrame, folder: Path) -> list[PartFile]:
    """Run `query` into files below an empty `folder`, under their last names but for numbers; none without rows."""
    counter = _FolderCounter(part.partition_by, part.schema)
    counted = query.map_batches(counter, streamable=True)
    options = dict(part.options)
    if part.single:
        file = folder / "part-00000.arrow"
        run_counted(counter, counted, file, format_named(STAGED), options, part.target)
        return [PartFile("", file.name, counter.rows, file.stat().st_size)] if counter.rows else []
    to = part_files(folder, part.partition_by, part.rows_per_file, include_key=not part.form.hive)
    run_counted(counter, counted, to, part.form, options, part.target, mkdir=bool(part.partition_by))
    name_parts(folder, part.extension)
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        left = counter.in_folder(os.path.relpath(root, folder)) if names else 0
        for name in sorted(names):
            file = Path(root, name)
            if not counter.rows:
                file.unlink()  # Polars' one empty file
                continue
            if part.format == "json":
                lines_to_array(file)
            rows = min(left, part.rows_per_file)
            left -= rows
            below = file.relative_to(folder).parent.as_posix()
            found.append(PartFile("" if below == "." else below, name, rows, file.stat().st_size))
    return found


class _FolderCounter(Counter):
    """Counts rows by the hive folder that they go to."""

    def __init__(self, partition_by: Sequence[str], schema: Mapping[str, pl.DataType]):
        super().__init__(partition_by)
        self._by_key: dict[tuple[str | None, ...], int] = {}
        # 0.0 and -0.0 are one key and so one folder, named after either.
        self._same = [{"-0.0": "0.0"} if schema[n].is_float() else {} for n in partition_by]
        self._texts = [pl.col(n).cast(pl.String).replace(same) for n, same in zip(partition_by, self._same)]

    def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
        batch = super().__call__(batch)
        if self._texts and batch.height:
            counts = batch.select(self._texts).group_by(pl.all()).agg(pl.len().alias("\0rows")).rows()
            with self._lock:
                for *key, rows in counts:
                    self._by_key[tuple(key)] = self._by_key.get(tuple(key), 0) + rows
        return batch

    def in_folder(self, folder: str) -> int:
        """The rows in a folder, relative to the base, by its name."""
        if not self._texts:
            return self.rows
        texts = [unquote(part.split("=", 1)[1]) for part in folder.split(os.sep)]
        return self._by_key[tuple(None if t == NULL_FOLDER else s.get(t, t) for t, s in zip(texts, self._same))]
