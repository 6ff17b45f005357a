"""The file formats of logs. Each is a package with the same four functions."""

from __future__ import annotations

import os
from typing import Protocol

from robodf.errors import FileFormatError
from robodf.io.files import FileReader, open_file, own_path
from robodf.io.logs.model import ChunkIndex, Messages, Summary

EXTENSIONS = {".mcap": "mcap", ".bag": "bag", ".db3": "db3"}
COMPRESSED = (".zst", ".zstd")
"""Whole files that ROS 2 compressed: they are decompressed into a temporary file first."""

LOG_FILES = (*EXTENSIONS, *(e + z for e in EXTENSIONS for z in COMPRESSED))
LOG_MAGIC = ((b"\x89MCAP", "mcap"), (b"#ROSBAG V", "bag"), (b"SQLite format 3\0", "db3"))


class Container(Protocol):
    """How one format is read; the functions are called from several threads at once."""

    def read_summary(self, file: FileReader, on_error: str = "raise") -> Summary:
        """What the file holds, without its messages."""
        ...

    def read_chunk(
        self,
        file: FileReader,
        summary: Summary,
        chunk: ChunkIndex,
        channels: frozenset[int] | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int | None = None,
        *,
        on_error: str = "raise",
        problems: list[str] | None = None,
    ) -> Messages:
        """The first `limit` messages of `channels` with `start_time <= log_time < end_time`, in their order."""
        ...

    HEADS: frozenset[str]
    """The columns, beside those of the channel, that `heads` knows."""

    def heads(self, file: FileReader, summary: Summary, chunk: ChunkIndex) -> Messages | None:
        """The messages of a chunk without their payloads, by an index, in their order; None where it does not tell."""
        ...

    def count(
        self,
        summary: Summary,
        file: FileReader,
        channels: frozenset[int] | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> int:
        """How many messages there are of those, by indexes as far as these go."""
        ...


def container(format: str) -> Container:
    """The reader of a format."""
    if format == "mcap":
        from robodf.io import mcap as found
    elif format == "bag":
        from robodf.io import bag as found
    else:
        assert format == "db3", format
        from robodf.io import db3 as found
    return found  # type: ignore[return-value]


def is_compressed(path: str) -> bool:
    return path.lower().endswith(COMPRESSED)


def bare_name(path: str) -> str:
    """The name without the endings that say how it is stored."""
    lower = path.lower()
    for ending in COMPRESSED:
        if lower.endswith(ending):
            path = path[: -len(ending)]
            break
    stem, extension = os.path.splitext(path)
    return stem if extension.lower() in EXTENSIONS else path


def format_of(path: str, storage: dict | None) -> str:
    """The format of a log: by its name, or by its first bytes where the name says nothing."""
    lower = own_path(path).lower()
    for ending in COMPRESSED:
        lower = lower.removesuffix(ending)
    found = EXTENSIONS.get(os.path.splitext(lower)[1])
    if found is not None:
        return found
    with open_file(path, storage) as file:
        head = file.read_at(0, min(16, file.size))
    for magic, format in LOG_MAGIC:
        if head.startswith(magic):
            return format
    raise FileFormatError(f"{path}: is no log of a format that robodf reads: MCAP, ROS 1 .bag or ROS 2 .db3")
