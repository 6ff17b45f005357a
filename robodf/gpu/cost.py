"""Seconds that a fragment takes on the CPU and on a GPU, by rates that were measured or are assumed (`gpu/rates.py`).

With b the bytes that an operator reads or gives, whichever is more::

    T_cpu = sum over operators of b / (cores * rate of one core)
    T_gpu = start + plan + step * columns * operators
            + bytes handed over / to_device + sum over operators of b / rate of the device + bytes out / from_device

Reading files from a disk or a network takes both the same time, and is left out of both. A scan that the GPU does
itself hands over what the files hold, still encoded; anything else what its rows take in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robodf.gpu.rates import Rates

MARGIN = 0.3
"""A GPU must be expected to take less than this share off the time of the CPU, or the fragment stays: estimates err."""

HELD = 3.0
"""Bytes of device memory for a byte that an operator reads or gives: copies while it works. Assumed, not measured."""

SHARE = 0.8
"""Of a device's memory, what a fragment may plan with: the driver and other users need some. As cudf-polars' pool."""


@dataclass(frozen=True)
class Step:
    """One operator: the kind of its work (`plan.work.KINDS`), the bytes that it reads or gives, its columns."""

    work: str
    bytes: float
    columns: int


@dataclass(frozen=True)
class Load:
    """What a fragment does: its operators, the bytes handed over from the host, and those that come back."""

    steps: tuple[Step, ...]
    handed: float
    out: float

    @property
    def peak(self) -> float:
        """Bytes of device memory that it may need at once."""
        return HELD * max((step.bytes for step in self.steps), default=0.0)


@dataclass(frozen=True)
class Cost:
    """Estimated seconds on the CPU and on the GPU, and bytes of device memory."""

    cpu: float
    gpu: float
    peak: float

    @property
    def pays(self) -> bool:
        """Whether the GPU wins by the margin."""
        return self.gpu < self.cpu * (1 - MARGIN)

    def __str__(self) -> str:
        return f"estimated {_seconds(self.cpu)} on the CPU, {_seconds(self.gpu)} on the GPU"


def cost(load: Load, rates: Rates, cpus: int, started: bool) -> Cost:
    """What a load takes on `cpus` cores and on the device of the rates; `started`: its first query is behind it."""
    cores = max(1, cpus)
    on_cpu = sum(step.bytes / (cores * rates.cpu[step.work]) for step in load.steps)
    on_gpu = rates.plan + (0.0 if started else rates.start)
    on_gpu += rates.step * sum(step.columns for step in load.steps)
    on_gpu += load.handed / rates.to_device + load.out / rates.from_device
    on_gpu += sum(step.bytes / rates.work[step.work] for step in load.steps)
    return Cost(on_cpu, on_gpu, load.peak)


def fits(load: Load, memory: float) -> bool:
    """Whether a load may be expected to fit into so many bytes of device memory."""
    return load.peak <= SHARE * memory


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e3)):
        if value * size >= 1:
            return f"{value * size:,.0f} {unit}" if value * size >= 10 else f"{value * size:.1f} {unit}"
    return "less than 1 ms"
