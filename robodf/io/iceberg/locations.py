"""Paths in the metadata of Iceberg, as this machine opens them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from robodf.errors import FileFormatError
from robodf.io.files import is_remote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


@dataclass(frozen=True)
class Locations:
    """Paths are absolute, and lie anywhere: a table may have files of another. `table` is where its metadata was found.

    With `below`, which a table was moved to, those that lie below its `location` are looked for there.
    """

    table: str
    location: str
    below: str | None = None

    def of(self, told: str) -> str:
        """The path of a file. FileFormatError where it may not be opened."""
        path = told
        if self.below is not None and path.startswith(self.location + "/"):
            path = self.below + path[len(self.location) :]
            if ".." in path.replace("\\", "/").split("/"):
                raise FileFormatError(f"{self.table}: names {told!r}, which leaves the table: do not trust it")
        scheme = _SCHEME.match(path)
        if scheme is not None and scheme[1].lower() == "file":  # of Hadoop with one slash: file:/a
            path = re.sub(r"^[A-Za-z]+:/+", "/", path)
        elif scheme is not None:
            if "::" in path or not is_remote(path):
                raise FileFormatError(f"{self.table}: names {told!r}, which is no path of a file")
            return path
        if not os.path.isabs(path):
            raise FileFormatError(
                f"{self.table}: names {told!r}, which is no absolute path. Where the table was written to a relative "
                "path, pass moved=True: its files are then looked for below its folder"
            )
        if is_remote(self.table) and self.below is None:
            raise FileFormatError(
                f"{self.table}: names {told!r}, a file of this machine, but lies elsewhere: do not trust it"
            )
        return path
