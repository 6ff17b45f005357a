"""MessagePack files: objects one after the other, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.error_log import ErrorLog
from robodf.io.file_object import open_object
from robodf.io.files import list_files
from robodf.io.indexed_files import PATH
from robodf.io.objects import columns_of, fitted, frame_of
from robodf.io.source import Request, ScanReport, Source, Split, file_names
from robodf.io.stream import from_batches

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.read import Paths

_SAMPLE = 1000  # rows of a file by which columns are typed
_FILES = 100  # of which the first rows are
_BATCH = 1024  # rows
_BLOCK = 1 << 20
_LARGEST = 32 << 20  # bytes of one object


def read_msgpack(
    paths: Paths, *, sample: int = _SAMPLE, on_error: str = "raise", storage_options: dict | None = None
) -> PipelineDataFrame:
    """A lazy frame of MessagePack files, one row an object: path, and the keys of its map as columns.

    An object that is a list of maps gives a row for each of them; one that is neither is in the column `value`, and a
    key that is called path gets `msgpack.` before it. Maps are Struct, lists List, timestamps Datetime("ns") (see
    `robodf.io.objects`). The first `sample` rows of the first 100 files are read now, for the columns: a later row with
    another key or type is an error, or ends its file there with the rows before it (`on_error`; `df.errors` tells), as
    does a truncated object.

    Needs `pip install 'robodf[msgpack]'`.

    >>> import msgpack, robodf as rd, pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.msgpack")
    >>> _ = name.write_bytes(b"".join(msgpack.packb({"step": k, "q": [0.5, k]}) for k in range(3)))
    >>> rd.read_msgpack(name).filter(rd.col("step") > 0).select("q").collect().rows()
    [([0.5, 1.0],), ([0.5, 2.0],)]
    """
    from robodf.errors import OptionError
    from robodf.io.files import fingerprint
    from robodf.io.logs.model import check_on_error
    from robodf.io.read import from_source

    check_on_error(on_error)
    if isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
        raise OptionError(f"read_msgpack: sample={sample!r}: a number of rows, at least 1")
    try:
        import msgpack  # noqa: F401
    except ImportError as error:
        raise ImportError("read_msgpack needs msgpack: pip install 'robodf[msgpack]'") from error
    files = list_files(paths, (".msgpack", ".mpk"), storage_options)  # type: ignore[arg-type]
    storage = tuple(sorted((storage_options or {}).items()))
    state = tuple(fingerprint(p, storage_options) for p in files)
    source = MsgpackFiles(tuple(files), storage, state, on_error)
    columns = tuple(columns_of(source.first(sample)).items())
    return from_source(MsgpackFiles(tuple(files), storage, state, on_error, columns))


@dataclass(frozen=True)
class MsgpackFiles(Source):
    """Objects with the columns that were found when the frame was made."""

    paths: tuple[str, ...]
    storage: tuple[tuple[str, Any], ...] = ()
    state: tuple[tuple[int, int | str], ...] = ()
    on_error: str = "raise"
    columns: tuple[tuple[str, pl.DataType], ...] = ()
    log: ErrorLog = field(compare=False, default_factory=ErrorLog)

    __hash__ = Source.hash_once

    @property
    def name(self) -> str:
        return "msgpack"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {PATH: pl.String(), **dict(self.columns)}

    @property
    def partition_column(self) -> str:
        return PATH

    def splits(self, request: Request) -> Iterator[Split]:
        for k, (path, (size, _)) in enumerate(zip(self.paths, self.state)):
            yield Split(path, k, bytes=size, key=path)

    def part(self, splits: tuple[Split, ...]) -> MsgpackFiles:
        files = [s.part for s in splits]
        paths, state = tuple(self.paths[k] for k in files), tuple(self.state[k] for k in files)
        return replace(self, paths=paths, state=state)

    def report(self, request: Request) -> ScanReport:
        total = sum(size for size, _ in self.state)
        return ScanReport(total if request.limit is None else None, total, files=len(self.paths))

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    def describe(self) -> str:
        return f"msgpack {file_names(self.paths)}"

    def scan(self, request: Request) -> pl.LazyFrame:
        query = from_batches(self._batches, self.schema, self.describe())
        query = query.head(request.limit) if request.limit is not None else query
        return query.select(request.columns)

    def first(self, count: int) -> Iterator[dict[str, Any]]:
        """The first rows of the first files; of one that is damaged those before it, unless it is to raise."""
        for path in self.paths[:_FILES]:
            try:
                yield from islice(self._rows(path), count)
            except FileFormatError:
                if self.on_error == "raise":
                    raise

    def _batches(self) -> Iterator[pl.DataFrame]:
        columns = dict(self.columns)
        for path in self.paths:
            rows = self._fitted(path, columns)
            while batch := list(islice(rows, _BATCH)):
                frame = frame_of(batch, columns)
                yield frame.insert_column(0, pl.Series(PATH, [path] * len(batch), dtype=pl.String()))

    def _fitted(self, path: str, columns: dict[str, pl.DataType]) -> Iterator[dict[str, Any]]:
        """The rows of a file, up to what is wrong with it."""
        try:
            for number, row in enumerate(self._rows(path)):
                yield fitted(row, columns, f"{path}: row {number}")
        except FileFormatError as error:
            if self.on_error == "raise":
                raise
            self.log.add(path, str(error))

    def _rows(self, path: str) -> Iterator[dict[str, Any]]:
        for value in self._objects(path):
            several = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
            for row in value if several else (value,):
                if isinstance(row, dict):
                    yield {f"msgpack.{PATH}" if name == PATH else str(name): inner for name, inner in row.items()}
                else:
                    yield {"value": row}

    def _objects(self, path: str) -> Iterator[Any]:
        import msgpack

        with open_object(path, dict(self.storage)) as file:
            size = file.seek(0, 2)
            file.seek(0)
            # A list of a byte is 64 bytes in memory: what a file announces is believed up to a bound.
            objects = msgpack.Unpacker(
                file, read_size=min(_BLOCK, _LARGEST), max_buffer_size=_LARGEST, strict_map_key=False, timestamp=0
            )
            number = 0
            while True:
                start = objects.tell()
                try:
                    value = objects.unpack()
                except msgpack.OutOfData:
                    if start == size:
                        return
                    raise FileFormatError(f"{path}: object {number} at byte {start} is cut off") from None
                except msgpack.BufferFull:
                    raise FileFormatError(
                        f"{path}: object {number} at byte {start} has more than {_LARGEST} bytes, which is not read"
                    ) from None
                except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
                    what = str(error) or type(error).__name__
                    raise FileFormatError(
                        f"{path}: object {number} at byte {start} is no MessagePack: {what}"
                    ) from None
                yield value
                number += 1
