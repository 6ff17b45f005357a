"""What each output format is called, accepts and cannot hold, and the Polars plan that writes it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from robodf.compat import KEEP_ORDER
from robodf.errors import OptionError, SchemaError, hint, listing

# What `write` itself decides: passing one of these through would break order, atomicity or streaming.
_OWN = {"self", "path", "maintain_order", "storage_options", "sync_on_close", "mkdir", "lazy", "engine"}
_OWN |= {"optimizations", "sinked_paths_callback", "check_extension", "retries"}

_GROUP_BYTES = 128 << 20  # a row group is held in memory until it is complete
_GROUP_ROWS = 122_880  # Polars' own default, kept for ordinary rows
_BLOB_BYTES = 512 << 10  # taken for one binary value: a compressed frame or a small cloud
_LIST_LENGTH = 1024  # taken for one list: a laser scan
_PAGE_BYTES = 128 << 10
"""Of a page where values may be large: one row is then fetched alone, by the page index that Polars writes.

Against Polars' own 1 MiB, files of images are 0.4 to 0.7 % larger, and writing and scanning them takes the same time
within the noise of measuring; pages of 64 KiB took a tenth longer to write.
"""
_PLAIN_ROWS = 144
"""Of at most 128 values Polars makes a dictionary, whatever they are: one page, which each row needs, of all images."""
_COMPRESSED = {"gzip": ".gz", "zstd": ".zst"}


@dataclass(frozen=True)
class Format:
    """One output format: the extensions that mean a single file (the first names parts), its Polars sink."""

    name: str
    extensions: tuple[str, ...]
    sink: str
    compressible: bool = False  # may end in .gz or .zst as well
    hive: bool = False  # readers take partition keys from folder names, so files leave them out

    def matches(self, name: str) -> bool:
        """Whether a file of this name is one of this format."""
        name = name.lower()
        if self.compressible:
            for suffix in _COMPRESSED.values():
                name = name.removesuffix(suffix)
        return name.endswith(self.extensions)

    def part_extension(self, options: Mapping[str, Any]) -> str:
        """The ending of part files, `.csv.gz` where the options compress."""
        return self.extensions[0] + (_COMPRESSED.get(options.get("compression", ""), "") if self.compressible else "")


FORMATS: Mapping[str, Format] = {
    f.name: f
    for f in (
        Format("parquet", (".parquet", ".pq"), "sink_parquet", hive=True),
        Format("csv", (".csv", ".tsv"), "sink_csv", compressible=True),
        Format("ndjson", (".ndjson", ".jsonl", ".json"), "sink_ndjson", compressible=True),
        Format("json", (".json",), "sink_ndjson"),  # written as lines, then made one array
        Format("ipc", (".arrow", ".ipc", ".feather"), "sink_ipc", hive=True),
    )
}


def format_named(name: str) -> Format:
    """The format of this name, or OptionError with the close ones."""
    if name not in FORMATS:
        raise OptionError(f"no output format {name!r}{hint(str(name), FORMATS)} Formats: {listing(FORMATS)}.")
    return FORMATS[name]


def checked_options(format: Format, options: Mapping[str, Any], schema: pl.Schema, target: str) -> dict[str, Any]:
    """The options for the Polars sink with robodf's defaults, or OptionError before anything runs."""
    sink = getattr(pl.LazyFrame, format.sink)
    known = {n for n in inspect.signature(sink).parameters if n not in _OWN and not n.startswith("_")}
    if format.name == "json":
        known = {"credential_provider"}  # an array is made from lines, which cannot be compressed before
    for name in options:
        if name not in known:
            raise OptionError(
                f"no option {name!r} for writing {format.name}{hint(name, known)} Options: {listing(sorted(known))}."
            )
    full = _defaults(format, schema, target) | dict(options)
    try:
        # Only the plan is made: Polars checks the values without touching the path.
        run_sink(pl.LazyFrame(schema=schema), "unused", format, full, lazy=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"options for writing {format.name}: {error}") from error
    return full


def _defaults(format: Format, schema: pl.Schema, target: str) -> dict[str, Any]:
    name = target.lower()
    found: dict[str, Any] = {}
    if format.compressible:
        for compression, suffix in _COMPRESSED.items():
            if name.endswith(suffix):
                found["compression"] = compression
                name = name.removesuffix(suffix)
    if format.name == "csv" and name.endswith(".tsv"):
        found["separator"] = "\t"
    if format.name == "ipc":
        found["compression"] = "zstd"
    if format.name == "parquet" and any(_holds(dtype, (pl.Binary,)) for dtype in schema.dtypes()):
        found["data_page_size"] = _PAGE_BYTES
    if format.name in ("parquet", "ipc"):
        # Polars cuts groups by rows alone: 122,880 camera frames would have to fit into memory.
        row = max(1, sum(map(_row_bytes, schema.dtypes())))
        rows = _GROUP_BYTES // row
        if "data_page_size" in found and rows < _PLAIN_ROWS and _PLAIN_ROWS * row < 3 * _GROUP_BYTES:
            rows = _PLAIN_ROWS
        if rows < _GROUP_ROWS:
            found["row_group_size" if format.name == "parquet" else "record_batch_size"] = max(16, rows)
    return found


def _row_bytes(dtype: pl.DataType) -> int:
    """Bytes that one value of this type may well take."""
    if isinstance(dtype, pl.Binary):
        return _BLOB_BYTES
    if isinstance(dtype, pl.List):
        return _LIST_LENGTH * _row_bytes(_dtype(dtype.inner))
    if isinstance(dtype, pl.Array):
        return dtype.size * _row_bytes(_dtype(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return sum(_row_bytes(_dtype(f.dtype)) for f in dtype.fields)
    small = (pl.Int8, pl.UInt8, pl.Boolean)
    return 1 if isinstance(dtype, small) else 4 if isinstance(dtype, (pl.Float32, pl.Int32, pl.UInt32)) else 8


def _dtype(dtype: Any) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


def check_types(format: Format, schema: pl.Schema) -> None:
    """SchemaError for columns that the format cannot hold, before anything runs."""
    for name, dtype in schema.items():
        if _holds(dtype, (pl.Object,)):
            raise SchemaError(f"column {name!r} holds Python objects, which no file format keeps; convert it first")
        if format.name == "csv" and isinstance(dtype, (pl.List, pl.Array, pl.Struct, pl.Binary, pl.Duration)):
            raise SchemaError(
                f"CSV cannot hold column {name!r} of type {dtype}; write Parquet or IPC, or convert "
                f"it (unnest a struct, cast a duration to integers, encode bytes as hex), or drop it"
            )
        if format.sink == "sink_ndjson" and _holds(dtype, (pl.Binary,)):
            raise SchemaError(
                f"JSON cannot hold the bytes of column {name!r}; write Parquet or IPC, or encode "
                f"them as text first (`.bin.encode('base64')`), or drop it"
            )


def _holds(dtype: pl.DataType, types: tuple[type, ...]) -> bool:
    if isinstance(dtype, (pl.List, pl.Array)):
        return _holds(_dtype(dtype.inner), types)
    if isinstance(dtype, pl.Struct):
        return any(_holds(_dtype(f.dtype), types) for f in dtype.fields)
    return isinstance(dtype, types)


def run_sink(lf: pl.LazyFrame, path: Any, format: Format, options: Mapping[str, Any], **more: Any) -> None:
    """Run the query by the streaming engine into `path` (a file, URL or pl.PartitionBy), rows in order.

    With `lazy=True` nothing runs, but Polars looks at the options.
    """
    sink = getattr(lf, format.sink)
    if "check_extension" in inspect.signature(sink).parameters:
        more["check_extension"] = False  # the name was checked against the format already
    sink(path, **options, **more, maintain_order=True, engine="streaming", optimizations=KEEP_ORDER)


def lines_to_array(path: Path) -> None:
    """Turn a file of JSON lines into one JSON array, one object a line, reading 1 MiB at a time."""
    lines = path.with_name(path.name + ".lines")
    os.rename(path, lines)
    with open(lines, "rb") as source, open(path, "wb") as out:
        out.write(b"[")
        before = b"\n"  # Polars ends each line by the only bare newline in it: newlines in text are escaped
        while block := source.read(1 << 20):
            ended = block.endswith(b"\n")
            out.write(before + (block[:-1] if ended else block).replace(b"\n", b",\n"))
            before = b",\n" if ended else b""
        out.write(b"\n]\n")
    os.unlink(lines)
