"""Cloud files of any format: which one each is of, and their headers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any

import polars as pl

from robodf.errors import FileFormatError, OptionError, SchemaError, hint, listing
from robodf.io.clouds.header import CloudHeader, CloudReader
from robodf.io.error_log import ErrorLog
from robodf.io.files import FileReader, StorageOptions, open_file
from robodf.io.logs.unite import fitted, unite

FORMATS = ("pcd", "ply", "las", "kitti")
"""The formats; LAZ and COPC are LAS."""

EXTENSIONS = {"pcd": (".pcd",), "ply": (".ply",), "las": (".las", ".laz"), "kitti": (".bin",)}

SEARCHED = (*EXTENSIONS["pcd"], *EXTENSIONS["ply"], *EXTENSIONS["las"])
"""What is looked for in a folder. `.bin` can be anything: it is read where it is named."""

Fields = tuple[tuple[str, pl.DataType], ...]


def check_format(reader: str, format: str | None) -> None:
    """OptionError where a format is none of ours."""
    if format is not None and format not in FORMATS:
        raise OptionError(f"{reader}: format={format!r}{hint(format, FORMATS)} Formats: {', '.join(FORMATS)}")


def headers(paths: list[str], format: str | None, storage: StorageOptions, on_error: str, log: ErrorLog,
            ) -> list[tuple[str, CloudHeader]]:  # fmt: skip
    """The header of each file; one that cannot be read is told, and is left out where `on_error` says so."""
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(partial(_header, path, format, storage)) for path in paths]
    found = []
    for path, job in zip(paths, jobs):
        try:
            found.append((path, job.result()))
        except FileFormatError as error:
            if on_error == "raise":
                raise
            log.add(path, str(error))
    return found


def _header(path: str, format: str | None, storage: StorageOptions) -> CloudHeader:
    with open_cloud(path, storage) as file:
        found = reader_of(format or _format_of(file)).header(file)
    if found.points >> 32:
        raise FileFormatError(f"{path}: {found.points} points are more than can be numbered")
    return found


def open_cloud(path: str, storage: StorageOptions) -> FileReader:
    """The file, whose reads are counted."""
    from robodf.io.counting import read

    file = open_file(path, storage)
    file.counter = read
    return file


def reader_of(format: str) -> CloudReader:
    """The module that reads a format."""
    module: Any = import_module(f"robodf.io.clouds.{format}")
    return module


def _format_of(file: FileReader) -> str:
    from robodf.io.clouds.pcd import sniff

    head = file.read_at(0, min(4096, file.size))
    lower = file.path.lower()
    if head.startswith(b"LASF"):
        return "las"
    if head.startswith((b"ply\n", b"ply\r")):
        return "ply"
    if sniff(head, file.size):
        return "pcd"
    for name, extensions in EXTENSIONS.items():
        if lower.endswith(extensions):
            return name
    raise FileFormatError(f"{file.path}: neither a PCD, nor a PLY, nor a LAS file; pass format=, one of {FORMATS}")


def columns(found: list[tuple[str, CloudHeader]], wanted: tuple[str, ...] | None, reader: str) -> Fields:
    """The fields of all files by name, in the order of the first that has them; numbers of a type that holds all."""
    types: dict[str, tuple[str, pl.DataType]] = {}
    for path, header in found:
        for name, dtype in header.fields:
            first, known = types.setdefault(name, (path, dtype))
            both = unite(known, dtype)
            if both is None or isinstance(both, pl.List):
                raise SchemaError(
                    f"{reader}: the field {name!r} is {known} in {first}, and {dtype} in {path}; "
                    "leave it out by fields=, or read these files apart"
                )
            if both != known:
                types[name] = first, both
    if wanted is None:
        return tuple((name, dtype) for name, (_, dtype) in types.items())
    for name in wanted:
        if name not in types:
            raise OptionError(f"{reader}: no file has the field {name!r}{hint(name, types)} Fields: {listing(types)}")
    return tuple((name, types[name][1]) for name in wanted)


def frames(
    file: FileReader, header: CloudHeader, fields: dict[str, pl.DataType], take: Any, box: Any
) -> Iterator[tuple[Any, pl.DataFrame]]:
    """The numbers of points and their fields with the types of the frame, null in those that the file lacks."""
    own = dict(header.fields)
    names = tuple(name for name in fields if name in own)
    for numbers, values in reader_of(header.format).read(file, header, names, take, box):
        made = [
            fitted(pl.Series(name, values[name], own[name]), dtype)
            if name in own
            else pl.Series(name, [None], dtype).new_from_index(0, len(numbers))
            for name, dtype in fields.items()
        ]
        yield numbers, pl.DataFrame(made)


def sample(points: int, most: int | None) -> Any:
    """Which points of a file are taken where at most so many are wanted: evenly spread, the first among them."""
    if most is None or points <= most:
        return range(points)
    import numpy as np

    return np.arange(most, dtype=np.int64) * points // most
