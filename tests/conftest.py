"""Fixtures that every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray_cluster import kept_cluster, ray_cluster  # noqa: F401

from robodf.gpu.translation import available

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks cudf-polars is skipped where that cannot be used; it needs no GPU."""
    for item in items:
        if item.get_closest_marker("gpu_plan") and (why := available()) is not None:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of other people's recordings; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the folder of real recordings is not at {SHARED}")
    return SHARED
