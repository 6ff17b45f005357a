"""One body of tests for every engine."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

import robodf as rd


@pytest.fixture(params=["local"])
def engine(request) -> str:
    """The engines that the tests of operators run on."""
    return request.param


@pytest.fixture
def run(engine: str) -> Callable[[rd.PipelineDataFrame], pl.DataFrame]:
    """`run(frame)`: its rows, by the engine."""
    return lambda frame: frame.collect(engine=engine)


@pytest.fixture
def df() -> rd.PipelineDataFrame:
    return rd.from_dict({"a": [1, 2, 3, None], "b": ["x", "y", "x", None], "f": [0.5, float("nan"), -0.0, None]})


@pytest.fixture
def empty() -> rd.PipelineDataFrame:
    return rd.from_dict({"a": [], "b": [], "f": []}, schema={"a": pl.Int64, "b": pl.String, "f": pl.Float64})
