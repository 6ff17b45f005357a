"""What the benchmarks share: timing in alternation, the machine, and a report as Markdown.

Machines are shared and change their speed by the second, so nothing is quoted alone: two ways of doing the same are
run by turns (A B, B A, A B, ...), each turn gives a ratio, and the median of the ratios is the result.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib.metadata
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
RESULTS = HERE / "results"
SHARED = HERE.parent.parent / "shared" / "data"  # real logs, where a checkout has them


@dataclass(frozen=True)
class Pair:
    """Seconds of two ways, turn by turn."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    cpu_ratios: tuple[float, ...] = ()

    @property
    def ratios(self) -> list[float]:
        """Seconds of ours by seconds of theirs, of each turn: below 1 where ours is faster."""
        return [a / b for a, b in zip(self.ours, self.theirs)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def cpu_ratio(self) -> float:
        """The median ratio of CPU seconds of the process, all threads: waiting for a busy machine is not in it."""
        return statistics.median(self.cpu_ratios)

    @property
    def spread(self) -> str:
        return f"{min(self.ratios):.2f} to {max(self.ratios):.2f}"

    @property
    def times_faster(self) -> float:
        """How many times faster ours is, by the median turn."""
        return statistics.median(b / a for a, b in zip(self.ours, self.theirs))


def alternate(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, warm_up: int = 1) -> Pair:
    """Both run `warm_up` times unmeasured, then `rounds` times by turns, each first in every second turn."""
    for _ in range(warm_up):
        ours()
        theirs()
    a: list[tuple[float, float]] = []
    b: list[tuple[float, float]] = []
    for turn in range(rounds):
        order = ((ours, a), (theirs, b)) if turn % 2 == 0 else ((theirs, b), (ours, a))
        for function, into in order:
            into.append(clocks(function))
    cpu = tuple(x / y for (_, x), (_, y) in zip(a, b))
    return Pair(tuple(wall for wall, _ in a), tuple(wall for wall, _ in b), cpu)


def seconds(function: Callable[[], Any]) -> float:
    """The wall clock of one call."""
    return clocks(function)[0]


def clocks(function: Callable[[], Any]) -> tuple[float, float]:
    """Wall clock and CPU seconds of one call; what it returns is freed after the clocks stopped."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    kept = function()
    elapsed = time.perf_counter() - wall, time.process_time() - cpu
    del kept
    return elapsed


def median_seconds(function: Callable[[], Any], rounds: int) -> float:
    """The median wall clock of `rounds` calls, after one that is not measured."""
    function()
    return statistics.median(seconds(function) for _ in range(rounds))


# -- reports --------------------------------------------------------------------------------------------------


class Report:
    """Markdown that is printed as it is made and written to results/ at the end, if asked."""

    def __init__(self, name: str, title: str, arguments: argparse.Namespace):
        self._name, self._write = name, arguments.write
        self._lines: list[str] = []
        command = shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
        self.say(f"# {title}\n")
        self.say(f"{datetime.date.today().isoformat()}. `{command}`\n")
        self.say(f"{machine()}\n")

    def say(self, text: str = "") -> None:
        print(text, flush=True)
        self._lines.append(text)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A Markdown table: the first column to the left, the others to the right."""
        self.say("| " + " | ".join(head) + " |")
        self.say("|---|" + "---:|" * (len(head) - 1))
        for row in rows:
            self.say("| " + " | ".join(map(str, row)) + " |")
        self.say()

    def end(self) -> None:
        if self._write:
            RESULTS.mkdir(exist_ok=True)
            path = RESULTS / f"{self._name}.md"
            path.write_text("\n".join(self._lines).rstrip() + "\n", encoding="utf-8")
            print(f"written: {path}", file=sys.stderr)


def arguments(doc: str | None, parents: Sequence[argparse.ArgumentParser] = (), **defaults: int) -> argparse.Namespace:
    """--write, --full, an option for each of `defaults`, and those of `parents`."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0], parents=list(parents))
    parser.add_argument("--write", action="store_true", help="write the report to benchmarks/results/")
    parser.add_argument("--full", action="store_true", help="the sizes that the results in benchmarks/results/ have")
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    return parser.parse_args()


def machine() -> str:
    """One paragraph on where this runs and with which versions."""
    packages = ("polars", "pyarrow", "numpy", "mcap", "mcap-ros2-support")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{_cpu()}, {os.cpu_count()} cores (1-minute load at the start {os.getloadavg()[0]:.1f}), "
        f"{_memory() / 2**30:.0f} GiB memory, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {versions}."
    )


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def human(size: float) -> str:
    """Bytes for people: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    raise AssertionError("the last unit takes any size")
