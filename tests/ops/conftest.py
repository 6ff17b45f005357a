"""One body of tests for every engine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import robodf as rd

# So little that a frame of a few rows lies in several partitions, and all that can be shuffled is.
TINY = {"partition_bytes": 64, "small_bytes": 0, "partitions": 3}


@pytest.fixture(
    params=["local", pytest.param("ray", marks=pytest.mark.ray), pytest.param("gpu", marks=pytest.mark.gpu)]
)
def engine(request) -> Iterator[str]:
    """The engines that the tests of operators run on: this process, a cluster of three nodes, a GPU."""
    if request.param == "local":
        yield "local"
        return
    if request.param == "gpu":
        request.getfixturevalue("gpu_engine")
        with rd.config(engine="gpu"):
            yield "gpu"
        return
    request.getfixturevalue("ray_cluster")
    import ray

    for module in (request.module, sys.modules[__name__]):  # workers do not find modules of tests
        ray.cloudpickle.register_pickle_by_value(module)
    with rd.config(engine="ray", **TINY):
        yield "ray"


@pytest.fixture
def run(engine: str) -> Callable[[rd.PipelineDataFrame], pl.DataFrame]:
    """`run(frame)`: its rows, by the engine."""
    return lambda frame: frame.collect(engine=engine)


class Told:
    """What functions of a query tell the test, from whatever process they run in: `told(3)`, then `told.values`."""

    def __init__(self, path: Path):
        self.path = path

    def __call__(self, value: object) -> None:
        with open(self.path, "a") as file:  # short lines arrive whole
            file.write(json.dumps(value) + "\n")

    @property
    def values(self) -> list:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "told.jsonl")


@pytest.fixture
def df() -> rd.PipelineDataFrame:
    return rd.from_dict({"a": [1, 2, 3, None], "b": ["x", "y", "x", None], "f": [0.5, float("nan"), -0.0, None]})


@pytest.fixture
def empty() -> rd.PipelineDataFrame:
    return rd.from_dict({"a": [], "b": [], "f": []}, schema={"a": pl.Int64, "b": pl.String, "f": pl.Float64})
