"""Texts one after the other in one buffer, wherever they lay: so they go to a device in one copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.lanes import text_at
from robodf.dedup.reading import Readable


class Packed(NamedTuple):
    """Some texts, those of about one length together."""

    data: np.ndarray
    """uint8: their bytes."""
    first: np.ndarray
    """(n,) int64: where each begins."""
    size: np.ndarray
    """(n,) int64: its bytes."""
    plain: np.ndarray
    """(n,) bool: whether it is ASCII."""
    place: np.ndarray
    """(n,) int64: which of the rows it is."""


def packed(texts: Readable, first: int, end: int, longest: int, room: np.ndarray | None = None) -> Packed:
    """The texts of a range of rows; nulls and those of more than `longest` bytes as texts of no bytes.

    They lie in `room` (uint8) where there is one, at its start.
    """
    size = np.maximum(texts.size[first:end], 0)
    size[size > longest] = 0
    # By the four highest bits of their sizes: numbers of 16 bits are sorted in one pass or two.
    power = np.maximum(np.frexp(size.astype(np.float64))[1] - 4, 0)
    place = np.argsort((power * 16 + (size >> power)).astype(np.uint16), kind="stable")
    size = size[place]
    ends = np.cumsum(size)
    total = int(ends[-1]) if len(ends) else 0
    data = np.empty(max(total, 1), np.uint8) if room is None else room[: max(total, 1)]
    starts, at = ends - size, texts.at[first:end][place]
    in_ranges(len(size), lambda a, b: _copy(at, size, starts, data, a, b))
    return Packed(data, starts, size, texts.plain[first:end][place], place)


@kernel
def _copy(at, size, starts, data, first, end):
    for row in range(first, end):
        text = text_at(at[row], size[row])
        start = starts[row]
        for k in range(size[row]):
            data[start + k] = text[k]


def gathered(values: np.ndarray, edges: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs `values[edges[row] : edges[row + 1]]` of some rows, one after the other, and the edges of these."""
    size = edges[rows + 1] - edges[rows]
    new = np.concatenate([[0], np.cumsum(size)])
    data = np.empty(max(int(new[-1]), 1), values.dtype)
    width = values.dtype.itemsize
    at = values.ctypes.data + width * edges[rows]
    as_bytes = data.view(np.uint8)
    in_ranges(len(rows), lambda a, b: _copy(at, width * size, width * new[:-1], as_bytes, a, b))
    return data, new
