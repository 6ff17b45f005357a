"""Frames of a LeRobot data set as rows: columns of its Parquet files, and images that its videos hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.images.layout import IMAGE
from robodf.io.ahead import in_order
from robodf.io.counting import read as counter
from robodf.io.error_log import ErrorLog
from robodf.io.files import fingerprint, is_remote
from robodf.io.indexed_files import ROWS, together
from robodf.io.lerobot.cameras import REFERENCE, Cameras, in_columns
from robodf.io.lerobot.metadata import DataFile, Layout
from robodf.io.lerobot.stored import is_stored_image, stored_images
from robodf.io.lerobot.tables import Parquet, open_parquet
from robodf.io.source import LOCATOR, Fetching, Request, ScanReport, Source, Split, Support
from robodf.io.stream import from_batches
from robodf.plan.comparison import as_comparison
from robodf.plan.expr import Expr

if TYPE_CHECKING:
    from robodf.io.lerobot.cameras import Place, Row

_TRIED = 4096  # integers between two bounds that are tried one by one
_AT_ONCE = 65_536


@dataclass(frozen=True)
class _Chosen:
    """Rows of a row group that are wanted, by their numbers in the file; `rows` is None where all are."""

    group: int
    first: int
    count: int
    rows: np.ndarray | None


@dataclass(frozen=True)
class LeRobotFrames(Source):
    """One data set. `cameras` are the columns of frames; those in `references` say where a frame is, undecoded."""

    files: tuple[DataFile, ...]
    mark: tuple  # of the metadata: what `about` depends on
    about: Layout = field(compare=False, repr=False)
    cameras: tuple[str, ...] = ()
    tolerance: float | None = None
    frames_by: str = "timestamp"
    storage: tuple[tuple[str, Any], ...] = ()
    on_error: str = "raise"
    references: tuple[str, ...] = ()
    log: ErrorLog = field(compare=False, default_factory=ErrorLog)
    numbers: tuple[int, ...] = ()  # of the files of a part, in the whole

    __hash__ = Source.hash_once
    name = "lerobot"  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(len(self.files))))

    # -- columns ----------------------------------------------------------------------------------------------

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:  # type: ignore[override]
        found = {name: dtype for name, dtype in self.about.columns.items() if name not in self.cameras}
        found = {name: IMAGE if is_stored_image(dtype) else dtype for name, dtype in found.items()}
        for name in ("episode_index", "frame_index"):
            if name not in found and self._by_episode:
                found[name] = pl.Int64()
        found.setdefault("task", pl.String())
        return {**found, **{name: REFERENCE if name in self.references else IMAGE for name in self.cameras}}

    @property
    def heavy(self) -> frozenset[str]:
        return self._pictures - frozenset(self.references)

    @cached_property
    def _pictures(self) -> frozenset[str]:
        """The columns that are not read with the others."""
        return self._stored | frozenset(self.cameras)

    @cached_property
    def _stored(self) -> frozenset[str]:
        """The columns of images that are in the Parquet files."""
        return frozenset(n for n, t in self.about.columns.items() if is_stored_image(t) and n not in self.cameras)

    @property
    def _by_episode(self) -> bool:
        """Whether each file is an episode."""
        return self.about.version.startswith("v2")

    # -- what can be skipped ----------------------------------------------------------------------------------

    def support(self, predicate: Expr) -> Support:
        light = frozenset(self.schema) - self._pictures
        return Support.EXACT if predicate.columns and predicate.columns <= light else Support.NONE

    def _left(self, predicates: tuple[Expr, ...]) -> list[int]:
        """The files that may hold wanted rows, as far as their names tell."""
        here = [p for p in predicates if p.columns == {"episode_index"}]
        if not here or not self._by_episode:
            return list(range(len(self.files)))
        known = pl.DataFrame(
            {"episode_index": [f.episode for f in self.files], "file": range(len(self.files))},
            schema={"episode_index": self.schema["episode_index"], "file": pl.Int64()},
        )
        for predicate in here:
            known = known.filter(predicate.polars)
        return known["file"].to_list()

    def _excluded(self, parquet: Parquet, group: int, predicates: tuple[Expr, ...]) -> bool:
        """True where the statistics of a row group say that no row satisfies the predicates."""
        for predicate in predicates:
            if len(predicate.columns) != 1:
                continue
            (name,) = predicate.columns
            by_text = name == "task" and "task" not in self.about.columns
            column = "task_index" if by_text else name
            dtype = parquet.schema.get(column)
            bounds = parquet.bounds(group, column) if dtype is not None and dtype.is_integer() else None
            if bounds is None or dtype is None:
                continue
            low, high = bounds
            if by_text:
                inside = self.about.tasks.filter(pl.col("task_index").is_between(low, high))
                texts = [*inside["task"], *([None] if inside.height <= high - low else [])]
                tried = pl.DataFrame({"task": texts}, schema={"task": pl.String()})
            elif high - low < _TRIED:
                tried = pl.DataFrame({name: pl.int_range(low, high + 1, eager=True)}).cast(dtype)
            else:
                found = as_comparison(predicate)
                if found is not None and isinstance(found[2], int) and _apart(found[1], found[2], low, high):
                    return True
                continue
            if tried.filter(predicate.polars).is_empty():
                return True
        return False

    def count(self, predicates: tuple[Expr, ...]) -> int | None:
        told = self._by_episode and all(p.columns == {"episode_index"} for p in predicates)
        if self.on_error != "raise" or (predicates and not told):
            return None
        total = 0
        for k in self._left(predicates):
            with self._open(k) as parquet:
                total += sum(parquet.rows(g) for g in range(parquet.groups))
        return total

    def report(self, request: Request) -> ScanReport:
        left = self._left(request.predicates)
        total = sum(f.size for f in self.files)
        notes = []
        heavy = [c for c in request.columns if c in self.heavy]
        if heavy:
            notes.append(f"{', '.join(heavy)} of these rows only")
        size = sum(self.files[k].size for k in left) if request.limit is None else None
        return ScanReport(size, total, pieces=len(left), total_pieces=len(self.files), piece="file",
                          notes=tuple(notes))  # fmt: skip

    def splits(self, request: Request) -> Iterator[Split]:
        for k in self._left(request.predicates):
            yield Split(self.files[k].path, k, bytes=self.files[k].size)

    def part(self, splits: tuple[Split, ...]) -> LeRobotFrames:
        chosen = [s.part for s in splits]
        files = tuple(self.files[k] for k in chosen)
        about = self.about
        if self._by_episode:
            episodes = [f.episode for f in files]
            about = replace(about, videos=about.videos.filter(pl.col("episode_index").is_in(episodes)),
                            episodes=about.episodes.filter(pl.col("episode_index").is_in(episodes)))  # fmt: skip
        return replace(self, files=files, about=about, numbers=tuple(self.numbers[k] for k in chosen))

    def fetching(self, columns: tuple[str, ...], share: float) -> Fetching | None:
        paths = self.about.videos.filter(pl.col("camera").is_in(columns))["path"].unique(maintain_order=True)
        if any(map(is_remote, paths)):
            return None
        size = sum(fingerprint(path)[0] for path in paths)
        if self._stored & set(columns):
            size += sum(f.size for f in self.files)
        return Fetching(size, int(size * min(max(share, 0.0), 1.0)))

    def note(self, problem: dict) -> None:
        self.log.add(**problem)

    @property
    def problems(self) -> list[dict]:
        return list(self.log.problems)

    def describe(self) -> str:
        name = self.about.root.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
        part = f", {len(self.files)} files" if len(self.files) != 1 else ""
        return f"lerobot {name} ({self.about.version}{part})"

    # -- reading ----------------------------------------------------------------------------------------------

    def scan(self, request: Request) -> pl.LazyFrame:
        schema = {name: self.schema[name] for name in request.columns}
        if request.locator:
            schema[LOCATOR] = pl.UInt64()
        return from_batches(lambda: self._batches(request, list(schema)), schema, self.describe())

    def _batches(self, request: Request, names: list[str]) -> Iterator[pl.DataFrame]:
        left = request.limit
        files = self._left(request.predicates)
        # Where a limit will stop it soon, reading ahead would be for nothing.
        threads = 1 if left is not None else min(pl.thread_pool_size(), max(1, len(files)))
        frames = in_order((partial(self._of_file, k, request, names) for k in files), threads)
        for frame in frames if left is not None else together(frames):
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            counter.add(rows=frame.height)
            yield frame
            if left is not None and left <= 0:
                return

    def _of_file(self, k: int, request: Request, names: list[str]) -> Iterator[pl.DataFrame]:
        try:
            with self._open(k) as parquet:
                cameras = self._cameras(request.columns)
                chosen = list(self._chosen(k, parquet, request.predicates, request.limit, cameras))
                light = tuple(c for c in request.columns if c not in self._pictures)
                yield from self._rows(k, parquet, chosen, light, request.columns, cameras, names)
        except FileFormatError as error:
            if self.on_error == "raise":
                raise
            self.log.add(self.files[k].path, str(error))

    def fetch(self, locators: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        known = {number: k for k, number in enumerate(self.numbers)}
        files, first = np.unique(locators >> ROWS, return_index=True)
        rows = np.split((locators & ((1 << ROWS) - 1)).astype(np.int64), first[1:])
        jobs = (partial(self._fetched, known[int(number)], some, columns) for number, some in zip(files, rows))
        yield from together(in_order(jobs, min(pl.thread_pool_size(), max(1, len(files)))))

    def _fetched(self, k: int, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        given = 0
        try:
            with self._open(k) as parquet:
                cameras = self._cameras(columns)
                chosen, first = [], 0
                for group in range(parquet.groups):
                    count = parquet.rows(group)
                    some = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + count)]
                    if len(some):
                        chosen.append(_Chosen(group, first, count, some))
                        self._place(k, parquet, chosen[-1], cameras)
                    first += count
                for frame in self._rows(k, parquet, chosen, (), columns, cameras, list(columns)):
                    given += frame.height
                    yield frame
        except FileFormatError as error:
            if self.on_error == "raise":
                raise
            self.log.add(self.files[k].path, str(error))
        if given != len(rows):
            if self.on_error == "raise":
                raise FileFormatError(f"{self.files[k].path}: {given} of {len(rows)} rows are left of it")
            yield pl.DataFrame({c: pl.Series([None], dtype=self.schema[c]).new_from_index(0, len(rows) - given)
                                for c in columns})  # fmt: skip

    def _cameras(self, columns: Sequence[str]) -> Cameras:
        wanted = tuple(c for c in columns if c in self.cameras)
        raises = self.on_error == "raise"
        return Cameras(self.about, self._places, wanted, self.tolerance, dict(self.storage), raises, self.log,
                       self.references)  # fmt: skip

    def _open(self, k: int) -> Any:
        file = self.files[k]
        if fingerprint(file.path, dict(self.storage)) != (file.size, file.changed):
            raise FileFormatError(f"{file.path}: was changed since the query was planned; make the frame anew")
        return open_parquet(file.path, dict(self.storage))

    @cached_property
    def _places(self) -> dict[str, dict[int, Place]]:
        """Where the frames of each episode are, by camera."""
        found: dict[str, dict[int, Place]] = {camera: {} for camera in self.cameras}
        for camera, episode, *place in self.about.videos.iter_rows():
            if camera in found:
                found[camera][episode] = tuple(place)  # type: ignore[assignment]
        return found

    # -- which rows -------------------------------------------------------------------------------------------

    def _chosen(
        self, k: int, parquet: Parquet, predicates: tuple[Expr, ...], limit: int | None, cameras: Cameras
    ) -> Iterator[_Chosen]:
        """The rows that satisfy the predicates, group by group; the cameras are told of them."""
        names = tuple(n for n in self.schema if any(n in p.columns for p in predicates))
        first = taken = 0
        for group in range(parquet.groups):
            if limit is not None and taken >= limit:
                return
            count = parquet.rows(group)
            if count and not self._excluded(parquet, group, predicates):
                rows = None
                if predicates:
                    rows = self._matching(k, parquet, group, first, names, predicates)
                elif limit is not None and limit < taken + count:
                    rows = np.arange(first, first + limit - taken)
                if rows is not None and limit is not None:
                    rows = rows[: limit - taken]
                if rows is None or len(rows):
                    found = _Chosen(group, first, count, rows)
                    self._place(k, parquet, found, cameras)
                    taken += count if rows is None else len(rows)
                    yield found
            first += count

    def _matching(
        self, k: int, parquet: Parquet, group: int, first: int, names: tuple[str, ...], predicates: tuple[Expr, ...]
    ) -> np.ndarray:
        found = []
        for start, frame in self._light(k, parquet, group, first, names):
            frame = frame.with_columns(pl.int_range(start, start + frame.height, dtype=pl.Int64).alias(LOCATOR))
            for predicate in predicates:
                frame = frame.filter(predicate.polars)
            found.append(frame.get_column(LOCATOR).to_numpy())
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _place(self, k: int, parquet: Parquet, chosen: _Chosen, cameras: Cameras) -> None:
        """Tell the cameras the episodes and times of rows."""
        if not cameras.names:
            return
        fps = self.about.fps
        by_time = self.frames_by == "timestamp" and "timestamp" in parquet.schema
        if not by_time and fps is None:
            raise FileFormatError(f"{self.about.root}: frames are found by frame_index and fps, but no fps is known")
        time = "timestamp" if by_time else "frame_index"
        for start, frame in self._light(k, parquet, chosen.group, chosen.first, ("episode_index", time)):
            frame = _some(frame, start, chosen.rows)
            times = frame.get_column(time).cast(pl.Float64, strict=False)
            cameras.add(frame.get_column("episode_index").cast(pl.Int64), times if by_time else times / fps)

    # -- what is in them --------------------------------------------------------------------------------------

    def _light(
        self, k: int, parquet: Parquet, group: int, first: int, names: tuple[str, ...]
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Light columns of a row group, with the number of the first row of each frame."""
        file = self.files[k]
        own = [n for n in names if n in parquet.schema and n in self.about.columns]
        need = list(own)
        by_text = "task" in names and "task" not in self.about.columns
        if by_text and "task_index" in parquet.schema and "task_index" not in need:
            need.append("task_index")
        for name in own:
            _check_type(file.path, name, parquet.schema[name], self.schema[name])
        lost = [n for n in names if n not in own and n not in ("episode_index", "frame_index", "task")]
        if lost:
            raise FileFormatError(f"{file.path}: has no column {lost[0]!r}, which the first file has")
        start = first
        for frame in self._read(parquet, group, need):
            made: list[pl.Series | pl.Expr] = []
            if "episode_index" in names and self._by_episode:
                made.append(self._episode(file, frame))
            if "frame_index" in names and "frame_index" not in own:
                made.append(pl.int_range(start, start + frame.height, dtype=pl.Int64).alias("frame_index"))
            if by_text:
                made.append(self._task(frame, file))
            types = {n: self.schema[n] for n in own if frame.schema[n] != self.schema[n]}
            yield start, frame.with_columns(made).cast(types).select(names)  # type: ignore[arg-type]
            start += frame.height

    def _read(self, parquet: Parquet, group: int, names: list[str]) -> Iterator[pl.DataFrame]:
        if names:
            yield from parquet.batches(group, names)
            return
        left = parquet.rows(group)
        while left > 0:
            count = min(left, _AT_ONCE)
            yield pl.DataFrame({"\0": np.zeros(count, np.int8)})
            left -= count

    def _episode(self, file: DataFile, frame: pl.DataFrame) -> pl.Series:
        """The episode of a file by its name; its column must not say otherwise."""
        dtype = self.schema["episode_index"]
        named = pl.Series("episode_index", [file.episode], dtype=dtype).new_from_index(0, frame.height)
        if (
            "episode_index" in frame.columns
            and not frame.get_column("episode_index").cast(dtype).eq_missing(named).all()
        ):
            told = frame.get_column("episode_index").cast(dtype)
            other = told.filter(~told.eq_missing(named))[0]
            what = f"episode_index is {other} in it, where its name says {file.episode}"
            if self.on_error == "raise":
                raise FileFormatError(f"{file.path}: {what}. Pass on_error='collect' to take the name's")
            self.log.add(file.path, f"{what}; the name's is taken")
        return named

    def _task(self, frame: pl.DataFrame, file: DataFile) -> pl.Expr:
        tasks = self.about.tasks
        if "task_index" not in frame.columns:
            texts = self.about.episodes.filter(pl.col("episode_index") == file.episode)["tasks"].to_list()
            only = texts[0][0] if texts and texts[0] and len(texts[0]) == 1 else None
            return pl.lit(only, pl.String).alias("task")
        return (
            pl.col("task_index")
            .cast(pl.Int64)
            .replace_strict(tasks["task_index"], tasks["task"], default=None, return_dtype=pl.String)
            .alias("task")
        )

    def _rows(
        self, k: int, parquet: Parquet, chosen: list[_Chosen], light: tuple[str, ...], columns: Sequence[str],
        cameras: Cameras, names: list[str],
    ) -> Iterator[pl.DataFrame]:  # fmt: skip
        """The columns of chosen rows, heavy ones in small pieces."""
        sources: dict[str, Iterator[Row]] = {name: cameras.rows(name) for name in cameras.names}
        for name in columns:
            if name in self._stored:
                sources[name] = self._images(k, parquet, chosen, name)
        try:
            for some in chosen:
                for frame in self._numbered(k, parquet, some, light):
                    if sources:
                        yield from (part.select(names) for part in in_columns(frame, sources, self.schema))
                    else:
                        yield frame.select(names)
        finally:
            for source in sources.values():
                source.close()  # type: ignore[attr-defined]

    def _numbered(self, k: int, parquet: Parquet, chosen: _Chosen, light: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Light columns and the locator."""
        if not light:
            rows = np.arange(chosen.first, chosen.first + chosen.count) if chosen.rows is None else chosen.rows
            found = pl.DataFrame({LOCATOR: rows.astype(np.uint64)}).iter_slices(_AT_ONCE)
        else:
            found = (
                _some(frame.with_row_index(LOCATOR, start).cast({LOCATOR: pl.UInt64}), start, chosen.rows)
                for start, frame in self._light(k, parquet, chosen.group, chosen.first, light)
            )
        number = self.numbers[k] << ROWS
        for frame in found:
            if frame.height:
                yield frame.with_columns(pl.col(LOCATOR) + pl.lit(number, pl.UInt64))

    def _images(self, k: int, parquet: Parquet, chosen: list[_Chosen], name: str) -> Iterator[Row]:
        """Images that the Parquet file holds, or names."""
        if name not in parquet.schema or not is_stored_image(parquet.schema[name]):
            raise FileFormatError(f"{parquet.path}: has no images in a column {name!r}, which the first file has")
        for some in chosen:
            start = some.first
            for frame in parquet.batches(some.group, [name]):
                wanted = _some(frame, start, some.rows).get_column(name)
                start += frame.height
                yield from stored_images(wanted, self.about.root, dict(self.storage), parquet.path,
                                         self.on_error == "raise", self.log)  # fmt: skip


def _some(frame: pl.DataFrame, start: int, rows: np.ndarray | None) -> pl.DataFrame:
    """Those rows of a frame, whose first has the number `start`, that have one of some numbers."""
    if rows is None:
        return frame
    inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + frame.height)] - start
    return frame[inside] if len(inside) != frame.height else frame


def _apart(op: str, value: int, low: int, high: int) -> bool:
    """Whether no integer from low to high satisfies `column <op> value`."""
    return {"<": low >= value, "<=": low > value, ">": high <= value, ">=": high < value,
            "==": not low <= value <= high}.get(op, False)  # fmt: skip


def _check_type(path: str, name: str, found: pl.DataType, wanted: pl.DataType) -> None:
    """FileFormatError unless values of one type are those of the other without a loss."""
    inner, to = _inner(found), _inner(wanted)
    if inner == to or (inner.is_integer() and to == pl.Int64 and inner != pl.UInt64):
        return
    if inner == pl.Float32 and to == pl.Float64:
        return
    raise FileFormatError(f"{path}: column {name!r} has the type {found}, where the first file has {wanted}")


def _inner(dtype: pl.DataType) -> pl.DataType:
    while isinstance(dtype, (pl.List, pl.Array)):
        dtype = dtype.inner  # type: ignore[assignment]
    return dtype
