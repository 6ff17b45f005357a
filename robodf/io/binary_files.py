"""Raw binary files: records of one size, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from struct import Struct, calcsize
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError, OptionError, SchemaError, hint
from robodf.io.counting import read
from robodf.io.error_log import ErrorLog
from robodf.io.files import list_files, open_file
from robodf.io.indexed_files import PATH
from robodf.io.source import Request, ScanReport, Source, Split, file_names
from robodf.io.stream import from_batches

if TYPE_CHECKING:
    import numpy as np

    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.read import Paths

_BLOCK = 8 << 20
_PART = 64 << 20  # bytes of a unit of parallel work
_MOST_RECORD = 64 << 20
RECORD = "record"


def read_binary(
    paths: Paths,
    dtype: Any,
    *,
    offset: int = 0,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of files that are records of one size: path, record (from 0), and a column for each field.

    `dtype` is what NumPy makes a structured type of: a list such as `[("t", "<u8"), ("q", "<f4", 7)]`, a dict of names
    and types (`{"t": "<u8"}`), or a `numpy.dtype` with offsets and padding. A number without names, such as "<f4", is
    the one column `value`. A `struct.Struct` is taken too: its items are field_0, field_1, ..., of which `3f` is one of
    three numbers, and pad bytes none. Fields of several numbers are Array, of bytes ("S8", "V8") Binary, nested types
    Struct; `datetime64[ns]` and `timedelta64[ns]` are Datetime and Duration. `offset` bytes before the records (a
    header) are left out. Only the fields that are asked for become columns, and a limit reads no further than it must.

    Bytes after the last whole record are an error, or left out and told (`on_error`).

    >>> import numpy as np, robodf as rd, pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "imu.bin")
    >>> np.array([(1, [0, 0, 9.8]), (2, [0, 1, 9.8])], [("t", "<u8"), ("acc", "<f8", 3)]).tofile(name)
    >>> rd.read_binary(name, [("t", "<u8"), ("acc", "<f8", 3)]).filter(rd.col("t") > 1).select("acc").collect().rows()
    [([0.0, 1.0, 9.8],)]
    """
    from robodf.io.files import fingerprint
    from robodf.io.logs.model import check_on_error
    from robodf.io.read import from_source

    check_on_error(on_error)
    record = _record(dtype)
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise OptionError(f"read_binary: offset={offset!r}: a number of bytes")
    files = list_files(paths, (".bin", ".raw", ".dat"), storage_options)  # type: ignore[arg-type]
    state = tuple(fingerprint(p, storage_options) for p in files)
    storage = tuple(sorted((storage_options or {}).items()))
    source = BinaryFiles(tuple(files), storage, state, on_error, _Layout(record), offset)
    for path in files:
        source.records(path)
    return from_source(source)


class _Layout:
    """A structured type, compared by what it says."""

    def __init__(self, record: np.dtype):
        self.record = record
        self._said = repr(record)

    def __hash__(self) -> int:
        return hash(self._said)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layout) and other._said == self._said


def _record(given: Any) -> np.dtype:
    import numpy as np

    if isinstance(given, Mapping):
        given = [(name, *(kind if isinstance(kind, tuple) else (kind,))) for name, kind in given.items()]
    try:
        record = _of_struct(given) if isinstance(given, Struct) else np.dtype(given)
    except (TypeError, ValueError) as error:
        raise OptionError(f"read_binary: dtype={given!r} is no type of NumPy: {error}") from None
    if record.names is None:
        record = np.dtype([("value", record)])
    if record.hasobject:
        raise OptionError("read_binary: dtype holds Python objects, which no file of records has")
    if not 0 < record.itemsize <= _MOST_RECORD:
        raise OptionError(f"read_binary: a record of {record.itemsize} bytes; 1 to {_MOST_RECORD} are read")
    for name in record.names or ():
        if name in (PATH, RECORD):
            raise OptionError(
                f"read_binary: a field cannot be called {name!r}, which is the column of the file or number"
            )
        _column_type(record[name], name)
    return record


_ITEM = re.compile(r"\s*(\d*)([a-zA-Z?])")
_SIGNED, _UNSIGNED = "bhilqn", "BHILQNP"


def _of_struct(given: Struct) -> np.dtype:
    """The type of NumPy for what https://docs.python.org/3/library/struct.html has as a format."""
    import numpy as np

    text = given.format
    prefix, items = (text[0], text[1:]) if text[:1] in tuple("@=<>!") else ("@", text)
    order = {"@": "=", "!": ">"}.get(prefix, prefix)
    names, formats, offsets = [], [], []
    for found in _ITEM.finditer(items):
        digits, code = found.groups()
        size, count = calcsize(f"{prefix}{code}"), int(digits or 1)
        if code == "x" or not count:
            continue
        if code == "p":
            raise OptionError(f"read_binary: the item {found[0]!r} of {text!r} has no type that a column has")
        kind = {"?": "?", "c": "S1", "s": f"S{count}"}.get(code)
        if kind is None:
            letter = "i" if code in _SIGNED else "u" if code in _UNSIGNED else "f"
            kind = f"{order}{letter}{size}"
        names.append(f"field_{len(names)}")
        formats.append(kind if code == "s" or count == 1 else (kind, (count,)))
        # Where native alignment puts it.
        offsets.append(calcsize(prefix + items[: found.end()]) - size * count)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": given.size})


def _column_type(dtype: np.dtype, name: str) -> pl.DataType:
    """The column of a field; SchemaError where there is none."""
    if dtype.subdtype is not None:
        inner, shape = dtype.subdtype
        return pl.Array(_column_type(inner, name), tuple(shape))
    if dtype.names is not None:
        return pl.Struct({n: _column_type(dtype[n], f"{name}.{n}") for n in dtype.names})
    if dtype.kind in "SV":
        return pl.Binary()
    native = dtype.newbyteorder("=").str[1:]
    if native in ("M8[ns]", "m8[ns]"):
        return pl.Datetime("ns") if native[0] == "M" else pl.Duration("ns")
    if native not in _TYPES:
        raise SchemaError(f"read_binary: the field {name!r} is {dtype}, which has no column{hint(native, _TYPES)}")
    return _TYPES[native]


_TYPES: dict[str, pl.DataType] = {
    "b1": pl.Boolean(), "i1": pl.Int8(), "i2": pl.Int16(), "i4": pl.Int32(), "i8": pl.Int64(),
    "u1": pl.UInt8(), "u2": pl.UInt16(), "u4": pl.UInt32(), "u8": pl.UInt64(),
    "f2": pl.Float32(), "f4": pl.Float32(), "f8": pl.Float64(),
}  # fmt: skip


@dataclass(frozen=True)
class BinaryFiles(Source):
    """Records of files; of a part `ranges` are the first record of each of its files and how many there are."""

    paths: tuple[str, ...]
    storage: tuple[tuple[str, Any], ...]
    state: tuple[tuple[int, int | str], ...]
    on_error: str
    layout: _Layout
    offset: int = 0
    ranges: tuple[tuple[int, int], ...] | None = None
    log: ErrorLog = field(compare=False, default_factory=ErrorLog)

    __hash__ = Source.hash_once

    @property
    def name(self) -> str:
        return "binary"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        record = self.layout.record
        fields = {name: _column_type(record[name], name) for name in record.names or ()}
        return {PATH: pl.String(), RECORD: pl.UInt64(), **fields}

    def records(self, path: str) -> int:
        """The whole records of a file, by its size; FileFormatError where something is left, unless it may be."""
        size = self._sizes[path] - self.offset
        count, rest = divmod(max(size, 0), self.layout.record.itemsize)
        if size < 0 or rest:
            said = (
                f"{path}: {self._sizes[path]} bytes are no {self.offset} and records of {self.layout.record.itemsize}"
            )
            if self.on_error == "raise":
                raise FileFormatError(f"{said}: {rest} are left. Pass on_error='collect' to read the whole ones")
            self.log.add(path, said, offset=self.offset + count * self.layout.record.itemsize)
        return count

    @property
    def _sizes(self) -> dict[str, int]:
        return {path: size for path, (size, _) in zip(self.paths, self.state)}

    @property
    def _ranges(self) -> tuple[tuple[int, int], ...]:
        return self.ranges if self.ranges is not None else tuple((0, self.records(path)) for path in self.paths)

    def count(self, predicates: tuple[Any, ...]) -> int | None:
        return None if predicates else sum(rows for _, rows in self._ranges)

    def splits(self, request: Request) -> Iterator[Split]:
        size = self.layout.record.itemsize
        each = max(1, _PART // size)
        for k, (path, (first, rows)) in enumerate(zip(self.paths, self._ranges)):
            for start in range(first, first + rows, each):
                some = min(each, first + rows - start)
                yield Split(path, (k, start, some), some, some * size, path)

    @property
    def partition_column(self) -> str:
        return PATH

    def part(self, splits: tuple[Split, ...]) -> BinaryFiles:
        parts = [s.part for s in splits]
        return replace(
            self,
            paths=tuple(self.paths[k] for k, _, _ in parts),
            state=tuple(self.state[k] for k, _, _ in parts),
            ranges=tuple((first, rows) for _, first, rows in parts),
        )

    def report(self, request: Request) -> ScanReport:
        rows = total = sum(rows for _, rows in self._ranges)
        if request.limit is not None:
            rows = min(rows, request.limit)
        size = self.layout.record.itemsize
        return ScanReport(rows * size, sum(s for s, _ in self.state), rows, total, files=len(self.paths))

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    def describe(self) -> str:
        return f"binary {file_names(self.paths)}"

    def scan(self, request: Request) -> pl.LazyFrame:
        schema = {name: self.schema[name] for name in request.columns}
        return from_batches(lambda: self._batches(request, schema), schema, self.describe())

    def _batches(self, request: Request, schema: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        import numpy as np

        record = self.layout.record
        each = max(1, _BLOCK // record.itemsize)
        left = request.limit
        for path, (first, rows) in zip(self.paths, self._ranges):
            with open_file(path, dict(self.storage)) as file:
                file.counter = read
                for start in range(first, first + rows, each):
                    count = min(each, first + rows - start, *(() if left is None else (left,)))
                    if count <= 0:
                        return
                    data = file.read_at(self.offset + start * record.itemsize, count * record.itemsize)
                    records = np.frombuffer(data, record)
                    light: dict[str, tuple[str | None, int]] = {PATH: (path, 0), RECORD: (None, start)}
                    made = [
                        _numbered(light[name], count) if name in light else column(records[name], dtype)
                        for name, dtype in schema.items()
                    ]
                    yield pl.DataFrame([values.alias(name) for name, values in zip(schema, made)])
                    left = None if left is None else left - count


def _numbered(light: tuple[str | None, int], count: int) -> pl.Series:
    """A path, or else numbers from the first on, of so many rows."""
    path, first = light
    if path is not None:
        return pl.Series([path]).new_from_index(0, count)
    return pl.int_range(first, first + count, dtype=pl.UInt64, eager=True)


def column(values: np.ndarray, dtype: pl.DataType) -> pl.Series:
    """Values of a field, (n,) or (n, ...), as a column."""
    import numpy as np

    if isinstance(dtype, pl.Struct):
        inner = [column(values[f.name], f.dtype).alias(f.name) for f in dtype.fields]  # type: ignore[arg-type]
        return pl.DataFrame(inner).to_struct("")
    if isinstance(dtype, pl.Array):
        leaf: Any = dtype
        while isinstance(leaf, pl.Array):
            leaf = leaf.inner
        flat = column(np.ascontiguousarray(values).reshape(-1), leaf)
        return flat.reshape((len(values), *dtype.shape)) if len(values) else pl.Series([], dtype=dtype)
    if isinstance(dtype, pl.Binary):
        return pl.Series(np.ascontiguousarray(values).view(f"V{values.dtype.itemsize}").tolist(), dtype=dtype)
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if plain.dtype.kind in "Mm":
        return pl.Series(plain.view("i8")).cast(dtype)
    if plain.dtype.kind == "b":  # of a byte that is neither 0 nor 1 too
        return pl.Series(plain.view("u1") != 0)
    return pl.Series(plain.astype("f4") if plain.dtype == np.float16 else plain)
