"""Similarities of sets by the kernels of a GPU, against those of the processor. Run by test_kernels_simulated."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from robodf.dedup.fuzzy import Fuzzy
from robodf.dedup.jaccard import ShingleSets
from robodf.dedup.shingles import Words
from robodf.dedup.walk import verify
from robodf.gpu.kernels import KernelWarning, sets

FREE = 1 << 30


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warps of few threads: the simulator starts a thread of Python for each."""
    monkeypatch.setattr(sets, "_WARP", 3)


@pytest.fixture(scope="module")
def held() -> ShingleSets:
    draw = np.random.default_rng(5)
    words = np.array([f"w{k}" for k in range(60)])
    rows: list[str | None] = [None, "", "one"]
    for _ in range(8):
        text = draw.choice(words, int(draw.integers(1, 90))).tolist()
        rows.append(" ".join(text))
        for _ in range(2):
            changed = [str(draw.choice(words)) if draw.random() < 0.1 else word for word in text]
            rows.append(" ".join(changed))
    return Fuzzy(shingle=Words(2)).hold(iter([pl.Series(rows, dtype=pl.String)]), len(rows))


def pairs(held: ShingleSets) -> tuple[np.ndarray, np.ndarray]:
    n = len(held.edges) - 1
    left, right = np.divmod(np.arange(n * n), n)
    order = np.random.default_rng(1).permutation(n * n)[:40]
    # Two that are alike in many pairs: those of a text and its copies.
    near = np.arange(3, n - 1, 3)
    return np.concatenate([left[order], near]), np.concatenate([right[order], near + 1])


@pytest.mark.parametrize("least", [0.05, 0.8])
def test_similarities_are_those_of_the_processor(held: ShingleSets, least: float) -> None:
    left, right = pairs(held)
    expected = verify(left, right, held, least)
    assert (expected >= least).any()
    assert (expected < 0).any()
    assert np.array_equal(sets.similarities(left, right, held, least, FREE), expected)


def test_similarities_at_the_very_threshold(held: ShingleSets) -> None:
    left, right = pairs(held)
    for least in np.unique(verify(left, right, held, 0.01))[-2:]:
        expected = verify(left, right, held, least)
        assert np.array_equal(sets.similarities(left, right, held, least, FREE), expected)


def test_pieces_and_no_room(held: ShingleSets, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = pairs(held)
    expected = verify(left, right, held, 0.3)
    start, sizes = sets._start, []

    def checked(held, a, b):
        sizes.append(len(a))
        if len(a) > 20 or 3 in a:
            raise MemoryError
        return start(held, a, b)

    monkeypatch.setattr(sets, "_start", checked)
    with pytest.warns(KernelWarning, match="comparison of sets"):
        assert np.array_equal(sets.similarities(left, right, held, 0.3, FREE), expected)
    assert max(sizes) == 48
    assert min(sizes) == 1
