"""The arithmetic of keys: integers alone, so that every machine, and a GPU, computes the same.

Plain functions that numba compiles twice: for processors where they are used (`wording`, `reading`, `minhash`), for
GPUs in `robodf.gpu.kernels`. So none of them calls another, asks for an address, or uses what only processors have.
"""

from __future__ import annotations

from typing import Any

from numba import int64, uint64


def mixed(x: Any) -> Any:
    """Every bit of it depends on every bit of x; the last step of splitmix64."""
    x = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> uint64(27))) * uint64(0x94D049BB133111EB)
    return x ^ (x >> uint64(31))


def stirred(x: Any) -> Any:
    """A bijection, enough where the bits of x are those of hashes."""
    x = (x ^ (x >> uint64(32))) * uint64(0xD6E8FEB86659FD93)
    return x ^ (x >> uint64(32))


def never_0(x: Any) -> Any:
    """x, or 1 for 0."""
    return x | uint64(x == uint64(0))


def step(h: Any, low: Any, high: Any) -> Any:
    """The hash of a word with 16 bytes more."""
    return (low ^ ((h << uint64(23)) | (h >> uint64(41)))) * uint64(0x9FB21C651E98DF25) + high * uint64(
        0xBF58476D1CE4E5B9
    )


def finished(h: Any) -> Any:
    """The hash of a word after its last bytes."""
    h = (h ^ (h >> uint64(32))) * uint64(0xD6E8FEB86659FD93)
    return h ^ (h >> uint64(29))


def separates(bits: Any, code: Any) -> Any:
    """Whether a code point separates, by a bit for each."""
    return bits[code >> 6] >> uint64(code & 63) & uint64(1) != uint64(0)


def code_point(text: Any, i: Any) -> Any:
    """(code point, bytes) at i. Of bytes that are no UTF-8, something; never from beyond the end."""
    c = int64(text[i])
    left = text.size - i
    if c < 0xC0 or left < 2:
        return c, 1
    if c < 0xE0 or left < 3:
        return (c & 0x1F) << 6 | int64(text[i + 1]) & 0x3F, 2
    if c < 0xF0 or left < 4:
        return (c & 0xF) << 12 | (int64(text[i + 1]) & 0x3F) << 6 | int64(text[i + 2]) & 0x3F, 3
    code = (c & 7) << 18 | (int64(text[i + 1]) & 0x3F) << 12 | (int64(text[i + 2]) & 0x3F) << 6
    return min(code | int64(text[i + 3]) & 0x3F, 0x10FFFF), 4


def key(ends: Any, first: Any, rows: Any, band: Any) -> Any:
    """Of the `rows` minima or maxima from `first` on, and the number of the band, so that bands do not meet."""
    h = uint64(band + 1) * uint64(0x9E3779B97F4A7C15)
    for k in range(first, first + rows):
        h = (((h << uint64(23)) | (h >> uint64(41))) ^ uint64(ends[k])) * uint64(0xD6E8FEB86659FD93)
    return h ^ (h >> uint64(32))
