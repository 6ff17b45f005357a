"""The manifest of a data set: the list of its files, which readers of its folder take for the whole truth.

An object store cannot rename a folder, so there the manifest is what publishes a data set in one step: files that it
does not list are those of a write that has not ended, or never will.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard, TypeVar
from urllib.parse import unquote

from robodf.errors import FileFormatError

MANIFEST = "_robodf_manifest.json"
MOST_BYTES = 256 << 20  # of a manifest: a million files
_VERSION = 1
_T = TypeVar("_T")


@dataclass(frozen=True)
class ManifestFile:
    """One file: its path below the folder of the manifest, its rows and its bytes."""

    path: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a data set is: its format, its keys, its columns (name and type, as text), its files in row order."""

    format: str
    partition_by: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    files: tuple[ManifestFile, ...]

    def encode(self) -> bytes:
        """The JSON text that `decode` reads."""
        return json.dumps({"version": _VERSION, **asdict(self)}, ensure_ascii=False, indent=1).encode()


def decode(data: bytes, where: str) -> Manifest:
    """The manifest in `data`; FileFormatError, naming the file `where`, for anything else.

    A path in it can only lead to a file below its own folder.

    >>> text = b'{"version": 1, "format": "csv", "partition_by": [], "columns": [["a", "Int64"]], '
    >>> decode(text + b'"files": [{"path": "a.csv", "rows": 2, "bytes": 9}]}', "x").files[0].path
    'a.csv'
    """

    def fail(why: str) -> FileFormatError:
        return FileFormatError(f"{where}: not a manifest of a data set: {why}; remove it, or write the data set again")

    if len(data) > MOST_BYTES:
        raise fail(f"it has more than {MOST_BYTES} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise fail(str(error)) from None
    if not isinstance(found, dict):
        raise fail("it is no object")
    version = found.get("version")
    if type(version) is int and version > _VERSION:
        raise FileFormatError(f"{where}: a manifest of version {version}, made by a newer robodf: read it with that")
    if type(version) is not int or version != _VERSION:
        raise fail(f"its version is {version!r}, not {_VERSION}")
    keys, columns, files = (found.get(name) for name in ("partition_by", "columns", "files"))
    if not isinstance(found.get("format"), str) or not _all(keys, str):
        raise fail("'format' is a text and 'partition_by' a list of texts")
    if not _all(columns, list) or not all(len(c) == 2 and _all(c, str) for c in columns):
        raise fail("'columns' is a list of names and types")
    if not _all(files, dict):
        raise fail("'files' is a list of objects")
    listed: list[ManifestFile] = []
    for number, file in enumerate(files):
        path, rows, size = (file.get(name) for name in ("path", "rows", "bytes"))
        if not isinstance(path, str) or not inside(path):
            raise fail(f"file {number} has the path {path!r}, which is not that of a file below its folder")
        if type(rows) is not int or type(size) is not int or rows < 0 or size < 0:
            raise fail(f"file {number} has {rows!r} rows and {size!r} bytes")
        listed.append(ManifestFile(path, rows, size))
    if len({f.path for f in listed}) < len(listed):
        raise fail("it lists a file twice")
    return Manifest(found["format"], tuple(keys), tuple((n, t) for n, t in columns), tuple(listed))


def _all(values: Any, kind: type[_T]) -> TypeGuard[list[_T]]:
    return isinstance(values, list) and all(isinstance(v, kind) for v in values)


def inside(path: str) -> bool:
    """Whether readers take `path` for one name below a folder: not for a root, a URL, a way up or a pattern."""
    if re.search(r"[\x00-\x1f\\*?\[\]{}]|::|://", path) or path == MANIFEST:
        return False
    # Some stores decode names: `%2e%2e` is a way up there.
    return all(part and unquote(part) not in (".", "..") for part in path.split("/"))
