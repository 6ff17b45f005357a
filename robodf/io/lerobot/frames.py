"""Frames of a video by their numbers, decoded forward: each group of pictures once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from robodf.errors import FileFormatError, RobodfError
from robodf.io.file_object import open_object
from robodf.io.files import StorageOptions, fingerprint

MOST_PIXELS = 1 << 26
_FORMATS = "mov,matroska,avi"
_WORTH_A_SEEK = 64  # frames that are decoded for nothing


@dataclass(frozen=True)
class Video:
    """The frames of a file in the order in which they are shown: presentation times, and which are key frames."""

    base: Fraction  # seconds of a unit of pts
    pts: np.ndarray
    key: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """Seconds."""
        return self.pts.astype(np.float64) * float(self.base)


@contextmanager
def opened(path: str, storage: StorageOptions) -> Iterator[tuple[Any, Any]]:
    """A container and its first stream of pictures; what FFmpeg raises is a FileFormatError that names the file."""
    import av
    from av.error import FFmpegError

    with open_object(path, storage) as file:
        try:
            with av.open(file, container_options={"format_whitelist": _FORMATS, "protocol_whitelist": ""},
                         metadata_errors="replace") as container:  # fmt: skip
                if not container.streams.video:
                    raise FileFormatError(f"{path}: there is no video in it")
                stream = container.streams.video[0]
                context = stream.codec_context
                if context is None or not stream.time_base or context.width * context.height > MOST_PIXELS:
                    raise FileFormatError(f"{path}: a broken video: it tells no times, or no bearable size")
                yield container, stream
        except RobodfError:
            raise
        except (FFmpegError, ValueError, OverflowError) as error:
            raise FileFormatError(f"{path}: a broken video: {error}") from error


def frame_rate(path: str, storage: StorageOptions) -> float | None:
    """Frames a second, by the header; None where it does not tell."""
    with opened(path, storage) as (_, stream):
        return float(stream.average_rate) if stream.average_rate else None


def index(path: str, storage: StorageOptions) -> Video:
    """The frames of a file, by its packets: nothing is decoded. Those of the files read last are kept."""
    key = path, fingerprint(path, storage)
    found = _kept.get(key)
    if found is None:
        found = _index(path, storage)
        with _keeping:
            _kept[key] = found
            while sum(len(v.pts) for v in _kept.values()) > _MOST_KEPT and len(_kept) > 1:
                _kept.pop(next(iter(_kept)))
    return found


_kept: dict[tuple, Video] = {}
_keeping = threading.Lock()
_MOST_KEPT = 4_000_000  # frames


def _index(path: str, storage: StorageOptions) -> Video:
    with opened(path, storage) as (container, stream):
        found = [(p.pts, bool(p.is_keyframe)) for p in container.demux(stream) if p.size and not p.is_discard]
        if any(pts is None for pts, _ in found):
            raise FileFormatError(f"{path}: its packets do not say when their frames are shown")
        found.sort()
        pts = np.array([pts for pts, _ in found], np.int64)
        if (np.diff(pts) <= 0).any():
            raise FileFormatError(f"{path}: two frames are shown at the same time")
        return Video(Fraction(stream.time_base), pts, np.array([key for _, key in found], bool))


def images(
    path: str, storage: StorageOptions, video: Video, numbers: np.ndarray, size: tuple[int, int] | None = None
) -> Iterator[np.ndarray]:
    """The frames of some numbers, ascending and none twice, as arrays (height, width, 3) of RGB.

    `size` is a width and a height to which they are resized.
    """
    width, height = size or (None, None)
    keys = np.flatnonzero(video.key)
    with opened(path, storage) as (container, stream):
        stream.thread_type = "AUTO"
        at = -1  # the number of the frame that was decoded last
        frames: Iterator[Any] = container.decode(stream)
        for number in numbers.tolist():
            key = int(keys[max(0, np.searchsorted(keys, number, side="right") - 1)]) if len(keys) else 0
            if key > at + _WORTH_A_SEEK:
                container.seek(int(video.pts[key]), stream=stream, backward=True)
                frames = container.decode(stream)
            wanted = int(video.pts[number])
            for frame in frames:
                if frame.pts == wanted:
                    break
                if frame.pts is not None and frame.pts > wanted:
                    raise FileFormatError(f"{path}: frame {number} cannot be decoded")
            else:
                raise FileFormatError(f"{path}: frame {number} cannot be decoded")
            at = number
            yield frame.to_ndarray(format="rgb24", width=width, height=height)
