"""A number for the values of a row that is the same on every machine, for ever: what splits are cut by."""

from __future__ import annotations

from hashlib import blake2b

import polars as pl

from robodf.plan.comparison import IN_UNIT
from robodf.plan.kernels import Kernel, register

NAME = "stable_hash"
_HASH = "__robodf_hash"


def is_hashable(dtype: pl.DataType) -> bool:
    """True of the types whose values have one text: integers, texts, truth values, dates and times, bytes."""
    texts = isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Boolean, pl.Null))
    return texts or dtype.is_integer() or dtype.is_temporal()


def stable_hash(*columns: pl.Series, seed: int) -> pl.Series:
    """64 bits for the values of each row: BLAKE2b, keyed by the seed, of their kinds, lengths and bytes.

    An integer counts by its value, not by its type; a Categorical as its text; a time as its nanoseconds.

    >>> stable_hash(pl.Series(["run_7", None]), seed=0).to_list()
    [18399418198315316313, 3997118075155526356]
    """
    names = [str(i) for i in range(len(columns))]
    rows = pl.DataFrame([_plain(c).alias(n) for n, c in zip(names, columns)])
    kinds = [_kind(c.dtype) for c in columns]
    known = rows.unique()
    key = str(seed).encode()
    hashes = [_of(values, kinds, key) for values in known.iter_rows()]
    known = known.with_columns(pl.Series(_HASH, hashes, pl.UInt64))
    return rows.join(known, on=names, how="left", nulls_equal=True, maintain_order="left").get_column(_HASH)


def _of(values: tuple, kinds: list[tuple[bytes, int]], key: bytes) -> int:
    digest = blake2b(key=key, digest_size=8)
    for value, (kind, scale) in zip(values, kinds):
        if value is None:
            digest.update(b"n")
            continue
        data = value if isinstance(value, bytes) else str(value * scale).encode()
        digest.update(b"%s%d:%s" % (kind, len(data), data))
    return int.from_bytes(digest.digest(), "big")


def _plain(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        return column.cast(pl.String)
    return column.to_physical() if column.dtype.is_temporal() else column


def _kind(dtype: pl.DataType) -> tuple[bytes, int]:
    """A name that tells values of different kinds apart, and what a value is multiplied by to make it nanoseconds."""
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return b"s", 1
    if dtype.is_integer():
        return b"i", 1
    if isinstance(dtype, (pl.Datetime, pl.Duration)):
        return type(dtype).__name__.encode(), IN_UNIT[dtype.time_unit]
    return type(dtype).__name__.encode(), 1


register(NAME, Kernel(stable_hash, lambda **_: pl.UInt64(), total=True))
