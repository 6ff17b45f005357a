"""Videos that are written: episodes one after the other in files of bounded size, packets copied as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from robodf.errors import OptionError, QueryError, hint, listing
from robodf.io.files import StorageOptions
from robodf.io.video.beside import header
from robodf.io.video.index import NO_TIME, Track
from robodf.io.video.opening import refuse
from robodf.io.video.packets import Packets

if TYPE_CHECKING:
    pass

VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
CODECS = ("libsvtav1", "h264", "hevc")
_COPIED = ("h264", "hevc", "av1")
_THREADS = 4  # of x264 and x265: what they make depends on how many there are


class Placed(NamedTuple):
    """Where the frames of an episode are: the numbers of chunk and file, and seconds in it."""

    chunk: int
    file: int
    start: float
    stop: float


class Format(NamedTuple):
    """What packets must have in common to be in one stream."""

    codec: str
    width: int
    height: int
    pixels: str
    extra: bytes
    base: Fraction


def codec_named(codec: str | None) -> str:
    """A codec that is there to encode with; by default LeRobot's own, AV1, or H.264 where PyAV has no encoder of it."""
    import av
    from av.codec.codec import UnknownCodecError

    if codec is not None and codec not in CODECS:
        raise OptionError(f"to_lerobot: no codec {codec!r}{hint(str(codec), CODECS)} There are {listing(CODECS)}.")
    for name in CODECS[:2] if codec is None else (codec,):
        try:
            av.Codec(name, "w")
        except UnknownCodecError:
            continue
        return name
    raise OptionError(f"to_lerobot: this PyAV has no encoder {codec or CODECS[0]!r}; pass codec='h264', or video=False")


class Encoder:
    """One episode of one camera, encoded into a file of its own: every second frame is a key frame, as in LeRobot."""

    def __init__(self, path: Path, codec: str, fps: float):
        import av

        # The library of AV1 writes a page about itself to stderr otherwise.
        os.environ.setdefault("SVT_LOG", "1")
        self.path = path
        self.count = 0
        self._codec, self._fps = codec, fps
        self._container = av.open(str(path), "w", format="mp4")
        self._stream: Any = None

    def add(self, image: np.ndarray, name: str) -> None:
        """A frame of bytes; all of one size, which is even. `name` is that of the camera, for errors."""
        import av

        if image.dtype != np.uint8:
            bits = image.dtype.itemsize * 8
            raise QueryError(
                f"to_lerobot: images of {name!r} have {bits} bits: videos have 8; scale them, or pass video=False"
            )
        height, width = image.shape[:2]
        if self._stream is None:
            if height % 2 or width % 2:
                raise QueryError(
                    f"to_lerobot: images of {name!r} are {width} x {height}: a video has even sizes; resize them, or "
                    "pass video=False"
                )
            self._stream = self._open(width, height)
        if (width, height) != (self._stream.width, self._stream.height):
            raise QueryError(f"to_lerobot: images of {name!r} are {width} x {height} and {self._stream.width} x "
                             f"{self._stream.height} in one episode; resize them")  # fmt: skip
        if image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:, :, :3]), format="rgb24")
        frame.pts = self.count
        frame.time_base = 1 / _rate(self._fps)
        self._container.mux(self._stream.encode(frame))
        self.count += 1

    def _open(self, width: int, height: int) -> Any:
        options = {"g": "2", "crf": "30"}
        if self._codec == "libsvtav1":
            options["preset"] = "12"
        stream: Any = self._container.add_stream(self._codec, rate=_rate(self._fps), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if self._codec != "libsvtav1":
            stream.codec_context.thread_count = _THREADS
        return stream

    def close(self) -> None:
        """Finish the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(100_000)


class CameraFiles:
    """The files of one camera of a data set."""

    def __init__(self, folder: Path, key: str, chunk_size: int, most_bytes: int):
        self.key = key
        self._folder, self._chunk_size, self._most = folder, chunk_size, most_bytes
        self._number = -1
        self._container: Any = None
        self._stream: Any = None
        self._format: Format | None = None
        self._end = self._bytes = 0  # of what is in the file: units of time, bytes
        self._last_dts: int | None = None
        self.paths: list[Path] = []

    def append(self, path: str, storage: StorageOptions, track: Track, first: int, count: int) -> Placed:
        """Add some frames of a file, packets as they are. `complete` must be true of them."""
        with Packets(path, storage, track, refuse) as source:
            packets, stream = _packets(source, first, count), source.stream
            kind = _format(stream)
            size = sum(p.size for p in packets)
            base = int(track.pts[first])
            late = min(p.dts - base for p in packets)
            fits = self._format == kind and self._bytes + size <= self._most
            if not fits or (self._last_dts is not None and self._end + late <= self._last_dts):
                with _into_mp4(path):
                    self._next(stream, kind)
            begins = self._end
            with _into_mp4(path):
                for packet in packets:
                    packet.pts += begins - base
                    packet.dts += begins - base
                    self._last_dts = packet.dts
                    packet.stream = self._stream
                    self._container.mux_one(packet)
            self._end = begins + _duration(track, first, count, packets)
            self._bytes += size
        where = divmod(self._number, self._chunk_size)
        unit = float(kind.base)
        return Placed(*where, begins * unit, self._end * unit)

    def _next(self, stream: Any, kind: Format) -> None:
        import av

        self.close()
        self._number += 1
        chunk, file = divmod(self._number, self._chunk_size)
        path = self._folder / VIDEO_PATH.format(video_key=self.key, chunk_index=chunk, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The times of packets stay as they are, in the units of what is copied.
        options = {"video_track_timescale": str(int(1 / kind.base))} if kind.base.numerator == 1 else {}
        self._container = av.open(str(path), "w", format="mp4", options=options)
        self._stream = self._container.add_stream_from_template(stream, opaque=True)  # no encoder is needed
        self._stream.time_base = kind.base
        self._format, self._end, self._bytes, self._last_dts = kind, 0, 0, None
        self.paths.append(path)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what was added last."""
        assert self._format is not None
        return self._format.width, self._format.height

    def close(self) -> None:
        """Finish the file that is open."""
        if self._container is not None:
            self._container.close()
        self._container = None


@contextmanager
def _into_mp4(path: str) -> Iterator[None]:
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, ValueError) as error:
        raise QueryError(f"to_lerobot: the packets of {path} cannot be put into an MP4 file: {error}") from error


def complete(path: str, storage: StorageOptions, track: Track, first: int, count: int) -> bool:
    """Whether some frames can be copied: they begin with a key frame, and no packet of theirs shows any other."""
    if count < 1 or first + count > len(track.pts):
        return False
    packets = track.packet[first : first + count]
    begin = int(packets[0])
    together = int(packets.min()) == begin and int(packets.max()) - begin + 1 == count
    alone = bool((track.start[first : first + count] >= begin).all())
    if not together or not alone or (track.dts[packets] == NO_TIME).any():
        return False
    return header(path, storage).codec in _COPIED


def _packets(source: Packets, first: int, count: int) -> list[Any]:
    begin = int(source.track.packet[first])
    return list(source.some(begin, begin + count - 1))


def _duration(track: Track, first: int, count: int, packets: list[Any]) -> int:
    """How long the frames are shown, in units of the stream: the last as long as its packet says, or the one before."""
    begin, end = int(track.pts[first]), int(track.pts[first + count - 1])
    last = next((p.duration for p in packets if p.duration and p.pts is not None and p.duration > 0), 0)
    steps = np.diff(track.pts[first : first + count])
    return end - begin + int(last or (np.median(steps) if len(steps) else 1))


def _format(stream: Any) -> Format:
    context = stream.codec_context
    return Format(context.codec.canonical_name, context.width, context.height, str(context.pix_fmt or ""),
                  bytes(context.extradata or b""), Fraction(stream.time_base))  # fmt: skip
