"""Files of rows that an index lists and numbers, with columns that cost far more than the index.

What a format says is how to list the rows of a file, with their light columns, and how to read the heavy columns of
some of them. All else follows: filters on light columns are exact and choose rows before anything heavy is read, rows
are fetched late by their number, files are read ahead in threads, and each file is a unit of parallel work.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.ahead import in_order
from robodf.io.counting import read as counter
from robodf.io.error_log import ErrorLog
from robodf.io.files import fingerprint
from robodf.io.source import LOCATOR, Fetching, Request, ScanReport, Source, Split, Support, file_names
from robodf.io.stream import from_batches
from robodf.plan.expr import Expr

if TYPE_CHECKING:
    import numpy as np

PATH = "path"
"""The column of file names, where a source has it: the base class fills it."""

ROWS = 40
"""Bits of a locator that number the row in its file; the others number the file."""

_ROWS_AT_ONCE = 65_536
_FILES_AT_ONCE = 64
_SMALL_ROWS, _SMALL_BYTES = 4096, 16 << 20  # smaller frames are put together


class CutOff(FileFormatError):
    """A file that is damaged or ends somewhere: `rows` is the index of what precedes, kept where `on_error` says so."""

    def __init__(self, message: str, rows: pl.DataFrame | None = None):
        super().__init__(message)
        self.rows = rows

    def __reduce__(self):
        return CutOff, self.args  # rows do not travel


@dataclass(frozen=True)
class IndexedFiles(Source):
    """A subclass says `schema`, `heavy`, `index` and `read_rows`; it is a frozen dataclass, and so are its options.

    >>> from dataclasses import dataclass
    >>> from pathlib import Path
    >>> @dataclass(frozen=True)
    ... class Records(IndexedFiles):
    ...     size: int = 4
    ...     name = "records"
    ...     schema = {"path": pl.String(), "record": pl.UInt32(), "data": pl.Binary()}
    ...     heavy = frozenset(["data"])
    ...     def index(self, path, columns):
    ...         count = Path(path).stat().st_size // self.size
    ...         return pl.DataFrame({"record": range(count)}, schema={"record": pl.UInt32()})
    ...     def read_rows(self, path, rows, columns):
    ...         with open(path, "rb") as file:
    ...             for row in rows.tolist():
    ...                 _ = file.seek(row * self.size)
    ...                 yield pl.DataFrame({"data": [file.read(self.size)]})
    >>> import robodf as rd, tempfile
    >>> name = Path(tempfile.mkdtemp(), "a.bin")
    >>> _ = name.write_bytes(b"onlyfourbyte")
    >>> df = rd.from_source(Records.of([str(name)]))
    >>> df.filter(rd.col("record") == 1).select("data").collect().rows()
    [(b'four',)]
    """

    paths: tuple[str, ...]
    storage: tuple[tuple[str, Any], ...] = ()
    state: tuple[tuple[int, int | str], ...] = ()  # size and time of change of each file
    on_error: str = "raise"
    log: ErrorLog = field(compare=False, default_factory=ErrorLog)
    numbers: tuple[int, ...] = ()  # of the files of a part, in the whole

    def __init_subclass__(cls) -> None:
        cls.__hash__ = Source.hash_once  # type: ignore[method-assign] - a dataclass would hash all names each time

    # -- what a format says -----------------------------------------------------------------------------------

    @abstractmethod
    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        """All rows of a file in order: at least the light columns asked for, without PATH, and at least one column.

        FileFormatError where the file is not what it should be, CutOff where a part of its rows can be read.
        """

    @abstractmethod
    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Heavy columns of some rows of a file, numbered as in its index: ascending int64, none twice, not empty.

        Frames of exactly these columns with their types, one row for each number, each of a few dozen MiB at most.
        """

    @property
    def index_is_cheap(self) -> bool:
        """Whether an index takes little to make, so that rows are counted by it while a query is planned."""
        return True

    # -- what follows from it ---------------------------------------------------------------------------------

    @classmethod
    def of(cls, paths: list[str], storage: dict | None = None, on_error: str = "raise", **options: Any) -> Self:
        """A source over files that exist."""
        from robodf.io.logs.model import check_on_error

        check_on_error(on_error)
        state = tuple(fingerprint(p, storage) for p in paths)
        return cls(tuple(paths), tuple(sorted((storage or {}).items())), state, on_error, **options)

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(len(self.paths))))

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file."""
        return {path: size for path, (size, _) in zip(self.paths, self.state)}

    def index_of(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        """The index of a file, once more where it was made a moment ago."""
        return self._index(self._places[path], columns)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {path: k for k, path in enumerate(self.paths)}

    @property
    def light(self) -> frozenset[str]:
        """The columns of the index, and PATH."""
        return frozenset(self.schema) - self.heavy

    def support(self, predicate: Expr) -> Support:
        return Support.EXACT if predicate.columns and predicate.columns <= self.light else Support.NONE

    @property
    def partition_column(self) -> str | None:
        return PATH if PATH in self.schema else None

    def splits(self, request: Request) -> Iterator[Split]:
        for k, (path, (size, _)) in enumerate(zip(self.paths, self.state)):
            yield Split(path, k, bytes=size, key=path if PATH in self.schema else None)

    def part(self, splits: tuple[Split, ...]) -> Self:
        files = [s.part for s in splits]
        of = lambda values: tuple(values[k] for k in files)  # noqa: E731
        return replace(self, paths=of(self.paths), state=of(self.state), numbers=of(self.numbers))

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        if not self.index_is_cheap or self.on_error != "raise":
            return None
        light = self._light_columns(predicates)
        return sum(self._chosen(k, light, predicates).height for k in range(len(self.paths)))

    def report(self, request: Request) -> ScanReport:
        size = sum(size for size, _ in self.state)
        if not self.index_is_cheap or self.on_error != "raise":
            return ScanReport(total_bytes=size, files=len(self.paths))
        total = self.count(())
        rows = self.count(request.predicates)
        if rows is not None and request.limit is not None:
            rows = min(rows, request.limit)
        heavy = ", ".join(c for c in request.columns if c in self.heavy)
        notes = (f"{heavy} of these rows only",) if heavy else ("no heavy column",)
        return ScanReport(rows=rows, total_rows=total, files=len(self.paths), notes=notes)

    def fetching(self, columns: tuple[str, ...], share: float) -> Fetching | None:
        size = sum(size for size, _ in self.state)
        return Fetching(size, int(size * min(max(share, 0.0), 1.0)))

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def describe(self) -> str:
        return f"{self.name} {file_names(self.paths)}"

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        schema = {name: self.schema[name] for name in request.columns}
        if request.locator:
            schema[LOCATOR] = pl.UInt64()
        return from_batches(lambda: self._batches(request, list(schema)), schema, self.describe())

    def _batches(self, request: Request, names: list[str]) -> Iterator[pl.DataFrame]:
        # Where a limit will stop it soon, reading ahead would be for nothing.
        threads = 1 if request.limit is not None else max(1, min(pl.thread_pool_size(), len(self.paths)))
        left = request.limit
        jobs = (partial(self._of_files, files, request, names) for files in self._runs(threads))
        frames = in_order(jobs, threads)
        for frame in frames if left is not None else together(frames):
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            counter.add(rows=frame.height)
            yield frame
            if left is not None and left <= 0:
                return

    def _runs(self, threads: int) -> Iterator[list[int]]:
        """Files that one thread reads in turn: of small ones many, as a thread costs more than they do."""
        most = min(_FILES_AT_ONCE, max(1, len(self.paths) // (4 * threads)))
        run: list[int] = []
        size = 0
        for k, (bytes_, _) in enumerate(self.state):
            if run and (len(run) == most or size + bytes_ > _SMALL_BYTES):
                yield run
                run, size = [], 0
            run.append(k)
            size += bytes_
        if run:
            yield run

    def _of_files(self, files: list[int], request: Request, names: list[str]) -> Iterator[pl.DataFrame]:
        if len(files) == 1 or request.limit is not None:
            for k in files:
                yield from self._of_file(k, request, names)
        else:
            yield from together(frame for k in files for frame in self._of_file(k, request, names))

    def _of_file(self, k: int, request: Request, names: list[str]) -> Iterator[pl.DataFrame]:
        light = self._light_columns(request.predicates, request.columns)
        rows = self._chosen(k, light, request.predicates)
        rows = rows if request.limit is None else rows.head(request.limit)
        heavy = tuple(name for name in request.columns if name in self.heavy)
        if not rows.height:
            return
        if not heavy:
            for part in rows.iter_slices(_ROWS_AT_ONCE):
                yield part.select(names)
            return
        numbers = rows.get_column(LOCATOR).to_numpy() & ((1 << ROWS) - 1)
        first = 0
        for frame in self._read(self.paths[k], numbers.astype("int64"), heavy):
            yield rows.slice(first, frame.height).hstack(frame)[names]
            first += frame.height

    def fetch(self, locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        import numpy as np

        known = dict(zip(self.numbers, self.paths))
        files, first = np.unique(locators >> ROWS, return_index=True)
        rows = np.split((locators & ((1 << ROWS) - 1)).astype(np.int64), first[1:])
        jobs = (partial(self._read, known[int(number)], some, columns) for number, some in zip(files, rows))
        yield from together(in_order(jobs, min(pl.thread_pool_size(), len(files))))

    def _read(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        given = 0
        types = {name: self.schema[name] for name in columns}
        for frame in self.read_rows(path, rows, columns):
            if dict(frame.schema) != types:
                raise FileFormatError(f"{path}: {self.name} gave the columns {dict(frame.schema)}, not {types}")
            given += frame.height
            yield frame
        if given != len(rows):
            raise FileFormatError(f"{path}: {self.name} gave {given} of {len(rows)} rows")

    def _light_columns(self, predicates: tuple[Expr, ...], columns: tuple[str, ...] = ()) -> tuple[str, ...]:
        wanted = frozenset(columns).union(*(p.columns for p in predicates))
        return tuple(name for name in self.schema if name in wanted and name in self.light)

    def _chosen(self, k: int, light: tuple[str, ...], predicates: tuple[Expr, ...]) -> pl.DataFrame:
        """The rows of a file that satisfy the predicates: light columns and LOCATOR."""
        path = self.paths[k]
        try:
            rows = self._index(k, tuple(name for name in light if name != PATH))
        except FileFormatError as error:
            if self.on_error == "raise":
                raise
            self.log.add(path, str(error))
            rows = error.rows if isinstance(error, CutOff) else None
        if rows is None:
            return pl.DataFrame(schema={**{name: self.schema[name] for name in light}, LOCATOR: pl.UInt64()})
        if rows.height >> ROWS:
            raise FileFormatError(f"{path}: {rows.height} rows are more than can be numbered")
        first = self.numbers[k] << ROWS
        # Columns are put beside each other: an expression for each of thousands of small files takes longer.
        more = [pl.int_range(first, first + rows.height, dtype=pl.UInt64, eager=True).alias(LOCATOR)]
        if PATH in light:
            more.append(pl.Series(PATH, [path], dtype=pl.String).new_from_index(0, rows.height))
        rows = (rows.drop(PATH) if PATH in rows.columns else rows).hstack(more)
        for predicate in predicates:
            rows = rows.filter(predicate.polars)
        return rows[[*light, LOCATOR]]

    def _index(self, k: int, columns: tuple[str, ...]) -> pl.DataFrame:
        # What an index left out of a damaged file is told to one log: each frame that skips makes its own.
        told = None if self.on_error == "raise" else self.log
        key = (type(self), self.paths[k], self.state[k], self._options, told)
        found = _indexes.get(key)
        if found is None or not set(columns) <= set(found.columns):
            before = () if found is None else found.columns  # what was asked for a moment ago is asked for again
            columns = tuple(c for c in self.schema if c in columns or (c in before and c in self.light))
            found = self.index(self.paths[k], columns)
            types = {name: self.schema[name] for name in columns}
            if {name: found.schema.get(name) for name in columns} != types:
                raise FileFormatError(f"{self.paths[k]}: the index of {self.name} has {found.schema}, not {types}")
            _indexes.put(key, found)
        return found

    @property
    def _options(self) -> tuple:
        """What a subclass adds: an index may depend on it."""
        common = IndexedFiles.__dataclass_fields__
        return tuple(getattr(self, name) for name in self.__dataclass_fields__ if name not in common)


class _Indexes:
    """The indexes that were made last, as long as they are small together."""

    def __init__(self, most: int):
        self._most, self._size = most, 0
        self._found: OrderedDict[tuple, pl.DataFrame] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple) -> pl.DataFrame | None:
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: tuple, index: pl.DataFrame) -> None:
        with self._lock:
            before = self._found.pop(key, None)
            self._found[key] = index
            self._size += int(index.estimated_size()) - (0 if before is None else int(before.estimated_size()))
            while self._size > self._most:
                self._size -= int(self._found.popitem(last=False)[1].estimated_size())


_indexes = _Indexes(64 << 20)


def together(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in fewer frames, where they are small: thousands of files may have a row each."""
    waiting: list[pl.DataFrame] = []
    rows = size = 0
    for frame in frames:
        waiting.append(frame)
        rows += frame.height
        size += int(frame.estimated_size())
        if rows >= _SMALL_ROWS or size >= _SMALL_BYTES:
            yield pl.concat(waiting, rechunk=False)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pl.concat(waiting, rechunk=False)
