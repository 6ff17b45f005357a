"""Which files are one recording, and what it is called."""

from __future__ import annotations

import os
from typing import Any

from robodf.errors import FileFormatError, NoFilesError
from robodf.io.archives.chain import split
from robodf.io.files import is_remote, open_file
from robodf.io.logs.containers import bare_name
from robodf.io.logs.metadata import NAME, parse_metadata
from robodf.io.yaml_text import MOST_BYTES

_MARK = b"rosbag2_bagfile_information"


def recording_names(
    paths: tuple[str, ...], storage: dict[str, Any] | None = None, problems: list[tuple[str, str]] | None = None
) -> tuple[str, ...]:
    """The name of each file's recording.

    The files that a ROS 2 `metadata.yaml` in their folder lists are one recording, named after the folder; any other
    file is one of its own, named after itself. As many folders are put before a name as tell it from the others.

    A damaged metadata.yaml raises FileFormatError, or is appended to `problems` as (its path, error) and not used.
    """
    listed: dict[str, frozenset[str]] = {}
    units = []
    for path in paths:
        member = split(path)
        if member is not None:  # its folders are those in the archive, then those of the archive
            kind, inner, archive = member
            above = inner.rpartition("/")[0]
            path, chained = f"{archive}/{inner}", f"{kind}://{above}{'/' if above else ''}{NAME}::{archive}"
        folder, slash, name = path.replace("\\", "/").rpartition("/")
        if folder not in listed:
            listed[folder] = _listed(folder + slash + NAME if member is None else chained, storage, problems)
        units.append(folder if folder and name in listed[folder] else bare_name(folder + slash + name))
    parts = {unit: unit.split("/") for unit in units}
    depth = 1
    while True:
        names = {unit: "/".join(p[-depth:]) for unit, p in parts.items()}
        if len(set(names.values())) == len(names) or depth >= max(map(len, parts.values())):
            return tuple(names[unit] for unit in units)
        depth += 1


def missing_splits(folder: str, found: list[str]) -> list[str]:
    """The files that the metadata.yaml of a local folder lists and that are not among those found in it."""
    there = {path.replace("\\", "/").rpartition("/")[2] for path in found}
    # A damaged metadata.yaml lists none here: whoever names the recordings reports it.
    return sorted(_listed(f"{folder.rstrip('/')}/{NAME}", None, []) - there)


def _listed(path: str, storage: dict[str, Any] | None, problems: list[tuple[str, str]] | None) -> frozenset[str]:
    """The names of the files that a metadata.yaml lists; none where there is no such file, or it is not of ROS 2."""
    if not is_remote(path) and not os.path.exists(os.path.expanduser(path)):
        return frozenset()
    try:
        file = open_file(path, storage)
    except NoFilesError:
        return frozenset()
    with file:
        text = file.read_at(0, min(file.size, MOST_BYTES + 1))
    if _MARK not in text:
        return frozenset()
    try:
        return frozenset(name.rpartition("/")[2] for name in parse_metadata(text, path).files)
    except FileFormatError as error:
        if problems is None:
            raise
        problems.append((path, str(error)))
        return frozenset()
