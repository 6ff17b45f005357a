"""`robodf calibrate`: measures a core of this machine and its GPU, and keeps what it found for the cost model."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import robodf
from robodf.errors import DeviceError
from robodf.gpu import measure_cpu
from robodf.gpu.devices import absent, devices
from robodf.gpu.library import INSTALL
from robodf.gpu.rates import KINDS, Rates, cpu_name, cpu_rates, rates
from robodf.gpu.stored import TIMES, TRANSFERS, Measured, Stored, path, store, stored

CPU_ROWS = 2_000_000
GPU_ROWS = 50_000_000
_PACKAGES = ("robodf", "polars", "cudf-polars-cu12", "cudf-polars-cu13")


def calibrate(*, reset: bool = False, say: Callable[[str], None] = print, cpu_rows: int = CPU_ROWS,
              gpu_rows: int = GPU_ROWS) -> Path:  # fmt: skip
    """Measure the core, then the GPU where there is one, keep each at once, and give the path of the file.

    With `reset` what the file held is forgotten, whatever that was. DeviceError where a measurement fails.
    """
    known = Stored() if reset else stored()
    say(f"measuring a core of {cpu_name()}: {len(KINDS)} kinds of work, Polars on one thread")
    work = _in_a_process("robodf.gpu.measure_cpu", cpu_rows, measure_cpu.ENVIRONMENT)
    known = known.with_cpu(cpu_name(), Measured(_today(), _versions(), work))
    file = store(known)
    why = _no_gpu()
    if why is not None:
        say(f"no GPU is measured: {why}")
        return file
    found = devices()[0]
    say(f"measuring {found.name}")
    made = _in_a_process("robodf.gpu.measure_gpu", gpu_rows, {})
    return store(known.with_device(found.name, Measured(_today(), _versions(), made["work"], made["numbers"])))


def report() -> str:
    """What is in force on this machine, and where each figure is from, as text."""
    lines = [f"{path()}{'' if path().exists() else ' (not there: nothing was measured)'}", f"core: {cpu_name()}"]
    cpu, sources = cpu_rates()
    lines += [_line(kind, f"{cpu[kind] / 1e9:.3g} GB/s", sources[f"cpu.{kind}"]) for kind in KINDS]
    found = devices()
    if not found:
        lines.append(f"GPU: none ({absent()})")
    for name in dict.fromkeys(d.name for d in found):
        lines += [f"GPU: {name}", *_of_gpu(name)]
    others = [name for name in stored().devices if name not in {d.name for d in found}]
    return "\n".join([*lines, *(f"measured and not here now: {name}" for name in others)])


def _of_gpu(name: str) -> list[str]:
    try:
        known = rates(name)
    except DeviceError as error:
        return [f"  {str(error).splitlines()[0]}"]
    return _figures(known)


def _figures(known: Rates) -> list[str]:
    times = [_line(n, f"{getattr(known, n) * 1e3:.3g} ms", known.sources[n]) for n in TIMES]
    moved = [_line(n, f"{getattr(known, n) / 1e9:.3g} GB/s", known.sources[n]) for n in TRANSFERS]
    work = [_line(kind, f"{known.work[kind] / 1e9:.3g} GB/s", known.sources[f"work.{kind}"]) for kind in KINDS]
    return [*times, *moved, *work]


def _line(name: str, figure: str, source: str) -> str:
    return f"  {name:<17}{figure:>11}  {source}"


def _no_gpu() -> str | None:
    """Why no GPU can be measured."""
    if importlib.util.find_spec("cudf_polars") is None and not absent():
        return f"cudf-polars is not installed: {INSTALL}"
    return absent()


def _in_a_process(module: str, rows: int, environment: dict[str, str]) -> Any:
    """What a module prints when it is run, as JSON."""
    package = str(Path(robodf.__file__).parents[1])
    found = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    said = subprocess.run(
        [sys.executable, "-P", "-m", module, str(rows)], capture_output=True, text=True, check=False,
        env={**os.environ, **environment, "PYTHONPATH": found},
    )  # fmt: skip
    if said.returncode:
        last = said.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise DeviceError(f"{module} failed with code {said.returncode}: {last[0]}")
    return json.loads(said.stdout.splitlines()[-1])


def _versions() -> dict[str, str]:
    found = {
        d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"] in _PACKAGES
    }
    return {"python": platform.python_version(), **found}


def _today() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")
