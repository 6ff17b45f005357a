"""YAML files as rows: one row a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.indexed_files import PATH
from robodf.io.objects import columns_of, to_frame
from robodf.io.whole_files import WholeFiles
from robodf.io.yaml_text import documents

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.read import Paths

_SAMPLE = 100  # files by which columns are typed
_NUMBER = "document"


def read_yaml(paths: Paths, *, on_error: str = "raise", storage_options: dict | None = None) -> PipelineDataFrame:
    """A lazy frame of YAML files, one row a document: path, document (from 0), and the keys of its map as columns.

    Whole numbers are Int64, others Float64, maps Struct, lists List (see `robodf.io.objects`); a key that is called
    path or document gets `yaml.` before it, and a document that is no map is in the column `value`. The first 100
    files are read now, for the columns; a later file with another key or type is an error, or skipped (`on_error`;
    `df.errors` tells). OpenCV's `%YAML:1.0` files are read too; tags are ignored.

    >>> import robodf as rd, pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "robot.yaml")
    >>> _ = name.write_text("robot: arm\\njoints: [{name: j1, limit: 1.5}]")
    >>> rd.read_yaml(name).select("robot", "joints").collect().rows()
    [('arm', [{'name': 'j1', 'limit': 1.5}])]
    """
    from robodf.io.files import list_files
    from robodf.io.read import from_source

    files = list_files(paths, (".yaml", ".yml"), storage_options)  # type: ignore[arg-type]
    source = YamlFiles.of(files, storage_options, on_error)
    seen = [row for path in source.paths[:_SAMPLE] for row in source.readable(path)]
    return from_source(YamlFiles.of(files, storage_options, on_error, columns=tuple(columns_of(seen).items())))


@dataclass(frozen=True)
class YamlFiles(WholeFiles):
    """Documents with the columns that were found when the frame was made."""

    columns: tuple[tuple[str, pl.DataType], ...] = ()

    @property
    def name(self) -> str:
        return "yaml"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {PATH: pl.String(), _NUMBER: pl.UInt32(), **dict(self.columns)}

    def table(self, path: str) -> pl.DataFrame:
        rows = self.rows(path)
        numbers = pl.Series(_NUMBER, range(len(rows)), dtype=pl.UInt32)
        return to_frame(rows, dict(self.columns), path).insert_column(0, numbers)

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The documents of a file as maps."""
        found = documents(self.text(path), path)
        return [
            {f"yaml.{k}" if k in (PATH, _NUMBER) else k: v for k, v in d.items()}
            if isinstance(d, dict)
            else {"value": d}
            for d in found
        ]

    def readable(self, path: str) -> list[dict[str, Any]]:
        """The rows of a file; of one that cannot be read none, unless it is to raise: reading it later tells."""
        try:
            return self.rows(path)
        except FileFormatError:
            if self.on_error == "raise":
                raise
            return []
