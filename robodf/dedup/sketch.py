"""Shorter vectors whose products are never below the cosines.

With an orthonormal basis Q of k of the d directions, a vector is its part in them, a1 = aQ, and a rest of length r(a).
By Cauchy and Schwarz, cos(a, b) <= a1.b1 + r(a) r(b), which is the product of the rows (a1, r(a)) and (b1, r(b)): pairs
below the threshold there are below it, and the others are compared whole. So a search for cosines of 0.9 is exact with
a fourth of the work and less. The directions are the main ones of a sample (principal components, not centred), where
most of the length of real embeddings lies; any others would only be slower.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robodf.dedup.vectors import Vectors

_SAMPLE = 1024
"""Rows that the directions are found from."""

_PRODUCT = 2 / 60e9
"""Seconds that one multiplication and addition of a product of matrices takes about: this decides about speed only."""


class Sketch(NamedTuple):
    """What is multiplied in search of pairs."""

    rows: np.ndarray
    """(n, k) float32: the vectors, or their sketches."""
    floor: np.float32
    """A pair whose product is below it is certain to be below the threshold."""


def slack(width: int) -> float:
    """How far a float32 product of two rows of `width` numbers, of length about 1, can lie from the true one, twice.

    In any order of summation |error| <= g |a||b|, g = width u / (1 - width u), u = 2^-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, section 3.1). The 32 covers the rounding of the rows themselves.
    """
    return (width + 32) * 2.0**-23


def whole(vectors: Vectors, least: float) -> Sketch:
    """The vectors themselves: where to multiply costs less than to find out what would save some of it."""
    return Sketch(vectors.unit, _floor(least, vectors.unit.shape[1]))


def sketch(vectors: Vectors, least: float) -> Sketch:
    """What to multiply in order to find all pairs with a cosine of `least` or more."""
    n, d = vectors.unit.shape
    plain = whole(vectors, least)
    (there,) = np.nonzero(vectors.there)
    if len(there) < 2 * _SAMPLE or d < 32:
        return plain
    chosen = there[np.arange(2 * _SAMPLE) * len(there) // (2 * _SAMPLE)]
    # Judged by other rows than they were found from, which they fit better than the rest.
    basis, chosen = _directions(vectors.unit[chosen[::2]].astype(np.float64)), chosen[1::2]
    best, cost = plain, d * _PRODUCT
    for k in (d // 32, d // 16, d // 8, d // 4, d // 2):
        if not 8 <= k <= basis.shape[1]:
            continue
        floor = _floor(least, k + 1)
        rows = _bounding(vectors, chosen, basis[:, :k])
        share = np.count_nonzero(rows @ rows.T >= floor) / _SAMPLE**2 - 1 / _SAMPLE
        # A pair that must be compared whole: it is fetched from anywhere in memory.
        would_cost = (k + 1) * _PRODUCT + share * (5e-8 + d * 6e-10)
        if would_cost < cost:
            best, cost = Sketch(basis[:, :k], floor), would_cost
    if best is plain:
        return plain
    return Sketch(_bounding(vectors, np.arange(n), best.rows), best.floor)


def _floor(least: float, width: int) -> np.float32:
    return np.nextafter(np.float32(least - slack(width)), np.float32(-2))


def _directions(sample: np.ndarray) -> np.ndarray:
    """(d, k) float64 with orthonormal columns: the main directions of the sample, the first the most important."""
    by_column = sample.shape[1] <= sample.shape[0]
    square = sample.T @ sample if by_column else sample @ sample.T
    main = np.linalg.eigh(square)[1][:, ::-1]
    basis = main if by_column else sample.T @ main[:, : sample.shape[0] // 2]
    return np.linalg.qr(basis)[0]  # once more: what eigh leaves is not orthonormal where the sample repeats itself


def _bounding(vectors: Vectors, rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(len(rows), k + 1) float32: the part of each row in the basis, and the length of the rest, rounded up."""
    out = np.zeros((len(rows), basis.shape[1] + 1), np.float32)
    step = max(1, (4 << 20) // max(1, basis.shape[0]))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        part = vectors.unit[some].astype(np.float64) @ basis
        rest = np.maximum(vectors.square[some] - np.einsum("ij,ij->i", part, part), 0.0)
        out[start : start + len(some), :-1] = part
        out[start : start + len(some), -1] = np.sqrt(rest + 2.0**-20)
    return out
