"""The bytes of each row of a Binary column, where they lie."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

_SHORT = 12  # bytes that lie in the view itself


def payloads(data: pl.Series) -> Iterator[memoryview | None]:
    """A view of each row's bytes, None where it is null.

    Polars and Arrow keep bytes as "binary views": 16 bytes for each row, with the length and either the bytes
    themselves or the number of a buffer and an offset in it. Arrow's own scalars would copy them.
    (https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout)

    >>> [view and bytes(view) for view in payloads(pl.Series([b"ab", None, b"longer than twelve"]))]
    [b'ab', None, b'longer than twelve']
    """
    import numpy as np

    array = data.to_arrow(compat_level=pl.CompatLevel.newest())
    _, views, *buffers = array.buffers()
    if not len(array):
        return
    parts = [memoryview(buffer).cast("B") if buffer else memoryview(b"") for buffer in buffers]
    view = memoryview(views).cast("B")[16 * array.offset : 16 * (array.offset + len(array))]
    numbers = np.frombuffer(view, "<i4").reshape(-1, 4)
    known = data.is_not_null().to_list()
    for row, (is_known, (length, _, part, start)) in enumerate(zip(known, map(tuple, numbers.tolist()))):
        if not is_known:
            yield None
        elif length <= _SHORT:
            yield view[16 * row + 4 : 16 * row + 4 + length]
        else:
            yield parts[part][start : start + length]
