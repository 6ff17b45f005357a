"""How fast a GPU and a core of this machine do the kinds of work that queries are made of.

What was measured here (`robodf calibrate`, kept by `gpu/stored.py`) comes before what is shipped. What is shipped is
from data sheets, published measurements and assumptions; `Rates.sources` says of each figure which.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from robodf.errors import DeviceError
from robodf.gpu.devices import device
from robodf.gpu.stored import KINDS, TIMES, TRANSFERS, Stored, stored


@dataclass(frozen=True)
class Rates:
    """What the cost model multiplies by. Times in seconds, rates in bytes per second.

    `start` is until the first GPU query of a process runs, `plan` what each fragment costs whatever its size, `step`
    what each column costs in each operator. `to_device` is from pageable memory of the host, `to_device_pinned` from
    pinned. `work` is of the whole GPU, `cpu` of one core, both by KINDS. `sources` has where each figure is from, `cpu`
    and `work` by "cpu.sort", "work.sort".
    """

    device: str
    date: str | None  # when the GPU was measured; None: it was not
    source: str
    start: float
    plan: float
    step: float
    to_device: float
    to_device_pinned: float
    from_device: float
    work: Mapping[str, float]
    cpu: Mapping[str, float]
    sources: Mapping[str, str] = field(default_factory=dict)


def rates(name: str | None = None) -> Rates:
    """Those of a GPU by its name (None: of this process' own) and of a core of this machine.

    DeviceError where nothing is known of such a GPU, or there is none; FileFormatError where the file that
    `robodf calibrate` wrote is damaged.
    """
    name = device().name if name is None else name
    known = stored()
    cpu, of_cpu = cpu_rates(known)
    measured = known.devices.get(name)
    if measured is None:
        found = shipped(name)
        return Rates(**{**vars(found), "cpu": cpu, "sources": {**found.sources, **of_cpu}})
    said = f"measured on {measured.date}"
    figures = [*TIMES, *TRANSFERS, *(f"work.{kind}" for kind in KINDS)]
    return Rates(
        name, measured.date, said, **measured.numbers, work=measured.work, cpu=cpu,
        sources={**dict.fromkeys(figures, said), **of_cpu},
    )  # fmt: skip


def cpu_rates(known: Stored | None = None) -> tuple[dict[str, float], dict[str, str]]:
    """Bytes per second of one core of this machine by kind, and where each figure is from."""
    measured = (stored() if known is None else known).cpus.get(cpu_name())
    if measured is None:
        return dict(CPU), dict.fromkeys((f"cpu.{kind}" for kind in KINDS), CPU_SOURCE)
    return dict(measured.work), dict.fromkeys((f"cpu.{kind}" for kind in KINDS), f"measured on {measured.date}")


@cache
def cpu_name() -> str:
    """What this machine calls its processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine() or "unknown"


CPU = {"decode": 0.93e9, "row": 3.2e9, "text": 0.45e9, "group": 3.0e9, "group_many": 0.40e9, "sort": 0.37e9,
       "join": 0.20e9}  # fmt: skip
CPU_SOURCE = "shipped: Polars 1.44 and 2.1 on a busy Xeon of 2 GHz, November 2026"

# Bytes per second of the memory of the GPU and of its link to the host, one way, by NVIDIA's data sheets. Where a name
# has all words of several, the first is meant: the PCIe cards of a kind have slower memory than the SXM modules.
_GEN5, _GEN4 = 64e9, 32e9
_SHEETS: tuple[tuple[tuple[str, ...], float, float], ...] = (
    (("H200",), 4.8e12, _GEN5),
    (("H100", "PCIE"), 2.0e12, _GEN5),
    (("H100", "NVL"), 3.9e12, _GEN5),
    (("H100",), 3.35e12, _GEN5),
    (("A100", "40GB"), 1.555e12, _GEN4),
    (("A100",), 1.935e12, _GEN4),
    (("L4",), 0.3e12, _GEN4),
)

# How often a byte that goes in crosses the memory of the GPU. Assumed, on the slow side: so an H100 decodes 42 GB/s
# (cudf#18350 reports less than 50 for many types) and joins as fast as 210 cores do by CPU.
_CROSSINGS = {"decode": 80, "row": 6, "text": 80, "group": 12, "group_many": 60, "sort": 80, "join": 80}
_PINNED, _PAGEABLE = 0.8, 0.2  # of the link, assumed

_START = 2.0, "assumed: the first query of a process took 0.9 s more than the second in polars#20696"
_PLAN = 5e-3, "assumed: translation of small fragments takes 0.2 to 0.4 ms, the rest is not measured"
_STEP = 0.3e-3, "published: cudf#16065, of cuDF's own API; assumed to hold for cudf-polars"


def shipped(name: str) -> Rates:
    """The figures that robodf comes with for a GPU of such a name; DeviceError where it has none.

    >>> shipped("NVIDIA H100 80GB HBM3").to_device_pinned
    51200000000.0
    """
    words = set(re.split(r"[^A-Z0-9]+", name.upper()))
    found = [sheet for sheet in _SHEETS if words.issuperset(sheet[0])]
    if not found or "MIG" in words:  # an instance has a part of the memory, and so of its speed
        raise DeviceError(f"robodf has no rates of {name}: measure them, with `robodf calibrate`")
    kind, memory, link = found[0]
    sheet = f"the data sheet of the {' '.join(kind)}"
    moved = f"of {link / 1e9:g} GB/s by {sheet}; assumed"
    numbers = dict(zip(TIMES, (_START[0], _PLAN[0], _STEP[0]))) | {
        "to_device": _PAGEABLE * link, "to_device_pinned": _PINNED * link, "from_device": _PAGEABLE * link,
    }  # fmt: skip
    work = {kind: memory / crossings for kind, crossings in _CROSSINGS.items()}
    sources = dict(zip(TIMES, (_START[1], _PLAN[1], _STEP[1]))) | {
        "to_device": f"{_PAGEABLE:.0%} {moved}",
        "to_device_pinned": f"{_PINNED:.0%} {moved}",
        "from_device": f"{_PAGEABLE:.0%} {moved}",
        **{
            f"work.{kind}": f"{memory / 1e12:g} TB/s by {sheet}, over {crossings}; assumed"
            for kind, crossings in _CROSSINGS.items()
        },
        **{f"cpu.{kind}": CPU_SOURCE for kind in KINDS},
    }
    return Rates(name, None, f"shipped, by {sheet}; not measured", **numbers, work=work, cpu=dict(CPU), sources=sources)
