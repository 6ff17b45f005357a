"""Hashes of 64 bits that differ in few of them: the similarity of images by `phash`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from math import comb
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
from numba.extending import overload

from robodf.dedup import compare
from robodf.dedup.compiled import kernel
from robodf.dedup.method import Keys
from robodf.errors import OptionError, SchemaError

_BITS = 64
_SELECTIVE = 16  # bits of a key with which few of a million rows share it
_MOST_BANDS = 80


class Hashes(NamedTuple):
    """What is compared."""

    bits: np.ndarray
    """(n,) uint64."""


@dataclass(frozen=True)
class Phash:
    """Rows whose hashes (a UInt64 column) differ in few bits: similarity = 1 - differing bits / 64.

    A pair at or above the threshold differs in at most d = floor(64 (1 - threshold)) bits. The 64 bits are cut into
    d + k chunks. The bits that differ lie in at most d of them, so at least k chunks are equal: the pair shares the key
    that is made of just these k. There is a key for each choice of k chunks, so every pair at or above the threshold
    shares one: nothing is missed (recall 1). A larger k makes more keys of more bits, which fewer rows share by
    chance; k is the least with which keys have 16 bits, or else the largest that needs at most 80 keys.

    Below a threshold of 0.8125 (12 bits) keys are of 5 bits and less, and it costs what comparing all pairs costs.
    Source: G. S. Manku et al., Detecting Near-Duplicates for Web Crawling, WWW 2007, section 3.

    Raises OptionError for a threshold outside of 0.75 to 1.

    >>> method = Phash(threshold=0.95)
    >>> method.bands, method.least
    (4, 0.95)
    """

    threshold: float = 0.9

    cap: ClassVar[int | None] = None
    knows_same: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.75 <= self.threshold <= 1:
            raise OptionError(
                f"threshold is {self.threshold!r}, and of hashes of images it is 0.75 to 1: images that have nothing "
                "in common agree in about half of the bits. 0.9 (6 bits) is usual; for less alike images compare "
                'embeddings, with method="semantic"'
            )

    @property
    def least(self) -> float:
        """The similarity from which on two rows are alike."""
        return float(self.threshold)

    @cached_property
    def distance(self) -> int:
        """The most bits in which hashes that are alike differ."""
        return max(d for d in range(_BITS) if 1 - d / _BITS >= self.threshold)

    @cached_property
    def masks(self) -> list[int]:
        """The bits of each key."""
        return _masks(self.distance)

    @property
    def bands(self) -> int:
        """Keys a row."""
        return len(self.masks)

    def describe(self) -> str:
        """One line of what is compared and found."""
        return f"hashes that differ in at most {self.distance} of 64 bits, {self.bands} keys, recall 1"

    def keys(self, values: pl.Series) -> Keys:
        """The hash under each mask, mixed with the number of the mask."""
        hashes = _hashes(values)
        bands = np.empty((self.bands, len(hashes)), np.uint64)
        # Distinct hashes under one mask have distinct keys: the steps of `_mixed` can be undone.
        for number, mask in enumerate(self.masks):
            np.bitwise_and(hashes, np.uint64(mask), out=bands[number])
            bands[number] ^= np.uint64((number + 1) * 0x9E3779B97F4A7C15 % 2**64)
            _mix(bands[number])
        return Keys(bands, values.is_not_null().to_numpy(), np.stack([hashes, np.zeros_like(hashes)]))

    def hold(self, values: Iterator[pl.Series], rows: int) -> Hashes:
        """The hashes."""
        held, at = np.empty(rows, np.uint64), 0
        for piece in values:
            held[at : at + len(piece)] = _hashes(piece)
            at += len(piece)
        return Hashes(held)


def _hashes(values: pl.Series) -> np.ndarray:
    if values.dtype != pl.UInt64:
        raise SchemaError(f"hashes of images are UInt64, as rd.phash gives them, not {values.dtype}")
    return values.fill_null(0).to_numpy()


def _masks(distance: int) -> list[int]:
    """The bits of each key."""
    choices = [k for k in range(1, _BITS) if k + distance <= _BITS and comb(k + distance, k) <= _MOST_BANDS]
    equal = next((k for k in choices if _BITS * k // (k + distance) >= _SELECTIVE), choices[-1])
    count = distance + equal
    edges = [_BITS * i // count for i in range(count + 1)]
    chunks = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    return [sum(chosen) for chosen in combinations(chunks, equal)]


def _mix(x: np.ndarray) -> None:
    """The finalizer of SplitMix64 in place: rows are brought together by ranges of keys, so these must spread."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)


@kernel
def similarity(a: np.uint64, b: np.uint64) -> float:
    """1 - differing bits / 64."""
    # Counts of bits in pairs, fours and bytes, then added by a multiplication; compilers know it as one instruction.
    x = a ^ b
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return 1.0 - np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56)) / 64.0


@overload(compare.load)
def _load(held, a):
    return (lambda held, a: None) if _are_hashes(held) else None


@overload(compare.probe)
def _probe(held, a, b, least):
    if not _are_hashes(held):
        return None

    def probe(held, a, b, least):
        found = similarity(held.bits[a], held.bits[b])
        return found if found >= least else -1.0

    return probe


def _are_hashes(held: Any) -> bool:
    return getattr(held, "instance_class", None) is Hashes
