"""Whether a kernel runs on the processor or on a device, under facts that are given."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import DeviceError
from robodf.gpu import kernels
from robodf.gpu.kernels import KernelWarning, Work, device, wanted

pytest.importorskip("numba", reason="numba is not installed")

devices = import_module("robodf.gpu.devices")
rates = import_module("robodf.gpu.rates")
GB = 1e9
FAST = Work("something", cpu=1e6, device=1e12)
ROOM = 123 << 20


@pytest.fixture
def h100(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A device that takes 2 s to start and 3 s to compile for, and how often it was made ready."""
    facts = SimpleNamespace(ready=0, start=2.0)

    def room(needs):
        facts.ready += 1
        return ROOM

    monkeypatch.setattr(kernels, "_seen", kernels._Seen())
    monkeypatch.setattr(kernels, "_COMPILE", 3.0)
    monkeypatch.setattr(kernels, "find_spec", lambda name: name)
    monkeypatch.setattr(pl, "thread_pool_size", lambda: 10)
    monkeypatch.setattr(devices, "devices", lambda: [SimpleNamespace(name="H100")])
    monkeypatch.setattr(
        rates, "rates", lambda name: SimpleNamespace(start=facts.start, to_device=10 * GB, from_device=10 * GB)
    )
    monkeypatch.setattr(device, "room", room)
    return facts


def test_what_would_not_be_faster_stays(h100: SimpleNamespace) -> None:
    # 0.1 s on ten cores; 0.1 s to get there alone.
    assert all(wanted(FAST, 1e6, int(GB), 0) is None for _ in range(1000))
    # Faster, but not by the margin: 0.1 s against 0.08 s.
    assert all(wanted(FAST, 1e6, int(0.8 * GB), 0) is None for _ in range(1000))
    assert h100.ready == 0


def test_a_device_is_started_once_that_much_was_lost(h100: SimpleNamespace) -> None:
    # 1 s on ten cores, and little on the device: after five times as much was lost as starting it takes.
    assert [wanted(FAST, 1e7, 1000, 0) for _ in range(8)] == [None] * 5 + [ROOM] * 3
    assert wanted(FAST, 1e4, 0, 0) is None  # a millisecond, which a launch takes too
    assert wanted(FAST, 1e6, 0, 0) == ROOM


def test_one_large_piece_starts_it_at_once(h100: SimpleNamespace) -> None:
    assert wanted(FAST, 1e8, 1000, 0) == ROOM


def test_engines(h100: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from robodf.dedup import asked

    for engine, expected in (("local", None), ("ray", None), ("gpu", ROOM), ("auto", ROOM)):
        with asked.during(engine):
            assert wanted(FAST, 1e8, 1000, 0) == expected
    with asked.during("gpu"):  # forced, whatever it costs
        assert wanted(FAST, 1, 1000, 0) == ROOM
        assert wanted(FAST, 0, 0, 0) is None  # nothing to do, as where a query asks for a schema


def test_without_a_device_auto_says_nothing(h100: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "devices", list)
    assert wanted(FAST, 1e12, 0, 0) is None


def test_without_the_packages_auto_says_nothing(h100: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None if name == "cupy" else name)
    assert wanted(FAST, 1e8, 0, 0) == ROOM
    assert wanted(kernels.VOXELS, 1e12, 0, 0) is None


def test_a_device_of_which_nothing_is_known_is_not_used(h100: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name):
        raise DeviceError(f"nothing is known of {name}")

    monkeypatch.setattr(rates, "rates", unknown)
    assert wanted(FAST, 1e12, 0, 0) is None


def test_a_device_that_cannot_be_used_is_told_once(h100: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def room(needs):
        raise DeviceError("an old device")

    monkeypatch.setattr(device, "room", room)
    with pytest.warns(KernelWarning, match="stay on the processor: an old device"):
        assert wanted(FAST, 1e8, 0, 0) is None
    assert wanted(FAST, 1e8, 0, 0) is None


def test_engine_gpu_without_a_device_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from robodf.dedup import asked

    def none():
        raise DeviceError("there is no GPU: no NVIDIA driver is installed here")

    monkeypatch.setattr(devices, "device", none)
    with asked.during("gpu"), pytest.raises(DeviceError, match="no NVIDIA driver"):
        wanted(FAST, 1, 0, 0)


@pytest.mark.parametrize("how", ["argument", "settings"])
def test_the_engine_reaches_dedup(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from robodf.dedup import asked
    from robodf.physical import local

    seen = []
    monkeypatch.setattr(kernels, "keys_of_texts", lambda *_: seen.append(asked.engine()))
    frame = rd.from_dict({"text": ["a b c d e f", "a b c d e f", "g h i j k l"]}).dedup("text", method="fuzzy")
    if how == "argument":
        assert local.collect(frame._plan, "auto").height == 2
    else:
        with rd.config(engine="auto"):
            assert local.collect(frame._plan, None).height == 2
    assert local.collect(frame._plan, "local").height == 2
    assert seen == ["auto", "local"]


def test_keys_and_similarities_come_from_the_device(h100: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernels themselves replaced: they run under the simulator, in another process."""
    from robodf.dedup.fuzzy import Fuzzy
    from robodf.dedup.walk import verify

    method = Fuzzy()
    values = pl.Series(["a b c d e f g", "a b c d e f h"])
    held = method.hold(iter([values]), 2)
    expected, pair = method.keys(values), (np.array([0]), np.array([1]))
    similarity = verify(*pair, held, 0.1)
    made = []
    texts = SimpleNamespace(keys=lambda *a: made.append(a) or expected)
    sets = SimpleNamespace(similarities=lambda *a: made.append(a) or similarity)
    for name, module in (("texts", texts), ("sets", sets)):
        monkeypatch.setitem(sys.modules, f"robodf.gpu.kernels.{name}", module)
        monkeypatch.setattr(kernels, name, module, raising=False)
    with rd.config(engine="gpu"):
        assert method.keys(values) is expected
        assert verify(*pair, held, 0.1) is similarity
    assert [len(a) for a in made] == [5, 5]
    assert all(a[-1] == ROOM for a in made)


def test_choosing_imports_nothing_of_cuda() -> None:
    code = "import sys, robodf.gpu.kernels; print([m for m in ('numba', 'cupy', 'rmm', 'numpy') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numba" not in said.stdout
    assert "cupy" not in said.stdout
    assert "rmm" not in said.stdout
