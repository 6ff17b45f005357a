"""Shards of WebDataset as rows: one row a sample, a column for each kind of file in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from robodf.errors import FileFormatError, OptionError, hint, listing
from robodf.io.archives.members import Archives
from robodf.io.archives.tar import TarFiles, bodies, refused
from robodf.io.files import Paths, list_files, own_path
from robodf.io.formats import TAR_FILES
from robodf.io.indexed_files import CutOff

if TYPE_CHECKING:
    import numpy as np

    from robodf.frame.frame import PipelineDataFrame

TEXT = ("txt", "text", "json", "cls", "caption")
"""Extensions whose files are texts."""

# As webdataset cuts a name: the key goes to the first dot behind the last folder.
_NAME = re.compile(r"((?:.*/)?[^./][^.]*)\.([^/]+)", re.DOTALL)


def read_webdataset(
    paths: Paths,
    columns: Iterable[str] | None = None,
    *,
    text: Iterable[str] = TEXT,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of WebDataset shards (TAR archives), one row a sample: path, key, and a column for each extension.

    The files of a sample follow each other and have one name up to the first dot: `a/0001.jpg` and `a/0001.seg.png` are
    the columns `jpg` and `seg.png` of the sample with the key `a/0001`. Extensions are lower case. What a sample lacks
    is null. Files without an extension, and `__such__` names, belong to no sample. Rows are in the order of the shards;
    one key in two shards is two rows.

    The columns are the extensions of the first shard, in their order there, of which only headers are read; `columns`
    names them instead. Their files are bytes (Binary); those of the extensions in `text` are texts (String). All are
    read for the rows that are left alone, and only those that are asked for.

    A FileFormatError is, besides what `read_tar` says: without `columns`, a file whose extension the first shard does
    not have; an extension twice in a sample; a text that is not UTF-8. With on_error="skip" or "collect" such a file is
    left out (of two, the second), such a text is null, and they are listed in `df.errors`.

    >>> import robodf as rd, io, pathlib, tarfile, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "shard-0.tar")
    >>> with tarfile.open(name, "w") as archive:
    ...     for member, data in {"01.cls": b"3", "01.bin": b"ab", "02.cls": b"7"}.items():
    ...         info = tarfile.TarInfo(member)
    ...         info.size = len(data)
    ...         archive.addfile(info, io.BytesIO(data))
    >>> rd.read_webdataset(name).select("key", "cls", "bin").collect().rows()
    [('01', '3', b'ab'), ('02', '7', None)]
    """
    from robodf.io.read import from_source

    files = list_files(paths, TAR_FILES, storage_options)
    texts = _names(text, "text")
    fixed = columns is not None
    found = _names(columns, "columns") if columns is not None else _first_extensions(files, on_error, storage_options)
    for name in ("path", "key"):
        if name in found:
            others = ", ".join(repr(n) for n in found if n not in ("path", "key"))
            raise OptionError(
                f"read_webdataset: files with the extension {name!r} would hide the column {name!r} of every sample; "
                f"read_tar reads them. Pass columns=[{others}] to read the others"
            )
    return from_source(
        WebDatasetShards.of(files, storage_options, on_error, extensions=found, fixed=fixed, texts=texts)
    )


def _names(given: Iterable[str], what: str) -> tuple[str, ...]:
    names = list(given) if not isinstance(given, str) else None
    if names is None or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise OptionError(f"read_webdataset: {what} is a list of extensions such as ['jpg', 'json'], not {given!r}")
    dotted = [name for name in names if name.startswith(".") or name != name.lower()]
    if dotted:
        raise OptionError(
            f"read_webdataset: extensions have no dot in front and are lower case: {listing(map(repr, dotted))}"
        )
    return tuple(names)


def _first_extensions(files: list[str], on_error: str, storage: dict | None) -> tuple[str, ...]:
    """Those of the first shard; where damage is skipped, of the first that has any."""
    for path in files:
        try:
            found, problem = TarFiles.of([path], storage).table_and_problem(path)
        except FileFormatError:
            if on_error == "raise":
                raise
            continue
        if problem is not None and on_error == "raise":
            raise FileFormatError(problem)
        names = dict.fromkeys(part[1] for part in map(_cut, found["member"]) if part is not None)
        if names:
            return tuple(names)
        if on_error == "raise":
            raise FileFormatError(
                f"{path}: no sample of WebDataset among its {found.height} files, such as {found['member'][0]!r}"
                if found.height
                else f"{path}: no file is in this shard; pass columns= if that is right"
            )
    raise FileFormatError(f"no shard of {listing(files, 3)} can be read: pass columns= to have a frame without rows")


def _cut(name: str) -> tuple[str, str] | None:
    """The key and the extension of a member, None where it belongs to no sample."""
    found = _NAME.fullmatch(name)
    last = name.rsplit("/", 1)[-1]
    if found is None or (last.startswith("__") and last.endswith("__")):
        return None
    return found[1], found[2].lower()


@dataclass(frozen=True)
class WebDatasetShards(Archives):
    """Samples of shards. `fixed` says that the user named the extensions, so that others are left out."""

    extensions: tuple[str, ...] = ()
    fixed: bool = False
    texts: tuple[str, ...] = ()

    __hash__ = Archives.__hash__

    @property
    def name(self) -> str:
        return "webdataset"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        types = {name: pl.String() if name in self.texts else pl.Binary() for name in self.extensions}
        return {"path": pl.String(), "key": pl.String(), **types}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(self.extensions)

    @property
    def index_is_cheap(self) -> bool:
        return not any(own_path(path).lower().endswith(TAR_FILES[1:]) for path in self.paths)

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        found, problem = TarFiles.of([path], dict(self.storage)).table_and_problem(path)
        keys: list[str] = []
        cells: dict[str, list[tuple[int | None, int] | None]] = {name: [] for name in self.extensions}
        unknown: dict[str, str] = {}
        twice: list[str] = []
        for name, offset, size in found.select("member", "offset", "size").iter_rows():
            cut = _cut(name)
            if cut is None:
                continue
            key, extension = cut
            if extension not in cells:
                unknown.setdefault(extension, name)
            if not keys or keys[-1] != key:
                keys.append(key)
                for column in cells.values():
                    column.append(None)
            if extension in cells:
                if cells[extension][-1] is None:
                    cells[extension][-1] = (offset, size)
                else:
                    twice.append(name)
        schema: dict[str, pl.DataType] = {"key": pl.String()}
        data: dict[str, list] = {"key": keys}
        for number, name in enumerate(self.extensions):
            data[f"_{number}_offset"] = [cell and cell[0] for cell in cells[name]]
            data[f"_{number}_size"] = [cell and cell[1] for cell in cells[name]]
            schema[f"_{number}_offset"] = schema[f"_{number}_size"] = pl.UInt64()
        samples = pl.DataFrame(data, schema=schema)
        problem = problem or _told(path, twice, {} if self.fixed else unknown, self.extensions)
        if problem is not None:
            raise CutOff(problem, samples)
        return samples

    def read_cells(
        self, path: str, table: pl.DataFrame, columns: tuple[str, ...]
    ) -> Iterator[tuple[bytes | FileFormatError | None, ...]]:
        numbers = [self.extensions.index(name) for name in columns]
        parts = [table[f"_{n}_{what}"].to_list() for n in numbers for what in ("offset", "size")]
        cells = [(row[k], row[k + 1]) for row in zip(*parts) for k in range(0, len(row), 2)]
        found = bodies(path, dict(self.storage), cells)
        at = 0
        for key in table["key"]:
            row: list[bytes | FileFormatError | None] = []
            for name in columns:
                data = next(found)
                lost = data is None and cells[at][1] is not None
                row.append(refused(path, f"{key}.{name}", cells[at]) if lost else self._text(path, key, name, data))
                at += 1
            yield tuple(row)

    def _text(self, path: str, key: str, name: str, data: bytes | None) -> bytes | FileFormatError | None:
        if data is None or name not in self.texts:
            return data
        try:
            data.decode()
        except UnicodeDecodeError as error:
            return FileFormatError(
                f"{path}: {f'{key}.{name}'!r} is no text of UTF-8 ({error.reason} at byte {error.start}); pass text= "
                "without its extension to read bytes"
            )
        return data

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        types = {name: self.schema[name] for name in columns if name in self.texts}
        for frame in super().read_rows(path, rows, columns):
            yield frame.cast(types) if types else frame  # type: ignore[arg-type]


def _told(path: str, twice: list[str], unknown: dict[str, str], known: tuple[str, ...]) -> str | None:
    if twice:
        return f"{path}: a sample has two files of one extension, the second of them {listing(map(repr, twice), 3)}"
    if not unknown:
        return None
    name = next(iter(unknown))
    return (
        f"{path}: files such as {unknown[name]!r} have extensions that the first shard does not have: "
        f"{listing(map(repr, unknown))}{hint(name, known)} Pass columns= with all that are to be read, "
        f"such as {[*known, name]}"
    )
