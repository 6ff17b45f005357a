"""The memory of the GPU: one pool for all queries of this process, and what is left of it.

cuDF, CuPy (where robodf imports it) and robodf's own kernels take memory from the pool. PyTorch has one of its own.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

from robodf.errors import DeviceError, OptionError
from robodf.gpu.devices import device
from robodf.gpu.library import INSTALL, library

SHARE = 0.8
"""The part of what is free that a pool takes unless told: what is left is for contexts, code and other libraries."""

OLDEST = (7, 0)
"""The least compute capability that cuDF runs on (Volta), by RAPIDS' install guide."""

_ALIGNED = 256  # bytes: RMM's pools have sizes of multiples of it


@dataclass(frozen=True)
class MemoryInfo:
    """Bytes of the GPU: `total`, and `free` of it, which no process holds; of this process' pool its size, what is in
    use of it and the most that was at once (0 where no pool was set up yet). `spills`: the pool goes on in the memory
    of the host where it is full."""

    device: str
    total: int
    free: int
    pool: int
    used: int
    peak: int
    spills: bool


@dataclass(frozen=True)
class Pool:
    """The pool of a process: `resource` is the RMM memory resource that all allocations go through."""

    process: int
    asked: tuple[Any, bool]  # what it was made by
    size: int
    spill: bool
    resource: Any


_pool: Pool | None = None
_lock = threading.Lock()


def use_pool(size: float | None = None, *, spill: bool = True) -> int:
    """Set up the pool that GPU queries of this process take memory from, and give its size in bytes.

    `size` is a number of bytes, or a fraction (a float up to 1.0) of what is free now; None is 0.8 of it. With `spill`
    the pool is of managed memory: what does not fit goes on in the memory of the host, page by page, slower and without
    an error. Without it a query that needs more fails on the GPU, and goes another way (in pieces, then on the CPU).

    Once per process, before its first GPU query: memory that is in use cannot move to another pool. The same call again
    changes nothing. DeviceError where there is no GPU, the libraries are missing, not as much is free, or another pool
    is in use.

    >>> import robodf as rd
    >>> rd.gpu.use_pool(8 << 30)  # doctest: +SKIP
    8589934592
    """
    _check(size, spill)
    return _made(size, spill, again=False).size


def ensure_pool(share: float = 1.0) -> Any:
    """The RMM resource of this process' pool, which is set up as by `use_pool()` where there is none yet.

    It spills where the system can do that. `share` is the part of the GPU that is this process' own: workers that share
    one get that part of 0.8 of its memory each, in whatever order they start.
    """
    if not 0 < share <= 1:
        raise OptionError(f"share={share!r}: a part of a GPU, more than 0 and at most 1")
    pool = _current()
    if pool is None:
        device()  # the reason, where there is none
        pool = _made(None if share == 1 else _part(share), _can_spill(), again=True)
    return pool.resource


def memory_info() -> MemoryInfo:
    """What there is of the memory of this process' GPU, in bytes. DeviceError where there is no GPU, with the reason.

    >>> import robodf as rd
    >>> rd.gpu.memory_info().free  # doctest: +SKIP
    84440514560
    """
    found = device()
    if found.free is None:
        raise DeviceError(f"how much of {found.name} is free is asked of NVML: pip install nvidia-ml-py")
    pool = _current()
    if pool is None:
        return MemoryInfo(found.name, found.memory, found.free, 0, 0, 0, False)
    counts = pool.resource.allocation_counts
    return MemoryInfo(
        found.name, found.memory, found.free, pool.size, counts.current_bytes, counts.peak_bytes, pool.spill
    )


def free_memory() -> int:
    """Bytes of the GPU that this process may still take: of its pool where it has one, else of the device.

    DeviceError where there is no GPU, with the reason.

    >>> import robodf as rd
    >>> rd.gpu.free_memory()  # doctest: +SKIP
    67552411648
    """
    info = memory_info()
    return max(0, info.pool - info.used) if info.pool else info.free


def pool_in_use() -> bool:
    """Whether this process has a pool."""
    return _current() is not None


def _check(size: float | None, spill: bool) -> None:
    number = isinstance(size, (int, float)) and not isinstance(size, bool)
    if size is not None and (not number or not size > 0 or (isinstance(size, float) and size > 1)):
        raise OptionError(f"use_pool: size is a whole number of bytes, or a fraction up to 1.0, not {size!r}")
    if not isinstance(spill, bool):
        raise OptionError(f"use_pool: spill is True or False, not {spill!r}")


def _current() -> Pool | None:
    """The pool of this process: a forked one has not inherited its parent's, as CUDA does not survive a fork."""
    return _pool if _pool is not None and _pool.process == os.getpid() else None


def _made(size: float | None, spill: bool, again: bool) -> Pool:
    """The pool, made now if there is none; `again`: one that was asked for otherwise will do."""
    global _pool
    with _lock:
        pool = _current()
        if pool is None:
            _pool = pool = _make(size, spill)
        elif not again and pool.asked != (size, spill):
            raise DeviceError(
                f"this process has a pool of {pool.size:,} bytes already ({'' if pool.spill else 'not '}spilling); "
                "memory in use cannot move to another: call use_pool before the first GPU query, or in a new process"
            )
        return pool


def _make(size: float | None, spill: bool) -> Pool:
    found = device()
    if found.compute_capability < OLDEST:
        have, least = (".".join(map(str, c)) for c in (found.compute_capability, OLDEST))
        raise DeviceError(f"{found.name} has compute capability {have}; cuDF needs {least} or newer")
    rmm = library("rmm")
    free, total = rmm.mr.available_device_memory()
    wanted = free * SHARE if size is None else size * free if isinstance(size, float) else size
    # 1.0 of what is free would leave nothing for code that CUDA loads later; that is the user's to say.
    bytes_ = int(wanted) // _ALIGNED * _ALIGNED
    if not _ALIGNED <= bytes_ <= (total if spill else free):
        raise DeviceError(
            f"a pool of {int(wanted):,} bytes on {found.name}, which has {total:,} and {free:,} of them free"
        )
    base = _spilling(rmm, bytes_) if spill else _bounded(rmm, bytes_)
    resource = rmm.mr.StatisticsResourceAdaptor(base)
    rmm.mr.set_current_device_resource(resource)
    return Pool(os.getpid(), (size, spill), bytes_, spill, resource)


def _part(share: float) -> int:
    """Bytes: a share of the whole device rather than of what is free, which others are taking at the same time."""
    return int(device().memory * SHARE * share)


def _can_spill() -> bool:
    """Whether pages may move between GPU and host while both run."""
    runtime = library("cuda.bindings.runtime")
    attribute = runtime.cudaDeviceAttr.cudaDevAttrConcurrentManagedAccess
    error, managed = runtime.cudaDeviceGetAttribute(attribute, 0)
    if error != runtime.cudaError_t.cudaSuccess:
        raise DeviceError(f"the CUDA runtime does not start ({error.name}): is the driver as new as {INSTALL} needs?")
    return bool(managed)


def _spilling(rmm: Any, size: int) -> Any:
    """Managed memory in a pool, fetched before it is used: what cudf-polars takes by itself."""
    if not _can_spill():
        raise DeviceError(
            "this system cannot move pages between GPU and host while both run (WSL cannot): "
            "rd.gpu.use_pool(spill=False)"
        )
    library("pylibcudf").prefetch.enable()
    pool = rmm.mr.PoolMemoryResource(rmm.mr.ManagedMemoryResource(), initial_pool_size=size)
    return rmm.mr.PrefetchResourceAdaptor(pool)


def _bounded(rmm: Any, size: int) -> Any:
    """The driver's own pool, which does not fragment, held to a size; MemoryError where that is full."""
    return rmm.mr.LimitingResourceAdaptor(rmm.mr.CudaAsyncMemoryResource(release_threshold=size), size)
