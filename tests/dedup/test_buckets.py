"""Who meets whom: against dictionaries in plain Python."""

from collections import defaultdict

import numpy as np
import pytest

pytest.importorskip("numba")

from robodf.dedup import alike
from robodf.dedup.alike import collapse
from robodf.dedup.buckets import candidate_pairs, find_buckets
from robodf.errors import OptionError


def buckets_by_hand(bands, active, group, rank, fixed=0) -> list[list[int]]:
    """The rows of each bucket, best-ranked first."""
    n = len(active)
    rank = np.arange(n) if rank is None else rank
    found = defaultdict(list)
    for band, keys in enumerate(bands):
        for row in range(n):
            if active[row]:
                found[band, int(keys[row]), 0 if group is None else int(group[row])].append(row)
    rows = [sorted(rows, key=lambda row: rank[row]) for rows in found.values() if len(rows) > 1]
    return sorted(members for members in rows if rank[members[-1]] >= fixed)


def pairs_by_hand(buckets: list[list[int]], rank, cap, fixed=0) -> set[tuple[int, int]]:
    pairs = set()
    for members in buckets:
        for at, worse in enumerate(members):
            if rank[worse] >= fixed:
                pairs |= {(better, worse) for better in members[: at if cap is None else min(at, cap)]}
    return pairs


def as_lists(buckets) -> list[list[int]]:
    members = [buckets.rows[part].tolist() for part in np.split(buckets.members, buckets.start[1:-1])]
    return sorted(members) if buckets.start.size > 1 else []


def drawn(rng, n, bands, kinds, grouped, ranked):
    """Keys that often meet, some rows that are not active, and perhaps groups and ranks."""
    names = rng.integers(0, 2**64, kinds, dtype=np.uint64)
    keys = [names[rng.integers(0, kinds, n)] for _ in range(bands)]
    active = rng.random(n) < 0.9
    group = rng.integers(0, 3, n).astype(np.uint32) if grouped else None
    rank = rng.permutation(n).astype(np.int64) if ranked else None
    return keys, active, group, rank


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("n", "kinds"),
    [(0, 1), (1, 1), (2, 1), (60, 5), (300, 200), (300, 100_000), pytest.param(70_000, 50_000, marks=pytest.mark.slow)],
)
def test_buckets_and_pairs_as_by_hand(n, kinds, grouped, ranked):
    rng = np.random.default_rng(n + kinds)
    bands, active, group, rank = drawn(rng, n, 3, kinds, grouped, ranked)
    for cap, fixed in [(None, 0), (1, n // 3), (2, 0), (3, n)]:
        found = find_buckets(bands, active, group, rank, cap, fixed)
        expected = buckets_by_hand(bands, active, group, rank, fixed)
        ranks = np.arange(n) if rank is None else rank
        assert as_lists(found) == expected
        assert np.all(np.diff(ranks[found.rows]) > 0)
        assert found.fixed == sum(ranks[row] < fixed for row in found.rows)
        for place in range(min(found.rows.size, 500)):
            of = found.of[found.of_start[place] : found.of_start[place + 1]].tolist()
            holding = np.flatnonzero(found.members == place)
            assert of == (np.searchsorted(found.start, holding, "right") - 1).tolist()
        large = [members for members in expected if cap is not None and len(members) > cap]
        assert (found.capped_buckets, found.capped_rows) == (len(large), sum(map(len, large)))

        pieces = list(candidate_pairs(found, cap))
        pairs = [pair for better, worse in pieces for pair in zip(better.tolist(), worse.tolist())]
        assert len(pairs) == len(set(pairs))
        assert set(pairs) == pairs_by_hand(expected, ranks, cap, fixed)


def test_pairs_in_small_pieces_are_the_same_pairs():
    bands, active, group, rank = drawn(np.random.default_rng(5), 400, 4, 40, False, True)
    found = find_buckets(bands, active, group, rank)
    whole = np.concatenate(list(candidate_pairs(found)), axis=1)
    pieces = list(candidate_pairs(found, None, 1))
    assert len(pieces) > 5
    assert np.array_equal(np.concatenate(pieces, axis=1), whole)
    assert np.all(np.diff(rank[whole[1]]) >= 0), "pairs of a row come together"


def test_groups_apart_even_where_their_hashes_meet():
    # The group is mixed in by xor of a multiple: this key of group 1 has the hash of key 0 of group 0.
    keys = np.array([0, 0x9E3779B97F4A7C15, 0, 0x9E3779B97F4A7C15], np.uint64)
    group = np.array([0, 1, 0, 1], np.uint32)
    found = find_buckets([keys], np.ones(4, bool), group)
    assert as_lists(found) == [[0, 2], [1, 3]]
    assert as_lists(find_buckets([keys], np.ones(4, bool), np.array([0, 1, 2, 3], np.uint32))) == []


def test_a_million_equal_keys_are_one_bucket():
    n = 1_000_000
    rank = np.random.default_rng(1).permutation(n).astype(np.int64)
    found = find_buckets([np.full(n, 7, np.uint64)], np.ones(n, bool), None, rank, cap=64)
    assert np.array_equal(found.rows, np.argsort(rank))
    assert np.array_equal(found.members, np.arange(n))
    assert (found.capped_buckets, found.capped_rows) == (1, n)
    assert sum(better.size for better, _ in candidate_pairs(found, 64)) == 64 * 63 // 2 + 64 * (n - 64)


def test_a_million_groups_of_one_key_do_not_meet():
    n = 1_000_000
    group = np.arange(n, dtype=np.uint32)
    found = find_buckets([np.full(n, 7, np.uint64)], np.ones(n, bool), group)
    assert found.rows.size == 0
    group[-1] = 3
    assert as_lists(find_buckets([np.full(n, 7, np.uint64)], np.ones(n, bool), group)) == [[3, n - 1]]


def test_memory_maps_and_generators(tmp_path):
    bands, active, group, rank = drawn(np.random.default_rng(9), 500, 6, 300, True, True)
    np.save(tmp_path / "keys.npy", np.stack(bands))
    mapped = np.load(tmp_path / "keys.npy", mmap_mode="r")
    expected = find_buckets(bands, active, group, rank)
    for given in (mapped, (band for band in mapped), np.stack(bands)):
        found = find_buckets(given, active, group, rank)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected))


def test_bands_are_taken_only_when_it_is_their_turn():
    import polars as pl

    taken = 0

    def bands():
        nonlocal taken
        for number in range(pl.thread_pool_size() + 3):
            taken += 1
            yield np.arange(10, dtype=np.uint64) if number else np.empty(3, np.uint64)

    with pytest.raises(ValueError, match=r"\(10,\) uint64, not \(3,\)"):
        find_buckets(bands(), np.ones(10, bool))
    assert taken <= pl.thread_pool_size() + 1


def test_no_bands_and_no_active_rows():
    for found in (find_buckets([], np.ones(5, bool)), find_buckets([np.zeros(5, np.uint64)], np.zeros(5, bool))):
        assert found.rows.size == found.members.size == found.capped_buckets == 0
        assert list(candidate_pairs(found)) == []


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("n", "kinds"), [(0, 1), (1, 1), (50, 4), (400, 300), (100_000, 30_000)])
def test_collapse_as_by_hand(n, kinds, grouped, ranked):
    rng = np.random.default_rng(n)
    # Few first words and few second words: many agree on one of them only.
    same = np.stack([rng.integers(0, 2**64, kinds, dtype=np.uint64)[rng.integers(0, kinds, n)] % 97 for _ in range(2)])
    there = rng.random(n) < 0.9
    group = rng.integers(0, 3, n).astype(np.uint32) if grouped else None
    rank = rng.permutation(n).astype(np.int64) if ranked else None

    by_value = {}
    for row in range(n) if rank is None else np.argsort(rank):
        if there[row]:
            by_value.setdefault((same[0, row], same[1, row], 0 if group is None else group[row]), row)
    expected = [
        by_value[same[0, row], same[1, row], 0 if group is None else group[row]] if there[row] else row
        for row in range(n)
    ]
    best = collapse(same, there, group, rank)
    assert best.dtype == np.uint32
    assert best.tolist() == expected


def test_collapse_reads_both_words_where_the_folded_key_is_equal():
    # first ^ mix(second) is equal for both: only the words themselves tell them apart.
    second = np.array([1, 2], np.uint64)
    same = np.stack([np.array([alike.mix(word) for word in second], np.uint64), second])
    assert np.unique(alike._folded(alike.frozen(same))).size == 1
    assert collapse(same, np.ones(2, bool), None, None).tolist() == [0, 1]


def test_what_does_not_fit_is_refused():
    keys, active = [np.zeros(3, np.uint64)], np.ones(3, bool)
    for rank in ([0, 1, 1], [0, 1, 3], [-1, 0, 1]):
        with pytest.raises(ValueError, match=r"permutation of 0\.\.2"):
            find_buckets(keys, active, None, np.array(rank))
    with pytest.raises(ValueError, match="ranks must be"):
        find_buckets(keys, active, None, np.array([0.0, 1, 2]))
    with pytest.raises(ValueError, match="groups must be"):
        find_buckets(keys, active, np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="bool"):
        find_buckets(keys, np.ones(3, np.uint8))
    with pytest.raises(ValueError, match="int64"):
        find_buckets([np.zeros(3, np.int64)], active)
    with pytest.raises(ValueError, match="cap must be at least 1"):
        list(candidate_pairs(find_buckets(keys, active), 0))
    with pytest.raises(ValueError, match=r"\(2, 3\) uint64"):
        collapse(np.zeros((3, 2), np.uint64), active, None, None)


def test_more_rows_than_numbers():
    rows = np.broadcast_to(np.True_, (2**32,))
    with pytest.raises(OptionError, match="4,294,967,295 rows"):
        find_buckets([], rows)
