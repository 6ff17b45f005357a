"""What a tree of processes uses: CPU seconds, memory, and Ray's object store, sampled from outside."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL = 0.25
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Use:
    """CPU seconds since the mark before, and the greatest bytes seen since then.

    `workers`: those of Ray's workers. `others`: how many cores the rest of the machine kept busy, on the average.
    """

    cpu: float
    workers: float
    others: float
    memory: int
    store: int


@dataclass
class _Sample:
    cpu: dict[tuple[int, str], float] = field(default_factory=dict)  # by process and when it started
    workers: set[tuple[int, str]] = field(default_factory=set)
    private: int = 0
    shared: int = 0
    store: dict[tuple[int, int], int] = field(default_factory=dict)  # by file


class Watch:
    """Samples the descendants of `root` (itself not) every quarter of a second until `end()`.

    Memory is proportional (PSS), so that a page that several processes map counts once; of shared memory the greater of
    what is mapped and what the object store's file holds, since a page that no process maps any more is still there.
    CPU seconds are the last seen of each process: of one that ends, what it used after the last sample is missed.
    """

    def __init__(self, root: int):
        self._root = root
        self._lock = threading.Lock()
        self._cpu: dict[tuple[int, str], float] = {}
        self._workers: set[tuple[int, str]] = set()
        self._marked = (0.0, 0.0, *_machine())
        self._memory = self._store = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def mark(self) -> Use:
        """What was used since the mark before."""
        self._sample()
        with self._lock:
            total, workers = sum(self._cpu.values()), sum(self._cpu[key] for key in self._workers)
            busy, now = _machine()
            used, elapsed = total - self._marked[0], now - self._marked[3]
            others = max(0.0, busy - self._marked[2] - used) / elapsed
            use = Use(used, workers - self._marked[1], others, self._memory, self._store)
            self._marked, self._memory, self._store = (total, workers, busy, now), 0, 0
        return use

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._sample()

    def _sample(self) -> None:
        sample = _Sample()
        for pid in descendants(self._root):
            try:
                _add(sample, pid)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended meanwhile
        store = sum(sample.store.values())
        with self._lock:
            self._cpu.update(sample.cpu)
            self._workers |= sample.workers
            self._memory = max(self._memory, sample.private + max(sample.shared, store))
            self._store = max(self._store, store)


def _machine() -> tuple[float, float]:
    """CPU seconds of all processes since the machine started (no idling, no waiting for disks), and the clock."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text(encoding="ascii").split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS, time.monotonic()


def descendants(root: int) -> list[int]:
    """The processes that `root` started, and they, and so on."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(f"/proc/{entry.name}/stat").read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, ahead = [], [root]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def _add(sample: _Sample, pid: int) -> None:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    name, _, rest = stat.rpartition(")")
    fields = rest.split()
    title = name.partition("(")[2]
    sample.cpu[pid, fields[19]] = (int(fields[11]) + int(fields[12])) / _TICKS
    if title.startswith("ray::"):  # what Ray calls its workers, busy or idle
        sample.workers.add((pid, fields[19]))
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        key, value = line.split()[:2]
        sizes[key] = int(value) * 1024
    sample.private += sizes["Pss_Anon:"] + sizes["Pss_File:"]
    sample.shared += sizes["Pss_Shmem:"]
    if title == "raylet":
        for entry in os.scandir(f"/proc/{pid}/fd"):
            if os.readlink(entry.path).startswith("/dev/shm/"):
                info = os.stat(entry.path)
                sample.store[info.st_dev, info.st_ino] = info.st_blocks * 512
