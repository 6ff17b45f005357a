"""One finished piece as one file: its buckets, each an Arrow IPC file as Polars writes it, then an index.

    bucket 0 | bucket 1 | ... | index (JSON) | length of the index, its checksum, magic (32 bytes)

Every byte is under a checksum that is compared before anything is made of it, so a truncated or changed file is an
error and never other rows. The index names the piece: a file that was moved is another piece's and an error too.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, BinaryIO

import polars as pl

from robodf.errors import FileFormatError, OptionError
from robodf.io.files import FileReader

_TAIL = struct.Struct("<Q16s8s")
_MAGIC = b"RDFPIEC1"
_READ_AHEAD = 64 << 10  # the index of most pieces comes with the tail in one read


@dataclass(frozen=True)
class Index:
    """Of each bucket: its rows, where it ends in the file and its checksum; of all: the schema as a text."""

    rows: tuple[int, ...]
    ends: tuple[int, ...]
    checks: tuple[str, ...]
    schema: str


def write_piece(file: BinaryIO, name: str, frames: list[pl.DataFrame]) -> None:
    """Write the frames of a piece, one a bucket, to an empty file."""
    if not frames:
        raise OptionError(f"{name}: a piece has at least one bucket (a frame without rows where there are none)")
    rows, ends, checks, end = [], [], [], 0
    for frame in frames:
        told = _Summed(file)
        _write_ipc(frame, told, name)
        end += told.size
        rows.append(frame.height)
        ends.append(end)
        checks.append(told.hash.hexdigest())
    schema = ", ".join(f"{column}: {dtype}" for column, dtype in frames[0].schema.items())
    index = {"piece": name, "rows": rows, "ends": ends, "checks": checks, "schema": schema}
    data = json.dumps(index).encode()
    file.write(data)
    file.write(_TAIL.pack(len(data), _check(data), _MAGIC))


def _write_ipc(frame: pl.DataFrame, file: _Summed, name: str) -> None:
    try:
        frame.write_ipc(file, compression="lz4")  # type: ignore[arg-type] - all that Polars asks of it is write()
    except pl.exceptions.ComputeError as error:
        objects = [c for c, dtype in frame.schema.items() if "Object" in repr(dtype)]
        if not objects:
            raise
        raise OptionError(
            f"{name}: the columns {objects} hold Python objects, which no file can hold: cast them, or drop them "
            "before the checkpoint"
        ) from error


class _Summed:
    """What Polars writes to: a file, with the checksum and size of what went by."""

    def __init__(self, file: BinaryIO):
        self.file, self.size, self.hash = file, 0, blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self.file.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


def read_index(file: FileReader, name: str) -> Index:
    """The index of the piece `name`; FileFormatError where the file is another's, truncated or changed."""
    start = max(file.size - _READ_AHEAD, 0)
    end = file.read_at(start, file.size - start)
    if len(end) < _TAIL.size:
        raise FileFormatError(f"{file.path}: has {file.size} bytes: it is truncated")
    length, check, magic = _TAIL.unpack(end[-_TAIL.size :])
    first = file.size - _TAIL.size - length
    if magic != _MAGIC or first < 0:
        raise FileFormatError(f"{file.path}: does not end as a piece ends: it is truncated or damaged")
    data = end[first - start : -_TAIL.size] if first >= start else file.read_at(first, length)
    if _check(data) != check:
        raise FileFormatError(f"{file.path}: the index at offset {first} does not match its checksum")
    try:
        said = json.loads(data)
        index = Index(tuple(said["rows"]), tuple(said["ends"]), tuple(said["checks"]), said["schema"])
        owner = said["piece"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{file.path}: the index at offset {first} is not one of a piece") from error
    if owner != name:
        raise FileFormatError(f"{file.path}: is the piece {owner}, not {name}")
    _check_bounds(index, first, file.path)
    return index


def _check_bounds(index: Index, end: int, path: str) -> None:
    numbers = (*index.rows, *index.ends)
    if not index.ends or not len(index.rows) == len(index.ends) == len(index.checks):
        raise FileFormatError(f"{path}: the lists of the index differ in length")
    if any(type(n) is not int or n < 0 for n in numbers) or any(type(c) is not str for c in index.checks):
        raise FileFormatError(f"{path}: the index holds values that are not sizes")
    if index.ends[-1] != end or any(a >= b for a, b in zip((0, *index.ends), index.ends)):
        raise FileFormatError(f"{path}: the buckets of the index do not fill the file")


def read_bucket(file: FileReader, index: Index, bucket: int) -> pl.DataFrame:
    """The rows of one bucket; FileFormatError where its bytes are not those that were written."""
    first = index.ends[bucket - 1] if bucket else 0
    data = file.read_at(first, index.ends[bucket] - first)
    if _check(data).hex() != index.checks[bucket]:
        raise FileFormatError(f"{file.path}: bucket {bucket} at offset {first} does not match its checksum")
    try:
        frame = pl.read_ipc(data)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise FileFormatError(f"{file.path}: bucket {bucket} at offset {first} is not Arrow IPC: {error}") from error
    if not frame.width:
        return pl.DataFrame(height=index.rows[bucket])
    if frame.height != index.rows[bucket]:
        raise FileFormatError(f"{file.path}: bucket {bucket} has {frame.height} rows, not {index.rows[bucket]}")
    return frame


def _check(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
