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
from robodf.dedup.lanes import bare, inner, outlives, text_at
from robodf.dedup.reading import CURSOR, Readable, bare_block, bare_tables, begin, block, ended, new_block
from robodf.dedup.shingles import Tables

_NEAR = 8  # hashes within which two texts are looked at for where they agree again: an edit changes two runs of words
_FEW = 256  # comparisons that take less time than a table
_SHORT = 64  # hashes of a set for which a table takes less time than to lay it beside another
_SEEN = 1 << 16  # bits, of which the hashes of a block set one each
_AT_ONCE = 1 << 20  # bytes of text a thread whose sets are made before they are kept: within the cache


class ShingleSets(NamedTuple):
    """A set for each row, and room for the set that others are compared with: one thread at a time."""

    hashes: np.ndarray
    """(all,) uint64, one set after the other, none twice in a set, none 0."""
    edges: np.ndarray
    """(n + 1,) int64: the set of row k is `hashes[edges[k] : edges[k + 1]]`."""
    table: np.ndarray
    """uint64: the set that was loaded, each hash at the first free place from its lowest bits on; 0 is free."""
    loaded: np.ndarray
    """(3,) int64: how many places of the table are in use, a power of two, or 0 before it is made; where the set that
    was loaded begins and ends."""
    aside: np.ndarray
    """(2, n) uint64: of two sets what is not in common where they are laid side by side."""


def for_thread(held: ShingleSets) -> ShingleSets:
    """The same sets with room of its own, for another thread."""
    return held._replace(
        table=np.empty_like(held.table), loaded=np.zeros_like(held.loaded), aside=np.empty_like(held.aside)
    )


def hold(values: Iterator[pl.Series], rows: int, tables: Tables, lower: bool) -> ShingleSets:
    """The sets of `rows` rows that come in pieces.

    Raises:
        ValueError: the pieces have more or fewer rows.
        OSError: no room for them in the folder of temporary files (beyond 256 MiB they lie there).
    """
    hashes = Growing(np.uint64, whole=True)
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
    return ShingleSets(hashes.finish(), edges, table, np.zeros(3, np.int64), np.empty((2, largest), np.uint64))


def _portions(size: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first, end) of rows that are worked on at once."""
    if not size.size:
        return
    number = np.cumsum(np.maximum(size, 0)) // (_AT_ONCE * pl.thread_pool_size())
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(size)]
    yield from pairwise(edges)


def _in_threads(texts: Readable, tables: Tables, first: int, end: int) -> list[tuple[np.ndarray, np.ndarray]]:
    def run(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        low, high = first + low, first + high
        # A hash or less for each byte: most of it is not touched.
        room = int(np.maximum(texts.size[low:high], 1).sum())
        out = np.empty(room, np.uint64)
        sizes = np.empty(high - low, np.int64)
        filled = _sets(texts.at, texts.size, texts.plain, tables, low, high, out, sizes)
        return out[:filled], sizes

    return in_ranges(end - first, run)


@kernel
def _sets(at, size, plain, tables, first, end, out, sizes):
    """Puts the sets of some rows one after the other; how many hashes these are in all."""
    room, cursor = new_block(), np.empty(CURSOR, np.uint64)
    given = bare_tables(tables), bare_block(room), bare(cursor)
    filled = _sets_of(at, size, plain, *given, first, end, out, sizes)
    outlives((tables, room, cursor))
    return filled


@inner
def _sets_of(at, size, plain, tables, room, cursor, first, end, out, sizes):
    grams = room[1]
    table, seen = np.empty(1024, np.uint64), np.zeros(_SEEN // 64, np.uint64)
    filled = int64(0)
    for row in range(first, end):
        begin(cursor, tables)
        text = text_at(at[row], max(size[row], 0))
        start = filled
        mask = uint64(0)  # no table yet
        while not ended(cursor):
            count = block(text, plain[row], tables, cursor, room)
            if ended(cursor) and filled == start:
                filled = start + _few(grams, count, seen, out[start:])
                break
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
    return filled


@inner
def _few(grams, count, seen, out):
    """Those of a block that differ, and how many: nearly all do, so all before are looked at where one may not."""
    filled = uint64(0)
    for k in range(uint64(count)):
        x = grams[k]
        word, bit = (x >> uint64(6)) & uint64(seen.size - 1), uint64(1) << (x & uint64(63))
        known = seen[word] & bit
        seen[word] |= bit
        if known != uint64(0) and _among(x, out, filled):
            continue
        out[filled] = x
        filled += uint64(1)
    for k in range(filled):
        seen[(out[k] >> uint64(6)) & uint64(seen.size - 1)] = uint64(0)
    return int64(filled)


@inner
def _among(x, out, filled):
    found = False
    for k in range(filled):  # to the end: so it is done by vectors
        found |= out[k] == x
    return found


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
    held.loaded[0] = 0
    held.loaded[1], held.loaded[2] = held.edges[a], held.edges[a + 1]


@inner
def _probe(held, b, least):
    first, end = held.edges[b], held.edges[b + 1]
    mine = held.loaded[2] - held.loaded[1]
    both = mine + end - first
    small = min(mine, end - first)
    if small == 0 or small / (both - small) < least:
        return -1.0
    # The fewest in common that reach `least`, by the division that decides at the end, so that no rounding matters.
    need = max(int64(least / (1.0 + least) * both) - 2, 0)
    while need / (both - need) < least:
        need += 1
    if small < _SHORT:
        common = _by_table(held, held.hashes, first, end, 0, need)
    else:
        common, left, right = _side_by_side(held, first, end)
        if common + min(left, right) < need:
            return -1.0
        if left * right <= _FEW:
            for k in range(right):
                common += int64(_among(held.aside[1, k], held.aside[0], left))
        else:
            common = _by_table(held, held.aside[1], 0, right, common, need)
    return common / (both - common) if common >= need else -1.0


@inner
def _side_by_side(held, first, end):
    """(how many hashes are common to the loaded set and another, how many others there are of each).

    Sets are in the order of their texts, so near-duplicates agree in long runs. After one ends the next is looked for
    close by; what lies between, or all that is left where there is none, is set aside: it may be in common too.
    """
    hashes, aside = held.hashes, held.aside
    i, stop = held.loaded[1], held.loaded[2]
    j = first
    common = left = right = int64(0)
    while i < stop and j < end:
        if hashes[i] == hashes[j]:
            common += 1
            i += 1
            j += 1
            continue
        skip, over = stop - i, end - j
        for b in range(min(_NEAR, end - j)):
            at = -1
            for a in range(min(_NEAR, stop - i)):
                if hashes[i + a] == hashes[j + b]:
                    at = a
                    break
            if at >= 0:
                skip, over = at, b
                break
        for k in range(skip):
            aside[0, left + k] = hashes[i + k]
        for k in range(over):
            aside[1, right + k] = hashes[j + k]
        left, right = left + skip, right + over
        i, j = i + skip, j + over
    for k in range(stop - i):
        aside[0, left + k] = hashes[i + k]
    for k in range(end - j):
        aside[1, right + k] = hashes[j + k]
    return common, left + stop - i, right + end - j


@inner
def _by_table(held, others, first, end, common, need):
    """How many are in common, with those of some others; stops where they cannot be `need`."""
    if held.loaded[0] == 0:
        size = held.loaded[2] - held.loaded[1]
        places = int64(16)
        while places < 2 * size:
            places *= 2
        _fill(held.table, uint64(places - 1), held.hashes, held.loaded[1], held.loaded[2])
        held.loaded[0] = places
    mask = uint64(held.loaded[0] - 1)
    spare = common + end - first - need
    for k in range(first, end):
        x = others[k]
        hit = int64(held.table[_place(held.table, mask, x)] == x)
        common += hit
        spare -= 1 - hit
        if spare < 0:
            return common
    return common


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
