"""Writing one data set from many processes to an object store: parts under names of their own, then a manifest."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import tempfile
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

from robodf.errors import FileFormatError, OptionError, SchemaError
from robodf.io import publish
from robodf.io.files import filesystem
from robodf.io.manifest import MANIFEST, MOST_BYTES, Manifest, ManifestFile, decode, inside
from robodf.io.sink import ROWS_PER_FILE, Job, WriteReport, since, write_empty
from robodf.io.sink_format import FORMATS, lines_to_array
from robodf.io.sink_part import RUN, Part, PartFile, Written, from_record
from robodf.io.sink_parts import is_side_file
from robodf.io.sink_shared import SharedWrite

_RECORDS = "_robodf_job-"  # folder of the records of a job that can be resumed; readers pass by names with _
_OURS = re.compile(r"part-\d{5,}-\d{5,}-([0-9a-f]{16})-[0-9a-f]{16}(\..+)\Z")
_GONE = "gone"  # among these: what a commit replaces
_KEPT = 7 * 24 * 3600  # seconds after which a part that no manifest lists was left by a dead job
_TRIES = 50  # commits that come between reading a manifest and replacing it
_MODIFIED = ("LastModified", "mtime", "created", "updated", "last_modified")


def put_part(part: Part, folder: Path, files: list[PartFile], number: int, attempt: str) -> Written:
    """Put the files of one attempt, which lie in a local folder, under their last names."""
    fs, root = filesystem(part.area, dict(part.storage_options))
    put: list[PartFile] = []
    counts: dict[str, int] = {}
    try:
        for file in files:
            index = counts[file.folder] = counts.get(file.folder, -1) + 1
            name = f"part-{number:05d}-{index:05d}-{part.run}-{attempt}{part.extension}"
            put.append(PartFile(file.folder, name, file.rows, file.bytes))
            fs.put_file(str(folder / file.path), f"{root}/{put[-1].path}")
        written = Written(number, attempt, tuple(put))
        if part.records:
            fs.pipe_file(f"{root}/{part.records}/{number}.json", json.dumps(written.record()).encode())
    except BaseException:
        for file in put:
            # The error that led here is the one to tell; what stays is removed by the driver.
            with contextlib.suppress(OSError):
                fs.rm_file(f"{root}/{file.path}")
        raise
    return written


class StoreWrite(SharedWrite):
    """To a folder of an object store: what its manifest lists is the data set."""

    def __init__(self, job: Job, key: str | None):
        super().__init__(job)
        self._url = job.text.rstrip("/")
        name = job.text.rsplit("/", 1)[1]
        if name and any(f.matches(name) for f in FORMATS.values()):
            raise OptionError(
                f"{job.text!r} names one object, which one process has to write; name a folder for many processes to "
                f"write into (end it in '/'), or write with engine='local'"
            )
        try:
            self._fs, self._root = filesystem(self._url, job.storage_options)
        except (ImportError, ValueError) as error:
            raise OptionError(f"cannot write {job.text!r}: {error}") from error
        self._root = self._root.rstrip("/")
        records = f"{_RECORDS}{blake2b(key.encode(), digest_size=8).hexdigest()}" if key else ""
        self.part = Part(
            target=job.text,
            area=self._url,
            remote=True,
            single=False,
            format=job.format.name,
            options=tuple(job.options.items()),
            schema=job.schema,
            partition_by=job.partition_by,
            rows_per_file=job.rows_per_file or ROWS_PER_FILE,
            run=self._run(records),
            records=records,
            storage_options=tuple((job.storage_options or {}).items()),
        )
        manifest, _ = self._read()
        if not self._lists_ours(manifest):
            self._check(manifest, self._names())

    def _run(self, records: str) -> str:
        """The token in the names of this job's parts: that of the driver that died, where there was one."""
        token = secrets.token_hex(8)
        if not records:
            return token
        where = f"{self._root}/{records}/{RUN}"
        self._fs.invalidate_cache()
        try:
            known = self._fs.cat_file(where, start=0, end=17).decode("latin-1")
        except FileNotFoundError:
            self._fs.pipe_file(where, token.encode())
            return token
        if not re.fullmatch("[0-9a-f]{16}", known):
            raise FileFormatError(f"{self._url}/{records}/{RUN}: not the token of a job; remove that folder")
        return known

    def _names(self) -> dict[str, dict[str, Any]]:
        """What is below the folder, by its path there."""
        self._fs.invalidate_cache()
        found = self._fs.find(self._root, detail=True)
        if found.get(self._root, {}).get("type") == "directory":
            # s3fs lists nothing, then asks for the name itself: it is a folder by then where others write at once.
            self._fs.invalidate_cache()
            found = self._fs.find(self._root, detail=True)
            found = {name: info for name, info in found.items() if info["type"] != "directory"}
        if self._root in found:
            raise OptionError(f"{self._job.text!r} is an object, where a folder is to be written; choose another name")
        return {name.removeprefix(self._root).lstrip("/"): info for name, info in found.items()}

    def _read(self) -> tuple[Manifest | None, str]:
        """The manifest, and the mark of its version; marks are compared by S3 alone."""
        where = f"{self._root}/{MANIFEST}"
        self._fs.invalidate_cache()
        try:
            # The mark is that of a version no younger than what is read: replacing by it fails where they differ.
            mark = str(self._fs.info(where).get("ETag") or "")
            data = self._fs.cat_file(where, start=0, end=MOST_BYTES + 1)
        except FileNotFoundError:
            return None, ""
        return decode(data, f"{self._url}/{MANIFEST}"), mark

    def _lists_ours(self, manifest: Manifest | None) -> bool:
        """Whether this job was committed: its names are its own."""
        found = (_OURS.match(f.path.rsplit("/", 1)[-1]) for f in (manifest.files if manifest else ()))
        return any(m and m[1] == self.part.run for m in found)

    def _check(self, manifest: Manifest | None, names: dict[str, Any]) -> None:
        """Raise where what is there forbids this write."""
        job = self._job
        others = [n for n in names if self._is_foreign(n)]
        if job.mode == "error":
            if manifest or others:
                raise publish.exists(job.text)
        elif job.mode == "overwrite":
            for name in others:
                if not any(f.matches(name) for f in FORMATS.values()):
                    raise OptionError(
                        f"{job.text} holds {name!r}, which is not a data file, so it is not overwritten; write to "
                        f"another folder, or remove that object first"
                    )
        elif manifest is None and others:
            raise OptionError(
                f"{job.text} holds {others[0]!r}, but no {MANIFEST} that lists its files, so nothing can be added to "
                f"it whole; write to a new folder, or read it and overwrite it"
            )
        elif manifest:
            self._check_fits(manifest)

    def _check_fits(self, manifest: Manifest) -> None:
        job = self._job
        if manifest.format != job.format.name:
            raise OptionError(
                f"cannot append {job.format.name} to {job.text}, which holds {manifest.format}; append in its own "
                f"format, or write to a new folder"
            )
        if manifest.partition_by != job.partition_by:
            keys = list(manifest.partition_by)
            there = f"partitioned by {keys}" if keys else "not partitioned"
            raise SchemaError(f"cannot append to {job.text}: it is {there}; pass partition_by={keys}")
        if manifest.columns != self._columns():
            there, own = (", ".join(f"{n}: {t}" for n, t in c) for c in (manifest.columns, self._columns()))
            raise SchemaError(
                f"cannot append to {job.text}: its columns differ from the frame's; select and cast them to fit\n"
                f"  there: {there}\n  frame: {own}"
            )

    def _columns(self) -> tuple[tuple[str, str], ...]:
        return tuple((name, str(dtype)) for name, dtype in self._job.schema.items())

    def _is_foreign(self, name: str) -> bool:
        """Whether an object is neither a part nor a record of a job, nor a side file of another writer."""
        last = name.rsplit("/", 1)[-1]
        return not (_OURS.match(last) or name == MANIFEST or name.startswith(_RECORDS) or is_side_file(last))

    def done(self) -> dict[int, Written]:
        if not self.part.records:
            return {}
        found: dict[int, Written] = {}
        names = self._names()
        for name in names:
            if not (self._is_record(name) and name.endswith(".json")):
                continue
            where = f"{self._url}/{name}"
            try:
                record = json.loads(self._fs.cat_file(f"{self._root}/{name}"))
            except ValueError as error:
                raise FileFormatError(f"{where}: {error}; remove it, and the partition is written again") from None
            written = from_record(record, where)
            if not self._missing(written, names):
                found[written.number] = written
        return dict(sorted(found.items()))

    def _missing(self, written: Written, names: dict[str, dict[str, Any]]) -> str | None:
        return next((f.path for f in written.files if names.get(f.path, {}).get("size") != f.bytes), None)

    def _commit(self, written: list[Written]) -> WriteReport:
        names = self._names()
        for each in written:
            if lost := self._missing(each, names):
                raise OSError(f"{self._url}/{lost} is no longer as partition {each.number} was written; write it again")
        files = [ManifestFile(f.path, f.rows, f.bytes) for w in written for f in w.files]
        gone: set[str] = set()
        for _ in range(_TRIES):
            old, mark = self._read()
            if self._lists_ours(old):
                assert old is not None
                files = [f for f in old.files if self._is_own(f.path)]
                gone |= self._known_gone()
                break  # by a driver that died, or by a put whose answer was lost
            self._check(old, names)
            if not files:
                if old is not None and self._job.mode == "append":
                    break
                files = [self._put_empty()]
            kept = old.files if old is not None and self._job.mode == "append" else ()
            gone = {n for n in names if self._is_foreign(n)} if self._job.mode == "overwrite" else set()
            gone |= {f.path for f in old.files} - {f.path for f in kept} if old else set()
            job = self._job
            if self.part.records and gone:
                self._fs.pipe_file(f"{self._root}/{self.part.records}/{_GONE}", json.dumps(sorted(gone)).encode())
            new = Manifest(job.format.name, job.partition_by, self._columns(), (*kept, *files))
            if self._replace(new, mark if old else None):
                break
        else:
            raise OSError(f"cannot write {self._job.text}: {_TRIES} other writes came between; try again later")
        self._clean(gone)
        size = sum(f.bytes for f in files)
        rows = sum(f.rows for f in files)
        return WriteReport(
            self._job.text, rows, tuple(f"{self._url}/{f.path}" for f in files), size, since(self._started)
        )

    def _known_gone(self) -> set[str]:
        """What the driver that committed this job was about to remove."""
        try:
            found = json.loads(self._fs.cat_file(f"{self._root}/{self.part.records}/{_GONE}"))
        except FileNotFoundError:
            return set()
        return {n for n in found if isinstance(n, str) and inside(n)} if isinstance(found, list) else set()

    def _is_record(self, name: str) -> bool:
        return bool(self.part.records) and name.startswith(f"{self.part.records}/")

    def _is_own(self, path: str) -> bool:
        found = _OURS.match(path.rsplit("/", 1)[-1])
        return found is not None and found[1] == self.part.run

    def _put_empty(self) -> ManifestFile:
        """The one file of a data set without rows."""
        with tempfile.TemporaryDirectory(prefix="robodf-part-") as folder:
            file = write_empty(self._job, Path(folder), f"part-00000{self.part.extension}")
            if self._job.format.name == "json":
                lines_to_array(file)
            below = file.parent.relative_to(folder).as_posix()
            staged = PartFile("" if below == "." else below, file.name, 0, file.stat().st_size)
            put = put_part(self.part, Path(folder), [staged], 0, secrets.token_hex(8)).files[0]
        return ManifestFile(put.path, 0, put.bytes)

    def _replace(self, manifest: Manifest, mark: str | None) -> bool:
        """Put the manifest in place of the version of `mark` (None: of nothing); False where another came between."""
        where, data = f"{self._root}/{MANIFEST}", manifest.encode()
        if len(data) > MOST_BYTES:
            raise OptionError(f"{self._job.text} would have {len(manifest.files)} files; write larger partitions")
        protocol = self._fs.protocol
        if "s3" in ((protocol,) if isinstance(protocol, str) else protocol):
            condition = {"IfNoneMatch": "*"} if mark is None else {"IfMatch": mark}
            try:
                # Were it put in several pieces, S3 would not look at the condition.
                self._fs.pipe_file(where, data, chunksize=MOST_BYTES, **condition)
            except OSError as error:
                code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
                if code not in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                    raise
                return False
            return True
        self._fs.pipe_file(where, data)
        return self._lists_ours(self._read()[0])  # without conditions this finds most of what came between

    def _clean(self, gone: set[str]) -> None:
        """Remove what no manifest lists any more: `gone`, other attempts of this job, parts of jobs long dead.

        The data set is published: what cannot be removed stays, unread, for the next write.
        """
        with contextlib.suppress(OSError):
            manifest, _ = self._read()
            listed = {f.path for f in manifest.files} if manifest else set()
            self._remove([n for n, info in self._names().items() if n not in listed and self._is_left(n, info, gone)])

    def _is_left(self, name: str, info: dict[str, Any], gone: set[str]) -> bool:
        if name in gone or self._is_own(name) or self._is_record(name):
            return True
        ours = _OURS.match(name.rsplit("/", 1)[-1]) or name.startswith(_RECORDS)
        return bool(ours) and time.time() - _modified(info) > _KEPT

    def _remove(self, names: list[str]) -> None:
        # The token of a job goes last: until then the next driver of its key goes on with what is left to do.
        for name in sorted(names, key=lambda n: (n.startswith(_RECORDS), n.endswith(f"/{RUN}"))):
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._root}/{name}")

    def _abort(self) -> None:
        manifest, _ = self._read()
        listed = {f.path for f in manifest.files} if manifest else set()
        self._remove([n for n in self._names() if n not in listed and (self._is_own(n) or self._is_record(n))])

    def _close(self) -> None:
        if not self.part.records:
            self._abort()


def _modified(info: dict[str, Any]) -> float:
    """When an object was put, in seconds since 1970; now where the store does not say."""
    found = next((info[k] for k in _MODIFIED if info.get(k)), None)
    if found is None or isinstance(found, str):
        return time.time()
    return float(found) if isinstance(found, (int, float)) else found.timestamp()
