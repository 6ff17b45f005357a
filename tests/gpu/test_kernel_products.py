"""Cosines whose candidates come from a device: the same decisions, with NumPy (and PyTorch) in place of CuPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("numba", reason="numba is not installed")

from robodf.dedup import nearest, semantic
from robodf.dedup.vectors import Vectors, to_vectors
from robodf.gpu import kernels
from robodf.gpu.kernels import KernelWarning, products
from robodf.gpu.kernels.products import Products


class Arrays:
    """NumPy under another name, as a module of arrays that is not of the host."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def modules() -> list[Any]:
    return [pytest.param(Arrays(), id="numpy"), pytest.param("torch", id="torch")]


@pytest.fixture(params=modules())
def xp(request: pytest.FixtureRequest) -> Any:
    return (
        pytest.importorskip("torch", reason="PyTorch is not installed") if request.param == "torch" else request.param
    )


def planted(seed: int, n: int, d: int) -> Vectors:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(max(1, n // 3), d))
    x = base[rng.integers(0, len(base), n)] + rng.normal(size=(n, d)) * rng.choice([0, 0.1, 0.4], (n, 1))
    made = to_vectors([pl.Series("v", x.astype(np.float32))], n)
    made.there[:: max(1, n // 7)] = False
    return made


def on_device(monkeypatch: pytest.MonkeyPatch, xp: Any, rows: int, columns: int) -> list[float]:
    """From here on products are a device's, in blocks of this size; the amounts of work that were asked about."""
    asked = []

    def multiplier(unit: np.ndarray, amount: float) -> Products:
        asked.append(amount)
        made = Products(xp, unit)
        made.rows, made.columns = rows, columns
        return made

    monkeypatch.setattr(kernels, "multiplier", multiplier)
    return asked


@pytest.mark.parametrize("groups", [1, 3], ids=["all", "groups"])
@pytest.mark.parametrize("fixed", [0, 60])
@pytest.mark.parametrize("least", [0.6, 0.95])
def test_decisions_are_the_same(
    xp: Any, least: float, fixed: int, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = planted(1, 500, 24)
    rng = np.random.default_rng(2)
    group = rng.integers(0, groups, 500)
    rank = rng.permutation(500)
    spec = semantic.Semantic(threshold=least, index="exact")
    expected = semantic.decide(vectors, group, rank, fixed, spec), semantic.pairs(vectors, group, spec, rank, fixed)
    assert len(expected[0].row) > 10
    asked = on_device(monkeypatch, xp, 130, 70)
    found = semantic.decide(vectors, group, rank, fixed, spec), semantic.pairs(vectors, group, spec, rank, fixed)
    assert len(asked) == 2
    for one, other in zip(found, expected):
        for part, same in zip(one[:3], other[:3]):
            assert np.array_equal(part, same)


def test_overlapping_lists_are_the_same(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = planted(3, 400, 16)
    lists = np.sort(np.random.default_rng(4).integers(0, 5, (400, 2)), axis=1)
    order = np.flatnonzero(vectors.there)
    expected = nearest.all_pairs(vectors, lists, 0.7), nearest.greedy(vectors, order, lists, 0.7)
    on_device(monkeypatch, xp, 64, 33)
    found = nearest.all_pairs(vectors, lists, 0.7), nearest.greedy(vectors, order, lists, 0.7)
    assert len(expected[0].left) > 10
    for one, other in zip(found, expected):
        assert all(np.array_equal(part, same) for part, same in zip(one, other))


def test_products_at_the_threshold_are_looked_at(xp: Any) -> None:
    """A float32 product may lie below the cosine that it is of; the floor is low enough for that."""
    from robodf.dedup.sketch import whole

    vectors = planted(5, 300, 200)
    exact = vectors.unit.astype(np.float64) @ vectors.unit.T.astype(np.float64)
    rows = np.arange(300)
    for least in np.random.default_rng(6).choice(exact[exact > 0.5], 20):
        i, j = Products(xp, vectors.unit).near(rows, rows, whole(vectors, float(least)).floor)
        assert np.all(np.diff(i * 300 + j) > 0)
        there = np.zeros((300, 300), bool)
        there[i, j] = True
        assert there[exact >= least].all()


def test_blocks_are_halved_where_memory_runs_out() -> None:
    vectors = planted(7, 900, 8)
    rows = np.arange(900)
    floor = np.float32(0.5)
    expected = Products(np, vectors.unit).near(rows, rows, floor)

    class Small(Arrays):
        def argwhere(self, x: np.ndarray) -> np.ndarray:
            if x.size > 900 * most:
                raise MemoryError
            return np.argwhere(x)

    most = 300
    made = Products(Small(), vectors.unit)
    made.columns = 1024
    assert all(map(np.array_equal, made.near(rows, rows, floor), expected))
    assert made.columns == 256
    most = 0
    with pytest.warns(KernelWarning, match="products of vectors"):
        assert all(map(np.array_equal, made.near(rows, rows, floor), expected))


def test_no_rows(xp: Any) -> None:
    none = np.empty(0, np.int64)
    made = Products(xp, planted(8, 10, 4).unit)
    for one, other in ((none, np.arange(3)), (np.arange(3), none), (none, none)):
        i, j = made.near(one, other, np.float32(-1))
        assert len(i) == len(j) == 0
    assert products.COLUMNS > products._FEWEST
