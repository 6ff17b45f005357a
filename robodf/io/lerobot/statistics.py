"""Exact statistics of features, of each episode and of the whole set, as LeRobot keeps them.

Of numbers: min, max, mean, std (of the population), count, and the quantiles q01, q10, q50, q90 and q99, linearly
interpolated between values, each a list with a value for each component. Of images: the same of each of three channels,
from 0 to 1, over pixels that LeRobot takes too: of an image of 300 or more pixels on its longer side every k-th of each
row and column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_BUDGET = 256 << 20  # bytes of values that are held at once for quantiles
_TARGET, _LARGE = 150, 300  # pixels, as in LeRobot


def of_values(values: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics of rows of values (rows, components)."""
    values = values.astype(np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(axis=0), "max": values.max(axis=0), "mean": values.mean(axis=0), "std": values.std(axis=0),
        "count": np.array([len(values)]), **dict(zip(QUANTILES, quantiles)),
    }  # fmt: skip


class Merged:
    """The statistics of several episodes together, but for quantiles."""

    def __init__(self) -> None:
        self.count = 0
        self._low = self._high = self._mean = self._squares = np.zeros(0)

    def add(self, some: dict[str, np.ndarray]) -> None:
        """Statistics of further rows."""
        count = int(some["count"][0])
        if not self.count:
            self._low, self._high, self._mean = some["min"], some["max"], some["mean"]
            self._squares = some["std"] ** 2 * count
        else:
            total = self.count + count
            off = some["mean"] - self._mean
            self._squares = self._squares + some["std"] ** 2 * count + off**2 * (self.count * count / total)
            self._mean = self._mean + off * (count / total)
            self._low, self._high = np.minimum(self._low, some["min"]), np.maximum(self._high, some["max"])
        self.count += count

    def all(self) -> dict[str, np.ndarray]:
        """What they are so far."""
        return {
            "min": self._low, "max": self._high, "mean": self._mean, "std": np.sqrt(self._squares / self.count),
            "count": np.array([self.count]),
        }  # fmt: skip


def quantiles(rows: int, components: int, read: Callable[[], Iterator[np.ndarray]]) -> dict[str, np.ndarray]:
    """The exact quantiles of many rows, which `read` gives in pieces (rows, components) each time it is called.

    As many components at once as fit into memory.
    """
    at_once = max(1, min(components, _BUDGET // (8 * max(1, rows))))
    found = []
    for first in range(0, components, at_once):
        held = np.empty((rows, min(at_once, components - first)))
        at = 0
        for piece in read():
            held[at : at + len(piece)] = piece[:, first : first + at_once]
            at += len(piece)
        found.append(np.quantile(held, list(QUANTILES.values()), axis=0, overwrite_input=True))
    return dict(zip(QUANTILES, np.concatenate(found, axis=1)))


class Pixels:
    """The statistics of images, by how often each value occurs in each channel."""

    def __init__(self) -> None:
        self.images = 0
        self._counts = np.zeros((3, 256), np.int64)

    def add(self, image: np.ndarray) -> None:
        """An image of bytes, (height, width) or (height, width, channels)."""
        if image.ndim == 2:
            image = image[:, :, None]
        height, width = image.shape[:2]
        step = 1 if max(width, height) < _LARGE else int(max(width, height) / _TARGET)
        some = image[::step, ::step]
        for channel in range(3):
            of = some[:, :, channel if some.shape[2] > 2 else 0]
            self._counts[channel] += np.bincount(of.ravel(), minlength=256)
        self.images += 1

    def merge(self, other: Pixels) -> None:
        """Further images."""
        self.images += other.images
        self._counts += other._counts

    def all(self) -> dict[str, np.ndarray]:
        """Of each channel, in the shape (3, 1, 1); the count is that of the images."""
        made = [_of_counts(counts) for counts in self._counts]
        found = {name: np.array([of[name] for of in made]).reshape(3, 1, 1) for name in made[0]}
        return {**found, "count": np.array([self.images])}


def _of_counts(counts: np.ndarray) -> dict[str, float]:
    values = np.arange(256) / 255
    total = int(counts.sum())
    there = np.flatnonzero(counts)
    mean = float((values * counts).sum() / total)
    ends = np.cumsum(counts)

    def at(rank: float) -> float:
        below = np.searchsorted(ends, int(rank), side="right")
        above = np.searchsorted(ends, min(int(rank) + 1, total - 1), side="right")
        return float(values[below] + (values[above] - values[below]) * (rank - int(rank)))

    return {
        "min": float(values[there[0]]), "max": float(values[there[-1]]), "mean": mean,
        "std": float(np.sqrt((counts * (values - mean) ** 2).sum() / total)),
        **{name: at(q * (total - 1)) for name, q in QUANTILES.items()},
    }  # fmt: skip


def sample(count: int) -> np.ndarray:
    """The numbers of the frames that LeRobot takes of so many: 100, or count ** 0.75 where that is more."""
    wanted = max(min(100, count), min(int(count**0.75), 10_000))
    return np.unique(np.round(np.linspace(0, count - 1, wanted)).astype(np.int64))


def as_lists(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """For JSON and Parquet."""
    return {name: values.tolist() for name, values in found.items()}
