"""Rotations in between two rotations."""

from __future__ import annotations

import numpy as np

_NEAR = 0.9995  # of the cosine between them: beyond it the sine below is too small to divide by


def slerp(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Unit quaternions on the shorter great arc from `a` to `b`, at constant angular speed.

    `a` and `b` have the shape (n, 4), in one order of components and of any length but zero; `weight` has the shape
    (n,), from 0 at `a` to 1 at `b`. Rows in which one of the two is zero or not finite are NaN.

    K. Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985:
    slerp(a, b, u) = sin((1 - u) t) / sin t * a + sin(u t) / sin t * b, with cos t = a . b. q and -q are one rotation,
    so the one of -b and b is taken that is nearer to a. Where t is nearly 0, the straight line is taken instead.

    >>> half = slerp(np.array([[0.0, 0, 0, 1]]), np.array([[0.0, 0, 1, 0]]), np.array([0.5]))
    >>> half.round(4).tolist()
    [[0.0, 0.0, 0.7071, 0.7071]]
    """
    a, b = unit(a), unit(b)
    cosine = np.einsum("ij,ij->i", a, b)
    b = np.where(cosine[:, None] < 0, -b, b)
    cosine = np.minimum(np.abs(cosine), 1.0)
    near = ~(cosine <= _NEAR)  # NaN too: it stays NaN on a straight line
    angle = np.arccos(np.where(near, 0.0, cosine))
    sine = np.where(near, 1.0, np.sin(angle))
    of_a = np.where(near, 1 - weight, np.sin((1 - weight) * angle) / sine)
    of_b = np.where(near, weight, np.sin(weight * angle) / sine)
    return unit(of_a[:, None] * a + of_b[:, None] * b)


def unit(q: np.ndarray) -> np.ndarray:
    """The quaternions of length 1 in the same directions; NaN for those of length zero and those not finite."""
    largest = np.abs(q).max(axis=1, keepdims=True, initial=0.0)
    usable = np.isfinite(largest) & (largest > 0)
    scaled = np.where(usable, q, np.nan) / np.where(usable, largest, 1.0)  # squares of very small ones would be zero
    return scaled / np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
