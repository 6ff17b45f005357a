"""Sets of n-grams and how similar two of them are: |A and B| / |A or B|, exact for sets of 64-bit hashes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numba import int64, types, uint64
from numba.extending import overload

from robodf.dedup import compare
from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.growing import Growing
from robodf.dedup.reading import CURSOR, Readable, begin, block, ended, inner, new_block, text_at
from robodf.dedup.shingles import Tables

_AT_ONCE = 4 << 20  # bytes of text a thread whose sets are made before they are kept


class ShingleSets(NamedTuple):
    """A set for each row, and room for the set that others are compared with: one thread at a time."""

    hashes: np.ndarray
    """(all,) uint64, one set after the other, none twice in a set, none 0."""
    edges: np.ndarray
    """(n + 1,) int64: the set of row k is `hashes[edges[k] : edges[k + 1]]`."""
    table: np.ndarray
    """uint64: the set that was loaded, each hash at the first free place from its lowest bits on; 0 is free."""
    loaded: np.ndarray
    """(2,) int64: how many places of the table are in use, a power of two; how many hashes were loaded."""


def for_thread(held: ShingleSets) -> ShingleSets:
    """The same sets with room of its own, for another thread."""
    return held._replace(table=np.empty_like(held.table), loaded=np.ones_like(held.loaded))


def hold(values: Iterator[pl.Series], rows: int, tables: Tables, lower: bool) -> ShingleSets:
    """The sets of `rows` rows that come in pieces.

    Raises:
        ValueError: the pieces have more or fewer rows.
        OSError: no room for them in the folder of temporary files (beyond 256 MiB they lie there).
    """
    hashes = Growing(np.uint64)
    edges = np.zeros(rows + 1, np.int64)
    row = 0
    for piece in values:
        if row + len(piece) > rows:
            raise ValueError(f"{rows} rows were announced, and there are more")
        texts = Readable(piece, lower)
        for first, end in _portions(texts.size):
            for found, sizes in _in_threads(texts, tables, first, end):
                hashes.append(found)
                edges[row + 1 : row + 1 + len(sizes)] = sizes
                row += len(sizes)
    if row != rows:
        raise ValueError(f"{rows} rows were announced, and there are {row}")
    largest = int(edges.max())
    np.cumsum(edges, out=edges)
    table = np.empty(1 << max(4, (2 * largest - 1).bit_length()), np.uint64)
    return ShingleSets(hashes.finish(), edges, table, np.ones(2, np.int64))


def _portions(size: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first, end) of rows that are worked on at once."""
    if not size.size:
        return
    number = np.cumsum(np.maximum(size, 0)) // (_AT_ONCE * pl.thread_pool_size())
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(size)]
    yield from pairwise(edges)


def _in_threads(texts: Readable, tables: Tables, first: int, end: int) -> list[tuple[np.ndarray, np.ndarray]]:
    def run(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        return _sets(texts.at, texts.size, texts.plain, tables, first + low, first + high)

    return in_ranges(end - first, run)


@kernel
def _sets(at, size, plain, tables, first, end):
    """(the sets of some rows one after the other, their sizes)."""
    elements, grams = new_block()
    cursor = np.empty(CURSOR, np.uint64)
    sizes = np.empty(end - first, np.int64)
    table = np.empty(1024, np.uint64)
    bytes_of_all = int64(0)
    for row in range(first, end):
        bytes_of_all += max(size[row], 0)
    out = np.empty(1024 + bytes_of_all // 6, np.uint64)  # a guess: words of five letters
    filled = int64(0)
    for row in range(first, end):
        begin(cursor, tables)
        text = text_at(at[row], max(size[row], 0))
        start = filled
        mask = uint64(0)  # no table yet
        while not ended(cursor):
            count = block(text, plain[row], tables, cursor, elements, grams)
            if filled + count > out.size:
                out = _larger(out, filled, out.size + out.size // 2 + count)
            places = int64(mask) + 1
            while places < 2 * (filled - start + count):
                places *= 2
            if places > int64(mask) + 1:
                mask = uint64(places - 1)
                if places > table.size:
                    table = np.empty(places, np.uint64)
                _fill(table, mask, out, start, filled)
            for k in range(count):
                place = _place(table, mask, grams[k])
                if table[place] == uint64(0):
                    table[place] = grams[k]
                    out[filled] = grams[k]
                    filled += 1
        sizes[row - first] = filled - start
    return out[:filled], sizes


@inner
def _larger(hashes, filled, room):
    larger = np.empty(room, np.uint64)
    for k in range(filled):
        larger[k] = hashes[k]
    return larger


@inner
def _place(table, mask, x):
    """Where x is, or else where it would go."""
    place = x & mask
    while table[place] != uint64(0) and table[place] != x:
        place = (place + uint64(1)) & mask
    return place


@inner
def _fill(table, mask, hashes, first, end):
    """Nothing but these in the table."""
    for k in range(int64(mask) + 1):
        table[k] = uint64(0)
    for k in range(first, end):
        table[_place(table, mask, hashes[k])] = hashes[k]


@inner
def _load(held, a):
    first, end = held.edges[a], held.edges[a + 1]
    places = int64(16)
    while places < 2 * (end - first):
        places *= 2
    _fill(held.table, uint64(places - 1), held.hashes, first, end)
    held.loaded[0] = places
    held.loaded[1] = end - first


@inner
def _probe(held, b, least):
    first, end = held.edges[b], held.edges[b + 1]
    both = held.loaded[1] + end - first
    small = min(held.loaded[1], end - first)
    if small == 0 or small / (both - small) < least:
        return -1.0
    # The fewest in common that reach `least`, by the division that decides at the end, so that no rounding matters.
    need = max(int64(least / (1.0 + least) * both) - 2, 0)
    while need / (both - need) < least:
        need += 1
    spare = end - first - need
    mask = uint64(held.loaded[0] - 1)
    common = int64(0)
    for k in range(first, end):
        x = held.hashes[k]
        hit = int64(held.table[_place(held.table, mask, x)] == x)
        common += hit
        spare -= 1 - hit
        if spare < 0:
            return -1.0
    return common / (both - common)


def _is_sets(held: object) -> bool:
    return isinstance(held, types.NamedTuple) and held.instance_class is ShingleSets


@overload(compare.load)
def _overload_load(held, a):
    if _is_sets(held):
        return lambda held, a: _load(held, a)
    return None


@overload(compare.probe)
def _overload_probe(held, a, b, least):
    if _is_sets(held):
        return lambda held, a, b, least: _probe(held, b, least)
    return None
