"""Texts that share most of their passages: Jaccard similarity of their sets of n-grams."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from robodf.dedup.banding import choose, recall_at
from robodf.dedup.method import Keys
from robodf.dedup.shingles import Chars, Words, check_normalize, tables
from robodf.errors import OptionError, SchemaError

if TYPE_CHECKING:
    from robodf.dedup.jaccard import ShingleSets

_WORDS = Words(5)


@dataclass(frozen=True)
class Fuzzy:
    """Near-duplicates among texts.

    The similarity of two texts is |A and B| / |A or B| of their sets of n-grams, which are compared by 64-bit hashes.
    Pairs that are compared are found by MinHash keys: a pair at similarity s with probability
    1 - (1 - s^rows)^bands or more, which is at least `recall` at the threshold (see `banding`).

    Under `normalize="text"` case does not count, and whatever is not a letter, a mark, a number or `_` parts words:
    punctuation, symbols, emoji, blanks, controls (Unicode 14.0), a run of them as one blank. With None texts are
    compared as they are, and words are parted by blanks only. Texts without a word or character, and nulls, are like
    no other.

    Raises:
        OptionError: an option out of range, or a recall that 256 minima a row do not reach.

    Examples:
        >>> Fuzzy(threshold=0.8).describe()
        'jaccard of words(5) >= 0.8, 12 bands x 5 rows, recall >= 0.9914'
    """

    threshold: float = 0.8
    recall: float = 0.99
    shingle: Words | Chars = _WORDS
    normalize: str | None = "text"
    cap: int | None = 64

    knows_same: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("threshold", "recall"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise OptionError(f"{name}={value!r}: a number is expected")
        if not isinstance(self.shingle, (Words, Chars)):
            raise OptionError(f"shingle={self.shingle!r}: rd.words(n) or rd.chars(n)")
        check_normalize(self.normalize)
        if self.cap is not None and (isinstance(self.cap, bool) or not isinstance(self.cap, int) or self.cap < 1):
            raise OptionError(f"cap={self.cap!r}: a whole number above 0, or None for no limit")
        _ = self._keys

    @property
    def bands(self) -> int:
        """Keys a row."""
        return self._keys[0]

    @property
    def rows(self) -> int:
        """Minima a key."""
        return self._keys[1]

    @property
    def _keys(self) -> tuple[int, int]:
        # Texts that are not alike have hardly a run of three words in common, but many a short run of characters.
        apart = isinstance(self.shingle, Words) and self.shingle.n >= 3
        return choose(self.threshold, self.recall, 5 if apart else 7)

    @property
    def least(self) -> float:
        """The similarity from which on two rows are alike."""
        return float(self.threshold)

    def keys(self, values: pl.Series) -> Keys:
        """The keys of some texts; `same` are fingerprints of the sequence of words or characters."""
        from robodf.dedup import minhash, reading
        from robodf.gpu import kernels

        texts = reading.Readable(_texts(values), self.normalize is not None)
        made = tables(self.shingle, self.normalize)
        found = kernels.keys_of_texts(texts, made, self.bands, self.rows)
        return minhash.keys(texts, made, self.bands, self.rows) if found is None else found

    def hold(self, values: Iterator[pl.Series], rows: int) -> ShingleSets:
        """The sets of n-grams of `rows` texts in pieces."""
        from robodf.dedup import jaccard

        made = tables(self.shingle, self.normalize)
        return jaccard.hold(map(_texts, values), rows, made, self.normalize is not None)

    def describe(self) -> str:
        """One line of what is compared and found."""
        found = recall_at(self.threshold, self.bands, self.rows)
        as_it_is = "" if self.normalize else " as they are"
        return (
            f"jaccard of {self.shingle.label}{as_it_is} >= {self.threshold:g}, {self.bands} bands x {self.rows} rows, "
            f"recall >= {math.floor(found * 1e4) / 1e4:g}"
        )


def _texts(values: pl.Series) -> pl.Series:
    if values.dtype in (pl.String, pl.Null, pl.Categorical, pl.Enum):
        return values.cast(pl.String)
    raise SchemaError(f"method='fuzzy' compares texts, and {values.name!r} is {values.dtype}: cast it to String")
