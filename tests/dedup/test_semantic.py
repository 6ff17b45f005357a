"""Dedup by the cosine of vectors, against the keep rule written out in float64."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

from robodf.errors import OptionError, SchemaError

pytest.importorskip("numba", reason="numba is not installed")

from robodf.dedup import nearest as nearest_module
from robodf.dedup import semantic, sketch
from robodf.dedup.centroids import nearest
from robodf.dedup.nearest import all_pairs, greedy, near
from robodf.dedup.semantic import Semantic, decide, pairs
from robodf.dedup.vectors import Vectors, dot, to_vectors


def vectors_of(x: np.ndarray) -> Vectors:
    return to_vectors([pl.Series("v", x)] if len(x) else [], len(x))


def planted(rng: np.random.Generator, n: int, d: int, noise: float, shape: float = 0.0) -> np.ndarray:
    """Random vectors and near copies of them; `shape` bends the cloud as real embeddings are."""
    base = rng.normal(size=(max(1, n // 2), d)) * np.arange(1, d + 1) ** -shape
    x = base[rng.integers(0, len(base), n)] + rng.normal(size=(n, d)) * rng.choice([0, 0.3, 1], (n, 1)) * noise
    return x.astype(np.float32)


def cosines(v: Vectors) -> np.ndarray:
    u = v.unit.astype(np.float64)
    return np.clip((u @ u.T) / np.sqrt(np.outer(v.square, v.square) + (v.square == 0)), -1, 1)


def by_hand(v: Vectors, group: np.ndarray, rank: np.ndarray, fixed: int, least: float) -> dict[int, tuple[int, float]]:
    """{dropped row: (witness, cosine)}: the keep rule, as it is told."""
    cosine = cosines(v)
    kept: list[int] = []
    dropped = {}
    for row in sorted(np.nonzero(v.there)[0].tolist(), key=lambda row: (rank[row], row)):
        alike = [k for k in kept if group[k] == group[row] and cosine[k, row] >= least]
        if alike and rank[row] >= fixed:
            dropped[row] = (alike[0], cosine[alike[0], row])
        else:
            kept.append(row)
    return dropped


@pytest.mark.parametrize("seed", range(40))
def test_decide_is_the_keep_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(0, 300)), int(rng.integers(1, 40))
    least = float(rng.choice([0.5, 0.8, 0.95]))
    v = vectors_of(planted(rng, n, d, 0.5))
    if n > 10:
        v.there[rng.integers(0, n, 5)] = False
    groups, fixed = int(rng.choice([1, 3, 60])), int(rng.choice([0, 30]))
    group = rng.integers(0, groups, n).astype(np.uint32)
    rank = rng.integers(0, 100, n)
    expected = by_hand(v, group, rank, fixed, least)
    got = decide(v, group, rank, fixed, Semantic(least))
    assert got.row.tolist() == sorted(expected)
    assert dict(zip(got.row.tolist(), got.witness.tolist())) == {row: w for row, (w, _) in expected.items()}
    assert got.similarity == pytest.approx([expected[row][1] for row in sorted(expected)], abs=1e-12)
    assert (got.similarity >= least).all()

    cosine = cosines(v)
    wanted = (cosine >= least) & (group[:, None] == group) & (v.there[:, None] & v.there)
    wanted &= ~((rank < fixed)[:, None] & (rank < fixed))
    edges = pairs(v, group, Semantic(least), rank, fixed)
    assert list(zip(edges.left, edges.right)) == list(zip(*np.nonzero(np.triu(wanted, 1))))


@pytest.mark.parametrize("at_once", [1, 7, 64, 1000])
@pytest.mark.parametrize("lists", [1, 3])
def test_the_answer_does_not_depend_on_blocks(monkeypatch, at_once: int, lists: int) -> None:
    rng = np.random.default_rng(at_once)
    v = vectors_of(planted(rng, 700, 16, 0.4))
    order, of = rng.permutation(700), rng.permuted(np.tile(np.arange(6), (700, 1)), axis=1)[:, :lists]
    expected = greedy(v, order, of, 0.8)
    edges = all_pairs(v, of, 0.8)
    monkeypatch.setattr(nearest_module, "_COLUMNS", 3 * at_once)
    monkeypatch.setattr(nearest_module, "_ROWS", at_once)
    monkeypatch.setattr(nearest_module, "_SMALL", at_once)
    got = greedy(v, order, of, 0.8, rows_at_once=at_once)
    assert (got.witness == expected.witness).all()
    assert (got.similarity == expected.similarity).all()
    assert 0 < (got.witness != np.arange(700)).sum() < 600
    again = all_pairs(v, of, 0.8)
    assert all((a == b).all() for a, b in zip(edges, again))

    # In overlapping lists: the rule over the pairs that share one.
    share = (of[:, None, :, None] == of[None, :, None, :]).any(axis=(2, 3))
    wanted = (cosines(v) >= 0.8) & share
    assert list(zip(edges.left, edges.right)) == list(zip(*np.nonzero(np.triu(wanted, 1))))
    kept: list[int] = []
    for row in order:
        alike = [k for k in kept if wanted[k, row]]
        assert got.witness[row] == (alike[0] if alike else row)
        kept += [] if alike else [row]


@pytest.mark.parametrize("shape", [0.0, 0.7])
def test_a_sketch_loses_no_pair(shape: float) -> None:
    rng = np.random.default_rng(1)
    x = planted(rng, 3000, 128, 0.2 if shape else 0.6, shape)
    v = vectors_of(x)
    made = sketch.sketch(v, 0.9)
    assert made.rows.shape[1] < 128  # it is one: shorter than the vectors
    bound = made.rows.astype(np.float64) @ made.rows.T.astype(np.float64)
    assert (bound - cosines(v) * np.sqrt(np.outer(v.square, v.square))).min() > -1e-6
    edges = all_pairs(v, np.zeros((3000, 1), np.int64), 0.9)
    assert list(zip(edges.left, edges.right)) == list(zip(*np.nonzero(np.triu(cosines(v) >= 0.9, 1))))
    assert len(edges.left) > 500


def test_pieces_of_rows_give_each_pair_once() -> None:
    rng = np.random.default_rng(2)
    v = vectors_of(planted(rng, 900, 24, 0.5))
    of = rng.integers(0, 40, (900, 1))
    whole = all_pairs(v, of, 0.8)
    parts = [p for first in range(0, 900, 250) for p in near(v, np.arange(first, min(900, first + 250)), of, 0.8)]
    joined = sorted((a, b, c) for p in parts for a, b, c in zip(*p))
    assert joined == list(zip(*whole))


def test_similarity_is_exact_and_symmetric() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 33)).astype(np.float32)
    v = vectors_of(np.concatenate([x, x * 4, x[::-1]]))
    edges = all_pairs(v, np.zeros((150, 1), np.int64), 1.0)
    assert len(edges.left) == 150  # each vector three times
    assert (edges.similarity == 1.0).all()
    exact = [
        sum(int(a) * int(b) for a, b in zip(p, q)) for p, q in zip(*(v.unit[i:j] * 2**24 for i, j in [(0, 9), (9, 18)]))
    ]

    assert [dot(v.unit, k, v.unit, k + 9) * 2.0**48 for k in range(9)] == exact
    true = (x[:9].astype(np.float64) * x[9:18]).sum(1) / np.linalg.norm(x[:9], axis=1) / np.linalg.norm(x[9:18], axis=1)
    assert np.array(exact) / 2.0**48 == pytest.approx(true, abs=1e-6)


def test_vectors_of_a_row_do_not_depend_on_their_neighbours() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(100, 17)) * 10.0 ** rng.integers(-300, 300, (100, 1))
    whole = vectors_of(x)
    assert whole.there.all()
    for k in (0, 7, 99):
        assert (vectors_of(x[k : k + 1]).unit[0] == whole.unit[k]).all()
    pieces = to_vectors([pl.Series("v", x[:30]), pl.Series("v", x[30:].tolist(), dtype=pl.List(pl.Float64))], 100)
    assert (pieces.unit == whole.unit).all()
    assert (pieces.square == whole.square).all()


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64, pl.Int8, pl.UInt16, pl.Int64, pl.Float16])
@pytest.mark.parametrize("kind", ["list", "array"])
def test_types(dtype, kind: str) -> None:
    values = [[3, 4], None, [0, 0], [6, 8], [None, 1]]
    v = to_vectors([pl.Series("v", values, dtype=pl.List(dtype) if kind == "list" else pl.Array(dtype, 2))], 5)
    assert v.there.tolist() == [True, False, False, True, False]
    assert v.unit[[0, 3]] == pytest.approx(np.array([[0.6, 0.8]] * 2), abs=1e-7)
    assert not v.unit[[1, 2, 4]].any()


def test_what_is_no_vector() -> None:
    nan, inf = float("nan"), float("inf")
    values = [[nan, 1.0], [inf, 1.0], [], None, [1.0, -inf], [1e-320, 0.0], [1e308, 1e308], [None, None]]
    v = to_vectors([pl.Series("v", values, dtype=pl.List(pl.Float64))], 8)
    assert v.there.tolist() == [False, False, False, False, False, True, True, False]
    got = decide(v, None, None, 0, Semantic(0.1))
    assert (got.row.tolist(), got.witness.tolist()) == ([6], [5])
    for empty in ([], [pl.Series("v", [None, []], dtype=pl.List(pl.Float32))]):
        n = 2 * len(empty)
        assert decide(to_vectors(empty, n), None, None, 0, Semantic()).row.tolist() == []
        assert pairs(to_vectors(empty, n), None, Semantic()).left.tolist() == []


def test_ragged_vectors_name_two_rows() -> None:
    first = pl.Series("v", [None, [1.0, 2.0]], dtype=pl.List(pl.Float64))
    with pytest.raises(SchemaError, match="row 1 has 2 numbers, row 3 has 3"):
        to_vectors([first, pl.Series("v", [[1.0, 2.0], [1.0, 2.0, 3.0]])], 4)
    for bad in (pl.Series("v", ["a"]), pl.Series("v", [1.0]), pl.Series("v", [["a"]]), pl.Series("v", [[True]])):
        with pytest.raises(SchemaError, match="embed"):
            to_vectors([bad], 1)


def test_nearest_centroids_are_exact_however_rows_are_cut() -> None:
    rng = np.random.default_rng(5)
    v = vectors_of(rng.normal(size=(500, 12)).astype(np.float32))
    centers = vectors_of(rng.normal(size=(40, 12)).astype(np.float32)).unit
    centers[20] = centers[3]  # a tie: the first one wins
    exact = v.unit.astype(np.float64) @ centers.T.astype(np.float64)
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :4]
    assert (nearest(v, centers, 4) == expected).all()
    some = np.array([5, 400, 77])
    assert (nearest(v.take(some), centers, 4) == expected[some]).all()


def test_clusters_find_what_they_say(monkeypatch) -> None:
    rng = np.random.default_rng(6)
    v = vectors_of(planted(rng, 20_000, 32, 0.3, 0.3))
    group = rng.integers(0, 2, 20_000)
    exact = pairs(v, group, Semantic(0.9, index="exact"))
    monkeypatch.setattr(semantic, "EXACT", 1.0)  # chosen by size, then
    found = pairs(v, group, Semantic(0.9, recall=0.95))
    assert found.report["index"] == "clusters"
    assert found.report["nearest"] >= 1
    assert found.report["recall_at_least"] >= 0.95
    true = set(zip(exact.left.tolist(), exact.right.tolist()))
    got = set(zip(found.left.tolist(), found.right.tolist()))
    assert got <= true
    assert len(got) / len(true) >= 0.94
    kept = decide(v, group, None, 0, Semantic(0.9, recall=0.95))
    assert kept.report == found.report
    assert all((w, r) in true for w, r in zip(kept.witness.tolist(), kept.row.tolist()))
    assert not np.isin(kept.witness, kept.row).any()


def test_exact_where_no_clusters_would_do() -> None:
    rng = np.random.default_rng(7)
    v = vectors_of(rng.normal(size=(3000, 8)).astype(np.float32))
    alone = pairs(v, None, Semantic(0.999999, index="clusters"))
    assert (alone.report["index"], len(alone.left)) == ("exact", 0)
    assert "cannot be measured" in alone.report["why"]
    loose = decide(v, None, None, 0, Semantic(0.3, recall=0.999, index="clusters"))
    assert loose.report["index"] == "exact"
    assert "not 0.999" in loose.report["why"]
    assert loose.row.tolist() == decide(v, None, None, 0, Semantic(0.3)).row.tolist()


@pytest.mark.parametrize(
    "bad", [{"threshold": 0}, {"threshold": 1.5}, {"threshold": float("nan")}, {"threshold": True}, {"recall": 1.5},
            {"recall": 0.9999},
            {"index": "hnsw"}]
)  # fmt: skip
def test_options(bad: dict) -> None:
    with pytest.raises(OptionError, match=next(iter(bad))):
        Semantic(**bad)


def test_it_is_a_value() -> None:
    spec = Semantic(0.8, 0.95, "clusters")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert spec.describe() == "cosine >= 0.8, overlapping clusters, recall at least 0.95"
    assert "0.9" in Semantic().describe()
