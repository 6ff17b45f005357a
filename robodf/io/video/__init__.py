"""Video files: frames as rows, decoded for the rows that are wanted."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from robodf.errors import OptionError

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.sink import WriteReport

__all__ = ["cut_video", "read_video"]

_MOST_SIDE = 1 << 14


def read_video(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    frame_rate: float | None = None,
    timestamps: Iterable[Any] | Mapping[str, Iterable[Any]] | None = None,
    resolution: tuple[int, int] | None = None,
    streams: str | int | Iterable[int] | None = None,
    quality: bool = False,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of video files (MP4, MOV, Matroska, WebM, AVI, MPEG-TS, FLV, ...), one row per frame.

    The rows come from the packets of the files; nothing is decoded for them. Columns:

    - `path`, `stream` (its number in the file), `frame_index` (from 0, in the order in which frames are shown);
    - `frame_time`: Duration("ns") since the first frame of the stream, from the file's own times, rounded down;
    - `key_frame`: decoding can start here. A container's own mark is believed for codecs other than H.264, H.265, AV1
      and VP8, where the pictures themselves are looked at;
    - `pts`: the time in the file's own units; null where the file has none (AVI of H.264, raw streams), whose frames
      are counted by decoding them, and are shown at the rate of the stream;
    - `frame`: the image, Struct(height, width, encoding "rgb8", step, data), as PyAV converts it. It is decoded for
      rows that are left when all else of the query has been decided on. Each group of pictures is decoded at most
      once, forward only. A turn by 90 degrees that a file asks its player for is not applied.

    Filters on all columns but `frame` (and those of `quality`) choose rows before anything is decoded.

    Parameters
    ----------
    frame_rate
        Rows for the times 0, 1 / frame_rate, 2 / frame_rate, ... instead of frames: the frame that is shown then, the
        last one that began. A frame that is shown at several of these times is in several rows. Adds `sample_time`.
    timestamps
        Rows for these times, in order: seconds since the first frame, or timedelta; a dict gives them by path. A frame
        that begins within 0.1 ms after a time counts (others keep times as 32-bit floats). Adds `sample_time`.
        A time at which nothing is shown is an error of the file.
    resolution
        (height, width) that frames are scaled to while they are converted (bilinear), whatever their shape was.
    streams
        None: of each file the stream that FFmpeg takes for the best; "all"; or numbers as in the column `stream`.
    quality
        Adds columns that are computed from the luma of frames, made small (at most 320 x 180), without colours:

        - `sharpness`: the variance of its Laplacian; what is blurred has little. Compare it within one camera;
        - `exposure`: its mean, from 0 (black) to 1;
        - `change`: the mean difference to the frame that was shown before, from 0 to 1; null of the first frame. Frozen
          video has (almost) none, and a new scene has much:
          `df.segment(at=rd.col("change") > 0.2, on="frame_time", by="path")` has a row for each scene;
        - `luma_hash`: the perceptual hash of `rd.phash`, for near duplicates: `df.dedup`.
    on_error
        "raise": FileFormatError for a file that is damaged, or a frame that cannot be decoded. "skip" and "collect":
        the frame is null, what is cut off is left out, and `df.errors` tells.

    Raises FileFormatError, which names the file, OptionError for arguments, ImportError without PyAV.

    >>> import robodf as rd, numpy as np, os, tempfile
    >>> from robodf.images.layout import to_column
    >>> images = to_column([np.full((32, 48, 3), 8 * k, np.uint8) for k in range(30)])
    >>> name = os.path.join(tempfile.mkdtemp(), "a.mp4")
    >>> report = rd.from_dict({"frame": images}).to_video(name, fps=10)
    >>> df = rd.read_video(name, frame_rate=1)
    >>> df.filter(rd.col("frame_index") > 0).select("frame_time", "frame_index").collect().rows()
    [(datetime.timedelta(seconds=1), 10), (datetime.timedelta(seconds=2), 20)]
    """
    from robodf.io.files import list_files
    from robodf.io.formats import formats
    from robodf.io.read import from_source
    from robodf.io.video.opening import need_av
    from robodf.io.video.sampling import rate_of, times_of
    from robodf.io.video.source import Videos

    need_av("read_video")
    if frame_rate is not None and timestamps is not None:
        raise OptionError("read_video: frame_rate and timestamps both say at which times: pass one of them")
    files = list_files(paths, formats()["video"].extensions, storage_options)  # type: ignore[arg-type]
    times = times_of(timestamps)
    for path, _ in times or ():
        if path is not None and path not in files:
            raise OptionError(f"read_video: timestamps has a file {path!r} that is not among the paths")
    source = Videos.of(
        files,
        storage_options,
        on_error,
        streams=_streams(streams),
        frame_rate=rate_of(frame_rate),
        timestamps=times,
        resolution=_resolution(resolution),
        quality=bool(quality),
    )
    return from_source(source)


def cut_video(
    path: str | os.PathLike,
    out: str | os.PathLike,
    start: Any = 0,
    end: Any = None,
    *,
    stream: int | None = None,
    mode: str = "error",
    storage_options: dict | None = None,
) -> WriteReport:
    """Copy the frames that begin at or after `start` and before `end` to another file, as they are encoded.

    `start` and `end` are seconds (or timedelta) since the first frame; None is the end. Nothing is decoded: the pixels
    are those of the original, and a cut takes as long as copying. So a cut begins where decoding can start, and ends
    where no later frame is needed: OptionError, with the nearest such times, for another. To cut anywhere, encode anew:
    `rd.read_video(path).filter(...).to_video(out, time="frame_time")`.

    One stream is copied (the best, or the one of that number), without sound. The new file begins at 0; its name says
    the container (.mp4, .mov, .mkv, .webm, .avi).

    >>> import robodf as rd, numpy as np, os, tempfile
    >>> from robodf.images.layout import to_column
    >>> folder = tempfile.mkdtemp()
    >>> images = to_column([np.full((32, 32, 3), k * 8, np.uint8) for k in range(30)])
    >>> whole = os.path.join(folder, "a.mp4")
    >>> rd.from_dict({"frame": images}).to_video(whole, fps=10, options={"g": 10, "bf": 0}).rows
    30
    >>> rd.cut_video(whole, os.path.join(folder, "b.mp4"), start=1, end=2).rows
    10
    """
    from robodf.io.video.cut import cut

    return cut(path, out, start, end, stream, mode, storage_options)


def _streams(given: Any) -> str | tuple[int, ...] | None:
    if given is None or given == "all":
        return given
    try:
        numbers = tuple(sorted({operator.index(n) for n in ([given] if isinstance(given, int) else given)}))
    except TypeError:
        numbers = ()
    if not numbers or isinstance(given, (str, bool)):
        raise OptionError(f"read_video: streams is None (the best), 'all', or numbers of streams, not {given!r}")
    return numbers


def _resolution(given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    try:
        height, width = (operator.index(n) for n in given)
    except (TypeError, ValueError):
        height = width = 0
    if not (0 < height <= _MOST_SIDE and 0 < width <= _MOST_SIDE):
        raise OptionError(f"read_video: resolution is (height, width) in pixels, up to {_MOST_SIDE}, not {given!r}")
    return height, width
