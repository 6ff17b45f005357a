"""Rates: what is shipped, what was measured, and a file that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import Nvml, gpu

from robodf.errors import DeviceError, FileFormatError
from robodf.gpu.rates import CPU, KINDS, cpu_name, cpu_rates, rates, shipped
from robodf.gpu.stored import TIMES, TRANSFERS, Measured, Stored, path, store, stored

FIGURES = {*TIMES, *TRANSFERS, *(f"work.{kind}" for kind in KINDS), *(f"cpu.{kind}" for kind in KINDS)}
WORK = {kind: 1e9 * (k + 1) for k, kind in enumerate(KINDS)}
NUMBERS = {"start": 1.5, "plan": 0.01, "step": 1e-4, "to_device": 5e9, "to_device_pinned": 2e10, "from_device": 6e9}


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBODF_RATES", str(tmp_path / "deep" / "rates.json"))
    return tmp_path / "deep" / "rates.json"


@pytest.mark.parametrize(
    ("name", "sheet"),
    [
        ("NVIDIA H100 80GB HBM3", "the H100;"),
        ("NVIDIA H100 PCIe", "the H100 PCIE;"),
        ("NVIDIA H100 NVL", "the H100 NVL;"),
        ("NVIDIA H200", "the H200;"),
        ("NVIDIA H200 NVL", "the H200;"),
        ("NVIDIA A100-SXM4-40GB", "the A100 40GB;"),
        ("NVIDIA A100 80GB PCIe", "the A100;"),
        ("NVIDIA L4", "the L4;"),
    ],
)
def test_shipped(name: str, sheet: str) -> None:
    found = rates(name)
    assert sheet in found.source
    assert found.date is None
    assert found.device == name
    assert found.work.keys() == found.cpu.keys() == set(KINDS)
    assert found.sources.keys() == FIGURES  # each figure says where it is from
    assert all(word in text for word in ("assumed",) for figure, text in found.sources.items() if "work" in figure)
    assert found.cpu == CPU


@pytest.mark.parametrize("name", ["NVIDIA L40S", "NVIDIA GH200 480GB", "NVIDIA GeForce RTX 4090",
                                  "NVIDIA H100 80GB HBM3 MIG 1g.10gb", ""])  # fmt: skip
def test_what_is_not_known_is_not_guessed(name: str) -> None:
    with pytest.raises(DeviceError, match="robodf calibrate"):
        rates(name)


def test_of_this_process_own_gpu(driver) -> None:
    driver(Nvml([gpu("NVIDIA L4")]))
    assert rates() == shipped("NVIDIA L4")
    driver(None)
    with pytest.raises(DeviceError, match="there is no GPU"):
        rates()


def test_measured_comes_before_shipped(file) -> None:
    store(Stored().with_device("NVIDIA L40S", Measured("2026-12-01", {"polars": "1.44.2"}, WORK, NUMBERS)))
    found = rates("NVIDIA L40S")
    assert (found.work, found.start, found.to_device_pinned, found.date) == (WORK, 1.5, 2e10, "2026-12-01")
    assert found.cpu == CPU  # which was not
    assert found.sources["work.join"] == "measured on 2026-12-01"
    assert "shipped" in found.sources["cpu.join"]
    store(stored().with_cpu(cpu_name(), Measured("2026-12-02", {}, WORK)))
    assert rates("NVIDIA L40S").cpu == WORK
    assert rates("NVIDIA L4").cpu == WORK
    assert rates("NVIDIA L4").work == shipped("NVIDIA L4").work
    assert rates("NVIDIA L4").sources["cpu.sort"] == "measured on 2026-12-02"


def test_of_another_processor_nothing_is_taken(file) -> None:
    store(Stored().with_cpu("another", Measured("2026-12-02", {}, WORK)))
    assert cpu_rates()[0] == CPU


def test_writing_is_whole_or_not_at_all(file, monkeypatch) -> None:
    kept = Stored().with_cpu("a", Measured("2026-12-02", {}, WORK))
    assert store(kept) == path() == file
    with pytest.raises(FileFormatError, match="positive"):
        store(Stored().with_cpu("a", Measured("2026-12-02", {}, {**WORK, "sort": float("nan")})))

    def fails(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="no space"):
        store(kept.with_cpu("b", Measured("2026-12-03", {}, WORK)))
    assert stored() == kept
    assert [f.name for f in file.parent.iterdir()] == ["rates.json"]


def _changed(**changes: object) -> str:
    entry = {"date": "2026-12-01", "versions": {}, "work": WORK, "numbers": NUMBERS, **changes}
    return json.dumps({"version": 1, "cpus": {}, "devices": {"NVIDIA L4": entry}})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "\x00\xff", "[" * 100_000, '{"version": 2, "cpus": {}, "devices": {}}',
        '{"version": 1, "cpus": {}}', '{"version": 1, "cpus": [], "devices": {}}',
        '{"version": 1, "cpus": {"a": 1}, "devices": {}}', _changed(date=3), _changed(versions=None),
        _changed(work={**WORK, "sort": 0}), _changed(work={**WORK, "sort": -1.0}), _changed(work={**WORK, "sort": "1"}),
        _changed(work={**WORK, "sort": float("nan")}), _changed(work={**WORK, "sort": float("inf")}),
        _changed(work={**WORK, "sort": True}), _changed(work={"sort": 1.0}), _changed(work={**WORK, "more": 1.0}),
        _changed(numbers={}), _changed(numbers={**NUMBERS, "plan": None}), _changed(work={**WORK, "sort": 10**400}),
    ],
)  # fmt: skip
def test_a_damaged_file_is_an_error_that_says_what_to_do(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    for ask in (stored, cpu_rates, lambda: rates("NVIDIA L4")):
        with pytest.raises(FileFormatError, match="robodf calibrate --reset") as raised:
            ask()
        assert str(file) in str(raised.value)


def test_a_file_that_changes_is_read_again(file: Path) -> None:
    store(Stored().with_cpu(cpu_name(), Measured("2026-12-02", {}, WORK)))
    assert cpu_rates()[0]["sort"] == WORK["sort"]
    store(Stored().with_cpu(cpu_name(), Measured("2026-12-03", {}, {**WORK, "sort": 7.5})))
    assert cpu_rates()[0]["sort"] == 7.5
    file.unlink()
    assert cpu_rates()[0] == CPU


def test_where_the_file_is(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("ROBODF_RATES")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert path() == tmp_path / "robodf" / "rates.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path() == tmp_path / ".cache" / "robodf" / "rates.json"
