"""The pool of a process, over an RMM that stands in for the real one, and what is asked of it."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fakes import Nvml, gpu

import robodf as rd
from robodf.errors import DeviceError, OptionError
from robodf.gpu.memory import ensure_pool, pool_in_use

memory = importlib.import_module("robodf.gpu.memory")


class Resource:
    def __init__(self, kind: str, *below: Any, **options: Any):
        self.kind, self.below, self.options = kind, below, options
        self.allocation_counts = SimpleNamespace(current_bytes=3 << 30, peak_bytes=5 << 30)

    def names(self) -> list[str]:
        return [self.kind, *(n for b in self.below if isinstance(b, Resource) for n in b.names())]


class Mr:
    """rmm.mr: it makes resources of whatever name, and keeps which one was set."""

    current: Resource | None = None

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("_"):
            raise AttributeError(kind)
        return lambda *below, **options: Resource(kind, *below, **options)

    def available_device_memory(self) -> tuple[int, int]:
        return 70 << 30, 80 << 30

    def set_current_device_resource(self, resource: Resource) -> None:
        self.current = resource


@pytest.fixture
def mr(driver, monkeypatch) -> Mr:
    """An H100 with the libraries of the extra, and a process without a pool."""
    driver(Nvml([gpu()]))
    made = Mr()
    success = SimpleNamespace(name="cudaSuccess")
    runtime = ModuleType("cuda.bindings.runtime")
    runtime.managed = 1  # type: ignore[attr-defined]
    runtime.cudaDeviceAttr = SimpleNamespace(cudaDevAttrConcurrentManagedAccess=89)  # type: ignore[attr-defined]
    runtime.cudaError_t = SimpleNamespace(cudaSuccess=success)  # type: ignore[attr-defined]
    runtime.cudaDeviceGetAttribute = lambda a, d: (success, runtime.managed)  # type: ignore[attr-defined]
    for name, module in {
        "rmm": SimpleNamespace(mr=made),
        "cuda": ModuleType("cuda"),
        "cuda.bindings": ModuleType("cuda.bindings"),
        "cuda.bindings.runtime": runtime,
        "pylibcudf": SimpleNamespace(prefetch=SimpleNamespace(enable=lambda: None)),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(memory, "_pool", None)
    return made


def test_a_pool_that_spills(mr) -> None:
    assert rd.gpu.free_memory() == 70 << 30
    assert not pool_in_use()
    size = rd.gpu.use_pool()
    assert size == int((70 << 30) * 0.8) // 256 * 256
    assert mr.current.names() == [
        "StatisticsResourceAdaptor", "PrefetchResourceAdaptor", "PoolMemoryResource", "ManagedMemoryResource",
    ]  # fmt: skip
    assert mr.current.below[0].below[0].options == {"initial_pool_size": size}
    assert rd.gpu.memory_info() == rd.gpu.MemoryInfo(
        "NVIDIA H100 80GB HBM3", 80 << 30, 70 << 30, size, 3 << 30, 5 << 30, True
    )
    assert rd.gpu.free_memory() == size - (3 << 30)
    assert pool_in_use()


@pytest.mark.parametrize(("asked", "size"), [(8 << 30, 8 << 30), (0.5, 35 << 30), (1000, 768), (1.0, 70 << 30)])
def test_a_bounded_pool(mr, asked: float, size: int) -> None:
    assert rd.gpu.use_pool(asked, spill=False) == size
    assert mr.current.names() == ["StatisticsResourceAdaptor", "LimitingResourceAdaptor", "CudaAsyncMemoryResource"]
    assert mr.current.below[0].below[1] == size


def test_once_per_process(mr, monkeypatch) -> None:
    assert rd.gpu.use_pool(0.5) == rd.gpu.use_pool(0.5)
    first = mr.current
    assert ensure_pool() is first  # whatever it was made by
    assert ensure_pool(share=0.25) is first
    for other in (lambda: rd.gpu.use_pool(0.4), lambda: rd.gpu.use_pool(0.5, spill=False), rd.gpu.use_pool):
        with pytest.raises(DeviceError, match="in a new process"):
            other()
    monkeypatch.setattr("os.getpid", lambda: -1)  # a fork
    assert not pool_in_use()
    rd.gpu.use_pool(0.4)
    assert mr.current is not first


def test_a_share_is_of_the_whole_device(mr) -> None:
    ensure_pool(share=0.25)
    assert mr.current.below[0].below[0].options["initial_pool_size"] == (16 << 30)  # of 80 GiB, not of what is free
    with pytest.raises(OptionError, match="share"):
        ensure_pool(share=0)


def test_where_pages_cannot_move(mr) -> None:
    sys.modules["cuda.bindings.runtime"].managed = 0  # type: ignore[attr-defined]
    with pytest.raises(DeviceError, match=r"use_pool\(spill=False\)"):
        rd.gpu.use_pool()
    assert not pool_in_use()
    ensure_pool()  # which promises no spilling
    assert mr.current.names()[1] == "LimitingResourceAdaptor"


@pytest.mark.parametrize("size", [0, -1, 0.0, 1.5, True, "8GB", float("nan"), float("inf")])
def test_sizes_that_are_none(mr, size) -> None:
    with pytest.raises(OptionError, match="use_pool: size"):
        rd.gpu.use_pool(size)
    with pytest.raises(OptionError, match="spill"):
        rd.gpu.use_pool(spill=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "spill"), [(75 << 30, False), (90 << 30, True), (100, True)])
def test_sizes_that_the_device_does_not_have(mr, size: int, spill: bool) -> None:
    with pytest.raises(DeviceError, match="free"):
        rd.gpu.use_pool(size, spill=spill)


def test_a_device_that_is_too_old(mr, driver) -> None:
    driver(Nvml([gpu("NVIDIA GeForce GTX 1080", capability=(6, 1))]))
    with pytest.raises(DeviceError, match=r"6\.1; cuDF needs 7\.0"):
        rd.gpu.use_pool()


def test_a_library_that_is_missing(mr, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rmm", None)
    with pytest.raises(DeviceError, match=r"pip install 'robodf\[gpu\]'"):
        rd.gpu.use_pool()


@pytest.mark.gpu
def test_a_pool_on_a_gpu() -> None:
    if not rd.gpu.devices():
        pytest.skip("this machine has no GPU")
    size = rd.gpu.use_pool(0.1)
    info = rd.gpu.memory_info()
    assert info.pool == size
    assert info.total >= size > 0
    import rmm

    held = rmm.DeviceBuffer(size=1 << 20)
    assert rd.gpu.memory_info().used >= held.size
    assert rd.gpu.free_memory() <= size - held.size
