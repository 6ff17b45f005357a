"""What the tests of faults on Ray share."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from ray_faults import QUERIES, align_logs, alike, tables


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files that the queries of `ray_faults` read."""
    return tables(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def expected(data: Path) -> dict[str, pl.DataFrame]:
    """The rows of each query, of the local engine."""
    queries = {**QUERIES, "align_logs": align_logs}
    return {name: alike(name, query(data).collect(engine="local")) for name, query in queries.items()}
