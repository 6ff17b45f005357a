"""The keys of texts on the device: bit for bit those of `robodf.dedup.minhash`.

Three kernels: a thread reads a text (`reading.py`), a warp finds the minima and maxima of a text, a thread makes a key
of them. None waits for another thread, so none can wait for ever. The texts of a piece are laid by size, so that the
threads of a warp end at about the same time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba.cuda
import numpy as np
from numba import uint32

from robodf.dedup.method import Keys
from robodf.dedup.minhash import orders, orders_of
from robodf.dedup.packing import Packed
from robodf.gpu.kernels import scalars
from robodf.gpu.kernels.reading import DeviceTables, most_grams, read

cuda: Any = numba.cuda  # of which type checkers know little

_compiled = cuda.jit
_inner = cuda.jit(device=True)
_THREADS = 128
_WARP = 32
_AT_ONCE = 4  # orders of which a thread holds both ends while n-grams pass by
_FULL = np.uint32(0xFFFFFFFF)
_NONE = np.uint32(0)


class Started(NamedTuple):
    """The keys of one piece, as they are made: arrays on the device, and the stream that makes them."""

    stream: Any
    made: Any
    given: Any
    same: Any
    kept: tuple[Any, ...]
    """What the kernels read: it must live until they end."""


def start(packed: Packed, tables: DeviceTables, bands: int, rows: int) -> Started:
    """Copies a piece to the device and starts its kernels; does not wait for them."""
    n = len(packed.size)
    stream = cuda.stream()
    grams = most_grams(packed.size, tables.words)
    at = np.cumsum(grams) - grams
    count = orders_of(bands, rows)
    to_device = lambda part: cuda.to_device(part, stream=stream)  # noqa: E731
    data, first, size, plain, place, at_grams = map(
        to_device, (packed.data, packed.first, packed.size, packed.plain, packed.place, at)
    )
    halves = cuda.device_array(int(grams.sum()), np.uint32, stream=stream)
    given = cuda.device_array(n, np.int64, stream=stream)
    same = cuda.device_array((2, n), np.uint64, stream=stream)
    ends = cuda.device_array((n, 2 * count), np.uint32, stream=stream)
    made = cuda.device_array((bands, n), np.uint64, stream=stream)
    factors = to_device(orders(count))
    read[-(-n // _THREADS), _THREADS, stream](
        data, first, size, plain, tables.n, tables.words, tables.lower, tables.value, tables.separates, tables.powers,
        tables.inverse, at_grams, halves, given, same,
    )  # fmt: skip
    texts = _THREADS // _WARP
    _widen[-(-n // texts), (_WARP, texts), stream](halves, at_grams, given, factors, ends)
    _keys[-(-n * bands // _THREADS), _THREADS, stream](ends, rows, place, made)
    return Started(stream, made, given, same, (data, first, size, plain, place, at_grams, halves, ends, factors))


def finish(started: Started, packed: Packed) -> Keys:
    """Waits for a piece: its keys, in the order of its rows."""
    made, given, same = (
        part.copy_to_host(stream=started.stream) for part in (started.made, started.given, started.same)
    )
    started.stream.synchronize()
    there, in_order = np.empty(len(given), np.bool_), np.empty_like(same)
    there[packed.place] = given > 0
    in_order[:, packed.place] = same
    return Keys(made, there, in_order)


@_compiled
def _widen(halves, at, given, factors, ends):
    """Of each text the minima under each order, and after these the maxima: a warp a text, an order a thread."""
    k = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    if k >= given.size:
        return
    first, count, orders = at[k], given[k], factors.size
    for base in range(cuda.threadIdx.x, orders, _WARP * _AT_ONCE):
        # Four at once, as to read a half takes longer than to multiply it. Beyond the last order is the last again.
        p, q, r = min(base + _WARP, orders - 1), min(base + 2 * _WARP, orders - 1), min(base + 3 * _WARP, orders - 1)
        a, b, c, d = factors[base], factors[p], factors[q], factors[r]
        one = two = three = four = _FULL
        five = six = seven = eight = _NONE
        for j in range(first, first + count):
            x = halves[j]
            e, f, g, h = _ordered(a, x), _ordered(b, x), _ordered(c, x), _ordered(d, x)
            one, two, three, four = min(one, e), min(two, f), min(three, g), min(four, h)
            five, six, seven, eight = max(five, e), max(six, f), max(seven, g), max(eight, h)
        ends[k, base], ends[k, orders + base] = one, five
        ends[k, p], ends[k, orders + p] = two, six
        ends[k, q], ends[k, orders + q] = three, seven
        ends[k, r], ends[k, orders + r] = four, eight


@_inner
def _ordered(a, x):
    return uint32((a * x) & _FULL)


@_compiled
def _keys(ends, rows, place, made):
    """A thread a key. The maxima go on where the minima end."""
    k = cuda.grid(1)
    bands = made.shape[0]
    if k < place.size * bands:
        row, band = k // bands, k % bands
        made[band, place[row]] = scalars.key(ends[row], band * rows, rows, band)
