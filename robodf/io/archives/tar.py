"""TAR archives as rows: one row a file in them, found by going from header to header."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.archives.inflate import Forward, compression
from robodf.io.archives.members import MOST_BYTES, Archives
from robodf.io.archives.tar_headers import BLOCK, CutOffArchive, Front, Member, members
from robodf.io.coalesce import coalesced
from robodf.io.counting import read as counter
from robodf.io.file_object import open_object
from robodf.io.files import Paths, is_remote, list_files, open_file, own_path
from robodf.io.formats import TAR_FILES
from robodf.io.indexed_files import CutOff

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

Cell = tuple[int | None, int | None]
"""Offset and size of bytes in an archive. No size: there are none; no offset: they cannot be read."""

_NEAR = 4 << 10  # bytes of a local file that are read for a header
_MOST_KEPT = 1 << 30


def read_tar(paths: Paths, *, on_error: str = "raise", storage_options: dict | None = None) -> PipelineDataFrame:
    """A lazy frame of TAR archives, one row a file in them: path, member, size, modified, offset, data.

    Reads ustar, pax, GNU and old archives, as they are or compressed by gzip, bzip2, xz or zstd (found by content).
    Rows are in the order of the archive, one for each time a name is there. `member` is the name as the archive has it
    (nothing is written by it), `modified` its time in UTC, `offset` that of its bytes, in a compressed archive that of
    its bytes when decompressed. A hard link is a row with the bytes of the file that it names. Folders, symbolic links
    and devices are left out.

    `data` has the bytes, which are read for those rows alone that are left: a filter on member or size chooses first.
    Of an archive that is not compressed, only headers are read for the other columns; a compressed one is decompressed
    up to the last row that is wanted, for the list and once more for data.

    An archive that is cut off or damaged is a FileFormatError, and so are for `data` members of 2 GiB or more, sparse
    files of GNU tar, and hard links to what the archive does not hold. With on_error="skip" or "collect" what precedes
    the damage is given, such a member is null, and both are listed in `df.errors`. A compressed archive that becomes
    more than 200 times its size and 1 GiB is not believed.

    >>> import robodf as rd, pathlib, tarfile, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("some text")
    >>> with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
    ...     archive.add(folder / "a.txt", "texts/a.txt")
    >>> rd.read_tar(folder).select("member", "size", "data").collect().rows()
    [('texts/a.txt', 9, b'some text')]
    """
    from robodf.io.read import from_source

    return from_source(TarFiles.of(list_files(paths, TAR_FILES, storage_options), storage_options, on_error))


@dataclass(frozen=True)
class TarFiles(Archives):
    """Members of TAR archives."""

    __hash__ = Archives.__hash__

    @property
    def name(self) -> str:
        return "tar"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {
            "path": pl.String(), "member": pl.String(), "size": pl.UInt64(), "modified": pl.Datetime("ns"),
            "offset": pl.UInt64(), "data": pl.Binary(),
        }  # fmt: skip

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(("data",))

    @property
    def index_is_cheap(self) -> bool:
        return not any(own_path(path).lower().endswith(TAR_FILES[1:]) for path in self.paths)

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        found, problem = archive_members(path, dict(self.storage))
        light = {name: dtype for name, dtype in self.schema.items() if name not in ("path", "data")}
        rows = [(m.name, m.size, m.modified, m.offset) for m in found]
        index = pl.DataFrame(rows, schema={**light, "modified": pl.Int64}, orient="row").cast(light)  # type: ignore[arg-type]
        if problem is not None:
            raise CutOff(problem, index)
        return index

    def table_and_problem(self, path: str) -> tuple[pl.DataFrame, str | None]:
        """The index of an archive, of what precedes damage where there is any, and what that is."""
        try:
            return self._index(self.paths.index(path), ()), None
        except CutOff as error:
            if error.rows is None:
                raise
            return error.rows, str(error)

    def read_cells(
        self, path: str, table: pl.DataFrame, columns: tuple[str, ...]
    ) -> Iterator[tuple[bytes | FileFormatError | None, ...]]:
        cells = list(zip(table["offset"].to_list(), table["size"].to_list()))
        names = table["member"]
        for row, found in enumerate(bodies(path, dict(self.storage), cells)):
            yield (refused(path, names[row], cells[row]) if found is None else found,)


def refused(path: str, name: str, cell: Cell) -> FileFormatError:
    """Why the bytes of a member are not read."""
    if cell[0] is None:
        return FileFormatError(
            f"{path}: the bytes of {name!r} cannot be read: it is a sparse file, or a hard link to a member that does "
            "not precede it; unpack the archive with tar"
        )
    return FileFormatError(f"{path}: {name!r} has {cell[1]} bytes, where {MOST_BYTES} are the most that a row may have")


def archive_members(path: str, storage: dict[str, Any]) -> tuple[list[Member], str | None]:
    """The members of an archive, and what is wrong with the rest of it."""
    found: list[Member] = []
    with opened(path, storage) as file:
        try:
            found.extend(members(file, path))
        except FileFormatError as error:
            if not found and isinstance(error, CutOffArchive) and file.at <= 512:
                raise FileFormatError(f"{path}: not a TAR archive: {error}") from error
            return found, str(error)
    return found, None


def is_packed_tar(path: str, storage: dict[str, Any] | None) -> bool:
    """Whether what a compressed file holds begins as an archive does."""
    try:
        with opened(path, storage or {}) as file:
            return file.read(BLOCK)[257:262] == b"ustar"
    except FileFormatError:
        return False  # damaged from the start: whose it was nobody can say


class Plain:
    """An archive that is not compressed: skipping reads nothing."""

    def __init__(self, file: io.BufferedReader, size: int):
        self.at = 0
        self._file, self._size = file, size

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self.at += len(data)
        return data

    def skip(self, count: int) -> int:
        passed = min(count, self._size - self.at)
        self.at += passed
        self._file.seek(self.at)
        return passed


@contextmanager
def opened(path: str, storage: dict[str, Any]) -> Iterator[Front]:
    """An archive, from its front; decompressed where it is compressed."""
    with open_object(path, storage, None if is_remote(path) else _NEAR) as file:
        size = file.seek(0, io.SEEK_END)
        if not size:
            raise FileFormatError(f"{path}: an empty file is no TAR archive")
        file.seek(0)
        head = file.read(6)
        file.seek(0)
        yield Plain(file, size) if compression(head) is None else Forward(file, path, size)


def bodies(path: str, storage: dict[str, Any], cells: list[Cell]) -> Iterator[bytes | None]:
    """The bytes of each cell; None for those that have none or cannot be read."""
    with open_file(path, storage) as file:
        file.counter = counter
        packed = compression(file.read_at(0, min(6, file.size))) is not None
        if not packed:
            known = [(o, s) for o, s in cells if o is not None and s is not None and s <= MOST_BYTES]
            near = coalesced(file, known)
            there = set(known)
            for cell in cells:
                yield near.read_at(*cell) if cell in there else None  # type: ignore[misc]
            return
    yield from _bodies_forward(path, storage, cells)


def _bodies_forward(path: str, storage: dict[str, Any], cells: list[Cell]) -> Iterator[bytes | None]:
    """Of a compressed archive, which is gone through once: what is needed later is kept meanwhile."""
    wanted = Counter((o, s) for o, s in cells if o is not None and s is not None and s <= MOST_BYTES)
    coming = sorted(wanted, reverse=True)
    kept: dict[tuple[int, int], bytes] = {}
    held = 0
    with opened(path, storage) as file:
        for cell in cells:
            if cell not in wanted:
                yield None
                continue
            while coming and coming[-1] <= cell:
                offset, size = coming.pop()
                file.skip(max(0, offset - file.at))
                data = file.read(size)
                if file.at != offset + size or len(data) != size:
                    raise FileFormatError(f"{path}: changed or cut off at offset {offset} while it was read")
                held += size
                if held > _MOST_KEPT:
                    raise FileFormatError(f"{path}: links far from their files need more than {_MOST_KEPT} bytes")
                kept[offset, size] = data
            yield kept[cell]  # type: ignore[index]
            wanted[cell] -= 1  # type: ignore[index]
            if not wanted[cell]:  # type: ignore[index]
                held -= len(kept.pop(cell))  # type: ignore[arg-type]
