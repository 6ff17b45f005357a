"""Directories of part files: names, hive folders, what an existing one holds, and adding parts to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from robodf.errors import ColumnNotFoundError, OptionError, SchemaError, column_not_found
from robodf.io.manifest import MANIFEST
from robodf.io.publish import link_or_copy
from robodf.io.sink_format import FORMATS, Format

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_PART = re.compile(r"part-(\d{5,18})(\..+)\Z")
_SIDE_FILES = {"_SUCCESS", "_metadata", "_common_metadata", ".DS_Store"}  # of other writers, hold no rows
_KEY_TYPES = (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Date, pl.Datetime, pl.Time, pl.Decimal)


def check_keys(partition_by: Sequence[str], schema: pl.Schema) -> None:
    """Raise where a frame of this schema cannot be partitioned by these columns into folders."""
    if len(set(partition_by)) != len(partition_by):
        raise OptionError(f"partition_by names a column twice: {list(partition_by)}")
    for name in partition_by:
        if name not in schema:
            raise _missing(name, schema)
        # Other readers skip folders that begin with _ or ., and take the first = for the separator.
        if re.search(r"[/\\=%\x00-\x1f]|^[._]|^$", name):
            raise OptionError(f"column {name!r} cannot name a folder; rename it before partitioning by it")
        dtype = schema[name]
        if not (dtype.is_integer() or dtype.is_float() or isinstance(dtype, _KEY_TYPES)):
            raise SchemaError(
                f"cannot partition by column {name!r} of type {dtype}: folder names are text; "
                f"partition by a column of text, numbers, booleans or times"
            )
    if partition_by and len(partition_by) == len(schema):
        raise OptionError("partition_by names all columns, which leaves none for the files; keep one out of it")


def _missing(name: str, schema: pl.Schema) -> ColumnNotFoundError:
    return column_not_found(name, schema, "partition_by")


def bad_key(batch: pl.DataFrame, partition_by: Sequence[str]) -> str | None:
    """Why a key in this batch has no folder of its own, or None.

    Readers take an empty name for null, and the folder of nulls has a name that a text could equal: rows of
    both would go to one file, and one of them be lost.
    """
    for name in partition_by:
        if not isinstance(batch.schema[name], (pl.String, pl.Categorical, pl.Enum)):
            continue
        found = batch.get_column(name).cast(pl.String)
        if found.is_in(["", NULL_FOLDER]).any():
            return (
                f"column {name!r} holds an empty text or {NULL_FOLDER!r}, which as folder names "
                f"mean null; replace these values (for example by null) before partitioning by it"
            )
    return None


def name_parts(folder: Path, extension: str) -> None:
    """Give Polars' files, `00000000.parquet`, their names `part-00000.parquet`, folder by folder.

    Polars escapes keys in folder names, except for characters that its own readers then take for a pattern.
    """
    for root, folders, files in os.walk(folder, topdown=False):
        for name in folders:
            if (escaped := re.sub(r"[*?\[\]{}\\]", lambda m: f"%{ord(m[0]):02X}", name)) != name:
                os.rename(Path(root, name), Path(root, escaped))
        by_number = {int(f.split(".")[0], 16): f for f in files}  # Polars counts in hexadecimal digits
        width = max(5, len(str(max(by_number, default=0))))
        for number in sorted(by_number):
            os.rename(Path(root, by_number[number]), Path(root, f"part-{number:0{width}d}{extension}"))


def data_files(folder: Path) -> Iterator[Path]:
    """The data files under a directory, relative to it, in reading order."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if not is_side_file(name):
                yield Path(root, name).relative_to(folder)


def is_side_file(name: str) -> bool:
    return name in _SIDE_FILES or name.endswith(".crc")


def check_overwrite(target: Path) -> None:
    """OptionError where a directory holds anything but data files: replacing it would delete that."""
    for path in data_files(target):
        if not any(f.matches(path.name) for f in FORMATS.values()):
            raise OptionError(
                f"{target} holds {str(path)!r}, which is not a data file, so it is not overwritten; "
                f"write to another directory, or remove that file first"
            )


def check_append(
    target: Path, format: Format, partition_by: Sequence[str], schema: pl.Schema, options: Mapping[str, Any]
) -> None:
    """Raise where rows of `schema` do not fit what the directory holds."""
    first = None
    for path in data_files(target):
        if path.name == MANIFEST:
            raise OptionError(
                f"{target} has a {MANIFEST}, which lists its files; a copy of a data set of an object store is not "
                f"added to: read it and write it to a new directory, or append to the data set in the store"
            )
        if not format.matches(path.name):
            raise OptionError(
                f"cannot append {format.name} to {target}, which holds {str(path)!r}; append in its "
                f"own format, or write to a new directory"
            )
        keys = [unquote(part.split("=", 1)[0]) for part in path.parent.parts if "=" in part]
        if keys != list(partition_by):
            there = f"partitioned by {keys}" if keys else "not partitioned"
            raise SchemaError(f"cannot append to {target}: it is {there}; pass partition_by={keys}")
        first = first or target / path
    if first is None:
        return
    ours = {n: t for n, t in schema.items() if not format.hive or n not in partition_by}
    theirs = _schema_of(first, format, options)
    if theirs is None:
        return
    if isinstance(theirs, Mapping):
        same = dict(theirs) == ours and list(theirs) == list(ours)
        shown, own = _shown(theirs), _shown(ours)
    else:
        same = theirs == list(ours) if format.name == "csv" else set(theirs) == set(ours)
        shown, own = ", ".join(theirs), ", ".join(ours)
    if not same:
        raise SchemaError(
            f"cannot append to {target}: its columns differ from the frame's; select and cast them to fit\n"
            f"  there: {shown}\n  frame: {own}"
        )


def _shown(schema: Mapping[str, Any]) -> str:
    return ", ".join(f"{n}: {t}" for n, t in schema.items())


def _schema_of(path: Path, format: Format, options: Mapping[str, Any]) -> Mapping[str, Any] | list[str] | None:
    """Types where the format keeps them, names where it does not, None where an empty file tells neither."""
    if format.name == "parquet":
        return pl.read_parquet_schema(path)
    if format.name == "ipc":
        return pl.read_ipc_schema(path)
    if path.stat().st_size == 0:
        return None
    if format.name == "csv":
        if not options.get("include_header", True):
            return None
        look = {"separator": options.get("separator", ","), "quote_char": options.get("quote_char", '"')}
        return pl.scan_csv(path, infer_schema_length=0, **look).collect_schema().names()
    if format.name == "ndjson":
        return pl.scan_ndjson(path, infer_schema_length=1).collect_schema().names()
    with open(path, "rb") as file:
        start, line = file.readline(1 << 20), file.readline()
    if start == b"[\n" and line == b"]\n":
        return None
    if start == b"[\n" and line.startswith(b"{"):
        return pl.read_ndjson(line.rstrip(b"\n,")).columns
    return pl.read_json(path).columns  # an array of another writer, which may have no lines


def merge(old: Path, new: Path, into: Path) -> list[Path]:
    """Make `into` of the files of `old`, linked, and of `new`, moved and numbered after them; returns these.

    Where a folder passes 99,999 parts its older parts get longer numbers too: order by name stays row order.
    """
    into.mkdir()
    added: list[Path] = []
    for root in sorted({*_folders(old), *_folders(new)}):
        (into / root).mkdir(parents=True, exist_ok=True)
        there = _files(old / root)
        fresh = [m for n in _files(new / root) if (m := _PART.match(n))]
        numbers = [int(m[1]) for n in there if (m := _PART.match(n))]
        first = max(numbers, default=-1) + 1
        width = max(5, len(str(first + len(fresh) - 1)))
        for name in there:
            part = _PART.match(name)
            link_or_copy(old / root / name, into / root / (_part_name(int(part[1]), width, part[2]) if part else name))
        for number, part in enumerate(sorted(fresh, key=lambda m: int(m[1])), first):
            path = into / root / _part_name(number, width, part[2])
            os.rename(new / root / part[0], path)
            added.append(path)
    return added


def _part_name(number: int, width: int, extension: str) -> str:
    return f"part-{number:0{width}d}{extension}"


def _folders(base: Path) -> Iterator[Path]:
    for root, _, _ in os.walk(base):
        yield Path(root).relative_to(base)


def _files(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if not e.is_dir(follow_symlinks=False)) if folder.is_dir() else []
