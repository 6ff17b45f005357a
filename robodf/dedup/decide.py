"""Which rows go, of rows that one process reads: twice, first what they are found by, then what is compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from robodf.dedup.columns import THERE, VALUE, WORDS, band_column
from robodf.dedup.exact import Exact, equal_in_memory, equal_rows
from robodf.dedup.groups import Groups
from robodf.dedup.growing import Budget, Growing
from robodf.dedup.how import How
from robodf.dedup.method import Keys
from robodf.dedup.ranks import places
from robodf.errors import FileFormatError, OptionError

MOST_ROWS = 2**32 - 2
MOST_PAIRS = 2**28  # of rows that are alike: some 15 GB while they are listed


class Reading(Protocol):
    """The rows that are compared, in batches, from the first on: VALUE, the columns of the groups and of the rank.

    With `columns` no others are read. It may be called again, and gives the same rows.
    """

    def __call__(self, columns: list[str] | None = None) -> Iterator[pl.DataFrame]: ...


class Decided(NamedTuple):
    """The rows that go, ascending, each with the row because of which; -1 - k is row k of `against`."""

    row: np.ndarray
    witness: np.ndarray
    similarity: np.ndarray
    facts: dict[str, Any]


class Similar(NamedTuple):
    """Pairs of rows that are alike, numbered as in `Decided`, by both numbers."""

    lo: np.ndarray
    hi: np.ndarray
    similarity: np.ndarray
    facts: dict[str, Any]


class Met(NamedTuple):
    """What the first reading keeps of each row. Rows of `against` come first: `fixed` of them."""

    fixed: int
    rows: int
    there: np.ndarray
    same: np.ndarray | None
    bands: list[np.ndarray]
    group: np.ndarray | None
    place: np.ndarray | None

    @property
    def numbers(self) -> np.ndarray:
        return np.arange(self.rows, dtype=np.uint32)

    @property
    def places(self) -> np.ndarray:
        return np.arange(self.rows, dtype=np.int64) if self.place is None else self.place


class Values(NamedTuple):
    """What is compared, of rows that are asked for."""

    rows: Reading
    against: Reading | None

    def of(self, wanted: np.ndarray) -> Iterator[pl.Series]:
        """The values of some rows, by their numbers, ascending."""
        first = 0
        for read in (self.against, self.rows):
            if read is None:
                continue
            for batch in read([VALUE]):
                low, high = np.searchsorted(wanted, (first, first + batch.height))
                if high > low:
                    column = batch.get_column(VALUE)
                    yield column if high - low == batch.height else column.gather(wanted[low:high] - first)
                first += batch.height
                if high == len(wanted):
                    return
        if len(wanted):
            raise FileFormatError(
                f"dedup: {first:,} rows are left of those read first; were files changed? Run it again"
            )


def decide(rows: Reading, against: Reading | None, how: How) -> Decided:
    """The rows that go. The answer is a function of the rows and their order alone."""
    if how.whole:
        return _of_vectors(rows, against, how)
    if isinstance(how.method, Exact) and against is None and hasattr(type(rows), "whole"):
        return _of_equal_in_memory(rows.whole, how)  # type: ignore[attr-defined]
    met, values = _meet(rows, against, how), Values(rows, against)
    if isinstance(how.method, Exact):
        found, facts = _of_equal(equal_rows(met, values), met, how)
    elif how.lazy:
        found, facts = _walked(met, values, how)
    else:
        found, facts = _linked(met, values, how)
    return _numbered(found, met.fixed, {"rows": met.rows - met.fixed, "against": met.fixed, **facts})


def similar(rows: Reading, against: Reading | None, how: How) -> Similar:
    """All pairs of rows that are alike."""
    if how.whole:
        lo, hi, similarity, fixed, facts = _pairs_of_vectors(rows, against, how)
    else:
        met, values = _meet(rows, against, how), Values(rows, against)
        # Not a row of this data set for one of `against`: pairs of two of these are not looked for.
        own = met.numbers >= met.fixed
        best = np.where(own, _same(met._replace(there=met.there & own)), _same(met._replace(there=met.there & ~own)))
        lo, hi, similarity, facts = _edges(met, best, values, how)
        lo, hi, similarity = with_copies(lo, hi, similarity, best, met.fixed)
        fixed = met.fixed
    lo, hi = np.minimum(lo, hi), np.maximum(lo, hi)
    lo, hi = np.where(lo < fixed, -1 - lo, lo - fixed), hi - fixed
    order = np.lexsort((hi, lo))
    return Similar(lo[order], hi[order], similarity[order], facts)


def _numbered(found: tuple, fixed: int, facts: dict[str, Any]) -> Decided:
    """From numbers that go on after those of `against` to numbers of this data set."""
    row, witness, similarity = found
    own = row >= fixed
    row, witness = row[own].astype(np.int64) - fixed, witness[own].astype(np.int64)
    witness = np.where(witness < fixed, -1 - witness, witness - fixed)
    return Decided(row, witness, similarity[own], {**facts, "dropped": len(row)})


def _of_vectors(rows: Reading, against: Reading | None, how: How) -> Decided:
    from robodf.dedup import semantic

    if not how.lazy:
        left, right, similarity, fixed, facts = _pairs_of_vectors(rows, against, how)
        _, _, place = _counted(rows, against, how)
        swap = place[left] > place[right]
        better, worse = np.where(swap, right, left), np.where(swap, left, right)
        return _numbered(settled(better, worse, similarity, place, fixed, how), fixed, facts)
    fixed, group, place = _counted(rows, against, how)
    found = semantic.decide(_vectors(rows, against, len(place)), group, place, fixed, how.method)
    facts = {**found.report, "rows": len(place) - fixed, "against": fixed}
    return _numbered((found.row, found.witness, found.similarity), fixed, facts)


def _pairs_of_vectors(rows: Reading, against: Reading | None, how: How) -> tuple:
    from robodf.dedup import semantic

    fixed, group, place = _counted(rows, against, how)
    found = semantic.pairs(_vectors(rows, against, len(place)), group, how.method, None, fixed)
    return found.left, found.right, found.similarity, fixed, {**found.report, "rows": len(place) - fixed}


def _counted(rows: Reading, against: Reading | None, how: How) -> tuple[int, np.ndarray | None, np.ndarray]:
    """The number of rows of `against`, the groups of all rows, and their places."""
    groups, numbers, ranks = Groups(how.groups), [], []
    columns = [*how.groups, *how.ranks]
    count = fixed = 0
    for earlier, read in ((True, against), (False, rows)):
        if read is None:
            continue
        # Without groups and ranks there is only the value to count rows by.
        for batch in read((how.groups if earlier else columns) or [VALUE]):
            count += batch.height
            if how.within:
                numbers.append(groups.numbers(batch))
            if how.ranks and not earlier:
                ranks.append(batch.select(how.ranks))
        fixed = count if earlier else fixed
    place = places(how, pl.concat(ranks) if ranks else pl.DataFrame(), fixed, count)
    group = np.concatenate(numbers) if numbers else None
    return fixed, group, np.arange(count, dtype=np.int64) if place is None else place


def _vectors(rows: Reading, against: Reading | None, count: int) -> Any:
    from robodf.dedup.vectors import to_vectors

    pieces = (batch.get_column(VALUE) for read in (against, rows) if read is not None for batch in read([VALUE]))
    return to_vectors(pieces, count)


def _meet(rows: Reading, against: Reading | None, how: How) -> Met:
    budget = Budget()
    groups, numbers = Groups(how.groups), Growing(np.uint32, budget)
    bands, same = ([Growing(np.uint64, budget) for _ in range(k)] for k in (how.method.bands, 2))
    there, ranks = [], []
    count = fixed = 0
    known = True
    for earlier, read in ((True, against), (False, rows)):
        if read is None:
            continue
        for batch in read(None):
            count += batch.height
            if count > MOST_ROWS:
                raise OptionError(
                    "dedup: more than 4,294,967,294 rows are too many for one process: use engine='ray', or dedup "
                    "parts first"
                )
            keys = keys_of(batch, how.method)
            there.append(keys.there)
            for kept, band in zip(bands, keys.bands):
                kept.append(band)
            known = known and keys.same is not None
            for kept, word in zip(same, () if keys.same is None else keys.same):
                kept.append(word)
            if how.within:
                numbers.append(groups.numbers(batch))
            if how.ranks and not earlier:
                ranks.append(batch.select(how.ranks))
        fixed = count if earlier else fixed
    return Met(
        fixed,
        count,
        np.concatenate(there) if there else np.zeros(0, bool),
        np.stack([word.finish() for word in same]) if known else None,
        [band.finish() for band in bands],
        numbers.finish() if how.within else None,
        places(how, pl.concat(ranks) if ranks else pl.DataFrame(), fixed, count),
    )


def keys_of(batch: pl.DataFrame, method: Any) -> Keys:
    """The keys of some rows: computed, or those that an index has kept."""
    if THERE not in batch.columns:
        return method.keys(batch.get_column(VALUE))
    n = batch.height
    words = [w for w in WORDS if w in batch.columns]
    names = [THERE, *map(band_column, range(method.bands)), *words]
    if any(batch.get_column(name).null_count() for name in names):
        raise FileFormatError("dedup: an index of which keys are null; build it again")
    there, *kept = (batch.get_column(name).to_numpy() for name in names)
    bands = np.stack(kept[: method.bands]) if method.bands else np.zeros((0, n), np.uint64)
    return Keys(bands, there, np.stack(kept[method.bands :]) if words else None)


def _same(met: Met) -> np.ndarray:
    """For each row the best of those that are the same as it."""
    from robodf.dedup.alike import collapse

    return met.numbers if met.same is None else collapse(met.same, met.there, met.group, met.place)


def _of_equal_in_memory(light: pl.DataFrame, how: How) -> Decided:
    """Of rows that are held as they are: no copy of a value, no second look."""
    if light.height > MOST_ROWS:
        raise OptionError("dedup: more than 4,294,967,294 rows are too many for one process: use engine='ray'")
    place = places(how, light.select(how.ranks), 0, light.height)
    best = equal_in_memory(light.get_column(VALUE), light.select(how.groups), place, how.method)
    row = np.flatnonzero(best != np.arange(len(best), dtype=np.uint32))
    if how.keep == "none":
        gone = np.zeros(len(best), bool)
        gone[row] = True
        gone[best[row]] = True
        row = np.flatnonzero(gone)
    facts = {"rows": light.height, "against": 0, "dropped": len(row)}
    return Decided(row, best[row], np.broadcast_to(1.0, len(row)), facts)


def _of_equal(best: np.ndarray, met: Met, how: How) -> tuple[tuple, dict[str, Any]]:
    row = np.flatnonzero(best != met.numbers)
    if how.keep == "none":
        gone = np.zeros(met.rows, bool)
        gone[row] = True
        gone[best[row]] = True
        row = np.flatnonzero(gone)
    return (row, best[row], np.ones(len(row))), {}


def _walked(met: Met, values: Values, how: How) -> tuple[tuple, dict[str, Any]]:
    """A walk in order of worth: a row is compared with kept rows until one is like it."""
    from robodf.dedup.buckets import find_buckets
    from robodf.dedup.walk import walk

    method, best = how.method, _same(met)
    copies = best != met.numbers
    buckets = find_buckets(met.bands, met.there & ~copies, met.group, met.place, method.cap, met.fixed)
    met.bands.clear()
    wanted = np.sort(buckets.rows).astype(np.int64)
    slot = np.zeros(met.rows, np.uint32)
    slot[wanted] = np.arange(len(wanted), dtype=np.uint32)
    found, checks = walk(buckets, method.hold(values.of(wanted), len(wanted)), slot, method.least, method.cap)
    # A row that is the same as another goes with it: to the same witness, or to that row where it stays.
    to, sure = met.numbers, np.ones(met.rows)
    to[found.row], sure[found.row] = found.witness, found.similarity
    to[copies], sure[copies] = to[best[copies]], sure[best[copies]]
    gone = np.flatnonzero(to != met.numbers)
    facts = {"candidates": len(wanted), "comparisons": checks, **_caps(buckets, method.cap)}
    return (gone, to[gone], sure[gone]), facts


def _linked(met: Met, values: Values, how: How) -> tuple[tuple, dict[str, Any]]:
    """All pairs first, then who stays."""

    best = _same(met)
    better, worse, similarity, facts = _edges(met, best, values, how)
    copies = np.flatnonzero(best != met.numbers)
    copies = copies[copies >= met.fixed]  # nothing is told of rows of `against`
    better, worse = np.concatenate([better, best[copies]]), np.concatenate([worse, copies])
    similarity = np.concatenate([similarity, np.ones(len(copies))])
    return settled(better, worse, similarity, met.places, met.fixed, how), facts


def settled(
    better: np.ndarray, worse: np.ndarray, similarity: np.ndarray, place: np.ndarray, fixed: int, how: How
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who goes, of verified pairs of rows that are numbered on from those of `against`."""
    from robodf.dedup.settle import settle

    better, worse = better.astype(np.int64), worse.astype(np.int64)
    at, after = place[better], place[worse]
    # Rows of `against` have negative numbers there.
    found = settle(better - fixed, worse - fixed, similarity, at, after, how.link, how.keep == "none")
    return found.row + fixed, found.witness + fixed, found.similarity


def _edges(
    met: Met, best: np.ndarray, values: Values, how: How
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """The verified pairs of rows of which each is the best of those that are the same."""
    from robodf.dedup.buckets import candidate_pairs, find_buckets
    from robodf.dedup.walk import verify

    method = how.method
    buckets = find_buckets(met.bands, met.there & (best == met.numbers), met.group, met.place, method.cap, met.fixed)
    met.bands.clear()
    wanted = np.sort(buckets.rows).astype(np.int64)
    slot = np.zeros(met.rows, np.int64)
    slot[wanted] = np.arange(len(wanted))
    held = method.hold(values.of(wanted), len(wanted))
    found, checks = [(np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0))], 0
    for better, worse in candidate_pairs(buckets, method.cap):
        similarity = verify(slot[worse], slot[better], held, method.least)
        alike = similarity >= method.least
        found.append((better[alike], worse[alike], similarity[alike]))
        checks += len(better)
    better, worse, similarity = (np.concatenate(part) for part in zip(*found))
    facts = {"candidates": len(wanted), "comparisons": checks, **_caps(buckets, method.cap)}
    return better, worse, similarity, facts


def with_copies(
    left: np.ndarray, right: np.ndarray, similarity: np.ndarray, best: np.ndarray, fixed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of the best of rows that are the same, as pairs of all of these, and the pairs of the same."""
    order = np.argsort(best, kind="stable")
    of = best[order]
    first, end = (
        np.searchsorted(of, np.stack([left, right]), "left"),
        np.searchsorted(of, np.stack([left, right]), "right"),
    )
    sizes = end - first
    times = sizes[0] * sizes[1]
    # In a run of rows that are the same each one meets those before it, but for those of `against`.
    before = np.where(order >= fixed, np.arange(len(of)) - np.searchsorted(of, of, "left"), 0)
    if (count := int(times.sum() + before.sum())) > MOST_PAIRS:
        raise OptionError(
            f"similar_pairs: {count:,} pairs, most of them of rows that are the same, are more than {MOST_PAIRS:,}; "
            "keep one row of each first, with dedup(on=...), or use clusters(...), which has a row for each row"
        )
    pair = np.repeat(np.arange(len(left)), times)
    k = np.arange(len(pair)) - np.repeat(np.cumsum(times) - times, times)
    a, b = order[first[0][pair] + k // sizes[1][pair]], order[first[1][pair] + k % sizes[1][pair]]
    one = np.repeat(np.arange(len(of)), before)
    other = one - 1 - np.arange(len(one)) + np.repeat(np.cumsum(before) - before, before)
    a, b = np.concatenate([a, order[one]]), np.concatenate([b, order[other]])
    sure = np.concatenate([similarity[pair], np.ones(len(one))])
    own = (a >= fixed) | (b >= fixed)
    return a[own], b[own], sure[own]


def _caps(buckets: Any, cap: int | None) -> dict[str, Any]:
    if cap is None or not buckets.capped_buckets:
        return {}
    return {"cap": cap, "capped_buckets": buckets.capped_buckets, "capped_rows": buckets.capped_rows}
