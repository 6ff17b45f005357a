"""Rows as samples of WebDataset: shards of TAR, a member for each column, the same bytes for the same rows."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from robodf.compat import KEEP_ORDER
from robodf.errors import OptionError, QueryError, SchemaError, column_not_found
from robodf.images.layout import IMAGE, to_arrays
from robodf.io import publish
from robodf.io.archives.webdataset import _cut as cut
from robodf.io.sink import WriteReport
from robodf.plan.base import Plan

_SHARD = re.compile(r".*-\d{6,}\.tar")
_BLOCK = 512
_IMAGES = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png"}

ToBytes = Callable[[Any], bytes]


@dataclass(frozen=True)
class WebDatasetSink:
    """One write, checked as far as the schema of the frame tells."""

    name: str
    path: Path
    key: str
    columns: tuple[str, ...]  # sorted: the order of the members of a sample
    types: tuple[pl.DataType, ...]
    prefix: str
    rows: int
    bytes: int
    quality: int
    mode: str

    def write(self, query: pl.LazyFrame) -> WriteReport:
        """Run the query of `key` and `columns` and write its rows, in their order."""
        started = clock.monotonic()
        with publish.staging(self.path) as area:
            if self.mode == "overwrite" and self.path.is_dir():
                publish.check_swap(area, self.path)
            new = area / "new"
            new.mkdir()
            shards = _Shards(self, new)
            try:
                for batch in query.collect_batches(maintain_order=True, engine="streaming", optimizations=KEEP_ORDER):
                    for key, members in self._samples(batch, shards.count):
                        self._on_disk(lambda key=key, members=members: shards.add(key, members))
                self._on_disk(shards.finish)
            finally:
                shards.close()
            files = sorted(new.iterdir())
            size = sum(path.stat().st_size for path in files)
            found = tuple(str(self.path / path.name) for path in files)
            with publish.publishing(self.path):
                _check_target(self.path, self.mode)
                self._on_disk(lambda: publish.publish_directory(new, self.path, replace=self.mode == "overwrite"))
        return WriteReport(self.name, shards.count, found, size, clock.monotonic() - started)

    def _on_disk(self, step: Callable[[], None]) -> None:
        """Name the target in the errors of writing it."""
        try:
            step()
        except FileExistsError:
            raise
        except OSError as error:
            raise publish.naming(error, self.path) from error

    def _samples(self, batch: pl.DataFrame, first: int) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
        """The key of each row, and its members: extension and bytes, but for nulls."""
        columns = [
            to_arrays(batch[name]) if dtype == IMAGE else batch[name] for name, dtype in zip(self.columns, self.types)
        ]
        made = [_to_bytes(name, dtype, self.quality) for name, dtype in zip(self.columns, self.types)]
        nulls = [batch[name].is_null().to_list() for name in self.columns]
        for row, (key, *cells) in enumerate(zip(batch[self.key], *columns)):
            members = []
            for name, to_bytes, null, cell in zip(self.columns, made, nulls, cells):
                if null[row]:
                    continue
                try:
                    members.append((name, to_bytes(cell)))
                except ValueError as error:
                    raise QueryError(f"to_webdataset: row {first + row}, column {name!r}: {error}") from error
            key = None if key is None else str(key)
            if not members:
                raise QueryError(f"to_webdataset: row {first + row} has null in every column: it would be no sample")
            if key is None or not _sound(key) or any(cut(f"{key}.{name}") != (key, name) for name in self.columns):
                raise QueryError(
                    f"to_webdataset: row {first + row} has the key {key!r}. A key is a relative path without '..', "
                    "whose last part has no dot, as the extension begins at the first"
                )
            yield key, members


class _Shards:
    """The shards on their way to a folder."""

    def __init__(self, sink: WebDatasetSink, folder: Path):
        self.count = 0
        self._sink, self._folder = sink, folder
        self._made = 0
        self._tar: tarfile.TarFile | None = None
        self._keys: set[str] = set()
        self._held = 0

    def add(self, key: str, members: list[tuple[str, bytes]]) -> None:
        size = sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for _, data in members)
        if self._keys and (len(self._keys) >= self._sink.rows or self._held + size > self._sink.bytes):
            self.close()
        if self._tar is None:
            self._open()
        assert self._tar is not None
        if key in self._keys:
            raise QueryError(
                f"to_webdataset: row {self.count} has the key {key!r}, which another row of its shard has: readers "
                "would take both for one sample"
            )
        for extension, data in members:
            info = tarfile.TarInfo(f"{key}.{extension}")  # no times, no owner: the same rows, the same bytes
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))
        self._keys.add(key)
        self._held += size
        self.count += 1

    def finish(self) -> None:
        """The last shard; one without samples where there is no row."""
        if not self._made:
            self._open()
        self.close()

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
        self._tar, self._keys, self._held = None, set(), 0

    def _open(self) -> None:
        path = self._folder / f"{self._sink.prefix}-{self._made:06}.tar"
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by close()
        self._made += 1


def _sound(key: str) -> bool:
    """Whether a key names nothing outside of the folder where an archive is unpacked."""
    return "\0" not in key and "\\" not in key and not {"", ".", ".."} & set(key.split("/"))


def _to_bytes(name: str, dtype: pl.DataType, quality: int) -> ToBytes:
    """How a value of a column becomes the bytes of a member; SchemaError where its extension does not fit its type."""
    last = name.rsplit(".", 1)[-1]
    if isinstance(dtype, pl.Binary):
        return lambda value: value
    if isinstance(dtype, pl.String):
        return str.encode
    if dtype == IMAGE:
        if last in _IMAGES:
            return lambda value: _image(value, _IMAGES[last], quality)
        raise SchemaError(f"to_webdataset: column {name!r} has images; name it with an extension jpg or png")
    if last == "cls" and dtype.is_integer():
        return lambda value: str(value).encode()
    if last == "npy" and (numbers := _numbers(dtype)) is not None:
        return lambda value: _npy(value, numbers)
    if last == "json" and _is_json(dtype):
        return _json
    raise SchemaError(
        f"to_webdataset: column {name!r} of type {dtype} has no extension for it: numbers and nested values are json, "
        "integers cls too, lists and arrays of numbers npy, images jpg or png; texts and bytes are written as they "
        "are. Rename it, such as .rename({'score': 'score.json'}), cast times and decimals to numbers or texts, or "
        "leave it out by select"
    )


def _image(value: Any, format: str, quality: int) -> bytes:
    from robodf.images.encode import encoded

    found = None if value is None else encoded(value, format, quality)
    if found is None:
        raise ValueError(f"the image cannot be encoded as {format}: its size and data do not fit, or it has 16 bits")
    return found


def _json(value: Any) -> bytes:
    value = value.to_list() if isinstance(value, pl.Series) else value
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _npy(value: pl.Series, numbers: pl.DataType) -> bytes:
    import numpy as np

    data = np.array(value.to_list() if isinstance(value, pl.Series) else value)
    kind = pl.Series(dtype=numbers).to_numpy().dtype
    if data.dtype == object:
        raise ValueError("holds null, which an array of numbers does not have")
    out = io.BytesIO()
    np.save(out, data.astype(kind), allow_pickle=False)
    return out.getvalue()


def _numbers(dtype: pl.DataType) -> pl.DataType | None:
    """The type of the numbers in a list or an array; None where it has no others."""
    if not isinstance(dtype, (pl.List, pl.Array)):
        return None
    inner: Any = dtype.inner
    while isinstance(inner, (pl.List, pl.Array)):
        inner = inner.inner
    return inner if inner.is_integer() or inner.is_float() or inner == pl.Boolean else None


def _is_json(dtype: Any) -> bool:
    if isinstance(dtype, (pl.List, pl.Array)):
        return _is_json(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return all(_is_json(field.dtype) for field in dtype.fields)
    return dtype.is_integer() or dtype.is_float() or dtype in (pl.Boolean, pl.String)


def webdataset_sink(
    plan: Plan, target: str | os.PathLike[str], *, key: str, name: str, rows_per_shard: int, shard_mb: float,
    quality: int, mode: str,
) -> WebDatasetSink:  # fmt: skip
    """Check a write; the arguments are those of `to_webdataset`, which says what they mean."""
    schema = plan.schema
    if key not in schema:
        raise column_not_found(key, schema, "to_webdataset (key)")
    if not (schema[key] == pl.String or schema[key].is_integer()):
        raise SchemaError(f"to_webdataset: the key is a text or an integer, not {schema[key]}")
    if mode not in ("error", "overwrite"):
        raise OptionError(f"to_webdataset: mode is 'error' or 'overwrite', not {mode!r}")
    if type(rows_per_shard) is not int or rows_per_shard < 1:
        raise OptionError(f"to_webdataset: rows_per_shard is a positive number, not {rows_per_shard!r}")
    if isinstance(shard_mb, bool) or not isinstance(shard_mb, (int, float)) or not shard_mb > 0:
        raise OptionError(f"to_webdataset: shard_mb is a positive number of MiB, not {shard_mb!r}")
    if type(quality) is not int or not 1 <= quality <= 100:
        raise OptionError(f"to_webdataset: quality is 1 to 100, not {quality!r}")
    if not isinstance(name, str) or not name or "/" in name or "\0" in name or name.startswith("."):
        raise OptionError(f"to_webdataset: name is the beginning of the names of shards, not {name!r}")
    columns = tuple(sorted(column for column in schema if column != key))
    if not columns:
        raise SchemaError("to_webdataset: there is no column beside the key")
    for column in columns:
        if cut(f"k.{column}") != ("k", column) or column in ("key", "path") or column.startswith("."):
            raise SchemaError(
                f"to_webdataset: {column!r} is no extension: these are lower case, without '/', and not key or path, "
                "which the reader has. Rename the column, or leave it out by select"
            )
        if _to_bytes(column, schema[column], quality) and schema[column] == IMAGE:
            from robodf.images.pillow import check_pillow

            check_pillow("to_webdataset")
    text = os.fspath(target)
    if not isinstance(text, str) or not text or "\0" in text:
        raise OptionError(f"to_webdataset: a target is a path as text, not {target!r}")
    if "://" in text.removeprefix("file://"):
        raise OptionError(f"to_webdataset: {text!r}: object stores publish no directory whole; write a local one and "
                          "upload it")  # fmt: skip
    path = Path(os.path.realpath(os.path.expanduser(text.removeprefix("file://"))))
    if not path.name:
        raise OptionError(f"to_webdataset: {text!r} is no name for a directory")
    _check_target(path, mode)
    types = tuple(schema[column] for column in columns)
    return WebDatasetSink(
        text, path, key, columns, types, name, rows_per_shard, int(shard_mb * (1 << 20)), quality, mode
    )


def _check_target(path: Path, mode: str) -> None:
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise OptionError(f"to_webdataset: {str(path)!r} is a file, where a directory is to be written")
    there = sorted(found.name for found in path.iterdir())
    if there and mode == "error":
        raise publish.exists(path)
    for other in there:
        if not _SHARD.fullmatch(other):
            raise OptionError(f"to_webdataset: {path} holds {other!r}, which is no shard, so it is not overwritten; "
                              "write to another directory, or remove it first")  # fmt: skip
