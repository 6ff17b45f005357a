"""The walk against the keep rule in plain Python, on numbers on a line."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("numba")

from test_buckets import buckets_by_hand, drawn
from toy_method import Points

from robodf.dedup.buckets import candidate_pairs, find_buckets
from robodf.dedup.settle import settle
from robodf.dedup.walk import verify, walk


def kept_by_hand(bands, at, least, active, group, rank, cap, fixed) -> dict[int, tuple[int, float]]:
    """The rule as it is stated: for each dropped row its witness and how similar they are."""
    n = len(at)
    rank = np.arange(n) if rank is None else rank
    meets = {row: set() for row in range(n)}
    for members in buckets_by_hand(bands, active, group, rank, 0):
        for place, row in enumerate(members):
            meets[row] |= set(members[: place if cap is None else min(place, cap)])
    dropped = {}
    for row in np.argsort(rank).tolist():
        for other in sorted(meets[row], key=lambda other: rank[other]):
            similar = 1.0 - abs(at[row] - at[other])
            if rank[row] >= fixed and other not in dropped and similar >= least:
                dropped[row] = (other, similar)
                break
    return dropped


def as_dict(dropped) -> dict[int, tuple[int, float]]:
    assert np.all(np.diff(dropped.row.astype(np.int64)) > 0)
    return dict(
        zip(dropped.row.tolist(), zip(dropped.witness.tolist(), dropped.similarity.tolist(), strict=True), strict=True)
    )


@pytest.mark.parametrize("seed", range(60))
def test_walk_and_settle_as_by_hand(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 160))
    bands, active, group, rank = drawn(rng, n, int(rng.integers(1, 6)), int(rng.integers(1, 40)), seed % 2, seed % 3)
    at = np.round(rng.random(n) * rng.choice([1, 4, 30]), 2)  # rounded: some are exactly at the limit, or equal
    for cap, fixed, least in [(None, 0, 0.9), (3, 0, 0.7), (1, n // 4, 0.5), (None, n // 2, 0.0), (2, n, 0.5)]:
        expected = kept_by_hand(bands, at, least, active, group, rank, cap, fixed)
        buckets = find_buckets(bands, active, group, rank, cap, fixed)
        found = walk(buckets, Points.of(at), None, least, cap)
        assert as_dict(found.dropped) == expected
        assert set(found.dropped.witness.tolist()).isdisjoint(expected)

        # From all pairs that may be compared, verified, the same: rows below `fixed` as those of another data set.
        ranks = np.arange(n) if rank is None else rank
        better, worse = np.concatenate([np.empty((2, 0), np.uint32), *candidate_pairs(buckets, cap)], axis=1)
        assert found.checks <= better.size
        similar = verify(worse, better, Points.of(at), least)
        alike = similar >= least
        name = np.where(ranks < fixed, -1 - np.arange(n), np.arange(n))
        better, worse = better[alike], worse[alike]
        settled = settle(name[better], name[worse], similar[alike], ranks[better], ranks[worse])
        assert as_dict(settled) == {row: (int(name[by]), value) for row, (by, value) in expected.items()}


def test_slots_say_where_a_row_is_held():
    rng = np.random.default_rng(3)
    bands, active, group, rank = drawn(rng, 200, 4, 60, True, True)
    at = np.round(rng.random(200) * 5, 2)
    buckets = find_buckets(bands, active, group, rank)
    rows = np.sort(buckets.rows)
    slot = np.full(200, 2**32 - 1, np.uint32)
    slot[rows] = np.arange(rows.size)
    found = walk(buckets, Points.of(at[rows]), slot, 0.8)
    whole = walk(buckets, Points.of(at), None, 0.8)
    assert as_dict(found.dropped) == as_dict(whole.dropped) != {}
    assert found.checks == whole.checks


def test_a_bucket_of_near_duplicates_is_compared_once_each():
    n = 200_000
    buckets = find_buckets([np.zeros(n, np.uint64)] * 3, np.ones(n, bool))
    found = walk(buckets, Points.of(np.zeros(n)), None, 0.9)
    assert found.checks == n - 1
    assert np.array_equal(found.dropped.row, np.arange(1, n))
    assert not found.dropped.witness.any()


def test_a_pair_that_meets_in_many_buckets_is_compared_once():
    buckets = find_buckets([np.zeros(50, np.uint64)] * 20, np.ones(50, bool))
    assert walk(buckets, Points.of(np.arange(50)), None, 0.9).checks == 50 * 49 // 2
    assert walk(buckets, Points.of(np.arange(50)), None, 0.9, cap=4).checks == 4 * 3 // 2 + 46 * 4


def test_members_behind_the_cap_are_candidates_of_nobody_dropped_or_not():
    # 0 and 1 are one; 2 and 3 would be, but with a cap of 2 only 0 and 1 are compared with.
    buckets = find_buckets([np.zeros(4, np.uint64)], np.ones(4, bool))
    at = [0.0, 0.0, 9.0, 9.0]
    assert as_dict(walk(buckets, Points.of(at), None, 0.9, cap=2).dropped) == {1: (0, 1.0)}
    assert as_dict(walk(buckets, Points.of(at), None, 0.9, cap=3).dropped) == {1: (0, 1.0), 3: (2, 1.0)}


def test_fixed_rows_drop_others_and_are_not_compared_with_each_other():
    n = 1000
    rank = np.random.default_rng(0).permutation(n).astype(np.int64)
    buckets = find_buckets([np.zeros(n, np.uint64)], np.ones(n, bool), None, rank, None, 900)
    found = walk(buckets, Points.of(np.zeros(n)), None, 0.9)
    assert found.checks == 100
    assert sorted(rank[found.dropped.row]) == list(range(900, n))
    assert set(found.dropped.witness) == set(np.flatnonzero(rank == 0))


def test_a_chain_is_no_cluster():
    buckets = find_buckets([np.zeros(5, np.uint64)], np.ones(5, bool))
    found = walk(buckets, Points.of([0.0, 0.25, 0.5, 0.75, 1.0]), None, 0.75)
    assert as_dict(found.dropped) == {1: (0, 0.75), 3: (2, 0.75)}


def test_the_order_of_rows_does_not_matter_given_their_ranks():
    rng = np.random.default_rng(8)
    n = 3000
    bands, active, group, rank = drawn(rng, n, 5, 700, True, True)
    at = np.round(rng.random(n) * 40, 2)
    expected = walk(find_buckets(bands, active, group, rank, 5), Points.of(at), None, 0.8, 5)
    moved = rng.permutation(n)
    buckets = find_buckets([keys[moved] for keys in reversed(bands)], active[moved], group[moved], rank[moved], 5)
    found = walk(buckets, Points.of(at[moved]), None, 0.8, 5)
    assert found.checks == expected.checks
    order = np.argsort(moved[found.dropped.row])
    assert np.array_equal(moved[found.dropped.row][order], expected.dropped.row)
    assert np.array_equal(moved[found.dropped.witness][order], expected.dropped.witness)
    assert np.array_equal(found.dropped.similarity[order], expected.dropped.similarity)


def test_two_threads_walk_at_once():
    rng = np.random.default_rng(4)
    bands, active, _, rank = drawn(rng, 20_000, 6, 9000, False, True)
    at = np.round(rng.random(20_000) * 100, 2)

    def run(_):
        found = walk(find_buckets(bands, active, None, rank, 8), Points.of(at), None, 0.8, 8)
        return found.checks, as_dict(found.dropped)

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(run, range(8))
    assert first[1]
    assert all(other == first for other in others)


def test_verify_pairs_in_any_order():
    rng = np.random.default_rng(2)
    at = np.round(rng.random(50) * 3, 2)
    left, right = rng.integers(0, 50, (2, 500))
    similar = 1.0 - abs(at[left] - at[right])
    expected = np.where(similar >= 0.25, similar, -1.0)
    for kind in (np.int64, np.uint32):
        assert np.array_equal(verify(left.astype(kind), right.astype(kind), Points.of(at), 0.25), expected)
    order = np.argsort(left)
    assert np.array_equal(verify(left[order], right[order], Points.of(at), 0.25), expected[order])
    assert verify(left[:0], right[:0], Points.of(at), 0.25).size == 0
    with pytest.raises(ValueError, match="one length"):
        verify(left, right[1:], Points.of(at), 0.25)


def test_a_nan_is_like_nothing():
    buckets = find_buckets([np.zeros(3, np.uint64)], np.ones(3, bool))
    held = Points.of([np.nan, 1.0, np.nan])
    assert walk(buckets, held, None, 0.0).dropped.row.size == 0
    assert verify(np.array([0, 1]), np.array([2, 2]), held, 0.0).tolist() == [-1.0, -1.0]


def test_a_cap_of_nothing_is_refused():
    buckets = find_buckets([np.zeros(3, np.uint64)], np.ones(3, bool))
    with pytest.raises(ValueError, match="at least 1"):
        walk(buckets, Points.of([0, 0, 0]), None, 0.5, 0)
