"""Keys by which trajectories meet that go the same ways in the same order.

Each trajectory is cut into bins of 2**k steps, once such that there are 32 to 63 bins (all steps where there are
fewer) and once with bins of twice the size. A copy cut to half, or played a tenth faster, has one of both bin sizes in
common with the whole one. Of each place, from bin to bin, a symbol is made of

- the direction: signs of 8 random projections of three successive velocities (of windows of two bins), or "at rest"
  where the speed is below a fifth of the usual;
- where it is: 3 random projections of the offset from the mean of the way so far, above or below a threshold, and
  whether it is further away than usual; whether it is faster than usual;
- how late it is, in 7 classes that grow by half.

"Usual" is the mean of what came before, so that a cut at the end changes none of this; and nothing depends on units.
The set of symbols is hashed to minima (MinHash), of which two by two make the keys: sets with a share J of symbols in
common meet in one of 32 keys with the probability 1 - (1 - J^2)^32: 0.97 for J = 0.33. Trajectories with nothing in
common have J of about 0.01 in 7 and more dimensions. In one or two dimensions there are few ways to go, and many meet.

Trajectories of fewer than 6 bins have one symbol, of all directions in them; those that do not move, of their state.

Source: C. Luo and A. Shrivastava, SSH (Sketch, Shingle & Hash) for Indexing Massive-Scale Time Series, 2016
(arXiv:1610.07328); places and times in the symbols, and two bin sizes, are added.
"""

from __future__ import annotations

import numpy as np

from robodf.dedup.compiled import in_ranges, kernel

BANDS = 64
"""Keys a trajectory: 32 for each of two bin sizes."""

_HALF = BANDS // 2
_MINIMA = 2 * _HALF
_FINE = 32  # bins at least, of the smaller size
_NEEDED = 6  # bins for a symbol: three velocities of windows of two
_DIRECTIONS, _LAGS, _PLACES = 8, 3, 3
_REST = 0.2**2
_APART = (0.0, 0.7, -0.7)  # thresholds of places, in rms offsets: in one dimension all projections are the same
_LATE = (4, 7, 12, 18, 28, 43)
_WIDTH = 256  # dimensions with projections of their own


def _weights() -> np.ndarray:
    """(bits, 256) float64: integers that are about normally distributed, as sums of 8 random bytes."""
    rows = _DIRECTIONS * _LAGS + _PLACES
    with np.errstate(over="ignore"):
        x = (np.arange(rows * _WIDTH, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    halves = x.astype("<u8").view(np.uint8).reshape(rows, _WIDTH, 8).astype(np.float64)
    return halves.sum(axis=2) - 4 * 255


_WEIGHTS = _weights()


def keys(values: np.ndarray, start: np.ndarray, steps: np.ndarray, dims: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(64, n) and (2, n) uint64: the keys of trajectories, and two hashes of all of their numbers.

    Row k is `steps[k]` x `dims[k]` numbers of `values` from `start[k]` on. A row without steps has keys of no meaning.
    """
    made = np.zeros((BANDS, len(steps)), np.uint64)
    same = np.zeros((2, len(steps)), np.uint64)

    def run(first: int, end: int) -> None:
        _keys(values, start, steps, dims, _WEIGHTS, first, end, made, same)

    in_ranges(len(steps), run, least=64)
    return made, same


@kernel
def _mixed(x):
    """The finalizer of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def _keys(values, start, steps, dims, weights, first, end, made, same):
    minima = np.empty(_MINIMA, np.uint64)
    for row in range(first, end):
        count, width = steps[row], dims[row]
        if count == 0 or width == 0:
            continue
        x = values[start[row] : start[row] + count * width]
        _hash(x, width, same[:, row])
        still = True
        for i in range(width, x.size):
            if x[i] != x[i - width]:
                still = False
                break
        fine = 0
        while count >> (fine + 1) >= _FINE:
            fine += 1
        for k in range(fine, fine + 2):
            minima[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
            bins = count >> k
            if still:
                state = np.zeros(2, np.uint64)
                _hash(x[:width], width, state)
                _add(state[0], minima)
            elif bins < _NEEDED:
                _add(_whole(x, width, count, weights), minima)
            else:
                _symbols(x, width, bins, k, weights, minima)
            for band in range(_HALF):
                # By the parity of k, so that the same bin size is in the same half whichever of both it is.
                at = (k % 2) * _HALF + band
                key = _mixed(np.uint64(at + 1) ^ minima[2 * band])
                made[at, row] = _mixed(key + minima[2 * band + 1])


@kernel
def _hash(x, width, out):
    """Two hashes of numbers and their number a state."""
    number = np.empty(1, np.float64)
    bits = number.view(np.uint64)
    a, b = _mixed(np.uint64(width)), _mixed(np.uint64(x.size) + np.uint64(0x9E3779B97F4A7C15))
    for i in range(x.size):
        number[0] = x[i]
        a = (a ^ bits[0]) * np.uint64(0xD6E8FEB86659FD93)
        a ^= a >> np.uint64(32)
        b = (b + bits[0]) * np.uint64(0xFF51AFD7ED558CCD)
        b ^= b >> np.uint64(29)
    out[0], out[1] = _mixed(a), _mixed(b)


@kernel
def _add(symbol, minima):
    """One more element of the set."""
    for i in range(minima.size):
        value = _mixed(symbol ^ (np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)))
        minima[i] = min(minima[i], value)


@kernel
def _whole(x, width, count, weights):
    """One symbol for few steps: the directions of all."""
    code = np.uint64(count) * np.uint64(0x10001) + np.uint64(width)
    for i in range(1, count):
        for b in range(_DIRECTIONS):
            along = 0.0
            for c in range(width):
                moved = np.float64(x[i * width + c]) - np.float64(x[(i - 1) * width + c])
                along += weights[b * _LAGS, c % _WIDTH] * moved
            code = _mixed(code * np.uint64(2) + np.uint64(along > 0.0))
    return code


@kernel
def _symbols(x, width, bins, k, weights, minima):
    """Adds the symbols of a trajectory in bins of 2**k steps."""
    size = 1 << k
    sums = np.zeros((bins, width))
    for i in range(bins * size):
        for c in range(width):
            # About the first state: far from zero little would be left of a motion in a sum.
            sums[i // size, c] += np.float64(x[i * width + c]) - np.float64(x[c])
    velocity = np.empty((bins - 3, width))
    for i in range(bins - 3):
        for c in range(width):
            velocity[i, c] = sums[i + 2, c] + sums[i + 3, c] - sums[i, c] - sums[i + 1, c]
    mean = np.zeros(width)
    off = np.empty(width)
    usual_place = np.zeros(_PLACES)
    usual_off = usual_speed = 0.0
    late = 0
    for i in range(bins - _NEEDED + 1):
        while late < len(_LATE) and i >= _LATE[late]:
            late += 1
        code = (np.uint64(k) * np.uint64(8) + np.uint64(late)) * np.uint64(1 << 32) + np.uint64(width)
        share = 1.0 / (i + 1)
        away = speed = 0.0
        for c in range(width):
            place = sums[i, c] + sums[i + 1, c]
            mean[c] += (place - mean[c]) * share
            off[c] = place - mean[c]
            away += off[c] * off[c]
            speed += velocity[i, c] * velocity[i, c]
        usual_off += (away - usual_off) * share
        usual_speed += (speed - usual_speed) * share
        signs = np.uint64(away > usual_off) * np.uint64(2) + np.uint64(speed > usual_speed)
        for b in range(_PLACES):
            along = 0.0
            for c in range(width):
                along += weights[_DIRECTIONS * _LAGS + b, c % _WIDTH] * off[c]
            usual_place[b] += (along * along - usual_place[b]) * share
            signs = signs * np.uint64(2) + np.uint64(along > _APART[b] * np.sqrt(usual_place[b]))
        way = speed
        for i2 in range(i + 1, i + _LAGS):
            for c in range(width):
                way += velocity[i2, c] * velocity[i2, c]
        moves = way > _REST * _LAGS * usual_speed
        signs = signs * np.uint64(2) + np.uint64(moves)
        for b in range(_DIRECTIONS if moves else 0):
            along = 0.0
            for lag in range(_LAGS):
                for c in range(width):
                    along += weights[b * _LAGS + lag, c % _WIDTH] * velocity[i + lag, c]
            signs = signs * np.uint64(2) + np.uint64(along > 0.0)
        _add(_mixed(_mixed(code) + signs), minima)
