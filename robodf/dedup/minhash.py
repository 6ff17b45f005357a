"""The keys of texts: minima of their n-grams under many random orders (MinHash), some to a key.

As random orders serve a * x + b modulo 2^32, a odd, of the upper half of a 64-bit hash x: all orders of one n-gram in
one go of the processor's vectors. Duplicates do not change a minimum, so this is of the set of n-grams.
Source: Broder, "On the resemblance and containment of documents", 1997.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import int64, uint32, uint64

from robodf.dedup import arithmetic
from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.lanes import LANES, bare, inner, lower_minima, outlives, text_at
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
    # Some more minima than there are, so that all lanes are full.
    factors, offsets = orders(-(-bands * rows // LANES) * LANES)
    in_ranges(
        n,
        lambda first, end: _keys(
            texts.at, texts.size, texts.plain, tables, factors, offsets, rows, made, there, same, first, end
        ),
    )
    return Keys(made, there, same)


@cache
def orders(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) of so many random orders, each (count,) uint32; the first ones are the same for every count."""
    drawn = splitmix(2, count)
    return (drawn >> np.uint64(32)).astype(np.uint32) | np.uint32(1), drawn.astype(np.uint32)


@kernel
def _keys(at, size, plain, tables, factors, offsets, rows, made, there, same, first, end):
    room, cursor = new_block(), np.empty(CURSOR, np.uint64)
    given = bare_tables(tables), bare_block(room), bare(cursor)
    _keys_of(at, size, plain, *given, factors, offsets, rows, made, there, same, first, end)
    outlives((tables, room, cursor))


@inner
def _keys_of(at, size, plain, tables, room, cursor, factors, offsets, rows, made, there, same, first, end):
    _, grams, sums, _ = room
    minima = np.empty(factors.size, np.uint32)
    at_minima, at_grams = minima.ctypes.data, grams.ctypes.data
    at_factors, at_offsets = factors.ctypes.data, offsets.ctypes.data
    for row in range(first, end):
        text = text_at(at[row], max(size[row], 0))
        minima[:] = uint32(0xFFFFFFFF)
        one, two, scale = uint64(0), uint64(0), uint64(1)
        found = int64(0)
        begin(cursor, tables)
        while not ended(cursor):
            count = block(text, plain[row], tables, cursor, room)
            found += count
            for k in range(0, 4 * minima.size, 4 * LANES):
                lower_minima(at_minima + k, at_grams, count, at_factors + k, at_offsets + k)
            start, stop = fresh(cursor)
            one += (sums[stop] - sums[start]) * tables.inverse[start] * scale
            scale *= tables.powers[stop - start]
            for k in range(count):
                two += grams[k]
        there[row] = found > 0
        same[0, row], same[1, row] = mixed(one), mixed(two)
        for band in range(made.shape[0]):
            made[band, row] = _key(minima, band, rows)


_key = inner(arithmetic.key)
