"""What a way of finding similar rows consists of.

A method gives each row some *keys* (bands): two rows that share one are candidates. Of candidates it *holds* what is
compared, and a pair counts only where the comparison says so. All else (who meets whom, who is kept) is the same for
all methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:  # importing robodf does not wait for NumPy
    import numpy as np
    import polars as pl


class Keys(NamedTuple):
    """The keys of `n` rows. A function of each row's value alone, the same on every machine."""

    bands: np.ndarray
    """(bands, n) uint64, C order: a key of one band never equals one of another, but by chance."""
    there: np.ndarray
    """(n,) bool: False where there is nothing to compare (null, empty): such a row is like no other."""
    same: np.ndarray | None
    """(2, n) uint64: rows that agree on both have similarity 1 and need no comparison; None: not known."""


class Method(Protocol):
    """A way of finding similar rows."""

    @property
    def bands(self) -> int:
        """Keys a row."""
        ...

    @property
    def knows_same(self) -> bool:
        """Whether its keys tell which rows are the same."""
        ...

    @property
    def cap(self) -> int | None:
        """With how many of the best members of a bucket a row is compared at most; None: with all."""
        ...

    @property
    def least(self) -> float:
        """The similarity from which on two rows are alike."""
        ...

    def keys(self, values: pl.Series) -> Keys:
        """The keys of some rows."""
        ...

    def hold(self, values: Iterator[pl.Series], rows: int) -> Any:
        """What is compared, of `rows` rows given in pieces: a NamedTuple of arrays that `compare.probe` knows.

        Row k of all pieces together is number k there.
        """
        ...
