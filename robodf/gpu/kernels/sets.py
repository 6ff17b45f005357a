"""How similar sets of n-grams are, on the device: as `robodf.dedup.jaccard` decides, from counts that are exact.

The left sets of some pairs become tables; then a warp looks up the hashes of the right set of each pair in the left
one's. Both are of 64-bit hashes, none twice in a set and none 0, which is what a free place holds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba.cuda
import numpy as np
from numba import int64, uint64

from robodf.dedup.jaccard import ShingleSets
from robodf.dedup.packing import gathered
from robodf.gpu.kernels import pieces

cuda: Any = numba.cuda  # of which type checkers know little

_compiled = cuda.jit
_WARP, _TOGETHER = 32, 4
PIECE = 256 << 20
"""Bytes of the device that the sets of one piece take at most; two are there at once. Not measured."""


def similarities(left: np.ndarray, right: np.ndarray, held: ShingleSets, least: float, free: int) -> np.ndarray:
    """As `robodf.dedup.walk.verify`: float64, -1.0 where that is below `least`; with `free` bytes of device memory."""
    size = np.diff(held.edges)
    order = np.argsort(left, kind="stable")
    a, b = left[order].astype(np.int64), right[order].astype(np.int64)
    common = np.zeros(len(a), np.int64)

    def finish(first: int, end: int, started: _Started) -> None:
        common[first:end] = started.counts.copy_to_host(stream=started.stream)
        started.stream.synchronize()

    def by_processor(first: int, end: int) -> None:
        for k in range(first, end):
            one, other = (held.hashes[held.edges[row] : held.edges[row + 1]] for row in (a[k], b[k]))
            common[k] = len(np.intersect1d(one, other, assume_unique=True))

    # A left set is 8 bytes a hash, and at most four times that as a table.
    new = np.concatenate([[True], a[1:] != a[:-1]])
    weight = 8 * size[b] + np.where(new, 40 * size[a], 0) + 64
    pieces.run(
        pieces.ranges(weight, min(PIECE, free // 4)),
        lambda first, end: _start(held, a[first:end], b[first:end]),
        finish,
        by_processor,
        "comparison of sets",
    )
    both, small = size[a] + size[b], np.minimum(size[a], size[b])
    made = common / np.maximum(both - common, 1)
    out = np.empty(len(a))
    out[order] = np.where((small > 0) & (made >= least), made, -1.0)
    return out


class _Started(NamedTuple):
    stream: Any
    counts: Any
    kept: tuple[Any, ...]


def _start(held: ShingleSets, left: np.ndarray, right: np.ndarray) -> _Started:
    """Copies the sets of some pairs, `left` ascending, to the device, and starts to count."""
    rows = np.unique(np.concatenate([left, right]))
    hashes, edges = gathered(held.hashes, held.edges, rows)
    one = np.unique(left)
    of = np.searchsorted(rows, one)
    size = np.diff(edges)[of]
    places = 1 << np.ceil(np.log2(np.maximum(2 * size, 16))).astype(np.int64)
    tables = np.concatenate([[0], np.cumsum(places)])
    stream = cuda.stream()
    to_device = lambda part: cuda.to_device(part, stream=stream)  # noqa: E731
    hashes_, edges_, of_, tables_ = map(to_device, (hashes, edges, of, tables))
    which, other = to_device(np.searchsorted(one, left)), to_device(np.searchsorted(rows, right))
    table = cuda.device_array(int(tables[-1]), np.uint64, stream=stream)
    counts = cuda.device_array(len(left), np.int64, stream=stream)
    _zero[_blocks(table.size, 256), 256, stream](table, counts)
    _fill[_blocks(len(one), _TOGETHER), (_WARP, _TOGETHER), stream](hashes_, edges_, of_, tables_, table)
    _count[_blocks(len(left), _TOGETHER), (_WARP, _TOGETHER), stream](
        hashes_, edges_, which, other, tables_, table, counts
    )
    return _Started(stream, counts, (hashes_, edges_, of_, tables_, which, other, table))


def _blocks(threads: int, each: int) -> int:
    return max(-(-threads // each), 1)


@_compiled
def _zero(table, counts):
    k = cuda.grid(1)
    if k < table.size:
        table[k] = uint64(0)
    if k < counts.size:
        counts[k] = int64(0)


@_compiled
def _fill(hashes, edges, of, tables, table):
    """A warp a set: each hash at the first free place from its lowest bits on."""
    k = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    if k >= of.size:
        return
    start = tables[k]
    mask = uint64(tables[k + 1] - start - 1)
    for j in range(edges[of[k]] + cuda.threadIdx.x, edges[of[k] + 1], _WARP):
        x = hashes[j]
        place = x & mask
        while cuda.atomic.cas(table, start + int64(place), uint64(0), x) != uint64(0):
            place = (place + uint64(1)) & mask


@_compiled
def _count(hashes, edges, which, other, tables, table, counts):
    """A warp a pair: how many hashes of the other set are in the table."""
    k = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    if k >= counts.size:
        return
    start = tables[which[k]]
    mask = uint64(tables[which[k] + 1] - start - 1)
    common = int64(0)
    for j in range(edges[other[k]] + cuda.threadIdx.x, edges[other[k] + 1], _WARP):
        x = hashes[j]
        place = x & mask
        found = table[start + int64(place)]
        while found != uint64(0) and found != x:
            place = (place + uint64(1)) & mask
            found = table[start + int64(place)]
        common += int64(found == x)
    if common > 0:
        cuda.atomic.add(counts, k, common)
