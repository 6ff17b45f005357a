"""The device made ready for kernels, once in a process."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import Any

from robodf.errors import DeviceError

_INSTALL = "pip install 'robodf[gpu]'"


def room(needs: tuple[str, ...] = ()) -> int:
    """Bytes of the device that kernels may take. DeviceError where they cannot run there, with the reason."""
    from robodf.gpu.devices import device
    from robodf.gpu.memory import free_memory

    device()
    for name in ("numba_cuda", *needs):
        if find_spec(name) is None:
            raise DeviceError(f"robodf's kernels need {name.replace('_', '-')}, which is not installed: {_INSTALL}")
    _ready(os.getpid())
    return free_memory()


def arrays() -> Any:
    """CuPy, which takes its memory from the pool of this process."""
    import cupy  # type: ignore[import-not-found]
    from rmm.allocators.cupy import rmm_cupy_allocator  # type: ignore[import-not-found]

    cupy.cuda.set_allocator(rmm_cupy_allocator)
    return cupy


@cache
def _ready(process: int) -> None:
    """The pool is set up, and numba takes its memory from there."""
    from robodf.gpu.memory import ensure_pool

    ensure_pool()
    from numba import cuda
    from rmm.allocators.numba import RMMNumbaManager  # type: ignore[import-not-found]

    if not cuda.is_available():
        raise DeviceError("numba finds no device or no compiler for it: python -m numba.cuda.cudadrv.libs shows which")
    cuda.set_memory_manager(RMMNumbaManager)
