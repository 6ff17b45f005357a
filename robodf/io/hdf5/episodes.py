"""The steps of episodes in HDF5 files as rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError, OptionError, hint, listing
from robodf.io.hdf5.alike import Alike, attribute_bytes
from robodf.io.hdf5.catalog import Catalog, NoEpisodes, catalogs, read_catalog
from robodf.io.hdf5.columns import polars_type, to_series
from robodf.io.hdf5.file import Hdf5File
from robodf.io.hdf5.heaps import Texts, attributes, values
from robodf.io.hdf5.images import image_column, without_padding
from robodf.io.hdf5.layout import Example, Part, masks, parts, steps_path
from robodf.io.hdf5.objects import Dataset
from robodf.io.hdf5.reading import BATCH_BYTES, BATCH_ROWS, MOST_ROWS, RowReader, believable
from robodf.io.indexed_files import IndexedFiles
from robodf.io.source import Source

if TYPE_CHECKING:
    pass

_OWN: dict[str, pl.DataType] = {
    "path": pl.String(), "episode": pl.String(), "episode_index": pl.Int64(), "step": pl.UInt32(),
}  # fmt: skip
_EXAMPLES = 16


@dataclass(frozen=True)
class Episodes(IndexedFiles):
    """Row by row what `rd.read_hdf5` says; `steps` is the dataset that counts the steps of an episode."""

    parts: tuple[Part, ...] = ()
    steps: str = ""
    mask: str | None = None

    name = "hdf5"  # type: ignore[assignment]
    __hash__ = Source.hash_once

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:  # type: ignore[override]
        return {**_OWN, **{part.name: part.dtype for part in self.parts}}

    @cached_property
    def heavy(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(part.name for part in self.parts if part.of == "step")

    @cached_property
    def _part(self) -> dict[str, Part]:
        return {part.name: part for part in self.parts}

    @cached_property
    def _number(self) -> dict[str, int]:
        return {path: k for k, path in enumerate(self.paths)}

    def _open(self, path: str) -> Hdf5File:
        return Hdf5File(path, dict(self.storage))

    def catalog(self, path: str, file: Hdf5File) -> Catalog:
        return catalogs.get((path, self.state[self._number[path]], self.storage), lambda: read_catalog(file))

    def _problem(self, path: str, episode: str, error: FileFormatError) -> None:
        if self.on_error == "raise":
            raise FileFormatError(f"{error} (episode {episode})" if episode else str(error)) from error
        self.log.add(path, str(error), episode or None)

    def _chosen_episodes(self, path: str, file: Hdf5File) -> tuple[Catalog, np.ndarray, np.ndarray]:
        """The catalog, the numbers of the episodes in it that are read, and how long each of all is."""
        found = self.catalog(path, file)
        counted = found.datasets(file, self.steps)
        lengths = counted.rows.copy()
        for k in np.nonzero(lengths < 0)[0].tolist():
            missing = FileFormatError(f"{path}: there is no dataset {found.prefix}{found.names[k]}/{self.steps}")
            self._problem(path, found.names[k], counted.broken.get(k, missing))
            lengths[k] = 0
        self._check_lengths(file, found, lengths)
        chosen = np.arange(len(lengths))
        if self.mask is not None:
            wanted = _mask_names(file, self.mask)
            chosen = np.array([k for k in chosen.tolist() if found.names[k] in wanted], np.int64)
        return found, chosen, lengths

    def _check_lengths(self, file: Hdf5File, found: Catalog, lengths: np.ndarray) -> None:
        """No number of steps is believed that the file cannot hold."""
        counted = found.found[self.steps]
        for k in np.nonzero(lengths > BATCH_ROWS)[0].tolist():
            one = counted[k]
            assert one is not None
            try:
                believable(file, one)
            except FileFormatError as error:
                self._problem(file.path, found.names[k], error)
                lengths[k] = 0
        total = int(lengths.sum())
        if total > MOST_ROWS:
            raise FileFormatError(f"{file.path}: {total} steps are more than can be read")

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        with self._open(path) as file:
            found, chosen, lengths = self._chosen_episodes(path, file)
            counts = lengths[chosen]
            rows = np.repeat(chosen, counts)
            made: dict[str, pl.Series] = {}
            for name in columns or ("step",):
                if name == "step":
                    starts = np.repeat(np.cumsum(counts) - counts, counts)
                    made[name] = pl.Series((np.arange(len(rows)) - starts).astype(np.uint32))
                    continue
                each = self._of_episodes(path, file, found, name)
                made[name] = each.gather(rows) if len(each) > 1 else each.new_from_index(0, len(rows))
            return pl.DataFrame(made)

    def _of_episodes(self, path: str, file: Hdf5File, found: Catalog, name: str) -> pl.Series:
        """A light column, one value for each episode of a file."""
        names = found.names if found.groups[0] != file.root else [PurePosixPath(path.replace("\\", "/")).stem]
        if name == "episode":
            return pl.Series(names, dtype=pl.String)
        if name == "episode_index":
            ends = [re.search(r"[0-9]{1,18}$", n) for n in names]
            return pl.Series([int(e[0]) if e else None for e in ends], dtype=pl.Int64)
        part = self._part[name]
        if part.of == "mask":
            wanted = _mask_names(file, part.path, missing=set())
            return pl.Series([n in wanted for n in names], dtype=pl.Boolean)
        if part.of == "attribute":
            return self._attribute(path, file, found, part)
        count = len(found.names)
        if part.of == "constant":
            return self._constant(path, file, found, part)
        reader = self._reader(path, file, found, part, None)
        ones = np.ones(count, np.int64)
        return reader.read(np.arange(count), np.zeros(count, np.int64), ones)

    def _attribute(self, path: str, file: Hdf5File, found: Catalog, part: Part) -> pl.Series:
        made: list[Any] = [None] * len(found.names)
        left: Any = range(len(made))
        alike = attribute_bytes(file, found.groups, part.path)
        if alike is not None:
            like, which, raw = alike
            column = to_series(raw, (), like.type, Texts(file))
            if column.dtype == part.dtype and len(which) == len(made):
                return column
            if column.dtype == part.dtype:
                for k, value in zip(which.tolist(), column.to_list()):
                    made[k] = value
                left = np.setdiff1d(np.arange(len(made)), which).tolist()
        for k in left:
            value = None
            try:
                one = attributes(file, int(found.groups[k])).get(part.path)
                if one is not None:
                    value = values(file, one)
                    if isinstance(value, list) and not isinstance(part.dtype, pl.Array):
                        value = value[0] if len(value) == 1 else None
                    pl.Series([value], dtype=part.dtype)  # of another type than in the episodes that were looked at
            except FileFormatError as error:
                self._problem(path, found.names[k], error)
                value = None
            except (TypeError, pl.exceptions.PolarsError) as error:
                self._problem(path, found.names[k], FileFormatError(
                    f"{path}: the attribute {part.path!r} is {value!r}, elsewhere {part.dtype} ({error})"
                ))  # fmt: skip
                value = None
            made[k] = value
        return pl.Series(made, dtype=part.dtype)

    def _constant(self, path: str, file: Hdf5File, found: Catalog, part: Part) -> pl.Series:
        """A dataset of each episode as one value."""
        whole = found.datasets(file, part.path)
        made: list[pl.Series] = []
        for k in range(len(found.names)):
            none = pl.Series(values=[None], dtype=part.dtype)
            try:
                one = whole[k]
                if one is None or not one.shape:
                    made.append(none)
                    continue
                alone = replace(whole, count=1, like=None, others={0: one}, broken={})
                reader = self._reader(path, file, found, replace(part, dtype=polars_type(one.type, one.item)), alone)
                column = reader.read(np.zeros(one.rows, np.int64), np.arange(one.rows), np.array([one.rows]))
                value = pl.Series(values=[column.to_list()], dtype=pl.List(column.dtype))
                made.append(value.cast(part.dtype) if len(column) == part.dtype.shape[0] else none)  # type: ignore[attr-defined]
                if made[-1] is none:
                    raise FileFormatError(
                        f"{path}: the dataset {part.path!r} is of shape {one.shape}, not as elsewhere"
                    )
            except FileFormatError as error:
                self._problem(path, found.names[k], error)
                made.append(none) if len(made) == k else None
            except pl.exceptions.PolarsError as error:
                self._problem(path, found.names[k], FileFormatError(f"{path}: the dataset {part.path!r}: {error}"))
                made.append(none)
        return pl.concat(made)

    def _reader(self, path: str, file: Hdf5File, found: Catalog, part: Part, alone: Any,
                pool: ThreadPoolExecutor | None = None) -> RowReader:  # fmt: skip
        texts = Texts(file)

        def make(raw: np.ndarray, one: Dataset) -> pl.Series:
            if part.how == "image":
                return image_column(raw, one)
            if part.how == "padded":
                return without_padding(raw)
            return to_series(raw, one.item, one.type, texts)

        def tell(k: int, error: FileFormatError) -> None:
            self._problem(path, found.names[k], error)

        alike = found.datasets(file, part.path) if alone is None else alone
        return RowReader(file, part.path, alike, make, part.dtype, tell, pool)

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        with self._open(path) as file, ThreadPoolExecutor(pl.thread_pool_size(), "robodf-hdf5") as pool:
            found, chosen, lengths = self._chosen_episodes(path, file)
            ends = np.cumsum(lengths[chosen])
            readers = {name: self._reader(path, file, found, self._part[name], None, pool) for name in columns}
            each = sum(reader.row_bytes for reader in readers.values())
            most = max(1, min(BATCH_ROWS, BATCH_BYTES // max(each, 1)))
            for first in range(0, len(rows), most):
                some = rows[first : first + most]
                which = np.searchsorted(ends, some, "right")
                steps = some - (ends - lengths[chosen])[which]
                episodes = chosen[which]
                yield pl.DataFrame([r.read(episodes, steps, lengths).alias(name) for name, r in readers.items()])


def _mask_names(file: Hdf5File, key: str, missing: set[str] | None = None) -> set[str]:
    """The episodes that a list of `mask/` names."""
    found = masks(file)
    if key not in found:
        if missing is not None:
            return missing
        raise OptionError(f"{file.path}: no mask {key!r}{hint(key, found)} Masks: {listing(found) or 'none'}")

    def tell(_: int, error: FileFormatError) -> None:
        raise error

    one = found[key]
    texts = Texts(file)
    alone = Alike(1, others={0: one}, rows=np.array([one.rows]))
    dtype = polars_type(one.type, one.item)
    reader = RowReader(file, f"mask/{key}", alone, lambda raw, d: to_series(raw, d.item, d.type, texts), dtype, tell)
    if one.rows > file.size:
        raise file.bad(one.address, f"the mask {key!r} says that it has {one.rows} names")
    if dtype != pl.String():
        raise file.bad(one.address, f"the mask {key!r} is {dtype}, not a list of names")
    return set(reader.read(np.zeros(one.rows, np.int64), np.arange(one.rows), np.array([one.rows])).to_list())


def episodes(paths: list[str], mask: str | None, on_error: str, storage: dict | None) -> Episodes | None:
    """A source over files that exist; None where the first that can be read holds no episodes.

    Up to 16 episodes, spread over all files, are looked at for the columns.
    """
    empty = Episodes.of(paths, storage, on_error)
    examples: list[Example] = []
    keys: dict[str, None] = {}
    wanted = _spread(len(paths), _EXAMPLES)
    each = max(1, _EXAMPLES // len(wanted))
    for k in wanted:
        path = paths[k]
        try:
            with Hdf5File(path, storage) as file:
                try:
                    found = empty.catalog(path, file)
                except NoEpisodes:
                    if not examples:
                        return None
                    raise
                keys |= dict.fromkeys(masks(file))
                examples += [found.example(file, n) for n in _spread(len(found.names), each)]
        except FileFormatError as error:
            if on_error == "raise":
                raise
            empty.log.add(path, str(error))
    if not examples:
        raise FileFormatError(f"read_hdf5: no episode of {listing(paths, 3)} can be read: {empty.problems[0]['error']}")
    steps = next((p for p in (steps_path(e.tree) for e in examples) if p is not None), None)
    if steps is None:
        raise FileFormatError(f"{examples[0].where}: there is no dataset with rows in it")
    if mask is not None and mask not in keys and len(wanted) == len(paths):
        raise OptionError(f"read_hdf5: no mask {mask!r}{hint(mask, keys)} Masks: {listing(keys) or 'none'}")
    made = parts(examples, steps, keys, _OWN)
    return replace(empty, parts=tuple(made), steps=steps, mask=mask)


def _spread(count: int, most: int) -> list[int]:
    """Some of so many: the first, the last, and others between them."""
    if count <= most:
        return list(range(count))
    return sorted({round(k * (count - 1) / (most - 1)) for k in range(most)}) if most > 1 else [0]
