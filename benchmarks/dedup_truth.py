"""The right answers of the dedup benchmarks, by other ways than robodf's: exact joins and exact nearest rows.

Texts are those of dedup_corpora.py: lower-case ASCII words with single blanks. A text is the set of its runs of `size`
words or characters (a shorter text is one run as a whole), two texts have the similarity of Jaccard: the runs that both
have by the runs that either has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import polars as pl


class Shingles(NamedTuple):
    """How a text is cut: `unit` is "words" or "chars"."""

    unit: str
    size: int

    def of(self, text: str) -> set:
        """The set of one text as Python has it: what the fast sets are checked with."""
        units = text.split() if self.unit == "words" else list(text)
        return {tuple(units[at : at + self.size]) for at in range(max(1, len(units) - self.size + 1))}


class Sets(NamedTuple):
    """The sets of all rows: row k has values[starts[k] : starts[k] + sizes[k]], sorted, each once."""

    values: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray


def sets_of(texts: pl.Series, shingles: Shingles) -> Sets:
    """The set of each text, as 64-bit hashes of runs."""
    by_words = shingles.unit == "words"
    if not by_words and shingles.size > 8:
        raise ValueError("up to 8 characters fit into a number")
    units = texts.str.count_matches(" ", literal=True) + 1 if by_words else texts.str.len_bytes()
    counts = np.maximum(1, units.to_numpy().astype(np.int64) - shingles.size + 1)
    starts = np.concatenate([[0], np.cumsum(counts)])
    array = pl.Series(texts).to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    offsets = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    values = np.empty(int(starts[-1]), np.uint64)
    sizes = np.empty(len(texts), np.int64)
    _fill(np.frombuffer(data, np.uint8), offsets, by_words, shingles.size, values, starts, sizes)
    return Sets(values, starts[:-1].copy(), sizes)


@numba.njit(nogil=True)
def _mixed(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


@numba.njit(nogil=True)
def _fill(data, offsets, by_words, size, values, starts, sizes):
    for row in range(offsets.size - 1):
        first, end = offsets[row], offsets[row + 1]
        place = values[starts[row] : starts[row + 1]]
        if by_words:
            words = np.empty(place.size + size - 1, np.uint64)
            count = 0
            word = np.uint64(14695981039346656037)
            for at in range(first, end + 1):
                if at == end or data[at] == 32:
                    words[count] = _mixed(word)
                    count += 1
                    word = np.uint64(14695981039346656037)
                else:
                    word = (word ^ np.uint64(data[at])) * np.uint64(1099511628211)  # FNV-1a
            for run in range(place.size):
                value = np.uint64(0)
                for word in words[run : min(run + size, count)]:
                    value = _mixed(value ^ word) + np.uint64(0x9E3779B97F4A7C15)
                place[run] = value
        else:
            for run in range(place.size):
                value = np.uint64(0)
                for at in range(first + run, min(first + run + size, end)):
                    value = (value << np.uint64(8)) | np.uint64(data[at])
                place[run] = value
        place.sort()
        kept = 0
        for run in range(place.size):
            if run == 0 or place[run] != place[run - 1]:
                place[kept] = place[run]
                kept += 1
        sizes[row] = kept


@numba.njit(nogil=True)
def _common(values, start, size, other_start, other_size):
    a, b, both = start, other_start, 0
    while a < start + size and b < other_start + other_size:
        if values[a] == values[b]:
            both += 1
            a += 1
            b += 1
        elif values[a] < values[b]:
            a += 1
        else:
            b += 1
    return both


class Pairs(NamedTuple):
    """Pairs of rows, lo < hi, sorted."""

    lo: np.ndarray
    hi: np.ndarray
    similarity: np.ndarray


def join(sets: Sets, least: float) -> Pairs:
    """All pairs of at least this similarity, none missed: the prefix filter of Bayardo, Ma and Srikant (WWW 2007).

    Two sets of similarity t share one of the rarest size - ceil(t * size) + 1 values of the larger.
    """
    at = np.arange(sets.values.size)
    inside = at - np.repeat(sets.starts, np.diff(np.append(sets.starts, sets.values.size)))
    flat = sets.values[inside < np.repeat(sets.sizes, np.diff(np.append(sets.starts, sets.values.size)))]
    del at, inside
    distinct, numbers, counts = np.unique(flat, return_inverse=True, return_counts=True)
    del flat
    rank = np.empty(distinct.size, np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(distinct.size)
    ranks = rank[numbers]
    starts = np.concatenate([[0], np.cumsum(sets.sizes)])
    for row in range(sets.sizes.size):
        ranks[starts[row] : starts[row + 1]].sort()  # the rarest first
    order = np.argsort(sets.sizes, kind="stable")
    posted = np.concatenate([[0], np.cumsum(np.sort(counts, kind="stable"))])
    lo, hi, similarity = _join(ranks, starts, order, posted, least)
    sorted_ = np.lexsort((hi, lo))
    return Pairs(lo[sorted_], hi[sorted_], similarity[sorted_])


@numba.njit(nogil=True)
def _join(ranks, starts, order, posted, least):
    rows = order.size
    postings = np.empty(posted[-1], np.int32)
    filled = posted[:-1].copy()
    seen = np.full(rows, -1, np.int64)
    lo, hi, similarity = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024, np.float64)
    found = 0
    for row in order:
        size = starts[row + 1] - starts[row]
        for at in range(starts[row], starts[row] + size - int(np.ceil(least * size - 1e-9)) + 1):
            value = ranks[at]
            for place in range(posted[value], filled[value]):
                other = postings[place]
                other_size = starts[other + 1] - starts[other]  # not above `size`: the small come first
                if seen[other] == row or other_size < least * size - 1e-9:
                    continue
                seen[other] = row
                both = _common(ranks, starts[row], size, starts[other], other_size)
                likeness = both / (size + other_size - both)
                if likeness >= least:
                    if found == lo.size:
                        lo, hi = np.append(lo, lo), np.append(hi, hi)
                        similarity = np.append(similarity, similarity)
                    lo[found], hi[found], similarity[found] = min(row, other), max(row, other), likeness
                    found += 1
            postings[filled[value]] = row
            filled[value] += 1
    return lo[:found], hi[:found], similarity[:found]


def check(texts: pl.Series, shingles: Shingles, least: float) -> None:
    """Compare the join with sets of Python, all pairs of them; AssertionError where they differ."""
    python = [shingles.of(text) for text in texts]
    right = {}
    for hi, one in enumerate(python):
        for lo, other in enumerate(python[:hi]):
            likeness = len(one & other) / len(one | other)
            if likeness >= least:
                right[lo, hi] = likeness
    pairs = join(sets_of(texts, shingles), least)
    found = dict(zip(zip(pairs.lo.tolist(), pairs.hi.tolist()), pairs.similarity.tolist()))
    assert found == right, f"the exact join is wrong: {len(found)} pairs of {len(right)}"


# -- what became of rows -----------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """Of the rows that a tool dropped and kept, or of a sample of each."""

    wrong: float
    """The share of the dropped rows that no kept row is similar to."""
    missed: float
    """The share of rows to drop that were kept: kept rows with a similar kept row before them, by these and the rightly
    dropped ones."""


def verdict_on_texts(sets: Sets, kept: np.ndarray, least: float, sample: int) -> Verdict:
    """How well these rows were kept, by the exact similarity of sampled rows with all kept ones."""
    dropped = np.setdiff1d(np.arange(sets.sizes.size), kept)
    asked, others = _sampled(dropped, sample), _sampled(kept, sample)
    best = _nearest(sets.values, sets.starts, sets.sizes, asked, kept, False)
    earlier = _nearest(sets.values, sets.starts, sets.sizes, others, kept, True)
    return _verdict(best, earlier, dropped.size, kept.size, least, least)


def verdict_on_vectors(vectors: np.ndarray, kept: np.ndarray, least: float, sample: int) -> Verdict:
    """The same by cosine. What is within 1e-5 of the limit, as roundings differ, counts for the tool."""
    dropped = np.setdiff1d(np.arange(len(vectors)), kept)
    asked, others = _sampled(dropped, sample), _sampled(kept, sample)
    best, earlier = _cosines(vectors, asked, kept, False), _cosines(vectors, others, kept, True)
    return _verdict(best, earlier, dropped.size, kept.size, least - 1e-5, least + 1e-5)


def _verdict(best: np.ndarray, earlier: np.ndarray, dropped: int, kept: int, low: float, high: float) -> Verdict:
    wrong = float((best < low).mean()) if best.size else 0.0
    left = float((earlier >= high).mean()) * kept if earlier.size else 0.0
    right = dropped * (1 - wrong)
    return Verdict(wrong, left / (left + right) if left + right else 0.0)


def _sampled(rows: np.ndarray, number: int) -> np.ndarray:
    if rows.size <= number:
        return rows
    return np.sort(np.random.default_rng(29).choice(rows, number, replace=False))


def _nearest(values, starts, sizes, asked, against, earlier: bool) -> np.ndarray:
    """The greatest similarity of each row `asked` with a row of `against`, which is another (or before it)."""
    owners = np.repeat(np.arange(asked.size, dtype=np.int64), sizes[asked])
    parts = [values[starts[row] : starts[row] + sizes[row]] for row in asked]
    wanted = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    order = np.argsort(wanted, kind="stable")
    distinct, counts = np.unique(wanted, return_counts=True)
    posted = np.concatenate([[0], np.cumsum(counts)])
    return _scan(values, starts, sizes, asked, against, earlier, distinct, posted, owners[order])


@numba.njit(nogil=True)
def _scan(values, starts, sizes, asked, against, earlier, distinct, posted, owners):
    slots = 16
    while slots < 2 * distinct.size:
        slots *= 2
    mask = np.uint64(slots - 1)
    table = np.full(slots, -1, np.int64)
    for number in range(distinct.size):
        slot = _mixed(distinct[number]) & mask
        while table[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = number
    best = np.zeros(asked.size, np.float64)
    both = np.zeros(asked.size, np.int64)
    touched = np.empty(asked.size, np.int64)
    for row in against:
        count = 0
        for at in range(starts[row], starts[row] + sizes[row]):
            slot = _mixed(values[at]) & mask
            while table[slot] >= 0 and distinct[table[slot]] != values[at]:
                slot = (slot + np.uint64(1)) & mask
            number = table[slot]
            if number < 0:
                continue
            for owner in owners[posted[number] : posted[number + 1]]:
                if both[owner] == 0:
                    touched[count] = owner
                    count += 1
                both[owner] += 1
        for owner in touched[:count]:
            other = asked[owner]
            if row < other or (row != other and not earlier):
                likeness = both[owner] / (sizes[row] + sizes[other] - both[owner])
                best[owner] = max(best[owner], likeness)
            both[owner] = 0
    return best


def _cosines(vectors: np.ndarray, asked: np.ndarray, against: np.ndarray, earlier: bool) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    best = np.full(asked.size, -1.0)
    for first in range(0, against.size, 8192):
        rows = against[first : first + 8192]
        found = unit[asked] @ unit[rows].T
        allowed = rows[None, :] < asked[:, None] if earlier else rows[None, :] != asked[:, None]
        best = np.maximum(best, np.where(allowed, found, -1.0).max(1, initial=-1.0))
    return best
