"""Calibration: the half of the CPU runs here; of the GPU's what translates, in which order, and what is kept."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from fakes import Nvml, gpu
from polars.testing import assert_frame_equal

import robodf as rd
from robodf.cli import main
from robodf.errors import DeviceError, FileFormatError
from robodf.gpu.measure_gpu import fitting
from robodf.gpu.rates import KINDS, cpu_name, cpu_rates, rates
from robodf.gpu.resident import resident
from robodf.gpu.stored import TIMES, TRANSFERS, Measured, Stored, store, stored
from robodf.gpu.translation import translated
from robodf.gpu.workloads import workload

calibration = importlib.import_module("robodf.gpu.calibrate")
WORK = {kind: 1e9 * (k + 1) for k, kind in enumerate(KINDS)}
NUMBERS = dict.fromkeys((*TIMES, *TRANSFERS), 0.5)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBODF_RATES", str(tmp_path / "rates.json"))
    return tmp_path / "rates.json"


@pytest.fixture
def few_rows(monkeypatch) -> None:
    """As the command, of so few rows that it takes a moment."""
    in_full = calibration.calibrate
    monkeypatch.setattr(calibration, "calibrate", lambda **options: in_full(**options, cpu_rows=2000, gpu_rows=2000))


def test_without_a_gpu_the_cpu_is_measured(driver, few_rows, file, capsys) -> None:
    driver(None)
    assert main(["calibrate"]) == 0
    said = capsys.readouterr().out
    assert "no GPU is measured: no NVIDIA driver is installed here" in said
    assert "GPU: none (no NVIDIA driver is installed here)" in said
    assert str(file) in said
    found = stored().cpus[cpu_name()]
    assert found.work.keys() == set(KINDS)
    assert all(value > 0 for value in found.work.values())
    assert found.versions["polars"] == pl.__version__
    assert cpu_rates()[0] == found.work
    assert said.count(f"measured on {found.date}") == len(KINDS)
    assert stored().devices == {}


def test_show_measures_nothing(driver, file, capsys) -> None:
    driver(Nvml([gpu("NVIDIA L4"), gpu("NVIDIA L40S"), gpu("NVIDIA L4")]))
    assert main(["calibrate", "--show"]) == 0
    said = capsys.readouterr().out
    assert not file.exists()
    assert "nothing was measured" in said
    assert said.count("GPU: NVIDIA L4\n") == 1
    assert "300" not in said.split("GPU: NVIDIA L40S")[1]
    assert "robodf has no rates of NVIDIA L40S: measure them" in said
    assert "0.3 TB/s by the data sheet of the L4, over 80; assumed" in said
    store(Stored().with_device("NVIDIA A100 80GB PCIe", Measured("2026-12-01", {}, WORK, NUMBERS)))
    assert main(["calibrate", "--show"]) == 0
    assert "measured and not here now: NVIDIA A100 80GB PCIe" in capsys.readouterr().out


def test_with_a_gpu_both_are_kept(driver, monkeypatch, file) -> None:
    driver(Nvml([gpu("NVIDIA L40S")]))
    asked: list[tuple] = []

    def in_a_process(module: str, rows: int, environment: dict) -> Any:
        asked.append((module, rows, environment))
        return WORK if "cpu" in module else {"work": WORK, "numbers": NUMBERS}

    monkeypatch.setattr(calibration, "_in_a_process", in_a_process)
    monkeypatch.setattr(calibration, "_no_gpu", lambda: None)
    assert calibration.calibrate(say=lambda line: None, cpu_rows=1, gpu_rows=2) == file
    assert asked == [
        ("robodf.gpu.measure_cpu", 1, {"POLARS_MAX_THREADS": "1"}), ("robodf.gpu.measure_gpu", 2, {})
    ]  # fmt: skip
    found = rates("NVIDIA L40S")
    assert (found.work, found.cpu, found.start) == (WORK, WORK, 0.5)
    assert found.sources["to_device"] == f"measured on {found.date}"


def test_a_measurement_that_fails_keeps_what_was_found_before(driver, monkeypatch, file) -> None:
    driver(Nvml([gpu("NVIDIA L40S")]))
    monkeypatch.setattr(calibration, "_no_gpu", lambda: None)
    with pytest.raises(DeviceError, match="robodf.gpu.measure_gpu failed with code 1: .*Error"):
        calibration.calibrate(say=lambda line: None, cpu_rows=2000, gpu_rows=2000)  # there is no GPU in that process
    assert stored().cpus.keys() == {cpu_name()}
    assert stored().devices == {}


def test_without_cudf_polars_the_gpu_is_not_measured(driver, monkeypatch) -> None:
    driver(Nvml([gpu()]))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'robodf[gpu]'" in (calibration._no_gpu() or "")


def test_a_damaged_file(driver, few_rows, file, capsys) -> None:
    driver(None)
    file.write_text("{")
    assert main(["calibrate"]) == 1
    assert main(["calibrate", "--show"]) == 1
    assert capsys.readouterr().err.count("robodf calibrate --reset") == 2
    assert file.read_text() == "{"
    assert main(["calibrate", "--reset"]) == 0
    assert stored().cpus.keys() == {cpu_name()}


def test_numbers_that_are_none_are_not_kept(driver, monkeypatch, file) -> None:
    driver(None)
    monkeypatch.setattr(calibration, "_in_a_process", lambda *_: {**WORK, "sort": float("inf")})
    with pytest.raises(FileFormatError, match="sort"):
        calibration.calibrate(say=lambda line: None)
    assert not file.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_work_is_what_it_says(kind: str, tmp_path) -> None:
    made = workload(kind, 1000, tmp_path)
    frame = made.query.collect()
    again = workload(kind, 1000, tmp_path)
    assert again.bytes == made.bytes > 8000
    assert_frame_equal(again.query.collect(), frame, check_row_order=False)  # sums in another order
    rows = {"decode": 1000, "group": 100, "group_many": 100, "sort": 1000, "join": 1000}.get(kind)
    assert frame.height == rows if rows is not None else 0 < frame.height < 1000
    with pytest.raises(ValueError, match="none of"):
        workload("nothing", 10, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_work_translates_for_the_gpu(kind: str, tmp_path) -> None:
    pytest.importorskip("cudf_polars", reason="needs cudf-polars: pip install 'robodf[gpu]'")
    root = translated(workload(kind, 100, tmp_path).query)
    nodes = [root]
    for node in nodes:
        nodes += node.children
    scanned = {type(node).__name__ for node in nodes if not node.children}
    assert scanned == {"Scan" if kind == "decode" else "DataFrameScan"}  # what is moved before, and what is timed


def test_frames_are_moved_once_and_operators_run_each_time(monkeypatch) -> None:
    class Frame:
        stream = SimpleNamespace(synchronize=lambda: ran.append("wait"))

    class IR:
        def __init__(self, *children: IR):
            self.children, self._non_child_args = children, (type(self).__name__,)

        def do_evaluate(self, name: str, *inputs: Any, context: Any) -> Frame:
            assert all(isinstance(i, Frame) for i in inputs)
            ran.append(name)
            return Frame()

    class DataFrameScan(IR): ...

    class Scan(IR): ...

    class Join(IR): ...

    ran: list[str] = []
    module = SimpleNamespace(IRExecutionContext=lambda: None)
    monkeypatch.setitem(__import__("sys").modules, "cudf_polars.dsl.ir", module)
    step = resident(Join(DataFrameScan(), Scan()))
    assert ran == ["DataFrameScan"]
    step()
    step()
    assert ran[1:] == ["Scan", "Join", "wait"] * 2


def test_as_many_rows_as_fit() -> None:
    assert fitting(50_000_000, 80 << 30) == 50_000_000
    assert fitting(50_000_000, 1 << 30) == (1 << 30) // 64
    assert fitting(50_000_000, 0) == 1


@pytest.mark.gpu
@pytest.mark.slow
def test_on_a_gpu(file) -> None:
    if not rd.gpu.devices():
        pytest.skip("this machine has no GPU")
    calibration.calibrate(say=lambda line: None, cpu_rows=100_000, gpu_rows=1_000_000)
    known = rates()
    assert known.date is not None
    assert 1e9 < known.to_device_pinned < 1e12
    assert json.loads(file.read_text())["version"] == 1
