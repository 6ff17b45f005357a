"""Small files that are read whole and give a few rows each: descriptions, calibrations, configurations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError, QueryError
from robodf.io.counting import read
from robodf.io.files import open_file
from robodf.io.indexed_files import IndexedFiles

if TYPE_CHECKING:
    import numpy as np

MOST_BYTES = 16 << 20
"""A file of more bytes is none that a person or tool keeps in these formats."""


@dataclass(frozen=True)
class WholeFiles(IndexedFiles):
    """A subclass says `name`, `schema` and `table`. Filters choose rows of the table; a file is read when it runs."""

    @abstractmethod
    def table(self, path: str) -> pl.DataFrame:
        """The rows of a file, all columns but PATH; FileFormatError where it is not what it should be."""

    @property
    def index_is_cheap(self) -> bool:
        return False

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        return self.table(path)

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        raise QueryError(f"{self.describe()} has no heavy columns")

    def text(self, path: str) -> bytes:
        """The bytes of a file."""
        return text_of(path, self.storage)


def text_of(path: str, storage: Any) -> bytes:
    """The bytes of a small file; FileFormatError where it has more than 16 MiB."""
    with open_file(path, dict(storage)) as file:
        file.counter = read
        if file.size > MOST_BYTES:
            raise FileFormatError(f"{path}: {file.size} bytes are more than such a file has ({MOST_BYTES})")
        return file.read_at(0, file.size)
