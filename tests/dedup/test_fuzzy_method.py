"""Near-duplicates among texts: against all pairs of sets in plain Python; what does not depend on how rows come."""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import tempfile
from functools import partial
from itertools import combinations

import numpy as np
import polars as pl
import pytest

pytest.importorskip("numba", reason="fuzzy dedup needs numba")

import numba

from robodf.dedup import compare, jaccard
from robodf.dedup.banding import recall_at
from robodf.dedup.fuzzy import Fuzzy
from robodf.dedup.growing import Budget, Growing
from robodf.dedup.shingles import Chars, Words
from robodf.errors import OptionError, SchemaError


@numba.njit
def verified(held, left, right, least):
    """The similarity of each pair, -1 below `least`."""
    found = np.empty(len(left))
    for k in range(len(left)):
        compare.load(held, left[k])
        found[k] = compare.probe(held, left[k], right[k], least)
    return found


def edited(seed, originals=120, copies=5, words=80):
    """Texts, each with copies of which more and more words are changed, moved or left out."""
    draw = np.random.Generator(np.random.PCG64(seed))
    vocabulary = ["".join(draw.choice(list("abcdefgh"), 4)) for _ in range(400)]
    for _ in range(originals):
        text = draw.choice(vocabulary, int(draw.integers(words // 2, words))).tolist()
        yield " ".join(text)
        for copy in range(copies):
            other = list(text)
            for _ in range(int(draw.integers(0, copy + 1))):
                other[int(draw.integers(0, len(other)))] = str(draw.choice(vocabulary))
            cut = int(draw.integers(0, 3))
            yield ", ".join(other[cut:]).title() + "."


def sets_of(rows, n):
    found = []
    for row in rows:
        words = row.lower().replace(",", " ").replace(".", " ").split()
        found.append({tuple(words[k : k + n]) for k in range(max(len(words) - n + 1, 1))})
    return found


def sets_of_characters(rows, n):
    texts = [" ".join(row.lower().replace(",", " ").replace(".", " ").split()) for row in rows]
    return [{text[k : k + n] for k in range(max(len(text) - n + 1, 1))} for text in texts]


@pytest.mark.parametrize("n", [2, 5])
def test_similarities_are_those_of_the_sets(n):
    rows = list(edited(1))
    method = Fuzzy(shingle=Words(n))
    sets = sets_of(rows, n)
    held = method.hold(iter([pl.Series(rows[:100]), pl.Series(rows[100:])]), len(rows))
    pairs = [(a, b) for a, b in combinations(range(len(rows)), 2) if a // 6 == b // 6 or (a + b) % 97 == 0]
    left, right = np.array(pairs).T
    expected = np.array([len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in pairs])
    assert (verified(held, left, right, 0.0) == expected).all()
    for least in (0.5, 0.8, 1.0, *expected[:20]):
        assert (verified(held, left, right, least) == np.where(expected >= least, expected, -1.0)).all()
        assert (verified(held, right, left, least) == np.where(expected >= least, expected, -1.0)).all()


@pytest.mark.parametrize(
    ("method", "words"),
    [(Fuzzy(threshold=0.6, recall=0.95), 80), (Fuzzy(), 160), (Fuzzy(shingle=Chars(5)), 24)],
    ids=["words(5) at 0.6", "words(5)", "chars(5)"],
)
def test_pairs_are_found_as_often_as_promised(method, words):
    rows = list(edited(2, originals=400, words=words))
    keys = method.keys(pl.Series(rows))
    sets = sets_of(rows, 5) if isinstance(method.shingle, Words) else sets_of_characters(rows, 5)
    found, expected = {}, {}
    for start in range(0, len(rows), 6):
        for a, b in combinations(range(start, start + 6), 2):
            similarity = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
            band = min(int(similarity * 10), 9)
            found.setdefault(band, []).append(bool((keys.bands[:, a] == keys.bands[:, b]).any()))
            expected.setdefault(band, []).append(recall_at(similarity, method.bands, method.rows))
    for band, hits in found.items():
        promised = float(np.mean(expected[band]))
        spread = 4 * np.sqrt(max(promised * (1 - promised), 1e-3) / len(hits))
        assert abs(np.mean(hits) - promised) <= spread, (band, len(hits))
    assert {6, 7, 8, 9} <= set(found)
    # Texts that have nothing in common share no key.
    others = [(keys.bands[:, k] == keys.bands[:, k + 6]).any() for k in range(len(rows) - 6)]
    assert np.mean(others) < 0.01


@pytest.mark.parametrize(("threshold", "recall"), [(0.8, 0.99), (0.9, 0.99), (0.5, 0.9)])
def test_sets_exactly_at_the_threshold_are_found_as_often_as_promised(threshold, recall):
    """As promised and not much more often: the keys are no longer and no shorter than they are said to be."""
    method = Fuzzy(threshold=threshold, recall=recall, shingle=Words(1))
    draw = np.random.Generator(np.random.PCG64(12))
    pairs, size = 3000, 36  # of distinct words: 2 c / (2 * size - c) of them in common
    common = round(2 * size * threshold / (1 + threshold))
    assert abs(common / (2 * size - common) - threshold) < 0.01
    rows = []
    for _ in range(pairs):
        words = [f"w{k}" for k in draw.choice(10**9, 2 * size - common, replace=False)]
        rows += [" ".join(words[:size]), " ".join(words[size - common :])]
    keys = method.keys(pl.Series(rows)).bands
    found = float((keys[:, ::2] == keys[:, 1::2]).any(axis=0).mean())
    promised = recall_at(common / (2 * size - common), method.bands, method.rows)
    assert abs(found - promised) < 4 * np.sqrt(promised * (1 - promised) / pairs)


def test_long_sets_are_compared_exactly_whatever_was_changed():
    """Edits far apart and close together, moved blocks, cuts, and sets with nothing in common."""
    draw = np.random.Generator(np.random.PCG64(21))
    rows = []
    for _ in range(40):
        text = [f"w{k}" for k in draw.integers(0, 5000, int(draw.integers(60, 900)))]
        moved = text[50:] + text[:50]
        some = [f"x{k}" if draw.random() < 0.01 else k for k in text]
        many = [f"x{k}" if draw.random() < 0.1 else k for k in text]
        twice = text + text[: len(text) // 3]
        rows += [text, moved, some, many, text[: len(text) * 4 // 5], ["y"] * 30 + some, twice, text[::-1], text]
    rows = [" ".join(row) for row in rows]
    sets = sets_of(rows, 3)
    held = Fuzzy(shingle=Words(3)).hold(iter([pl.Series(rows)]), len(rows))
    pairs = [(a, b) for a, b in combinations(range(len(rows)), 2) if a // 9 == b // 9 or (a + b) % 97 == 0]
    left, right = np.array(pairs).T
    expected = np.array([len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in pairs])
    assert np.quantile(expected, 0.9) > 0.8
    for least in (0.0, 0.3, 0.8, *expected[:9]):
        assert (verified(held, left, right, least) == np.where(expected >= least, expected, -1.0)).all()
        assert (verified(held, right, left, least) == np.where(expected >= least, expected, -1.0)).all()


@pytest.mark.parametrize("shingle", [Words(3), Chars(5)], ids=lambda s: s.label)
@pytest.mark.parametrize("normalize", ["text", None])
def test_rows_do_not_depend_on_the_rows_beside_them(shingle, normalize):
    rows = [*edited(3, originals=12), None, "", "Éa b c d", "中文没有空格的句子", "...", None, "ŒUVRE  d'été"]
    method = Fuzzy(shingle=shingle, normalize=normalize)
    whole = method.keys(pl.Series(rows))
    column = pl.Series(rows)
    apart = [method.keys(column.slice(k, 1)) for k in range(len(rows))]
    mixed = pl.concat([column.slice(k, 3) for k in range(0, len(rows), 3)], rechunk=False)
    assert mixed.n_chunks() > 10
    many = method.keys(pl.concat([column] * 60, rechunk=False))  # enough rows for threads
    for k, keys in enumerate(zip(whole, method.keys(mixed))):
        assert (keys[0] == keys[1]).all()
        assert (keys[0] == np.concatenate([one[k] for one in apart], axis=-1)).all()
        assert (np.concatenate([keys[0]] * 60, axis=-1) == many[k]).all()
    one, other = method.hold(iter([column]), len(rows)), method.hold(iter([mixed, column]), 2 * len(rows))
    assert one.edges.tolist() == other.edges[: len(rows) + 1].tolist()
    assert other.hashes.tolist() == one.hashes.tolist() * 2


def test_nothing_to_compare():
    rows = ["", None, " ", "?!", "\u3000—", "a", "_"]
    assert Fuzzy().keys(pl.Series(rows)).there.tolist() == [False] * 5 + [True, True]
    assert Fuzzy(normalize=None).keys(pl.Series(rows)).there.tolist() == [False] * 3 + [True] * 4
    assert Fuzzy(normalize=None, shingle=Chars(2)).keys(pl.Series(rows)).there.tolist() == [False] * 2 + [True] * 5
    held = Fuzzy().hold(iter([pl.Series(rows)]), len(rows))
    ends = np.arange(5)
    assert (verified(held, ends, ends, 0.0) == -1.0).all()
    nothing = Fuzzy().keys(pl.Series([], dtype=pl.String))
    assert (nothing.bands.shape, nothing.there.shape, nothing.same.shape) == ((12, 0), (0,), (2, 0))
    assert Fuzzy().keys(pl.Series([None, None])).there.tolist() == [False, False]
    assert len(Fuzzy().hold(iter([]), 0).edges) == 1


def test_fingerprints_are_equal_for_equal_words_in_the_same_order_only():
    rows = ["a b c a b", "A, b; c a b!", "a b c a b c a b", "b a c a b", "ab c a b", "a b c a b"]
    same = Fuzzy(shingle=Words(1)).keys(pl.Series(rows)).same
    assert (same == same[:, :1]).all(axis=0).tolist() == [True, True, False, False, False, True]
    assert (same[0] == same[0, 0]).tolist() == [True, True, False, False, False, True]
    assert (same[1] == same[1, 0]).tolist() == [True, True, False, True, False, True]  # of n-grams in any order
    assert (same[0] != same[1]).all()
    same = Fuzzy(shingle=Words(1), normalize=None).keys(pl.Series(rows)).same
    assert (same[0] == same[0, 0]).tolist() == [True, False, False, False, False, True]


def test_categories_are_texts_and_numbers_are_not():
    rows = ["pick up the cup", "put it down", None]
    expected = Fuzzy().keys(pl.Series(rows))
    for dtype in (pl.Categorical, pl.Enum(rows[:2])):
        assert (Fuzzy().keys(pl.Series(rows, dtype=dtype)).bands == expected.bands).all()
    for values in (pl.Series([1]), pl.Series([b"a"]), pl.Series([["a"]])):
        with pytest.raises(SchemaError, match="cast it to String"):
            Fuzzy().keys(values)
        with pytest.raises(SchemaError, match="cast it to String"):
            Fuzzy().hold(iter([values]), 1)


def test_a_wrong_number_of_rows_is_refused():
    for rows in (1, 3):
        with pytest.raises(ValueError, match="announced"):
            Fuzzy().hold(iter([pl.Series(["a", "b"])]), rows)


def test_sets_of_all_sizes():
    """From none to far more than the table of the kernel has room for at first."""
    rows = [" ".join(str(k) for k in range(size)) for size in (0, 1, 2, 31, 32, 33, 511, 512, 1024, 5000, 70_000)]
    held = Fuzzy(shingle=Words(1)).hold(iter([pl.Series(rows)]), len(rows))
    sizes = [0, 1, 2, 31, 32, 33, 511, 512, 1024, 5000, 70_000]
    assert np.diff(held.edges).tolist() == sizes
    pairs = [(a, b) for a in range(len(rows)) for b in range(len(rows))]
    left, right = np.array(pairs).T
    expected = [min(sizes[a], sizes[b]) / max(sizes[a], sizes[b]) if sizes[a] and sizes[b] else -1.0 for a, b in pairs]
    assert verified(held, left, right, 0.0).tolist() == expected


def test_each_thread_loads_what_it_compares():
    held = Fuzzy(shingle=Words(1)).hold(iter([pl.Series(["a b", "b c d", "a"])]), 3)
    other = jaccard.for_thread(held)

    @numba.njit
    def both(held, other):
        compare.load(held, 0)
        compare.load(other, 1)
        return compare.probe(held, 0, 2, 0.0), compare.probe(other, 1, 2, 0.0)

    assert both(held, other) == (0.5, 0.0)


def test_sets_beyond_memory_lie_in_a_file_and_are_the_same(monkeypatch, tmp_path):
    rows = list(edited(4, originals=40))
    column = pl.Series(rows)
    expected = Fuzzy().hold(iter([column]), len(rows))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(jaccard, "Growing", partial(Growing, budget=Budget(1000)))
    held = Fuzzy().hold(iter([column[:100], column[100:]]), len(rows))
    assert (held.hashes == expected.hashes).all()
    left, right = np.arange(len(rows) - 1), np.arange(1, len(rows))
    before = len(verified.signatures)
    assert (verified(held, left, right, 0.1) == verified(expected, left, right, 0.1)).all()
    assert len(verified.signatures) <= before + 1  # one kernel for both


def test_an_array_grows_in_memory_and_in_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for most in (0, 8, 100, 1 << 20):
        growing = Growing(np.uint64, Budget(most))
        parts = [np.arange(k, dtype=np.uint64) * 3 for k in (0, 1, 5, 0, 40, 1000)]
        for part in parts:
            growing.append(part)
        growing.append(np.arange(20)[::2])
        assert os.listdir(tmp_path) == []  # a file without a name is not left behind, whatever ends the process
        assert len(growing) == 1056
        whole = growing.finish()
        assert whole.tolist() == [*np.concatenate(parts).tolist(), *range(0, 20, 2)]
        assert type(whole) is np.ndarray
        assert not whole.flags.writeable
    assert Growing(np.float32).finish().tolist() == []
    with pytest.raises(ValueError, match="one dimension"):
        Growing(np.uint8).append(np.zeros((2, 2)))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_an_error_that_names_the_folder(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "w+b", buffering=0))  # noqa: SIM115
    growing = Growing(np.uint8, Budget(10))
    with pytest.raises(OSError, match="set TMPDIR") as error:
        growing.append(np.zeros(1 << 20, np.uint8))
    assert error.value.errno == errno.ENOSPC


def test_options():
    method = Fuzzy(threshold=0.7, shingle=Chars(3), normalize=None, cap=None)
    assert pickle.loads(pickle.dumps(method)) == method
    assert len({method, Fuzzy(threshold=0.7, shingle=Chars(3), normalize=None, cap=None), Fuzzy()}) == 2
    assert (method.bands, method.rows, method.least, method.cap) == (37, 6, 0.7, None)
    assert method.describe() == "jaccard of chars(3) as they are >= 0.7, 37 bands x 6 rows, recall >= 0.9902"
    for wrong in (
        *({"threshold": t} for t in (0, 1.5, "0.8", None, float("nan"), True)),
        *({"recall": r} for r in (0, 1, "1", None)),
        *({"shingle": s} for s in (5, "words", None)),
        *({"normalize": n} for n in ("lower", True, 1)),
        *({"cap": c} for c in (0, -1, 1.5, True)),
        {"threshold": 0.01},
    ):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            Fuzzy(**wrong)


def test_bytes_of_texts_are_not_copied_for_ascii():
    from robodf.dedup.reading import Readable

    column = pl.Series(["a long text of ascii letters", "a läng text of other letters", "short"])
    readable = Readable(column, True)
    place = column.to_arrow(compat_level=pl.CompatLevel.newest()).buffers()[2]
    assert place.address <= readable.at[0] < place.address + place.size
    assert not place.address <= readable.at[1] < place.address + place.size
    assert ctypes.string_at(int(readable.at[1]), int(readable.size[1])).decode() == column[1]
