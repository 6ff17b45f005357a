"""One dataset of HDF5 files as rows of its first axis, and the list of all datasets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from robodf.errors import FileFormatError, OptionError, hint, listing
from robodf.io.hdf5.alike import Alike
from robodf.io.hdf5.columns import polars_type, to_series
from robodf.io.hdf5.datatype import Type
from robodf.io.hdf5.file import Hdf5File
from robodf.io.hdf5.filters import GZIP, SHUFFLE
from robodf.io.hdf5.heaps import Texts, children
from robodf.io.hdf5.images import image_column, without_padding
from robodf.io.hdf5.layout import Tree, column_of, common, walk
from robodf.io.hdf5.objects import Dataset, dataset, group
from robodf.io.hdf5.reading import BATCH_BYTES, BATCH_ROWS, RowReader, believable
from robodf.io.indexed_files import IndexedFiles
from robodf.io.source import Source

_FILTERS = {
    GZIP: "gzip",
    SHUFFLE: "shuffle",
    3: "fletcher32",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32015: "zstd",
}


def at_path(file: Hdf5File, path: str) -> int | None:
    """The address of the header of what a path names, or None. Only links within the file are followed."""
    address = file.root
    for name in filter(None, path.split("/")):
        above = group(file, address)
        links = children(file, above) if above is not None else []
        address = next((link.address for link in links if link.name == name), None)
        if address is None:
            return None
    return address


def dataset_at(file: Hdf5File, path: str) -> Dataset:
    """The dataset at a path; FileFormatError with what there is, where it is not."""
    address = at_path(file, path)
    found = dataset(file, address) if address is not None else None
    if found is not None:
        return replace(found, shape=(1,)) if found.shape == () else found
    names = list(walk(file, file.root).datasets) if address is None else []
    what = "is a group, not a dataset" if address is not None else "is not there"
    said = f"{hint(path, names)} Datasets: {listing(names)}" if names else ""
    raise FileFormatError(f"{file.path}: {path!r} {what}{said}")


@dataclass(frozen=True)
class DatasetRows(IndexedFiles):
    """path, row, and the elements: a record's fields, or one column called as the dataset is."""

    dataset: str = ""
    values: tuple[tuple[str, pl.DataType], ...] = ()
    how: str = ""

    name = "hdf5"  # type: ignore[assignment]
    __hash__ = Source.hash_once

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:  # type: ignore[override]
        return {"path": pl.String(), "row": pl.UInt64(), **dict(self.values)}

    @cached_property
    def heavy(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(name for name, _ in self.values)

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        with Hdf5File(path, dict(self.storage)) as file:
            found = dataset_at(file, self.dataset)
            return pl.DataFrame({"row": pl.int_range(believable(file, found), dtype=pl.UInt64, eager=True)})

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        with (
            Hdf5File(path, dict(self.storage)) as file,
            ThreadPoolExecutor(pl.thread_pool_size(), "robodf-hdf5") as pool,
        ):
            found = dataset_at(file, self.dataset)
            alone = Alike(1, rows=np.array([found.rows]), others={0: found})
            texts = Texts(file)

            def make(raw: np.ndarray, one: Dataset) -> pl.Series:
                if self.how:
                    column = image_column(raw, one) if self.how == "image" else without_padding(raw)
                    return column.alias(columns[0]).to_frame().to_struct()
                return _columns(raw, one, dict(self.values), columns, texts)

            def tell(_: int, error: FileFormatError) -> None:
                if self.on_error == "raise":
                    raise error
                self.log.add(path, str(error), self.dataset)

            wanted = pl.Struct({name: self.schema[name] for name in columns})
            reader = RowReader(file, self.dataset, alone, make, wanted, tell, pool)
            most = max(1, min(BATCH_ROWS, BATCH_BYTES // max(found.row_bytes, 1)))
            for first in range(0, len(rows), most):
                some = rows[first : first + most]
                column = reader.read(np.zeros(len(some), np.int64), some, np.array([found.rows]))
                yield column.struct.unnest()


def _columns(raw: np.ndarray, found: Dataset, types: dict[str, pl.DataType], columns: tuple[str, ...],
             texts: Texts) -> pl.Series:  # fmt: skip
    made = []
    if found.type.kind == "record" and not found.item:
        fields = {name: (at, kind) for name, at, kind in found.type.fields}
        for name in columns:
            if name not in fields:
                raise FileFormatError(
                    f"{texts.path}: the records have no field {name!r}, which those of other files have"
                )
            at, kind = fields[name]
            made.append(_as(to_series(raw[:, at : at + kind.size], (), kind, texts), name, types[name], texts))
    else:
        made = [_as(to_series(raw, found.item, found.type, texts), columns[0], types[columns[0]], texts)]
    return pl.DataFrame(made).to_struct()


def _as(series: pl.Series, name: str, dtype: pl.DataType, texts: Texts) -> pl.Series:
    if series.dtype != dtype:
        if common(series.dtype, dtype) != dtype:
            raise FileFormatError(f"{texts.path}: the values are {series.dtype}, those of other files {dtype}")
        series = series.cast(dtype)
    return series.alias(name)


def dataset_rows(paths: list[str], path: str, on_error: str, storage: dict | None) -> DatasetRows:
    """A source over files that exist. The headers of this dataset in the first and the last file are read now."""
    empty = DatasetRows.of(paths, storage, on_error, dataset=path.strip("/"))
    values: dict[str, pl.DataType] = {}
    how = ""
    for k in sorted({0, len(paths) - 1}):
        try:
            with Hdf5File(paths[k], storage) as file:
                found = dataset_at(file, path)
                mine, how = _types(found, path)
        except FileFormatError as error:
            if on_error == "raise":
                raise
            empty.log.add(paths[k], str(error))
            continue
        for name, dtype in mine.items():
            both = common(values.get(name, dtype), dtype)
            if both is None:
                raise FileFormatError(
                    f"{paths[k]}: {name!r} of {path!r} is {dtype}, in {paths[0]} it is {values[name]}"
                )
            values[name] = both
    if not values:
        raise FileFormatError(f"read_hdf5: {path!r} can be read of none of the files: {empty.problems[0]['error']}")
    return replace(empty, values=tuple(values.items()), how=how)


def _types(found: Dataset, path: str) -> tuple[dict[str, pl.DataType], str]:
    if found.problem or found.shape is None:
        raise FileFormatError(f"{path!r} cannot be read: {found.problem or 'it has no elements'}")
    kind: Type = found.type
    if kind.kind == "record" and not found.item:
        fields = {name: polars_type(t) for name, _, t in kind.fields}
        if not fields.keys() & {"path", "row"}:
            return fields, ""
    dtype, how = column_of(path, found)
    name = path.strip("/").rsplit("/", 1)[-1]
    return {f"{name}_" if name in ("path", "row") else name: dtype}, how


# -- lists ----------------------------------------------------------------------------------------------------

LISTED: dict[str, pl.DataType] = {
    "path": pl.String(), "dataset": pl.String(), "shape": pl.List(pl.UInt64()), "type": pl.String(),
    "chunk": pl.List(pl.UInt64()), "filters": pl.List(pl.String()), "bytes": pl.UInt64(), "problem": pl.String(),
}  # fmt: skip


def table(tree: Tree) -> pl.DataFrame:
    """The datasets of a tree, and the links that lead elsewhere (as their `problem`), in natural order."""
    rows = [
        (path, list(d.shape or ()), str(d.type), list(d.layout.chunk) or None,
         [_FILTERS.get(f.number, f.name or str(f.number)) for f in d.filters], _bytes(d), d.problem or None)
        for path, d in tree.datasets.items()
    ]  # fmt: skip
    rows += [(link.name, None, None, None, [], None, link.target) for link in tree.links]
    types = {name: dtype for name, dtype in LISTED.items() if name != "path"}
    return pl.DataFrame(rows, schema=types, orient="row")


def _bytes(d: Dataset) -> int | None:
    size = d.row_bytes * (d.rows if d.shape else 1 if d.shape == () else 0)
    return size if size < 1 << 63 else None


@dataclass(frozen=True)
class Listing(IndexedFiles):
    """A row for each dataset of the files."""

    name = "hdf5 datasets"  # type: ignore[assignment]
    schema = LISTED  # type: ignore[assignment]

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        with Hdf5File(path, dict(self.storage)) as file:
            return table(walk(file, file.root))

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        raise OptionError("a list of datasets has no heavy columns")
