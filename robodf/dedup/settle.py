"""Which rows are kept, from pairs that were verified already: the same answer as that of the walk."""

from __future__ import annotations

from typing import Literal

import numpy as np

from robodf.dedup.alike import frozen
from robodf.dedup.compiled import kernel
from robodf.dedup.walk import Dropped


def settle(
    better: np.ndarray,
    worse: np.ndarray,
    similarity: np.ndarray,
    better_rank: np.ndarray,
    worse_rank: np.ndarray,
    link: Literal["representative", "component"] = "representative",
    keep_none: bool = False,
) -> Dropped:
    """The rows of pairs of similar rows that are not kept, ascending, as int64.

    All arrays have one entry for each pair: two row numbers (int64, negative: a row of `against=`, which is always kept
    and never told of), how similar they are (float64), and the ranks of both (int64: any numbers, but another one for
    each row; less is better). Pairs may come in any order, and more than once.

    link="representative"
        Best-ranked first, a row is dropped if it is similar to a kept better-ranked row: the lexicographically first
        maximal independent set. The witness is the best-ranked such row.
    link="component"
        The best-ranked row of each connected component is kept, and is the witness of the others. The similarity is the
        highest of the row's own pairs, as the row and its witness need not be similar.
    keep_none
        All rows of pairs are dropped. Clusters are as above, and the row that each would have kept is its own witness;
        the similarity of that row is the highest of its pairs.

    Raises ValueError for ranks or pairs that contradict each other.

    >>> found = settle(np.array([4]), np.array([9]), np.array([0.9]), np.array([0]), np.array([1]))
    >>> found.row, found.witness
    (array([9]), array([4]))
    """
    pairs = better.size
    arrays = {"worse": worse, "similarity": similarity, "better_rank": better_rank, "worse_rank": worse_rank}
    for name, array in arrays.items():
        if array.shape != (pairs,):
            raise ValueError(f"{name} of {pairs} pairs has the shape {array.shape}")
    if link not in ("representative", "component"):
        raise ValueError(f"link must be 'representative' or 'component', not {link!r}")
    if not np.all(better_rank < worse_rank):
        raise ValueError("a pair's better row must rank before its worse row")
    if pairs and worse.min() < 0:
        raise ValueError("a row of another data set ranks before all rows of this one")

    # Nodes are numbered by rank, so that less is better from here on.
    ranks, node = np.unique(np.concatenate([better_rank, worse_rank]), return_inverse=True)
    row = np.empty(ranks.size, np.int64)
    row[node[:pairs]] = better
    row[node[pairs:]] = worse
    if not (np.array_equal(row[node[:pairs]], better) and np.array_equal(row[node[pairs:]], worse)):
        raise ValueError("two rows have one rank")
    ascending = np.argsort(row)
    if np.any(row[ascending][1:] == row[ascending][:-1]):
        raise ValueError("a row has two ranks")

    solve = _components if link == "component" else _representatives
    similarity = frozen(similarity.astype(np.float64, copy=False))
    witness, similar = solve(node[:pairs], node[pairs:], similarity, ranks.size)
    dropped = row >= 0
    if not keep_none:
        dropped &= witness != np.arange(ranks.size)
    chosen = ascending[dropped[ascending]]
    return Dropped(row[chosen], row[witness[chosen]], similar[chosen])


@kernel
def _representatives(better, worse, similarity, nodes):
    """For each node its best-ranked kept neighbour and how similar they are; itself, and its most, where it is kept."""
    start = np.zeros(nodes + 1, np.int64)
    for pair in range(worse.size):
        start[worse[pair] + 1] += 1
    for node in range(nodes):
        start[node + 1] += start[node]
    order = np.empty(worse.size, np.int64)
    fill = start[:-1].copy()
    for pair in range(worse.size):
        order[fill[worse[pair]]] = pair
        fill[worse[pair]] += 1

    witness = np.arange(nodes)
    similar = _most(better, worse, similarity, nodes)
    for node in range(nodes):
        most = -1.0
        for i in range(start[node], start[node + 1]):
            pair = order[i]
            other = better[pair]
            if witness[other] == other and (
                other < witness[node] or (other == witness[node] and similarity[pair] > most)
            ):
                witness[node] = other
                most = similarity[pair]
        if witness[node] != node:
            similar[node] = most
    return witness, similar


@kernel
def _components(better, worse, similarity, nodes):
    """For each node the best-ranked of its component, and the highest similarity of the node's own pairs."""
    above = np.arange(nodes)
    for pair in range(worse.size):
        a = better[pair]
        b = worse[pair]
        while above[a] != a:
            above[a] = above[above[a]]
            a = above[a]
        while above[b] != b:
            above[b] = above[above[b]]
            b = above[b]
        above[max(a, b)] = min(a, b)
    for node in range(nodes):  # what is above a node is less, so it is done
        above[node] = above[above[node]]
    return above, _most(better, worse, similarity, nodes)


@kernel
def _most(better, worse, similarity, nodes):
    most = np.full(nodes, -1.0)
    for pair in range(worse.size):
        most[better[pair]] = max(most[better[pair]], similarity[pair])
        most[worse[pair]] = max(most[worse[pair]], similarity[pair])
    return most
