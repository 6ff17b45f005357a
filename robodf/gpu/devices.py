"""Which GPUs this process may use, and why there is none.

NVIDIA's management library (NVML, by nvidia-ml-py) is asked, else the driver itself. Neither makes a CUDA context: no
memory of a device is taken by asking, and a process that was forked afterwards may use it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from robodf.errors import DeviceError

VISIBLE = "CUDA_VISIBLE_DEVICES"
NONE = "the NVIDIA driver sees no GPU (a container sees one if it is started with --gpus)"


@dataclass(frozen=True)
class Device:
    """A GPU: its number among those that this process sees, and sizes in bytes.

    `free` is what no process holds; None where only the driver could be asked, which does not say it.
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory: int
    free: int | None


def devices() -> list[Device]:
    """The NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves to this process, in CUDA's order; none is an empty list.

    A GPU in MIG mode stands for its first instance, which is the one that CUDA gives a process that names none. GPUs of
    different kinds are numbered as the slots that they are in, which is CUDA's order with CUDA_DEVICE_ORDER=PCI_BUS_ID.

    >>> import robodf as rd
    >>> [device.name for device in rd.gpu.devices()]  # doctest: +SKIP
    ['NVIDIA H100 80GB HBM3']
    """
    return _asked()[0]


def absent() -> str | None:
    """Why this process has no GPU; None where it has one."""
    found, why = _asked()
    return None if found else why


def device() -> Device:
    """The GPU that this process uses: the first that it sees. DeviceError where there is none, with the reason."""
    found, why = _asked()
    if not found:
        raise DeviceError(f"there is no GPU: {why}")
    return found[0]


def _asked() -> tuple[list[Device], str]:
    """The devices, and why there are none."""
    visible = os.environ.get(VISIBLE)
    if visible is not None and not visible.strip():
        return [], (
            f"{VISIBLE} is empty, which hides every GPU from this process (Ray sets it so for work that asks for none: "
            "give num_gpus=)"
        )
    found, why = _by_nvml(visible)
    if found is None:
        found, why_not = _by_driver(visible)
        why = why if found is None and why else why_not
    return [Device(k, *facts) for k, facts in enumerate(found or [])], why


Facts = tuple[str, tuple[int, int], int, int | None]  # of a Device, without its number


def _by_nvml(visible: str | None) -> tuple[list[Facts] | None, str]:
    """What NVML says; None where it cannot be asked, with the reason."""
    try:
        import pynvml as nvml  # type: ignore[import-not-found]
    except ImportError:
        return None, ""
    try:
        _start(nvml)
        count = nvml.nvmlDeviceGetCount()
        handles = [nvml.nvmlDeviceGetHandleByIndex(k) for k in range(count)]
        chosen = handles if visible is None else _chosen(nvml, handles, visible)
        found = [_facts(nvml, h) for handle in chosen for h in _instance(nvml, handle)]
        if not count:
            return found, NONE
        return found, f"{VISIBLE}={visible} names none of {count} GPUs" if not chosen else "no MIG instance was made"
    except nvml.NVMLError as error:
        return None, _WHY.get(error.value, f"NVML: {error}")


# By the codes of nvmlReturn_t.
_WHY = {
    4: "this process may not use the NVIDIA driver: a matter of permissions on /dev/nvidia*",
    9: "the NVIDIA driver is not loaded (a container has it if it is started with --gpus)",
    12: "no NVIDIA driver is installed here",
    18: "the NVIDIA driver was updated while its old version is in use: restart this machine",
}
_NOT_FOUND = (2, 6)  # what NVML says of a number or a name that is no device's
_NOT_SUPPORTED = 3

_started_in: int | None = None


def _start(nvml: Any) -> None:
    """Start NVML once in this process, as that takes up to a second; a forked one starts it again."""
    global _started_in
    if _started_in != os.getpid():
        nvml.nvmlInit()
        _started_in = os.getpid()


def _chosen(nvml: Any, handles: Sequence[Any], visible: str) -> list[Any]:
    """Those that CUDA_VISIBLE_DEVICES names, in its order, up to the first name that is no device's, as CUDA does."""
    chosen = []
    for name in (part.strip() for part in visible.split(",")):
        if name.isdigit():
            found = [handles[int(name)]] if int(name) < len(handles) else []
        elif name.startswith("MIG-"):
            found = _of_instance(nvml, name)
        else:  # the start of a UUID is enough
            found = [
                h for h in handles if name.startswith("GPU-") and _text(nvml.nvmlDeviceGetUUID(h)).startswith(name)
            ]
        if len(found) != 1:
            break
        chosen += found
    return chosen


def _of_instance(nvml: Any, name: str) -> list[Any]:
    try:
        return [nvml.nvmlDeviceGetHandleByUUID(name.encode())]
    except nvml.NVMLError as error:
        if error.value not in _NOT_FOUND:
            raise
        return []


def _instance(nvml: Any, handle: Any) -> Iterator[Any]:
    """A GPU as it is; of one that is parted into instances (MIG) the first."""
    try:
        parted = not nvml.nvmlDeviceIsMigDeviceHandle(handle) and nvml.nvmlDeviceGetMigMode(handle)[0] == 1
    except nvml.NVMLError as error:
        if error.value != _NOT_SUPPORTED:
            raise
        parted = False
    if not parted:
        yield handle
        return
    for k in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, k)
            return
        except nvml.NVMLError as error:
            if error.value not in _NOT_FOUND:
                raise


def _facts(nvml: Any, handle: Any) -> Facts:
    whole = handle
    try:
        if nvml.nvmlDeviceIsMigDeviceHandle(handle):
            whole = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    except nvml.NVMLError as error:
        if error.value != _NOT_SUPPORTED:
            raise
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(whole))
    return _text(nvml.nvmlDeviceGetName(handle)), capability, int(memory.total), int(memory.free)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


def _by_driver(visible: str | None) -> tuple[list[Facts] | None, str]:
    """What the CUDA driver says, which reads CUDA_VISIBLE_DEVICES itself; None where there is no driver."""
    try:
        cuda = _driver()
    except OSError:
        return None, "no NVIDIA driver is installed here"
    code = cuda.cuInit(0)
    if code:
        if code != _NO_DEVICE:
            return [], f"the NVIDIA driver does not start (CUDA error {code})"
        return [], NONE if visible is None else f"{NONE}, or none that {VISIBLE}={visible} names"
    count = ctypes.c_int()
    _ask(cuda.cuDeviceGetCount(ctypes.byref(count)))
    return [_facts_by_driver(cuda, k) for k in range(count.value)], NONE


def _driver() -> Any:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def _facts_by_driver(cuda: Any, number: int) -> Facts:
    handle, name, memory, part = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t(), ctypes.c_int()
    _ask(cuda.cuDeviceGet(ctypes.byref(handle), number))
    _ask(cuda.cuDeviceGetName(name, len(name), handle))
    _ask(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle))
    capability = []
    for attribute in _CAPABILITY:
        _ask(cuda.cuDeviceGetAttribute(ctypes.byref(part), attribute, handle))
        capability.append(part.value)
    return name.value.decode(), (capability[0], capability[1]), memory.value, None


def _ask(code: int) -> None:
    if code:
        raise DeviceError(f"the NVIDIA driver answers with CUDA error {code}: restart this process, then the machine")
