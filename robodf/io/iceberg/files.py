"""The source of a snapshot: Parquet files, each with its columns found by field id and without its deleted rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.ahead import in_order
from robodf.io.iceberg.columns import Origin, origins
from robodf.io.iceberg.deletes import Deletes, deleted_rows
from robodf.io.iceberg.types import Field
from robodf.io.indexed_files import ROWS
from robodf.io.parquet_footer import Rows
from robodf.io.parquet_pages.layout import layout_of
from robodf.io.source import Request
from robodf.io.table_log import LoggedFiles
from robodf.plan.expr import Expr

_REQUESTS = 16

Given = tuple[tuple[int, Any], ...]
"""The values of columns, by id, that the partition of a file says."""


@dataclass(frozen=True)
class IcebergFiles(LoggedFiles):
    """`fields` are the columns of the table, and `mapping` names the ids of files that have none.

    `given` and `deletes` are those of each file. Footers are read of files that a query is about.
    """

    fields: tuple[Field, ...] = ()
    mapping: str | None = None
    given: tuple[Given, ...] = ()
    deletes: tuple[tuple[Deletes, ...], ...] = ()

    __hash__ = LoggedFiles.hash_once

    def _of(self, pieces: Sequence[tuple[int, Rows | None]]) -> IcebergFiles:
        found = super()._of(pieces)
        assert isinstance(found, IcebergFiles)
        return replace(
            found,
            given=tuple(self.given[k] for k, _ in pieces),
            deletes=tuple(self.deletes[k] for k, _ in pieces),
        )

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        return None if predicates or any(self.deletes) else super().count(())

    @property
    def _most_rows(self) -> int:
        return sum(count or 0 for count in self.counts)

    # -- what files make of the table -------------------------------------------------------------------------

    @cached_property
    def _known_origins(self) -> dict[int, tuple[Origin, ...]]:
        return {}

    def _origins(self, k: int) -> tuple[Origin, ...]:
        found = self._known_origins.get(k)
        if found is None:
            layout, reader = layout_of(self.paths[k], dict(self.storage), self.state[k] if self.state else None)
            reader.close()
            footer, counted = layout.footer.metadata, self.counts[k]
            if not self.rows and counted is not None and footer.num_rows != counted:
                raise FileFormatError(
                    f"{self.paths[k]}: has {footer.num_rows} rows, where the table says {counted}: it is another file"
                )
            found = origins(self.fields, footer, self.mapping, dict(self.given[k]), self.paths[k])
            found = self._known_origins.setdefault(k, found)
        return found

    def _origin(self, k: int, name: str) -> Origin:
        return next(origin for origin in self._origins(k) if origin.field.name == name)

    def _alike(self, k: int) -> Hashable:
        return self._origins(k), bool(self.deletes[k])

    def _held(self, k: int) -> Mapping[str, pl.DataType]:
        return {origin.name: origin.dtype for origin in self._origins(k) if origin.name is not None}

    def _made(self, k: int) -> list[pl.Expr]:
        return [origin.made() for origin in self._origins(k) if not origin.same]

    def _asked(self, k: int, request: Request) -> Request:
        """What a request asks of the columns as a file calls them, with the predicates that its statistics judge."""
        names = {origin.field.name: origin for origin in self._origins(k)}
        columns = tuple(dict.fromkeys(names[c].name for c in request.columns if names[c].name is not None))
        same = {name for name, origin in names.items() if origin.same}
        return replace(request, columns=columns, predicates=tuple(p for p in request.predicates if p.columns <= same))

    def _runs(self) -> Iterator[list[int]]:
        if self._remote:  # the footers, many at the same time
            jobs = (partial(self._ready, k) for k in range(len(self.paths)))
            for _ in in_order(jobs, _REQUESTS):
                pass
        return super()._runs()

    def _ready(self, k: int) -> Iterator[None]:
        self._origins(k)
        yield None

    def _deleted(self, numbers: Sequence[int]) -> Callable[[pl.Series], pl.Series] | None:
        """Deletes are read now, before the rows: what is wrong with them is told as such."""
        some = [k for k in numbers if self.deletes[k]]
        storage = dict(self.storage)
        found = {self._number(k): deleted_rows(self.deletes[k], storage, self._rows_in(k)) for k in some}
        return NotDeleted(found) if found else None

    def _rows_in(self, k: int) -> int:
        """The rows of a whole file."""
        layout, reader = layout_of(self.paths[k], dict(self.storage), self.state[k] if self.state else None)
        reader.close()
        return int(layout.firsts[-1])

    # -- heavy columns ----------------------------------------------------------------------------------------

    def fetch(self, locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        places = {self._number(k): k for k in range(len(self.paths))}
        numbers, first = np.unique(locators >> np.uint64(ROWS), return_index=True)
        ends = [*first[1:].tolist(), len(locators)]
        wanted = [(places[number], start, end) for number, start, end in zip(numbers.tolist(), first.tolist(), ends)]
        for _, alike in groupby(wanted, key=lambda of: self._alike(of[0])):
            run = list(alike)
            some = locators[run[0][1] : run[-1][2]]
            yield from self._fetched([k for k, _, _ in run], some, columns)

    def _fetched(self, files: list[int], locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Columns of rows of files that are alike."""
        found = [self._origin(files[0], name) for name in columns]
        held = tuple(dict.fromkeys(origin.name for origin in found if origin.name is not None))
        made = [origin.made() for origin in found]
        if not held:
            yield pl.DataFrame({"row": locators}).with_columns(made).select(columns)
            return
        for frame in super(LoggedFiles, self._files(files)).fetch(locators, held):
            yield frame.with_columns(made).select(columns)


class NotDeleted:
    """Of the locators of rows in some files, whether these are still there: `deleted` are rows by the file's number."""

    def __init__(self, deleted: Mapping[int, np.ndarray]):
        self._deleted = deleted

    def __call__(self, locators: pl.Series) -> pl.Series:
        all_of = locators.fill_null(0).to_numpy()  # Polars asks for the least of row groups too, which may not be known
        there = np.ones(len(all_of), bool)
        numbers = all_of >> np.uint64(ROWS)
        for number in np.unique(numbers).tolist():
            deleted = self._deleted.get(number)
            if deleted is None or not len(deleted):
                continue
            here = np.flatnonzero(numbers == number)
            rows = (all_of[here] & np.uint64((1 << ROWS) - 1)).astype(np.int64)
            at = np.searchsorted(deleted, rows)
            at[at == len(deleted)] = 0
            there[here] = deleted[at] != rows
        return pl.Series(locators.name, there)
