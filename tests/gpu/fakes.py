"""Drivers and libraries of a GPU that is not there, for what can be tested without one: parsing, order, messages."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    def __init__(self, value: int):
        super().__init__(f"code {value}")
        self.value = value


class Nvml:
    """The part of pynvml that is asked, over GPUs as `gpu(...)` makes them."""

    NVMLError = NVMLError

    def __init__(self, gpus: list[dict], refuses: int | None = None):
        self.gpus, self.refuses, self.started = gpus, refuses, 0

    def nvmlInit(self) -> None:
        if self.refuses is not None:
            raise NVMLError(self.refuses)
        self.started += 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, k: int) -> dict:
        return self.gpus[k]

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> dict:
        for gpu in self.gpus:
            for instance in gpu.get("instances", []):
                if instance["uuid"].encode() == uuid:
                    return instance
        raise NVMLError(6)

    def nvmlDeviceGetUUID(self, handle: dict) -> str:
        return handle["uuid"]

    def nvmlDeviceGetName(self, handle: dict) -> str:
        return handle["name"]

    def nvmlDeviceIsMigDeviceHandle(self, handle: dict) -> ctypes.c_uint:
        return ctypes.c_uint("whole" in handle)  # as pynvml has it

    def nvmlDeviceGetMigMode(self, handle: dict) -> list[int]:
        if "instances" not in handle:
            raise NVMLError(3)
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict, k: int) -> dict:
        if k >= len(handle["instances"]):
            raise NVMLError(6)
        return handle["instances"][k]

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: dict) -> dict:
        return handle["whole"]

    def nvmlDeviceGetMemoryInfo(self, handle: dict) -> Any:
        if handle.get("unified"):
            raise NVMLError(3)
        return SimpleNamespace(total=handle["total"], free=handle["free"])

    def nvmlDeviceGetCudaComputeCapability(self, handle: dict) -> tuple[int, int]:
        return handle["capability"]


def gpu(name: str = "NVIDIA H100 80GB HBM3", uuid: str = "GPU-aa", total: int = 80 << 30, free: int = 70 << 30,
        **more: Any) -> dict:  # fmt: skip
    return {"name": name, "uuid": uuid, "capability": (9, 0), "total": total, "free": free, **more}


class Driver:
    """The part of libcuda that is asked. It writes through pointers, as that does."""

    def __init__(self, names: list[str], code: int = 0):
        self.names, self.code = names, code

    def cuInit(self, flags: int) -> int:
        return self.code

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, handle: Any, k: int) -> int:
        handle._obj.value = k
        return 0

    def cuDeviceGetName(self, buffer: Any, size: int, handle: Any) -> int:
        buffer.value = self.names[handle.value].encode()
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, handle: Any) -> int:
        memory._obj.value = 24 << 30
        return 0

    def cuDeviceGetAttribute(self, part: Any, attribute: int, handle: Any) -> int:
        part._obj.value = {75: 8, 76: 9}[attribute]
        return 0
