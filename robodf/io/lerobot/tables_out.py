"""The Parquet files of a data set that is written: frames, episodes and tasks, cut by size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from robodf.compat import explode_options

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_EPISODES_AT_ONCE = 100


class Files:
    """Tables that follow each other in files of about `most_bytes`; each table is a row group."""

    def __init__(self, folder: Path, pattern: str, chunk_size: int, most_bytes: int):
        self._folder, self._pattern, self._chunk_size, self._most = folder, pattern, chunk_size, most_bytes
        self._writer: pq.ParquetWriter | None = None
        self._file: Any = None
        self.paths: list[Path] = []

    @property
    def place(self) -> tuple[int, int]:
        """The numbers of chunk and file that the next table goes to."""
        return divmod(len(self.paths) - (self._writer is not None), self._chunk_size)

    def write(self, table: pa.Table) -> tuple[int, int]:
        """Add a table; where it went."""
        place = self.place
        if self._writer is None:
            path = self._folder / self._pattern.format(chunk_index=place[0], file_index=place[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "wb")  # noqa: SIM115 - closed with the writer
            self._writer = pq.ParquetWriter(self._file, table.schema, compression="snappy", write_page_index=True)
            self.paths.append(path)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        if self._file.tell() >= self._most:
            self.close()
        return place

    def close(self) -> None:
        """Finish the file that is open."""
        if self._writer is not None:
            self._writer.close()
            self._file.close()
        self._writer = None

    def column(self, name: str) -> Iterator[np.ndarray]:
        """A column of numbers of the finished files, in pieces (rows, components)."""
        for path in self.paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(16_384, columns=[name]):
                    yield flat(pl.Series(pl.from_arrow(batch.column(0))))


class EpisodeFiles:
    """The files of meta/episodes."""

    def __init__(self, folder: Path, chunk_size: int, most_bytes: int):
        self._files = Files(folder, EPISODES_PATH, chunk_size, most_bytes)
        self._rows: list[dict[str, Any]] = []
        self._schema: pa.Schema | None = None

    @property
    def paths(self) -> list[Path]:
        return self._files.paths

    def add(self, row: dict[str, Any]) -> None:
        """The next episode."""
        self._rows.append(row)
        if len(self._rows) >= _EPISODES_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._files.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        chunk, file = self._files.place
        here = {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        rows = [{**row, **here} for row in self._rows]
        if self._schema is None:
            self._schema = pa.schema([(name, _type(value)) for name, value in rows[0].items()])
        self._files.write(pa.Table.from_pylist(rows, schema=self._schema))
        self._rows = []


def _type(value: Any) -> pa.DataType:
    if isinstance(value, list):
        return pa.list_(_type(value[0]))
    return pa.string() if isinstance(value, str) else pa.int64() if isinstance(value, int) else pa.float64()


def write_tasks(folder: Path, texts: list[str]) -> Path:
    """The tasks as pandas writes a frame whose index they are: LeRobot looks them up by that index."""
    table = pa.table({"task_index": pa.array(range(len(texts)), pa.int64()), "task": pa.array(texts, pa.string())})

    def about(name: str, field: str, kind: str, numpy: str) -> dict[str, Any]:
        return {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": numpy, "metadata": None}

    described = {
        "index_columns": ["task"],
        "column_indexes": [{**about(None, None, "unicode", "object"), "metadata": {"encoding": "UTF-8"}}],  # type: ignore[arg-type]
        "columns": [about("task_index", "task_index", "int64", "int64"), about("task", "task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    path = folder / "meta" / "tasks.parquet"
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)
    return path


def arrow_type(dtype: pl.DataType, shape: tuple[int, ...]) -> pa.DataType:
    """The type of a column in the files: lists stay lists, arrays arrays, and a vector of one value is the value."""
    sizes: list[int | None] = []
    inner = dtype
    while isinstance(inner, (pl.List, pl.Array)):
        sizes.append(inner.size if isinstance(inner, pl.Array) else None)
        inner = inner.inner  # type: ignore[assignment]
    if isinstance(inner, pl.String):
        return pa.string()
    found = pl.Series([], dtype=inner).to_arrow().type
    if shape == (1,):
        return found
    for size in reversed(sizes):
        found = pa.list_(found) if size is None else pa.list_(found, size)
    return found


def flat(column: pl.Series) -> np.ndarray:
    """Numbers as (rows, components)."""
    rows = len(column)
    while isinstance(column.dtype, (pl.List, pl.Array)):
        column = column.explode(**explode_options())
    return column.cast(pl.Float64).to_numpy().reshape(rows, -1)
