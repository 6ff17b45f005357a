"""Which pieces of whole queries go to a GPU: all that can, and what the cost model takes of it on given devices.

The placements are in `golden/`, a file each. ROBODF_WRITE_GOLDEN=1 writes them anew; read the difference before you
keep it. They are those of the shipped rates, which are not measured: what they pin is the way from rates to decisions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import robots
import tpch
from placing import PRETENDED as BY_POLARS
from placing import text_of

from benchmarks.tpch_queries import QUERIES as TPCH
from robodf.gpu.devices import Device
from robodf.gpu.facts import Facts
from robodf.gpu.rates import CPU, shipped
from robodf.gpu.translation import obstacles
from robodf.optimizer import optimize
from robodf.physical.on_device import OnDevice
from robodf.physical.place import Placed, place
from robodf.plan.base import Plan, lower_all, plans
from robodf.plan.work import KINDS

GOLDEN = Path(__file__).with_name("golden")


def _facts(name: str, memory: int, capability: tuple[int, int], cpus: int) -> Facts:
    rates = replace(shipped(name), cpu=CPU)  # not those of the machine that the tests run on
    return Facts(Device(0, name, capability, memory, None), rates, cpus, started=True)


FACTS = {
    "H200 beside 16 cores": _facts("NVIDIA H200", 141 << 30, (9, 0), 16),
    "L4 beside 8 cores": _facts("NVIDIA L4", 24 << 30, (8, 9), 8),
    "no GPU": Facts(None, None, 16, "no NVIDIA driver is installed here"),
}
SCALES = (1, 10, 100)

pytestmark = pytest.mark.gpu_plan


def _decisions(plan: Plan) -> Iterator[str]:
    for name, facts in FACTS.items():
        for k, d in enumerate(place(plan, facts).decisions, 1):
            yield f"{name}: fragment {k}: {'GPU' if d.on_gpu else 'CPU'}, {d.why}"


def _all_that_can(plan: Plan) -> Placed:
    placed = place(plan, FACTS["H200 beside 16 cores"], forced=True, ways=BY_POLARS)
    for n in plans(placed.plan):
        if isinstance(n, OnDevice):
            assert obstacles(lower_all(n.fragment.plan)) == []
    return placed


def _shown(placed: Placed) -> str:
    """Without the figures, which are of one size and device."""
    text = "\n".join(line.split(": estimated")[0] for line in text_of(placed).splitlines())
    stay = [f"stays: {label}: {why}" for label, why in placed.stay]
    return "\n".join([text, *stay])


def _compare(file: Path, text: str) -> None:
    if os.environ.get("ROBODF_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize("name", TPCH)
def test_tpch(name: str, folder: Path) -> None:
    lines = []
    for scale in SCALES:
        plan = optimize(TPCH[name](tpch.tables(folder, scale))._plan)
        placed = _all_that_can(plan)
        if scale == SCALES[0]:
            lines.append(_shown(placed))
        lines += ["", f"scale factor {scale}", *_decisions(plan)]
    _compare(GOLDEN / f"{name}.txt", "\n".join(lines) + "\n")


@pytest.mark.parametrize("name", robots.QUERIES)
def test_robots(name: str, folder: Path) -> None:
    plan = optimize(robots.QUERIES[name](robots.inputs(folder))._plan)
    _compare(GOLDEN / f"{name}.txt", "\n".join([_shown(_all_that_can(plan)), "", *_decisions(plan)]) + "\n")


def test_every_file_is_of_a_query() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == TPCH.keys() | robots.QUERIES.keys()


def test_each_kind_of_work_has_a_rate() -> None:
    for facts in FACTS.values():
        if facts.rates is not None:
            assert facts.rates.cpu.keys() == facts.rates.work.keys() == set(KINDS)
