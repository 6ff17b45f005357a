"""The GPU of this process: `rd.gpu.devices()`, `rd.gpu.memory_info()`, `rd.gpu.use_pool(...)`.

Without a GPU `devices()` is empty, and everything else is a DeviceError that says why there is none. Nothing of CUDA is
imported before something needs a GPU.
"""

from robodf.gpu.devices import Device, devices
from robodf.gpu.memory import MemoryInfo, free_memory, memory_info, use_pool

__all__ = ["Device", "MemoryInfo", "devices", "free_memory", "memory_info", "use_pool"]
