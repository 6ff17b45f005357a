"""The values of a column as bytes that do not depend on how Polars happens to hold them.

Chunks, offsets of slices, buffers of texts, what lies under a null, the codes of categories: equal columns differ in
all of these, so neither their memory nor their Arrow IPC form can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from robodf.compat import explode_options

_ROWS = 1 << 20  # looked at together: only the memory that it takes depends on it
_AS_TEXT = (
    pl.Int128,
    pl.UInt128,
    pl.Categorical,
)  # NumPy has no such integers; the codes of categories are of a process

Token = Callable[[str, bytes], None]


def hash_series(column: pl.Series, token: Token, element: Callable[[Any], None]) -> None:
    """Tell `token` of all values of a column, in parts; `element` of each Python object in a column of those.

    The name and type are not told. A type with storage of its own kind is told by its Arrow IPC bytes.
    """
    for start in range(0, column.len(), _ROWS):
        _part(column.slice(start, _ROWS), token, element)


def _part(s: pl.Series, token: Token, element: Callable[[Any], None]) -> None:
    token("rows", str(s.len()).encode())
    if s.null_count():
        token("nulls", np.packbits(s.is_null().to_numpy()).tobytes())
        s = s.drop_nulls()
    dtype = s.dtype
    if not s.len() or dtype == pl.Null:
        return
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            _part(s.struct.field(field.name), token, element)
    elif isinstance(dtype, pl.List):
        lengths = s.list.len()
        _part(lengths, token, element)
        _below(s.filter(lengths > 0), token, element)
    elif isinstance(dtype, pl.Array):
        if dtype.size:
            _below(s, token, element)
    elif isinstance(dtype, (pl.Decimal, pl.Enum)) or dtype.is_temporal():
        _part(s.to_physical(), token, element)
    elif isinstance(dtype, _AS_TEXT):
        _part(s.cast(pl.String), token, element)
    elif isinstance(dtype, pl.Boolean):
        token("bits", np.packbits(s.to_numpy()).tobytes())
    elif dtype.is_numeric():
        token("numbers", np.ascontiguousarray(s.to_numpy()).view(np.uint8).tobytes())
    elif isinstance(dtype, (pl.String, pl.Binary)):
        _texts(s.cast(pl.Binary), token, element)
    elif isinstance(dtype, pl.Object):
        for value in s:
            element(value)
    else:
        _ipc(s, token)


def _below(s: pl.Series, token: Token, element: Callable[[Any], None]) -> None:
    hash_series(s.explode(**explode_options()), token, element)


def _texts(s: pl.Series, token: Token, element: Callable[[Any], None]) -> None:
    """Their lengths, and all of them one after the other."""
    import pyarrow as pa

    _part(s.bin.size(), token, element)
    array = s.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_binary())
    _, offsets, values = array.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    token("bytes", b"" if values is None else values.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes())


def _ipc(s: pl.Series, token: Token) -> None:
    """Of a type that this version of Polars has and robodf does not know: not the same for all chunks."""
    s.rename("").rechunk().to_frame().write_ipc(_Told(token))  # type: ignore[arg-type]


class _Told:
    """What Polars writes to: a file that keeps nothing."""

    def __init__(self, token: Token):
        self.token = token

    def write(self, data: Any) -> int:
        data = bytes(data)
        self.token("bytes", data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""
