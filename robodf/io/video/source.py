"""Video files as a source: rows from an index of packets, frames decoded for rows that are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from robodf.errors import FileFormatError
from robodf.images.layout import IMAGE
from robodf.io.files import is_remote
from robodf.io.indexed_files import IndexedFiles
from robodf.io.video.decode import frames
from robodf.io.video.images import Images
from robodf.io.video.index import Streams, Track, tracks
from robodf.io.video.quality import COLUMNS, Luma, measured
from robodf.io.video.sampling import Times, at_rate, at_times

if TYPE_CHECKING:
    from av import VideoFrame

_LIGHT: dict[str, pl.DataType] = {
    "path": pl.String(),
    "stream": pl.UInt32(),
    "frame_index": pl.UInt32(),
    "frame_time": pl.Duration("ns"),
    "key_frame": pl.Boolean(),
    "pts": pl.Int64(),
}
_CHEAP = 256 << 20  # bytes of files that are demuxed while a query is planned


@dataclass(frozen=True)
class Videos(IndexedFiles):
    """Frames of video files, or those that are shown at some times."""

    streams: Streams = None
    frame_rate: Fraction | None = None
    timestamps: Times | None = None
    resolution: tuple[int, int] | None = None  # height, width
    quality: bool = False

    __hash__ = IndexedFiles.hash_once

    @property
    def name(self) -> str:
        return "video"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        sampled: dict[str, pl.DataType] = {"sample_time": pl.Duration("ns")} if self._sampled else {}
        return {**_LIGHT, **sampled, "frame": IMAGE, **(COLUMNS if self.quality else {})}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(["frame", *(COLUMNS if self.quality else {})])

    @property
    def index_is_cheap(self) -> bool:
        return sum(size for size, _ in self.state) <= _CHEAP and not any(map(is_remote, self.paths))

    @property
    def _sampled(self) -> bool:
        return self.frame_rate is not None or self.timestamps is not None

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        parts = [self._rows(path, track) for track in self._tracks(path)]
        return pl.concat(parts) if parts else pl.DataFrame(schema=self._index_schema)

    @property
    def _index_schema(self) -> dict[str, pl.DataType]:
        return {name: dtype for name, dtype in self.schema.items() if name not in self.heavy and name != "path"}

    def _rows(self, path: str, track: Track) -> pl.DataFrame:
        try:
            chosen, at = self._chosen_frames(path, track)
            times = track.times[chosen]
        except OverflowError as error:
            raise FileFormatError(f"{path}: stream {track.stream} has times beyond 292 years") from error
        made: dict[str, Any] = {
            "stream": np.full(len(chosen), track.stream, np.uint32),
            "frame_index": chosen.astype(np.uint32),
            "frame_time": times,
            "key_frame": track.key[chosen],
            "pts": pl.repeat(None, len(chosen), dtype=pl.Int64, eager=True) if track.counted else track.pts[chosen],
        }  # fmt: skip
        if self._sampled:
            made["sample_time"] = at
        return pl.DataFrame(made).cast({name: dtype for name, dtype in self._index_schema.items() if name in made})

    def _chosen_frames(self, path: str, track: Track) -> tuple[np.ndarray, np.ndarray]:
        """Of each row the number of its frame, ascending, and the time that was asked for."""
        if self.frame_rate is not None:
            return at_rate(track, self.frame_rate)
        if self.timestamps is not None:
            asked = dict(self.timestamps)
            return at_times(track, asked.get(path, asked.get(None, ())), path, self._damage(path))
        every = np.arange(len(track.pts))
        return every, every

    def _tracks(self, path: str) -> list[Track]:
        state = self.state[self.paths.index(path)]
        return tracks(path, state, dict(self.storage), self.streams, self._damage(path))

    def _damage(self, path: str):  # type: ignore[no-untyped-def]
        def tell(problem: str) -> None:
            if self.on_error == "raise":
                raise FileFormatError(f"{problem}. Pass on_error='collect' to read what is there")
            self.log.add(path, problem)

        return tell

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        first = 0
        for track in self._tracks(path):
            chosen, _ = self._chosen_frames(path, track)
            mine = rows[(rows >= first) & (rows < first + len(chosen))] - first
            first += len(chosen)
            if len(mine):
                yield from self._read_track(path, track, chosen[mine], columns)

    def _read_track(
        self, path: str, track: Track, of_rows: np.ndarray, columns: tuple[str, ...]
    ) -> Iterator[pl.DataFrame]:
        damage = self._damage(path)
        wanted, times = np.unique(of_rows, return_counts=True)
        needed = wanted
        if "change" in columns:
            needed = np.union1d(wanted, np.maximum(wanted - 1, 0))
        made = Images(columns, self.resolution, len(wanted))
        numbers = tuple(c for c in columns if c != "frame")
        small = Luma() if numbers else None
        before: tuple[int, np.ndarray] | None = None
        at = 0

        def gone(until: int) -> None:
            """Rows of frames that did not come out of the decoder."""
            nonlocal at
            while at < len(wanted) and wanted[at] < until:
                damage(f"{path}: stream {track.stream}, frame {wanted[at]}: it cannot be decoded")
                made.add_null(int(times[at]))
                at += 1

        for number, frame in self._decoded(path, track, needed):
            gone(number)
            measures: dict[str, Any] = {}
            if small is not None:
                luma = small.of(frame)
                measures = measured(
                    luma, before[1] if before is not None and before[0] == number - 1 else None, numbers
                )
                before = (number, luma)
            if at < len(wanted) and wanted[at] == number:
                if made.is_full(frame):
                    yield made.take()
                made.add(frame, measures, int(times[at]))
                at += 1
        gone(len(track.pts))
        if made.height:
            yield made.take()

    def _decoded(self, path: str, track: Track, needed: np.ndarray) -> Iterator[tuple[int, VideoFrame]]:
        return frames(path, dict(self.storage), track, needed, self._damage(path))
