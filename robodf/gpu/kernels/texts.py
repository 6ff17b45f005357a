"""The keys of the texts of a column: packed piece by piece, while the device works at the piece before."""

from __future__ import annotations

from itertools import cycle
from threading import Lock
from typing import Any

import numba.cuda
import numpy as np

from robodf.dedup import minhash as on_processor
from robodf.dedup.method import Keys
from robodf.dedup.packing import Packed, packed
from robodf.dedup.reading import Readable
from robodf.dedup.shingles import Tables
from robodf.gpu.kernels import minhash, pieces
from robodf.gpu.kernels.reading import most_grams, on_device

cuda: Any = numba.cuda  # of which type checkers know little

LONGEST = 1 << 16
"""Bytes of a text beyond which the processor reads it: a thread of the device would, alone, take longer than the piece.
Not measured."""

PIECE = 64 << 20
"""Bytes that one piece takes on the device at most; two are there at once. Not measured."""

_one_at_a_time = Lock()
_staging: list[np.ndarray] = []  # page-locked, which a copy to the device needs to be fast, and which is slow to get


def keys(texts: Readable, tables: Tables, bands: int, rows: int, free: int) -> Keys:
    """As `robodf.dedup.minhash.keys`, bit for bit, with `free` bytes of the device's memory.

    Warns:
        KernelWarning: some of the texts were read by the processor, as there was no room for them.
    """
    n = len(texts.at)
    made, there, same = np.empty((bands, n), np.uint64), np.empty(n, np.bool_), np.empty((2, n), np.uint64)

    def put(first: int | np.ndarray, found: Keys) -> None:
        where = first + np.arange(len(found.there)) if isinstance(first, int) else first
        made[:, where], there[where] = found.bands, found.there
        assert found.same is not None
        same[:, where] = found.same

    def by_processor(first: int, end: int) -> None:
        put(first, on_processor.keys(texts.some(np.arange(first, end)), tables, bands, rows))

    size = np.minimum(np.maximum(texts.size, 0), LONGEST)
    weight = size + 4 * most_grams(size, tables.words) + 12 * bands + 4 * bands * rows + 64
    most = min(PIECE, free // 4)
    with _one_at_a_time:
        on_the_device = on_device(tables)
        rooms = cycle(_rooms(min(int(size.sum()), most + LONGEST)))

        def start(first: int, end: int) -> tuple[Packed, minhash.Started]:
            part = packed(texts, first, end, LONGEST, next(rooms))
            return part, minhash.start(part, on_the_device, bands, rows)

        pieces.run(
            pieces.ranges(weight, most),
            start,
            lambda first, _, started: put(first, minhash.finish(started[1], started[0])),
            by_processor,
            "keys of texts",
        )
    long = np.flatnonzero(texts.size > LONGEST)
    if len(long):
        put(long, on_processor.keys(texts.some(long), tables, bands, rows))
    return Keys(made, there, same)


def _rooms(size: int) -> list[np.ndarray]:
    """Two rooms of page-locked memory: one is filled while the device copies from the other."""
    if not _staging or len(_staging[0]) < size:
        _staging[:] = [cuda.pinned_array(max(size, 1), np.uint8) for _ in range(2)]
    return _staging
