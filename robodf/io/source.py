"""What a source of rows says about itself, so that the planner can skip what a query does not need."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import QueryError
from robodf.io.files import own_path
from robodf.plan.expr import Expr

if TYPE_CHECKING:
    import numpy as np

Columns = tuple[str, ...] | None
"""The wanted columns in schema order; None for all. `a.b` paths stand in `Request.fields`."""

LOCATOR = "__robodf_locator"
"""The column by which a source finds a row again: UInt64, ascending in the order of its rows."""


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
    locator: bool = False  # LOCATOR as a last column


@dataclass(frozen=True, slots=True)
class Split:
    """A unit of parallel work: a file or a part of it, with estimates.

    `part` is the source's own note of what it is, small and hashable. `rows` is None where only reading tells, `bytes`
    are those to be read from the file, still encoded. `key` is the value that `Source.partition_column` has in all of
    its rows, None where there is no such column.
    """

    path: str
    part: Any = None
    rows: int | None = None
    bytes: int | None = None
    key: str | None = None


@dataclass(frozen=True)
class Fetching:
    """Bytes of files, by metadata alone: to read some columns of all rows, and to fetch those of the rows left.

    `done` says what is done with such bytes, where files are read anyway: "decoded". `bounded`: to fetch rows in their
    order takes no longer than to read all, or not much, however many they are.
    """

    all: int
    fetched: int
    done: str = "read"
    bounded: bool = False


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

    Making one lists files and reads footers, never data. A source of many files says `__hash__ = Source.hash_once`:
    a plan asks for its hash each time a node of it is made.
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

    # -- heavy columns ----------------------------------------------------------------------------------------

    @property
    def heavy(self) -> frozenset[str]:
        """The columns that are worth fetching late: they cost much more than the others. Empty: none can be."""
        return frozenset()

    def fetch(self, locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Some heavy columns of some rows, by their locators, which ascend and have none twice (uint64).

        Frames of exactly these columns, in the order of the locators, one row for each; none is larger than a few
        dozen MiB unless one row is. What cannot be read any more is an error, or null where `on_error` says so: never a
        row less.
        """
        raise QueryError(f"{self.describe()} finds no rows again")

    def fetching(self, columns: tuple[str, ...], share: float) -> Fetching | None:
        """What fetching these columns costs, where `share` (0 to 1) of the rows are left; None: it is not known."""
        return None

    def fetching_beside(self, columns: tuple[str, ...], share: float, beside: tuple[str, ...]) -> Fetching | None:
        """As `fetching`, where the columns `beside` are read of all rows first, which may have all bytes with them."""
        return self.fetching(columns, share)

    def fetcher(self) -> Source:
        """The source that a plan carries to other processes for `fetch`: with what would cost reading to find out."""
        return self

    def support(self, predicate: Expr) -> Support:
        """What it does with a movable predicate on its columns."""
        return Support.NONE

    @property
    def partition_column(self) -> str | None:
        """The column of which all rows with one `Split.key` have one value, and no others have it; None: no column."""
        return None

    def splits(self, request: Request) -> Iterator[Split]:
        """The units of parallel work left after pruning, made one by one.

        Their rows, in their order, are the rows that the source gives for the request, in their order. A limit may
        leave some out, but need not.
        """
        report = self.report(request)
        yield Split(self.describe(), None, report.rows, report.bytes)

    def key_bytes(self) -> dict[str, int] | None:
        """The bytes of the files of each value of the partition column, in row order, whatever is asked of them."""
        return None

    def part(self, splits: tuple[Split, ...]) -> Source:
        """The source of the rows of some of its own splits, in the order given, read with the request they are for.

        It has the schema of the whole, is small when pickled, and gives the same rows in any process that reaches the
        files. Files that are not in it are not opened. It stops at a limit by its own rows alone.

        >>> import os, tempfile
        >>> from robodf.io.text import text_lines
        >>> names = [os.path.join(tempfile.mkdtemp(), "a.txt") for _ in range(2)]
        >>> for number, name in enumerate(names):
        ...     with open(name, "w") as file:
        ...         _ = file.write(f"line of {number}")
        >>> whole = text_lines(names, "utf-8", None)
        >>> request = Request(("text",))
        >>> first, second = whole.splits(request)
        >>> whole.part((second,)).scan(request).collect().rows()
        [('line of 1',)]
        """
        if len(splits) != 1 or splits[0].part is not None:
            raise QueryError(f"{self.describe()} is read as a whole: its one split makes the one part")
        return self

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

    def note(self, problem: dict) -> None:
        """Take over a problem that a part of it met in another process."""
        raise QueryError(f"{self.describe()} keeps no problems, but a part of it has {problem}")

    def describe(self) -> str:
        """The format and the files, short."""
        return self.name

    def hash_once(self) -> int:
        """The hash of its fields, computed once."""
        found = self.__dict__.get("_hash")
        if found is None:
            found = self.__dict__["_hash"] = hash(tuple(getattr(self, f.name) for f in fields(self) if f.compare))  # type: ignore[arg-type]
        return found

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was derived from them is derived again (and texts hash differently elsewhere)."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


def file_names(paths: tuple[str, ...]) -> str:
    """The files of a source in one line of `explain()`: the first one's name and how many more."""
    if not paths:
        return "(no files)"
    first = own_path(paths[0]).replace("\\", "/").rsplit("/", 1)[-1]
    return first + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
