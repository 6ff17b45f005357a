"""An episode that is written: its rows, the frames of its cameras, its tasks and its statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import QueryError, SchemaError
from robodf.io.lerobot import statistics
from robodf.io.lerobot.cameras import decoded
from robodf.io.lerobot.source import LeRobotFrames
from robodf.io.lerobot.video_files import CameraFiles, Encoder, Placed, complete
from robodf.io.messages.encoder import first_true
from robodf.io.video import beside
from robodf.io.video.index import Track
from robodf.io.video.opening import refuse

_ON_TIME = 1e-4
"""Seconds that LeRobot allows between a row and its frame."""

_ANNOTATION = "annotation."


class Tasks:
    """The texts of tasks and their numbers.

    Other columns of a data set that is read, `annotation.*` of GR00T, hold numbers of its tasks: where there are such,
    its tasks keep their numbers, and where they cannot, the columns are given the new ones.
    """

    def __init__(self, sources: Sequence[LeRobotFrames], columns: Sequence[str]):
        self._numbers: dict[str, int] = {}
        self._renamed: dict[int, int] = {}
        self.annotations = [c for c in columns if c.startswith(_ANNOTATION)] if sources else []
        if not self.annotations:
            return
        first = sources[0].about.tasks
        if any(not first.equals(s.about.tasks) for s in sources):
            raise SchemaError(
                f"to_lerobot: column {self.annotations[0]!r} has numbers of tasks of several data sets with different "
                "tasks; drop it, or write each data set by itself"
            )
        for number, text in sorted(first.iter_rows()):
            self._renamed[number] = self.number(text)

    @property
    def texts(self) -> list[str]:
        return list(self._numbers)

    def number(self, text: str) -> int:
        """The number of a task, a new one where it is new."""
        return self._numbers.setdefault(text, len(self._numbers))

    def renumbered(self, column: pl.Series) -> pl.Series:
        """The values of an annotation with the numbers that the tasks have now."""
        changed = {old: new for old, new in self._renamed.items() if old != new}
        if not changed or not column.dtype.is_integer():
            return column
        return column.replace(list(changed), list(changed.values()))


@dataclass
class Shot:
    """What became of the frames of one camera in one episode."""

    placed: Placed
    pixels: statistics.Pixels
    times: np.ndarray | None = None  # seconds of each row's frame from the start, where they are not those of the rate


@dataclass
class Copy:
    """Frames of a video that can be copied: the first one and how many, and the times of the rows in them."""

    path: str
    track: Track
    first: int
    count: int
    numbers: np.ndarray
    times: np.ndarray
    on_time: bool


@dataclass
class Footage:
    """How the frames of an episode get into the files of their camera."""

    files: CameraFiles
    temporary: Path
    codec: str
    fps: float
    with_statistics: bool
    storage: dict[str, dict] = field(default_factory=dict)  # options of the store of each video

    def encoder(self) -> Encoder:
        """A file that takes the frames of an episode."""
        return Encoder(self.temporary, self.codec, self.fps)

    def encoded(self, encoder: Encoder, pixels: statistics.Pixels) -> Shot:
        """Add the frames of an encoder that has all of them."""
        encoder.close()
        track = beside.timed_track(str(self.temporary), None, refuse)
        placed = self.files.append(str(self.temporary), None, track, 0, encoder.count)
        self.temporary.unlink()
        return Shot(placed, pixels)

    def encoded_again(self, references: pl.DataFrame) -> Shot:
        """Decode the frames that references name, and encode them."""
        encoder, pixels = self.encoder(), statistics.Pixels()
        try:
            for image in _images(references, self.storage):
                encoder.add(image, self.files.key)
                if self.with_statistics:
                    pixels.add(image)
        except BaseException:
            encoder.close()
            raise
        return self.encoded(encoder, pixels)

    def copied(self, found: Copy) -> Shot:
        """Copy packets; the statistics are those of a sample, which is all that is decoded."""
        storage = self.storage.get(found.path)
        placed = self.files.append(found.path, storage, found.track, found.first, found.count)
        pixels = statistics.Pixels()
        if self.with_statistics:
            some = np.unique(found.numbers[statistics.sample(len(found.numbers))])
            for image in beside.images(found.path, storage, found.track, some, refuse):
                assert image is not None
                pixels.add(image)
        return Shot(placed, pixels, None if found.on_time else found.times)


def _images(references: pl.DataFrame, storage: dict[str, dict]) -> Iterator[np.ndarray]:
    paths = references["video"]
    for _, part in references.group_by(paths.rle_id().alias("run"), maintain_order=True):
        path = part["video"][0]
        options = storage.get(path)
        track = beside.timed_track(path, options, refuse)
        for image in decoded(path, options, track, part["frame"].to_numpy(), refuse):
            assert image is not None
            yield image


def copy_of(
    references: pl.DataFrame, spans: dict[tuple[str, int], tuple[float, float | None]], storage: dict[str, dict],
    fps: float,
) -> Copy | str:  # fmt: skip
    """How the frames of an episode can be copied, or why they cannot."""
    if references["video"].n_unique() != 1 or references["episode"].n_unique() != 1:
        return "its rows come from several episodes"
    path, episode = references["video"][0], references["episode"][0]
    options = storage.get(path)
    track = beside.timed_track(path, options, refuse)
    start, stop = spans[path, episode]
    known = track.seconds
    first = int(np.searchsorted(known, start - 0.5 / fps))
    last = len(known) if stop is None else int(np.searchsorted(known, stop - 0.5 / fps))
    numbers = references["frame"].to_numpy()
    off = numbers - first - np.arange(len(numbers))
    if last - first - len(numbers) not in (0, 1) or np.abs(off).max() > 1 or (np.diff(numbers) < 0).any():
        return (
            f"its {len(numbers)} rows are not the {last - first} frames of episode {episode} of {path} in their order"
        )
    times = known[numbers] - known[first]
    on_time = bool(np.abs(times - np.arange(len(numbers)) / fps).max() <= _ON_TIME)
    if not on_time and np.abs(known[first:last] - known[first] - np.arange(last - first) / fps).max() > _ON_TIME:
        return f"the frames of {path} do not come at {fps:g} a second"
    if not complete(path, options, track, first, last - first):
        return f"the frames of episode {episode} do not begin with a key frame of their own in {path}"
    return Copy(path, track, first, last - first, numbers, times, on_time)


def checked_references(name: str, column: pl.Series, first: int) -> pl.DataFrame:
    """References as columns; QueryError for a row without a frame."""
    if column.null_count():
        row = first + first_true(column.is_null())
        raise QueryError(f"to_lerobot: row {row} has no frame in column {name!r}; drop such rows")
    return column.struct.unnest()


def of_columns(columns: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """Statistics of the columns of an episode that are numbers."""
    from robodf.io.lerobot.tables_out import flat

    return {name: statistics.of_values(flat(c)) for name, c in columns.items() if c.dtype != pl.String}
