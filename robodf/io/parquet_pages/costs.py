"""Which columns of Parquet files are heavy, and what fetching some rows costs: from a few footers and indexes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack

import numpy as np
import polars as pl

from robodf.errors import FileFormatError, NoFilesError
from robodf.io.ahead import in_order
from robodf.io.files import FileReader, StorageOptions, is_remote
from robodf.io.parquet_footer import Rows
from robodf.io.parquet_pages.layout import Layout, Pages, Path, layout_of
from robodf.io.parquet_pages.leaves import Leaf
from robodf.io.parquet_pages.reading import WORTH_LOCAL, WORTH_REMOTE, Column
from robodf.io.source import Fetching

HEAVY = 1 << 10
"""Encoded bytes of a value, on average, from which a column is heavy.

A page of 64 KiB, the least that writers make, holds 64 such values: of rows picked at random, one in a hundred, it is
read half of the times. Of smaller values most pages are read for few rows, and all of them cost little.
"""

LEAST = 8 << 20  # bytes of columns that are read in a few milliseconds anyway

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

    def weighted(self) -> Iterable[tuple[Layout, FileReader, int, float]]:
        """The row groups that are looked at, and for how many of their size each stands in its file."""
        for (layout, file), (_, _, rows) in zip(self.files, self.chosen):
            first, after = (0, int(layout.firsts[-1])) if rows is None else (rows[0], rows[0] + rows[1])
            within = np.flatnonzero((layout.firsts[:-1] >= first) & (layout.firsts[:-1] < after)).tolist()
            groups = [within[k] for k in _spread(len(within), _GROUPS)]
            held = sum(int(layout.firsts[group + 1] - layout.firsts[group]) for group in groups)
            for group in groups:
                yield layout, file, group, (after - first) / held if held else 0.0

    def groups(self) -> Iterable[tuple[Layout, FileReader, int]]:
        """The row groups that are looked at."""
        return ((layout, file, group) for layout, file, group, _ in self.weighted())


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
                for name, paths in _leaf_paths(layout, candidates).items():
                    sizes[name] += _size(layout, group, paths)
    except (FileFormatError, NoFilesError):
        return frozenset()  # reading the file tells what is wrong with it
    return frozenset(name for name, size in sizes.items() if rows and size >= HEAVY * rows)


def _leaf_paths(layout: Layout, names: Collection[str]) -> dict[str, list[Path]]:
    """The leaf columns of some columns."""
    found: dict[str, list[Path]] = {}
    schema = layout.footer.metadata.schema
    for number in range(layout.footer.metadata.num_columns):
        whole = schema.column(number).path
        name = whole if whole in names else whole.split(".", 1)[0]
        if name in names:
            below = whole[len(name) + 1 :].split(".") if whole != name else ()
            found.setdefault(name, []).append((name, *below))
    return found


def _size(layout: Layout, group: int, paths: list[Path]) -> int:
    """The encoded bytes of leaf columns in a row group, of those that are found."""
    chunks = [layout.chunk(group, path) for path in paths]
    return sum(chunk.bytes for chunk in chunks if chunk is not None)


def worth(found: Fetching | None, remote: bool) -> bool:
    """Whether columns are rather read by pages.

    >>> worth(Fetching(1 << 30, 1 << 20), False), worth(Fetching(1 << 30, 1 << 29), False), worth(None, False)
    (True, False, False)
    """
    if found is None or found.all < LEAST:
        return False
    return found.fetched <= (WORTH_REMOTE if remote else WORTH_LOCAL) * found.all


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
    total = touched = 0.0
    with Sample(parts, storage) as sample:
        for layout, file, group, weight in sample.weighted():
            paths = _leaf_paths(layout, types)
            for name, dtype in types.items():
                size = _size(layout, group, paths.get(name, []))
                total += weight * size
                touched += weight * _touched(layout, file, group, Column.of(layout, name, dtype), share, size)
    scale = _scale(parts, sample.chosen)
    return Fetching(int(total * scale), int(touched * scale), bounded=True) if total else None


def _touched(layout: Layout, file: FileReader, group: int, column: Column, share: float, size: int) -> float:
    """The bytes of a column in a row group that are read for a share of its rows, picked at random."""
    rows = int(layout.firsts[group + 1] - layout.firsts[group])
    pages: list[tuple[Leaf, Pages]] = []
    for leaf in column.leaves or ():
        found = layout.pages(file, group, leaf.path)
        if found is not None:
            pages.append((leaf, found))
    if column.leaves is None or len(pages) < len(column.leaves):
        return size * _any_of(rows, share)
    read = 0.0
    for leaf, found in pages:
        chunk = layout.chunk(group, leaf.path)
        read += float((found.sizes * (1 - (1 - share) ** found.rows)).sum())
        if chunk is not None and len(found.offsets):
            read += (int(found.offsets[0]) - chunk.start) * _any_of(rows, share)  # a dictionary
    return read


def _any_of(rows: int, share: float) -> float:
    """How likely it is that one of some rows is among those picked."""
    return 1 - (1 - share) ** rows


def _scale(parts: list[Part], chosen: list[Part]) -> float:
    """How many times all parts are what was looked at: by the sizes of the files, where these are told."""
    sizes, of_chosen = ([_part_size(part) for part in some] for some in (parts, chosen))
    if len(chosen) == len(parts) or None in sizes or not any(of_chosen):
        return len(parts) / len(chosen)
    return sum(size or 0 for size in sizes) / sum(size or 0 for size in of_chosen)


def _part_size(part: Part) -> int | None:
    _, state, rows = part
    return rows[1] if rows is not None else state[0] if state else None


def _spread(count: int, most: int) -> list[int]:
    """At most `most` numbers below `count`, each from the middle of its part: the last row group is often short."""
    if count <= most:
        return list(range(count))
    return [(2 * k + 1) * count // (2 * most) for k in range(most)]
