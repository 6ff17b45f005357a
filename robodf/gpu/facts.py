"""What is known of this machine where it is decided what goes to a GPU: a value, so that others can be tried."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robodf.gpu.devices import Device
    from robodf.gpu.rates import Rates


@dataclass(frozen=True)
class Facts:
    """The GPU that fragments may go to, what it and a core of the CPU do in a second, and how many cores there are.

    Without a device `why` says why there is none to use. `started`: a fragment ran on it in this process before.
    `share`: of the device, what this process may use.
    """

    device: Device | None
    rates: Rates | None
    cpus: int
    why: str | None = None
    started: bool = False
    share: float = 1.0

    def __str__(self) -> str:
        if self.device is None:
            return f"no GPU: {self.why}"
        rates = "" if self.rates is None else f", rates {self.rates.source}"
        return f"{self.device.name}, {self.device.memory >> 30} GiB, beside {self.cpus} cores{rates}"


def here(share: float = 1.0) -> Facts:
    """The facts of this process."""
    from robodf.gpu.devices import absent, devices
    from robodf.gpu.running import has_run
    from robodf.gpu.translation import available

    cpus = os.cpu_count() or 1
    why = absent() or available()
    if why is not None:
        return Facts(None, None, cpus, why)
    from robodf.gpu.rates import rates

    device = devices()[0]
    return Facts(device, rates(device.name), cpus, started=has_run(), share=share)
