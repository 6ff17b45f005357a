"""From the bytes of a text to the hashes of its n-grams, block by block: a text of any length needs no more memory.

A text is read into *elements* (a hash for each word, or for each character), and n-grams of elements are hashed by a
rolling polynomial modulo 2^64, so that their length costs nothing. Texts of ASCII alone take a path without branches;
the other path computes the same of them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import polars as pl
from numba import int64, types, uint8, uint64
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from robodf.dedup import strings
from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.shingles import GOLDEN

_GOLDEN = np.uint64(GOLDEN)
_ROOM = 2048  # elements of a block: with what is made of them they stay in the nearest cache
inner = numba.njit(nogil=True, boundscheck=False, error_model="numpy")
"""For what is compiled into kernels: they are kept on disk, it is not."""


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


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
    """An address as a pointer to bytes."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.CPointer(types.uint8)(types.int64), build


@inner
def text_at(address, size):
    """The `size` bytes at an address."""
    return carray(_pointer(int64(address)), size)  # type: ignore[call-arg] - the context is numba's to give


@kernel
def _plain(at, size, plain, first, end):
    for row in range(first, end):
        seen = uint8(0)
        text = text_at(at[row], max(size[row], 0))
        for i in range(text.size):
            seen |= text[i]
        plain[row] = seen < 128


@inner
def rotated(x, by):
    return (x << uint64(by)) | (x >> uint64(64 - by))


@inner
def mixed(x):
    """Every bit of it depends on every bit of x; the last step of splitmix64."""
    x = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> uint64(27))) * uint64(0x94D049BB133111EB)
    return x ^ (x >> uint64(31))


@inner
def _code_point(text, i):
    """(code point, bytes) at i. Of bytes that are no UTF-8, something; never from beyond the end."""
    c = int64(text[i])
    left = text.size - i
    if c < 0xC0 or left < 2:
        return c, 1
    if c < 0xE0 or left < 3:
        return (c & 0x1F) << 6 | int64(text[i + 1]) & 0x3F, 2
    if c < 0xF0 or left < 4:
        return (c & 0xF) << 12 | (int64(text[i + 1]) & 0x3F) << 6 | int64(text[i + 2]) & 0x3F, 3
    code = (c & 7) << 18 | (int64(text[i + 1]) & 0x3F) << 12 | (int64(text[i + 2]) & 0x3F) << 6
    return min(code | int64(text[i + 3]) & 0x3F, 0x10FFFF), 4


@inner
def _separates(tables, code):
    return tables.separates[code >> 6] >> uint64(code & 63) & uint64(1) != uint64(0)


@inner
def _words(text, i, stop, tables, h, elements, n):
    """Each byte of an ASCII text without a branch: a word is stored over and over until it has ended."""
    for j in range(i, stop):
        c = text[j]
        keep = tables.keep[c]
        elements[n] = h
        n += int64((keep == uint64(0)) & (h != uint64(0)))
        # Adding, not xor: of equal bytes 64 places apart nothing would be left.
        h = (rotated(h, 9) + tables.value[c]) & keep
    return stop, h, n


@inner
def _words_of_any(text, i, stop, tables, h, elements, n):
    while i < stop:
        code, width = _code_point(text, i)
        if _separates(tables, code):
            elements[n] = h
            n += int64(h != uint64(0))
            h = uint64(0)
        else:
            for j in range(i, i + width):
                h = rotated(h, 9) + tables.value[text[j]]
        i += width
    return i, h, n


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
        code, width = _code_point(text, i)
        parts = uint64(_separates(tables, code))
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
# n-grams, elements at the front that were there before, whether the text has ended, n-grams given, state).
# The state is the hash of the word that has begun, or whether the last character was a blank.
_NEXT, _COUNT, _USED, _OLD, _ENDED, _GIVEN, _STATE, CURSOR = range(8)


@inner
def new_block():
    """(elements, n-grams) for `block`."""
    return np.empty(_ROOM + 2, np.uint64), np.empty(_ROOM + 2, np.uint64)


@inner
def begin(cursor, tables):
    """At the start of a text."""
    for k in range(CURSOR):
        cursor[k] = uint64(0)
    cursor[_STATE] = uint64(tables.blanks)


@inner
def ended(cursor):
    return cursor[_ENDED] != uint64(0)


@inner
def fresh(cursor):
    """(first, end) of the elements that the last `block` was the first to use: each element once."""
    return int64(cursor[_OLD]), int64(cursor[_USED])


@inner
def block(text, plain, tables, cursor, elements, grams):
    """Read on, until a block is full or the text has ended; how many hashes of n-grams there are in `grams`.

    No hash is 0. The last element of a block that is not the last is left for the next: it may be a blank at the end.
    """
    used = int64(cursor[_USED])
    count = int64(cursor[_COUNT])
    old = min(used, tables.n - 1)
    for k in range(count - used + old):
        elements[k] = elements[used - old + k]
    count -= used - old
    unmixed = count
    i = int64(cursor[_NEXT])
    state = cursor[_STATE]
    while i < text.size and count <= _ROOM // 2:
        stop = min(text.size, i + _ROOM - count)
        if tables.words:
            if plain:
                i, state, count = _words(text, i, stop, tables, state, elements, count)
            else:
                i, state, count = _words_of_any(text, i, stop, tables, state, elements, count)
        elif plain:
            i, state, count = _characters(text, i, stop, tables, state, elements, count)
        else:
            i, state, count = _characters_of_any(text, i, stop, tables, state, elements, count)
    last = i >= text.size
    if last and tables.words and state != uint64(0):
        elements[count] = state
        count += 1
    if last and tables.blanks and state != uint64(0) and count > 0:
        count -= 1
    if tables.words:
        for k in range(unmixed, count):
            elements[k] = mixed(elements[k])
    used = count if last else count - 1
    given = _rolled(elements, used, tables, grams)
    if last and given == 0 and used > 0 and cursor[_GIVEN] == uint64(0):
        given = _whole(elements, used, tables, grams)
    cursor[_NEXT], cursor[_COUNT], cursor[_USED], cursor[_OLD] = uint64(i), uint64(count), uint64(used), uint64(old)
    cursor[_ENDED], cursor[_STATE] = uint64(last), state
    cursor[_GIVEN] += uint64(given)
    return given


@inner
def _rolled(elements, count, tables, grams):
    n = tables.n
    given = max(count - n + 1, 0)
    if given == 0:
        return given
    h = uint64(0)
    for k in range(n - 1):
        h = h * tables.base + elements[k]
    out = uint64(0)
    for k in range(given):
        h = h * tables.base + (elements[k + n - 1] - out)
        grams[k] = h
        out = elements[k] * tables.power
    for k in range(given):
        grams[k] = _never_0(mixed(grams[k]))
    return given


@inner
def _whole(elements, count, tables, grams):
    """One hash of a text of fewer elements than an n-gram."""
    h = uint64(count)
    for k in range(count):
        h = h * tables.base + elements[k]
    grams[0] = _never_0(mixed(h))
    return 1


@inner
def _never_0(x):
    return x | uint64(x == uint64(0))
