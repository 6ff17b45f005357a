"""Image files as rows: one row a file, of which only what is asked for is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError, OptionError, hint
from robodf.images.decode import FILTERS, checked_size, in_threads
from robodf.images.pillow import check_pillow, decode, header, undecodable
from robodf.io.counting import read as counter
from robodf.io.error_log import ErrorLog
from robodf.io.file_object import open_object
from robodf.io.files import Paths, fingerprint, is_remote, list_files, open_file
from robodf.io.formats import IMAGE_FILES
from robodf.io.source import LOCATOR, Fetching, Request, ScanReport, Source, Split, Support, file_names
from robodf.io.stream import from_batches
from robodf.plan.expr import Expr

if TYPE_CHECKING:
    import numpy as np

    from robodf.frame.frame import PipelineDataFrame

HEADER = {"width": pl.UInt32(), "height": pl.UInt32(), "mode": pl.String(), "format": pl.String()}
"""Columns for which a file is opened and its first bytes are read."""

MOST_BYTES = 1 << 30
"""Of a file; one with more is no image."""

_FIRST, _MOST = 64, 4096  # files that are looked at together: few at first, for those who want few
_FRAME = 32 << 20  # bytes of heavy columns in a frame, unless one row has more
_NEAR, _FAR = 4 << 10, 64 << 10  # bytes of a header that are read at once
_REQUESTS = 16  # at once, of remote files


def read_images(
    paths: Paths,
    size: tuple[int, int] | None = None,
    *,
    filter: str = "bilinear",
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of image files, one row a file: path, width, height, mode, format, file_size, data, image.

    `paths` is a file, a glob, a directory or a list of them: JPEG, PNG, WebP, BMP, GIF, PBM/PGM/PPM, TIFF, JPEG 2000.
    Rows are in natural order of the files. The files are listed now, and none is opened.

    - width, height (pixels), mode (Pillow's: L, RGB, RGBA, P, CMYK, I;16, ...), format (jpeg, png, ...): opened for
      them, a few KiB are read. Turning that EXIF asks for is not applied.
    - data: the bytes of the file (Binary). image: its pixels, as `rd.decode` gives them, a struct {height, width,
      encoding, step, data}. Both are read for those rows alone that are left at the end.

    `size` is (height, width) of all images: see `rd.decode` for how it is reached, and for `filter`. A JPEG is then
    decoded at 1/2, 1/4 or 1/8 where that is enough.

    A file that is no image, is damaged, has more than 2**26 pixels or numbers that do not fit into 16 bits is a
    FileFormatError where its header or image is asked for. With on_error="skip" or "collect" what cannot be read of it
    is null, its row stays, and it is listed in `df.errors`.

    Needs Pillow: `pip install 'robodf[images]'`.

    >>> import robodf as rd, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.pgm").write_bytes(b"P5 4 2 255 " + bytes(8))
    >>> _ = (folder / "b.pgm").write_bytes(b"P5 1 1 255 " + bytes(1))
    >>> df = rd.read_images(folder)
    >>> df.filter(rd.col("width") > 1).select("width", "height", "mode", "format", "file_size").collect().rows()
    [(4, 2, 'L', 'ppm', 19)]
    >>> df.select("image").collect()["image"].struct.field("encoding").to_list()
    ['mono8', 'mono8']
    """
    from robodf.io.read import from_source

    files = list_files(paths, IMAGE_FILES, storage_options)
    return from_source(image_files(files, size, filter, on_error, storage_options))


def image_files(
    paths: list[str], size: tuple[int, int] | None, filter: str, on_error: str, storage: dict | None
) -> ImageFiles:
    """A source over files that exist."""
    from robodf.io.logs.model import check_on_error

    check_pillow("read_images")
    check_on_error(on_error)
    if filter not in FILTERS:
        raise OptionError(f"read_images: filter is one of {', '.join(FILTERS)}, not {filter!r}{hint(filter, FILTERS)}")
    wanted = None if size is None else checked_size(size, "read_images")
    state = tuple(fingerprint(path, storage) for path in paths)
    return ImageFiles(tuple(paths), tuple(sorted((storage or {}).items())), state, wanted, filter, on_error)


@dataclass(frozen=True)
class ImageFiles(Source):
    """Image files. The locator of a row is the number of its file in the whole."""

    paths: tuple[str, ...]
    storage: tuple[tuple[str, Any], ...] = ()
    state: tuple[tuple[int, int | str], ...] = ()  # size and time of change of each file
    size: tuple[int, int] | None = None
    filter: str = "bilinear"
    on_error: str = "raise"
    log: ErrorLog = field(compare=False, default_factory=ErrorLog)
    numbers: tuple[int, ...] = ()  # of the files of a part, in the whole

    __hash__ = Source.hash_once

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(len(self.paths))))

    @property
    def name(self) -> str:
        return "images"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        from robodf.images.layout import IMAGE

        return {"path": pl.String(), **HEADER, "file_size": pl.UInt64(), "data": pl.Binary(), "image": IMAGE}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(("data", "image"))

    @property
    def partition_column(self) -> str:
        return "path"

    def support(self, predicate: Expr) -> Support:
        light = predicate.columns and not predicate.columns & self.heavy
        return Support.EXACT if light else Support.NONE

    def splits(self, request: Request) -> Iterator[Split]:
        for k, (path, (size, _)) in enumerate(zip(self.paths, self.state)):
            yield Split(path, k, 1, size, path)

    def part(self, splits: tuple[Split, ...]) -> ImageFiles:
        files = [s.part for s in splits]
        of = lambda values: tuple(values[k] for k in files)  # noqa: E731
        return replace(self, paths=of(self.paths), state=of(self.state), numbers=of(self.numbers))

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        if any(p.columns & HEADER.keys() for p in predicates):
            return None  # it opens files
        return self._listed(0, len(self.paths), predicates).height

    def report(self, request: Request) -> ScanReport:
        total = sum(size for size, _ in self.state)
        rows = self.count(request.predicates)
        if rows is not None and request.limit is not None:
            rows = min(rows, request.limit)
        heavy = ", ".join(c for c in request.columns if c in self.heavy)
        opened = "headers" if self._header_columns(request) else "no file is opened"
        notes = (f"{heavy} of these rows only",) if heavy else (opened,)
        return ScanReport(total_bytes=total, rows=rows, total_rows=len(self.paths), files=len(self.paths), notes=notes)

    def fetching(self, columns: tuple[str, ...], share: float) -> Fetching | None:
        total = sum(size for size, _ in self.state)
        return Fetching(total, int(total * min(max(share, 0.0), 1.0)))

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def describe(self) -> str:
        size = "" if self.size is None else f" at {self.size[0]}x{self.size[1]}"
        return f"images {file_names(self.paths)}{size}"

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        schema = {name: self.schema[name] for name in request.columns}
        if request.locator:
            schema[LOCATOR] = pl.UInt64()
        return from_batches(lambda: self._batches(request, list(schema)), schema, self.describe())

    def _batches(self, request: Request, names: list[str]) -> Iterator[pl.DataFrame]:
        heavy = tuple(name for name in request.columns if name in self.heavy)
        left = request.limit
        first, several = 0, _FIRST
        while first < len(self.paths) and (left is None or left > 0):
            rows = self._chosen(first, several, request)
            rows = rows if left is None else rows.head(left)
            left = None if left is None else left - rows.height
            first, several = first + several, min(2 * several, _MOST)
            counter.add(rows=rows.height)
            if not heavy:
                yield rows.select(names)
                continue
            at = 0
            for frame in self._read(rows.get_column(LOCATOR).to_list(), heavy):
                yield rows.slice(at, frame.height).hstack(frame).select(names)
                at += frame.height

    def fetch(self, locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        yield from self._read(locators.tolist(), columns)

    def _chosen(self, first: int, several: int, request: Request) -> pl.DataFrame:
        """The rows of some files that satisfy the predicates: listed columns, those of headers if asked, LOCATOR."""
        opened = [p for p in request.predicates if p.columns & HEADER.keys()]
        rows = self._listed(first, several, tuple(p for p in request.predicates if not p.columns & HEADER.keys()))
        names = self._header_columns(request)
        if names:
            found = in_threads(self._header, rows.get_column("path").to_list(), self._threads)
            facts = pl.DataFrame(list(found), schema=HEADER, orient="row")
            rows = rows.hstack(facts.select(names))
        for predicate in opened:
            rows = rows.filter(predicate.polars)
        return rows

    def _listed(self, first: int, several: int, predicates: tuple[Expr, ...]) -> pl.DataFrame:
        part = slice(first, first + several)
        rows = pl.DataFrame(
            {"path": self.paths[part], "file_size": [size for size, _ in self.state[part]],
             LOCATOR: self.numbers[part]},
            schema={"path": pl.String, "file_size": pl.UInt64, LOCATOR: pl.UInt64},
        )  # fmt: skip
        for predicate in predicates:
            rows = rows.filter(predicate.polars)
        return rows

    def _header_columns(self, request: Request) -> list[str]:
        wanted = frozenset(request.columns).union(*(p.columns for p in request.predicates))
        return [name for name in HEADER if name in wanted]

    def _header(self, path: str) -> tuple:
        with open_object(path, dict(self.storage), _FAR if is_remote(path) else _NEAR) as file:
            try:
                return header(file)
            except undecodable() as error:
                self._failed(path, "its header cannot be read", error)
                return (None,) * len(HEADER)

    def _read(self, numbers: list[int], columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Heavy columns of some files, in frames that are not too large."""
        known = dict(zip(self.numbers, self.paths))
        rows: list[tuple[bytes | None, Any]] = []
        held = 0
        one = partial(self._one, pixels="image" in columns)
        for data, image in in_threads(one, (known[n] for n in numbers), self._threads):
            rows.append((data, image))
            held += len(data or b"") + (0 if image is None else image.nbytes)
            if held >= _FRAME:
                yield _frame(rows, columns)
                rows, held = [], 0
        if rows:
            yield _frame(rows, columns)

    def _one(self, path: str, pixels: bool) -> tuple[bytes | None, Any]:
        with open_file(path, dict(self.storage)) as file:
            file.counter = counter
            if file.size > MOST_BYTES:
                self._failed(path, "is no image", f"{file.size} bytes, where {MOST_BYTES} are the most")
                return None, None
            data = file.read_at(0, file.size)
        if not pixels:
            return data, None
        try:
            return data, decode(data, self.size, self.filter == "nearest")
        except undecodable() as error:
            self._failed(path, "its image cannot be decoded", error)
            return data, None

    def _failed(self, path: str, what: str, error: Exception | str) -> None:
        said = f"{path}: {what}: {str(error) or type(error).__name__}"
        if self.on_error == "raise":
            raise FileFormatError(said)
        self.log.add(path, said)

    @property
    def _threads(self) -> int:
        remote = any(is_remote(path) for path in self.paths[:1])
        return _REQUESTS if remote else pl.thread_pool_size()


def _frame(rows: Iterable[tuple[bytes | None, Any]], columns: tuple[str, ...]) -> pl.DataFrame:
    from robodf.images.layout import to_column

    data, images = zip(*rows)
    made = {"data": lambda: pl.Series(data, dtype=pl.Binary), "image": lambda: to_column(images)}
    return pl.DataFrame({name: made[name]() for name in columns})
