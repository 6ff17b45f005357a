"""Video files as FFmpeg opens them: by their content, with no other file or network in reach, within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from robodf.errors import FileFormatError
from robodf.io.file_object import open_object
from robodf.io.files import StorageOptions

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer
    from av.packet import Packet

Told = Callable[[str], None]
"""Is told of damage; raises where that is not to be borne."""

# FFmpeg would open the files and addresses that a playlist names, whatever the name of the playlist.
_CONTAINERS = "matroska,avi,mpegts,mpeg,mpegvideo,flv,h264,hevc,obu,ivf,yuv4mpegpipe"

FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"sidx", b"uuid", b"pnot")
"""What an MP4 file begins with. What begins otherwise is not read as one, as its boxes have not been looked at."""

MOST_PIXELS = 1 << 26
"""Of a frame; a decoder keeps some twenty at once."""


def need_av(doing: str) -> Any:
    """PyAV, or the ImportError that says what to install."""
    try:
        import av
        import av.logging
    except ImportError as error:
        raise ImportError(f"{doing} needs PyAV: pip install 'robodf[video]'") from error
    return av


@contextmanager
def opened(path: str, storage: StorageOptions = None) -> Iterator[InputContainer]:
    """A container that is read from; FileFormatError where it is none, or has no video."""
    av = need_av("reading video")
    with open_object(path, storage) as file:
        formats = ("mov," if file.peek(8)[4:8] in FIRST_BOXES else "") + _CONTAINERS
        options = {"format_whitelist": formats, "protocol_whitelist": ""}
        try:
            container = av.open(file, container_options=options, metadata_errors="replace")
        except av.FFmpegError as error:
            raise FileFormatError(f"{path}: not a video file that FFmpeg reads: {told(error)}") from error
        try:
            yield container
        finally:
            container.close()


def decodable(container: InputContainer, path: str) -> list[VideoStream]:
    """The streams of pictures, in the order of the file, without covers; FileFormatError where there are none."""
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not streams:
        raise FileFormatError(f"{path}: no video stream in this {container.format.name} file")
    return streams


def prepare(stream: VideoStream, path: str, threads: int = 0) -> None:
    """Check that its frames are of a bearable size, and set how many threads decode it (0: one a processor)."""
    context = stream.codec_context
    if context is None:
        raise FileFormatError(f"{path}: no decoder for stream {stream.index}")
    if context.width * context.height > MOST_PIXELS:
        raise FileFormatError(
            f"{path}: stream {stream.index} says {context.width} x {context.height} pixels; the most is {MOST_PIXELS:,}"
        )
    if not context.is_open:
        context.thread_type = "AUTO"
        context.thread_count = threads
        context.options = {"max_pixels": str(MOST_PIXELS)}


def demuxed(container: InputContainer, streams: list[VideoStream], path: str, damage: Told) -> Iterator[Packet]:
    """The packets of some streams that hold something, in the order of the file, up to where it is damaged."""
    av = need_av("reading video")
    try:
        for packet in container.demux(streams):
            if packet.size:
                yield packet
    except av.FFmpegError as error:
        damage(f"{path}: damaged: {told(error)}")
    except IndexError:
        return  # all packets were given: PyAV then looks for a stream that began in between, which it does not know


def refuse(problem: str) -> None:
    """Damage is not to be borne."""
    raise FileFormatError(problem)


def told(error: Exception) -> str:
    """What FFmpeg says of an error, in one line."""
    log = getattr(error, "log", None)
    said = getattr(error, "strerror", None) or str(error)
    return f"{said} ({log[2].strip()})" if log else said
