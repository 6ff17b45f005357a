"""What the start of a cloud file says: how many points there are, of which fields, and where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from robodf.errors import FileFormatError

if TYPE_CHECKING:
    import numpy as np

    from robodf.io.files import FileReader

BLOCK = 16 << 20
"""Bytes of points that are decoded at once."""

POLARS = {
    "i1": pl.Int8(), "i2": pl.Int16(), "i4": pl.Int32(), "i8": pl.Int64(),
    "u1": pl.UInt8(), "u2": pl.UInt16(), "u4": pl.UInt32(), "u8": pl.UInt64(),
    "f4": pl.Float32(), "f8": pl.Float64(),
}  # fmt: skip
"""The types of numbers, by NumPy's short names."""

Corner = tuple[float, float, float]

Box = tuple[Corner, Corner]
"""The least and the greatest x, y and z of what is asked for; infinite where nothing is said."""


@dataclass(frozen=True)
class CloudHeader:
    """One file. `body` is what the reader of the format needs besides; `width` and `height` are None where the file
    does not say, or says what does not fit its number of points."""

    format: str
    points: int
    fields: tuple[tuple[str, pl.DataType], ...]
    body: Any
    width: int | None = None
    height: int | None = None
    viewpoint: tuple[float, ...] | None = None
    low: Corner | None = None
    high: Corner | None = None

    def outside(self, box: Box | None) -> bool:
        """Whether the file says that none of its points is in a box."""
        if box is None or self.low is None or self.high is None:
            return False
        return any(high < least or low > most for low, high, least, most in zip(self.low, self.high, *box))


Take = "range | np.ndarray"
"""Which points of a file are wanted: a range, or ascending int64 numbers."""


class CloudReader(Protocol):
    """What a module of a format offers."""

    def header(self, file: FileReader) -> CloudHeader:
        """FileFormatError where the file is not of the format."""
        ...

    def read(
        self, file: FileReader, header: CloudHeader, names: tuple[str, ...], take: Any, box: Box | None
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """The numbers of points and their fields, of one or two dimensions, block by block, in order.

        Of the points wanted, those outside of the box may be left out. `names` may be empty.
        """
        ...


def picked(take: Any, first: int, last: int) -> Any:
    """Which points of a block from `first` to `last` (exclusive) are wanted, counted from its first; None for none."""
    if isinstance(take, range):
        low, high = max(take.start, first), min(take.stop, last)
        return slice(low - first, high - first) if low < high else None
    low, high = take.searchsorted(first), take.searchsorted(last)
    return take[low:high] - first if low < high else None


def numbers(which: Any, first: int) -> np.ndarray:
    """The numbers in the file of what `picked` gave."""
    import numpy as np

    return np.arange(first + which.start, first + which.stop) if isinstance(which, slice) else first + which


def blocks(take: Any, total: int, at_once: int) -> Iterator[tuple[int, int, Any]]:
    """Blocks of points, and which of each are wanted: those without any are left out."""
    start, stop = (take.start, take.stop) if isinstance(take, range) else (0, total)
    for first in range(start - start % at_once, stop, at_once):
        last = min(first + at_once, total)
        which = picked(take, first, last)
        if which is not None:
            yield first, last, which


def distinct(names: Iterable[str]) -> list[str]:
    """The names, the second `x` as `x_2`; `path` and `point`, which are columns of ours, as `path_` and `point_`."""
    found: list[str] = []
    for name in names:
        name = f"{name}_" if name in ("path", "point") else name
        count, unlike = 1, name
        while unlike in found:
            count += 1
            unlike = f"{name}_{count}"
        found.append(unlike)
    return found


def text_values(path: str, rows: list[tuple[int, list[bytes]]], kinds: list[str]) -> list[np.ndarray]:
    """The columns of lines of numbers, `(line number, words)`, each of a NumPy type; FileFormatError names the line."""
    import numpy as np

    for line, words in rows:
        if len(words) != len(kinds):
            raise FileFormatError(f"{path}: line {line} has {len(words)} numbers, not {len(kinds)}")
    columns = []
    for k, kind in enumerate(kinds):
        words = [row[1][k] for row in rows]
        try:
            columns.append(_values(words, kind))
        except (ValueError, OverflowError):
            line, word = next((line, row[k]) for line, row in rows if not _is_value(row[k], kind))
            shown = word[:40].decode("ascii", "replace")
            raise FileFormatError(f"{path}: line {line}: {shown!r} is no {POLARS[kind]}") from None
    return [np.asarray(column) for column in columns]


def _values(words: list[bytes], kind: str) -> np.ndarray:
    import numpy as np

    if any(b"_" in word for word in words):  # Python takes 1_0 for ten
        raise ValueError("no number")
    if kind[0] == "f":
        with np.errstate(over="ignore"):
            return np.array([float(word) for word in words], np.float64).astype(kind)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    whole = [_whole(word) for word in words]
    if any(not low <= value <= high for value in whole):
        raise OverflowError("no such number")
    return np.array(whole, kind)


def _whole(word: bytes) -> int:
    try:
        return int(word)
    except ValueError:  # some writers put 255.0
        value = float(word)
        if value != int(value):
            raise ValueError("no integer") from None
        return int(value)


def _is_value(word: bytes, kind: str) -> bool:
    try:
        _values([word], kind)
    except (ValueError, OverflowError):
        return False
    return True
