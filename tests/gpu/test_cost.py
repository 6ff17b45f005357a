"""What the cost model says of loads whose answer can be worked out by hand."""

from __future__ import annotations

import pytest

from robodf.gpu.cost import HELD, MARGIN, SHARE, Cost, Load, Step, cost, usable
from robodf.gpu.rates import Rates
from robodf.plan.work import KINDS

RATES = Rates("a GPU", None, "of a test", start=2.0, plan=0.5, step=0.01, to_device=10.0, to_device_pinned=50.0,
              from_device=5.0, work=dict.fromkeys(KINDS, 100.0) | {"join": 50.0},
              cpu=dict.fromkeys(KINDS, 4.0) | {"join": 1.0})  # fmt: skip

LOAD = Load((Step("row", 400.0, 100.0, 3), Step("join", 100.0, 600.0, 2)), handed=400.0, out=20.0)


def test_the_sum_of_its_parts() -> None:
    found = cost(LOAD, RATES, cpus=10, started=True)
    assert found.cpu == pytest.approx(400 / 40 + 100 / 10)
    assert found.gpu == pytest.approx(0.5 + 0.01 * 5 + 400 / 10 + 400 / 100 + 100 / 50 + 20 / 5)
    assert found.peak == HELD * 600  # of the largest operator, in or out


def test_the_first_query_of_a_process_waits() -> None:
    assert cost(LOAD, RATES, 10, started=False).gpu == pytest.approx(cost(LOAD, RATES, 10, started=True).gpu + 2.0)


def test_more_cores_help_the_cpu_alone() -> None:
    few, many = cost(LOAD, RATES, 1, True), cost(LOAD, RATES, 10, True)
    assert few.cpu == pytest.approx(10 * many.cpu)
    assert few.gpu == many.gpu


def test_it_pays_by_a_margin() -> None:
    assert Cost(1.0, 0.99 * (1 - MARGIN), 0).pays
    assert not Cost(1.0, 1.01 * (1 - MARGIN), 0).pays


def test_some_memory_is_left_to_others() -> None:
    assert usable(100.0) == SHARE * 100


def test_it_reads_well() -> None:
    assert str(Cost(12.3, 0.0456, 0)) == "estimated 12 s on the CPU, 46 ms on the GPU"
    assert str(Cost(1.23, 0.0000456, 0)) == "estimated 1.2 s on the CPU, less than 1 ms on the GPU"
