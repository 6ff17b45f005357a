"""Rows that share a key meet in a bucket: who may be compared with whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import polars as pl

from robodf.dedup.alike import checked, classes
from robodf.dedup.compiled import kernel
from robodf.errors import OptionError

_AT_ONCE = 1 << 26
"""How many keys are looked at at once, in all threads: each takes about 24 bytes meanwhile."""


class Buckets(NamedTuple):
    """Rows with equal keys, as two sparse matrices of places: the place of a row is its position in `rows`."""

    rows: np.ndarray
    """(m,) uint32: all rows that are in a bucket, the best-ranked first."""
    fixed: int
    """The first so many of `rows` are always kept and not compared with each other."""
    start: np.ndarray
    """(buckets + 1,) int64: bucket b has the members[start[b] : start[b + 1]], of which there are at least two."""
    members: np.ndarray
    """uint32: places, ascending in each bucket, so the best-ranked first."""
    of_start: np.ndarray
    """(m + 1,) int64: the row at place p is in the buckets of[of_start[p] : of_start[p + 1]]."""
    of: np.ndarray
    """uint32: numbers of buckets, ascending for each place."""
    capped_buckets: int
    """How many buckets are larger than `cap`: their rows are compared with the best `cap` members only."""
    capped_rows: int
    """How many members these have in all; a row counts once for each of its buckets."""


def find_buckets(
    bands: Iterable[np.ndarray],
    active: np.ndarray,
    group: np.ndarray | None = None,
    rank: np.ndarray | None = None,
    cap: int | None = None,
    fixed: int = 0,
) -> Buckets:
    """The buckets of the `active` rows: those of one group with equal keys in one band.

    Each of `bands` is the (n,) uint64 keys of a band, and is read twice in order, so it may be a memory map; bands are
    taken from an iterator only as they are needed. `active` is (n,) bool, `group` (n,) uint32 (None: one group for
    all), `rank` (n,) int64, a permutation of 0..n-1 of which 0 is best (None: the position). Rows that rank below
    `fixed` are not compared with each other, so buckets of such rows alone are left out.

    Takes about 12 bytes for each row of each bucket, and what a few bands take at a time.

    Raises OptionError for more than 2**32-1 rows or buckets, ValueError for arrays that do not fit together.

    >>> found = find_buckets([np.array([7, 8, 7], np.uint64)], np.ones(3, bool))
    >>> found.rows, found.members
    (array([0, 2], dtype=uint32), array([0, 1], dtype=uint32))
    """
    n = active.size
    active, group_of, rank_of = checked(n, active, group, rank)
    row_at = _inverse(rank_of, n)

    def one(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if keys.shape != (n,) or keys.dtype != np.uint64:
            raise ValueError(f"keys of a band must be ({n},) uint64, not {keys.shape} {keys.dtype}")
        return classes(keys, active, group_of, rank_of, fixed)

    found = list(_in_threads(one, bands, max(1, min(pl.thread_pool_size(), _AT_ONCE // max(n, 1)))))
    sizes = np.concatenate([np.empty(0, np.uint32)] + [sizes for _, sizes in found])
    if sizes.size >= 2**32:
        raise OptionError(
            f"{sizes.size:,} groups of similar rows are more than fit into one process: "
            "split the data with within=, ask for less recall=, or run on a cluster: collect(engine='ray')"
        )
    start = np.zeros(sizes.size + 1, np.int64)
    np.cumsum(sizes, out=start[1:])
    members = np.concatenate([np.empty(0, np.uint32)] + [rows for rows, _ in found])
    del found
    rows, of_start, of = _sort_members(start, members, rank_of, row_at, n)
    best = rows if rank is None else rank[rows]
    large = sizes[sizes > cap] if cap is not None else sizes[:0]
    return Buckets(
        rows,
        int(np.searchsorted(best, fixed)),
        start,
        members,
        of_start,
        of,
        large.size,
        int(large.sum(dtype=np.int64)),
    )


def candidate_pairs(
    buckets: Buckets, cap: int | None = None, at_once: int = 1 << 24
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs that the keep rule may compare, each once: (better, worse) row numbers, uint32, in pieces.

    A pair shares a bucket in which the better row is among the best `cap` members, and the worse is not fixed. Pairs of
    one worse row come together. A piece has about `at_once` pairs.
    """
    m = buckets.rows.size
    size = max(at_once, m)
    stamp = np.full(m, m, np.uint32)
    place = buckets.fixed
    while place < m:
        better, worse = np.empty(size, np.uint32), np.empty(size, np.uint32)
        place, count = _pairs(
            buckets.start, buckets.members, buckets.of_start, buckets.of, most(cap), place, stamp, better, worse
        )
        if count:
            yield buckets.rows[better[:count]], buckets.rows[worse[:count]]


def most(cap: int | None) -> int:
    """`cap` as a number."""
    if cap is None:
        return 2**62
    if cap < 1:
        raise ValueError(f"cap must be at least 1, not {cap}")
    return cap


def _in_threads(one, bands: Iterable[np.ndarray], threads: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`one` of each band, in order, of `threads` bands at a time; a band is taken from the iterator at its turn."""
    if threads == 1:
        yield from map(one, bands)
        return
    with ThreadPoolExecutor(threads, "robodf-dedup") as pool:
        running: deque = deque()
        for keys in bands:
            if len(running) == threads:
                yield running.popleft().result()
            running.append(pool.submit(one, keys))
        while running:
            yield running.popleft().result()


def _inverse(rank: np.ndarray, n: int) -> np.ndarray:
    row_at = np.full(rank.size, n, np.uint32)
    if not _invert(rank, row_at):
        raise ValueError(f"ranks must be a permutation of 0..{n - 1}")
    return row_at


@kernel
def _invert(rank, row_at):
    n = rank.size
    for row in range(n):
        at = rank[row]
        if at < 0 or at >= n or row_at[at] != n:
            return False
        row_at[at] = row
    return True


@kernel
def _sort_members(start, members, rank, row_at, n):
    """Puts places into `members`, ascending in each bucket; the rows at all places, and the buckets of each place.

    Two transpositions of a sparse matrix sort both sides in linear time, however large a bucket is.
    """
    place_of = np.zeros(n, np.uint32)  # first of each rank: is it in a bucket?
    for i in range(members.size):
        at = rank[members[i]] if rank.size else members[i]
        place_of[at] = 1
        members[i] = at
    m = 0
    for at in range(n):
        m += place_of[at]
    rows = np.empty(m, np.uint32)
    m = 0
    for at in range(n):
        if place_of[at]:
            rows[m] = row_at[at] if rank.size else at
            place_of[at] = m
            m += 1

    of_start = np.zeros(m + 1, np.int64)
    for i in range(members.size):
        members[i] = place_of[members[i]]
        of_start[members[i] + 1] += 1
    for place in range(m):
        of_start[place + 1] += of_start[place]
    of = np.empty(members.size, np.uint32)
    fill = of_start[:-1].copy()
    for bucket in range(start.size - 1):
        for i in range(start[bucket], start[bucket + 1]):
            of[fill[members[i]]] = bucket
            fill[members[i]] += 1
    if rank.size:
        fill = start[:-1].copy()
        for place in range(m):
            for i in range(of_start[place], of_start[place + 1]):
                members[fill[of[i]]] = place
                fill[of[i]] += 1
    return rows, of_start, of


@kernel
def _pairs(start, members, of_start, of, cap, place, stamp, better, worse):
    """Fills pairs of the rows from `place` on while there is room; the first row not done, and how many pairs."""
    count = 0
    while place < of_start.size - 1:
        most = 0
        for i in range(of_start[place], of_start[place + 1]):
            most += min(start[of[i] + 1] - start[of[i]], cap)
        if count + min(most, place) > better.size:
            break
        for i in range(of_start[place], of_start[place + 1]):
            first = start[of[i]]
            for j in range(first, min(start[of[i] + 1], first + cap)):
                other = members[j]
                if other >= place:
                    break
                if stamp[other] != place:
                    stamp[other] = place
                    better[count] = other
                    worse[count] = place
                    count += 1
        place += 1
    return place, count
