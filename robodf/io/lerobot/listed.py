"""Tables of a data set that are read as a whole when they are asked for: episodes, tasks, statistics."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from robodf.io.error_log import ErrorLog
from robodf.io.source import Request, Source


@dataclass(frozen=True)
class Listed(Source):
    """A table, and what was passed over while it was read; `mark` says of which state of which data set it is."""

    table: str
    mark: tuple
    on_error: str
    frame: pl.DataFrame = field(compare=False, repr=False)
    log: ErrorLog = field(compare=False, repr=False)

    __hash__ = Source.hash_once

    @property
    def name(self) -> str:
        return "lerobot"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return dict(self.frame.schema)

    def scan(self, request: Request) -> pl.LazyFrame:
        rows = self.frame if request.limit is None else self.frame.head(request.limit)
        return rows.lazy().select(request.columns)

    def count(self, predicates: tuple) -> int | None:
        return None if predicates else self.frame.height

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    def describe(self) -> str:
        return f"{self.name} {self.table}"
