"""Which rows are kept: a walk in keep order that compares a row only with better rows that are kept."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np

from robodf.dedup import compare
from robodf.dedup.alike import frozen
from robodf.dedup.buckets import Buckets, most
from robodf.dedup.compiled import kernel
from robodf.gpu import kernels


class Dropped(NamedTuple):
    """The rows that are not kept, ascending."""

    row: np.ndarray
    """Row numbers."""
    witness: np.ndarray
    """For each the row because of which it is not kept."""
    similarity: np.ndarray
    """float64: how similar the two are, verified."""


class Walked(NamedTuple):
    """What a walk found."""

    dropped: Dropped
    """Which rows are not kept, as uint32 row numbers."""
    checks: int
    """How many pairs were compared."""


def walk(buckets: Buckets, held: Any, slot: np.ndarray | None, least: float, cap: int | None = None) -> Walked:
    """Walks the rows of `buckets`, best-ranked first, and drops each that a kept better-ranked row is similar to.

    A row is dropped iff it shares a bucket with a kept row that ranks better, is among the best `cap` members of that
    bucket (None: of all), and is similar by at least `least`. The witness is the best-ranked such row. Fixed rows are
    kept. So the answer depends on the rows and their ranks alone.

    `held` is a NamedTuple of arrays that `compare.load` and `compare.probe` know, `slot[row]` the number that a row has
    in it (None: its own number). Candidates are compared best-ranked first, until one is similar enough.

    Holds 4 bytes for each row of each bucket, and 8 for each bucket.
    """
    place, witness, similarity, checks = _compiled(_walk, type(held))(
        buckets.start,
        buckets.of_start,
        buckets.of,
        (buckets.rows if slot is None else slot[buckets.rows]).astype(np.int64, copy=False),
        buckets.fixed,
        held,
        float(least),
        most(cap),
    )
    row = buckets.rows[place]
    order = np.argsort(row)
    return Walked(Dropped(row[order], buckets.rows[witness][order], similarity[order]), checks)


def verify(left: np.ndarray, right: np.ndarray, held: Any, least: float) -> np.ndarray:
    """How similar pairs are: float64, -1.0 where that is below `least`. Pairs are two arrays of numbers in `held`.

    Fastest where pairs with an equal `left` are many; they need not come together.
    """
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(f"pairs must be two arrays of one length, not {left.shape} and {right.shape}")
    found = kernels.similarities(left, right, held, least)
    if found is not None:
        return found
    run = _compiled(_verify, type(held))
    left, right = frozen(left.astype(np.int64, copy=False)), frozen(right.astype(np.int64, copy=False))
    if np.all(left[1:] >= left[:-1]):
        return run(left, right, held, float(least))
    order = np.argsort(left, kind="stable")
    similarity = np.empty(left.size, np.float64)
    similarity[order] = run(frozen(left[order]), frozen(right[order]), held, float(least))
    return similarity


@cache
def _compiled(function: Any, kind: type) -> Any:
    # What is kept on disk names the class of what is held, so that a process without its module could not read it.
    return kernel(function) if kind.__module__.startswith("robodf.") else numba.njit(nogil=True)(function)


@kernel
def _sink(heap, size, at):
    """Restores the order of a binary heap below `at`."""
    value = heap[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = value


def _walk(start, of_start, of, number, fixed, held, least, cap):
    rows = number.size
    # The kept members of each bucket, among its best `cap`: only these are ever compared with, so that a bucket of many
    # near-duplicates costs no more than one of a few. The walk is in order of rank, and so are they.
    kept = np.empty(of.size, np.uint32)
    kept_end = start[:-1].copy()
    passed = np.zeros(start.size - 1, np.uint32)
    widest = 0
    for place in range(rows):
        widest = max(widest, of_start[place + 1] - of_start[place])
    # One candidate of each bucket of the row, (place, which bucket): the buckets are merged as far as needed.
    heap = np.empty(widest, np.uint64)
    cursor = np.empty(widest, np.int64)
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)

    dropped = np.empty(rows, np.uint32)
    witness = np.empty(rows, np.uint32)
    similarity = np.empty(rows, np.float64)
    count = 0
    checks = 0
    for place in range(rows):
        first = of_start[place]
        buckets = of_start[place + 1] - first
        alike = False
        size = 0
        if place >= fixed:
            for i in range(buckets):
                bucket = of[first + i]
                cursor[i] = start[bucket]
                if cursor[i] < kept_end[bucket]:
                    heap[size] = (np.uint64(kept[cursor[i]]) << half) | np.uint64(i)
                    size += 1
        if size:
            for at in range(size // 2 - 1, -1, -1):
                _sink(heap, size, at)
            compare.load(held, number[place])
            last = np.int64(-1)
            while size:
                other = np.int64(heap[0] >> half)
                if other != last:
                    last = other
                    checks += 1
                    similar = compare.probe(held, number[place], number[other], least)
                    if similar >= least:
                        alike = True
                        dropped[count] = place
                        witness[count] = other
                        similarity[count] = similar
                        count += 1
                        break
                i = np.int64(heap[0] & low)
                cursor[i] += 1
                if cursor[i] < kept_end[of[first + i]]:
                    heap[0] = (np.uint64(kept[cursor[i]]) << half) | np.uint64(i)
                else:
                    size -= 1
                    heap[0] = heap[size]
                if size:
                    _sink(heap, size, 0)
        for i in range(first, first + buckets):
            bucket = of[i]
            if passed[bucket] < cap:
                passed[bucket] += 1
                if not alike:
                    kept[kept_end[bucket]] = place
                    kept_end[bucket] += 1
    return dropped[:count].copy(), witness[:count].copy(), similarity[:count].copy(), checks


def _verify(left, right, held, least):
    similarity = np.empty(left.size, np.float64)
    for i in range(left.size):
        if i == 0 or left[i] != left[i - 1]:
            compare.load(held, left[i])
        similar = compare.probe(held, left[i], right[i], least)
        similarity[i] = similar if similar >= least else -1.0
    return similarity
