"""Table files that Polars reads natively: Parquet, CSV, NDJSON, Arrow IPC, each with its own pushdown.

Of Parquet, columns of large values are also fetched late, by the pages that hold the rows (`parquet_pages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, groupby, repeat
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.compat import run, run_in_batches, supported
from robodf.errors import FileFormatError, OptionError, SchemaError, hint
from robodf.io.files import fingerprint, is_remote
from robodf.io.indexed_files import ROWS
from robodf.io.parquet_footer import Rows, row_groups, runs
from robodf.io.parquet_pages import Numbered, Part, fetched, fetching, heavy_columns, worth
from robodf.io.source import LOCATOR, Fetching, Request, ScanReport, Source, Split, Support, file_names
from robodf.io.stream import from_batches
from robodf.plan.expr import Expr
from robodf.plan.node import Pairs

if TYPE_CHECKING:
    import numpy as np

_SCANS = {"parquet": pl.scan_parquet, "csv": pl.scan_csv, "ndjson": pl.scan_ndjson, "ipc": pl.scan_ipc}

LARGE = 128 << 20
"""A Parquet file of more bytes is split by its row groups; the footers of others are not read for that."""

RUN = 64 << 20
"""Wanted bytes, still encoded, of the row groups in one split of a large file."""

_POLARS_OPENS = tuple(f"{name}://" for name in "s3 s3a gs gcs az azure abfs abfss adl http https hf".split())

_FEW = 0.01
"""Share of rows for which pages must be worth it, before it is known how many rows a filter leaves."""

_ROWS_AT_ONCE = 8192

_EACH_FILE = frozenset(
    "hive_partitioning hive_schema try_parse_hive_dates include_file_paths glob low_memory cache rechunk memory_map "
    "retries file_cache_ttl credential_provider schema schema_overrides parallel use_statistics missing_columns "
    "allow_missing_columns extra_columns cast_options infer_schema infer_schema_length has_header separator quote_char "
    "comment_prefix null_values missing_utf8_is_empty_string ignore_errors try_parse_dates eol_char encoding "
    "decimal_comma truncate_ragged_lines batch_size n_threads".split()
)
"""Options that say the same of one file as of many. Any other, such as n_rows or row_index_name, counts rows over all
files, or may, so that a source with it is read as a whole: a name that is missing here costs speed alone."""


@dataclass(frozen=True)
class TableFiles(Source):
    """Files of one format, in order, all with the columns of the first.

    Of a part, `columns` are those of the whole, `rows` are the rows of each file that are in it (None: all), and
    `numbers` are those of the files in the whole.
    """

    format: str
    paths: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()
    storage: tuple[tuple[str, Any], ...] = ()
    state: tuple = ()  # size and time of change of each file: a rewritten file is another source
    columns: tuple[tuple[str, pl.DataType], ...] | None = None
    rows: tuple[Rows | None, ...] = ()
    numbers: tuple[int, ...] = ()

    __hash__ = Source.hash_once

    @property
    def name(self) -> str:
        return self.format

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        return dict(self._read_schema() if self.columns is None else self.columns)

    def _read_schema(self) -> pl.Schema:
        # CSV files are looked at all, for types that hold the values of each; of the others the first one tells.
        paths = self.paths if self.format == "csv" or self._hive else self._filled(self.paths, self.state)[:1]
        try:
            return self._scan(paths).collect_schema()
        except pl.exceptions.SchemaError as error:
            raise SchemaError(f"{self.describe()}: the files do not have the same columns: {error}") from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise FileFormatError(f"{self.describe()}: {str(error).splitlines()[0]}") from error

    # -- what can be skipped ----------------------------------------------------------------------------------

    def support(self, predicate: Expr) -> Support:
        # Polars' reader applies it row by row, and skips what the statistics of the file exclude.
        return Support.EXACT if predicate.movable else Support.NONE

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        if predicates or self.format not in ("parquet", "ipc"):
            return None
        if self.rows and None not in self.rows:
            return sum(rows[1] for rows in self.rows if rows is not None)
        return int(self._all().select(pl.len()).collect().item())

    def report(self, request: Request) -> ScanReport:
        if self.format == "parquet" and not self.storage and not any(map(is_remote, self.paths)):
            return self._parquet_report(request)
        total = sum(size or 0 for size, _ in self.state) if self.state else None
        return ScanReport(bytes=total, total_bytes=total, files=len(self.paths))

    def _parquet_report(self, request: Request) -> ScanReport:
        """Row groups and column chunks that the predicates and columns leave, from the footers."""
        kept = groups = read = total = rows = total_rows = 0
        for k, path in enumerate(self.paths):
            asked, within = self._asked(k, request), self.rows[k] if self.rows else None
            for group in row_groups(path, None, asked, self._held(k), within):
                groups, total, total_rows = groups + 1, total + group.total_bytes, total_rows + group.rows
                if not group.excluded:
                    kept, read, rows = kept + 1, read + group.bytes, rows + group.rows
        late = self._late(request)
        notes = (
            (f"at most: {', '.join(late)} by the pages of the rows that are left, if these are few",) if late else ()
        )
        return ScanReport(read, total, rows, total_rows, kept, groups, "row group", len(self.paths), notes)

    @property
    def _in_file(self) -> dict[str, pl.DataType]:
        """The columns that the files hold; those of the path hide theirs."""
        hidden = {*self._hive, dict(self.options).get("include_file_paths")}
        return {name: dtype for name, dtype in self.schema.items() if name not in hidden}

    def _held(self, k: int) -> Mapping[str, pl.DataType]:
        """The columns of one file, by its own names."""
        return self._in_file

    def _asked(self, k: int, request: Request) -> Request:
        """A request by the names of one file, with the predicates that its statistics can judge."""
        return request

    # -- parts ------------------------------------------------------------------------------------------------

    def splits(self, request: Request) -> Iterator[Split]:
        if not self._splittable:
            yield Split(self.describe(), bytes=sum(size or 0 for size, _ in self.state) if self.state else None)
            return
        nothing: tuple[None, None] = (None, None)
        for k in self._possible(request.predicates):
            path, (size, _) = self.paths[k], self.state[k] if self.state else nothing
            rows = self.rows[k] if self.rows else None
            if self.format == "ndjson" and size == 0:
                continue
            if self.format == "parquet" and (rows is not None or (size or 0) > LARGE):
                yield from self._row_group_splits(k, request, rows)
            else:
                yield Split(path, (k, None), bytes=size)

    def _possible(self, predicates: tuple[Expr, ...]) -> Iterable[int]:
        """The files that may hold rows for the predicates, by what is known without opening them."""
        return range(len(self.paths))

    def _row_group_splits(self, k: int, request: Request, within: Rows | None) -> Iterator[Split]:
        groups = row_groups(self.paths[k], dict(self.storage), self._asked(k, request), self._held(k), within)
        for rows, size in runs(groups, RUN):
            yield Split(self.paths[k], (k, rows), rows[1], size)

    def part(self, splits: tuple[Split, ...]) -> Source:
        if not self._splittable:
            return super().part(splits)
        pieces: list[tuple[int, Rows | None]] = []
        for split in splits:
            k, rows = split.part
            if pieces and rows is not None and pieces[-1][0] == k:
                before = pieces[-1][1]
                if before is not None and before[0] + before[1] == rows[0]:  # the run of row groups goes on
                    pieces[-1] = k, (before[0], before[1] + rows[1])
                    continue
            pieces.append((k, rows))
        return self._of(pieces)

    def _of(self, pieces: Sequence[tuple[int, Rows | None]]) -> TableFiles:
        """The source of some of its files, or of rows of them."""
        ranges = tuple(rows for _, rows in pieces)
        return replace(
            self,
            paths=tuple(self.paths[k] for k, _ in pieces),
            state=tuple(self.state[k] for k, _ in pieces) if self.state else (),
            columns=tuple(self.schema.items()),
            rows=ranges if any(ranges) else (),
            numbers=tuple(map(self._number, (k for k, _ in pieces))),
        )

    def _number(self, k: int) -> int:
        """The number of a file in the whole that this is a part of."""
        return self.numbers[k] if self.numbers else k

    @property
    def _splittable(self) -> bool:
        return all(name in _EACH_FILE for name, _ in self.options)

    # -- heavy columns ----------------------------------------------------------------------------------------

    @cached_property
    def heavy(self) -> frozenset[str]:  # type: ignore[override]
        if self.format != "parquet" or not self._splittable or any(map(_is_foreign, self.paths)):
            return frozenset()
        return heavy_columns(self._parts, dict(self.storage), self._in_file)

    def fetching(self, columns: tuple[str, ...], share: float) -> Fetching | None:
        types = {name: self.schema[name] for name in columns}
        return fetching(self._parts, dict(self.storage), types, share)

    def fetch(self, locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        known = {self._number(k): part for k, part in enumerate(self._parts)}
        types = {name: self.schema[name] for name in columns}
        yield from fetched(locators, known, dict(self.storage), types, self._column_of_rows)

    def _column_of_rows(self, path: str, first: int, rows: int, name: str) -> pl.Series:
        """A column of rows that follow each other in a file, by Polars."""
        of_whole = self if self.columns is not None else replace(self, columns=tuple(self.schema.items()))
        try:
            return of_whole._scan((path,)).slice(first, rows).select(name).collect().to_series()
        except pl.exceptions.SchemaError as error:
            raise SchemaError(f"{path}: has other columns than the first file: {error}") from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise FileFormatError(f"{path}: {str(error).splitlines()[0]}") from error

    @property
    def _most_rows(self) -> int:
        """How many rows there are, or more."""
        return self.count(()) or 0

    @property
    def _remote(self) -> bool:
        return any(map(is_remote, self.paths))

    @property
    def _parts(self) -> list[Part]:
        return list(zip(self.paths, self.state or repeat(None), self.rows or repeat(None)))

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        late = self._late(request)
        if late:
            schema = {name: self.schema[name] for name in request.columns}
            return from_batches(lambda: self._rows_first(request, late), schema, self.describe())
        return self._by_polars(request)

    def _late(self, request: Request) -> tuple[str, ...]:
        """The heavy columns of a request that are better read when its predicates have chosen a few rows."""
        if not request.predicates or request.locator or self.format != "parquet":
            return ()
        late = tuple(name for name in request.columns if name in self.heavy)
        if not late or any(p.columns & self.heavy for p in request.predicates):
            return ()
        return late if worth(self.fetching(late, _FEW), self._remote) else ()

    def _rows_first(self, request: Request, late: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """The rows of a request: those that the predicates leave are counted, then fetched if they are few."""
        light = replace(request, columns=tuple(c for c in request.columns if c not in late), locator=True)
        left = run(self._by_polars(replace(light, columns=())).select(pl.len())).item()
        rows = self._most_rows
        if left and not worth(self.fetching(late, left / max(left, rows)), self._remote):
            yield from run_in_batches(self._by_polars(request), _ROWS_AT_ONCE)
            return
        for batch in run_in_batches(self._by_polars(light), _ROWS_AT_ONCE):
            first = 0
            for frame in self.fetch(batch.get_column(LOCATOR).to_numpy(), late):
                yield batch.slice(first, frame.height).hstack(frame).select(request.columns)
                first += frame.height

    def _by_polars(self, request: Request) -> pl.LazyFrame:
        query = self._all(request.locator)
        for predicate in request.predicates:
            query = query.filter(predicate.polars)
        if request.limit is not None:
            query = query.head(request.limit)
        if request.locator:
            return query.select(*request.columns, LOCATOR)
        return query.select(request.columns) if request.columns != tuple(self.schema) else query

    def _all(self, locator: bool = False) -> pl.LazyFrame:
        """All rows of all files, with LOCATOR where asked for."""
        if self.columns is None:
            return self._scan(self._filled(self.paths, self.state), range(len(self.paths)) if locator else None)
        pieces = []
        of_files = zip(count(), self.paths, self.state or repeat(None), self.rows or repeat(None))
        for whole, files in groupby(of_files, lambda file: file[3] is None):
            if whole:
                numbers, paths, states, _ = zip(*files)
                pieces.append(self._as_whole(self._scan(self._filled(paths, states), numbers if locator else None)))
                continue
            for k, path, state, rows in files:
                assert rows is not None
                if state is not None and fingerprint(path, dict(self.storage)) != state:
                    raise FileFormatError(f"{path}: was changed since the query was planned; make the frame anew")
                pieces.append(self._as_whole(self._scan((path,), (k,) if locator else None)).slice(*rows))
        if not pieces:
            return pl.LazyFrame(schema={**self.schema, LOCATOR: pl.UInt64()} if locator else self.schema)
        return pieces[0] if len(pieces) == 1 else pl.concat(pieces, rechunk=False)

    def _scan(self, paths: tuple[str, ...], numbered: Sequence[int] | None = None) -> pl.LazyFrame:
        """Some files as Polars reads them; with LOCATOR where their places among those of this source are given."""
        scan = _SCANS[self.format]
        options: dict[str, Any] = {k: dict(v) if isinstance(v, Pairs) else v for k, v in self.options}
        if self.storage and not all(map(_is_foreign, paths)):
            options["storage_options"] = dict(self.storage)
        if self.columns is not None:
            options.update(self._types)
        if numbered is not None:
            options["row_index_name"] = LOCATOR
        query = scan(self._reachable(paths), **supported(scan, options))
        return query if numbered is None else query.with_columns(self._locators(numbered))

    def _locators(self, places: Sequence[int]) -> pl.Expr:
        """LOCATOR from the numbers that Polars gives to the rows of some files, one after the other."""
        index = pl.col(LOCATOR).cast(pl.UInt64)
        if len(places) == 1:
            return index + pl.lit(self._number(places[0]) << ROWS, pl.UInt64)
        parts = [self._parts[k] for k in places]
        numbers = [self._number(k) for k in places]
        return index.map_batches(Numbered(parts, numbers, dict(self.storage)), pl.UInt64, is_elementwise=True)

    def _reachable(self, paths: tuple[str, ...]) -> list[str]:
        """The paths as Polars can open them: of members of archives, and of file systems of fsspec alone, copies."""
        if not any(map(_is_foreign, paths)):
            return list(paths)
        from robodf.io.archives.inside import local_path

        return [local_path(path, dict(self.storage)) if _is_foreign(path) else path for path in paths]

    def _filled(self, paths: tuple[str, ...], state: tuple) -> tuple[str, ...]:
        """Polars takes an empty NDJSON file for a damaged one, unless its name comes after that of another."""
        if self.format != "ndjson" or not any(state):
            return paths
        return tuple(path for path, (size, _) in zip(paths, state) if size) or paths

    @property
    def _types(self) -> dict[str, Any]:
        """Options that make Polars read a part with the types of the whole, as it does where it reads the whole."""
        hive = {name: self.schema[name] for name in self._hive if name in self.schema}
        found: dict[str, Any] = {"hive_schema": hive} if hive else {}
        of_path = dict(self.options).get("include_file_paths")
        types = {name: dtype for name, dtype in self.schema.items() if name != of_path}
        if self.format == "csv":
            found["schema_overrides"] = types
        elif self.format != "ipc":
            found["schema"] = types
        return found

    def _as_whole(self, query: pl.LazyFrame) -> pl.LazyFrame:
        """Polars takes no types for IPC files: those of the first file of a part must be those of the whole."""
        if self.format != "ipc":
            return query
        found = dict(query.collect_schema())
        if found != self.schema:
            raise SchemaError(f"{self.describe()}: has the columns {found}, where the first file has {self.schema}")
        return query.select(list(self.schema))

    @cached_property
    def _hive(self) -> tuple[str, ...]:
        """The columns that come from `name=value` folders."""
        if not dict(self.options).get("hive_partitioning") or not self.paths:
            return ()
        folders = self.paths[0].replace("\\", "/").split("/")[:-1]
        return tuple(dict.fromkeys(folder.split("=", 1)[0] for folder in folders if "=" in folder))

    def describe(self) -> str:
        return f"{self.format} {file_names(self.paths)}"


def table_files(format: str, paths: list[str], options: dict[str, Any], storage: dict | None, doing: str) -> TableFiles:
    """A source over files that exist; unknown options are an error here."""
    import inspect

    known = [p for p in inspect.signature(_SCANS[format]).parameters if p not in ("source", "storage_options")]
    for name in options:
        if name not in known or name.startswith("_"):
            raise OptionError(f"{doing}: no option {name!r}{hint(name, known)} Options: {', '.join(known)}")
    if any(map(_is_foreign, paths)):
        # Polars reads temporary copies: their paths say nothing.
        for name in ("include_file_paths", "hive_partitioning"):
            if options.get(name):
                raise OptionError(f"{doing}: {name}= is not known of files such as {next(filter(_is_foreign, paths))}")
    frozen = tuple((k, _hashable(v)) for k, v in sorted(options.items()))
    state = tuple(fingerprint(path, storage) for path in paths)
    return TableFiles(format, tuple(paths), frozen, tuple(sorted((storage or {}).items())), state)


def _is_foreign(path: str) -> bool:
    """Whether fsspec finds a file, but Polars does not."""
    return is_remote(path) and ("::" in path or not path.startswith(_POLARS_OPENS))


def _hashable(value: Any) -> Any:
    """Options as they are, with lists as tuples (Polars takes both) and dicts, such as types, as pairs."""
    if isinstance(value, Mapping):
        return Pairs(value.items())
    return tuple(value) if isinstance(value, list) else value
