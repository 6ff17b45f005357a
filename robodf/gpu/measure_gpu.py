"""A process of its own that measures the GPU: `python -m robodf.gpu.measure_gpu ROWS` prints the figures of Rates.

It is its own so that the first query of a process can be timed. Operators are run by cudf-polars, node by node, over
frames that lie on the device already (`gpu/resident.py`).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import DeviceError
from robodf.gpu.library import library
from robodf.gpu.memory import ensure_pool
from robodf.gpu.resident import crossing, resident
from robodf.gpu.stored import KINDS
from robodf.gpu.translation import translated
from robodf.gpu.workloads import workload

_COLUMNS = 200  # of the frame that shows what a column costs in an operator
_TRANSFER = 256 << 20  # bytes
_PER_ROW = 64  # bytes of the device that a workload takes for each of its rows, at most, intermediate ones included


def measure(rows: int, times: int = 5) -> dict[str, dict[str, float]]:
    """The `numbers` and the `work` of a GPU (see `gpu/stored.py`), each of the fastest of some runs."""
    start = _seconds(lambda: _query(pl.LazyFrame({"x": [1.0]})))  # imports and all: nothing ran before it
    one, many = (
        _best(lambda k=k: _query(pl.LazyFrame({f"c{i}": [1.0] for i in range(k)})), times) for k in (1, _COLUMNS)
    )
    numbers = {
        "start": start,
        "plan": one,
        "step": max(many - one, 1e-9) / (_COLUMNS - 1),  # of one operator
        **_frames(rows, times),
        "to_device_pinned": _TRANSFER / _best(_pinned_copy(), times),
    }
    work = {}
    with tempfile.TemporaryDirectory(prefix="robodf-calibrate-") as folder:
        for kind in KINDS:
            asked = workload(kind, rows, Path(folder))
            step = resident(translated(asked.query))
            work[kind] = asked.bytes / _best(step, times)
    return {"numbers": numbers, "work": work}


def fitting(rows: int, free: int) -> int:
    """As many of the rows as a device with so many bytes free holds."""
    return max(1, min(rows, free // _PER_ROW))


def _query(frame: pl.LazyFrame) -> None:
    """A query of one operator on all columns, there and back."""
    resource = ensure_pool()
    engine = pl.GPUEngine(executor="in-memory", memory_resource=resource, raise_on_fail=True)
    frame.select(pl.all() + 1.0).collect(engine=engine)


def _frames(rows: int, times: int) -> dict[str, float]:
    """How fast frames of Polars go to the device and come back, conversions included: what a query waits for."""
    values = np.random.default_rng(0).random(rows)
    frame = pl.DataFrame({"x": values, "y": values})
    give, take = crossing(frame)
    size = frame.estimated_size()
    return {"to_device": size / _best(give, times), "from_device": size / _best(take, times)}


def _pinned_copy() -> Callable[[], None]:
    """What copies `_TRANSFER` bytes of pinned memory to the device."""
    runtime = library("cuda.bindings.runtime")

    def checked(answer: tuple) -> Any:
        error, *rest = answer
        if error != runtime.cudaError_t.cudaSuccess:
            raise DeviceError(f"CUDA answers {error.name} while transfers are measured: is memory of the GPU free?")
        return rest[0] if rest else None

    # Neither is freed: the process ends soon.
    device, host = checked(runtime.cudaMalloc(_TRANSFER)), checked(runtime.cudaMallocHost(_TRANSFER))
    way = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    return lambda: checked(runtime.cudaMemcpy(device, host, _TRANSFER, way))


def _best(work: Callable[[], Any], times: int) -> float:
    work()
    return min(_seconds(work) for _ in range(times))


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    from robodf.gpu.devices import device

    free = device().free
    print(json.dumps(measure(fitting(int(sys.argv[1]), (8 << 30) if free is None else free))))
