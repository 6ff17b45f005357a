"""Which files of a folder are a LeRobot data set: by their names alone, whatever its metadata says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from robodf.errors import FileFormatError, NoFilesError, listing
from robodf.io.files import StorageOptions, list_files

_DATA = re.compile(r"(?:^|.*/)data/(?:(.*)/)?(episode|file)[_-]?(\d{1,9})\.parquet")
_VIDEO = re.compile(r"(?:^|.*/)videos?/(.*)/(episode|file)[_-]?(\d{1,9})\.mp4")
_META = re.compile(r"(?:^|.*/)meta/(info\.json|stats\.json|[a-z_]+\.jsonl|[a-z_]+\.parquet|episodes/.*\.parquet)")
_CHUNK = re.compile(r"chunk[_-]?(\d{1,9})")

Place = tuple[int, int]
"""The numbers of a chunk and of a file in it."""


@dataclass
class Tree:
    """The files of one data set: those of version 2 by episode, of version 3 by chunk and file."""

    root: str
    version: int
    data: dict[Place, str] = field(default_factory=dict)  # of version 2 the place is (0, episode)
    videos: dict[str, dict[Place, str]] = field(default_factory=dict)  # by camera
    meta: dict[str, str] = field(default_factory=dict)  # by the name below meta/
    twice: list[str] = field(default_factory=list)  # files for a place that another one has


def tree(root: str, storage: StorageOptions) -> Tree:
    """The files below a folder. NoFilesError where there is no data, FileFormatError where there are several sets."""
    files = list_files(root, (".parquet", ".mp4", ".json", ".jsonl"), storage)
    parsed = [(path, path.partition("::")[0].replace("\\", "/")) for path in files]
    data = [(path, found) for path, name in parsed if (found := _DATA.fullmatch(name))]
    if not data:
        raise NoFilesError(f"{root}: no LeRobot data set: no file like data/chunk-000/episode_000000.parquet in it")
    bases = sorted({found.string[: found.start(3)].rsplit("/data/", 1)[0] for _, found in data})
    if len(bases) > 1:
        raise FileFormatError(
            f"{root}: several data sets, such as {listing(bases[:3])}: read each with read_lerobot and concat them"
        )
    kinds = {found[2] for _, found in data}
    if len(kinds) > 1:
        raise FileFormatError(f"{root}: data of version 2 (episode_*.parquet) and 3 (file-*.parquet) in one folder")
    result = Tree(root, 2 if kinds == {"episode"} else 3)
    for path, found in data:
        _put(result, result.data, _place(found[1] or "", int(found[3]), result.version), path)
    for path, name in parsed:
        video = _VIDEO.fullmatch(name)
        if video and video[2] == ("episode" if result.version == 2 else "file"):
            camera = "/".join(part for part in video[1].split("/") if not _CHUNK.fullmatch(part))
            if camera:
                place = _place(video[1], int(video[3]), result.version)
                _put(result, result.videos.setdefault(camera, {}), place, path)
        elif about := _META.fullmatch(name):
            result.meta[about[1]] = path
    result.data = dict(sorted(result.data.items()))
    result.videos = dict(sorted(result.videos.items()))
    return result


def _place(folders: str, number: int, version: int) -> Place:
    if version == 2:  # an episode has one number in the whole set
        return 0, number
    chunks = [int(found[1]) for part in folders.split("/") if (found := _CHUNK.fullmatch(part))]
    return (chunks[-1] if chunks else 0), number


def _put(result: Tree, where: dict[Place, str], place: Place, path: str) -> None:
    if place in where:
        result.twice.append(path)
    else:
        where[place] = path


def is_lerobot(path: str) -> bool:
    """Whether a local folder is a LeRobot data set: `meta` and `data` in it, the latter with files of one."""
    import os

    data = os.path.join(os.path.expanduser(path), "data")
    if not os.path.isdir(data) or not os.path.isdir(os.path.join(os.path.expanduser(path), "meta")):
        return False
    for _, folders, names in os.walk(data):
        folders.sort()
        if any(_DATA.fullmatch("data/" + name) for name in names):
            return True
    return False
