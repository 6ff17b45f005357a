"""A process of its own that measures one core: `python -m robodf.gpu.measure_cpu ROWS` prints bytes per second.

Polars takes its number of threads when it is imported, so a process that runs queries cannot measure itself.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from robodf.compat import run
from robodf.gpu.stored import KINDS
from robodf.gpu.workloads import workload

ENVIRONMENT = {"POLARS_MAX_THREADS": "1"}


def measure(rows: int, times: int = 5) -> dict[str, float]:
    """Bytes per second of a core's time by kind, of the fastest of some runs, so that other work counts little."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="robodf-calibrate-") as folder:
        for kind in KINDS:
            work = workload(kind, rows, Path(folder))
            found[kind] = work.bytes / min(_seconds(work.query) for _ in range(times))
    return found


def _seconds(query: pl.LazyFrame) -> float:
    started = time.process_time()  # of all threads, and not while other processes run
    run(query)
    return time.process_time() - started


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
