"""What reading a file must not do, watched from within the process: an audit hook, the tree around the file, memory."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_NEVER = frozenset(
    "pickle.find_class socket.connect socket.getaddrinfo socket.bind socket.sendto subprocess.Popen os.system os.exec "
    "os.fork os.forkpty os.posix_spawn os.spawn pty.spawn urllib.Request ftplib.connect http.client.connect "
    "os.symlink os.link os.chmod os.chown os.setxattr os.putenv".split()
)
_CHANGES = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.rename": 2, "os.truncate": 1, "os.utime": 1}
"""Events that change the tree, with how many of their arguments are paths."""
_LISTS = frozenset(["os.listdir", "os.scandir"])
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Notes in `broken` what is done while it is on, beside reading below `target` and writing below `temporary`."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self._on = False
        self._readable: tuple[str, ...] = ()
        self._writable = ""
        own = {ROOT, sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), "/proc", "/sys", "/dev", "/usr"}
        found = {os.path.realpath(path) for path in (*own, *filter(os.path.isdir, sys.path))}
        self._ours = tuple(path + os.sep for path in found)
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self, target: Path, temporary: Path) -> Iterator[None]:
        self.broken = []
        self._readable = (str(target) + os.sep, str(temporary) + os.sep)
        self._writable = str(temporary) + os.sep
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event in _NEVER:
            self._break(f"{event}{args[:3]!r}")
        elif event == "open":
            path, mode, flags = args
            writes = any(sign in mode for sign in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITING)
            self._path(event, path, writes)
        elif event in _LISTS:
            self._path(event, args[0], False)
        elif event in _CHANGES:
            for path in args[: _CHANGES[event]]:
                self._path(event, path, True)

    def _path(self, event: str, path: Any, writes: bool) -> None:
        if isinstance(path, int) or path == os.devnull:
            return
        real = os.path.realpath(os.fsdecode(path if path is not None else "."))
        if writes and not real.startswith(self._writable):
            self._break(f"{event}: writes {real}")
        # A name without a file is looked for, by importlib too, and gives nothing away.
        elif not (real + os.sep).startswith((*self._readable, *self._ours)) and os.path.exists(real):
            self._break(f"{event}: reads {real}")

    def _break(self, said: str) -> None:
        self.broken.append(f"{said} in {threading.current_thread().name}")
        raise PermissionError(f"a reader of files must not do this: {said}")


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """The files and folders below a folder, with what changes where they are written to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        found[str(path.relative_to(folder))] = state.st_mode, 0 if path.is_dir() else state.st_size, state.st_mtime_ns
    return found


def forget_peak() -> int:
    """Bytes resident now, from which the next peak is counted."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that were resident since `forget_peak`."""
    return _status("VmHWM")


def data_size() -> int:
    """Bytes of data, resident or not, which RLIMIT_DATA limits."""
    return _status("VmData")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)
