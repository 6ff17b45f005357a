"""Wanted frames of a stream, decoded forward only, each packet at most once.

Wanted frames are put into runs: from the packet at which decoding can start to the last one that is needed. Nothing
outside of a run is decoded, and no run begins before the one before it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robodf.io.counting import read as counter
from robodf.io.files import StorageOptions
from robodf.io.video.index import Track, chosen
from robodf.io.video.opening import Told, demuxed, need_av, opened, prepare, told

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer
    from av.packet import Packet

_WORTH_A_SEEK = 64  # packets that are passed over without one
_MOST_THREADS = 16  # of a decoder of FFmpeg that finds their number itself

Frames = Iterator[tuple[int, "VideoFrame"]]


@dataclass(frozen=True)
class Run:
    """Frames `first` to `last` of the wanted ones (a slice), got by decoding the packets `start` to `end`."""

    first: int
    last: int
    start: int
    end: int

    @property
    def packets(self) -> int:
        return self.end - self.start + 1


def runs(track: Track, wanted: np.ndarray) -> list[Run]:
    """The runs of some frames (numbers, ascending), ascending and apart."""
    made: list[Run] = []
    for k, (start, packet) in enumerate(zip(track.start[wanted].tolist(), track.packet[wanted].tolist())):
        if made and start <= made[-1].end + 1:
            before = made[-1]
            made[-1] = Run(before.first, k + 1, before.start, max(before.end, packet))
        else:
            made.append(Run(k, k + 1, start, packet))
    return made


def frames(
    path: str, storage: StorageOptions, track: Track, wanted: np.ndarray, damage: Told, threads: int = 0
) -> Frames:
    """The wanted frames (numbers, ascending, each once) that can be decoded, with their numbers, in order."""
    plan = runs(track, wanted)
    with _Reader(path, storage, track, damage, threads) as reader:
        for k, run in enumerate(plan):
            try:
                yield from reader.run(run, wanted[run.first : run.last])
            except _NoEntryError:
                # The stream starts anew less often than it says: what is left is decoded from its start.
                reader.reopen()
                rest = Run(run.first, len(wanted), 0, max(r.end for r in plan[k:]))
                yield from reader.run(rest, wanted[run.first :])
                return


class _NoEntryError(Exception):
    """Decoding cannot start where the index says so."""


class _Reader:
    """A file, and which packet of the stream comes next."""

    def __init__(self, path: str, storage: StorageOptions, track: Track, damage: Told, threads: int):
        self._path, self._storage, self._track = path, storage, track
        self._damage, self._threads = damage, threads
        self._av: Any = need_av("reading video")
        self._opened: Any = None

    def __enter__(self) -> _Reader:
        self.reopen()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(None, None, None)

    def reopen(self) -> None:
        """Go to the first packet."""
        from av.stream import Discard

        if self._opened is not None:
            self._opened.__exit__(None, None, None)
        self._opened = opened(self._path, self._storage)
        self._container: InputContainer = self._opened.__enter__()
        (self._stream,) = chosen(self._container, (self._track.stream,), self._path)
        self._stream: VideoStream
        prepare(self._stream, self._path, self._threads)
        for other in self._container.streams:
            if other.index != self._stream.index:
                other.discard = Discard.all
        self._next = 0
        self._packets = self._demuxed()
        self._damaged: list[int] = []  # packets

    def run(self, run: Run, wanted: np.ndarray) -> Frames:
        track = self._track
        self._go_to(run.start)
        if track.counted:
            yield from self._counted(wanted)
            return
        number = dict(zip(track.pts[wanted].tolist(), wanted.tolist()))
        entry = int(track.packet_pts[run.start])
        unsure = run.start > 0 and bool((track.packet == run.start).any())  # of packets that are shown
        for frame in self._decoded(run.packets):
            if unsure and frame.pts is not None and frame.pts >= entry:
                if frame.pts != entry or not frame.key_frame:
                    raise _NoEntryError
                unsure = False
            if frame.is_corrupt and frame.pts is not None:
                self._hurt(int(np.searchsorted(track.pts, frame.pts)), frame)
            found = number.pop(frame.pts, None)  # type: ignore[arg-type]
            if found is not None and not self._needs_what_is_damaged(found):
                yield found, frame

    def _counted(self, wanted: np.ndarray) -> Frames:
        left = iter(wanted.tolist())
        awaited = next(left)
        for number, frame in enumerate(self._decoded(None)):
            if frame.is_corrupt:
                self._hurt(number, frame)
            if number == awaited:
                if not self._needs_what_is_damaged(number):
                    yield number, frame
                awaited = next(left, None)
                if awaited is None:
                    return

    def _hurt(self, number: int, frame: VideoFrame) -> None:
        """A decoder hides what is missing in a frame by what is around it."""
        if number < len(self._track.packet):
            self._damaged.append(int(self._track.packet[number]))
        self._damage(f"{self._path}: stream {self._track.stream}, frame {number}: its data is damaged")

    def _needs_what_is_damaged(self, number: int) -> bool:
        """Whether damage lies on its way: a frame that is decoded from damaged ones looks right to the decoder."""
        track = self._track
        if track.counted:
            return bool(self._damaged)
        return any(track.start[number] <= at <= track.packet[number] for at in self._damaged)

    def _decoded(self, count: int | None) -> Iterator[VideoFrame]:
        """What the next packets hold (None: all that are left)."""
        context = self._stream.codec_context
        sent = 0
        try:
            while count is None or sent < count:
                packet = self._packet()
                if packet is None:
                    break
                sent += 1
                yield from self._asked(packet)
            if context.is_open:
                yield from self._asked(None)
        finally:
            counter.add(frames=sent)
            if context.is_open:
                context.flush_buffers()

    def _asked(self, packet: Packet | None) -> list[VideoFrame]:
        here = self._next - 1
        what = "its end" if packet is None else f"the packet of pts {packet.pts} at byte {packet.pos}"
        what = f"{self._path}: stream {self._track.stream}, {what}"
        if packet is not None and packet.is_corrupt:
            self._damaged.append(here)
            self._damage(f"{what}: it is cut off")
            return []
        try:
            return self._stream.codec_context.decode(packet)
        except self._av.FFmpegError as error:
            # Threads decode several packets at once: it may have been one before.
            self._damaged += range(max(0, here - _MOST_THREADS), here + 1)
            self._damage(f"{what}: {told(error)}")
            return []

    def _packet(self) -> Packet | None:
        """The next packet of the stream; None after the last."""
        packet = next(self._packets, None)
        self._next += packet is not None
        return packet

    def _demuxed(self) -> Iterator[Packet]:
        return demuxed(self._container, [self._stream], self._path, self._damage)

    def _go_to(self, start: int) -> None:
        """Make `start` the next packet."""
        ahead = start - self._next
        if ahead > _WORTH_A_SEEK and not self._track.counted and self._seek(start):
            return
        if ahead < 0 or self._next < 0:
            self.reopen()
        while self._next < start and self._packet() is not None:
            pass

    def _seek(self, start: int) -> bool:
        """Go to the packet or to one before it; False where that is not known to have been reached."""
        track = self._track
        before = self._next
        # Matroska finds frames by pts, others by dts.
        times = track.packet_pts if "matroska" in self._container.format.name else track.dts
        try:
            self._container.seek(int(times[start]), stream=self._stream, backward=True)
        except self._av.FFmpegError:
            self._next = -1
            return False
        self._packets = self._demuxed()
        self._next = -1
        packet = self._packet()
        at = np.flatnonzero(track.packet_pts == packet.pts) if packet is not None and packet.pts is not None else ()
        if len(at) != 1 or not before <= int(at[0]) <= start:
            self._next = -1
            return False
        position = int(at[0])
        assert packet is not None
        if position == start:
            self._packets = _behind(packet, self._packets)
            self._next = position
            return True
        self._next = position + 1
        while self._next < start and self._packet() is not None:
            pass
        return True


def _behind(first: Packet, rest: Iterator[Packet]) -> Iterator[Packet]:
    yield first
    yield from rest
