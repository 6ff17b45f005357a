"""Files of Parquet that a log of commits lists: columns that each file has one value of, and what the log knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import polars as pl

from robodf.io.parquet_footer import Rows
from robodf.io.source import LOCATOR, Request, ScanReport
from robodf.io.tables import TableFiles
from robodf.plan.expr import Expr


@dataclass(frozen=True)
class LoggedFiles(TableFiles):
    """`columns` are those of the table, in its order; `of_file` those that the files do not hold, but the log.

    `values` are theirs in each file, `counts` the rows of each file as the log has them (None: it does not say), and
    `table` is what `explain()` prints. A column that a file lacks is null. Files with equal values that follow each
    other are one scan of Polars.
    """

    of_file: tuple[str, ...] = ()
    values: tuple[tuple[Any, ...], ...] = ()
    counts: tuple[int | None, ...] = ()
    table: str = ""
    kind: str = ""

    __hash__ = TableFiles.hash_once

    @property
    def name(self) -> str:
        return self.kind

    def describe(self) -> str:
        return self.table

    @property
    def _in_file(self) -> dict[str, pl.DataType]:
        return {name: dtype for name, dtype in self.schema.items() if name not in self.of_file}

    @property
    def _types(self) -> dict[str, Any]:
        casts = pl.ScanCastOptions(datetime_cast=["nanosecond-downcast", "convert-timezone"])
        more = {"missing_columns": "insert", "extra_columns": "ignore", "cast_options": casts}
        return {"schema": self._in_file, **more}

    # -- what can be skipped ----------------------------------------------------------------------------------

    @cached_property
    def _table_of_values(self) -> pl.DataFrame:
        """A row for each file."""
        types = {name: self.schema[name] for name in self.of_file}
        return pl.DataFrame(self.values, schema=types, orient="row") if types else pl.DataFrame()

    def _possible(self, predicates: tuple[Expr, ...]) -> Iterable[int]:
        told = [p for p in predicates if p.columns and p.columns <= set(self.of_file)]
        if not told or not self.paths:
            return range(len(self.paths))
        kept = self._table_of_values.lazy().with_row_index(LOCATOR)
        for predicate in told:
            kept = kept.filter(predicate.polars)
        return kept.collect().get_column(LOCATOR).to_list()

    def _left(self, predicates: tuple[Expr, ...]) -> LoggedFiles:
        """The files that the predicates leave: no other is opened."""
        kept = self._possible(predicates)
        return self if len(list(kept)) == len(self.paths) else self._of([(k, self._rows_of(k)) for k in kept])

    def _rows_of(self, k: int) -> Rows | None:
        return self.rows[k] if self.rows else None

    def _of(self, pieces: Sequence[tuple[int, Rows | None]]) -> LoggedFiles:
        found = super()._of(pieces)
        assert isinstance(found, LoggedFiles)
        values = tuple(self.values[k] for k, _ in pieces) if self.values else ()
        counts = tuple(self.counts[k] if rows is None else rows[1] for k, rows in pieces)
        return replace(found, values=values, counts=counts)

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        if any(not p.columns or not p.columns <= set(self.of_file) for p in predicates):
            return None
        counts = [self.counts[k] for k in self._possible(predicates)]
        known = [count for count in counts if count is not None]
        if len(known) == len(counts):
            return sum(known)
        return None if predicates else super().count(())

    def report(self, request: Request) -> ScanReport:
        left = self._left(request.predicates)
        found = super(LoggedFiles, left).report(request)
        if len(left.paths) == len(self.paths):
            return found
        total = sum(size or 0 for size, _ in self.state) if self.state and not self.rows else found.total_bytes
        note = f"{len(left.paths)} of {len(self.paths)} files by {', '.join(self.of_file)}"
        return replace(found, total_bytes=total, files=len(left.paths), notes=(note, *found.notes))

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        return super(LoggedFiles, self._left(request.predicates)).scan(request)

    def _all(self, locator: bool = False) -> pl.LazyFrame:
        if not self.of_file:
            return super()._all(locator)
        columns = [*self.schema, LOCATOR] if locator else [*self.schema]
        pieces = []
        for value, numbers in groupby(range(len(self.paths)), key=self.values.__getitem__):
            some = self._files(list(numbers))._all(locator)
            told = [pl.lit(v, self.schema[name]).alias(name) for name, v in zip(self.of_file, value)]
            pieces.append(some.with_columns(told).select(columns))
        if not pieces:
            return pl.LazyFrame(schema={**self.schema, LOCATOR: pl.UInt64()} if locator else self.schema)
        return pieces[0] if len(pieces) == 1 else pl.concat(pieces, rechunk=False)

    def _files(self, numbers: list[int]) -> LoggedFiles:
        """Some of the files, with the columns that they hold."""
        found = self._of([(k, self._rows_of(k)) for k in numbers])
        return replace(found, columns=tuple(self._in_file.items()), of_file=(), values=())
