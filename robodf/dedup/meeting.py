"""The pairs of one partition of rows by key, and the decisions from all verified pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from robodf.dedup.caps import Caps
from robodf.dedup.columns import BETTER, KEY, ROW, SAME, SIMILARITY, WORDS, WORSE, ranked
from robodf.dedup.exact import Exact, by_hash
from robodf.dedup.groups import Groups
from robodf.dedup.how import How
from robodf.dedup.ranks import order_of


def pairs_of(met: pl.DataFrame, same: bool, how: How, caps: Caps) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Pairs of rows that share a key, as (better rows, worse rows). With `same` each row with the best of its kind."""
    if not met.height:
        return
    place = order_of(met, how)
    fixed = int((met.get_column(ROW) < 0).sum())
    key = met.get_column(KEY).to_numpy()
    known = met.get_column(WORDS[0]).null_count() == 0
    words = np.stack([met.get_column(w).to_numpy() for w in WORDS]) if known else None
    group = Groups(how.groups).numbers(met) if how.within else None
    there = np.ones(met.height, bool)
    if same:
        assert words is not None
        best = by_hash(words, there, group, place)
        own = met.get_column(ROW).to_numpy() >= 0  # nothing is told of rows of an earlier data set
        copy = np.flatnonzero((best != np.arange(met.height)) & own)
        yield met[best[copy]], met[copy]
        return
    from robodf.dedup.buckets import candidate_pairs, find_buckets

    # Under each key only the best of rows that are the same: with the key mixed into the words.
    first = there
    if words is not None:
        mixed = np.stack([words[0] ^ key * _ODD[0], words[1] ^ key * _ODD[1]])
        first = by_hash(mixed, there, group, place) == np.arange(met.height)
    buckets = find_buckets([key], first, group, place, how.method.cap, fixed)
    if how.method.cap is not None and buckets.capped_buckets:
        caps.tell({
            "cap": how.method.cap, "capped_buckets": buckets.capped_buckets, "capped_rows": buckets.capped_rows
        })  # fmt: skip
    for better, worse in candidate_pairs(buckets, how.method.cap):
        yield met[better], met[worse]


def similarity_of(
    pairs: pl.DataFrame, better: str, worse: str, better_value: str, worse_value: str, method: Any
) -> np.ndarray:
    """How similar the two rows of each pair are: float64, -1.0 where that is certain to be below the threshold."""
    left, right = pairs.get_column(better_value), pairs.get_column(worse_value)
    if isinstance(method, Exact):
        return np.where(left.eq_missing(right).to_numpy(), 1.0, -1.0)
    if not pairs.height:
        return np.zeros(0)
    from robodf.dedup.walk import verify

    # What is compared of a row is made once, though it is in many pairs.
    rows = pl.concat([pairs.get_column(better), pairs.get_column(worse)])
    numbers, at, of = np.unique(rows.to_numpy(), return_index=True, return_inverse=True)
    values = pl.concat([left.rename("value"), right.rename("value")]).gather(at)
    held = method.hold(iter([values]), len(numbers))
    return verify(of[pairs.height :], of[: pairs.height], held, method.least)


def gone(pairs: pl.DataFrame, how: How) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who goes, from all verified pairs: (row, witness, similarity), by row; those below 0 are of `against`."""
    from robodf.dedup.settle import settle

    rows = both_rows(pairs, how)
    place = order_of(rows, how)
    ascending = rows.get_column(ROW).to_numpy()
    better, worse = (np.searchsorted(ascending, pairs.get_column(c).to_numpy()) for c in (BETTER, WORSE))
    similarity = pairs.get_column(SIMILARITY).to_numpy()
    numbers = lambda of: ascending[of]  # noqa: E731
    if not how.lazy:
        found = settle(
            numbers(better), numbers(worse), similarity, place[better], place[worse], how.link, how.keep == "none"
        )
        return found.row, found.witness, found.similarity
    copies = pairs.get_column(SAME).to_numpy()
    alike = ~copies
    found = settle(
        numbers(better[alike]), numbers(worse[alike]), similarity[alike], place[better[alike]], place[worse[alike]]
    )
    # A row that is the same as another goes with it: to the same witness, or to that row where it stays.
    to, sure = ascending.copy(), np.ones(len(ascending))
    at = np.searchsorted(ascending, found.row)
    to[at], sure[at] = found.witness, found.similarity
    to[worse[copies]], sure[worse[copies]] = to[better[copies]], sure[better[copies]]
    goes = to != ascending
    return ascending[goes], to[goes], sure[goes]


def both_rows(pairs: pl.DataFrame, how: How) -> pl.DataFrame:
    """Each row of the pairs once, with its ranks, by number."""
    sides = [
        pairs.select(pl.col(row).alias(ROW), *(pl.col(ranked(n, side)).alias(n) for n in how.ranks))
        for row, side in ((BETTER, "better"), (WORSE, "worse"))
    ]
    return pl.concat(sides).unique(ROW).sort(ROW)


_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # the key tells apart what the words do not
