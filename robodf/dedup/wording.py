"""From the bytes of a text to a hash for each word, 64 bytes at a time.

A window of the text is copied in lower case, with a bit for each byte that separates; words are then found by counting
zeros in these bits, and hashed 16 bytes at once. Only the filling of a window knows of ASCII and UTF-8, so a word has
one hash in whatever text it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import int64, uint8, uint64

from robodf.dedup import arithmetic
from robodf.dedup.lanes import bare, eight_bytes, inner, lower_64, ones, zeros_below

WINDOW = 2048  # bytes; a multiple of 64
_ALL = 0xFFFFFFFFFFFFFFFF
# Ones where a block of 16 bytes has no byte of a word of k bytes: its first and its second half. No byte of UTF-8 is
# 0xFF, so what follows a word is unlike any letter.
_AFTER_LOW = np.array([_ALL << (8 * min(k, 8)) & _ALL for k in range(17)], np.uint64)
_AFTER_HIGH = np.array([_ALL << (8 * max(k - 8, 0)) & _ALL for k in range(17)], np.uint64)
_FRONT = 64  # bytes in front of the letters, and after them, that may be written and read

_step = inner(arithmetic.step)
_finished = inner(arithmetic.finished)
separates = inner(arithmetic.separates)
code_point = inner(arithmetic.code_point)


class Window(NamedTuple):
    """Room for some bytes of a text, and where it lies: to ask an array for its address counts who uses it."""

    letters: np.ndarray
    """uint8, from number 64 on: the bytes in lower case."""
    separates: np.ndarray
    """uint64: bit k % 64 of word k // 64 says whether byte k separates words."""
    starts: np.ndarray
    """uint16: the first bytes of words."""
    last: np.ndarray
    """(64,) uint8: for the end of a text of fewer bytes."""
    at_letters: int
    """The address of the first letter, and of the bits and the end below."""
    at_separates: int
    at_last: int


@inner
def new_window():
    """Room of its own for each thread."""
    letters = np.zeros(_FRONT + WINDOW + 64, np.uint8)
    separates = np.zeros(WINDOW // 64 + 2, np.uint64)
    last = np.zeros(64, np.uint8)
    return Window(
        letters,
        separates,
        np.zeros(WINDOW // 2 + 65, np.uint16),
        last,
        letters.ctypes.data + _FRONT,
        separates.ctypes.data,
        last.ctypes.data,
    )


@inner
def bare_window(window):
    """The same room without counts of who uses it; see `bare`."""
    return Window(
        bare(window.letters),
        bare(window.separates),
        bare(window.starts),
        bare(window.last),
        window.at_letters,
        window.at_separates,
        window.at_last,
    )


@inner
def words_of(text, i, plain, tables, window, h, open_, elements, count):
    """Read a window of a text from byte i on: (next byte, hash of the word that goes on, whether one does, count).

    Each word that ends gives a hash, elements[count] and on. A word that goes on beyond the window is read again from
    its start, unless it is longer than the window.
    """
    if plain:
        size = min(text.size - i, WINDOW)
        _fill(text, i, size, tables, window)
    else:
        size = _fill_any(text, i, open_, tables, window)
    found = _starts(window, size, open_)
    starts, letters, bits = window.starts, window.at_letters, window.at_separates
    taken = size
    if i + size < text.size and found and not _separated(window, size - 1):  # the last word goes on
        taken = int64(starts[found - 1])
        if taken == 0:
            whole = size & ~15
            for at in range(0, whole, 16):
                h = _step(h, eight_bytes(letters + at), eight_bytes(letters + at + 8))
            return i + whole, h, True, count
        found -= 1
    for k in range(uint64(found)):
        start = int64(starts[k])
        # From byte `start` on, at least 57 bits.
        length = zeros_below(eight_bytes(bits + (start >> 3)) >> uint64(start & 7))
        if length > uint64(16):
            length = uint64(0)
            while not _separated(window, start + int64(length)):
                length += uint64(1)
            while length > uint64(16):
                h = _step(h, eight_bytes(letters + start), eight_bytes(letters + start + 8))
                start += 16
                length -= uint64(16)
        if length or not open_:
            low = eight_bytes(letters + start) | _AFTER_LOW[length]
            high = eight_bytes(letters + start + 8) | _AFTER_HIGH[length]
            h = _step(h, low, high)
        open_ = False
        elements[uint64(count)] = _finished(h)
        count += 1
        h = uint64(0)
    return i + taken, h, False, count


@inner
def _separated(window, k):
    return window.separates[k >> 6] >> uint64(k & 63) & uint64(1) != uint64(0)


@inner
def _starts(window, size, open_):
    """How many words start; the first at 0 where the word before the window goes on, though it may have ended there."""
    starts = window.starts
    found = uint64(0)
    before = uint64(1)
    for word in range(uint64((size + 63) // 64)):
        separates = window.separates[word]
        here = ~separates & ((separates << uint64(1)) | before)
        before = separates >> uint64(63)
        if open_:
            here |= uint64(1)
            open_ = False
        at = word * uint64(64)
        after = found + uint64(ones(here))
        # Always eight: how many there are cannot be foreseen, and what is too many is written over.
        while True:
            for k in range(uint64(8)):
                starts[found + k] = at + zeros_below(here)
                here &= here - uint64(1)
            if found + uint64(8) >= after:
                break
            found += uint64(8)
        found = after
    return int64(found)


@inner
def _fill(text, i, size, tables, window):
    """Of a text of ASCII alone."""
    source, into = text.ctypes.data + i, window.at_letters
    runs = _runs(tables)
    whole = size // 64
    for k in range(whole):
        window.separates[k] = lower_64(source + 64 * k, into + 64 * k, runs)
    left = size - 64 * whole
    window.separates[whole + 1] = uint64(_ALL)
    if left == 0:
        window.separates[whole] = uint64(_ALL)
        return
    if i + size >= 64:  # the last 64 bytes, some of them again
        found = lower_64(source + size - 64, into + size - 64, runs) >> uint64(64 - left)
    else:
        for k in range(left):
            window.last[k] = text[i + k]
        found = lower_64(window.at_last, into, runs)
    window.separates[whole] = found | (uint64(_ALL) << uint64(left))


@inner
def _runs(tables):
    r = tables.runs
    return r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8]


@inner
def _fill_any(text, i, open_, tables, window):
    """Of any text: how many bytes, all of whole characters but for the rest of one that the window before began."""
    bits = window.separates
    bits[:] = uint64(_ALL)
    k = 0
    while i + k < text.size and k <= WINDOW - 4:
        code, width = code_point(text, i + k)
        rest = open_ and k < 3 and text[i + k] & 0xC0 == 0x80
        inside = rest or not separates(tables.separates, code)
        for at in range(k, k + width):
            c = text[i + at]
            window.letters[_FRONT + at] = uint8(c + tables.runs[8]) if 65 <= c <= 90 else c
            if inside:
                bits[at >> 6] &= ~(uint64(1) << uint64(at & 63))
        k += width
    return k
