"""Which frame of which video belongs to a row, and the frames of many rows in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.images.layout import to_column
from robodf.io.error_log import ErrorLog
from robodf.io.files import StorageOptions
from robodf.io.lerobot.metadata import Layout
from robodf.io.video import beside
from robodf.io.video.index import Track
from robodf.io.video.opening import Told

REFERENCE = pl.Struct({"video": pl.String(), "episode": pl.Int64(), "frame": pl.Int64()})
"""A frame that is not decoded: the path of its video, the episode there, and its number in the video."""

Row = np.ndarray | dict[str, Any] | None
"""A decoded image, a reference to one, or nothing."""

Place = tuple[str, float, float | None]
"""The path of a video, and the seconds at which an episode begins and ends in it."""

_BYTES = 16 << 20
_UNKNOWN_RATE = 10.0


class Cameras:
    """The frames of some rows, whose episodes and times are told first, in order."""

    def __init__(
        self,
        about: Layout,
        places: Mapping[str, Mapping[int, Place]],
        names: tuple[str, ...],
        tolerance: float | None,
        storage: StorageOptions,
        raises: bool,
        log: ErrorLog,
        references: tuple[str, ...] = (),
    ):
        self.names = names
        self._references = references
        self._about = about
        self._places = places
        self._storage = storage
        self._raises = raises
        self._log = log
        period = 1 / (about.fps or _UNKNOWN_RATE)
        self._half = period / 2
        self._tolerance = 1.5 * period if tolerance is None else tolerance
        self._episodes: list[np.ndarray] = []
        self._times: list[np.ndarray] = []

    def add(self, episodes: pl.Series, times: pl.Series) -> None:
        """Rows that come next; a time is null or NaN where it is not known."""
        self._episodes.append(episodes.fill_null(-1).to_numpy())
        self._times.append(times.fill_null(float("nan")).to_numpy())

    def rows(self, camera: str) -> Iterator[Row]:
        """The frame of each row; None where there is none and that is no error."""
        if not self._episodes:
            return
        episodes, times = np.concatenate(self._episodes), np.concatenate(self._times)
        places = self._places[camera]
        starts = np.flatnonzero(np.diff(episodes, prepend=episodes[0] - 1))
        ends = np.append(starts[1:], len(episodes))
        first = 0
        while first < len(starts):
            path = _path(places, episodes[starts[first]])
            last = first
            while last + 1 < len(starts) and _path(places, episodes[starts[last + 1]]) == path:
                last += 1
            spans = [(int(starts[j]), int(ends[j])) for j in range(first, last + 1)]
            yield from self._of_video(camera, path, spans, episodes, times, places)
            first = last + 1

    def _of_video(
        self, camera: str, path: str | None, spans: list[tuple[int, int]], episodes: np.ndarray, times: np.ndarray,
        places: Mapping[int, Place],
    ) -> Iterator[Row]:  # fmt: skip
        """The rows of consecutive episodes in one video."""
        total = spans[-1][1] - spans[0][0]
        given = 0
        try:
            if path is None:
                raise FileFormatError(
                    f"{self._about.root}: camera {camera!r} has no video of episode {int(episodes[spans[0][0]])}"
                )
            track = beside.timed_track(path, self._storage, self._damage(path))
            numbers = []
            for a, b in spans:
                episode = int(episodes[a])
                _, start, stop = places[episode]
                numbers.append(self._numbers(path, track.seconds, times[a:b], start, stop, episode))
            for row in self._found(camera, path, track, np.concatenate(numbers), episodes[spans[0][0] : spans[-1][1]]):
                given += 1
                yield row
        except FileFormatError as error:
            if self._raises:
                raise
            self._log.add(path or self._about.root, str(error))
        for _ in range(total - given):
            yield None

    def _damage(self, path: str) -> Told:
        def tell(problem: str) -> None:
            if self._raises:
                raise FileFormatError(problem)
            self._log.add(path, problem)

        return tell

    def _numbers(
        self, path: str, known: np.ndarray, times: np.ndarray, start: float, stop: float | None, episode: int
    ) -> np.ndarray:
        """The frames nearest to times of an episode; -1 where none is near enough and that is no error."""
        low = int(np.searchsorted(known, start - self._half))
        high = len(known) if stop is None else int(np.searchsorted(known, stop - self._half))
        if high <= low:
            raise FileFormatError(f"{path}: there are no frames of episode {episode}, from {start:g} s on")
        inside, wanted = known[low:high], times + start
        after = np.clip(np.searchsorted(inside, wanted), 1, max(1, len(inside) - 1))
        before = after - 1
        after = np.minimum(after, len(inside) - 1)
        nearest = np.where(np.abs(inside[after] - wanted) < np.abs(inside[before] - wanted), after, before)
        far = np.abs(inside[nearest] - wanted)
        lost = ~(far <= self._tolerance)
        if lost.any():
            at = int(np.flatnonzero(lost)[0])
            raise_for = (
                f"{path}: episode {episode}: no frame within {self._tolerance:g} s of {times[at]:g} s "
                f"({int(lost.sum())} such rows); pass tolerance= or frames_by='frame_index'"
            )
            if self._raises:
                raise FileFormatError(raise_for)
            self._log.add(path, raise_for)
        elif (off := far > 1.001 * self._half).any():
            self._log.add(
                path,
                f"episode {episode}: {int(off.sum())} rows are more than half a frame from the nearest frame, "
                f"up to {far.max():.3g} s; it was taken",
            )
        return np.where(lost, -1, nearest + low)

    def _found(self, camera: str, path: str, track: Track, numbers: np.ndarray, episodes: np.ndarray) -> Iterator[Row]:
        if camera not in self._references:
            yield from decoded(path, self._storage, track, numbers, self._damage(path))
            return
        for number, episode in zip(numbers.tolist(), episodes.tolist()):
            yield {"video": path, "episode": episode, "frame": number} if number >= 0 else None


def _path(places: Mapping[int, Place], episode: Any) -> str | None:
    place = places.get(int(episode))
    return None if place is None else place[0]


def decoded(
    path: str, storage: StorageOptions, track: Track, numbers: np.ndarray, damage: Told
) -> Iterator[np.ndarray | None]:
    """The frames of some numbers, in any order and any number of times; None for negative ones.

    None too for what cannot be decoded, where `damage` bears that.
    """
    there = numbers[numbers >= 0]
    # Times that do not ascend are decoded in several goes.
    cuts = np.flatnonzero(np.diff(there) < 0) + 1
    goes = (beside.images(path, storage, track, np.unique(part), damage) for part in np.split(there, cuts))
    image: np.ndarray | None = None
    go: Iterator[np.ndarray | None] = iter(())
    before = 1 << 62
    try:
        for number in numbers.tolist():
            if number < 0:
                yield None
                continue
            if number < before:
                _close(go)
                go = next(goes)
            if number != before:
                image = next(go)
            before = number
            yield image
    finally:
        _close(go)


def _close(go: Iterator) -> None:
    close = getattr(go, "close", None)
    if close is not None:
        close()


def in_columns(
    frame: pl.DataFrame, sources: Mapping[str, Iterator[Row]], schema: Mapping[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    """The rows of a frame with columns made of what comes next from each source, in pieces of bounded bytes."""
    held: dict[str, list[Row]] = {name: [] for name in sources}
    first = size = 0
    for row in range(frame.height):
        for name, source in sources.items():
            try:
                found = next(source)
            except StopIteration:
                raise FileFormatError(f"{name}: there are fewer images than rows") from None
            held[name].append(found)
            size += found.nbytes if isinstance(found, np.ndarray) else 64
        if size >= _BYTES or row + 1 == frame.height:
            made = [_column(values, schema[name]).alias(name) for name, values in held.items()]
            yield frame.slice(first, row + 1 - first).with_columns(made)
            held = {name: [] for name in sources}
            first, size = row + 1, 0


def _column(values: list[Row], dtype: pl.DataType) -> pl.Series:
    if dtype == REFERENCE:
        return pl.Series(values, dtype=REFERENCE)
    return to_column(values)  # type: ignore[arg-type]
