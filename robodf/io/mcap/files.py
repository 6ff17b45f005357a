"""The summaries of log files, read once in a process."""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from robodf.config import settings
from robodf.io.counting import read
from robodf.io.files import FileReader, open_file
from robodf.io.mcap.summary import Summary, read_summary

_MOST = 4096  # summaries that are kept
_cache: OrderedDict[tuple, Summary] = OrderedDict()
_lock = Lock()

State = tuple[int, int | str]


def summary_of(path: str, state: State, on_error: str, storage: tuple) -> Summary:
    """The summary of a file in this state (size and time of change)."""
    key = (path, state, on_error)
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    with counted(path, storage) as file:
        found = read_summary(file, on_error)
    with _lock:
        _cache[key] = found
        while len(_cache) > _MOST:
            _cache.popitem(last=False)
    return found


def summaries(paths: tuple[str, ...], states: tuple[State, ...], on_error: str, storage: tuple) -> list[Summary]:
    """The summaries of several files, in their order."""
    if len(paths) == 1:
        return [summary_of(paths[0], states[0], on_error, storage)]
    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(lambda ps: summary_of(ps[0], ps[1], on_error, storage), zip(paths, states)))


class counted:
    """An open file whose reads are added to `counting.read`."""

    def __init__(self, path: str, storage: tuple):
        self._file = open_file(path, dict(storage))
        self._file.counter = read

    def __enter__(self) -> FileReader:
        return self._file

    def __exit__(self, *exc: object) -> None:
        self._file.close()


def workers() -> int:
    """How many threads read chunks side by side."""
    return settings().threads or os.cpu_count() or 1


def recording_names(paths: tuple[str, ...]) -> list[str]:
    """A name for each file: its stem, with as many folders before it as tell it from the others."""
    parts = [p.replace("\\", "/").removesuffix(".mcap").split("/") for p in paths]
    depth = 1
    while True:
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names) or depth >= max(map(len, parts)):
            return names
        depth += 1
