"""A driver and libraries that stand in for those of a GPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fakes import Driver, Nvml

devices = importlib.import_module("robodf.gpu.devices")  # not the function of that name, which the package exports


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`driver(nvml, cuda)`: what is installed, each None where it is not."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def install(nvml: Nvml | None = None, cuda: Driver | None = None) -> None:
        def load() -> Driver:
            if cuda is None:
                raise OSError("libcuda.so.1: cannot open shared object file")
            return cuda

        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        monkeypatch.setattr(devices, "_started_in", None)
        monkeypatch.setattr(devices, "_driver", load)

    return install
