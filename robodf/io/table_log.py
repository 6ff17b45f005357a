"""Files of Parquet that the log of a table lists: what the log knows of them, and what they make of the table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import polars as pl

from robodf.errors import NoFilesError
from robodf.io.file_facts import FileFacts
from robodf.io.files import StorageOptions, filesystem, fingerprint, is_remote
from robodf.io.parquet_footer import Rows
from robodf.io.source import LOCATOR, Request, ScanReport
from robodf.io.tables import TableFiles
from robodf.plan.expr import Expr

_REQUESTS = 16  # files of a store that are looked at at the same time


@dataclass(frozen=True)
class LoggedFiles(TableFiles):
    """`columns` are those of the table, in its order; `of_file` those that the files do not hold, but the log.

    `values` are theirs in each file, `counts` the rows of each file as the log has them (None: it does not say), and
    `table` is what `explain()` prints. `facts` are what the log knows of the columns in the files. A column that a file
    lacks is null. Files with equal values that follow each other are one scan of Polars.
    """

    of_file: tuple[str, ...] = ()
    values: tuple[tuple[Any, ...], ...] = ()
    counts: tuple[int | None, ...] = ()
    table: str = ""
    kind: str = ""
    facts: FileFacts | None = field(default=None, compare=False)  # follow from the files

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

    @cached_property
    def _chosen(self) -> dict[tuple[Expr, ...], tuple[list[int], list[str]]]:
        """What was answered already: a query asks several times."""
        return {}

    def _kept(self, predicates: tuple[Expr, ...]) -> tuple[list[int], list[str]]:
        """The files that may hold rows for the predicates, and the columns by which others are left out."""
        if predicates not in self._chosen:
            files, by = list(range(len(self.paths))), list[str]()
            told = [p for p in predicates if p.columns and p.columns <= set(self.of_file)]
            if told and files:
                query = self._table_of_values.lazy().with_row_index(LOCATOR)
                for predicate in told:
                    query = query.filter(predicate.polars)
                files = query.collect().get_column(LOCATOR).to_list()
                by = [name for name in self.of_file if any(name in p.columns for p in told)]
            if self.facts is not None:
                files, more = self.facts.left(predicates, self.schema, files)
                by += more
            self._chosen[predicates] = files, by
        return self._chosen[predicates]

    def _possible(self, predicates: tuple[Expr, ...]) -> Iterable[int]:
        return self._kept(predicates)[0]

    def _left(self, predicates: tuple[Expr, ...]) -> LoggedFiles:
        """The files that the predicates leave: no other is opened."""
        kept = self._kept(predicates)[0]
        return self if len(kept) == len(self.paths) else self._of([(k, self._rows_of(k)) for k in kept])

    def _rows_of(self, k: int) -> Rows | None:
        return self.rows[k] if self.rows else None

    def _of(self, pieces: Sequence[tuple[int, Rows | None]]) -> LoggedFiles:
        found = super()._of(pieces)
        assert isinstance(found, LoggedFiles)
        values = tuple(self.values[k] for k, _ in pieces) if self.values else ()
        counts = tuple(self.counts[k] if rows is None else rows[1] for k, rows in pieces)
        facts = None if self.facts is None else self.facts.some([k for k, _ in pieces])
        return replace(found, values=values, counts=counts, facts=facts)

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        if any(not p.columns or not p.columns <= set(self.of_file) for p in predicates):
            return None
        counts = [self.counts[k] for k in self._possible(predicates)]
        known = [count for count in counts if count is not None]
        if len(known) == len(counts):
            return sum(known)
        return None if predicates else super().count(())

    def report(self, request: Request) -> ScanReport:
        kept, by = self._kept(request.predicates)
        left = self._left(request.predicates)
        found = super(LoggedFiles, left).report(request)
        if len(kept) == len(self.paths):
            return found
        total = sum(size or 0 for size, _ in self.state) if self.state and not self.rows else found.total_bytes
        note = f"{len(kept)} of {len(self.paths)} files by {', '.join(dict.fromkeys(by))}"
        return replace(found, total_bytes=total, files=len(kept), notes=(note, *found.notes))

    # -- what files make of the table -------------------------------------------------------------------------

    def _alike(self, k: int) -> Hashable:
        """Files that follow each other and are alike by this are one scan."""
        return self.values[k] if self.values else None

    def _held(self, k: int) -> Mapping[str, pl.DataType]:
        return self._in_file

    def _made(self, k: int) -> list[pl.Expr]:
        """The columns of the table, of those that a file holds, where they are not these themselves."""
        told = zip(self.of_file, self.values[k] if self.values else ())
        return [pl.lit(value, self.schema[name]).alias(name) for name, value in told]

    def _deleted(self, numbers: Sequence[int]) -> Callable[[pl.Series], pl.Series] | None:
        """Of locators of rows of some files, whether these are still there; None: all are."""
        return None

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        return super(LoggedFiles, self._left(request.predicates)).scan(request)

    def _all(self, locator: bool = False) -> pl.LazyFrame:
        columns = [*self.schema, LOCATOR] if locator else [*self.schema]
        pieces = [self._piece(numbers, locator).select(columns) for numbers in self._runs()]
        if not pieces:
            return pl.LazyFrame(schema={**self.schema, LOCATOR: pl.UInt64()} if locator else self.schema)
        return pieces[0] if len(pieces) == 1 else pl.concat(pieces, rechunk=False)

    def _runs(self) -> Iterator[list[int]]:
        """The files, those that are one scan together."""
        return (list(numbers) for _, numbers in groupby(range(len(self.paths)), key=self._alike))

    def _piece(self, numbers: list[int], locator: bool) -> pl.LazyFrame:
        """The rows of files that are alike, with the columns of the table and maybe others."""
        there, made = self._deleted(numbers), self._made(numbers[0])
        held = self._files(numbers)
        # Rows of files without a column of the table are counted by their locators.
        query = super(LoggedFiles, held)._all(locator or there is not None or not held.columns)
        if there is not None:
            query = query.filter(pl.col(LOCATOR).map_batches(there, pl.Boolean, is_elementwise=True))
        return query.with_columns(made) if made else query

    def _files(self, numbers: Sequence[int]) -> LoggedFiles:
        """Files that are alike, with the columns that they hold."""
        return LoggedFiles(
            "parquet",
            tuple(self.paths[k] for k in numbers),
            storage=self.storage,
            state=tuple(self.state[k] for k in numbers) if self.state else (),
            columns=tuple(self._held(numbers[0]).items()),
            rows=tuple(self.rows[k] for k in numbers) if self.rows else (),
            numbers=tuple(map(self._number, numbers)),
            counts=tuple(self.counts[k] for k in numbers),
            table=self.table,
            kind=self.kind,
        )


def states(paths: Sequence[str], storage: StorageOptions, where: str, gone: str) -> tuple:
    """Size and time of change of each file; NoFilesError where one is not there any more, which ends with `gone`."""

    def state(path: str) -> tuple | None:
        try:
            return fingerprint(path, storage)
        except NoFilesError:
            return None

    remote = next(filter(is_remote, paths), None)
    if remote is not None:
        filesystem(remote, storage)  # made once, not by each thread
        with ThreadPoolExecutor(_REQUESTS) as pool:
            found = list(pool.map(state, paths))
    else:
        found = [state(path) for path in paths]
    missing = [path for path, known in zip(paths, found) if known is None]
    if missing:
        raise NoFilesError(
            f"{where}: {len(missing)} of its {len(paths)} files are not there any more, such as {missing[0]}: {gone}"
        )
    return tuple(found)
