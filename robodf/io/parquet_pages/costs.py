"""Which columns of Parquet files are heavy, and what fetching some rows costs: from a few footers and indexes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError, NoFilesError
from robodf.io.ahead import in_order
from robodf.io.files import FileReader, StorageOptions, is_remote
from robodf.io.parquet_footer import Rows
from robodf.io.parquet_pages.layout import Layout, Pages, layout_of
from robodf.io.parquet_pages.reading import Column
from robodf.io.source import Fetching

HEAVY = 1 << 10
"""Encoded bytes of a value, on average, from which a column is heavy.

A page of 64 KiB, the least that writers make, holds 64 such values: of rows picked at random, one in a hundred, it is
read half of the times. Of smaller values most pages are read for few rows, and all of them cost little.
"""

_FILES, _GROUPS = 4, 4
"""As many files, and row groups of each, are looked at: a million files cost as much as four."""

_VARIABLE = (pl.Binary, pl.String, pl.List, pl.Array, pl.Struct)

Part = tuple[str, tuple | None, Rows | None]
"""A file, its state when the source was made, and the rows of it that are wanted."""


class Sample:
    """Some files of a data set and some row groups of each, spread over it."""

    def __init__(self, parts: list[Part], storage: StorageOptions):
        self._parts, self._storage = parts, storage
        self.chosen = [parts[k] for k in _spread(len(parts), _FILES)]

    def __enter__(self) -> Sample:
        jobs = (lambda part=part: iter([layout_of(part[0], self._storage, part[1])]) for part in self.chosen)
        remote = any(is_remote(part[0]) for part in self.chosen)
        self.files: list[tuple[Layout, FileReader]] = []
        with ExitStack() as opening:
            for layout, file in in_order(jobs, _FILES if remote else 1):
                opening.enter_context(file)
                self.files.append((layout, file))
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def groups(self) -> Iterable[tuple[Layout, FileReader, int]]:
        """The row groups that are looked at."""
        for (layout, file), (_, _, rows) in zip(self.files, self.chosen):
            firsts = layout.firsts[:-1]
            within = range(len(firsts))
            if rows is not None:
                within = np.flatnonzero((firsts >= rows[0]) & (firsts < rows[0] + rows[1])).tolist()
            for k in _spread(len(within), _GROUPS):
                yield layout, file, int(within[k])


def heavy_columns(parts: list[Part], storage: StorageOptions, schema: Mapping[str, pl.DataType]) -> frozenset[str]:
    """The columns, of those that a file holds, whose values are large; none where no footer can be read."""
    candidates = {name for name, dtype in schema.items() if isinstance(dtype, _VARIABLE)}
    if not candidates or not parts:
        return frozenset()
    sizes = dict.fromkeys(candidates, 0)
    rows = 0
    try:
        with Sample(parts, storage) as sample:
            for layout, _, group in sample.groups():
                rows += int(layout.firsts[group + 1] - layout.firsts[group])
                for name, columns in _columns(layout, candidates).items():
                    sizes[name] += sum(layout.chunk(group, column).bytes for column in columns)
    except (FileFormatError, NoFilesError):
        return frozenset()  # reading the file tells what is wrong with it
    return frozenset(name for name, size in sizes.items() if rows and size >= HEAVY * rows)


def _columns(layout: Layout, names: set[str]) -> dict[str, list[int]]:
    """The numbers of the leaf columns of some columns."""
    found: dict[str, list[int]] = {}
    schema = layout.footer.metadata.schema
    for number in range(layout.footer.metadata.num_columns):
        path = schema.column(number).path
        name = path if path in names else path.split(".", 1)[0]
        if name in names:
            found.setdefault(name, []).append(number)
    return found


def fetching(
    parts: list[Part], storage: StorageOptions, types: Mapping[str, pl.DataType], share: float
) -> Fetching | None:
    """What columns cost where a share of the rows is left, picked at random; None where no row group tells."""
    try:
        return _fetching(parts, storage, types, min(max(share, 0.0), 1.0))
    except (FileFormatError, NoFilesError):
        return None


def _fetching(
    parts: list[Part], storage: StorageOptions, types: Mapping[str, pl.DataType], share: float
) -> Fetching | None:
    total = touched = held = looked_at = 0.0
    with Sample(parts, storage) as sample:
        for layout, file, group in sample.groups():
            by_name = _columns(layout, set(types))
            of_group = layout.footer.metadata.row_group(group)
            looked_at += 1
            for name, dtype in types.items():
                columns = by_name.get(name, [])
                size = sum(layout.chunk(group, column).bytes for column in columns)
                total += size
                touched += _touched(layout, file, group, Column.of(layout, name, dtype), share, size)
            held += sum(of_group.column(c).total_compressed_size for c in range(of_group.num_columns))
        if not looked_at or not held:
            return None
        known = _bytes(sample.files, sample.chosen)
        everything = _all_bytes(parts, sample.chosen, known)
    scale = everything / held
    return Fetching(int(total * scale), int(touched * scale))


def _touched(layout: Layout, file: FileReader, group: int, column: Column, share: float, size: int) -> float:
    """The bytes of a column in a row group that are read for a share of its rows, picked at random."""
    rows = int(layout.firsts[group + 1] - layout.firsts[group])
    pages: list[tuple[int, Pages]] = []
    for leaf in column.leaves or ():
        found = layout.pages(file, group, leaf.column)
        if found is not None:
            pages.append((leaf.column, found))
    if column.leaves is None or len(pages) < len(column.leaves):
        return size * _any_of(rows, share)
    read = 0.0
    for number, found in pages:
        read += float((found.sizes * (1 - (1 - share) ** found.rows)).sum())
        dictionary = (int(found.offsets[0]) if len(found.offsets) else 0) - layout.chunk(group, number).start
        read += max(0, dictionary) * _any_of(rows, share)
    return read


def _any_of(rows: int, share: float) -> float:
    """How likely it is that one of some rows is among those picked."""
    return 1 - (1 - share) ** rows


def _bytes(files: list[tuple[Layout, FileReader]], parts: list[Part]) -> float:
    """The bytes of data in the files that were looked at, of the rows that are wanted."""
    total = 0.0
    for (layout, _), (_, _, rows) in zip(files, parts):
        of_all = int(layout.firsts[-1])
        total += layout.footer.start * (rows[1] / of_all if rows is not None and of_all else 1.0)
    return total


def _all_bytes(parts: list[Part], chosen: list[Part], known: float) -> float:
    """The bytes of all parts, from what is known of some: by the sizes of the files, where these are told."""
    if len(chosen) == len(parts):
        return known
    sizes: list[Any] = [state[0] if state else None for _, state, _ in parts]
    of_chosen: list[Any] = [state[0] if state else None for _, state, _ in chosen]
    if None in sizes or not sum(of_chosen):
        return known * len(parts) / len(chosen)
    return known * sum(sizes) / sum(of_chosen)


def _spread(count: int, most: int) -> list[int]:
    """Numbers below `count`, at most `most`, from the first to the last."""
    if count <= most:
        return list(range(count))
    return [k * (count - 1) // (most - 1) for k in range(most)]
