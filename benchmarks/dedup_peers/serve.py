"""One run of one tool in a process of its own.

    python -m benchmarks.dedup_peers.serve '{"module": "on_polars", "task": "exact", "path": ..., "cores": 1, ...}'

Started by benchmarks/dedup.py, by the interpreter that has the tool, with the thread pools limited by the environment.
The tool runs once on 1,000 rows of the same kind (libraries compile and load what they need), and then on all: from
the column in memory to the rows that stay. The last line of the output says what that took; the positions of the rows
that stay go to a file, which is not timed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


def main() -> None:
    spec = json.loads(sys.argv[1])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec["cores"]])
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # libraries print progress, and the answer is a line
        module = importlib.import_module(f"benchmarks.dedup_peers.{spec['module']}")
        answer = _run(module, spec)
    print(json.dumps(answer), file=answers, flush=True)


def _run(module: Any, spec: dict[str, Any]) -> dict[str, Any]:
    run, given = getattr(module, spec["task"]), getattr(module, "given", lambda frame, scratch: frame)
    options = {**spec["options"], "cores": spec["cores"]}
    run(given(pl.read_parquet(spec["warm_up"]), f"{spec['scratch']}/warm-up"), **options)
    frame = pl.read_parquet(spec["path"])
    data = given(frame, f"{spec['scratch']}/all")
    del frame
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what reading left in the allocator would hide what the tool takes
    before = _resident("VmRSS:")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the greatest resident size starts again
    wall, cpu = time.perf_counter(), _cpu()
    result = run(data, **options)
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    extra = _resident("VmHWM:") - before
    rows = len(result) if hasattr(result, "__len__") else result.num_rows
    answer = {"wall": wall, "cpu": cpu, "extra": extra, "rows": rows, "versions": _versions(module.PACKAGES)}
    if "id" in getattr(result, "columns", ()) or "id" in getattr(result, "column_names", ()):
        np.save(f"{spec['scratch']}/kept.npy", np.asarray(result["id"].to_numpy()))
    return answer


def _cpu() -> float:
    """Of all threads, and of processes that it started and waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ValueError(name)


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}


if __name__ == "__main__":
    main()
