"""How far apart two trajectories are along their best alignment in time (dynamic time warping).

Of the states x_0 .. x_(n-1) and y_0 .. y_(m-1), n >= m, an alignment is a path of pairs (i, j) from (0, 0) in steps
(1, 0), (0, 1) and (1, 1), with |i - j| at most a tenth of n (at least 1): the band of Sakoe and Chiba. It ends where
one of the two ends, so that a copy that was cut off matches the beginning of the whole one; of the shorter one, too,
up to a tenth may be left over at the end. There is no such freedom at the beginning. Each pair weighs |x_i - y_j|^2,
twice for a step (1, 1) and for the first pair: a path to (i, j) then has the weight i + j + 2, whichever it is, and the
deviation is sqrt(weighed sum / weight), the least over all paths.

    similarity = max(0, 1 - deviation / spread)

`spread` is the larger one of both trajectories' rms distances from their own mean. Of two that do not move, 1 if they
are equal, else 0. A trajectory of less than half as many steps as another is not similar to it, nor is one of another
number of dimensions.

Trajectories of more than 4096 steps are compared by means over 2, 4, 8 ... steps, the same number for both, such that
at most 4096 are left.

Source: H. Sakoe and S. Chiba, Dynamic Programming Algorithm Optimization for Spoken Word Recognition, IEEE Trans. ASSP
26(1), 1978: the symmetric form without slope constraint (P = 0), and its normalization.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from robodf.dedup import compare
from robodf.dedup.compiled import kernel
from robodf.dedup.growing import Growing

MOST_STEPS = 4096


class Held(NamedTuple):
    """What is compared."""

    values: np.ndarray
    """float32 or float64: of each trajectory its states (or means of some), dimension by dimension, dims x steps."""
    start: np.ndarray
    """(n,) int64: where in `values` each trajectory starts."""
    steps: np.ndarray
    """(n,) int64: states, at most 4096; 0 where there is nothing to compare."""
    dims: np.ndarray
    """(n,) int64: numbers a state."""
    halved: np.ndarray
    """(n,) int64: k where a state is a mean of 2**k."""
    spread: np.ndarray
    """(n,) float64: rms distance from the mean."""
    cells: np.ndarray
    """Scratch: a band of two rows of sums, and of distances."""
    coarse: np.ndarray
    """Scratch: a trajectory halved further."""


class Holding:
    """Takes trajectories in pieces and gives them as `Held`."""

    def __init__(self, rows: int):
        self._values: Growing | None = None
        self._start, self._steps, self._dims, self._halved = (np.zeros(rows, np.int64) for _ in range(4))
        self._spread = np.zeros(rows)
        self._rows = 0

    def append(self, values: np.ndarray, start: np.ndarray, steps: np.ndarray, dims: np.ndarray) -> None:
        """Add trajectories: row k is `steps[k]` x `dims[k]` numbers from `start[k]` on."""
        if self._values is None:
            self._values = Growing(values.dtype)
        rows = slice(self._rows, self._rows + len(steps))
        halved = np.zeros(len(steps), np.int64)
        while (long := (steps >> halved) > MOST_STEPS).any():
            halved += long
        left = steps >> halved
        size = left * dims
        to = np.cumsum(size) - size
        shrunk = np.empty(int(size.sum()), values.dtype)
        _halve_all(values, start, steps, dims, halved, to, shrunk)
        self._start[rows] = to + len(self._values)
        self._steps[rows], self._dims[rows], self._halved[rows] = left, dims, halved
        _spreads(shrunk, to, left, dims, self._spread[rows])
        self._values.append(shrunk)
        self._rows = rows.stop

    def finish(self) -> Held:
        """All of them."""
        values = np.empty(0, np.float64) if self._values is None else self._values.finish()
        band = 2 * _radius(int(self._steps.max(initial=1))) + 1
        coarse = int((self._steps * self._dims).max(initial=0)) if self._halved.any() else 0
        return Held(
            values, self._start, self._steps, self._dims, self._halved, self._spread,
            np.empty(3 * (band + 2)), np.empty(coarse, values.dtype),
        )  # fmt: skip


@kernel
def _radius(steps):
    return max(1, (steps + 9) // 10)


@kernel
def _halve(values, start, steps, dims, step, dim, times, out, to):
    """Means over 2**times states, of a rest at the end none, by dimension.

    `step` and `dim` say how far apart two states and two dimensions are in `values`.
    """
    size = 1 << times
    left = steps >> times
    for k in range(dims):
        for i in range(left):
            total = 0.0
            for j in range(i * size, (i + 1) * size):
                total += values[start + j * step + k * dim]
            out[to + k * left + i] = total / size


@kernel
def _halve_all(values, start, steps, dims, halved, to, out):
    for row in range(steps.size):
        _halve(values, start[row], steps[row], dims[row], dims[row], 1, halved[row], out, to[row])


@kernel
def _spreads(values, start, steps, dims, spread):
    for row in range(steps.size):
        count = steps[row]
        if count == 0:
            continue
        total = 0.0
        for k in range(dims[row]):
            one = values[start[row] + k * count : start[row] + (k + 1) * count]
            # About the first state, so that one that never moves has a spread of exactly 0.
            base = np.float64(one[0])
            mean = 0.0
            for i in range(count):
                mean += one[i] - base
            mean /= count
            for i in range(count):
                off = one[i] - base - mean
                total += off * off
        spread[row] = np.sqrt(total / count)


@kernel
def deviation(x, from_x, n, y, from_y, m, dims, cells, most):
    """The squared deviation of n states of x and m <= n of y; infinite where it is above `most`.

    `cells` has room for three bands.
    """
    radius = _radius(n)
    width = 2 * radius + 3
    # The cell (i, j) is at i - j + radius + 1: the band is a window that moves with j, with a closed cell at each side.
    before, now, far = cells[:width], cells[width : 2 * width], cells[2 * width : 3 * width]
    before[:] = np.inf
    now[:] = np.inf
    # No path weighs more than n + m, and sums only grow. The margin is for the rounding of this product.
    closed = most * (n + m) * (1.0 + 1e-9)
    best = np.inf
    for j in range(m):
        low, high = max(0, j - radius), min(n - 1, j + radius)
        size = high - low + 1
        cost = far[:size]
        cost[:] = 0.0
        for k in range(dims):  # outside, as several states then are computed by one instruction
            y_k = np.float64(y[from_y + k * m + j])
            one = x[from_x + k * n + low : from_x + k * n + high + 1]
            for i in range(size):
                off = np.float64(one[i]) - y_k
                cost[i] += off * off
        first = low + radius + 1 - j
        now[first - 1] = np.inf
        now[first + size :] = np.inf
        least = np.inf
        side = np.inf  # the cell (i - 1, j)
        for i in range(size):
            o = first + i
            if i + low == 0 and j == 0:
                side = cost[i] + cost[i]
            else:
                side = min(min(before[o + 1], side) + cost[i], before[o] + (cost[i] + cost[i]))
            now[o] = side
            least = min(least, side)
            if i + low == n - 1 or j == m - 1:
                best = min(best, side / (i + low + j + 2))
        if least > closed:
            break
        before, now = now, before
    return best if best <= most * (1.0 + 1e-9) else np.inf


@kernel
def similarity(held, a, b, least):
    """The similarity of rows a and b, -1.0 if it is below `least`."""
    if held.dims[a] != held.dims[b] or held.steps[a] == 0 or held.steps[b] == 0:
        return -1.0
    # The longer one first, which was not halved less often. Two of equal length give the same in both orders.
    if (held.halved[a], held.steps[a]) < (held.halved[b], held.steps[b]):
        a, b = b, a
    dims = held.dims[a]
    times = held.halved[a] - held.halved[b]
    n, m = held.steps[a], held.steps[b] >> times
    if 2 * m < n:
        return -1.0
    spread = max(held.spread[a], held.spread[b])
    if spread == 0.0:
        for k in range(dims):
            if held.values[held.start[a] + k * n] != held.values[held.start[b] + k * held.steps[b]]:
                return 0.0 if least <= 0.0 else -1.0
        return 1.0
    allowed = (1.0 - max(least, 0.0)) * spread
    most = allowed * allowed
    if times > 0:
        _halve(held.values, held.start[b], held.steps[b], dims, 1, held.steps[b], times, held.coarse, 0)
        found = deviation(held.values, held.start[a], n, held.coarse, 0, m, dims, held.cells, most)
    else:
        found = deviation(held.values, held.start[a], n, held.values, held.start[b], m, dims, held.cells, most)
    similar = max(0.0, 1.0 - np.sqrt(found) / spread)
    return similar if similar >= least else -1.0


@overload(compare.load)
def _load(held, a):
    return (lambda held, a: None) if _are_trajectories(held) else None


@overload(compare.probe)
def _probe(held, a, b, least):
    return (lambda held, a, b, least: similarity(held, a, b, least)) if _are_trajectories(held) else None


def _are_trajectories(held: Any) -> bool:
    return getattr(held, "instance_class", None) is Held
