"""Small video files of many codecs and containers, made by PyAV; and what a decoder gives of them in a row."""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import Any

import av
import numpy as np

SIZE = (48, 64)  # height, width


def picture(k: int) -> np.ndarray:
    """A picture unlike that of other numbers, with something that moves."""
    height, width = SIZE
    made = np.full((height, width, 3), (k * 7 % 200, 40, 200 - k * 5 % 200), np.uint8)
    made[:, k * 2 % width : k * 2 % width + 8] = 255 - k
    return made


def video(
    container: str, codec: str, frames: int = 30, options: Mapping[str, str] = MappingProxyType({}), *, rate: int = 10,
    pixels: str = "yuv420p", pts: list[int] | None = None, base: Fraction | None = None,
    container_options: Mapping[str, str] = MappingProxyType({}), streams: int = 1,
) -> bytes:  # fmt: skip
    """A file of `frames` pictures in each stream; the second stream shows them from the last to the first."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=dict(container_options)) as out:
        made = []
        for _ in range(streams):
            stream: Any = out.add_stream(codec, rate=rate)
            stream.height, stream.width = SIZE
            stream.pix_fmt, stream.options = pixels, dict(options)
            stream.codec_context.thread_count = 1
            if base is not None:
                stream.codec_context.time_base = base
            made.append(stream)
        for k in range(frames):
            for n, stream in enumerate(made):
                frame = av.VideoFrame.from_ndarray(picture(frames - 1 - k if n else k), format="rgb24")
                if pts is not None:
                    frame.pts, frame.time_base = pts[k], base  # type: ignore[assignment]
                out.mux(stream.encode(frame))
        for stream in made:
            out.mux(stream.encode())
    return file.getvalue()


_OPEN = "open-gop=1:keyint=10:bframes=3:b-adapt=0:scenecut=0:log-level=none"

_MADE: dict[str, dict[str, Any]] = {
    "h264.mp4": {"container": "mp4", "codec": "libx264", "options": {"g": "10", "bf": "2"}},
    "open_gop.mp4": {"container": "mp4", "codec": "libx264", "options": {"x264-params": _OPEN}},
    "fragments.mp4": {"container": "mp4", "codec": "libx264", "options": {"g": "10"},
                      "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "refresh.mkv": {"container": "matroska", "codec": "libx264",
                    "options": {"x264-params": "intra-refresh=1:keyint=10"}},
    "uneven.mkv": {"container": "matroska", "codec": "libx264", "options": {"g": "10"}, "base": Fraction(1, 1000),
                   "pts": [k * k * 3 for k in range(30)]},
    "two.mkv": {"container": "matroska", "codec": "libx264", "options": {"g": "8"}, "streams": 2},
    "h264.ts": {"container": "mpegts", "codec": "libx264", "options": {"g": "10", "bf": "2"}},
    "h264.flv": {"container": "flv", "codec": "libx264", "options": {"g": "10", "bf": "2"}},
    "h264.avi": {"container": "avi", "codec": "libx264", "options": {"g": "10", "bf": "2"}},
    "raw.h264": {"container": "h264", "codec": "libx264", "options": {"g": "10", "bf": "2"}},
    "mpeg4.avi": {"container": "avi", "codec": "mpeg4", "options": {"g": "10", "bf": "2"}},
    "mpeg2.mpg": {"container": "mpeg", "codec": "mpeg2video", "options": {"g": "10", "bf": "2"}, "rate": 25},
    "hevc.mp4": {"container": "mp4", "codec": "libx265", "options": {"x265-params": _OPEN}},
    "av1.mkv": {"container": "matroska", "codec": "libsvtav1", "options": {"g": "10", "preset": "12"}},
    "av1.mp4": {"container": "mp4", "codec": "libsvtav1", "options": {"g": "10", "preset": "12"}},
    "vp8.webm": {"container": "webm", "codec": "libvpx",
                 "options": {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "10"}},
    "vp9.webm": {"container": "webm", "codec": "libvpx-vp9", "options": {"g": "10", "lag-in-frames": "10"}},
    "mjpeg.avi": {"container": "avi", "codec": "mjpeg", "pixels": "yuvj420p"},
    "ffv1.mkv": {"container": "matroska", "codec": "ffv1"},
}  # fmt: skip


@cache
def samples() -> dict[str, bytes]:
    """Valid files by name, without those whose encoder this FFmpeg lacks."""
    return {name: video(**how) for name, how in _MADE.items() if how["codec"] in av.codecs_available}


def decoded(data: bytes, number: int | None = None) -> list[tuple[int | None, bool, np.ndarray]]:
    """pts, key frame and pixels of all frames of a stream (the best), decoded in a row."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.best("video") if number is None else container.streams[number]
        assert stream is not None
        return [(f.pts, f.key_frame, f.to_ndarray(format="rgb24")) for f in container.decode(stream)]  # type: ignore[union-attr]
