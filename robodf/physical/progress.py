"""One progress bar, on work of more than two seconds."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from robodf.config import settings
from robodf.io.counting import read

_AFTER_SECONDS = 2.0


@contextmanager
def progress(doing: str) -> Iterator[None]:
    """Show a bar if the block takes more than two seconds; nothing is started for a shorter one but a thread."""
    if not settings().progress:
        yield
        return
    done, shown = threading.Event(), threading.Lock()
    # Not threading.Thread: its start() waits for the thread to run, on a busy machine longer than a small query takes.
    _thread.start_new_thread(_watch, (doing, done, shown, read.rows))
    try:
        yield
    finally:
        done.set()
        with shown:  # a bar on the screen is closed first
            pass


def _watch(doing: str, done: threading.Event, shown: threading.Lock, start_rows: int) -> None:
    if not done.wait(_AFTER_SECONDS):
        with shown:
            _show(doing, done, start_rows)


def _show(doing: str, done: threading.Event, start_rows: int) -> None:
    if done.is_set():
        return
    from tqdm.auto import tqdm

    started = time.monotonic() - _AFTER_SECONDS
    with tqdm(desc=doing, unit=" rows", initial=0, mininterval=0, leave=False) as bar:
        bar.start_t -= _AFTER_SECONDS
        while not done.wait(_every()):
            bar.set_postfix_str(f"{time.monotonic() - started:.0f} s", refresh=False)
            bar.update(read.rows - start_rows - bar.n)
            bar.refresh()


def _every() -> float:
    """Seconds between two updates. Without a terminal a bar would fill a log file: one line in 30 seconds is enough."""
    return 0.25 if sys.stderr.isatty() or "ipykernel" in sys.modules else 30.0
