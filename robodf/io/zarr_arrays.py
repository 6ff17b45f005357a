"""Arrays of Zarr, versions 2 and 3: what their metadata says, and their chunks, each decompressed within its size."""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robodf.errors import FileFormatError, NoFilesError
from robodf.io.counting import read as counter
from robodf.io.files import filesystem, is_remote, natural_key, open_file
from robodf.io.hdf5.columns import to_series
from robodf.io.hdf5.datatype import Type
from robodf.io.hdf5.filters import RATIO, undo
from robodf.io.hdf5.objects import Filter

_MOST_METADATA, _MOST_NODES, _LARGEST_CHUNK = 16 << 20, 10_000, 1 << 32
_NUMBER = re.compile(r"[<>|]([iuf])([1248])|[<>|]b1")
_V3 = {"bool": "|b1"} | {
    f"{name}{bits}": f"<{code}{bits // 8}"
    for name, code in (("int", "i"), ("uint", "u"), ("float", "f"))
    for bits in (8, 16, 32, 64)
    if (name, bits) != ("float", 8)
}
_UNPICKLED = "it may hold pickled objects, which are never loaded"


@dataclass(frozen=True)
class Store:
    """A folder, here or remote. Keys are relative to it, with `/`."""

    path: str
    storage: tuple[tuple[str, Any], ...] = ()

    def name(self, key: str) -> str:
        head, *chain = self.path.split("::")
        folder = head if head.endswith("://") else head.rstrip("/\\") + "/"
        return "::".join([folder + key, *chain])

    def read(self, key: str, start: int | None = None, length: int | None = None, most: int = 1 << 40) -> bytes | None:
        """A file, or a part of it (from its end where `start` is negative); None where there is none."""
        try:
            file = open_file(self.name(key), dict(self.storage))
        except NoFilesError:
            return None
        file.counter = counter
        with file:
            if start is None:
                if file.size > most:
                    raise FileFormatError(f"{file.path}: {file.size} bytes, where at most {most} can be right")
                return file.read_at(0, file.size)
            return file.read_at(start if start >= 0 else file.size + start, length or 0)

    def folders(self, key: str) -> list[str]:
        """The names of the folders in a folder, in natural order."""
        if is_remote(self.path):
            fs, inner = filesystem(self.name(key).rstrip("/") if key else self.path, dict(self.storage))
            inner = inner.rstrip("/")
            found = [
                e["name"].rstrip("/").rsplit("/", 1)[-1] for e in fs.ls(inner, detail=True) if e["type"] == "directory"
            ]
        else:
            with os.scandir(os.path.join(os.path.expanduser(self.path), key)) as entries:
                found = [e.name for e in entries if e.is_dir()]
        return sorted((n for n in found if not n.startswith((".", "__"))), key=natural_key)


@dataclass(frozen=True)
class Array:
    """An array: its place in the store, and what its metadata says."""

    key: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    type: Type
    fill: bytes
    codecs: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]  # in the order in which they are undone
    separator: str
    prefix: str  # of the names of chunks
    order: tuple[int, ...]  # of the axes in a chunk
    shard: tuple[int, ...] | None = None  # the shape of the files that hold the chunks, where several are in one
    index_first: bool = False
    index_checked: bool = True
    width: int = field(default=0)  # of a text of fixed length in characters (UTF-32)

    @property
    def item(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.item) * self.type.size

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunk) * self.type.size


def arrays(store: Store) -> dict[str, Array | FileFormatError]:
    """All arrays of a store by their path; of one that cannot be read, why. An array at the root has the path ""."""
    found: dict[str, Array | FileFormatError] = {}
    for key in _walk(store):
        try:
            made = _array(store, key)
        except FileFormatError as error:
            found[key] = error
            continue
        if made is not None:
            found[key] = made
    return found


def is_store(path: str) -> bool:
    """Whether a folder of this machine is one."""
    return any(os.path.isfile(os.path.join(path, name)) for name in (".zgroup", ".zarray", "zarr.json"))


def _walk(store: Store) -> Iterator[str]:
    """The folders that are groups or arrays; there are none within an array."""
    pending, seen = [""], 0
    while pending:
        key = pending.pop()
        seen += 1
        if seen > _MOST_NODES:
            raise FileFormatError(f"{store.path}: more than {_MOST_NODES} groups and arrays")
        yield key
        prefix = f"{key}/" if key else ""
        meta = _json(store, prefix + "zarr.json")
        if meta is None and store.read(prefix + ".zarray", most=_MOST_METADATA) is not None:
            continue
        if meta is not None and meta.get("node_type") == "array":
            continue
        if key and meta is None and store.read(prefix + ".zgroup", most=_MOST_METADATA) is None:
            continue
        pending += [prefix + name for name in reversed(store.folders(key))]


def _json(store: Store, key: str) -> dict[str, Any] | None:
    data = store.read(key, most=_MOST_METADATA)
    if data is None:
        return None
    try:
        made = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{store.name(key)}: no JSON ({error})") from error
    if not isinstance(made, dict):
        raise FileFormatError(f"{store.name(key)}: no JSON object")
    return made


def _array(store: Store, key: str) -> Array | None:
    prefix = f"{key}/" if key else ""
    meta = _json(store, prefix + "zarr.json")
    old = _json(store, prefix + ".zarray") if meta is None else None
    try:
        if meta is not None:
            return _of_version_3(key, meta) if meta.get("node_type") == "array" else None
        return _of_version_2(key, old) if old is not None else None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise FileFormatError(f"{store.name(key)}: the metadata of an array cannot be read: {error}") from error


def _sizes(found: Any, rank: int | None = None) -> tuple[int, ...]:
    sizes = tuple(found)
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in sizes) or len(sizes) > 32:
        raise ValueError(f"sizes {found}")
    if rank is not None and (len(sizes) != rank or 0 in sizes):
        raise ValueError(f"chunks of {found} of {rank} dimensions")
    return sizes


def _type(code: Any) -> tuple[Type, int]:
    if not isinstance(code, str):
        raise ValueError(f"the type {code!r}: records and objects are not read ({_UNPICKLED})")
    if code.startswith("|O"):
        raise ValueError(f"the type {code!r}: {_UNPICKLED}")
    if found := _NUMBER.fullmatch(code):
        if code[1:] == "b1":
            return Type("bool", 1), 0
        if found[1] == "f" and found[2] == "1":
            raise ValueError(f"the type {code!r}")
        return Type("number", int(found[2]), np.dtype(code)), 0
    if text := re.fullmatch(r"\|S([1-9][0-9]{0,5})", code):
        return Type("text", int(text[1])), 0
    if text := re.fullmatch(r"<U([1-9][0-9]{0,5})", code):
        return Type("text", 4 * int(text[1])), int(text[1])
    raise ValueError(f"the type {code!r}, which is not read")


def _fill(value: Any, kind: Type) -> bytes:
    if kind.kind == "bool":
        return bytes([bool(value)])
    if kind.dtype is None or value is None:
        return bytes(kind.size)
    if isinstance(value, str):
        value = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[value]
    if kind.dtype.kind != "f" and (not isinstance(value, int) or value != int(np.array(value).astype(kind.dtype))):
        raise ValueError(f"the fill value {value!r} of {kind.dtype}")
    return np.array(value).astype(kind.dtype).tobytes()


def _of_version_2(key: str, meta: dict[str, Any]) -> Array:
    if meta["zarr_format"] != 2:
        raise ValueError(f"zarr_format {meta['zarr_format']!r}")
    shape = _sizes(meta["shape"])
    kind, width = _type(meta["dtype"])
    chunk = _sizes(meta["chunks"], len(shape))
    separator = meta.get("dimension_separator", ".")
    if separator not in (".", "/") or meta["order"] not in ("C", "F"):
        raise ValueError(f"the separator {separator!r}, the order {meta['order']!r}")
    codecs = [_codec(c["id"], c) for c in [meta["compressor"]] if c is not None]
    codecs += [_codec(c["id"], c) for c in reversed(meta.get("filters") or [])]
    axes = tuple(range(len(shape)))
    order = axes if meta["order"] == "C" else axes[::-1]
    fill = _fill(meta.get("fill_value"), kind)
    return Array(key, shape, chunk, kind, fill, tuple(codecs), separator, "", order, width=width)


def _of_version_3(key: str, meta: dict[str, Any]) -> Array:
    if meta["zarr_format"] != 3:
        raise ValueError(f"zarr_format {meta['zarr_format']!r}")
    shape = _sizes(meta["shape"])
    code = meta["data_type"]
    if not isinstance(code, str) or code not in _V3:
        raise ValueError(f"the type {code!r}, which is not read")
    if meta["chunk_grid"]["name"] != "regular" or meta.get("storage_transformers"):
        raise ValueError("a grid of chunks that is not regular, or transformed storage")
    chunk = _sizes(meta["chunk_grid"]["configuration"]["chunk_shape"], len(shape))
    keys = meta["chunk_key_encoding"]
    separator = keys.get("configuration", {}).get("separator", "/" if keys["name"] == "default" else ".")
    if separator not in (".", "/") or keys["name"] not in ("default", "v2"):
        raise ValueError(f"names of chunks {keys}")
    prefix = f"c{separator}" if keys["name"] == "default" else ""
    codecs, shard, first, checked = meta["codecs"], None, False, True
    names = [_codec_name(c) for c in codecs]
    if "sharding_indexed" in names:
        if len(names) != 1:
            raise ValueError(f"the codecs {names}")
        inner = codecs[0]["configuration"]
        shard, chunk = chunk, _sizes(inner["chunk_shape"], len(shape))
        if any(s % c for s, c in zip(shard, chunk)):
            raise ValueError(f"shards of {shard} of chunks of {chunk}")
        index = [_codec_name(c) for c in inner["index_codecs"]]
        if index not in (["bytes", "crc32c"], ["bytes"]):
            raise ValueError(f"an index of shards with the codecs {index}")
        checked, first = len(index) == 2, inner.get("index_location", "end") == "start"
        codecs = inner["codecs"]
        names = [_codec_name(c) for c in codecs]
    order = tuple(range(len(shape)))
    undone: list[tuple[str, tuple[tuple[str, Any], ...]]] = []
    dtype = np.dtype(_V3[code])
    for one, name in zip(codecs, names):
        options = one.get("configuration", {}) if isinstance(one, dict) else {}
        if name == "transpose":
            order = tuple(order[k] for k in _sizes(options["order"]))
            if sorted(order) != list(range(len(shape))):
                raise ValueError(f"the order of axes {order}")
        elif name == "bytes":
            if options.get("endian") == "big":
                dtype = dtype.newbyteorder(">")
        else:
            undone.insert(0, _codec(name, options))
    if names.count("bytes") != 1:
        raise ValueError(f"the codecs {names}")
    kind = Type("bool", 1) if code == "bool" else Type("number", dtype.itemsize, dtype)
    fill = _fill(meta["fill_value"], kind)
    return Array(key, shape, chunk, kind, fill, tuple(undone), separator, prefix, order, shard, first, checked)


def _codec_name(codec: Any) -> str:
    return codec if isinstance(codec, str) else codec["name"]


_CODECS = ("zlib", "gzip", "zstd", "lz4", "blosc", "bz2", "lzma", "shuffle", "crc32c")


def _codec(name: str, options: dict[str, Any]) -> tuple[str, tuple[tuple[str, Any], ...]]:
    name = name.removeprefix("numcodecs.")
    if name in ("pickle", "json2", "msgpack2", "vlen-utf8", "vlen-bytes", "vlen-array", "categorize"):
        raise ValueError(f"the codec {name!r} of objects: {_UNPICKLED}")
    if name not in _CODECS:
        raise ValueError(f"the codec {name!r}, which is not read; these are: {', '.join(_CODECS)}")
    if name == "blosc":
        try:
            import numcodecs  # noqa: F401 - asked for before anything is read
        except ImportError as error:
            raise ImportError("read_zarr needs numcodecs for Blosc: pip install 'robodf[zarr]'") from error
    kept = {k: v for k, v in options.items() if k == "elementsize" and type(v) is int and 0 < v < 65536}
    return name, tuple(kept.items())


# -- chunks ---------------------------------------------------------------------------------------------------


def chunk(store: Store, array: Array, at: tuple[int, ...]) -> np.ndarray | None:
    """A chunk by its place in the grid, as bytes (*chunk, size of an element); None where it was not written."""
    size = array.chunk_bytes
    if size > _LARGEST_CHUNK:
        raise FileFormatError(f"{store.name(array.key)}: chunks of {size} bytes")
    most = size + size // 8 + (1 << 20)
    if array.shard is None:
        name = _chunk_name(array, at)
        data = store.read(name, most=most)
    else:
        name, data = _in_shard(store, array, at, most)
    if data is None:
        return None
    counter.add(chunks=1)
    try:
        data = _decoded(data, array, size)
    except ValueError as error:
        raise FileFormatError(f"{store.name(name)}: {error}") from error
    stored = tuple(array.chunk[k] for k in array.order)
    whole = np.frombuffer(data, np.uint8).reshape(*stored, array.type.size)
    back = [array.order.index(k) for k in range(len(array.order))]
    return whole.transpose(*back, len(back))


def _chunk_name(array: Array, at: tuple[int, ...]) -> str:
    inside = array.prefix + array.separator.join(map(str, at)) if at else array.prefix.rstrip("/.") or "0"
    return f"{array.key}/{inside}" if array.key else inside


def _in_shard(store: Store, array: Array, at: tuple[int, ...], most: int) -> tuple[str, bytes | None]:
    assert array.shard is not None
    many = tuple(s // c for s, c in zip(array.shard, array.chunk))
    name = _chunk_name(array, tuple(a // m for a, m in zip(at, many)))
    count = math.prod(many)
    length = 16 * count + (4 if array.index_checked else 0)
    index = store.read(name, 0 if array.index_first else -length, length)
    if index is None:
        return name, None
    if array.index_checked and _crc32c(index[:-4]) != int.from_bytes(index[-4:], "little"):
        raise FileFormatError(f"{store.name(name)}: the checksum of the index of a shard is wrong")
    k = int(np.ravel_multi_index([a % m for a, m in zip(at, many)], many))
    start, size = np.frombuffer(index, "<u8", 2 * count)[2 * k : 2 * k + 2].tolist()
    if start == size == 0xFFFF_FFFF_FFFF_FFFF:
        return name, None
    if size > most:
        raise FileFormatError(f"{store.name(name)}: a chunk of {size} bytes, where at most {most} can be right")
    return name, store.read(name, start, size)


def _decoded(data: bytes, array: Array, size: int) -> bytes:
    for k, (name, options) in enumerate(array.codecs):
        checked = sum(4 for later, _ in array.codecs[k + 1 :] if later == "crc32c")
        data = _undone(name, dict(options), data, size + checked)
    if len(data) != size:
        raise ValueError(f"a chunk of {len(data)} bytes where {size} are needed")
    return data


def _undone(name: str, options: dict[str, Any], data: bytes, size: int) -> bytes:
    if name in ("zlib", "gzip"):
        if size > len(data) * RATIO + 4096:
            raise ValueError(f"a chunk of {size} bytes cannot come from {len(data)}")
        made = zlib.decompressobj(47)  # either header
        try:
            found = made.decompress(data, size + 1)
        except zlib.error as error:
            raise ValueError(f"{name}: {error}") from error
        if not made.eof:
            raise ValueError(f"{name}: the stream is cut off or longer than the chunk")
        return found
    if name == "crc32c":
        if len(data) < 4 or _crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise ValueError("the checksum of a chunk is wrong")
        return data[:-4]
    if name in ("bz2", "lzma"):
        return _standard(name, data, size)
    if name == "lz4":  # a size of four bytes, then one block
        import lz4.block

        if len(data) < 4 or int.from_bytes(data[:4], "little") != size:
            raise ValueError("LZ4: not the size of the chunk")
        try:
            return lz4.block.decompress(data[4:], uncompressed_size=size)
        except lz4.block.LZ4BlockError as error:
            raise ValueError(f"LZ4: {error}") from error
    number = {"zstd": 32015, "blosc": 32001, "shuffle": 2}[name]
    return undo(data, (Filter(number, name, False, (options.get("elementsize", 4),)),), 0, size, 1)


def _standard(name: str, data: bytes, size: int) -> bytes:
    import bz2
    import lzma

    made = bz2.BZ2Decompressor() if name == "bz2" else lzma.LZMADecompressor(memlimit=1 << 28)
    try:
        found = made.decompress(data, size + 1)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{name}: {error}") from error
    if len(found) != size or not made.eof:
        raise ValueError(f"{name}: the stream is cut off or longer than the chunk")
    return found


def _crc32c(data: bytes) -> int:
    try:
        from google_crc32c import value
    except ImportError as error:
        raise ImportError("checksums of Zarr need google-crc32c: pip install 'robodf[zarr]'") from error
    return value(data)


def column(array: Array, raw: np.ndarray, texts: Any) -> Any:
    """Rows as a Polars column."""
    import polars as pl

    if array.width:  # UTF-32
        flat = np.ascontiguousarray(raw).reshape(-1).view(f"<U{array.width}").reshape(len(raw), -1)
        made = pl.Series(flat.reshape(-1).tolist(), dtype=pl.String)
        return made.reshape((len(raw), *array.item)) if array.item else made
    return to_series(raw, array.item, array.type, texts)
