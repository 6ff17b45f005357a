"""What the members of archives have in common: an index of them all, and bytes that are read of chosen ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.indexed_files import CutOff, IndexedFiles

if TYPE_CHECKING:
    import numpy as np

MOST_BYTES = (1 << 31) - 1
"""Of one member; the bytes of one with more are not read."""

FRAME = 32 << 20
"""Bytes of members in a frame, unless one row has more."""


@dataclass(frozen=True)
class Archives(IndexedFiles):
    """Archives, whose index has private columns too: those by which members are found."""

    @abstractmethod
    def read_cells(
        self, path: str, table: pl.DataFrame, columns: tuple[str, ...]
    ) -> Iterator[tuple[bytes | FileFormatError | None, ...]]:
        """The heavy columns of the rows of `table`, some of the index; an error instead of what cannot be read."""

    def _index(self, k: int, columns: tuple[str, ...]) -> pl.DataFrame:
        """One index for all columns: an archive is not gone through twice."""
        return super()._index(k, tuple(name for name in self.schema if name in self.light and name != "path"))

    def _table(self, path: str) -> pl.DataFrame:
        try:
            return self._index(self.paths.index(path), ())
        except CutOff as error:
            if self.on_error == "raise" or error.rows is None:
                raise
            return error.rows

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        table = self._table(path)[rows]
        made: list[tuple[bytes | None, ...]] = []
        held = 0
        for cells in self.read_cells(path, table, columns):
            made.append(tuple(self._checked(path, cell) for cell in cells))
            held += sum(len(cell or b"") for cell in made[-1])
            if held >= FRAME:
                yield self._frame(path, made, columns)
                made, held = [], 0
        if made:
            yield self._frame(path, made, columns)

    def _checked(self, path: str, cell: bytes | FileFormatError | None) -> bytes | None:
        if not isinstance(cell, FileFormatError):
            return cell
        if self.on_error == "raise":
            raise cell
        self.log.add(path, str(cell))
        return None

    def _frame(self, path: str, rows: list[tuple[bytes | None, ...]], columns: tuple[str, ...]) -> pl.DataFrame:
        return pl.DataFrame(
            {name: pl.Series(cells, dtype=pl.Binary) for name, cells in zip(columns, zip(*rows))}
        )  # fmt: skip
