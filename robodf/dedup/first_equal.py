"""Of one column in memory, for each row the best one with an equal value: a table of the values met so far."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numba import int64, uint32, uint64

from robodf.dedup.alike import mix
from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.lanes import eight_bytes, inner

MOST_ROWS = 2**32 - 2


def fits(dtype: pl.DataType) -> bool:
    """True of the types whose values are at most 64 bits, a text or bytes."""
    return (dtype.is_integer() and dtype.to_python() is int and dtype not in (pl.Int128, pl.UInt128)) or (
        dtype in (pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Time)
        or isinstance(dtype, (pl.Datetime, pl.Duration))
    )


def first_equal(values: pl.Series, there: np.ndarray, place: np.ndarray | None) -> np.ndarray:
    """For each row the best of those that are `there` and have an equal value: (n,) uint32, else its own number.

    `place` ((n,) int64) is the place of each row in the order of worth, None: its number. A null that is there equals
    another; NaN equals NaN, 0.0 equals -0.0.

    >>> first_equal(pl.Series([7, 8, 7]), np.ones(3, bool), None)
    array([0, 1, 0], dtype=uint32)
    """
    n = len(values)
    if not n:
        return np.empty(0, np.uint32)
    order = np.empty(0, np.int64)
    if place is not None:
        order = np.empty(n, np.int64)
        order[place] = np.arange(n)
    null = values.is_null().to_numpy() if values.null_count() else np.empty(0, bool)
    best = np.arange(n, dtype=np.uint32)
    words = _hashes(values) if values.dtype in (pl.String, pl.Binary) else words_of(values)
    views, at, ends, owner = views_of(values)
    bits = max(0, (n // _ROWS).bit_length())
    word, row, view, edges = _parted(words, views, ends, there, null, order, best, bits)
    if not len(edges):
        raise ValueError("a broken Arrow column of texts: views that point out of its buffers")
    largest = int(np.diff(edges).max(initial=0))

    def run(first: int, end: int) -> None:
        _in_parts(word, row, view, at, edges, first, end, largest, bits, best)

    in_ranges(len(edges) - 1, run, least=4)
    del owner  # until here addresses were read
    return best


def views_of(values: pl.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Of texts and bytes: the views (n, 2) uint64, the addresses and the sizes of the buffers, and what holds them.

    A view is its length, then the text itself (up to 12 bytes) or four bytes of it, the number of a buffer and the
    offset there (Arrow columnar format, "Variable-size Binary View Layout").
    """
    if values.dtype not in (pl.String, pl.Binary):
        return np.empty((0, 2), np.uint64), _NONE, _NONE, None
    (chunk,) = pa.chunked_array(values.rechunk()).chunks
    _, views, *data = chunk.buffers()
    found = np.frombuffer(views, np.uint64, 2 * len(chunk), 16 * chunk.offset).reshape(-1, 2)
    at = np.array([b.address for b in data], np.int64)
    return found, at, np.array([b.size for b in data], np.int64), chunk


_ROWS = 4096  # of a part: its table lies in the cache of a core
_NONE = np.empty(0, np.int64)


def _hashes(values: pl.Series) -> np.ndarray:
    return values.hash(0).to_numpy()


def words_of(values: pl.Series) -> np.ndarray:
    """Equal values as equal 64 bits."""
    if values.dtype.is_float():
        wide = values.cast(pl.Float64)
        # One NaN, and one zero: adding 0.0 turns -0.0 into it, but in NumPy alone: Polars leaves that out.
        plain = wide.fill_nan(float("nan")).fill_null(0.0).to_numpy() + 0.0
        return plain.view(np.uint64)
    if values.dtype == pl.UInt64:
        return values.fill_null(0).to_numpy()
    return values.to_physical().cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)


@kernel
def _parted(words, views, ends, there, null, order, best, bits):
    """The words, rows and views in parts by the first bits of the mixed word, in the order of worth within each."""
    count = np.zeros((1 << bits) + 1, np.int64)
    shift = uint64(64 - bits)
    first_null = -1
    for k in range(words.size):
        row = order[k] if order.size else k
        if not there[row]:
            continue
        if null.size and null[row]:
            if first_null < 0:
                first_null = row
            best[row] = uint32(first_null)
        else:
            count[(int64(mix(words[row]) >> shift) if bits else 0) + 1] += 1
    for part in range(1 << bits):
        count[part + 1] += count[part]
    edges = count.copy()
    word, rows = np.empty(edges[-1], np.uint64), np.empty(edges[-1], np.uint32)
    view = np.empty((edges[-1] if len(views) else 0, 2), np.uint64)
    for k in range(words.size):
        row = order[k] if order.size else k
        if there[row] and not (null.size and null[row]):
            part = int64(mix(words[row]) >> shift) if bits else 0
            at = count[part]
            word[at] = words[row]
            rows[at] = uint32(row)
            if len(views):
                size = int64(views[row, 0] & uint64(0xFFFFFFFF))
                buffer = int64(views[row, 1] & uint64(0xFFFFFFFF))
                if size > 12 and (buffer >= ends.size or int64(views[row, 1] >> uint64(32)) + size > ends[buffer]):
                    return word, rows, view, edges[:0]
                view[at] = views[row]
            count[part] = at + 1
    return word, rows, view, edges


@kernel
def _in_parts(word, row, view, at, edges, first, end, largest, bits, best):
    places = 16
    while places < 2 * largest:
        places *= 2
    table = np.empty(places, np.uint32)  # the number of an entry of the part + 1
    first_of = np.empty(largest, np.int64)
    for part in range(first, end):
        low, high = edges[part], edges[part + 1]
        used = 16
        while used < 2 * (high - low):
            used *= 2
        table[:used] = 0
        mask = uint64(used - 1)
        for k in range(low, high):
            place = ((mix(word[k]) << uint64(bits)) >> uint64(32)) & mask
            while table[place] != 0 and word[low + int64(table[place]) - 1] != word[k]:
                place = (place + uint64(1)) & mask
            if table[place] == 0:
                table[place] = uint32(k - low + 1)
            first_of[k - low] = low + int64(table[place]) - 1
        if len(view) == 0:
            for k in range(low, high):
                best[row[k]] = row[first_of[k - low]]
            continue
        # A loop of its own: that the bytes of a text come late from memory does not hold up the next ones.
        for k in range(low, high):
            other = first_of[k - low]
            if not same_text(view, at, other, k):
                # Another text of the same hash: it is the first, or like one in between.
                other += 1
                while other < k and not (word[other] == word[k] and same_text(view, at, other, k)):
                    other += 1
            best[row[k]] = row[other]


@inner
def same_text(views, at, a, b):
    """Whether two texts are equal: length and first bytes, then the rest of the view or what it points to."""
    if views[a, 0] != views[b, 0]:
        return False
    size = int64(views[a, 0] & uint64(0xFFFFFFFF))
    if size <= 12 or views[a, 1] == views[b, 1]:
        return views[a, 1] == views[b, 1]
    left, right = address_of(views, at, a), address_of(views, at, b)
    for k in range(0, size - 7, 8):
        if eight_bytes(left + k) != eight_bytes(right + k):
            return False
    return eight_bytes(left + size - 8) == eight_bytes(right + size - 8)


@inner
def address_of(views, at, row):
    """Where a text of more than 12 bytes begins."""
    return at[int64(views[row, 1] & uint64(0xFFFFFFFF))] + int64(views[row, 1] >> uint64(32))
