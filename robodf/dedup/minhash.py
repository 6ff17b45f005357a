"""The keys of texts: minima of their n-grams under many random orders (MinHash), some to a key.

As random orders serve a * x modulo 2^32, a odd, of the upper half of a 64-bit hash x: all orders of one n-gram in one
go of the processor's vectors. Duplicates do not change a minimum, so this is of the set of n-grams.
Source: Broder, "On the resemblance and containment of documents", 1997.

An order has two ends, and both are taken: one half of the keys is made of first n-grams, the other of the last ones
under the same orders. Under each of them two sets of similarity s, of u n-grams together, have the first in common with
probability s, and the first and the last with s (s u - 1) / (u - 1), which is no more than s^2. So to have the one key
makes it no likelier to have the other, and a pair has one of `bands` keys at least as likely as if each had orders of
its own: the promise is kept with half the orders.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import int64, uint32, uint64

from robodf.dedup import arithmetic
from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.lanes import LANES, bare, inner, outlives, text_at, widen
from robodf.dedup.method import Keys
from robodf.dedup.reading import (
    CURSOR,
    Readable,
    bare_block,
    bare_tables,
    begin,
    block,
    ended,
    fresh,
    mixed,
    new_block,
)
from robodf.dedup.shingles import Tables, splitmix


def keys(texts: Readable, tables: Tables, bands: int, rows: int) -> Keys:
    """`bands` keys of `rows` minima each, and two fingerprints: of the sequence of words or characters, of all n-grams.

    Texts that agree on both have the same n-grams, but for a chance of 2^-128.
    """
    n = len(texts.at)
    made = np.empty((bands, n), np.uint64)
    there = np.empty(n, np.bool_)
    same = np.empty((2, n), np.uint64)
    factors = orders(-(-orders_of(bands, rows) // LANES) * LANES)  # some more, so that all lanes are full
    in_ranges(
        n,
        lambda first, end: _keys(
            texts.at, texts.size, texts.plain, tables, factors, rows, made, there, same, first, end
        ),
    )
    return Keys(made, there, same)


def orders_of(bands: int, rows: int) -> int:
    """How many orders `bands` keys of `rows` minima are made of."""
    return -(-bands // 2) * rows


@cache
def orders(count: int) -> np.ndarray:
    """The factors of so many random orders, (count,) uint32; the first ones are the same for every count."""
    return (splitmix(2, count) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)


@kernel
def _keys(at, size, plain, tables, factors, rows, made, there, same, first, end):
    room, cursor = new_block(), np.empty(CURSOR, np.uint64)
    given = bare_tables(tables), bare_block(room), bare(cursor)
    _keys_of(at, size, plain, *given, factors, rows, made, there, same, first, end)
    outlives((tables, room, cursor))


@inner
def _keys_of(at, size, plain, tables, room, cursor, factors, rows, made, there, same, first, end):
    _, grams, sums, _ = room
    least, greatest = np.empty(factors.size, np.uint32), np.empty(factors.size, np.uint32)
    at_least, at_greatest = least.ctypes.data, greatest.ctypes.data
    at_grams, at_factors = grams.ctypes.data, factors.ctypes.data
    half = (made.shape[0] + 1) // 2
    for row in range(first, end):
        text = text_at(at[row], max(size[row], 0))
        least[:] = uint32(0xFFFFFFFF)
        greatest[:] = uint32(0)
        one, two, scale = uint64(0), uint64(0), uint64(1)
        found = int64(0)
        begin(cursor, tables)
        while not ended(cursor):
            count = block(text, plain[row], tables, cursor, room)
            found += count
            for k in range(0, 4 * factors.size, 4 * LANES):
                widen(at_least + k, at_greatest + k, at_grams, count, at_factors + k)
            start, stop = fresh(cursor)
            one += (sums[stop] - sums[start]) * tables.inverse[start] * scale
            scale *= tables.powers[stop - start]
            for k in range(count):
                two += grams[k]
        there[row] = found > 0
        same[0, row], same[1, row] = mixed(one), mixed(two)
        for band in range(made.shape[0]):
            if band < half:
                made[band, row] = _key(least, band * rows, rows, band)
            else:
                made[band, row] = _key(greatest, (band - half) * rows, rows, band)


_key = inner(arithmetic.key)
