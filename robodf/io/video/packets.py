"""The packets of a stream by their numbers, forward, with a seek where that skips more than it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from robodf.errors import FileFormatError
from robodf.io.files import StorageOptions
from robodf.io.video.index import Track, chosen
from robodf.io.video.opening import Told, demuxed, need_av, opened, prepare

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer
    from av.packet import Packet

_WORTH_A_SEEK = 64  # packets that are passed over without one


class Packets:
    """An open file, its stream, and which packet of that comes next: `next`, -1 where it is not known."""

    def __init__(self, path: str, storage: StorageOptions, track: Track, damage: Told, threads: int = 0):
        self.path, self.track, self.damage = path, track, damage
        self._storage, self._threads = storage, threads
        self._av: Any = need_av("reading video")
        self._opened: Any = None

    def __enter__(self) -> Self:
        self.reopen()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(None, None, None)

    def reopen(self) -> None:
        """Go to the first packet."""
        from av.stream import Discard

        if self._opened is not None:
            self._opened.__exit__(None, None, None)
        self._opened = opened(self.path, self._storage)
        self._container: InputContainer = self._opened.__enter__()
        (self.stream,) = chosen(self._container, (self.track.stream,), self.path)
        self.stream: VideoStream
        prepare(self.stream, self.path, self._threads)
        for other in self._container.streams:
            if other.index != self.stream.index:
                other.discard = Discard.all
        self.next = 0
        self._packets = self._demuxed()

    def some(self, first: int, last: int) -> Iterator[Packet]:
        """The packets from one number to another, as they are; FileFormatError where the file has them no more."""
        self.go_to(first)
        for number in range(first, last + 1):
            packet = self.take()
            if packet is None:
                raise FileFormatError(f"{self.path}: stream {self.track.stream} has no packet {number} any more")
            yield packet

    def take(self) -> Packet | None:
        """The next packet of the stream; None after the last."""
        packet = next(self._packets, None)
        self.next += packet is not None
        return packet

    def _demuxed(self) -> Iterator[Packet]:
        return demuxed(self._container, [self.stream], self.path, self.damage)

    def go_to(self, start: int) -> None:
        """Make `start` the next packet."""
        ahead = start - self.next
        if ahead > _WORTH_A_SEEK and not self.track.counted and self._seek(start):
            return
        if ahead < 0 or self.next < 0:
            self.reopen()
        while self.next < start and self.take() is not None:
            pass

    def _seek(self, start: int) -> bool:
        """Go to the packet or to one before it; False where that is not known to have been reached."""
        track = self.track
        before = self.next
        # Matroska finds frames by pts, others by dts.
        times = track.packet_pts if "matroska" in self._container.format.name else track.dts
        try:
            self._container.seek(int(times[start]), stream=self.stream, backward=True)
        except self._av.FFmpegError:
            self.next = -1
            return False
        self._packets = self._demuxed()
        self.next = -1
        packet = self.take()
        at = np.flatnonzero(track.packet_pts == packet.pts) if packet is not None and packet.pts is not None else ()
        if len(at) != 1 or not before <= int(at[0]) <= start:
            self.next = -1
            return False
        position = int(at[0])
        assert packet is not None
        if position == start:
            self._packets = _behind(packet, self._packets)
            self.next = position
            return True
        self.next = position + 1
        while self.next < start and self.take() is not None:
            pass
        return True


def _behind(first: Packet, rest: Iterator[Packet]) -> Iterator[Packet]:
    yield first
    yield from rest
