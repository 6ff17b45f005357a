"""Cloud files as one row a file, the points of each in one list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.clouds.files import Fields, frames, open_cloud, sample
from robodf.io.clouds.header import CloudHeader
from robodf.io.indexed_files import IndexedFiles
from robodf.io.source import Split

if TYPE_CHECKING:
    import numpy as np

_LIGHT = {
    "format": pl.String(),
    "points": pl.UInt64(),
    "width": pl.UInt32(),
    "height": pl.UInt32(),
    "viewpoint": pl.Array(pl.Float64(), 7),
    **{f"{side}_{axis}": pl.Float64() for side in ("min", "max") for axis in "xyz"},
}


@dataclass(frozen=True)
class CloudFiles(IndexedFiles):
    """Clouds of files whose headers were read, in the order of `paths`."""

    headers: tuple[CloudHeader, ...] = ()
    columns: Fields = ()
    max_points: int | None = None

    @property
    def name(self) -> str:
        return "clouds"

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        return {"path": pl.String(), **_LIGHT, "cloud": pl.List(pl.Struct(dict(self.columns)))}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(["cloud"])

    @cached_property
    def _header(self) -> dict[str, CloudHeader]:
        return dict(zip(self.paths, self.headers))

    @property
    def _options(self) -> tuple:
        return (self.max_points,)  # the headers are those of the state of the files

    def part(self, splits: tuple[Split, ...]) -> Self:
        from dataclasses import replace

        return replace(super().part(splits), headers=tuple(self.headers[s.part] for s in splits))

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        header = self._header[path]
        low, high = header.low or (None,) * 3, header.high or (None,) * 3
        row = {
            "format": header.format,
            "points": len(sample(header.points, self.max_points)),
            "width": None if self.max_points is not None else header.width,
            "height": None if self.max_points is not None else header.height,
            "viewpoint": header.viewpoint,
            **{f"{side}_{axis}": value for side, corner in (("min", low), ("max", high))
               for axis, value in zip("xyz", corner)},
        }  # fmt: skip
        return pl.DataFrame({name: [value] for name, value in row.items()}, schema=_LIGHT)

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        for _ in rows.tolist():
            yield pl.DataFrame({"cloud": self._cloud(path)})

    def _cloud(self, path: str) -> pl.Series:
        header, fields = self._header[path], dict(self.columns)
        dtype: Any = self.schema["cloud"]
        take = sample(header.points, self.max_points)
        try:
            with open_cloud(path, dict(self.storage)) as file:
                parts = [frame for _, frame in frames(file, header, fields, take, None)]
        except FileFormatError as error:
            if self.on_error == "raise":
                raise
            self.log.add(path, str(error))
            return pl.Series("cloud", [None], dtype)
        whole = pl.concat(parts) if parts else pl.DataFrame(schema=fields)
        return whole.to_struct("cloud").implode().cast(dtype)
