"""What a source of rows says about itself, so that the planner can skip what a query does not need."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from robodf.plan.expr import Expr

Columns = tuple[str, ...] | None
"""The wanted columns in schema order; None for all. `a.b` paths stand in `Request.fields`."""


class Support(enum.Enum):
    """What a source does with a predicate."""

    EXACT = "exact"  # every row that it gives satisfies the predicate; nothing is left to check
    INEXACT = "inexact"  # it skips some rows that do not; the filter stays
    NONE = "none"  # it cannot use it


@dataclass(frozen=True)
class Request:
    """What a query asks of a source: columns, predicates that it supports, and the first `limit` rows after them."""

    columns: tuple[str, ...]
    predicates: tuple[Expr, ...] = ()
    limit: int | None = None
    fields: tuple[tuple[str, ...], ...] = ()  # nested paths: ("orientation", "x"); a column without one is read whole


@dataclass(frozen=True)
class Split:
    """A unit of parallel work: a file or a part of it, with estimates."""

    path: str
    part: Any = None
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class ScanReport:
    """What will be read: for `explain()`. Figures come from indexes and footers, never from data."""

    bytes: int | None = None  # to be read
    total_bytes: int | None = None
    rows: int | None = None  # messages or rows to be looked at
    total_rows: int | None = None
    pieces: int | None = None  # chunks, row groups
    total_pieces: int | None = None
    piece: str = "chunk"
    files: int | None = None
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        parts = []
        if self.files is not None:
            parts.append(f"{self.files} file{'s' * (self.files != 1)}")
        if self.pieces is not None and self.total_pieces is not None:
            parts.append(f"{self.pieces} of {self.total_pieces} {self.piece}s")
        if self.bytes is not None and self.total_bytes is not None:
            share = f" ({self.bytes / self.total_bytes:.1%})" if self.total_bytes else ""
            parts.append(f"{self.bytes:,} of {self.total_bytes:,} bytes{share}")
        if self.rows is not None and self.total_rows is not None:
            parts.append(f"{self.rows:,} of {self.total_rows:,} rows")
        return ", ".join([*parts, *self.notes])


class Source(ABC):
    """An immutable, picklable source, compared by value (subclasses are frozen dataclasses).

    Making one lists files and reads footers, never data.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The format, for `explain()`."""

    @property
    @abstractmethod
    def schema(self) -> dict[str, pl.DataType]:
        """The columns that it can give."""

    @abstractmethod
    def scan(self, request: Request) -> pl.LazyFrame:
        """The rows asked for, in file order, as a Polars query."""

    def support(self, predicate: Expr) -> Support:
        """What it does with a movable predicate on its columns."""
        return Support.NONE

    def splits(self, request: Request) -> Iterator[Split]:
        """The units of parallel work left after pruning."""
        raise NotImplementedError

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        """The exact number of rows by metadata alone, or None."""
        return None

    def bounds(self, column: str, predicates: tuple[Expr, ...]) -> tuple[int, int] | None:
        """The least and the greatest value that a column of times or integers may have, by metadata alone, or None.

        In the column's own unit, inclusive, without nulls; of the rows that satisfy `predicates`, which it supports.
        """
        return None

    def report(self, request: Request) -> ScanReport:
        """What a request will read."""
        return ScanReport()

    @property
    def nested_projection(self) -> bool:
        """True where it can read some fields of a struct column only."""
        return False

    @property
    def limits(self) -> bool:
        """True where it stops early for a limit."""
        return True

    @property
    def problems(self) -> list[dict]:
        """What was skipped while reading: dicts with file, topic, offset, time and error."""
        return []

    def describe(self) -> str:
        """The format and the files, short."""
        return self.name


def file_names(paths: tuple[str, ...]) -> str:
    """The files of a source in one line of `explain()`: the first one's name and how many more."""
    first = paths[0].replace("\\", "/").rsplit("/", 1)[-1]
    return first + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
