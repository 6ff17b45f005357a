"""Several readers in threads, what they give in the order of the readers."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
Job = Callable[[], Iterator[T]]

_ITEMS = 2  # that a reader may be ahead of who takes them


def in_order(jobs: Iterable[Job[T]], threads: int) -> Iterator[T]:
    """All items of the first job, then all of the second and so on, while the next `threads - 1` jobs run already.

    Each is at most two items ahead, so memory is bounded. A job is taken from `jobs` when it starts, and its iterator
    is closed in its thread when this one is closed, or when the job fails: its error is raised where its items are
    taken.

    >>> list(in_order([lambda: iter("ab"), lambda: iter("cd")], 2))
    ['a', 'b', 'c', 'd']
    """
    if threads <= 1:
        for job in jobs:
            yield from job()
        return
    running: deque[_Running] = deque()
    try:
        for job in jobs:
            if len(running) == threads:
                yield from running[0].items()
                running.popleft()
            running.append(_Running(job))
        while running:
            yield from running[0].items()
            running.popleft()
    finally:
        for job in running:
            job.stop()


class _Running:
    def __init__(self, job: Job):
        self._made: queue.Queue[tuple[bool, Any]] = queue.Queue(_ITEMS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(job,), name="robodf-read", daemon=True)
        self._thread.start()

    def _run(self, job: Job) -> None:
        items: Any = None
        try:
            items = job()
            for item in items:
                if not self._put((True, item)):
                    return
            self._put((False, None))
        except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
            self._put((False, error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def _put(self, made: tuple[bool, Any]) -> bool:
        while not self._stop.is_set():
            try:
                self._made.put(made, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def items(self) -> Iterator[Any]:
        while True:
            more, item = self._made.get()
            if more:
                yield item
                continue
            self._thread.join()
            if item is not None:
                raise item
            return

    def stop(self) -> None:
        self._stop.set()
        while self._thread.is_alive():
            try:  # who waits for room sees that it is stopped
                self._made.get_nowait()
            except queue.Empty:
                self._thread.join(0.01)
