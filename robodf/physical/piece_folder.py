"""The folder of a store, on a file system or behind a URL: names in it appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from robodf.errors import OptionError
from robodf.io.files import filesystem, is_remote
from robodf.io.publish import sync

# Where an upload appears whole or not at all, and where renaming would copy.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2", "tos", "obs"}


class Folder(Protocol):
    """What a store needs of its storage; names are relative, with `/`."""

    def full(self, name: str) -> str: ...

    def put(self, name: str, fill: Callable[[BinaryIO], Any], first: bool = False) -> None: ...

    def names(self, folder: str = "") -> list[str]: ...

    def files(self) -> Iterator[tuple[int, float]]: ...

    def remove(self) -> None: ...


def folder_of(path: str, storage_options: Any) -> Folder:
    return RemoteFolder(path, storage_options) if is_remote(path) else LocalFolder(Path(path))


class LocalFolder:
    """A folder of a file system."""

    def __init__(self, root: Path):
        self.root = root

    def full(self, name: str) -> str:
        return str(self.root / name)

    def put(self, name: str, fill: Callable[[BinaryIO], Any], first: bool = False) -> None:
        """Fill a file and publish it under `name`, instead of the one there; with `first` the one there stays.

        The folder itself must be there: it is not made again where somebody removed it.
        """
        target = self.root / name
        if target.parent != self.root:
            target.parent.mkdir(exist_ok=True)
        staged = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        try:
            with open(staged, "xb") as file:
                fill(file)
            sync(staged)
            if first:
                with contextlib.suppress(FileExistsError):
                    os.link(staged, target)
            else:
                self._publish(staged, target)
        finally:
            staged.unlink(missing_ok=True)
        sync(target.parent)

    @staticmethod
    def _publish(staged: Path, target: Path) -> None:
        try:
            os.replace(staged, target)
        except FileNotFoundError:
            if not target.exists():  # else another attempt was first, and the run is over (`clean`)
                raise

    def names(self, folder: str = "") -> list[str]:
        try:
            return os.listdir(self.root / folder)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self) -> Iterator[tuple[int, float]]:
        for root, _, names in os.walk(self.root):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # a writer's own file, which was renamed meanwhile
                    status = os.stat(os.path.join(root, name))
                    yield status.st_size, status.st_mtime

    def clean(self) -> None:
        """Remove what writers that died left behind."""
        for staged in self.root.glob("**/.*.tmp"):
            staged.unlink(missing_ok=True)

    def remove(self) -> None:
        """Under another name first: after a crash no half of it looks like a store."""
        away = self.root.with_name(f".{self.root.name}.{secrets.token_hex(8)}.removed")
        try:
            os.rename(self.root, away)
        except FileNotFoundError:
            return
        shutil.rmtree(away)


class RemoteFolder:
    """A folder behind a URL of fsspec."""

    def __init__(self, url: str, storage_options: Any):
        if "::" in url:
            raise OptionError(f"{url}: a store of pieces is one folder of one storage, not a chain of URLs")
        self.url = url.rstrip("/")
        self.fs, self.inner = filesystem(self.url, storage_options)

    def full(self, name: str) -> str:
        return f"{self.url}/{name}"

    def put(self, name: str, fill: Callable[[BinaryIO], Any], first: bool = False) -> None:
        """As in LocalFolder; an object store publishes an upload whole, others by a rename."""
        target = f"{self.inner}/{name}"
        self.fs.invalidate_cache()
        if first and self.fs.exists(target):
            return
        with tempfile.NamedTemporaryFile() as local:
            fill(local)  # type: ignore[arg-type]
            local.flush()
            if self.url.partition("://")[0] in _OBJECT_STORES:
                self.fs.put_file(local.name, target)
                return
            parent, _, last = target.rpartition("/")
            self.fs.makedirs(parent, exist_ok=True)
            staged = f"{parent}/.{last}.{secrets.token_hex(8)}.tmp"
            self.fs.put_file(local.name, staged)
            if self.fs.exists(target):  # not every server renames over a file; what is there is the same piece
                self.fs.rm_file(staged)
            else:
                self.fs.mv(staged, target)

    def names(self, folder: str = "") -> list[str]:
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(f"{self.inner}/{folder}".rstrip("/"), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [str(name).rstrip("/").rsplit("/", 1)[-1] for name in found]

    def files(self) -> Iterator[tuple[int, float]]:
        self.fs.invalidate_cache()
        for info in self.fs.find(self.inner, detail=True).values():
            marks = (info.get(k) for k in ("LastModified", "mtime", "last_modified", "updated", "created"))
            mark = next((m for m in marks if m), 0.0)
            yield int(info.get("size") or 0), _seconds(mark)

    def remove(self) -> None:
        self.fs.invalidate_cache()
        for name in ("manifest.json", "marker.json"):  # first: what is left after a crash is no store
            if self.fs.exists(f"{self.inner}/{name}"):
                self.fs.rm_file(f"{self.inner}/{name}")
        if self.fs.exists(self.inner):
            self.fs.rm(self.inner, recursive=True)


def _seconds(mark: Any) -> float:
    if isinstance(mark, str):
        from datetime import datetime

        mark = datetime.fromisoformat(mark)
    return float(mark if isinstance(mark, (int, float)) else mark.timestamp())
