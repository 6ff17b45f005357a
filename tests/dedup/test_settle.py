"""The keep rules from verified pairs, against graphs walked in plain Python."""

import numpy as np
import pytest

pytest.importorskip("numba")

from robodf.dedup.settle import settle


def settled_by_hand(edges, rank, link, keep_none) -> dict[int, tuple[int, float]]:
    """`edges`: {(better, worse): similarity}, of which negative rows are always kept."""
    near = {}
    for (a, b), similar in edges.items():
        near.setdefault(a, {})[b] = similar
        near.setdefault(b, {})[a] = similar
    witness = {}
    for row in sorted(near, key=rank.get):
        if link == "component":
            if row not in witness:
                todo = [row]
                while todo:
                    other = todo.pop()
                    if other not in witness:
                        witness[other] = row
                        todo += near[other]
        elif row >= 0:
            kept = [other for other in near[row] if rank[other] < rank[row] and witness[other] == other]
            witness[row] = min(kept, key=rank.get, default=row)
        else:
            witness[row] = row
    return {
        row: (by, near[row][by] if link == "representative" and by != row else max(near[row].values()))
        for row, by in witness.items()
        if row >= 0 and (keep_none or by != row)
    }


def graph(seed):
    """Random pairs of rows, of which the negative ones rank first and have no pairs among themselves."""
    rng = np.random.default_rng(seed)
    theirs, ours = int(rng.integers(0, 8)), int(rng.integers(1, 60))
    rows = [*range(-theirs, 0), *(int(row) for row in rng.choice(10**15, ours, replace=False))]
    ranks = np.sort(rng.choice(10**9, len(rows), replace=False)) - 5 * 10**8
    rank = dict(zip([*rows[:theirs], *rng.permutation(rows[theirs:]).tolist()], ranks.tolist()))
    edges = {}
    for a, b in rng.choice(rows, (int(rng.integers(0, 2 * len(rows))), 2)).tolist():
        a, b = sorted((a, b), key=rank.get)
        if rank[a] < rank[b] and b >= 0:
            edges[a, b] = round(float(rng.random()), 1)
    return edges, rank


def run(edges, rank, link="representative", keep_none=False):
    """`settle` of [((better, worse), similarity)]."""
    better, worse = np.array([pair for pair, _ in edges], np.int64).reshape(-1, 2).T
    ranks = np.vectorize(rank.get, otypes=[np.int64])
    similar = np.array([similar for _, similar in edges], np.float64)
    found = settle(better, worse, similar, ranks(better), ranks(worse), link, keep_none)
    assert np.all(np.diff(found.row) > 0)
    return dict(zip(found.row.tolist(), zip(found.witness.tolist(), found.similarity.tolist())))


@pytest.mark.parametrize("keep_none", [False, True])
@pytest.mark.parametrize("link", ["representative", "component"])
@pytest.mark.parametrize("seed", range(40))
def test_as_by_hand_in_any_order_of_pairs(seed, link, keep_none):
    edges, rank = graph(seed)
    expected = settled_by_hand(edges, rank, link, keep_none)
    pairs = list(edges.items())
    assert run(pairs, rank, link, keep_none) == expected
    rng = np.random.default_rng(seed)
    for _ in range(3):
        if pairs:  # each at least once, some more often
            more = [pairs[i] for i in rng.integers(0, len(pairs), 5)]
            shuffled = [(pairs + more)[i] for i in rng.permutation(len(pairs) + 5)]
            assert run(shuffled, rank, link, keep_none) == expected


@pytest.mark.parametrize("seed", range(40))
def test_what_is_promised_of_kept_rows(seed):
    edges, rank = graph(seed)
    dropped = run(list(edges.items()), rank)
    for row, (witness, similar) in dropped.items():
        assert witness not in dropped
        assert rank[witness] < rank[row]
        assert edges[witness, row] == similar
    for better, worse in edges:
        assert better in dropped or worse in dropped, "two similar rows are both kept"

    nobody = run(list(edges.items()), rank, keep_none=True)
    assert set(nobody) == {row for pair in edges for row in pair if row >= 0}
    assert {row: nobody[row] for row in dropped} == dropped
    assert all(witness == row for row, (witness, _) in nobody.items() if row not in dropped)


def test_a_long_chain_is_one_component_and_many_representatives():
    n = 100_000
    order = np.random.default_rng(0).permutation(n - 1)
    at = np.arange(n - 1)[order]
    similar = np.full(n - 1, 0.9)
    whole = settle(at, at + 1, similar, at, at + 1, "component")
    assert np.array_equal(whole.row, np.arange(1, n))
    assert not whole.witness.any()
    second = settle(at, at + 1, similar, at, at + 1)
    assert np.array_equal(second.row, np.arange(1, n, 2))
    assert np.array_equal(second.witness, np.arange(0, n, 2))


def test_the_highest_of_two_similarities_of_one_pair_counts():
    pair = (1, 2)
    for edges in ([(pair, 0.5), (pair, 0.75)], [(pair, 0.75), (pair, 0.5)]):
        assert run(edges, {1: 0, 2: 1}) == {2: (1, 0.75)}


def test_no_pairs():
    assert run([], {}) == run([], {}, "component", True) == {}


@pytest.mark.parametrize(
    ("edges", "rank", "message"),
    [
        ([((1, 2), 0.5)], {1: 1, 2: 0}, "must rank before"),
        ([((1, 1), 0.5)], {1: 1}, "must rank before"),
        ([((-2, -1), 0.5)], {-2: 0, -1: 1}, "another data set"),
        ([((1, 2), 0.5), ((3, 4), 0.5)], {1: 0, 2: 1, 3: 0, 4: 2}, "two rows have one rank"),
    ],
)
def test_contradictions_are_refused(edges, rank, message):
    with pytest.raises(ValueError, match=message):
        run(edges, rank)


def test_a_row_of_two_ranks_and_other_nonsense_is_refused():
    one, two, three = (np.array([number]) for number in (1, 2, 3))
    with pytest.raises(ValueError, match="a row has two ranks"):
        settle(np.array([1, 1]), np.array([2, 3]), np.ones(2), np.array([0, 1]), np.array([2, 3]))
    with pytest.raises(ValueError, match="link must be"):
        settle(one, two, np.ones(1), one, three, "components")
    with pytest.raises(ValueError, match="similarity of 1 pairs"):
        settle(one, two, np.ones(2), one, three)
