"""Wanted frames of a stream, decoded forward only, each packet at most once.

Wanted frames are put into runs: from the packet at which decoding can start to the last one that is needed. Nothing
outside of a run is decoded, and no run begins before the one before it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robodf.io.counting import read as counter
from robodf.io.files import StorageOptions
from robodf.io.video.index import Track
from robodf.io.video.opening import Told, told
from robodf.io.video.packets import Packets

if TYPE_CHECKING:
    from av import VideoFrame
    from av.packet import Packet

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


class _Reader(Packets):
    """A file whose packets are decoded, run by run."""

    def reopen(self) -> None:
        super().reopen()
        self._damaged: list[int] = []  # packets

    def run(self, run: Run, wanted: np.ndarray) -> Frames:
        track = self.track
        self.go_to(run.start)
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
        if number < len(self.track.packet):
            self._damaged.append(int(self.track.packet[number]))
        self.damage(f"{self.path}: stream {self.track.stream}, frame {number}: its data is damaged")

    def _needs_what_is_damaged(self, number: int) -> bool:
        """Whether damage lies on its way: a frame that is decoded from damaged ones looks right to the decoder."""
        track = self.track
        if track.counted:
            return bool(self._damaged)
        return any(track.start[number] <= at <= track.packet[number] for at in self._damaged)

    def _decoded(self, count: int | None) -> Iterator[VideoFrame]:
        """What the next packets hold (None: all that are left)."""
        context = self.stream.codec_context
        sent = 0
        try:
            while count is None or sent < count:
                packet = self.take()
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
        here = self.next - 1
        what = "its end" if packet is None else f"the packet of pts {packet.pts} at byte {packet.pos}"
        what = f"{self.path}: stream {self.track.stream}, {what}"
        if packet is not None and packet.is_corrupt:
            self._damaged.append(here)
            self.damage(f"{what}: it is cut off")
            return []
        try:
            return self.stream.codec_context.decode(packet)
        except self._av.FFmpegError as error:
            # Threads decode several packets at once: it may have been one before.
            self._damaged += range(max(0, here - _MOST_THREADS), here + 1)
            self.damage(f"{what}: {told(error)}")
            return []
