"""Zarr folders as rows: the steps of a replay buffer, or the first axis of arrays."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError, NoFilesError, OptionError, hint, listing
from robodf.io.files import is_remote, natural_key
from robodf.io.hdf5.columns import polars_type
from robodf.io.hdf5.images import image_column
from robodf.io.hdf5.layout import column_of
from robodf.io.hdf5.objects import Dataset, Layout
from robodf.io.indexed_files import IndexedFiles
from robodf.io.source import Source
from robodf.io.zarr_arrays import Array, Store, arrays, chunk, column, is_store

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

Paths = str | os.PathLike | Iterable[str | os.PathLike]

ENDS = "meta/episode_ends"
_BATCH_BYTES, _BATCH_ROWS, _MOST_ROWS, _MOST_EPISODES = 32 << 20, 1 << 18, 1 << 31, 1 << 24


def read_zarr(
    paths: Paths, *, array: str | None = None, on_error: str = "raise", storage_options: dict | None = None
) -> PipelineDataFrame:
    """A lazy frame of Zarr folders of version 2 or 3: a folder, a glob, or a list of them.

    A *replay buffer* (UMI, diffusion policy: `data/*` and `meta/episode_ends`) has a row for each step: `path`,
    `episode` (episode_3), `episode_index` (3), `step` from 0, and the arrays of `data` by their names. Rows of an array
    are Array; images are `height, width, encoding, step, data` as of any reader.

    Otherwise a row is an index of the first axis: `path`, `row`, and `array="a/b"`, or all arrays where they are
    equally long. A filter on these light columns reads only the chunks that hold the rows left, each once.

    Arrays of objects are refused where they are read: their codecs unpickle. FileFormatError for damage; with
    `on_error="skip"` or `"collect"` a folder that cannot be indexed is left out and unreadable values are null
    (`df.errors` tells).

    A zip of a folder is `"zip://::replay_buffer.zarr.zip"`. Blosc needs `pip install 'robodf[zarr]'`.

    >>> import zarr, robodf as rd, numpy as np
    >>> root = zarr.open_group("buffer.zarr", mode="w", zarr_format=2)
    >>> _ = root.create_array("data/action", data=np.arange(6.0).reshape(3, 2), compressors=None)
    >>> _ = root.create_array("meta/episode_ends", data=np.array([2, 3]), compressors=None)
    >>> rd.read_zarr("buffer.zarr").select("episode", "step", "action").collect().rows()
    [('episode_0', 0, [0.0, 1.0]), ('episode_0', 1, [2.0, 3.0]), ('episode_1', 0, [4.0, 5.0])]
    """
    from robodf.io.read import from_source

    return from_source(zarr_rows(_folders(paths), array, on_error, storage_options))


def is_zarr(path: str) -> bool:
    """Whether a folder is a Zarr store."""
    return not is_remote(path) and is_store(os.path.expanduser(path))


def _folders(paths: Paths) -> list[str]:
    found: dict[str, None] = {}
    for item in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        name = os.fspath(item)
        if is_remote(name):
            found[name.rstrip("/")] = None
            continue
        name = os.path.expanduser(name.removeprefix("file://"))
        folders = [name] if os.path.isdir(name) else sorted(filter(os.path.isdir, glob.glob(name)), key=natural_key)
        if folders == [name] and not is_store(name):
            folders = sorted(
                (p for p in glob.glob(os.path.join(glob.escape(name), "*")) if is_store(p)), key=natural_key
            )
        folders = [f for f in folders if is_store(f)]
        if not folders:
            raise NoFilesError(f"no Zarr folder {name}: it would hold a file .zgroup, .zarray or zarr.json")
        found |= dict.fromkeys(os.path.abspath(f) for f in folders)
    if not found:
        raise NoFilesError("no folders: the list of paths is empty")
    return list(found)


@dataclass(frozen=True)
class _Column:
    name: str
    key: str
    of: str  # step or episode
    dtype: pl.DataType
    how: str = ""


@dataclass(frozen=True)
class ZarrRows(IndexedFiles):
    """Row by row what `rd.read_zarr` says."""

    columns: tuple[_Column, ...] = ()
    by_episode: bool = False
    known: tuple[dict[str, Any], ...] = field(default=(), compare=False, repr=False)  # arrays of each folder

    name = "zarr"  # type: ignore[assignment]
    __hash__ = Source.hash_once

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:  # type: ignore[override]
        own: dict[str, pl.DataType] = {"path": pl.String()}
        if self.by_episode:
            own |= {"episode": pl.String(), "episode_index": pl.Int64(), "step": pl.UInt32()}
        else:
            own["row"] = pl.UInt64()
        return own | {c.name: c.dtype for c in self.columns}

    @cached_property
    def heavy(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(c.name for c in self.columns if c.of == "step")

    @property
    def _options(self) -> tuple:
        return self.columns, self.by_episode

    def part(self, splits: Any) -> ZarrRows:
        made = super().part(splits)
        return replace(made, known=tuple(self.known[s.part] for s in splits))

    def _array(self, path: str, key: str) -> Array:
        found = self.known[self.paths.index(path)].get(key)
        if found is None:
            raise FileFormatError(f"{path}: there is no array {key!r}, which other folders have")
        if isinstance(found, FileFormatError):
            raise found
        return found

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        store = Store(path, self.storage)
        known = self.known[self.paths.index(path)]
        # One that cannot be read is told where it is asked for.
        steps = [c for c in self.columns if c.of == "step" and not isinstance(known.get(c.key), FileFormatError)]
        if not self.by_episode:
            counted = {c.key: _rows(store, self._array(path, c.key)) for c in steps}
            rows = next(iter(counted.values()), 0)
            if len(set(counted.values())) > 1:
                raise FileFormatError(f"{path}: its arrays differ in length: {counted}")
            return pl.DataFrame({"row": pl.int_range(rows, dtype=pl.UInt64, eager=True)})
        ends = episode_ends(store, self._array(path, ENDS))
        counts = np.diff(ends, prepend=0)
        total = int(ends[-1]) if len(ends) else 0
        for c in steps:
            there = self._array(path, c.key).shape[0]
            if there != total:
                raise FileFormatError(f"{path}: {c.key} has {there} rows, but {ENDS} says that there are {total} steps")
        if steps:
            _rows(store, self._array(path, steps[0].key))
        number = np.repeat(np.arange(len(ends)), counts)
        made: dict[str, pl.Series] = {}
        for name in columns or ("step",):
            if name == "step":
                made[name] = pl.Series((np.arange(total) - np.repeat(ends - counts, counts)).astype(np.uint32))
            elif name == "episode_index":
                made[name] = pl.Series(number.astype(np.int64))
            elif name == "episode":
                made[name] = pl.Series([f"episode_{k}" for k in range(len(ends))], dtype=pl.String).gather(number)
            else:
                c = next(c for c in self.columns if c.name == name)
                one = self._array(path, c.key)
                if one.shape[0] != len(ends):
                    raise FileFormatError(f"{path}: {c.key} has {one.shape[0]} rows for {len(ends)} episodes")
                with ThreadPoolExecutor(1) as pool:
                    reader = _Reader(store, one, c, pool)
                    made[name] = reader.read(np.arange(len(ends))).gather(number)
        return pl.DataFrame(made)

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        store = Store(path, self.storage)
        wanted = {c.name: c for c in self.columns}
        with ThreadPoolExecutor(pl.thread_pool_size(), "robodf-zarr") as pool:
            readers: dict[str, _Reader | None] = {}
            for name in columns:
                try:
                    readers[name] = _Reader(store, self._array(path, wanted[name].key), wanted[name], pool)
                except FileFormatError as error:
                    self._tell(path, error)
                    readers[name] = None
            each = sum(r.array.row_bytes for r in readers.values() if r is not None)
            most = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(each, 1)))
            for first in range(0, len(rows), most):
                some = rows[first : first + most]
                made = []
                for name, reader in readers.items():
                    none = pl.Series(name, [None], dtype=wanted[name].dtype)
                    try:
                        made.append(reader.read(some).alias(name) if reader else none.new_from_index(0, len(some)))
                    except FileFormatError as error:
                        self._tell(path, error)
                        made.append(none.new_from_index(0, len(some)))
                yield pl.DataFrame(made)

    def _tell(self, path: str, error: FileFormatError) -> None:
        if self.on_error == "raise":
            raise error
        self.log.add(path, str(error))


def _rows(store: Store, array: Array) -> int:
    """The rows of an array; FileFormatError where so many cannot be. Chunks may be left out, so files do not tell."""
    if array.shape[0] > _MOST_ROWS:
        raise FileFormatError(f"{store.name(array.key)}: {array.shape[0]} rows are more than can be read")
    if array.shape[0] > 1 << 22:
        last = (array.shape[0] - 1) // array.chunk[0], *(0 for _ in array.item)
        if chunk(store, array, last) is None and chunk(store, array, tuple(0 for _ in array.shape)) is None:
            raise FileFormatError(f"{store.name(array.key)}: {array.shape[0]} rows, of which neither end was written")
    return array.shape[0]


def episode_ends(store: Store, array: Array) -> np.ndarray:
    """The row after the last one of each episode: ascending."""
    integers = array.type.kind == "number" and array.type.dtype is not None and array.type.dtype.kind in "iu"
    if len(array.shape) != 1 or not integers or array.shape[0] > _MOST_EPISODES:
        raise FileFormatError(f"{store.name(array.key)}: {array.type} of shape {array.shape} are no ends of episodes")
    with ThreadPoolExecutor(1) as pool:
        c = _Column("ends", array.key, "episode", polars_type(array.type))
        found = _Reader(store, array, c, pool).read(np.arange(array.shape[0])).to_numpy()
    if len(found) and (
        found.astype(object).max() > _MOST_ROWS or found.min() < 0 or (np.diff(found.astype(np.int64)) < 0).any()
    ):
        raise FileFormatError(f"{store.name(array.key)}: the ends of episodes do not ascend, or are impossible")
    return found.astype(np.int64)


class _Reader:
    """Rows of an array in ascending order, batch by batch: each chunk is read once, side by side."""

    def __init__(self, store: Store, array: Array, wanted: _Column, pool: ThreadPoolExecutor):
        self.array = array
        self._store, self._wanted, self._pool = store, wanted, pool
        self._kept: dict[tuple[int, ...], np.ndarray | None] = {}
        self.path = store.name(array.key)

    def read(self, rows: np.ndarray) -> pl.Series:
        array = self.array
        out = np.empty((len(rows), *array.item, array.type.size), np.uint8)
        if len(rows) and out.size:
            self._fill(rows, out)
        raw = out.reshape(len(rows), array.row_bytes)
        if self._wanted.how == "image":
            return image_column(raw, _as_dataset(array))
        made = column(array, raw, self)
        return made.cast(self._wanted.dtype) if made.dtype != self._wanted.dtype else made

    def _fill(self, rows: np.ndarray, out: np.ndarray) -> None:
        array = self.array
        numbers = rows // array.chunk[0]
        cut = [0, *(np.nonzero(np.diff(numbers))[0] + 1).tolist(), len(rows)]
        grid = [-(-n // c) for n, c in zip(array.item, array.chunk[1:])]
        if np.prod(grid, dtype=object) > 1 << 20:
            raise FileFormatError(f"{self.path}: {grid} chunks in a row")
        fill = np.frombuffer(array.fill, np.uint8)
        jobs = []
        for low, high in zip(cut, cut[1:]):  # noqa: RUF007 - as it reads
            number = int(numbers[low])
            inside = rows[low:high] - number * array.chunk[0]
            for place in np.ndindex(*grid):
                edges = [slice(p * c, min((p + 1) * c, n)) for p, c, n in zip(place, array.chunk[1:], array.item)]
                jobs.append(((number, *place), inside, (slice(low, high), *edges)))
        last = int(numbers[-1])

        def run(job: tuple) -> None:
            at, inside, where = job
            whole = self._kept[at] if at in self._kept else chunk(self._store, array, at)
            if at[0] == last:
                held[at] = whole
            target = out[where]
            if whole is None:
                target[...] = fill
            else:
                target[...] = whole[(inside, *(slice(0, n) for n in target.shape[1:-1]))]

        held: dict[tuple[int, ...], np.ndarray | None] = {}  # the last ones may hold rows of the next batch
        list(self._pool.map(run, jobs))
        self._kept = held


def _as_dataset(array: Array) -> Dataset:
    return Dataset(0, array.shape, array.type, Layout("zarr"))


def zarr_rows(paths: list[str], array: str | None, on_error: str, storage: dict | None) -> ZarrRows:
    """A source over folders. Their metadata is read now, and the ends of episodes, which an index is made of."""
    from robodf.io.logs.model import check_on_error

    check_on_error(on_error)
    options = tuple(sorted((storage or {}).items()))
    empty = ZarrRows(tuple(paths), options, (), on_error)
    known: list[dict[str, Any]] = []
    states: list[tuple[int, int | str]] = []
    columns: dict[str, _Column] = {}
    by_episode: bool | None = None
    kept: list[str] = []
    for path in paths:
        try:
            store = Store(path, options)
            found = arrays(store)
            if not found:
                raise FileFormatError(f"{path}: no Zarr folder, or one without arrays")
            if error := next((a for a in found.values() if isinstance(a, FileFormatError)), None):
                if not any(isinstance(a, Array) for a in found.values()):
                    raise error
            mine, episodes = _columns(path, found, array)
            if by_episode is not None and episodes != by_episode:
                raise FileFormatError(f"{path}: episodes in some folders only; read them apart, or pass array=")
            _unite(columns, mine, path)
            last = found.get(ENDS) if episodes else None
            ends = episode_ends(store, last).tolist() if isinstance(last, Array) else None
        except FileFormatError as error:
            if on_error == "raise":
                raise
            empty.log.add(path, str(error))
            continue
        by_episode = episodes
        kept.append(path)
        known.append(found)
        sizes = sum(a.row_bytes * a.shape[0] for a in found.values() if isinstance(a, Array) and a.shape)
        states.append(
            (min(sizes, 1 << 62), hashlib.sha256(repr((sorted(found.items(), key=str), ends)).encode()).hexdigest())
        )
    if not kept:
        raise FileFormatError(f"read_zarr: none of the folders can be read: {empty.problems[0]['error']}")
    return replace(empty, paths=tuple(kept), state=tuple(states), numbers=(), columns=tuple(columns.values()),
                   by_episode=bool(by_episode), known=tuple(known))  # fmt: skip


def _columns(path: str, found: dict[str, Any], array: str | None) -> tuple[list[_Column], bool]:
    if array is not None:
        key = array.strip("/")
        if key not in found:
            raise OptionError(f"{path}: no array {array!r}{hint(array, found)} Arrays: {listing(found)}")
        return [_column(path, found, key, key.rsplit("/", 1)[-1] or "value", "step")], False
    if ENDS in found:
        steps = [k for k in found if k.startswith("data/")]
        each = [
            k for k in found if k.startswith("meta/") and k != ENDS and isinstance(found[k], Array) and found[k].shape
        ]
        ends = found[ENDS]
        if isinstance(ends, FileFormatError):
            raise ends
        per = [k for k in each if found[k].shape[0] == ends.shape[0]]
        names = {k: k.split("/", 1)[1].replace("/", "_") for k in steps} | {k: k.replace("/", "_") for k in per}
        own = {"path", "episode", "episode_index", "step"}
        names = {k: f"/{k}" if list(names.values()).count(n) > 1 or n in own else n for k, n in names.items()}
        if not steps:
            raise FileFormatError(f"{path}: {ENDS} without arrays in data/")
        made = [_column(path, found, k, names[k], "episode") for k in per]
        return made + [_column(path, found, k, names[k], "step") for k in steps], True
    lengths = {k: a.shape[0] if a.shape else None for k, a in found.items() if isinstance(a, Array)}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise FileFormatError(
            f"{path}: its arrays differ in length, so that they are no rows of one table; pass array=, one of: "
            + listing(f"{k} ({n})" if n is not None else k for k, n in lengths.items())
        )
    names = {k: k.replace("/", "_") or "value" for k in found}
    names = {k: f"/{k}" if list(names.values()).count(n) > 1 or n in ("path", "row") else n for k, n in names.items()}
    return [_column(path, found, k, names[k], "step") for k in found], False


def _column(path: str, found: dict[str, Any], key: str, name: str, of: str) -> _Column:
    array = found[key]
    if isinstance(array, FileFormatError):
        return _Column(name, key, of, pl.Binary())  # an error where it is read
    if not array.shape:
        raise FileFormatError(f"{path}: the array {key!r} is one value and has no rows")
    name = f"{name}_" if name in ("path", "row") else name
    if array.width:
        return _Column(name, key, of, pl.Array(pl.String(), array.item) if array.item else pl.String())
    dtype, how = column_of("", _as_dataset(array))
    return _Column(name, key, of, dtype, how)


def _unite(columns: dict[str, _Column], mine: list[_Column], path: str) -> None:
    from robodf.io.hdf5.layout import common

    for c in mine:
        known = columns.setdefault(c.name, c)
        both = common(known.dtype, c.dtype)
        if both is None or known.of != c.of:
            raise FileFormatError(f"{path}: {c.key} is {c.dtype}, in other folders {known.dtype}: read them apart")
        columns[c.name] = replace(known, dtype=both)
