"""Products of blocks of vectors on the device: which pairs are worth a look.

As in `robodf.dedup.nearest` a product of float32 matrices only says that; what counts is the exact sum, which the
processor computes for these pairs. The bound of `robodf.dedup.sketch.slack` holds for every order of summation in
float32, and so for the device's, as long as it multiplies in float32: not in TF32 or less, which CuPy and PyTorch do
only where they are told to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robodf.gpu.kernels import fell_back

ROWS, COLUMNS = 4096, 16384
"""A block of products is 256 MiB, and what is found in it at most four times as much. Not measured."""
_FEWEST = 256


class Products:
    """Vectors on the device. `xp` is the module of arrays: CuPy, or NumPy or PyTorch, which do the same."""

    def __init__(self, xp: Any, rows: np.ndarray):
        self.xp, self.rows, self.columns = xp, ROWS, COLUMNS
        self._host = rows
        self._vectors = xp.asarray(rows)

    def near(self, one: np.ndarray, other: np.ndarray, floor: np.float32) -> tuple[np.ndarray, np.ndarray]:
        """(i, j), both int64: the pairs of rows one[i], other[j] whose product reaches the floor, sorted.

        Where the memory of the device runs out blocks are halved; the smallest go to the processor, with a warning.
        """
        while True:
            try:
                return self._by_columns(one, other, floor)
            except MemoryError:
                if self.columns > _FEWEST:
                    self.columns //= 2
                elif self.xp is np:
                    raise
                else:
                    fell_back("products of vectors: the memory of the device ran out")
                    self.xp, self._vectors = np, self._host

    def _by_columns(self, one: np.ndarray, other: np.ndarray, floor: np.float32) -> tuple[np.ndarray, np.ndarray]:
        found = [self._near(one, other[at : at + self.columns], floor) for at in range(0, len(other), self.columns)]
        if len(found) == 1:
            return found[0]
        i = np.concatenate([np.empty(0, np.int64), *(part[0] for part in found)])
        j = np.concatenate([np.empty(0, np.int64), *(part[1] + k * self.columns for k, part in enumerate(found))])
        order = np.argsort(i, kind="stable")
        return i[order], j[order]

    def _near(self, one: np.ndarray, other: np.ndarray, floor: np.float32) -> tuple[np.ndarray, np.ndarray]:
        mine, others = (self._vectors[self.xp.asarray(rows)] for rows in (one, other))
        near = mine @ others.T >= float(floor)
        # A whole number for each pair, so that one array comes back.
        flat = on_host(self.xp, self.xp.argwhere(near.reshape(-1))).reshape(-1).astype(np.int64, copy=False)
        return np.divmod(flat, len(other))


def on_host(xp: Any, array: Any) -> np.ndarray:
    """The array in the memory of the host."""
    return xp.asnumpy(array) if hasattr(xp, "asnumpy") else np.asarray(array)
