"""What tests of the GPU layer share: none needs a GPU; those marked gpu_plan need cudf-polars."""

from __future__ import annotations

import pytest

from robodf.gpu.translation import available


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = available()
    for item in items:
        if why is not None and item.get_closest_marker("gpu_plan"):
            item.add_marker(pytest.mark.skip(reason=why))
