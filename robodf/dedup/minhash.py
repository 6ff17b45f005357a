"""The keys of texts: minima of their n-grams under many random orders (MinHash), some to a key.

As random orders serve a * x + b modulo 2^32, a odd, of the upper half of a 64-bit hash x: all orders of one n-gram in
one go of the processor's vectors. Duplicates do not change a minimum, so this is of the set of n-grams.
Source: Broder, "On the resemblance and containment of documents", 1997.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import int64, uint32, uint64

from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.method import Keys
from robodf.dedup.reading import CURSOR, Readable, begin, block, ended, fresh, inner, mixed, new_block, rotated, text_at
from robodf.dedup.shingles import Tables, splitmix


def keys(texts: Readable, tables: Tables, bands: int, rows: int) -> Keys:
    """`bands` keys of `rows` minima each, and two fingerprints of the sequence of words or characters."""
    n = len(texts.at)
    made = np.empty((bands, n), np.uint64)
    there = np.empty(n, np.bool_)
    same = np.empty((2, n), np.uint64)
    factors, offsets = orders(bands * rows)
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
    elements, grams = new_block()
    minima = np.empty(factors.size, np.uint32)
    cursor = np.empty(CURSOR, np.uint64)
    for row in range(first, end):
        text = text_at(at[row], max(size[row], 0))
        minima[:] = uint32(0xFFFFFFFF)
        one, two = uint64(0), uint64(0)
        found = int64(0)
        begin(cursor, tables)
        while not ended(cursor):
            count = block(text, plain[row], tables, cursor, elements, grams)
            found += count
            _lower(minima, grams, count, factors, offsets)
            start, stop = fresh(cursor)
            for k in range(start, stop):
                one = (one + elements[k]) * uint64(0x9FB21C651E98DF25)
                two = (rotated(two, 29) ^ elements[k]) * uint64(0xD6E8FEB86659FD93)
        there[row] = found > 0
        same[0, row], same[1, row] = mixed(one), mixed(two)
        for band in range(made.shape[0]):
            made[band, row] = _key(minima, band, rows)


@inner
def _lower(minima, grams, count, factors, offsets):
    """Four n-grams at once: minima are loaded and stored once for them."""
    fours = count - count % 4
    for i in range(0, fours, 4):
        x0 = uint32(grams[i] >> uint64(32))
        x1 = uint32(grams[i + 1] >> uint64(32))
        x2 = uint32(grams[i + 2] >> uint64(32))
        x3 = uint32(grams[i + 3] >> uint64(32))
        for k in range(minima.size):
            a, b = factors[k], offsets[k]
            # uint32() each time: otherwise all of it is computed in 64 bits, half as many at once.
            low = min(uint32(a * x0 + b), uint32(a * x1 + b))
            high = min(uint32(a * x2 + b), uint32(a * x3 + b))
            minima[k] = min(minima[k], min(low, high))
    for i in range(fours, count):
        x = uint32(grams[i] >> uint64(32))
        for k in range(minima.size):
            minima[k] = min(minima[k], uint32(factors[k] * x + offsets[k]))


@inner
def _key(minima, band, rows):
    """Of the minima of one band and its number, so that bands do not meet."""
    h = uint64(band + 1) * uint64(0x9E3779B97F4A7C15)
    for k in range(band * rows, band * rows + rows):
        h = (rotated(h, 23) ^ uint64(minima[k])) * uint64(0xD6E8FEB86659FD93)
    return h ^ (h >> uint64(32))
