"""Cubes of points whose sorts another module of arrays does: the same clouds."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.clouds.voxels import groups
from robodf.gpu import kernels
from robodf.gpu.kernels import KernelWarning, device
from robodf.gpu.kernels.voxels import grouped


class Arrays:
    """What the kernel asks of CuPy, by NumPy: no more than both have, and with CuPy's `lexsort` of one array."""

    int64, float64 = np.int64, np.float64

    def __init__(self) -> None:
        self.sorted = 0

    def lexsort(self, keys: Any) -> np.ndarray:
        assert isinstance(keys, np.ndarray)
        self.sorted += 1
        return np.lexsort(keys)

    def __getattr__(self, name: str) -> Any:
        if name not in ("asarray", "stack", "diff", "concatenate", "zeros", "flatnonzero"):
            raise AttributeError(name)
        return getattr(np, name)


def by_hand(rows: np.ndarray, cubes: np.ndarray) -> tuple[list[int], list[int]]:
    keys = [(row, *cube) for row, cube in zip(rows.tolist(), cubes.tolist())]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return order, [k for k, at in enumerate(order) if k == 0 or keys[at] != keys[order[k - 1]]]


@pytest.mark.parametrize("n", [0, 1, 400])
def test_groups_are_those_of_a_sort(n: int) -> None:
    rng = np.random.default_rng(n)
    rows, cubes = np.sort(rng.integers(0, 3, n)), rng.integers(-2, 3, (n, 3)).astype(np.float64)
    cubes[::3] *= -0.0  # 0.0 and -0.0 are one cube
    cubes[1::3] -= 3
    expected = by_hand(rows, cubes)
    for found in (groups(rows, cubes, np), grouped(Arrays(), rows, cubes)):
        assert [part.tolist() for part in found] == list(expected)


def clouds() -> rd.PipelineDataFrame:
    rng = np.random.default_rng(1)
    made = [
        None if k == 2 else [dict(zip("xyzi", point)) for point in rng.uniform(-1, 1, (n, 4)).tolist()]
        for k, n in enumerate((50, 0, 5, 300))
    ]
    return rd.from_dict({"cloud": made}).select(rd.voxel_downsample("cloud", 0.5))


def test_clouds_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = clouds().collect()
    arrays = Arrays()
    monkeypatch.setattr(kernels, "wanted", lambda *_: 1 << 30)
    monkeypatch.setattr(device, "arrays", lambda: arrays)
    assert clouds().collect().equals(expected)
    assert arrays.sorted


def test_the_processor_sorts_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, cubes = np.zeros(10, np.int64), np.zeros((10, 3))
    monkeypatch.setattr(kernels, "wanted", lambda *_: 100)
    assert kernels.grouped(rows, cubes) is None

    class Full(Arrays):
        def lexsort(self, keys: Any) -> np.ndarray:
            raise MemoryError

    monkeypatch.setattr(kernels, "wanted", lambda *_: 1 << 30)
    monkeypatch.setattr(device, "arrays", Full)
    with pytest.warns(KernelWarning, match="cubes of points"):
        assert kernels.grouped(rows, cubes) is None
    assert pl.Series(groups(rows, cubes, np)[1]).to_list() == [0]
