"""Work on a device in pieces that fit: half of a piece where its memory ran out, and the processor where that fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from robodf.gpu.kernels import fell_back


def out_of_memory() -> tuple[type[BaseException], ...]:
    """What is raised where the device has no room: by RMM and CuPy a MemoryError; by numba see `is_out_of_memory`."""
    from numba.cuda.cudadrv.driver import CudaAPIError

    return MemoryError, CudaAPIError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of these types says that memory ran out: CUDA_ERROR_OUT_OF_MEMORY is 2."""
    return isinstance(error, MemoryError) or getattr(error, "code", None) == 2


def ranges(weight: np.ndarray, most: int) -> list[tuple[int, int]]:
    """(first, end) of rows that weigh `most` together, or little more than that where a row alone is heavy."""
    if not len(weight):
        return []
    number = (np.cumsum(weight) - weight) // max(most, 1)
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(weight)]
    return list(pairwise(edges))


def run(
    todo: list[tuple[int, int]],
    start: Callable[[int, int], Any],
    finish: Callable[[int, int, Any], None],
    on_cpu: Callable[[int, int], None],
    what: str,
) -> None:
    """Each range by `start`, which does not wait for the device, and then `finish`, while the next one is started.

    Where memory runs out in `start`, the range before is finished, which frees its memory, then the range is halved. A
    range of one row that has no room goes to `on_cpu`, with a KernelWarning.
    """
    waiting, started = deque(todo), None
    failures = out_of_memory()
    told = False
    while waiting or started is not None:
        new = None
        if waiting:
            first, end = waiting.popleft()
            try:
                new = (first, end, start(first, end))
            except failures as error:
                if not is_out_of_memory(error):
                    raise
                if started is not None:
                    waiting.appendleft((first, end))
                elif end - first > 1:
                    middle = (first + end) // 2
                    waiting.extendleft([(middle, end), (first, middle)])
                else:
                    on_cpu(first, end)
                    if not told:
                        fell_back(f"{what}: the memory of the device ran out", stacklevel=3)
                    told = True
        if started is not None:
            finish(*started)
        started = new
