"""Values that are looked at again: in memory while they are few, beyond that in files that are mapped."""

from __future__ import annotations

import os
import tempfile

import polars as pl

IN_MEMORY = 256 << 20  # bytes
_FILE = 64 << 20


class Spool:
    """Pieces of one column, in the order in which they are added."""

    def __init__(self, in_memory: int = IN_MEMORY):
        self._in_memory = in_memory
        self._size = 0
        self._waiting: list[pl.Series] = []
        self._waiting_size = 0
        self._done: list[pl.Series] = []

    def add(self, values: pl.Series) -> None:
        """Append; OSError where the disk for temporary files is full."""
        if not len(values):
            return
        size = values.estimated_size()
        self._waiting.append(values)
        self._waiting_size += size
        self._size += size
        if self._size > self._in_memory and self._waiting_size > _FILE:
            self._to_file()

    def finish(self) -> pl.Series | None:
        """All of them; None where there was none."""
        pieces = self._done + self._waiting
        return pl.concat(pieces, rechunk=False) if pieces else None

    def _to_file(self) -> None:
        import pyarrow as pa

        frame = pl.concat(self._waiting, rechunk=True).alias("value").to_frame()
        handle, path = tempfile.mkstemp(prefix="robodf-", suffix=".arrow")
        os.close(handle)
        try:
            frame.write_ipc(path, compression="uncompressed")
            mapped = pa.ipc.open_file(pa.memory_map(path)).read_all()
        except pa.ArrowNotImplementedError:  # a type of Polars alone, such as Int128: small, and held
            mapped = None
        finally:
            os.unlink(path)  # what is mapped stays until nobody uses it, and nothing is left where the process dies
        found = frame if mapped is None else pl.from_arrow(mapped, rechunk=False)
        self._done.append(pl.Series(found.to_series()))  # type: ignore[union-attr]
        self._waiting, self._waiting_size = [], 0
