"""Deleted rows: which files of deletes are about a file of data, and which rows of it they name.

The format: https://iceberg.apache.org/spec/#row-level-deletes, and of deletion vectors
https://iceberg.apache.org/puffin-spec/#deletion-vector-v1-blob-type.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.io.files import StorageOptions, open_file
from robodf.io.iceberg.bitmaps import positions_of
from robodf.io.iceberg.manifests import EQUALITY, POSITIONS, DataFile
from robodf.io.parquet_pages.kept import Kept

_PATH, _POSITION = 2147483546, 2147483545  # ids of the columns of position deletes
_MAGIC = b"\xd1\xd3\x39\x64"
_LARGEST = 1 << 30

REWRITE = (
    "rewrite its files without the deleted rows (in Spark: CALL catalog.system.rewrite_data_files(table => '...', "
    "options => map('delete-file-threshold', '1'))), then read the new snapshot"
)


@dataclass(frozen=True)
class Deletes:
    """Positions of deleted rows of the file that stands as `of` in metadata, in one file with `state`.

    A deletion vector lies from `offset` on, `length` bytes; without these it is a Parquet file of paths and positions.
    """

    path: str
    of: str
    rows: int
    offset: int | None = None
    length: int | None = None
    state: tuple | None = None


def by_file(files: Sequence[DataFile], where: str) -> list[tuple[Deletes, ...]]:
    """For each file of data what deletes rows of it. FileFormatError for deletes that robodf does not read."""
    data = [file for file in files if not file.content]
    by_path: dict[str, list[DataFile]] = {}
    by_partition: dict[tuple, list[DataFile]] = {}
    values: dict[tuple | None, list[DataFile]] = {}
    for file in files:
        if file.content == POSITIONS and file.of is not None:
            by_path.setdefault(file.of, []).append(file)
        elif file.content == POSITIONS:
            by_partition.setdefault(_partition(file), []).append(file)
        elif file.content == EQUALITY:  # of a file without a partition they are about all
            values.setdefault(_partition(file) if file.partition else None, []).append(file)
    for file in data:
        for deletes in (*values.get(_partition(file), ()), *values.get(None, ())):
            if deletes.sequence > file.sequence:
                raise FileFormatError(
                    f"{where}: rows are deleted by their values (equality deletes, as Flink writes them), which robodf "
                    f"does not read: {REWRITE}"
                )
    found = []
    for file in data:
        named = [d for d in by_path.get(file.told, ()) if d.sequence >= file.sequence]
        others = [d for d in by_partition.get(_partition(file), ()) if d.sequence >= file.sequence and _may(d, file)]
        vectors = [d for d in named if d.format == "puffin"]
        # A vector has all that the older files had of its own.
        chosen = vectors if vectors else [*named, *others]
        if len(vectors) > 1:
            raise FileFormatError(f"{where}: {file.path} has {len(vectors)} deletion vectors, where one may be")
        found.append(tuple(_deletes(d, file, where) for d in chosen))
    return found


def _partition(file: DataFile) -> tuple:
    return file.spec, tuple(sorted((key, repr(value)) for key, value in file.partition.items()))


def _may(deletes: DataFile, file: DataFile) -> bool:
    """Whether the bounds of the paths let it name a file. They may be cut: the least is less, the greatest more."""
    path = file.told.encode()
    low, high = deletes.lower.get(_PATH), deletes.upper.get(_PATH)
    return (not isinstance(low, bytes) or low <= path) and (not isinstance(high, bytes) or path <= high)


def _deletes(deletes: DataFile, file: DataFile, where: str) -> Deletes:
    if deletes.format == "parquet":
        return Deletes(deletes.path, file.told, deletes.rows)
    if deletes.format != "puffin":
        raise FileFormatError(f"{where}: {deletes.path} has deletes as {deletes.format}, not Parquet: {REWRITE}")
    if deletes.offset is None or deletes.length is None:
        raise FileFormatError(f"{where}: is damaged: it does not say where a deletion vector lies in {deletes.path}")
    return Deletes(deletes.path, file.told, deletes.rows, deletes.offset, deletes.length)


_read: Kept[np.ndarray] = Kept(64 << 20)
_named: Kept[pl.DataFrame] = Kept(64 << 20)


def deleted_rows(deletes: Sequence[Deletes], storage: StorageOptions, rows: int) -> np.ndarray:
    """The numbers of the deleted rows of a file that has `rows` of them, ascending, each once."""
    found = [_vector(one, storage) if one.offset is not None else _positions(one, storage) for one in deletes]
    positions = found[0] if len(found) == 1 else np.unique(np.concatenate(found))
    if len(positions) and (positions[0] < 0 or positions[-1] >= rows):
        worst = positions[0] if positions[0] < 0 else positions[-1]
        raise FileFormatError(
            f"{deletes[0].path}: is damaged: it deletes row {worst} of {deletes[0].of}, which has {rows} rows"
        )
    return positions


def _vector(deletes: Deletes, storage: StorageOptions) -> np.ndarray:
    key = (deletes.path, deletes.state, deletes.offset)
    found = _read.get(key)
    if found is None:
        found = _decoded(deletes, storage)
        if len(found) != deletes.rows:
            raise FileFormatError(f"{deletes.path}: deletes {len(found)} rows, where the table says {deletes.rows}")
        _read.put(key, found, found.nbytes + 200)
    return found


def _decoded(deletes: Deletes, storage: StorageOptions) -> np.ndarray:
    offset, length = deletes.offset, deletes.length
    assert offset is not None
    assert length is not None
    where = f"{deletes.path}: the deletion vector at byte {offset}"
    if not 12 <= length <= _LARGEST:
        raise FileFormatError(f"{where} is damaged: it has {length} bytes")
    with open_file(deletes.path, storage) as file:
        blob = file.read_at(offset, length)
    inside = blob[4:-4]
    sound = int.from_bytes(blob[:4], "big") == len(inside) and inside[:4] == _MAGIC
    if not sound or zlib.crc32(inside) != int.from_bytes(blob[-4:], "big"):
        raise FileFormatError(f"{where} is damaged: it does not have its length, its mark or its checksum")
    try:
        return positions_of(inside[4:], most=deletes.rows)
    except ValueError as error:
        raise FileFormatError(f"{where} is damaged: {error}") from error


def _positions(deletes: Deletes, storage: StorageOptions) -> np.ndarray:
    """The positions that a Parquet file names of one file; the whole of it is kept, as it may name others."""
    key = (deletes.path, deletes.state)
    table = _named.get(key)
    if table is None:
        table = _table(deletes, storage)
        _named.put(key, table, int(table.estimated_size()) + 200)
    found = table.filter(pl.col("path") == deletes.of).get_column("position")
    return np.unique(found.to_numpy())


def _table(deletes: Deletes, storage: StorageOptions) -> pl.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = deletes.path
    try:
        with open_file(path, storage) as file:
            if file.size > _LARGEST:
                raise FileFormatError(f"{path}: {file.size} bytes of deletes are too many: {REWRITE}")
            parquet = pq.ParquetFile(pa.BufferReader(file.read_at(0, file.size)))
            names = _columns(parquet.schema_arrow)
            if parquet.metadata.num_rows != deletes.rows:
                raise FileFormatError(
                    f"{path}: has {parquet.metadata.num_rows} rows, where the table says {deletes.rows}"
                )
            found = pl.from_arrow(parquet.read(columns=names))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise FileFormatError(f"{path}: its deletes cannot be read: {str(error).splitlines()[0]}") from error
    assert isinstance(found, pl.DataFrame)
    table = found.select(pl.col(names[0]).cast(pl.String).alias("path"), pl.col(names[1]).alias("position"))
    if table.schema["position"] != pl.Int64 or table.null_count().sum_horizontal().item():
        raise FileFormatError(f"{path}: is damaged: it has no path or no position for some deletes")
    return table


def _columns(schema: Any) -> list[str]:
    """The names of the columns of paths and positions, by id, or as the specification calls them."""
    ids: Mapping[bytes, str] = {(field.metadata or {}).get(b"PARQUET:field_id", b""): field.name for field in schema}
    found = [ids.get(str(id).encode(), name) for id, name in ((_PATH, "file_path"), (_POSITION, "pos"))]
    missing = [name for name in found if name not in schema.names]
    if missing:
        raise KeyError(f"it has no column {missing[0]}")
    return found
