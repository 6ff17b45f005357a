"""Log files: opened with what they need, and their summaries, read once in a process."""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from robodf.config import settings
from robodf.io.counting import read
from robodf.io.files import FileReader, fingerprint, is_remote, open_file, own_path
from robodf.io.logs.containers import container, is_compressed
from robodf.io.logs.model import Summary

_MOST = 4096  # summaries that are kept
_cache: OrderedDict[tuple, Summary] = OrderedDict()
_lock = Lock()

State = tuple[int, int | str]


def state_of(path: str, storage: dict | None) -> State:
    """Size and time of change of a log, and of the journals that SQLite left beside a database."""
    size, mark = fingerprint(path, storage)
    if not is_remote(path):
        for journal in (path + "-wal", path + "-journal"):
            if os.path.exists(journal):
                mark = f"{mark} {fingerprint(journal)}"
    return size, mark


def summary_of(path: str, format: str, state: State, on_error: str, storage: tuple) -> Summary:
    """The summary of a file in this state (size and time of change)."""
    key = (path, format, state, on_error)
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    with counted(path, format, storage, on_error) as file:
        found = container(format).read_summary(file, on_error)
    with _lock:
        _cache[key] = found
        while len(_cache) > _MOST:
            _cache.popitem(last=False)
    return found


def summaries(
    paths: tuple[str, ...], formats: tuple[str, ...], states: tuple[State, ...], on_error: str, storage: tuple
) -> list[Summary]:
    """The summaries of several files, in their order."""
    if len(paths) == 1:
        return [summary_of(paths[0], formats[0], states[0], on_error, storage)]
    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(lambda p, f, s: summary_of(p, f, s, on_error, storage), paths, formats, states))


class counted:
    """An open file whose reads are added to `counting.read`.

    A compressed file, or a remote database, is read from a temporary copy: SQLite needs a local file. Of a compressed
    file that is cut off or damaged, `on_error` "skip" and "collect" copy what comes before.
    """

    def __init__(self, path: str, format: str, storage: tuple, on_error: str = "raise"):
        file = open_file(path, dict(storage))
        name = own_path(path)
        if is_compressed(name) or (format == "db3" and is_remote(path)):
            from robodf.io.logs.local_copy import local_copy

            with file:
                copy = local_copy(file, name, on_error)
            file = open_file(copy)
            file.path = path  # errors name what the user gave
        self._file = file
        self._file.counter = read

    def __enter__(self) -> FileReader:
        return self._file

    def __exit__(self, *exc: object) -> None:
        self._file.close()


def workers() -> int:
    """How many threads read chunks side by side."""
    return settings().threads or os.cpu_count() or 1


_threads: dict[int, ThreadPoolExecutor] = {}


def reading_threads() -> ThreadPoolExecutor:
    """The threads that read and decode chunks, for all queries of the process: more would only wait for each other."""
    count = workers()
    with _lock:
        if count not in _threads:
            _threads[count] = ThreadPoolExecutor(count, "robodf-read")
        return _threads[count]


def _forget_threads() -> None:
    global _lock
    _lock = Lock()
    _threads.clear()


if hasattr(os, "register_at_fork"):  # threads do not live on in a forked process
    os.register_at_fork(after_in_child=_forget_threads)
