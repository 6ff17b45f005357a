"""Writing images of a query to video files: one, or one for each value of a column."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl

from robodf.compat import KEEP_ORDER
from robodf.errors import OptionError, QueryError, SchemaError, column_not_found, hint
from robodf.images.layout import IMAGE, to_arrays
from robodf.io import publish
from robodf.io.sink import WriteReport
from robodf.io.video.opening import need_av, told

ENCODERS = {
    "h264": "libx264", "h265": "libx265", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "ffv1": "ffv1",
    "mpeg4": "mpeg4", "mjpeg": "mjpeg",
}  # fmt: skip
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
_ARRAYS = {(3, 1): "rgb24", (4, 1): "rgba", (1, 1): "gray", (1, 2): "gray16le"}
_PIXELS = {"mjpeg": "yuvj420p"}
_MICROSECOND = Fraction(1, 1_000_000)
_ROWS = 64


@dataclass(frozen=True)
class VideoSink:
    """One write, checked as far as the schema of the frame tells. `columns` are those that it reads."""

    name: str
    path: Path
    column: str
    by: str | None
    time: str | None
    rate: Fraction | None
    codec: str
    pixels: str
    container: str
    extension: str
    options: tuple[tuple[str, str], ...]
    mode: str

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for c in (self.by, self.time, self.column) if c is not None))

    def write(self, query: pl.LazyFrame) -> WriteReport:
        """Run the query of `columns` and encode its rows, in their order."""
        started = clock.monotonic()
        with publish.staging(self.path) as area, self._disk():
            staged = area / ("file" if self.by is None else "new")
            if self.by is not None:
                staged.mkdir()
            files = _Files(self, staged)
            try:
                for batch in query.collect_batches(
                    chunk_size=_ROWS, maintain_order=True, engine="streaming", optimizations=KEEP_ORDER
                ):
                    files.write(batch)
                files.end()
            finally:
                files.close()
            if not files.made:
                raise QueryError("to_video: there are no rows, and so no frames to make a video of")
            size = sum(f.stat().st_size for f in files.made)
            replace = self.mode == "overwrite"
            if self.by is None:
                publish.publish_file(staged, self.path, replace=replace)
                names = [self.path]
            else:
                publish.sync_tree(staged)
                with publish.publishing(self.path):
                    publish.publish_directory(staged, self.path, replace=replace)
                names = [self.path / f.name for f in files.made]
        return WriteReport(self.name, files.rows, tuple(map(str, names)), size, clock.monotonic() - started)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise publish.naming(error, self.path) from error


class _Files:
    """The file that is written, and those that are done."""

    def __init__(self, sink: VideoSink, staged: Path):
        self.rows = 0
        self.made: list[Path] = []
        self._sink, self._staged = sink, staged
        self._key: Any = None
        self._open: _Encoder | None = None
        self._seen: set[Any] = set()

    def write(self, batch: pl.DataFrame) -> None:
        sink = self._sink
        times = None if sink.time is None else _microseconds(batch.get_column(sink.time))
        keys = [None] * batch.height if sink.by is None else batch.get_column(sink.by).to_list()
        for k, image in enumerate(to_arrays(batch.get_column(sink.column))):
            if image is None:
                self._refuse(f"has no image in {sink.column!r}; drop such rows (drop_nulls) first")
            if self._open is None or keys[k] != self._key:
                self._next(keys[k])
            assert self._open is not None
            assert image is not None
            at = None if times is None else times[k]
            if times is not None and at is None:
                self._refuse(f"has no time in {sink.time!r}")
            self._open.add(image, at, self._refuse)
            self.rows += 1

    def _refuse(self, why: str) -> None:
        raise QueryError(f"to_video: row {self.rows} {why}")

    def _next(self, key: Any) -> None:
        self.end()
        sink = self._sink
        path = self._staged
        if sink.by is not None:
            if key is None:
                self._refuse(f"has null in {sink.by!r}, which names the file")
            if key in self._seen:
                self._refuse(f"is of {key!r} again, whose file is done: sort by {sink.by!r} first")
            self._seen.add(key)
            path = self._staged / (quote(str(key), safe=" ").replace(".", "%2E") + sink.extension)
            if path in self.made or len(os.fsencode(path.name)) > 255:
                self._refuse(f"has {key!r} in {sink.by!r}, which makes no name of a file of its own")
        self._key, self._open = key, _Encoder(path, sink)
        self.made.append(path)

    def end(self) -> None:
        """Finish the file that is written."""
        if self._open is not None:
            self._open.finish()
            self._open = None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()


class _Encoder:
    """One file of frames of one size."""

    def __init__(self, path: Path, sink: VideoSink):
        self._av = need_av("to_video")
        self._sink = sink
        self._out = self._av.open(str(path), "w", format=sink.container)
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        self._first = self._count = 0
        self._last = -1

    def add(self, image: np.ndarray, at: int | None, refuse: Any) -> None:
        shape = image.shape if image.ndim == 3 else (*image.shape, 1)
        if self._stream is None:
            self._start(shape, at, refuse)
        if shape != self._shape:
            refuse(f"is {_said(shape)}, but its video began with {_said(self._shape)}: resize it first")
        kind = _ARRAYS[(shape[2], image.dtype.itemsize)]
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=kind)
        frame.pts = self._count if at is None else at - self._first
        frame.time_base = self._base
        if frame.pts <= self._last:
            refuse(f"is not later than the one before it, by {self._sink.time!r}: sort by it, and drop equal times")
        self._last = frame.pts
        self._count += 1
        self._encode(frame)

    def _start(self, shape: tuple[int, ...], at: int | None, refuse: Any) -> None:
        sink = self._sink
        if "420" in sink.pixels and (shape[0] % 2 or shape[1] % 2):
            refuse(
                f"is {_said(shape)}: {sink.pixels} halves height and width, so they are even; resize it, or pass "
                "pixel_format='yuv444p'"
            )
        self._shape = shape
        self._first = at or 0
        self._base = 1 / sink.rate if sink.rate is not None else _MICROSECOND
        self._stream = self._out.add_stream(ENCODERS[sink.codec], rate=sink.rate or 30)
        self._stream.height, self._stream.width = shape[:2]
        self._stream.pix_fmt = sink.pixels
        self._stream.options = dict(sink.options)
        self._stream.codec_context.time_base = self._base

    def _encode(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._out.mux(packet)
        except self._av.FFmpegError as error:
            if isinstance(error, OSError) and error.errno in (28, 122, 27, 30):  # a full disk is one of the disk
                raise
            raise OptionError(f"to_video: {self._sink.codec} does not encode this: {told(error)}") from error

    def finish(self) -> None:
        if self._stream is not None:
            self._encode(None)
        self._out.close()

    def close(self) -> None:
        self._out.close()


def _said(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} pixels of {shape[2]} channels"


def _microseconds(times: pl.Series) -> list[int | None]:
    dtype = times.dtype
    if isinstance(dtype, pl.Datetime):
        times = times.dt.cast_time_unit("ns").cast(pl.Int64)
    elif isinstance(dtype, pl.Duration):
        times = times.dt.total_nanoseconds()
    return (times.cast(pl.Int64) // 1000).to_list()


def video_sink(
    schema: Mapping[str, Any], target: str | os.PathLike[str], *, column: str, fps: float | None, time: str | None,
    by: str | None, codec: str, pixel_format: str | None, options: Mapping[str, Any], mode: str, container: str,
) -> VideoSink:  # fmt: skip
    """Check a write; the arguments are those of `to_video`, which says what they mean."""
    av = need_av("to_video")
    for name in (column, time, by):
        if name is not None and name not in schema:
            raise column_not_found(name, schema, "to_video")
    if schema[column] != IMAGE:
        raise SchemaError(f"to_video: column {column!r} is {schema[column]}, not an image; rd.decode makes images")
    if (fps is None) == (time is None):
        raise OptionError("to_video: pass fps=, or time= for the column that says when each frame is shown")
    if fps is not None and (
        isinstance(fps, bool) or not isinstance(fps, (int, float, Fraction)) or not 0 < fps < 10_000
    ):
        raise OptionError(f"to_video: fps is a positive number of frames per second, not {fps!r}")
    if time is not None and not (schema[time].is_integer() or isinstance(schema[time], (pl.Datetime, pl.Duration))):
        raise SchemaError(f"to_video: time column {time!r} is {schema[time]}: it takes Datetime, Duration, or ns")
    if codec not in ENCODERS:
        raise OptionError(f"to_video: no codec {codec!r}{hint(codec, ENCODERS)} There are {', '.join(ENCODERS)}")
    if ENCODERS[codec] not in av.codecs_available:
        raise OptionError(f"to_video: this PyAV has no encoder {ENCODERS[codec]!r} for codec={codec!r}")
    if mode not in ("error", "overwrite"):
        raise OptionError(f"to_video: mode is 'error' or 'overwrite', not {mode!r}")
    text = os.fspath(target).removeprefix("file://")
    if "://" in text or not text:
        raise OptionError(f"to_video: {text!r} is no local path; write a local file and upload it")
    extension = os.path.splitext(text)[1].lower() if by is None else f".{container.removeprefix('.')}"
    if extension not in CONTAINERS:
        raise OptionError(f"to_video: the name ends in one of {', '.join(CONTAINERS)}, not {extension!r}: {text!r}")
    path = Path(os.path.realpath(os.path.expanduser(text)))
    if by is None and path.is_dir():
        raise OptionError(f"to_video: {text!r} is a directory; name a file, or pass by= for one file each value")
    if by is not None and path.exists() and not path.is_dir():
        raise OptionError(f"to_video: {text!r} is a file, where a directory of files is to be written")
    if by is not None and path.is_dir() and mode == "overwrite":
        strange = [p.name for p in path.iterdir() if p.suffix.lower() not in CONTAINERS]
        if strange:
            raise OptionError(f"to_video: {text!r} holds other files ({strange[0]!r}), so it is not replaced")
    if mode == "error" and path.exists() and (by is None or any(path.iterdir())):
        raise publish.exists(path)
    rate = None if fps is None else Fraction(fps).limit_denominator(1001)
    pixels = pixel_format or _PIXELS.get(codec, "yuv420p")
    settings = tuple((k, str(v)) for k, v in sorted(options.items()))
    return VideoSink(
        text, path, column, by, time, rate, codec, pixels, CONTAINERS[extension], extension, settings, mode
    )
