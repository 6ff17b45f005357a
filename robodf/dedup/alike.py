"""Which rows agree on a key: found by hashing, in two passes over the keys, without sorting them."""

from __future__ import annotations

import numpy as np

from robodf.dedup.compiled import kernel
from robodf.errors import OptionError

MOST_ROWS = 2**32 - 1
"""Rows are numbered by u32."""


def collapse(same: np.ndarray, there: np.ndarray, group: np.ndarray | None, rank: np.ndarray | None) -> np.ndarray:
    """The best-ranked of the rows that are the same as each row: (n,) uint32 of row numbers.

    Two rows are the same where both are `there` ((n,) bool) and both have the same group ((n,) uint32, None: one group
    for all) and the same two words of `same` ((2, n) uint64). A row that is like no other, or not there, is its own.
    `rank` ((n,) int64) is a permutation of 0..n-1, 0 is best; None: the position.

    Raises OptionError for more than 2**32-1 rows, ValueError for arrays that do not fit together.

    >>> collapse(np.array([[7, 8, 7], [1, 1, 1]], np.uint64), np.ones(3, bool), None, None)
    array([0, 1, 0], dtype=uint32)
    """
    n = there.size
    if same.shape != (2, n) or same.dtype != np.uint64:
        raise ValueError(f"`same` of {n} rows must be (2, {n}) uint64, not {same.shape} {same.dtype}")
    there, group_of, rank_of = checked(n, there, group, rank)
    same = frozen(same)
    # The key and the second word determine the first word: what agrees on these agrees on both words.
    members, sizes = _classes(frozen(_folded(same)), same[1:], there, group_of, _NO_RANK, 0)
    best = np.arange(n, dtype=np.uint32)
    _point_to_best(members, sizes, rank_of, best)
    return best


def classes(
    keys: np.ndarray, active: np.ndarray, group: np.ndarray, rank: np.ndarray, fixed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The classes of `active` rows with equal key and group, of at least two rows of which not all rank below `fixed`.

    `active`, `group` and `rank` are as `checked` gives them. The answer: the rows of all classes one after another
    (uint32), those of one in ascending order, and how many each class has (uint32).
    """
    return _classes(frozen(keys), _NO_WORDS, active, group, rank, fixed)


def checked(
    n: int, active: np.ndarray, group: np.ndarray | None, rank: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arguments for kernels, which take an empty array for None; refuses what kernels would read wrongly."""
    if n > MOST_ROWS:
        raise OptionError(
            f"dedup by similarity takes at most {MOST_ROWS:,} rows in one process, not {n:,}; "
            "dedup parts of the data first, or run it on a cluster: collect(engine='ray')"
        )
    if active.shape != (n,) or active.dtype != np.bool_:
        raise ValueError(f"rows to look at must be ({n},) bool, not {active.shape} {active.dtype}")
    if group is not None and (group.shape != (n,) or group.dtype != np.uint32):
        raise ValueError(f"groups must be ({n},) uint32, not {group.shape} {group.dtype}")
    if rank is not None and (rank.shape != (n,) or rank.dtype != np.int64):
        raise ValueError(f"ranks must be ({n},) int64, not {rank.shape} {rank.dtype}")
    return frozen(active), _NO_GROUP if group is None else frozen(group), _NO_RANK if rank is None else frozen(rank)


def frozen(array: np.ndarray) -> np.ndarray:
    """The array read-only and contiguous: numba compiles a kernel for each kind of array, so they get all the same."""
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


_NO_GROUP = frozen(np.empty(0, np.uint32))
_NO_RANK = frozen(np.empty(0, np.int64))
_FILTERED = 1 << 20  # rows: of more, the bits do not lie in a cache
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NO_WORDS = frozen(np.empty((0, 0), np.uint64))


@kernel
def mix(x: np.uint64) -> np.uint64:
    """A bijection of 64 bits in which each bit of the answer depends on all (the finaliser of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def _folded(same):
    folded = np.empty(same.shape[1], np.uint64)
    for row in range(folded.size):
        folded[row] = same[0, row] ^ mix(same[1, row])
    return folded


@kernel
def _hashed(key, group, row):
    # For one group a bijection of keys: equal hashes in one group are equal keys.
    if group.size:
        key ^= np.uint64(group[row]) * _GOLDEN
    return mix(key)


@kernel
def _power(least):
    """The exponent of the least power of two that is not below `least`."""
    power = 0
    while (1 << power) < least:
        power += 1
    return power


@kernel
def _agree(words, group, a, b):
    if group.size and group[a] != group[b]:
        return False
    for word in range(words.shape[0]):  # noqa: SIM110 - numba has no all()
        if words[word, a] != words[word, b]:
            return False
    return True


@kernel
def _listed(keys, active):
    """The active rows, without most of those whose key is met once, where they are few enough to find that out."""
    n = keys.size
    listed = np.empty(n, np.uint32)
    rows = 0
    for row in range(n):
        listed[rows] = row
        rows += active[row]
    if rows > _FILTERED:
        return listed[:rows]
    # Two bits for each of about ten hashes a row: met, and met again.
    power = max(_power(rows << 3), 5)
    met = np.zeros(1 << (power - 5), np.uint64)
    shift = np.uint64(64 - power)
    for k in range(rows):
        at = (keys[listed[k]] * _GOLDEN) >> shift
        two = np.uint64(2) * (at & np.uint64(31))
        word = met[at >> np.uint64(5)]
        met[at >> np.uint64(5)] = word | (np.uint64(1) << two) | ((word & (np.uint64(1) << two)) << np.uint64(1))
    again = 0
    for k in range(rows):
        row = listed[k]
        at = (keys[row] * _GOLDEN) >> shift
        listed[again] = row
        again += (met[at >> np.uint64(5)] >> (np.uint64(2) * (at & np.uint64(31)) + np.uint64(1))) & np.uint64(1)
    return listed[:again]


@kernel
def _classes(keys, words, active, group, rank, fixed):
    listed = _listed(keys, active)
    rows = listed.size

    # First the rows are parted by hash, so that each part is grouped within the cache: several times as fast as one
    # large table, or as a filter in front of it, from some millions of rows on.
    part_bits = min(_power(rows >> 14), 11)
    to_part = np.uint64(63 - part_bits)
    ends = np.zeros((1 << part_bits) + 1, np.int64)
    for row in listed:
        ends[((_hashed(keys[row], group, row) >> np.uint64(1)) >> to_part) + np.uint64(1)] += 1
    for part in range(1, ends.size):
        ends[part] += ends[part - 1]
    hashes = np.empty(rows, np.uint64)
    row_of = np.empty(rows, np.uint32)
    fill = ends[:-1].copy()
    for row in listed:
        hashed = _hashed(keys[row], group, row)
        part = (hashed >> np.uint64(1)) >> to_part
        hashes[fill[part]] = hashed
        row_of[fill[part]] = row
        fill[part] += 1

    largest = 0
    for part in range(ends.size - 1):
        largest = max(largest, ends[part + 1] - ends[part])
    table = np.empty(1 << _power(2 * largest), np.uint32)
    class_of = np.empty(largest, np.uint32)
    size_of = np.empty(largest, np.uint32)
    loose = np.empty(largest, np.bool_)
    place = np.empty(largest, np.int64)
    members = np.empty(rows, np.uint32)
    sizes = np.empty(rows // 2, np.uint32)
    written = 0
    found = 0
    for part in range(ends.size - 1):
        first, end = ends[part], ends[part + 1]
        slots = 1 << _power(2 * (end - first))
        mask = np.uint64(slots - 1)
        table[:slots] = 0
        count = 0
        for i in range(end - first):
            hashed = hashes[first + i]
            row = row_of[first + i]
            slot = hashed & mask
            while True:
                other = np.int64(table[slot]) - 1  # the first of a class; -1: nobody
                if other < 0:
                    table[slot] = i + 1
                    class_of[i] = count
                    size_of[count] = 1
                    loose[count] = False
                    count += 1
                    break
                if hashes[first + other] == hashed and _agree(words, group, row_of[first + other], row):
                    class_of[i] = class_of[other]
                    size_of[class_of[i]] += 1
                    break
                slot = (slot + np.uint64(1)) & mask
            if (rank[row] if rank.size else row) >= fixed:
                loose[class_of[i]] = True
        for number in range(count):
            place[number] = -1
            if size_of[number] > 1 and loose[number]:
                place[number] = written
                written += size_of[number]
                sizes[found] = size_of[number]
                found += 1
        for i in range(end - first):
            at = place[class_of[i]]
            if at >= 0:
                members[at] = row_of[first + i]
                place[class_of[i]] = at + 1
    return members[:written].copy(), sizes[:found].copy()


@kernel
def _point_to_best(members, sizes, rank, best):
    end = 0
    for number in range(sizes.size):
        first, end = end, end + sizes[number]
        leader = members[first]
        if rank.size:
            for i in range(first + 1, end):
                if rank[members[i]] < rank[leader]:
                    leader = members[i]
        for i in range(first, end):
            best[members[i]] = leader
