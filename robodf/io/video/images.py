"""Decoded frames into columns: pixels of many frames in one buffer, which becomes the column as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from robodf.images.layout import IMAGE
from robodf.io.video.quality import COLUMNS, plane

if TYPE_CHECKING:
    from av import VideoFrame

_BYTES = 32 << 20
_ROWS = 4096


class Images:
    """Rows of `columns`, some of "frame" and the quality columns, until they are taken.

    `expected` is how many frames will be added at most: no more memory is taken than these fill.
    """

    def __init__(self, columns: tuple[str, ...], resolution: tuple[int, int] | None, expected: int):
        from av.video.reformatter import VideoReformatter

        self._columns, self._resolution, self._expected = columns, resolution, expected
        self._reformatter = VideoReformatter()
        self._clear()

    def _clear(self) -> None:
        self._buffer = np.empty(0, np.uint8)
        self._ends = [0]
        self._sizes: list[tuple[int, int] | None] = []
        self._measures: list[dict[str, Any]] = []
        self._repeats: list[int] = []
        self.height = 0

    def is_full(self, frame: VideoFrame) -> bool:
        """Whether what is there is to be taken before this frame is added."""
        if "frame" not in self._columns:
            return self.height >= _ROWS
        height, width = self._resolution or (frame.height, frame.width)
        return self.height > 0 and self._ends[-1] + height * width * 3 > max(_BYTES, len(self._buffer))

    def add(self, frame: VideoFrame, measures: dict[str, Any], rows: int) -> None:
        """A frame that is in so many rows."""
        if "frame" in self._columns:
            height, width = self._resolution or (frame.height, frame.width)
            rgb = self._reformatter.reformat(frame, width, height, "rgb24", threads=1)
            size = height * width * 3
            self._grow(size)
            into = self._buffer[self._ends[-1] : self._ends[-1] + size].reshape(height, width * 3)
            np.copyto(into, plane(rgb, 3))
            self._ends.append(self._ends[-1] + size)
            self._sizes.append((height, width))
        self._measures.append(measures)
        self._repeats.append(rows)
        self.height += rows

    def add_null(self, rows: int) -> None:
        """A frame that cannot be decoded."""
        self._ends.append(self._ends[-1])
        self._sizes.append(None)
        self._measures.append({})
        self._repeats.append(rows)
        self.height += rows

    def _grow(self, size: int) -> None:
        """Make room for a frame, and for as many more of its size as are to come, up to a bound."""
        used = self._ends[-1]
        if used + size > len(self._buffer):
            bigger = np.empty(max(used + size, min(used + size * max(self._expected, 1), _BYTES)), np.uint8)
            bigger[:used] = self._buffer[:used]
            self._buffer = bigger
        self._expected -= 1

    def take(self) -> pl.DataFrame:
        """The rows so far."""
        made: dict[str, pl.Series] = {}
        for name in self._columns:
            if name == "frame":
                made[name] = self._images()
            else:
                made[name] = pl.Series([m.get(name) for m in self._measures], dtype=COLUMNS[name])
        frame = pl.DataFrame(made)
        if self.height != len(self._repeats):
            frame = frame[np.repeat(np.arange(len(self._repeats)), self._repeats)]
        self._clear()
        return frame

    def _images(self) -> pl.Series:
        there = [s is not None for s in self._sizes]
        sizes = np.array([s or (0, 0) for s in self._sizes], np.uint32).reshape(-1, 2)
        data = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(self._sizes),
            [None, pa.py_buffer(np.array(self._ends, np.int64)), pa.py_buffer(self._buffer[: self._ends[-1]])],
        )  # fmt: skip
        fields = pl.DataFrame(
            {
                "height": sizes[:, 0],
                "width": sizes[:, 1],
                "encoding": pl.Series(["rgb8"]).new_from_index(0, len(there)),
                "step": sizes[:, 1] * np.uint32(3),
                "data": pl.Series("data", pl.from_arrow(data)),
            }
        )
        images = fields.to_struct("frame")
        if not all(there):
            known = pl.Series(there)
            images = pl.select(pl.when(known).then(images)).to_series().alias("frame")
        return images.cast(IMAGE) if images.dtype != IMAGE else images
