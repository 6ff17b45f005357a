"""Which rows go, of rows that are read in batches: what is read when, and what is told of it."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

import robodf as rd

pytest.importorskip("numba")

from robodf.dedup import decide as decide_module
from robodf.dedup.columns import THERE, VALUE, WORDS, band_column, rank_column, within_column
from robodf.dedup.decide import decide, keys_of, similar, with_copies
from robodf.dedup.exact import Exact
from robodf.dedup.fuzzy import Fuzzy
from robodf.dedup.how import How
from robodf.dedup.shingles import Words
from robodf.errors import OptionError

FUZZY = Fuzzy(threshold=0.6, shingle=Words(1))
TEXTS = ["a b c d e", "x y z", "A b c d f", "x y z", None, "q", "a b c d e", "", "x y w u v", "a b c f g"]


class Rows:
    """Rows that are read in batches; it knows what was asked of it."""

    def __init__(self, frame: pl.DataFrame, size: int = 3):
        self.frame, self.size = frame, size
        self.asked: list[list[str] | None] = []
        self.given = 0

    def __call__(self, columns: list[str] | None = None):
        self.asked.append(columns)
        frame = self.frame if columns is None else self.frame.select(columns)
        for batch in frame.iter_slices(self.size):
            self.given += batch.height
            yield batch


def texts(values: list, size: int = 3, **columns) -> Rows:
    return Rows(pl.DataFrame({VALUE: pl.Series(values, dtype=pl.String), **columns}), size)


def how(method=FUZZY, keep="first", link="representative", within=0, descending=()) -> How:
    return How(method, keep, link, within, descending)


def test_rows_are_read_twice_and_of_the_second_time_the_value_alone() -> None:
    rows = texts(TEXTS, **{within_column(0): [1] * 10, rank_column(0): list(range(10))})
    found = decide(rows, None, how(keep="best", within=1, descending=(False,)))
    assert found.row.tolist() == [2, 3, 6]
    assert found.witness.tolist() == [0, 1, 0]
    assert found.similarity.tolist() == [4 / 6, 1.0, 1.0]
    assert rows.asked == [None, [VALUE]]
    assert (found.row.dtype, found.witness.dtype, found.similarity.dtype) == (np.int64, np.int64, np.float64)


def test_a_second_reading_ends_with_the_last_row_that_met_another() -> None:
    rows = texts(["a b c d e", "a b c d e f", *(f"t{k} u{k} v{k}" for k in range(100))], 2)
    assert decide(rows, None, how()).row.tolist() == [1]
    assert rows.given <= 102 + 4
    alone = texts([f"t{k} u{k} v{k}" for k in range(50)], 5)
    found = decide(alone, None, how(Exact()))
    assert (found.row.size, alone.given) == (0, 50)  # no two hashes are the same: nothing to compare


@pytest.mark.parametrize("size", [1, 2, 4, 1000])
@pytest.mark.parametrize("method", [FUZZY, Exact()])
@pytest.mark.parametrize("keep", ["first", "last", "none"])
@pytest.mark.parametrize("link", ["representative", "component"])
def test_batches_do_not_matter(size: int, method, keep: str, link: str) -> None:
    asked = how(method, keep, link)
    earlier = ["X, y z", "k", "k", "x y z"]
    wanted = decide(texts(TEXTS, 5), texts(earlier, 5), asked)
    found = decide(texts(TEXTS, size), texts(earlier, size), asked)
    for one, other in zip(wanted[:3], found[:3]):
        assert one.tolist() == other.tolist()
    assert found.row.size
    assert (found.row >= 0).all()


def test_what_is_told() -> None:
    found = decide(texts(TEXTS), texts(["a b c d e", "k"]), how())
    assert found.facts["rows"] == 10
    assert found.facts["against"] == 2
    assert found.facts["dropped"] == len(found.row) == 4
    assert found.facts["candidates"] >= 3
    assert 1 <= found.facts["comparisons"] <= 45
    assert "capped_buckets" not in found.facts
    crowd = [f"{' '.join(map(str, range(30)))} w{k}" for k in range(20)]
    capped = decide(texts(crowd), None, how(Fuzzy(threshold=0.6, shingle=Words(1), cap=5)))
    assert capped.facts["cap"] == 5
    assert capped.facts["capped_buckets"] > 0
    assert capped.facts["capped_rows"] > 5
    assert capped.row.tolist() == list(range(1, 20))


def test_earlier_rows_are_numbered_backwards() -> None:
    found = decide(texts(["x y z", "n", "a b c d f"]), texts(["z y x", "A B C D E", "x y z"]), how())
    assert found.row.tolist() == [0, 2]
    assert found.witness.tolist() == [-3, -2]  # the same text goes before one that is similar, though by 1.0
    pairs = similar(texts(["x y z", "n", "a b c d f", "x y z"]), texts(["z y x", "A B C D E", "x y z"]), how())
    assert list(zip(pairs.lo.tolist(), pairs.hi.tolist(), pairs.similarity.tolist())) == [
        (-3, 0, 1.0), (-3, 3, 1.0), (-2, 2, 4 / 6), (-1, 0, 1.0), (-1, 3, 1.0), (0, 3, 1.0),
    ]  # fmt: skip


def test_too_many_rows_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide_module, "MOST_ROWS", 9)
    for against, rows in ((None, TEXTS), (texts(["a", "b"]), TEXTS[:8])):
        with pytest.raises(OptionError, match="too many for one process: use engine='ray', or dedup parts first"):
            decide(texts(rows), against, how())
    assert decide(texts(TEXTS[:9]), None, how()).row.size


def test_no_rows() -> None:
    nothing = Rows(pl.DataFrame(schema={VALUE: pl.String}))
    for method in (FUZZY, Exact()):
        for keep, link in itertools.product(("first", "last", "none"), ("representative", "component")):
            for against in (None, nothing, texts(["a", "a"])):
                assert decide(nothing, against, how(method, keep, link)).row.tolist() == []
    ranked = how(keep="best", descending=(True,))
    assert decide(nothing, texts(["a b", "a b"]), ranked).row.tolist() == []
    assert similar(nothing, texts(["a b", "a b"]), how()).lo.tolist() == []


def test_keys_that_are_known_are_not_computed() -> None:
    values = pl.Series(TEXTS, dtype=pl.String)
    made = FUZZY.keys(values)
    assert made.same is not None
    kept = pl.DataFrame({
        **{band_column(k): band for k, band in enumerate(made.bands)}, THERE: made.there,
        **dict(zip(WORDS, made.same)), VALUE: [None] * len(TEXTS),
    })  # fmt: skip
    found = keys_of(kept, FUZZY)
    assert np.array_equal(found.bands, made.bands)
    assert np.array_equal(found.there, made.there)
    assert found.same is not None
    assert np.array_equal(found.same, made.same)
    assert keys_of(kept.drop(WORDS), FUZZY).same is None


@pytest.mark.parametrize("seed", range(20))
def test_pairs_of_the_best_become_pairs_of_all_that_are_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 14))
    kind = rng.integers(0, max(1, n // 2), n)
    best = np.array([np.flatnonzero(kind == k)[0] for k in kind], np.uint32)
    fixed = int(rng.integers(0, n))
    edges = [(a, b) for a, b in itertools.combinations(np.unique(best).tolist(), 2) if rng.random() < 0.4]
    similarity = {tuple(sorted((kind[a], kind[b]))): rng.random() for a, b in edges}
    left = np.array([a for a, _ in edges], np.uint32)
    right = np.array([b for _, b in edges], np.uint32)
    values = np.array([similarity[tuple(sorted((kind[a], kind[b])))] for a, b in edges])
    found = with_copies(left, right, values, best, fixed)
    wanted = {}
    for a, b in itertools.combinations(range(n), 2):
        key = tuple(sorted((kind[a], kind[b])))
        if b >= fixed and (kind[a] == kind[b] or key in similarity):
            wanted[a, b] = 1.0 if kind[a] == kind[b] else similarity[key]
    assert len(found[0]) == len(wanted)
    assert {(min(a, b), max(a, b)): s for a, b, s in zip(*(part.tolist() for part in found))} == wanted


def test_explain_says_what_the_last_run_verified() -> None:
    frame = rd.from_dict({"t": ["one two three", "one two three four", "ONE two three", "five"]})
    found = frame.dedup("t", method="fuzzy", threshold=0.5)
    assert "last run" not in str(found.explain())
    assert found.collect().height == 2
    assert "(last run: 4 rows, 2 candidates, 1 comparisons, 2 dropped)" in str(found.explain())


def test_more_pairs_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = rd.from_dict({"t": ["pick it up"] * 6})
    earlier = rd.from_dict({"t": ["pick it up", "put it down"] * 20})
    monkeypatch.setattr(decide_module, "MOST_PAIRS", 15)
    assert frame.similar_pairs("t").collect(engine="local").height == 15
    assert earlier.head(1).similar_pairs("t", against=earlier.filter(rd.col("t") != "pick it up")).collect().height == 0
    monkeypatch.setattr(decide_module, "MOST_PAIRS", 14)
    with pytest.raises(OptionError, match="15 pairs, most of them of rows that are the same, are more than 14"):
        frame.similar_pairs("t").collect(engine="local")
