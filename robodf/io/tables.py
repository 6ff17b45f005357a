"""Table files that Polars reads natively: Parquet, CSV, NDJSON, Arrow IPC, each with its own pushdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from robodf.compat import supported
from robodf.errors import FileFormatError, OptionError, SchemaError, hint
from robodf.io.files import fingerprint
from robodf.io.source import Request, ScanReport, Source, Split, Support, file_names
from robodf.plan.expr import Expr

_SCANS = {"parquet": pl.scan_parquet, "csv": pl.scan_csv, "ndjson": pl.scan_ndjson, "ipc": pl.scan_ipc}


@dataclass(frozen=True)
class TableFiles(Source):
    """Files of one format, in order, all with the columns of the first."""

    format: str
    paths: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()
    storage: tuple[tuple[str, Any], ...] = ()
    state: tuple = ()  # size and time of change of each file: a rewritten file is another source

    @property
    def name(self) -> str:
        return self.format

    def _scan(self) -> pl.LazyFrame:
        options: dict[str, Any] = dict(self.options)
        if self.storage:
            options["storage_options"] = dict(self.storage)
        paths = (
            [p for p, (size, _) in zip(self.paths, self.state) if size]
            if self.format == "ndjson" and self.state
            else []
        )
        return _SCANS[self.format](paths or list(self.paths), **supported(_SCANS[self.format], options))

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        try:
            return dict(self._scan().collect_schema())
        except pl.exceptions.SchemaError as error:
            raise SchemaError(f"{self.describe()}: the files do not have the same columns: {error}") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            raise FileFormatError(f"{self.describe()}: {str(error).splitlines()[0]}") from error

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "schema"}

    def support(self, predicate: Expr) -> Support:
        # Polars' reader applies it row by row, and skips what the statistics of the file exclude.
        return Support.EXACT if predicate.movable else Support.NONE

    def scan(self, request: Request) -> pl.LazyFrame:
        query = self._scan()
        for predicate in request.predicates:
            query = query.filter(predicate.polars)
        if request.limit is not None:
            query = query.head(request.limit)
        return query.select(request.columns) if request.columns != tuple(self.schema) else query

    def splits(self, request: Request) -> Iterator[Split]:
        for path, (size, _) in zip(self.paths, self.state or ((None, None),) * len(self.paths)):
            yield Split(path, bytes=size)

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        if predicates or self.format not in ("parquet", "ipc"):
            return None
        return int(self._scan().select(pl.len()).collect().item())

    def report(self, request: Request) -> ScanReport:
        if self.format == "parquet" and not self.storage and not any("://" in p for p in self.paths):
            return _parquet_report(self.paths, request)
        total = sum(size or 0 for size, _ in self.state) if self.state else None
        return ScanReport(bytes=total, total_bytes=total, files=len(self.paths))

    def describe(self) -> str:
        return f"{self.format} {file_names(self.paths)}"


def table_files(format: str, paths: list[str], options: dict[str, Any], storage: dict | None, doing: str) -> TableFiles:
    """A source over files that exist; unknown options are an error here."""
    import inspect

    known = [p for p in inspect.signature(_SCANS[format]).parameters if p not in ("source", "storage_options")]
    for name in options:
        if name not in known or name.startswith("_"):
            raise OptionError(f"{doing}: no option {name!r}{hint(name, known)} Options: {', '.join(known)}")
    frozen = tuple((k, _hashable(v)) for k, v in sorted(options.items()))
    state = tuple(fingerprint(path, storage) for path in paths)
    return TableFiles(format, tuple(paths), frozen, tuple(sorted((storage or {}).items())), state)


def _hashable(value: Any) -> Any:
    """Options as they are, with lists as tuples (Polars takes both)."""
    return tuple(value) if isinstance(value, list) else value


def _parquet_report(paths: tuple[str, ...], request: Request) -> ScanReport:
    """Row groups and column chunks that the predicates and columns leave, from the footers."""
    import pyarrow.parquet as pq

    kept = groups = read = total = rows = total_rows = 0
    wanted = set(request.columns).union(*(p.columns for p in request.predicates))
    for path in paths:
        footer = pq.ParquetFile(path).metadata
        for g in range(footer.num_row_groups):
            group = footer.row_group(g)
            columns = [group.column(c) for c in range(group.num_columns)]
            size = sum(c.total_compressed_size for c in columns)
            groups, total, total_rows = groups + 1, total + size, total_rows + group.num_rows
            if any(_excludes(columns, p) for p in request.predicates):
                continue
            kept, rows = kept + 1, rows + group.num_rows
            read += sum(c.total_compressed_size for c in columns if c.path_in_schema.split(".")[0] in wanted)
    return ScanReport(read, total, rows, total_rows, kept, groups, "row group", len(paths))


def _excludes(columns: list, predicate: Expr) -> bool:
    """True where the statistics of a row group say that no row satisfies `column <op> constant`."""
    from robodf.plan.comparison import as_comparison

    found = as_comparison(predicate)
    if found is None:
        return False
    name, op, value = found
    for column in columns:
        stats = column.statistics if column.path_in_schema == name else None
        if stats is None or not stats.has_min_max or type(stats.min) is not type(value):
            continue
        low, high = stats.min, stats.max
        return {"<": low >= value, "<=": low > value, ">": high <= value, ">=": high < value,
                "==": value < low or value > high}.get(op, False)  # fmt: skip
    return False
