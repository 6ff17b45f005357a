"""Tables whose files are empty and which say that they are large: what a planner goes by, without the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import robodf as rd
from robodf.io.source import Request, Source, Split
from robodf.io.tables import TableFiles
from robodf.plan.expr import Expr
from robodf.plan.nodes.scan import Scan


@dataclass(frozen=True)
class Sized(TableFiles):
    """A Parquet file that says it has so many rows in so many bytes."""

    said_rows: int = 0
    said_bytes: int = 0

    __hash__ = Source.hash_once

    def splits(self, request: Request) -> Iterator[Split]:
        yield Split(self.paths[0], (0, None), self.said_rows, self.said_bytes)

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        return None if predicates else self.said_rows


def sized(path: Path, schema: dict[str, pl.DataType], rows: int, size: int) -> rd.PipelineDataFrame:
    """A frame over an empty file of this schema, which is written if it is not there."""
    if not path.exists():
        pl.DataFrame(schema=schema).write_parquet(path)
    return rd.PipelineDataFrame(Scan(Sized("parquet", (str(path),), said_rows=rows, said_bytes=size)))
