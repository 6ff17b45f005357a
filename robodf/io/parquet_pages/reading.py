"""Chosen rows of columns of Parquet files, by the pages that hold them.

Only these pages are read, decompressed and taken from. What is not understood, by its encoding or its nesting, is read
by Polars, whole row groups at a time, and so is a row group of which most is wanted.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.files import FileReader
from robodf.io.parquet_pages.column import column_of
from robodf.io.parquet_pages.errors import NotUnderstood
from robodf.io.parquet_pages.layout import Chunk, Layout, Pages, Path
from robodf.io.parquet_pages.leaves import Leaf, leaves_of
from robodf.io.parquet_pages.page import Rows, Table, dictionary_of, rows_of_page

Job = Callable[[], Iterator[pl.DataFrame]]
ByGroup = Callable[[int, int, str], pl.Series]
"""A column of the rows of a row group, which are told by their first and how many they are, by Polars."""

LARGEST = 16 << 20  # bytes of pages, without compression, that one job reads
SMALLEST_LOCAL, SMALLEST_REMOTE = 1 << 20, 1 << 16  # a job takes a thread
GAP_LOCAL, GAP_REMOTE = 16 << 10, 256 << 10  # bytes between two pages that are rather read than asked around
WORTH_LOCAL, WORTH_REMOTE = 0.12, 0.8
"""Share of the bytes of a column up to which its pages are read, rather than all by Polars.

Measured: a byte by pages takes the processor time of 5 that Polars scans, and of 10 that it scans with a filter, which
is what counts where files are in the page cache; from a store bytes are what takes the time.
"""
CALL = 8 << 20  # bytes that Polars reads in the time that it takes to begin

_TABLES = 4  # dictionaries that are kept: those of pages that are read at the same time


@dataclass(frozen=True)
class Column:
    """A column of a file, and its leaves; None: it is not read by pages."""

    name: str
    dtype: pl.DataType
    leaves: tuple[Leaf, ...] | None

    @staticmethod
    def of(layout: Layout, name: str, dtype: pl.DataType) -> Column:
        return Column(name, dtype, leaves_of(layout.footer.metadata, name, dtype))


@dataclass
class File:
    """A file of which rows are read; it is closed with the last job that holds it."""

    layout: Layout
    reader: FileReader
    by_group: ByGroup
    tables: _Tables = field(default_factory=lambda: _Tables())

    def groups(self, rows: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """The row groups of some rows, and from which to which of them lie there."""
        if len(rows) and rows[-1] >= self.layout.firsts[-1]:
            raise FileFormatError(f"{self.layout.path}: has no row {rows[-1]}, but {self.layout.firsts[-1]} rows")
        numbers, starts = _distinct(np.searchsorted(self.layout.firsts, rows, "right") - 1)
        return zip(numbers.tolist(), starts.tolist(), [*starts[1:].tolist(), len(rows)])


def _distinct(ascending: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that there are, each once, and where each is first."""
    new = np.ones(len(ascending), bool)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    first = np.flatnonzero(new)
    return ascending[first], first


def jobs(file: File, rows: np.ndarray, columns: tuple[Column, ...], threads: int) -> Iterator[Job]:
    """Readers of columns of some rows of a file, which ascend: each gives one frame, and together, in order, all."""
    cost = _costs(file, rows, columns)
    smallest = SMALLEST_REMOTE if file.reader.local is None else SMALLEST_LOCAL
    each = min(LARGEST, max(smallest, int(cost.sum()) // threads))
    ends = np.cumsum(cost)
    # A job begins where a page does, so that none is read twice: its first row is the one that costs.
    starts = np.flatnonzero(np.diff(ends // each, prepend=-1) > 0)
    for start, end in zip(starts, [*starts[1:], len(rows)]):
        yield partial(_read, file, rows[start:end], columns)


def _costs(file: File, rows: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray:
    """The bytes, without compression, that each row adds to what is read for those before it."""
    cost = np.zeros(len(rows), np.int64)
    for group, start, end in file.groups(rows):
        local = rows[start:end] - file.layout.firsts[group]
        for column in columns:
            pages = _pages(file, group, column)
            if pages is None or _dense(file, group, column, pages, local):
                told = file.layout.footer.metadata.row_group(group).total_byte_size
                cost[start] += min(max(1, told), LARGEST)
                continue
            for leaf, of_leaf in zip(column.leaves or (), pages):
                chunk = _chunk(file, group, leaf)
                page, first = _numbers(of_leaf, local)
                expansion = min(max(1.0, chunk.size / max(1, chunk.bytes)), 1000.0)  # of headers that tell the truth
                cost[start + first] += (of_leaf.sizes[page] * expansion).astype(np.int64)
    return cost


def _numbers(pages: Pages, local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the pages that hold some rows of a row group, and which of the rows is the first in each."""
    return _distinct(np.searchsorted(pages.firsts, local, "right") - 1)


def _dense(file: File, group: int, column: Column, pages: list[Pages], local: np.ndarray) -> bool:
    """Whether so much of a chunk is wanted that Polars reads all of it in less time."""
    touched = everything = 0
    for leaf, of_leaf in zip(column.leaves or (), pages):
        chunk = _chunk(file, group, leaf)
        everything += chunk.bytes
        if len(of_leaf.offsets):
            dictionary = int(of_leaf.offsets[0]) - chunk.start
            touched += int(of_leaf.sizes[_numbers(of_leaf, local)[0]].sum()) + dictionary
    if file.reader.local is None:
        return touched > WORTH_REMOTE * everything
    return touched > WORTH_LOCAL * (everything + CALL)


def _pages(file: File, group: int, column: Column) -> list[Pages] | None:
    if column.leaves is None:
        return None
    found = []
    for leaf in column.leaves:
        pages = file.layout.pages(file.reader, group, leaf.path)
        if pages is None:
            return None
        found.append(pages)
    return found


def _chunk(file: File, group: int, leaf: Leaf) -> Chunk:
    """The chunk of a leaf whose pages are known."""
    found = file.layout.chunk(group, leaf.path)
    assert found is not None
    return found


def _read(file: File, rows: np.ndarray, columns: tuple[Column, ...]) -> Iterator[pl.DataFrame]:
    yield pl.DataFrame([_column(file, rows, column) for column in columns])


def _column(file: File, rows: np.ndarray, column: Column) -> pl.Series:
    pieces = []
    for dense, start, end in _runs(file, rows, column):
        some = rows[start:end]
        if not dense:
            try:
                pieces.append(_by_pages(file, some, column))
                continue
            except NotUnderstood:
                pass
        pieces += _by_groups(file, some, column)
    return pieces[0] if len(pieces) == 1 else pl.concat(pieces)


def _runs(file: File, rows: np.ndarray, column: Column) -> Iterator[tuple[bool, int, int]]:
    """Rows whose row groups are read whole, or by pages: how, from which of them to which."""
    before: bool | None = None
    first = last = 0
    for group, start, end in file.groups(rows):
        pages = _pages(file, group, column)
        local = rows[start:end] - file.layout.firsts[group]
        dense = pages is None or _dense(file, group, column, pages, local)
        if before is not None and dense != before:
            yield before, first, last
            first = start
        before, last = dense, end
    if before is not None:
        yield before, first, last


def _by_groups(file: File, rows: np.ndarray, column: Column) -> Iterator[pl.Series]:
    for group, start, end in file.groups(rows):
        first, after = file.layout.firsts[group : group + 2].tolist()
        values = file.by_group(first, after - first, column.name)
        if len(values) != after - first or values.dtype != column.dtype:
            raise FileFormatError(
                f"{file.layout.path}: {len(values)} values of type {values.dtype} in a row group of {after - first} "
                f"rows of {column.name!r}, which is {column.dtype}"
            )
        yield values.gather(rows[start:end] - first)


@dataclass
class _Page:
    group: int
    offset: int
    size: int
    rows: int
    wanted: np.ndarray


def _by_pages(file: File, rows: np.ndarray, column: Column) -> pl.Series:
    if column.leaves is None:
        raise NotUnderstood
    todo: list[list[_Page]] = [[] for _ in column.leaves]
    for group, start, end in file.groups(rows):
        pages = _pages(file, group, column)
        if pages is None:
            raise NotUnderstood
        local = rows[start:end] - file.layout.firsts[group]
        for of_leaf, found in zip(todo, pages):
            of_leaf += _touched(group, found, local)
    decoded: list[list[Rows]] = [[] for _ in column.leaves]
    order = sorted(((page, k) for k, of_leaf in enumerate(todo) for page in of_leaf), key=lambda task: task[0].offset)
    # A page is decoded before the next is read: memory that is held is new memory, which takes longer than reading.
    for (page, k), raw in zip(order, read_ranges(file.reader, [(p.offset, p.size) for p, _ in order])):
        decoded[k].append(_rows(file, page, raw, column.leaves[k]))
    try:
        return column_of(column.name, column.dtype, column.leaves, decoded)
    except ValueError as error:
        raise FileFormatError(f"{file.layout.path}: column {column.name!r}: {error}") from error


def _touched(group: int, pages: Pages, local: np.ndarray) -> Iterator[_Page]:
    """The pages that hold some rows of a row group."""
    numbers, starts = _numbers(pages, local)
    facts = (pages.offsets[numbers], pages.sizes[numbers], pages.firsts[numbers], pages.firsts[numbers + 1])
    parts = np.split(local, starts[1:])
    for offset, size, first, after, wanted in zip(*(a.tolist() for a in facts), parts):
        yield _Page(group, offset, size, after - first, wanted - first)


def _rows(file: File, page: _Page, raw: memoryview, leaf: Leaf) -> Rows:
    chunk = _chunk(file, page.group, leaf)
    try:
        return rows_of_page(raw, page.rows, page.wanted, leaf, chunk, partial(file.tables.of, file, page.group, leaf))
    except ValueError as error:
        path = file.layout.path
        raise FileFormatError(f"{path}: the page of {page.size} bytes at offset {page.offset}: {error}") from error


def read_ranges(file: FileReader, ranges: list[tuple[int, int]]) -> Iterator[memoryview]:
    """The bytes at offsets, which ascend, of these sizes, one by one: what lies close together is read at once."""
    gap = GAP_REMOTE if file.local is None else GAP_LOCAL
    at = 0
    while at < len(ranges):
        start = end = ranges[at][0]
        last = at
        while last < len(ranges) and ranges[last][0] - end <= gap and (last == at or end - start < LARGEST):
            end = max(end, sum(ranges[last]))
            last += 1
        data = memoryview(file.read_at(start, end - start))
        for offset, size in ranges[at:last]:
            yield data[offset - start : offset - start + size]
        at = last


class _Tables:
    """The dictionaries of chunks, each read once where several jobs need it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[int, Path], _Slot] = OrderedDict()

    def of(self, file: File, group: int, leaf: Leaf) -> Table:
        with self._lock:
            slot = self._found.setdefault((group, leaf.path), _Slot())
            self._found.move_to_end((group, leaf.path))
            while len(self._found) > _TABLES:
                self._found.popitem(last=False)
        with slot.lock:
            if slot.table is None:
                slot.table = self._read(file, group, leaf)
            return slot.table

    def _read(self, file: File, group: int, leaf: Leaf) -> Table:
        chunk = _chunk(file, group, leaf)
        pages = file.layout.pages(file.reader, group, leaf.path)
        end = int(pages.offsets[0]) if pages is not None and len(pages.offsets) else chunk.data
        if end <= chunk.start:
            raise ValueError("codes of a dictionary that is not there")
        return dictionary_of(memoryview(file.reader.read_at(chunk.start, end - chunk.start)), leaf, chunk)


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    table: Table | None = None
