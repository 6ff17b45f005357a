"""Which GPUs a process sees, by drivers that stand in for NVIDIA's, and why there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fakes import Driver, Nvml, gpu

import robodf as rd
from robodf.errors import DeviceError
from robodf.gpu.devices import absent, device

TWO = [gpu("NVIDIA H100 80GB HBM3", "GPU-aa1"), gpu("NVIDIA L4", "GPU-bb2", 24 << 30, 20 << 30, capability=(8, 9))]


def test_what_nvml_says(driver) -> None:
    nvml = Nvml(TWO)
    driver(nvml)
    assert rd.gpu.devices() == [
        rd.gpu.Device(0, "NVIDIA H100 80GB HBM3", (9, 0), 80 << 30, 70 << 30),
        rd.gpu.Device(1, "NVIDIA L4", (8, 9), 24 << 30, 20 << 30),
    ]
    assert device().name == "NVIDIA H100 80GB HBM3"
    assert absent() is None
    assert nvml.started == 1  # starting it may take a second


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1", ["NVIDIA L4"]),
        ("1,0", ["NVIDIA L4", "NVIDIA H100 80GB HBM3"]),
        (" 0 , 1 ", ["NVIDIA H100 80GB HBM3", "NVIDIA L4"]),
        ("GPU-bb", ["NVIDIA L4"]),
        ("GPU-bb2,GPU-aa1", ["NVIDIA L4", "NVIDIA H100 80GB HBM3"]),
        ("0,7,1", ["NVIDIA H100 80GB HBM3"]),  # nothing after a wrong one, as CUDA has it
        ("GPU-", []),  # the start of several
        ("-1", []),
        ("NoDevFiles", []),
        ("MIG-x", []),
    ],
)
def test_cuda_visible_devices(driver, monkeypatch, visible: str, names: list[str]) -> None:
    driver(Nvml(TWO))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [d.name for d in rd.gpu.devices()] == names
    assert [d.index for d in rd.gpu.devices()] == list(range(len(names)))
    if not names:
        assert absent() == f"CUDA_VISIBLE_DEVICES={visible} names none of 2 GPUs"


def test_instances_of_a_gpu(driver, monkeypatch) -> None:
    whole = gpu("NVIDIA A100-SXM4-40GB", "GPU-cc", 40 << 30, 40 << 30, capability=(8, 0))
    small = [gpu(f"NVIDIA A100-SXM4-40GB MIG {k}g", f"MIG-{k}", k * 5 << 30, 5 << 30, whole=whole) for k in (1, 2)]
    driver(Nvml([{**whole, "instances": small}]))
    assert [(d.name, d.memory, d.compute_capability) for d in rd.gpu.devices()] == [
        ("NVIDIA A100-SXM4-40GB MIG 1g", 5 << 30, (8, 0))
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2")
    assert [d.memory for d in rd.gpu.devices()] == [10 << 30]
    driver(Nvml([{**whole, "instances": []}]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert rd.gpu.devices() == []
    assert absent() == "no MIG instance was made"


def test_what_the_driver_says_without_nvml(driver) -> None:
    driver(None, Driver(["Orin"]))
    assert rd.gpu.devices() == [rd.gpu.Device(0, "Orin", (8, 9), 24 << 30, None)]
    with pytest.raises(DeviceError, match="nvidia-ml-py"):
        rd.gpu.memory_info()
    driver(Nvml([gpu("NVIDIA GB10", unified=True)]), Driver(["NVIDIA GB10"]))  # shares the memory of the host
    assert [d.free for d in rd.gpu.devices()] == [None]


@pytest.mark.parametrize(
    ("nvml", "cuda", "visible", "words"),
    [
        (None, None, None, "no NVIDIA driver is installed here"),
        (Nvml([], 12), None, None, "no NVIDIA driver is installed here"),
        (Nvml([], 9), None, None, "not loaded"),
        (Nvml([], 18), None, None, "restart this machine"),
        (Nvml([], 999), None, None, "NVML: code 999"),
        (Nvml([]), None, None, "sees no GPU"),
        (None, Driver([], 100), None, "sees no GPU"),
        (None, Driver([], 100), "3", "CUDA_VISIBLE_DEVICES=3"),
        (None, Driver([], 999), None, "CUDA error 999"),
        (Nvml(TWO), None, "", "CUDA_VISIBLE_DEVICES is empty"),
        (Nvml(TWO), None, " ", "num_gpus"),
    ],
)
def test_why_there_is_none(driver, monkeypatch, nvml, cuda, visible, words: str) -> None:
    driver(nvml, cuda)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert rd.gpu.devices() == []
    assert words in (absent() or "")
    for ask in (device, rd.gpu.memory_info, rd.gpu.free_memory, rd.gpu.use_pool):
        with pytest.raises(DeviceError, match="there is no GPU: ") as raised:
            ask()
        assert words in str(raised.value)
        assert "test_devices.py" in str(raised.value)  # the user's line


def test_nothing_of_it_is_imported_before_it_is_named() -> None:
    heavy = ("pynvml", "rmm", "cudf", "cupy", "pylibcudf", "cudf_polars", "torch", "numba")
    code = f"""
import sys, robodf
print([m for m in sys.modules if m.startswith("robodf.gpu")])
robodf.gpu
print([m for m in {heavy!r} if m in sys.modules])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["[]", "[]"]
