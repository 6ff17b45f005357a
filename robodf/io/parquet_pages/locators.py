"""Rows of many Parquet files by their locators."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.ahead import in_order
from robodf.io.files import StorageOptions, is_remote
from robodf.io.indexed_files import ROWS, together
from robodf.io.parquet_pages.costs import Part
from robodf.io.parquet_pages.layout import layout_of
from robodf.io.parquet_pages.reading import Column, File, Job, jobs

REQUESTS = 16
"""Reads of a store at the same time: each waits for an answer, none for a processor."""

ByPolars = Callable[[str, int, int, str], pl.Series]
"""A column of rows that follow each other: a path, the first of them, how many, the column's name."""


def fetched(
    locators: np.ndarray,
    files: Mapping[int, Part],
    storage: StorageOptions,
    types: Mapping[str, pl.DataType],
    by_polars: ByPolars,
) -> Iterator[pl.DataFrame]:
    """Columns of the rows at some locators, which ascend, in frames; `files` by the numbers in the locators.

    FileFormatError where a file is not as it was, or lacks a row.
    """
    if not len(locators):
        return
    numbers, first = np.unique(locators >> np.uint64(ROWS), return_index=True)
    rows = np.split((locators & np.uint64((1 << ROWS) - 1)).astype(np.int64), first[1:])
    wanted = [(*files[int(number)][:2], some) for number, some in zip(numbers, rows)]
    remote = any(is_remote(path) for path, _, _ in wanted)
    threads = REQUESTS if remote else min(pl.thread_pool_size(), 8)
    of_file = partial(_jobs, storage=storage, types=types, by_polars=by_polars, threads=threads)
    if len(wanted) < threads:
        found = in_order((job for file in wanted for job in of_file(*file)), threads)
    else:  # a file in each thread: their footers are read at the same time too
        found = in_order((partial(_one_by_one, of_file, *file) for file in wanted), threads)
    for frame in together(found):
        if frame.schema != pl.Schema(types):
            raise FileFormatError(f"{wanted[0][0]}: gave the columns {dict(frame.schema)}, not {dict(types)}")
        yield frame


def _jobs(
    path: str,
    state: tuple | None,
    rows: np.ndarray,
    *,
    storage: StorageOptions,
    types: Mapping[str, pl.DataType],
    by_polars: ByPolars,
    threads: int,
) -> Iterator[Job]:
    layout, reader = layout_of(path, storage, state)
    columns = tuple(Column.of(layout, name, dtype) for name, dtype in types.items())
    return jobs(File(layout, reader, partial(by_polars, path)), rows, columns, threads)


def _one_by_one(of_file: Callable[..., Iterator[Job]], *file: object) -> Iterator[pl.DataFrame]:
    for job in of_file(*file):
        yield from job()


class Numbered:
    """LOCATOR from the numbers of rows that Polars counts over several files: by the rows of each, from its footer."""

    def __init__(self, parts: list[Part], numbers: list[int], storage: StorageOptions):
        self._parts, self._numbers, self._storage = parts, numbers, storage
        self._lock = threading.Lock()
        self._starts: np.ndarray | None = None

    def __call__(self, index: pl.Series) -> pl.Series:
        starts = self._first_rows()
        rows = index.to_numpy()
        file = np.searchsorted(starts, rows, "right") - 1
        found = (np.array(self._numbers, np.uint64)[file] << np.uint64(ROWS)) + (rows - starts[file])
        return pl.Series(index.name, found, pl.UInt64)

    def _first_rows(self) -> np.ndarray:
        with self._lock:
            if self._starts is None:
                remote = any(is_remote(path) for path, _, _ in self._parts)
                counts = in_order((partial(self._rows, part) for part in self._parts), REQUESTS if remote else 1)
                self._starts = np.cumsum([0, *counts], dtype=np.uint64)[:-1]
            return self._starts

    def _rows(self, part: Part) -> Iterator[int]:
        layout, reader = layout_of(part[0], self._storage, part[1])
        reader.close()
        yield int(layout.firsts[-1])
