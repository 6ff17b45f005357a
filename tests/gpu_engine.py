"""The engine `gpu` in tests: on a GPU where there is one; elsewhere only if it is pretended, with Polars in its stead.

With ROBODF_TEST_PRETENDED_GPU=1 the plans are placed by cudf-polars as on a GPU, and each fragment is run by Polars:
that tries all but what the GPU itself computes. `make test-gpu-plan` does so.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator

import pytest

from robodf.compat import run
from robodf.errors import DeviceWarning
from robodf.gpu import kernels
from robodf.gpu.devices import Device, absent
from robodf.gpu.facts import Facts
from robodf.gpu.translation import available
from robodf.physical import cluster, on_gpu, place

PRETEND = os.environ.get("ROBODF_TEST_PRETENDED_GPU") == "1"

PRETENDED = Facts(Device(0, "pretended", (9, 0), 80 << 30, None), None, 16)


def why_not() -> str | None:
    """Why tests of the engine cannot run here; None where they can."""
    return available() if PRETEND else absent() or available()


@pytest.fixture
def gpu_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`gpu`, for `collect(engine=...)`. What cannot go to a GPU runs on the CPU without a warning."""
    if (why := why_not()) is not None:
        pytest.skip(f"no GPU: {why}")
    if PRETEND:
        pretend(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceWarning)
        yield "gpu"


def pretend(monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    """A GPU that Polars plays, for the queries of this process; `options` are those of `place`."""
    given = {"ways": (("GPU", run),), **options}
    monkeypatch.setattr(on_gpu, "here", lambda: PRETENDED)
    # robodf's own kernels are tried by the CUDA simulator, in tests/gpu.
    monkeypatch.setattr(kernels, "wanted", lambda work, amount, there, back: None)
    for module in (on_gpu, cluster):  # the second places what runs in parts, so that it can be resumed
        monkeypatch.setattr(module, "place", functools.partial(place.place, **given))  # type: ignore[arg-type]
