"""Text files as rows: one row a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.files import open_file
from robodf.io.indexed_files import IndexedFiles

if TYPE_CHECKING:
    import numpy as np

_LARGEST = 256 << 20  # a file of more bytes is no document


@dataclass(frozen=True)
class TextDocuments(IndexedFiles):
    """Whole text files, as they are. Which are wanted is chosen by name and size before any is read."""

    encoding: str = "utf-8"

    @property
    def name(self) -> str:
        return "text"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {"path": pl.String(), "size": pl.UInt64(), "text": pl.String()}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(["text"])

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        return pl.DataFrame({"size": [self.sizes[path]]}, schema={"size": pl.UInt64()})

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        from robodf.io.counting import read

        text = None
        with open_file(path, dict(self.storage)) as file:
            file.counter = read
            if file.size <= _LARGEST:
                try:
                    text = file.read_at(0, file.size).decode(self.encoding)
                except UnicodeDecodeError as error:
                    problem = f"not {self.encoding} text at byte {error.start}: pass encoding= (for example 'latin-1')"
            else:
                problem = f"{file.size} bytes are more than a document has ({_LARGEST}): read it by lines"
        if text is None:
            if self.on_error == "raise":
                raise FileFormatError(f"{path}: {problem}")
            self.log.add(path, problem)
        yield pl.DataFrame({"text": [text]}, schema={"text": pl.String()})
