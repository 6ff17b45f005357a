"""Cloud files as one row a point."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.ahead import in_order
from robodf.io.clouds.files import Fields, frames, open_cloud, sample
from robodf.io.clouds.header import Box, CloudHeader
from robodf.io.counting import read as counter
from robodf.io.error_log import ErrorLog
from robodf.io.indexed_files import ROWS, together
from robodf.io.source import LOCATOR, Request, ScanReport, Source, Split, Support, file_names
from robodf.io.stream import from_batches
from robodf.plan.comparison import as_comparison
from robodf.plan.expr import Expr


@dataclass(frozen=True)
class PointFiles(Source):
    """Points of files whose headers were read: `columns` are the fields of all of them, or those chosen."""

    paths: tuple[str, ...]
    headers: tuple[CloudHeader, ...]
    state: tuple[tuple[int, int | str], ...]
    columns: Fields
    max_points: int | None = None
    storage: tuple[tuple[str, Any], ...] = ()
    on_error: str = "raise"
    log: ErrorLog = field(compare=False, default_factory=ErrorLog)
    numbers: tuple[int, ...] = ()  # of the files of a part, in the whole

    __hash__ = Source.hash_once

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(len(self.paths))))

    @property
    def name(self) -> str:
        return "points"

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        return {"path": pl.String(), "point": pl.UInt32(), **dict(self.columns)}

    # -- what can be skipped ----------------------------------------------------------------------------------

    def support(self, predicate: Expr) -> Support:
        # It is applied to each block; on x, y and z it chooses files and nodes of octrees besides.
        return Support.EXACT if predicate.movable and predicate.columns else Support.NONE

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        if self.on_error != "raise" or any(p.columns != {"path"} for p in predicates):
            return None
        return sum(len(self._take(k)) for k in self._files(predicates))

    def report(self, request: Request) -> ScanReport:
        box = self._box(request.predicates)
        kept = [k for k in self._files(request.predicates) if not self.headers[k].outside(box)]
        rows = sum(len(self._take(k)) for k in kept)
        notes = (f"{len(kept)} of {len(self.paths)} files by path and bounds",) if len(kept) < len(self.paths) else ()
        return ScanReport(
            sum(self.state[k][0] for k in kept) if request.limit is None else None,
            sum(size for size, _ in self.state),
            rows if request.limit is None or request.predicates else min(rows, request.limit),
            sum(len(self._take(k)) for k in range(len(self.paths))),
            files=len(self.paths),
            notes=notes,
        )

    def _files(self, predicates: tuple[Expr, ...]) -> list[int]:
        """The files that predicates on the path leave."""
        rows = pl.DataFrame({"path": list(self.paths), "": range(len(self.paths))}, {"path": pl.String, "": pl.UInt32})
        for predicate in predicates:
            if predicate.columns == {"path"}:
                rows = rows.filter(predicate.polars)
        return rows.get_column("").to_list()

    def _take(self, k: int) -> Any:
        return sample(self.headers[k].points, self.max_points)

    def _box(self, predicates: tuple[Expr, ...]) -> Box | None:
        """Where x, y and z lie, as predicates say; files that may have NaN know no bounds to compare with."""
        low, high = [-math.inf] * 3, [math.inf] * 3
        for predicate in predicates:
            found = as_comparison(predicate)
            if found is None or found[0] not in ("x", "y", "z") or type(found[2]) not in (int, float):
                continue
            if abs(found[2]) >= 1 << 63:
                continue
            axis, op, value = "xyz".index(found[0]), found[1], float(found[2])
            if op in (">", ">=", "=="):
                low[axis] = max(low[axis], value)
            if op in ("<", "<=", "=="):
                high[axis] = min(high[axis], value)
        if not any(map(math.isfinite, (*low, *high))):
            return None
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    # -- parts ------------------------------------------------------------------------------------------------

    @property
    def partition_column(self) -> str:
        return "path"

    def splits(self, request: Request) -> Iterator[Split]:
        box = self._box(request.predicates)
        for k in self._files(request.predicates):
            if not self.headers[k].outside(box):
                yield Split(self.paths[k], k, len(self._take(k)), self.state[k][0], self.paths[k])

    def part(self, splits: tuple[Split, ...]) -> PointFiles:
        files = [s.part for s in splits]
        of = lambda values: tuple(values[k] for k in files)  # noqa: E731
        return replace(self, paths=of(self.paths), headers=of(self.headers), state=of(self.state),
                       numbers=of(self.numbers))  # fmt: skip

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def describe(self) -> str:
        return f"points {file_names(self.paths)}"

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        schema = {name: self.schema[name] for name in request.columns}
        if request.locator:
            schema[LOCATOR] = pl.UInt64()
        return from_batches(lambda: self._batches(request, list(schema)), schema, self.describe())

    def _batches(self, request: Request, names: list[str]) -> Iterator[pl.DataFrame]:
        # Where a limit will stop it soon, reading ahead would be for nothing.
        kept = [s.part for s in self.splits(request)]
        threads = 1 if request.limit is not None else max(1, min(pl.thread_pool_size(), len(kept)))
        left = request.limit
        blocks = in_order((partial(self._of_file, k, request, names) for k in kept), threads)
        for frame in blocks if left is not None else together(blocks):
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            counter.add(rows=frame.height)
            yield frame
            if left is not None and left <= 0:
                return

    def _of_file(self, k: int, request: Request, names: list[str]) -> Iterator[pl.DataFrame]:
        path, header, take = self.paths[k], self.headers[k], self._take(k)
        if request.limit is not None and not request.predicates:
            take = take[: request.limit]
        used = {*request.columns}.union(*(p.columns for p in request.predicates))
        fields = {name: dtype for name, dtype in self.columns if name in used}
        box = self._box(request.predicates)
        first = self.numbers[k] << ROWS
        try:
            with open_cloud(path, dict(self.storage)) as file:
                for numbers, frame in frames(file, header, fields, take, box):
                    point = pl.Series("point", numbers).cast(pl.UInt64)
                    own = [point.cast(pl.UInt32), (point + first).alias(LOCATOR)]
                    rows = pl.DataFrame([*own, *frame.get_columns()]).with_columns(pl.lit(path).alias("path"))
                    for predicate in request.predicates:
                        rows = rows.filter(predicate.polars)
                    if rows.height:
                        yield rows.select(names)
        except FileFormatError as error:
            if self.on_error == "raise":
                raise
            self.log.add(path, str(error))
