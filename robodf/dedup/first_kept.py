"""Of rows in memory that are equal in some columns, the first or the last: tables of the rows met so far.

Each thread goes through all rows in order and takes those with its share of the hashes, so its table needs no lock, and
the first of equal rows is the one that is met first. Rows go by some hundreds: their places in the table, and then what
they are compared with, are asked for together, as each is a miss of the cache that would otherwise be waited for alone.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import int64, uint32, uint64

from robodf.dedup import arithmetic
from robodf.dedup.alike import frozen
from robodf.dedup.compiled import in_ranges, kernel
from robodf.dedup.first_equal import MOST_ROWS, address_of, fits, same_text, views_of, words_of
from robodf.dedup.lanes import eight_bytes, inner

_AT_ONCE = 512  # rows
_SHARES = 16  # at most: each thread looks at all hashes
_mixed = inner(arithmetic.mixed)
_step = inner(arithmetic.step)


def takes(dtypes: list[pl.DataType]) -> bool:
    """True of columns that `kept` takes: of at most 64 bits, and one of texts or bytes at most."""
    return bool(dtypes) and all(map(fits, dtypes)) and sum(map(_is_text, dtypes)) <= 1


def kept(columns: list[pl.Series], there: np.ndarray, last: bool = False) -> np.ndarray:
    """Which rows stay of those that are equal in all columns: the first, or the last; (n,) bool.

    Null equals null, NaN equals NaN, 0.0 equals -0.0. Rows that are not `there` ((n,) bool) all stay.

    Raises:
        ValueError: more rows than uint32 numbers, or a broken column of texts.

    >>> kept([pl.Series([7, 8, 7])], np.ones(3, bool))
    array([ True,  True, False])
    """
    n = len(there)
    if n > MOST_ROWS:
        raise ValueError(f"{n} rows are more than {MOST_ROWS}")
    if not n:
        return np.ones(0, bool)
    skipped = np.empty(0, bool) if there.all() else ~there
    words, texts = _fields(columns)
    bits = (min(pl.thread_pool_size(), _SHARES, -(-n // _AT_ONCE)) - 1).bit_length()
    owner = None
    if words.shape[1] == 1 and texts is None:
        single = frozen(words[:, 0])

        def share(part: int) -> np.ndarray:
            return _of_words(single, skipped, last, part, bits)
    else:
        views, at, ends, owner = views_of(texts) if texts is not None else (_NO_VIEWS, _NONE, _NONE, None)
        words, views, hashes = frozen(words), frozen(views), np.empty(n, np.uint64)
        if not all(in_ranges(n, lambda first, end: _hashed(words, views, at, ends, hashes, first, end))):
            raise ValueError("a broken Arrow column of texts: views that point out of its buffers")

        def share(part: int) -> np.ndarray:
            return _of_rows(hashes, words, views, at, skipped, last, part, bits)[0]

    stays = ~there
    for found in in_ranges(1 << bits, lambda first, end: [share(part) for part in range(first, end)], least=1):
        for rows in found:
            stays[rows] = True
    del owner  # until here addresses were read
    return stays


_NONE = np.empty(0, np.int64)
_NO_VIEWS = np.empty((0, 2), np.uint64)


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Binary)


def _fields(columns: list[pl.Series]) -> tuple[np.ndarray, pl.Series | None]:
    """(n, k) uint64: the columns but for the one of texts, and a bit for each that is null; and that one."""
    texts = [c for c in columns if _is_text(c.dtype)]
    parts = [words_of(c) for c in columns if not _is_text(c.dtype)]
    with_nulls = [c for c in columns if c.null_count()]
    for first in range(0, len(with_nulls), 64):
        bits = [c.is_null().to_numpy().astype(np.uint64) << np.uint64(k) for k, c in enumerate(with_nulls[first:][:64])]
        parts.append(np.bitwise_or.reduce(bits))
    empty = "" if texts and texts[0].dtype == pl.String else b""
    return _side_by_side(parts, len(columns[0])), texts[0].fill_null(empty) if texts else None


def _side_by_side(parts: list[np.ndarray], n: int) -> np.ndarray:
    """(n, len(parts)): what is compared of a row lies together."""
    if len(parts) == 1:
        return parts[0][:, None]
    words = np.empty((n, len(parts)), np.uint64)

    def fill(first: int, end: int) -> None:
        for k, part in enumerate(parts):
            words[first:end, k] = part[first:end]

    in_ranges(n, fill)
    return words


@inner
def _room(used, more, size):
    """The least power of two, from `size` on, of which `used` and `more` places are no more than half."""
    while size < 2 * (used + more):
        size *= 2
    return size


@inner
def _taken(h, part, bits):
    return int64((h >> uint64(1)) >> uint64(63 - bits)) == part


@kernel
def _of_words(words, skipped, last, part, bits):
    """The rows that stay, of those with one share of the hashes; a word and its hash determine each other."""
    n = words.size
    table, used, nought = np.zeros(4096, np.uint64), 0, False
    rows, hashes, found = np.empty(_AT_ONCE, np.uint32), np.empty(_AT_ONCE, np.uint64), np.empty(_AT_ONCE, np.uint64)
    stay, count = np.empty(n, np.uint32), 0
    for first in range(0, n, _AT_ONCE):
        some = 0
        for k in range(first, min(first + _AT_ONCE, n)):
            row = n - 1 - k if last else k
            h = _mixed(words[row])
            rows[some], hashes[some] = uint32(row), h
            some += int64(_taken(h, part, bits) and not (skipped.size and skipped[row]))
        size = _room(used, some, table.size)
        if size > table.size:
            old, table = table, np.zeros(size, np.uint64)
            for h in old:
                if h != 0:
                    table[_place(table, h)] = h
        mask = uint64(table.size - 1)
        for k in range(some):
            found[k] = table[hashes[k] & mask]
        for k in range(some):
            h = hashes[k]
            if h == 0:
                new, nought = not nought, True
            elif found[k] == h:
                continue
            else:
                place = _place(table, h)
                new = table[place] == 0
                table[place] = h
                used += int64(new)
            stay[count] = rows[k]
            count += int64(new)
    return stay[:count].copy()


@inner
def _place(table, h):
    """Where h is, or else where it would go."""
    mask = uint64(table.size - 1)
    place = h & mask
    while table[place] != 0 and table[place] != h:
        place = (place + uint64(1)) & mask
    return place


@kernel
def _hashed(words, views, at, ends, hashes, first, end):
    """The hashes of some rows; False where a view points out of its buffers."""
    for row in range(first, end):
        h = uint64(0x9E3779B97F4A7C15)
        for k in range(words.shape[1]):
            h = _step(h, words[row, k], uint64(0))
        if len(views):
            size = int64(views[row, 0] & uint64(0xFFFFFFFF))
            if size <= 12:
                h = _step(h, views[row, 0], views[row, 1])
            else:
                buffer = int64(views[row, 1] & uint64(0xFFFFFFFF))
                if buffer >= ends.size or int64(views[row, 1] >> uint64(32)) + size > ends[buffer]:
                    return False
                text = address_of(views, at, row)
                h = _step(h, uint64(size), uint64(0))
                for k in range(0, size - 15, 16):
                    h = _step(h, eight_bytes(text + k), eight_bytes(text + k + 8))
                if size & 15:  # the last 16 bytes, or of a shorter text the first and the last eight
                    h = _step(h, eight_bytes(text + max(size - 16, 0)), eight_bytes(text + size - 8))
        hashes[row] = _mixed(h)
    return True


@kernel
def _of_rows(hashes, words, views, at, skipped, last, part, bits):
    """The rows that stay, of those with one share of the hashes.

    An entry is the upper half of a hash and the row + 1. What has the same is compared, and goes on if it differs.
    """
    n = hashes.size
    low = uint64(0xFFFFFFFF)
    table, used = np.zeros(4096, np.uint64), 0
    rows, mine, found = np.empty(_AT_ONCE, np.uint32), np.empty(_AT_ONCE, np.uint64), np.empty(_AT_ONCE, np.uint64)
    stay, count = np.empty(n, np.uint32), 0
    asked = uint64(0)
    for first in range(0, n, _AT_ONCE):
        some = 0
        for k in range(first, min(first + _AT_ONCE, n)):
            row = n - 1 - k if last else k
            h = hashes[row]
            rows[some], mine[some] = uint32(row), h
            some += int64(_taken(h, part, bits) and not (skipped.size and skipped[row]))
        size = _room(used, some, table.size)
        if size > table.size:
            table = _grown(table, size, hashes)
        mask = uint64(table.size - 1)
        for k in range(some):
            found[k] = table[mine[k] & mask]
        if words.shape[1]:
            for k in range(some):
                asked ^= words[max(int64(found[k] & low) - 1, 0), 0]
        if len(views):
            for k in range(some):
                asked ^= views[max(int64(found[k] & low) - 1, 0), 1]
            for k in range(some):
                other = max(int64(found[k] & low) - 1, 0)
                if views[other, 0] & low > uint64(12):
                    asked ^= eight_bytes(address_of(views, at, other))
        for k in range(some):
            h, row = mine[k], int64(rows[k])
            place = h & mask
            new = True
            while table[place] != 0:
                entry = table[place]
                if (entry ^ h) >> uint64(32) == 0 and _equal(words, views, at, int64(entry & low) - 1, row):
                    new = False
                    break
                place = (place + uint64(1)) & mask
            if new:
                table[place] = (h & ~low) | uint64(row + 1)
                used += 1
                stay[count] = rows[k]
                count += 1
    # What was only read so that it is near is given back: else the compiler leaves it out.
    return stay[:count].copy(), asked


@inner
def _grown(old, size, hashes):
    table = np.zeros(size, np.uint64)
    mask = uint64(size - 1)
    for entry in old:
        if entry != 0:
            place = hashes[int64(entry & uint64(0xFFFFFFFF)) - 1] & mask
            while table[place] != 0:
                place = (place + uint64(1)) & mask
            table[place] = entry
    return table


@inner
def _equal(words, views, at, a, b):
    for k in range(words.shape[1]):
        if words[a, k] != words[b, k]:
            return False
    if not len(views):
        return True
    return same_text(views, at, a, b)
