"""From the bytes of a text to the hashes of its n-grams, on the device: what `robodf.dedup.reading` computes.

There 64 bytes are looked at together, window by window; here one thread reads one text byte by byte, as a device has
many threads and each has little room of its own. Hashes of words and n-grams do not depend on that, but for one case:
bytes that are no UTF-8 are read according to where a window begins. So a long word begins a new window here too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba.cuda
import numpy as np
from numba import int64, uint32, uint64

from robodf.dedup.shingles import GOLDEN, MOST, Tables
from robodf.dedup.wording import WINDOW
from robodf.gpu.kernels.scalars import code_point, finished, mixed, never_0, separates, step, stirred

cuda: Any = numba.cuda  # of which type checkers know little

_compiled = cuda.jit
_inner = cuda.jit(device=True)
_GOLDEN = np.uint64(GOLDEN)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)

# What a thread knows of its text, all uint64: the sum of the elements by powers of the base; the next power; the sum of
# the n-grams; the polynomial of the last n elements; elements, n-grams, the place of the oldest of the n elements.
_ONE, _SCALE, _TWO, _WINDOW, _COUNT, _GIVEN, _OLDEST, STATE = range(8)


class DeviceTables(NamedTuple):
    """What of `Tables` the device reads: arrays there, and a few numbers."""

    n: int
    words: bool
    lower: int
    """What makes a letter of ASCII lower case."""
    value: Any
    """(256,) uint64: the hash of a character of ASCII."""
    separates: Any
    """(0x110000 / 64,) uint64: a bit for each code point."""
    powers: Any
    """uint64: base^k."""
    inverse: int
    """base^-1."""


def on_device(tables: Tables) -> DeviceTables:
    """The tables copied to the device: 160 KiB."""
    return DeviceTables(
        tables.n,
        tables.words,
        int(tables.runs[8]),
        cuda.to_device(tables.value),
        cuda.to_device(tables.separates),
        cuda.to_device(tables.powers[: MOST + 1]),
        int(tables.inverse[1]),
    )


def most_grams(size: np.ndarray, words: bool) -> np.ndarray:
    """How many n-grams texts of these many bytes can have, each at least 1."""
    return np.maximum((size + 1) // 2 if words else size, 1)


@_compiled
def read(data, first, size, plain, n, words, lower, value, bits, powers, inverse, at, halves, given, same):
    """Of each text the upper halves of its n-grams, from halves[at] on, how many, and both fingerprints: one thread a
    text."""
    k = cuda.grid(1)
    if k >= size.size:
        return
    text = data[first[k] : first[k] + size[k]]
    state = cuda.local.array(STATE, uint64)
    for j in range(STATE):
        state[j] = uint64(0)
    state[_SCALE] = uint64(1)
    ring = cuda.local.array(MOST, uint64)
    out = halves[at[k] :]
    if words:
        _words(text, plain[k], lower, bits, n, powers, uint64(inverse), state, ring, out)
    else:
        _characters(text, plain[k], value, bits, n, powers, uint64(inverse), state, ring, out)
    count = state[_COUNT]
    if state[_GIVEN] == uint64(0) and count > uint64(0):  # fewer elements than an n-gram: one hash of all
        gram = never_0(mixed(count * _GOLDEN + state[_ONE]))
        out[0] = uint32(gram >> uint64(32))
        state[_TWO] = gram
        state[_GIVEN] = uint64(1)
    given[k] = int64(state[_GIVEN])
    same[0, k], same[1, k] = mixed(state[_ONE]), mixed(state[_TWO])


@_inner
def _take(element, n, powers, inverse, state, ring, out):
    """One element more: the n-gram that ends with it is the one before, less its first element, divided by the base."""
    state[_ONE] += element * state[_SCALE]
    state[_SCALE] *= powers[1]
    oldest = int64(state[_OLDEST])
    count = int64(state[_COUNT])
    if count >= n:
        state[_WINDOW] = (state[_WINDOW] - ring[oldest]) * inverse + element * powers[n - 1]
    else:
        state[_WINDOW] += element * powers[count]
    ring[oldest] = element
    state[_OLDEST] = uint64(0 if oldest + 1 == n else oldest + 1)
    state[_COUNT] = uint64(count + 1)
    if count + 1 >= n:
        gram = never_0(stirred(state[_WINDOW]))
        out[int64(state[_GIVEN])] = uint32(gram >> uint64(32))
        state[_TWO] += gram
        state[_GIVEN] += uint64(1)


@_inner
def _ended(h, low, high, held):
    """The hash of a word of which `held` bytes, 0 to 15, were not hashed yet: what follows them is all ones."""
    if held > 0:
        if held < 8:
            low |= _ALL << uint64(8 * held)
            high = _ALL
        else:
            high |= _ALL << uint64(8 * (held - 8))
        h = step(h, low, high)
    return finished(h)


@_inner
def _words(text, plain, lower, bits, n, powers, inverse, state, ring, out):
    size = int64(text.size)
    i = int64(0)
    start = int64(0)  # of the word, or of the window that begins inside of it
    restart = int64(-3)  # where such a window began
    inside = False
    h, low, high = uint64(0), uint64(0), uint64(0)
    held = int64(0)
    while i < size:
        code, width = int64(text[i]), int64(1)
        rest = False
        if not plain:
            code, wide = code_point(text, i)
            width = int64(wide)
            rest = i - restart < 3 and int64(text[i]) & 0xC0 == 0x80
        if separates(bits, code) and not rest:
            if inside:
                _take(_ended(h, low, high, held), n, powers, inverse, state, ring, out)
                h, low, high, held = uint64(0), uint64(0), uint64(0), int64(0)
            inside = False
            i += width
            continue
        if not inside:
            inside = True
            start = i
        for j in range(width):
            c = int64(text[i + j])
            if 65 <= c <= 90:
                c += lower
            if held < 8:
                low |= uint64(c) << uint64(8 * held)
            else:
                high |= uint64(c) << uint64(8 * (held - 8))
            held += 1
            if held == 16:
                h = step(h, low, high)
                low, high, held = uint64(0), uint64(0), int64(0)
        i += width
        if not plain and i - start > WINDOW - 4 and i < size:
            i = start + ((i - start) & ~15)
            start = restart = i
            low, high, held = uint64(0), uint64(0), int64(0)
    if inside:
        _take(_ended(h, low, high, held), n, powers, inverse, state, ring, out)


@_inner
def _characters(text, plain, value, bits, n, powers, inverse, state, ring, out):
    """Runs of what separates are one blank; it is taken with the character after it, so that none is at an end."""
    size = int64(text.size)
    i = int64(0)
    waits = False
    while i < size:
        code, width = int64(text[i]), int64(1)
        if not plain:
            code, wide = code_point(text, i)
            width = int64(wide)
        i += width
        if separates(bits, code):
            waits = state[_COUNT] > uint64(0)
            continue
        if waits:
            _take(value[32], n, powers, inverse, state, ring, out)
            waits = False
        if code < 128:
            _take(value[code], n, powers, inverse, state, ring, out)
        else:
            _take(mixed(uint64(code) * _GOLDEN), n, powers, inverse, state, ring, out)
