"""metadata.yaml, which rosbag2 writes beside the files of a recording."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robodf.errors import FileFormatError, NoFilesError
from robodf.io.files import is_remote
from robodf.io.yaml_text import MOST_BYTES, documents, untyped

NAME = "metadata.yaml"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What rosbag2 says of a recording; None and "" where it does not say.

    `files` are paths inside the recording's folder, in the order of recording. Times in ns.
    `compression_mode` is "file", "message", "storage" or "" in lower case. `file_counts`: messages per file.
    """

    name: str
    version: int | None
    storage_identifier: str
    files: tuple[str, ...]
    message_count: int | None
    topic_counts: Mapping[str, int]
    topic_types: Mapping[str, str]
    start_time: int | None
    duration: int | None
    compression_format: str
    compression_mode: str
    file_counts: Mapping[str, int]
    ros_distro: str


def read_metadata(path: str | os.PathLike[str]) -> Metadata:
    """The metadata of a recording on the local disk: of its folder, or of the metadata.yaml itself.

    Raises NoFilesError where there is none and FileFormatError where it is damaged, larger than 16 MiB or names files
    outside of its folder.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "drive")
    >>> folder.mkdir()
    >>> _ = (folder / "metadata.yaml").write_text(
    ...     "rosbag2_bagfile_information: {version: 5, relative_file_paths: [drive_0.db3], message_count: 7}")
    >>> found = read_metadata(folder)
    >>> found.name, found.files, found.message_count
    ('drive', ('drive_0.db3',), 7)
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        name = os.path.join(name, NAME)
    try:
        with open(name, "rb") as file:
            text = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NoFilesError(f"no file {name}") from None
    return parse_metadata(text, name)


def metadata_beside(path: str) -> Metadata | None:
    """The metadata of the recording that the local file `path` is part of; None where there is none that lists it."""
    if is_remote(path):
        return None
    for prefix in ("file://", "local://"):
        path = path.removeprefix(prefix)
    path = os.path.abspath(os.path.expanduser(path))
    try:
        found = read_metadata(os.path.join(os.path.dirname(path), NAME))
    except NoFilesError:
        return None
    return found if os.path.basename(path) in map(os.path.basename, found.files) else None


def parse_metadata(text: bytes | str, name: str) -> Metadata:
    """The metadata in `text`; `name` is the path of the metadata.yaml, which gives the recording its name.

    Raises FileFormatError, as `read_metadata` does.

    >>> parse_metadata("rosbag2_bagfile_information: {version: 4}", "/data/drive/metadata.yaml").name
    'drive'
    """
    document = next(documents(text, name, untyped), None)
    root = document.get("rosbag2_bagfile_information") if isinstance(document, dict) else None
    if isinstance(document, dict) and "storage_identifier" in document:
        root = document  # as recorders keep it inside the file
    if not isinstance(root, dict):
        raise FileFormatError(f"{name}: is no rosbag2 metadata: it has no rosbag2_bagfile_information")
    reader = _Reader(name)
    topics = [t for t in reader.items(root, "topics_with_message_count") if isinstance(t, dict)]
    counts: dict[str, int] = {}
    types: dict[str, str] = {}
    for topic in topics:
        about = topic.get("topic_metadata")
        if not isinstance(about, dict):
            raise FileFormatError(f"{name}: a topic in topics_with_message_count has no topic_metadata")
        key = reader.text(about, "name")
        types[key] = reader.text(about, "type")
        counts[key] = counts.get(key, 0) + (reader.integer(topic, "message_count") or 0)
    described = [f for f in reader.items(root, "files") if isinstance(f, dict)]
    file_counts = {reader.text(f, "path"): reader.integer(f, "message_count") for f in described}
    mode = reader.text(root, "compression_mode").lower()
    return Metadata(
        name=os.path.basename(os.path.dirname(os.path.abspath(name))),
        version=reader.integer(root, "version"),
        storage_identifier=reader.text(root, "storage_identifier"),
        files=tuple(_inside(f, name) for f in reader.items(root, "relative_file_paths")),
        message_count=reader.integer(root, "message_count"),
        topic_counts=counts,
        topic_types=types,
        start_time=reader.integer(reader.mapping(root, "starting_time"), "nanoseconds_since_epoch"),
        duration=reader.integer(reader.mapping(root, "duration"), "nanoseconds"),
        compression_format=reader.text(root, "compression_format").lower(),
        compression_mode="" if mode == "none" else mode,
        file_counts={path: count for path, count in file_counts.items() if count is not None},
        ros_distro=reader.text(root, "ros_distro"),
    )


@dataclass(frozen=True)
class _Reader:
    """Values of a mapping that have the type they should; absent or null is "not said"."""

    name: str

    def text(self, of: dict, key: str) -> str:
        value = of.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "a text")
        return value or ""

    def integer(self, of: dict, key: str) -> int | None:
        value = self.text(of, key)
        if not value:
            return None
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            raise self._wrong(key, "a whole number of at most 19 digits")
        return int(value)

    def items(self, of: dict, key: str) -> list:
        value = of.get(key)
        if value is None or value == "":
            return []
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value

    def mapping(self, of: dict, key: str) -> dict:
        value = of.get(key)
        return value if isinstance(value, dict) else {}

    def _wrong(self, key: str, what: str) -> FileFormatError:
        return FileFormatError(f"{self.name}: {key} is not {what}: the file is damaged")


def _inside(path: Any, name: str) -> str:
    if not isinstance(path, str) or not path or "\0" in path:
        raise FileFormatError(f"{name}: relative_file_paths has an entry that is no file name")
    parts = path.replace("\\", "/").split("/")
    if ".." in parts or os.path.isabs(path) or not parts[0] or parts[0].endswith(":") or is_remote(path):
        raise FileFormatError(
            f"{name}: names the file {path[:200]!r}, which is outside of its folder; name the recording's files "
            f"instead of the folder to read them"
        )
    return path
