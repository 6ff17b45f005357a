"""From the bytes of a text to the hashes of its n-grams, block by block: a text of any length needs no more memory.

A text is read into *elements* (a hash for each word, or for each character), and n-grams of elements are hashed by a
rolling polynomial modulo 2^64, so that their length costs nothing. Texts of ASCII alone take a path without branches;
the other path computes the same of them.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import int64, uint8, uint64

from robodf.dedup import arithmetic, strings
from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.lanes import bare, inner, text_at
from robodf.dedup.shingles import GOLDEN, ROOM, Tables
from robodf.dedup.wording import bare_window, code_point, new_window, separates, words_of

_GOLDEN = np.uint64(GOLDEN)


class Readable:
    """The strings of a column, as `text_at` and `block` take them."""

    def __init__(self, values: pl.Series, lower: bool):
        found = strings.texts(values)
        self.at, self.size = found.at, found.size
        self.owners = found.owners
        rows = len(self.at)
        self.plain = np.empty(rows, np.bool_)
        """(n,): whether it is ASCII."""
        in_ranges(rows, lambda first, end: _plain(self.at, self.size, self.plain, first, end))
        others = np.flatnonzero(~self.plain)
        if lower and others.size:
            # Only these: Polars copies what it changes. Each row is lowered by itself.
            lowered = strings.texts(values.gather(others).str.to_lowercase())
            self.at[others], self.size[others] = lowered.at, lowered.size
            self.owners += lowered.owners

    def some(self, rows: np.ndarray) -> Readable:
        """Some of the texts, in the order of `rows`."""
        chosen = object.__new__(Readable)
        chosen.at, chosen.size, chosen.plain = self.at[rows], self.size[rows], self.plain[rows]
        chosen.owners = self.owners
        return chosen


@kernel
def _plain(at, size, plain, first, end):
    for row in range(first, end):
        seen = uint8(0)
        text = text_at(at[row], max(size[row], 0))
        for i in range(text.size):
            seen |= text[i]
        plain[row] = seen < 128


mixed = inner(arithmetic.mixed)
_stirred = inner(arithmetic.stirred)
_never_0 = inner(arithmetic.never_0)


@inner
def _characters(text, i, stop, tables, blank, elements, n):
    for j in range(i, stop):
        c = text[j]
        parts = uint64(tables.keep[c] == uint64(0))
        elements[n] = tables.value[c]
        n += int64(parts & blank == uint64(0))
        blank = parts
    return stop, blank, n


@inner
def _characters_of_any(text, i, stop, tables, blank, elements, n):
    while i < stop:
        code, width = code_point(text, i)
        parts = uint64(separates(tables.separates, code))
        if code < 128:
            elements[n] = tables.value[code]
        elif parts:
            elements[n] = tables.value[32]
        else:
            elements[n] = mixed(uint64(code) * _GOLDEN)
        n += int64(parts & blank == uint64(0))
        blank = parts
        i += width
    return i, blank, n


# A cursor holds where the reading of a text is: (next byte, elements in the block, elements of them that gave
# n-grams, elements at the front that were there before, whether the text has ended, n-grams given, state, going on).
# The state is the hash of the word that goes on there, if one does, or whether the last character was a blank.
_NEXT, _COUNT, _USED, _OLD, _ENDED, _GIVEN, _STATE, _OPEN, CURSOR = range(9)


@inner
def new_block():
    """(elements, n-grams, sums of elements by powers of the base, a window of the text) for `block`."""
    room = ROOM + 2
    return np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(room, np.uint64), new_window()


@inner
def bare_block(room):
    """The same room without counts of who uses it; see `bare`."""
    return bare(room[0]), bare(room[1]), bare(room[2]), bare_window(room[3])


@inner
def bare_tables(tables):
    """The same tables without counts of who uses them; see `bare`."""
    return Tables(
        tables.n,
        tables.words,
        tables.blanks,
        bare(tables.value),
        bare(tables.keep),
        bare(tables.runs),
        bare(tables.separates),
        bare(tables.powers),
        bare(tables.inverse),
    )


@inner
def begin(cursor, tables):
    """At the start of a text."""
    for k in range(CURSOR):
        cursor[k] = uint64(0)
    if not tables.words:
        cursor[_STATE] = uint64(tables.blanks)


@inner
def ended(cursor):
    return cursor[_ENDED] != uint64(0)


@inner
def fresh(cursor):
    """(first, end) of the elements that the last `block` was the first to use: each element once."""
    return int64(cursor[_OLD]), int64(cursor[_USED])


@inner
def block(text, plain, tables, cursor, room):
    """Read on, until a block is full or the text has ended; how many hashes of n-grams there are in room[1].

    No hash is 0. The last element of a block that is not the last is left for the next: it may be a blank at the end.
    """
    elements, grams, sums, window = room
    used = int64(cursor[_USED])
    count = int64(cursor[_COUNT])
    old = min(used, tables.n - 1)
    for k in range(count - used + old):
        elements[k] = elements[used - old + k]
    count -= used - old
    i = int64(cursor[_NEXT])
    state = cursor[_STATE]
    if tables.words:
        open_ = cursor[_OPEN] != uint64(0)
        while i < text.size and count <= ROOM // 2 - 2:
            i, state, open_, count = words_of(text, i, plain, tables, window, state, open_, elements, count)
        cursor[_OPEN] = uint64(open_)
    else:
        while i < text.size and count <= ROOM // 2:
            stop = min(text.size, i + ROOM - count)
            if plain:
                i, state, count = _characters(text, i, stop, tables, state, elements, count)
            else:
                i, state, count = _characters_of_any(text, i, stop, tables, state, elements, count)
    last = i >= text.size
    if last and tables.blanks and state != uint64(0) and count > 0:
        count -= 1
    used = count if last else count - 1
    given = _rolled(elements, used, tables, sums, grams)
    if last and given == 0 and used > 0 and cursor[_GIVEN] == uint64(0):
        given = _whole(elements, used, tables, grams)
    cursor[_NEXT], cursor[_COUNT], cursor[_USED], cursor[_OLD] = uint64(i), uint64(count), uint64(used), uint64(old)
    cursor[_ENDED], cursor[_STATE] = uint64(last), state
    cursor[_GIVEN] += uint64(given)
    return given


@inner
def _rolled(elements, count, tables, sums, grams):
    """Of each n-gram the sum of elements[k + j] * base^j, from sums[k], that over all elements before k."""
    n = uint64(tables.n)
    # Three loops: all but the one that adds up are done by vectors.
    for k in range(uint64(count)):
        grams[k] = elements[k] * tables.powers[k]
    h = uint64(0)
    for k in range(uint64(count)):
        sums[k] = h
        h += grams[k]
    sums[count] = h
    given = max(count - tables.n + 1, 0)
    for k in range(uint64(given)):
        grams[k] = _never_0(_stirred((sums[k + n] - sums[k]) * tables.inverse[k]))
    return given


@inner
def _whole(elements, count, tables, grams):
    """One hash of a text of fewer elements than an n-gram."""
    h = uint64(count) * _GOLDEN
    for k in range(count):
        h += elements[k] * tables.powers[k]
    grams[0] = _never_0(mixed(h))
    return 1
