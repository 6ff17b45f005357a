"""JSON files that hold one array of objects (or one object): read whole, since the format has no index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from robodf.compat import POLARS
from robodf.errors import FileFormatError, SchemaError
from robodf.io.files import fingerprint, open_file
from robodf.io.source import Request, ScanReport, Source, Split, file_names
from robodf.io.stream import from_batches

_MOST_DEPTH = 500  # of lists and objects in each other; Polars 1.44 ends the process at some thousands
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class JsonFiles(Source):
    """JSON arrays of objects, one after the other, all with the columns of the first file.

    `columns` are those of the whole, in a part of it, and `first` is the file that they are of.
    """

    paths: tuple[str, ...]
    storage: tuple[tuple[str, object], ...] = ()
    state: tuple = ()
    columns: tuple[tuple[str, pl.DataType], ...] | None = None
    first: str | None = None

    __hash__ = Source.hash_once

    @property
    def name(self) -> str:
        return "json"

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        return dict(self._read(self.paths[0]).schema) if self.columns is None else dict(self.columns)

    def scan(self, request: Request) -> pl.LazyFrame:
        query = from_batches(self._batches, self.schema, self.describe())
        query = query.head(request.limit) if request.limit is not None else query
        return query.select(request.columns)

    def splits(self, request: Request) -> Iterator[Split]:
        for k, (path, (size, _)) in enumerate(zip(self.paths, self.state)):
            yield Split(path, k, bytes=size)

    def part(self, splits: tuple[Split, ...]) -> JsonFiles:
        paths, state = tuple(self.paths[s.part] for s in splits), tuple(self.state[s.part] for s in splits)
        return JsonFiles(paths, self.storage, state, tuple(self.schema.items()), self.first or self.paths[0])

    def report(self, request: Request) -> ScanReport:
        total = sum(size for size, _ in self.state)
        return ScanReport(total, total, files=len(self.paths))

    def describe(self) -> str:
        return f"json {file_names(self.paths)}"

    def _batches(self) -> Iterator[pl.DataFrame]:
        first = self.first or self.paths[0]
        for path in self.paths:
            frame = self._read(path)
            if dict(frame.schema) != self.schema:
                missing = [n for n in self.schema if n not in frame.columns]
                if missing:
                    raise SchemaError(f"{path}: has no {missing}, which {first} has")
                try:
                    frame = frame.select(pl.col(n).cast(t) for n, t in self.schema.items())
                except pl.exceptions.PolarsError as error:
                    raise SchemaError(f"{path}: its columns are not those of {first}: {error}") from error
            yield frame

    def _read(self, path: str) -> pl.DataFrame:
        with open_file(path, dict(self.storage)) as file:
            data = file.read_at(0, file.size)
        if not data.strip():
            raise FileFormatError(f"{path}: the file is empty; a JSON file holds an array of objects")
        if POLARS < (2, 0) and _is_deep(data):  # 2.x refuses it
            raise FileFormatError(f"{path}: lists and objects are nested more than {_MOST_DEPTH} deep")
        try:
            return pl.read_json(data, infer_schema_length=None)
        except (pl.exceptions.PolarsError, ValueError) as error:
            raise FileFormatError(
                f"{path}: not a JSON array of objects ({str(error).splitlines()[0]}); "
                "for one object a line use read_ndjson"
            ) from error


def _is_deep(data: bytes) -> bool:
    """Whether lists and objects of a JSON text are nested deeper than they may be."""
    import numpy as np

    codes = np.frombuffer(_TEXT.sub(b"", data), np.uint8)
    depth = 0
    for first in range(0, len(codes), _BLOCK):
        block = codes[first : first + _BLOCK]
        steps = np.isin(block, (91, 123)).astype(np.int8) - np.isin(block, (93, 125)).astype(np.int8)  # [ { and ] }
        depths = depth + np.cumsum(steps, dtype=np.int64)
        if depths.max() > _MOST_DEPTH:
            return True
        depth = int(depths[-1])
    return False


def json_files(paths: list[str], storage: dict | None) -> JsonFiles:
    """A source over files that exist."""
    state = tuple(fingerprint(p, storage) for p in paths)
    return JsonFiles(tuple(paths), tuple(sorted((storage or {}).items())), state)
