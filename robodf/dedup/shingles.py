"""What texts are compared by: the set of their n-grams of words or characters, as 64-bit hashes.

Here is what is counted as a word or a character, and the tables from which compiled code (`reading.py`) computes
hashes. They are written out of arithmetic alone, so that what is saved of texts stays valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np

from robodf.dedup.separators import ASCII_BLANK, bits, parts_words
from robodf.errors import OptionError

MOST = 64
"""The longest n-gram."""
ROOM = 2048
"""Elements (words, characters) worked on at a time: with what is made of them they stay in the nearest cache."""
GOLDEN = 0x9E3779B97F4A7C15
_BASE = 0xD1342543DE82EF95  # of polynomial hashes: 5 modulo 8, so of the highest order modulo 2^64
_ALL = (1 << 64) - 1


@dataclass(frozen=True)
class Words:
    """Runs of `n` words, 1 to 64. A text of fewer words counts as one run.

    Longer runs ask for longer passages in common: 5 for documents, 1 or 2 for instructions of a few words.
    """

    n: int = 5
    whole_words: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.n, "words")

    @property
    def label(self) -> str:
        """As the user writes it."""
        return f"words({self.n})"


@dataclass(frozen=True)
class Chars:
    """Runs of `n` characters (code points), 1 to 64. A text of fewer characters counts as one run.

    For texts without blanks between words, and for short ones with typing errors.
    """

    n: int = 5
    whole_words: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self.n, "chars")

    @property
    def label(self) -> str:
        """As the user writes it."""
        return f"chars({self.n})"


def check_normalize(normalize: str | None) -> None:
    """Raises OptionError unless it is a way of making texts the same that is known."""
    if normalize not in ("text", None):
        raise OptionError(
            f"normalize={normalize!r}: 'text' (lower case; punctuation and blanks only part words) or None (as it is)"
        )


class Tables(NamedTuple):
    """From bytes to hashes."""

    n: int
    words: bool
    """Words, or else characters."""
    blanks: bool
    """Characters only: whether runs of what separates become one blank, and none at the ends."""
    value: np.ndarray
    """(256,) uint64: the hash of a character of ASCII."""
    keep: np.ndarray
    """(256,) uint64: all bits, or 0 where the byte separates."""
    runs: np.ndarray
    """(9,) uint8: first byte and length of up to four runs of ASCII that separates nothing; what makes a letter lower
    case."""
    separates: np.ndarray
    """(0x110000 / 64,) uint64: a bit for each code point."""
    powers: np.ndarray
    """uint64: base^k, k = 0, 1, ..., of the polynomial hash of an n-gram."""
    inverse: np.ndarray
    """uint64: base^-k."""


@cache
def tables(shingle: Words | Chars, normalize: str | None) -> Tables:
    """The tables for these options; the same ones each time."""
    text = normalize == "text"
    words = shingle.whole_words
    blanks = text and not words
    value = splitmix(1, 256)
    keep = np.full(256, _ALL, np.uint64)
    for code in range(128):
        character = chr(code)
        if text and character.isupper():
            value[code] = value[code + 32]
        if parts_words(character) if text else words and character in ASCII_BLANK:
            keep[code] = 0
            value[code] = value[ord(" ")]
    separates = bits(text) if text or words else np.zeros_like(bits(False))
    runs = np.array([*_runs(keep[:128] != 0), 32 if text else 0], np.uint8)
    powers, inverse = _powers(_BASE), _powers(pow(_BASE, -1, 1 << 64))
    for table in (value, keep, runs, separates, powers, inverse):
        table.setflags(write=False)
    return Tables(shingle.n, words, blanks, value, keep, runs, separates, powers, inverse)


def _runs(inside: np.ndarray) -> list[int]:
    """First and length of each of the runs of what is inside, of which there are at most four, and then 0, 0."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]])))
    found = [number for first, end in edges.reshape(-1, 2).tolist() for number in (first, end - first)]
    return found + [0] * (8 - len(found))


def _powers(base: int) -> np.ndarray:
    made = np.ones(ROOM + 2, np.uint64)
    made[1:] = base
    return np.cumprod(made, dtype=np.uint64)


def splitmix(seed: int, count: int) -> np.ndarray:
    """`count` numbers of 64 bits from a seed: splitmix64 (Steele, Lea, Flood: Fast splittable generators, 2014)."""
    made = np.empty(count, np.uint64)
    for k in range(count):
        z = (seed + (k + 1) * GOLDEN) & _ALL
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _ALL
        made[k] = z ^ (z >> 31)
    return made


def _check(n: object, function: str) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST:
        raise OptionError(f"{function}({n!r}): a whole number of 1 to {MOST}")
