"""Writing one data set from many processes, exactly once: the driver's side."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from robodf.errors import FileFormatError, OptionError
from robodf.io import publish
from robodf.io.sink import (
    ROWS_PER_FILE,
    Before,
    Counter,
    Job,
    WriteReport,
    check_target,
    checked,
    publish_one,
    publish_parts,
    since,
    write_empty,
)
from robodf.io.sink_format import checked_options, format_named, lines_to_array
from robodf.io.sink_part import PARTS, RECORDS, RUN, STAGED, Part, Written, attempt_folder, from_record, write_part

__all__ = ["Part", "SharedWrite", "Written", "shared_write", "write_part"]

_COMMIT = "commit.json"  # what is about to be published, of a job that can be resumed
_TRIES = ("new", "merged", "swap-a", "swap-b", "file", "file.lines", _COMMIT)  # of a commit that did not end


def shared_write(
    schema: pl.Schema,
    target: str | os.PathLike[str],
    format: str,
    *,
    mode: str = "error",
    partition_by: Sequence[str] = (),
    rows_per_file: int | None = None,
    options: Mapping[str, Any] = {},
    storage_options: Mapping[str, Any] | None = None,
    resume_key: str | None = None,
) -> SharedWrite:
    """Begin a write that many processes do, as `robodf.io.sink.write` does it in one: all checks, and the staging area.

    The driver holds the `SharedWrite`. Each partition is written by `write_part(job.part, frame, number)`, on any
    machine and as often as it is retried; `job.commit` then makes exactly the attempts that it is given the data set,
    in the order of their numbers, in one step. Use it as a context: whatever is left at the end of the block is
    removed.

    Names, modes, errors and the report are those of `write`, but files are cut inside each partition, and never hold
    rows of two. Rows for a target that is one file are staged as Arrow files and put together by the driver.

    A directory of an object store (`s3://bucket/dir/`, any URL of fsspec) has no step that renames it: there parts
    have names of their own, `part-{partition}-{file}-{attempt}.parquet`, and a manifest lists those that are the data
    set, which robodf's readers follow when they are given the directory. Appends at the same time all arrive on S3,
    where a put can depend on what it replaces; on other stores do one after another. Parts that a killed driver left
    are not read, and are removed by a commit to the same place after seven days.

    Parameters
    ----------
    schema
        The columns of every partition.
    target, format, mode, partition_by, rows_per_file, options
        As of `write`. A local target must be on storage that all nodes see under the same path.
    storage_options
        Options of the object store, with the names of Polars (`aws_...`) or fsspec.
    resume_key
        A text that is the same for the same work: then what is written outlives a driver that dies, and
        `job.done()` gives it to the next driver with this key and the same settings. It is kept for seven days, and
        removed when a write with another key begins on the target.

    Raises
    ------
    OptionError, ColumnNotFoundError, SchemaError, FileExistsError, OSError
        As `write`, before anything runs; OptionError where a living process holds the same `resume_key`.

    Examples
    --------
    >>> import polars as pl, tempfile
    >>> frames = [pl.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [3]})]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with shared_write(frames[0].schema, f"{folder}/out", "parquet") as job:
    ...         written = [write_part(job.part, frame, number) for number, frame in enumerate(frames)]
    ...         report = job.commit(written)
    ...     report.rows, [f.rsplit("/", 1)[1] for f in report.files]
    (3, ['part-00000.parquet', 'part-00001.parquet'])
    """
    if resume_key is not None and (not isinstance(resume_key, str) or not resume_key):
        raise OptionError(f"resume_key is a text, not {resume_key!r}")
    job = checked(
        schema,
        target,
        format,
        mode=mode,
        partition_by=partition_by,
        rows_per_file=rows_per_file,
        options=options,
        storage_options=storage_options,
    )
    # Parts of other settings are no parts of this data set: they belong to another key.
    settings = (job.format.name, sorted(job.options.items(), key=str), list(schema.items()), job.partition_by)
    key = resume_key and repr((resume_key, settings, job.rows_per_file))
    if job.remote:
        from robodf.io.sink_store import StoreWrite

        return StoreWrite(job, key)
    return LocalWrite(job, key)


class SharedWrite(ABC):
    """A data set that is being written by many processes; see `shared_write`."""

    part: Part

    def __init__(self, job: Job):
        self._job = job
        self._started = time.monotonic()
        self._ended = False

    @abstractmethod
    def done(self) -> dict[int, Written]:
        """The partitions that are complete, by number; of a job without a `resume_key` none are known."""

    def commit(self, written: Sequence[Written]) -> WriteReport:
        """Make exactly the files of `written`, one for each partition, the data set, and remove all others of the job.

        In one step: whatever happens, the target is the old data or the new, whole. Raises what `write` raises where
        the target has changed since, and OSError where a file of `written` is no longer there; then everything staged
        is removed, unless the job can be resumed.
        """
        if self._ended:
            raise OptionError("this write has ended; begin another with shared_write")
        numbers = [w.number for w in written]
        if len(set(numbers)) < len(numbers):
            twice = sorted({n for n in numbers if numbers.count(n) > 1})
            raise OptionError(f"commit was given partition {twice[0]} twice; pass one attempt for each partition")
        try:
            report = self._commit(sorted(written, key=lambda w: w.number))
        except BaseException:
            self.close()
            raise
        self._ended = True
        return report

    @abstractmethod
    def _commit(self, written: list[Written]) -> WriteReport: ...

    def abort(self) -> None:
        """Remove all that the job staged; the target is as it was."""
        if not self._ended:
            self._ended = True
            self._abort()

    @abstractmethod
    def _abort(self) -> None: ...

    def close(self) -> None:
        """Let go of the target: what can be resumed stays for the next driver, anything else is removed."""
        if not self._ended:
            self._ended = True
            self._close()

    @abstractmethod
    def _close(self) -> None: ...

    def __enter__(self) -> SharedWrite:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class LocalWrite(SharedWrite):
    """To a file system that all nodes share: staged beside the target, renamed into place."""

    def __init__(self, job: Job, key: str | None):
        super().__init__(job)
        adding = None if key else check_target(job)
        self._staging = publish.open_staging(job.path, key)
        self._area = self._staging.path
        self._resumable = key is not None
        try:
            self._published = self._last_commit()
            if self._published is None:
                self._adding = check_target(job) if adding is None else adding
                self._prepare()
            self.part = self._part()
            # The first thing of this run that workers see, after all that they need is there.
            (self._area / RUN).write_text(self.part.run)
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        job = self._job
        # The record goes first: without what it tells of, it would say that this was published.
        for name in reversed(_TRIES):
            path = self._area / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        try:
            for name in (PARTS, RECORDS):
                (self._area / name).mkdir(exist_ok=True)
        except OSError as error:
            raise publish.naming(error, job.path) from error
        if not job.single and job.mode != "error" and job.path.is_dir():
            publish.check_swap(self._area, job.path)

    def _part(self) -> Part:
        job = self._job
        options = job.options
        if job.single:
            options = checked_options(format_named(STAGED), {"compression": "lz4"}, job.schema, "")
        return Part(
            target=str(job.path),
            area=str(self._area),
            remote=False,
            single=job.single,
            format=job.format.name,
            options=tuple(options.items()),
            schema=job.schema,
            partition_by=job.partition_by,
            rows_per_file=job.rows_per_file or ROWS_PER_FILE,
            run=secrets.token_hex(16),
            records=RECORDS if self._resumable else "",
        )

    def done(self) -> dict[int, Written]:
        found = {}
        for path in (self._area / RECORDS).glob("[0-9]*.json"):
            try:
                record = json.loads(path.read_bytes())
            except ValueError as error:
                raise FileFormatError(f"{path}: {error}; remove it, and the partition is written again") from None
            written = from_record(record, str(path))
            if not self._missing(written):
                found[written.number] = written
        return dict(sorted(found.items()))

    def _missing(self, written: Written) -> Path | None:
        """The first of its files that is not there with the size it had."""
        folder = attempt_folder(self._area, written.number, written.attempt)
        for file in written.files:
            try:
                if (folder / file.path).stat().st_size != file.bytes:
                    return folder / file.path
            except FileNotFoundError:
                return folder / file.path
        return None

    def _commit(self, written: list[Written]) -> WriteReport:
        if self._published is None:
            for each in written:
                if lost := self._missing(each):
                    raise OSError(f"{lost} is no longer as partition {each.number} was written; write it again")
            rows = sum(w.rows for w in written)
            files, size = self._file(written, rows) if self._job.single else self._directory(written, rows)
            self._published = self._report(rows, files, size)
        self._staging.remove()
        return self._published

    def _report(self, rows: int, files: list[Path], size: int) -> WriteReport:
        return WriteReport(self._job.text, rows, tuple(map(str, files)), size, since(self._started))

    def _file(self, written: list[Written], rows: int) -> tuple[list[Path], int]:
        """The staged parts, one after another, as one file of the format."""
        job = self._job
        parts = [attempt_folder(self._area, w.number, w.attempt) / f.path for w in written for f in w.files]
        frame = pl.scan_ipc(parts) if parts else pl.LazyFrame(schema=job.schema)
        counter = Counter(())
        staged = self._area / "file"
        job.run(counter, frame.map_batches(counter, streamable=True), staged)
        if counter.rows != rows:
            raise OSError(f"{self._area} holds {counter.rows} rows where {rows} were written: a disk has failed")
        return publish_one(job, staged, self._before(rows))

    def _directory(self, written: list[Written], rows: int) -> tuple[list[Path], int]:
        job = self._job
        if self._adding and not rows:
            return [], 0
        new = self._area / "new"
        extension = self.part.extension
        try:
            new.mkdir()
            staged = self._number(written, new, extension)
            if not rows:
                staged = [write_empty(job, new, f"part-00000{extension}")]
                if job.format.name == "json":
                    lines_to_array(staged[0])
            # Each worker has flushed its files, but not the copies of a job that can be resumed.
            flush = self._resumable or not rows
            publish.sync_tree(new, files=flush)  # the slow part, before the lock
        except OSError as error:
            raise publish.naming(error, job.path) from error
        return publish_parts(job, self._area, staged, self._before(rows), files=flush)

    def _number(self, written: list[Written], new: Path, extension: str) -> list[Path]:
        """Give the parts of all partitions their names in `new`, folder by folder; these, sorted."""
        by_folder: dict[str, list[Path]] = {}
        for each in written:
            base = attempt_folder(self._area, each.number, each.attempt)
            for file in each.files:
                by_folder.setdefault(file.folder, []).append(base / file.path)
        # A job that can be resumed still needs its parts where they are, should this commit not end.
        place: Callable[[Path, Path], None] = publish.link_or_copy if self._resumable else os.rename
        staged = []
        for folder, files in by_folder.items():
            (new / folder).mkdir(parents=True, exist_ok=True)
            width = max(5, len(str(len(files) - 1)))
            for number, file in enumerate(files):
                staged.append(new / folder / f"part-{number:0{width}d}{extension}")
                place(file, staged[-1])
        return sorted(staged)

    def _before(self, rows: int) -> Before | None:
        """Keeps on disk what is about to be published: a driver that dies just then must not do it again."""

        def keep(staged: Path, files: list[Path], size: int) -> None:
            names = list(map(str, files))
            known = {"staged": staged.name, "inode": staged.stat().st_ino, "rows": rows, "files": names, "bytes": size}
            publish.write_json(self._area / _COMMIT, known)

        return keep if self._resumable else None

    def _last_commit(self) -> WriteReport | None:
        """The report of the commit that a driver of this job did before it died, or None where it did not get there."""
        record = self._area / _COMMIT
        try:
            known = json.loads(record.read_bytes())
            report = self._report(known["rows"], [Path(f) for f in known["files"]], known["bytes"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"{record}: not a record of a commit ({error}): look whether {self._job.path} is as the job should "
                f"leave it, then remove {self._area}"
            ) from None
        try:
            now = (self._area / known["staged"]).lstat()
        except FileNotFoundError:
            return report  # renamed into place
        linked = not self._area.joinpath(known["staged"]).is_dir() and now.st_nlink > 1
        # After an exchange it is the old directory that has this name.
        return report if linked or now.st_ino != known["inode"] else None

    def _abort(self) -> None:
        self._staging.remove()

    def _close(self) -> None:
        if self._resumable and next((self._area / RECORDS).glob("*.json"), None):
            self._staging.leave()
        else:
            self._staging.remove()
