"""Fixtures that every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray_cluster import kept_cluster, ray_cluster  # noqa: F401

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of other people's recordings; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the folder of real recordings is not at {SHARED}")
    return SHARED
