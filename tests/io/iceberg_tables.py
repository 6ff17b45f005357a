"""Iceberg tables by pyiceberg, with a catalog in a folder."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def catalog(where):
    """A catalog in a file; its connections are closed at the end."""
    from pyiceberg.catalog.sql import SqlCatalog

    found = SqlCatalog("tests", uri=f"sqlite:///{where}/catalog.db", warehouse=str(where))
    found.create_namespace("ns")
    try:
        yield found
    finally:
        found.engine.dispose()


def table_of(found, *frames, schema=None, partition=None, properties=None, version=2) -> Any:
    """A table with a commit for each frame; `partition` is a column and a transform."""
    name = f"ns.t{len(found.list_tables('ns'))}"
    told = {"format-version": str(version), **(properties or {})}
    table = found.create_table(name, schema or frames[0].to_arrow().schema, properties=told)
    if partition is not None:
        from pyiceberg.transforms import parse_transform

        column, transform = partition
        with table.update_spec() as spec:
            spec.add_field(column, parse_transform(transform), f"{column}_part")
    for frame in frames:
        table.append(frame.to_arrow())
    return table


def folder(table) -> str:
    return table.location().removeprefix("file://")


def files(table) -> list[Path]:
    """The files of data, in the order in which they are read."""
    told = table.inspect.entries().to_pylist()
    live = sorted((e["sequence_number"], e["data_file"]["file_path"]) for e in told if e["status"] != 2)
    return [Path(path.removeprefix("file://")) for _, path in live]


@contextmanager
def closed(table, *numbers):
    """Some of its files of data, or all, cannot be read: they are overwritten, and look as if they were not."""
    paths = files(table)
    paths = [paths[k] for k in numbers] if numbers else paths
    before = {path: path.read_bytes() for path in paths}
    times = {path: path.stat() for path in paths}

    def write(path, data):
        path.write_bytes(data)
        os.utime(path, ns=(times[path].st_atime_ns, times[path].st_mtime_ns))

    for path, data in before.items():
        write(path, b"x" * len(data))
    try:
        yield
    finally:
        for path, data in before.items():
            write(path, data)


def rows(df) -> list[tuple]:
    return sorted(df.collect().rows(), key=str)
