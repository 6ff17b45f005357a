"""Overlapping clusters of vectors: rows are compared only where they share one of their nearest centroids.

How many nearest ones are needed is measured: of a sample of the rows all neighbours are found exactly, and m grows
until the share of them that meet is at least the recall asked for, with confidence. All is a function of the rows and
their order alone: sums are exact, and near ties between centroids are decided by exact cosines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.nearest import Pairs, near
from robodf.dedup.sketch import sketch, slack
from robodf.dedup.vectors import STEPS, Vectors, dot, normalised

MOST = 8
"""More nearest centroids than this and the clusters overlap so much that an exact search is about as fast."""

_ROUNDS = 6
_PER_CENTROID = 40
"""Rows of the sample that centroids are made from, for each."""

_SHARE = 20
"""At most a 20th of the rows are sampled: more, and measuring costs as much as it saves."""

_Z = 1.645
"""Of a normal distribution, 95 of 100 lie below: the confidence in the recall, one-sided."""


class Clusters(NamedTuple):
    """Lists of rows for `nearest.greedy` and `nearest.near`, and how well they do."""

    lists: np.ndarray
    """(n, m) int64: the same number where two rows of one group share a centroid."""
    centroids: int
    recall: float
    """Of the pairs of the sample, the share that meets."""
    at_least: float
    """The lower bound of that for all pairs, with a confidence of 95 %."""
    sampled: int
    """Rows of the sample that have neighbours."""


def clusters(vectors: Vectors, group: np.ndarray, least: float, recall: float) -> Clusters | str:
    """Overlapping clusters in which two rows that are alike meet with probability `recall`; or why there are none."""
    (there,) = np.nonzero(vectors.there)
    count = int(2 * np.sqrt(len(there)))
    if count < 2:
        return "there are too few rows for clusters"
    # Twice as many as would give the bound if all met: so that a few may miss.
    enough = int(2 * _Z**2 * recall / (1 - recall)) + 1
    found, rows = _neighbours(vectors, there, group, least, enough)
    if rows == 0:
        return "no row of the sample is like another, so the recall of clusters cannot be measured"
    best = nearest(vectors, _trained(vectors, there, count), min(MOST, count))
    at_least = 0.0
    for m in range(1, best.shape[1] + 1):
        share = _recall(found, best[:, :m])
        at_least = _lower_bound(share, rows)
        if at_least >= recall:
            lists = group.astype(np.int64)[:, None] * count + best[:, :m]
            return Clusters(lists, count, share, at_least, rows)
    return f"{best.shape[1]} nearest of {count} clusters find {at_least:.4f} of all pairs at least, not {recall:g}"


def _neighbours(vectors: Vectors, there: np.ndarray, group: np.ndarray, least: float, enough: int) -> tuple[Pairs, int]:
    """All pairs of some rows with rows before them, and how many of these rows are in one."""
    bounding = sketch(vectors, least)
    # By steps of the golden ratio: every beginning of the sample is spread evenly over all rows.
    places = (np.arange(max(1, len(there) // _SHARE)) * 0.6180339887498949 % 1.0 * len(there)).astype(np.int64)
    spread = there[places[np.sort(np.unique(places, return_index=True)[1])]]
    lists = group.astype(np.int64)[:, None]
    found = [Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    rows = 0
    for done in range(0, len(spread), 1024):
        found += near(vectors, spread[done : done + 1024], lists, least, sketched=bounding)
        rows = len(np.unique(np.concatenate([pairs.right for pairs in found])))
        if rows >= enough:
            break
    return Pairs(*(np.concatenate(part) for part in zip(*found))), rows


def _recall(found: Pairs, lists: np.ndarray) -> float:
    """Of each row's neighbours the share that it meets; the mean over the rows."""
    meets = (lists[found.left][:, :, None] == lists[found.right][:, None, :]).any(axis=(1, 2))
    _, row = np.unique(found.right, return_inverse=True)
    # Whole numbers are counted before anything is divided: the order of the pairs does not show.
    return float(np.mean(np.bincount(row, meets) / np.bincount(row)))


def _lower_bound(share: float, rows: int) -> float:
    """Wilson's lower bound of a share of `rows` trials (J. Am. Stat. Assoc. 22, 1927, p. 209).

    The share of one row is anything in [0, 1], whose variance is at most that of a trial with the same mean.
    """
    middle = share + _Z**2 / (2 * rows)
    spread = _Z * np.sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2))
    return float((middle - spread) / (1 + _Z**2 / rows))


def _trained(vectors: Vectors, there: np.ndarray, count: int) -> np.ndarray:
    """(count, d) float32: centroids by spherical k-means (Dhillon and Modha, 2001) of rows spread over all."""
    size = min(len(there), count * _PER_CENTROID)
    sample = vectors.take(there[np.arange(size) * len(there) // size])
    centroids = sample.unit[np.arange(count) * size // count]
    for _ in range(_ROUNDS):
        of = nearest(sample, centroids, 1)[:, 0]
        sums = np.zeros(centroids.shape, np.int64)
        _add(sample.unit, of, sums)
        made = normalised(sums.astype(np.float64))
        # A centroid that lost its rows stays where it is.
        centroids = np.where(made.there[:, None], made.unit, centroids)
    return centroids


@kernel
def _add(unit, of, sums):
    for row in range(len(of)):
        for k in range(unit.shape[1]):
            sums[of[row], k] += np.int64(unit[row, k] * np.float32(STEPS))


def nearest(vectors: Vectors, centroids: np.ndarray, m: int) -> np.ndarray:
    """(n, m) int64: the centroids of the highest products with each row, the nearest first; of equal ones the first."""
    n, d = vectors.unit.shape
    out = np.empty((n, m), np.int64)
    step = max(1, (2 << 20) // len(centroids))
    for first in range(0, n, step):
        unit = vectors.unit[first : first + step]
        products = unit @ centroids.T
        in_ranges(
            len(unit),
            lambda a, b, p=products, u=unit, f=first: _best(
                p[a:b], np.float32(2 * slack(d)), u[a:b], centroids, out[f + a : f + b]
            ),
            least=256,
        )
    return out


@kernel
def _best(products, doubt, unit, centroids, out):
    m = out.shape[1]
    rough = np.empty(m, np.float32)
    exact = np.empty(m)
    for i in range(products.shape[0]):
        rough[:] = -np.inf
        for j in range(products.shape[1]):
            if products[i, j] > rough[m - 1]:
                k = m - 1
                while k > 0 and rough[k - 1] < products[i, j]:
                    rough[k] = rough[k - 1]
                    k -= 1
                rough[k] = products[i, j]
        exact[:] = -np.inf
        # Whoever is among the m highest is not further below the rough m-th than the products can be wrong.
        for j in range(products.shape[1]):
            if products[i, j] < rough[m - 1] - doubt:
                continue
            product = dot(unit, i, centroids, j)
            if product > exact[m - 1]:
                k = m - 1
                while k > 0 and exact[k - 1] < product:
                    exact[k], out[i, k] = exact[k - 1], out[i, k - 1]
                    k -= 1
                exact[k], out[i, k] = product, j
