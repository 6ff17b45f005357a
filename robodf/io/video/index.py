"""Which frames a video file has, by its packets: nothing is decoded, unless the packets do not say when they are shown.

A frame is a packet that is to be shown, in the order of presentation times. Packets before an edit list begins, and
those that show nothing, are decoded on the way but are no frames.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from robodf.errors import FileFormatError, listing
from robodf.io.counting import read as counter
from robodf.io.files import StorageOptions
from robodf.io.video.entry_points import starts
from robodf.io.video.opening import Told, decodable, demuxed, need_av, opened, prepare, told
from robodf.io.video.wholeness import missing

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

Streams = str | tuple[int, ...] | None
"""None: the one that FFmpeg takes for the best; "all"; or numbers of streams in the file."""

NO_TIME = np.iinfo(np.int64).min
_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Track:
    """One stream: its packets in the order of decoding, and its frames in the order of presentation.

    `start` is, of each frame, the packet from which on all is decoded that the frame needs; `packet` is its own.
    Where `counted`, presentation times of packets are not known: decoding begins at the start, and frames are told by
    counting them.
    """

    stream: int
    base: Fraction  # seconds of a unit of pts
    dts: np.ndarray
    packet_pts: np.ndarray
    pts: np.ndarray
    packet: np.ndarray
    start: np.ndarray
    key: np.ndarray
    end: int  # pts at which the last frame is no longer shown
    counted: bool

    @property
    def bytes(self) -> int:
        return sum(a.nbytes for a in (self.dts, self.packet_pts, self.pts, self.packet, self.start, self.key))

    @property
    def times(self) -> np.ndarray:
        """Nanoseconds since the first frame, rounded down."""
        return nanoseconds(self.pts - self.pts[:1], self.base)

    @property
    def seconds(self) -> np.ndarray:
        """The file's own times, in seconds: the first frame need not be at 0."""
        return self.pts.astype(np.float64) * float(self.base)


def nanoseconds(units: np.ndarray, base: Fraction) -> np.ndarray:
    """Exact, and OverflowError where it is more than 64 bits hold."""
    scale = base * _NS
    most = int(units.max()) if len(units) else 0
    if most * scale.numerator < 1 << 63:
        return units * scale.numerator // scale.denominator
    return np.array([u * scale.numerator // scale.denominator for u in units.tolist()], np.int64)


class _Tracks:
    """The tracks that were made last: the index and the frames of one query are read from the same ones."""

    def __init__(self, most: int):
        self._most, self._size = most, 0
        self._found: OrderedDict[Any, list[Track]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> list[Track] | None:
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: Any, tracks: list[Track]) -> None:
        with self._lock:
            if key not in self._found:
                self._found[key] = tracks
                self._size += sum(t.bytes for t in tracks)
            while self._size > self._most:
                self._size -= sum(t.bytes for t in self._found.popitem(last=False)[1])


_tracks = _Tracks(64 << 20)


def tracks(path: str, state: tuple, storage: StorageOptions, streams: Streams, damage: Told) -> list[Track]:
    """The wanted streams of a file in the order of their numbers; FileFormatError where it is not readable."""
    key = (path, state, streams)
    found = _tracks.get(key)
    if found is not None:
        return found
    told_of: list[str] = []

    def hear(problem: str) -> None:
        damage(problem)
        told_of.append(problem)

    found = _read(path, storage, streams, hear)
    if not told_of:  # what is damaged is told each time that it is read
        _tracks.put(key, found)
    return found


def _read(path: str, storage: StorageOptions, streams: Streams, damage: Told) -> list[Track]:
    problem = missing(path, storage)
    if problem is not None:
        damage(problem)
    with opened(path, storage) as container:
        wanted = chosen(container, streams, path)
        packets = _demux(container, wanted, path, damage)
        made = {s.index: _track(s, packets[s.index], container.format.name, path) for s in wanted}
    return [t or _by_decoding(path, storage, number, packets[number], damage) for number, t in made.items()]


def chosen(container: InputContainer, streams: Streams, path: str) -> list[VideoStream]:
    """The streams that are asked for; FileFormatError where the file lacks one."""
    known = {s.index: s for s in decodable(container, path)}
    if streams is None:
        best = container.streams.best("video")
        return [known.get(best.index, next(iter(known.values()))) if best else next(iter(known.values()))]
    if streams == "all":
        return list(known.values())
    for number in streams:
        if number not in known:
            raise FileFormatError(f"{path}: no video stream {number}; there is {listing(list(map(str, known)))}")
    return [known[int(number)] for number in sorted(set(streams))]


@dataclass
class _Packets:
    """Columns of the packets of one stream, in the order of the file, which is that of decoding."""

    pts: list[int]
    dts: list[int]
    key: list[bool]
    shown: list[bool]
    duration: list[int]


def _demux(container: InputContainer, wanted: list[VideoStream], path: str, damage: Told) -> dict[int, _Packets]:
    from av.stream import Discard

    found = {s.index: _Packets([], [], [], [], []) for s in wanted}
    decide = {}
    for stream in wanted:
        prepare(stream, path)
        decide[stream.index] = starts(stream.codec_context.name, stream.codec_context.extradata or b"")
    for stream in container.streams:
        if stream.index not in found:
            stream.discard = Discard.all
    for packet in demuxed(container, wanted, path, damage):
        into, at = found[packet.stream_index], decide[packet.stream_index]
        starts_here: bool | None = packet.is_keyframe
        if at is not None and (starts_here or at.__name__ == "_vp8"):
            starts_here = at(memoryview(packet))
        into.pts.append(NO_TIME if packet.pts is None else packet.pts)
        into.dts.append(NO_TIME if packet.dts is None else packet.dts)
        into.key.append(bool(starts_here) and packet.is_keyframe)
        into.shown.append(starts_here is not None and not packet.is_discard)
        into.duration.append(packet.duration or 0)
    return found


def _track(stream: VideoStream, packets: _Packets, container: str, path: str) -> Track | None:
    """None where the packets do not say when their frames are shown."""
    base = stream.time_base
    if base is None or base <= 0:
        raise FileFormatError(f"{path}: stream {stream.index} has no time base")
    pts, dts = np.array(packets.pts, np.int64), np.array(packets.dts, np.int64)
    key, shown = np.array(packets.key, bool), np.array(packets.shown, bool)
    if not len(pts):
        none = np.zeros(0, np.int64)
        return Track(stream.index, base, none, none, none, none, none, none.astype(bool), 0, False)
    visible = np.flatnonzero(shown)
    order = visible[np.argsort(pts[visible], kind="stable")]
    times = pts[order]
    if (pts == NO_TIME).any() or (np.diff(times) <= 0).any() or _reordered_without_telling(stream, pts, container):
        return None
    if len(times) and int(times[-1]) - int(times[0]) >= 1 << 62:
        raise FileFormatError(f"{path}: stream {stream.index} lasts {int(times[-1]) - int(times[0])} x {base} s")
    key[0] = True  # nothing comes before it
    entries = np.flatnonzero(key)
    # The last entry that is decoded before the frame and shown before it: what is decoded after an entry and shown
    # before it may need what is before the entry.
    start = np.zeros(len(order), np.int64)
    which = np.searchsorted(entries, order, side="right") - 1
    while True:
        start = entries[which]
        late = (which > 0) & (pts[start] > times)
        if not late.any():
            break
        which = which - late
    last = int(packets.duration[int(order[-1])]) if len(order) else 0
    if last <= 0 and len(times) > 1:
        last = int(np.median(np.diff(times)))
    end = int(times[-1]) + max(last, 1) if len(times) else 0
    return Track(stream.index, base, dts, pts, times, order, start, key[order], end, False)


def _reordered_without_telling(stream: VideoStream, pts: np.ndarray, container: str) -> bool:
    """AVI has no presentation times: FFmpeg counts packets, which is not the order in which frames are shown."""
    return container == "avi" and bool(stream.codec_context.has_b_frames) and bool((np.diff(pts) > 0).all())


def _by_decoding(path: str, storage: StorageOptions, number: int, packets: _Packets, damage: Told) -> Track:
    """The frames as they come out of the decoder, shown one after the other at the rate of the stream."""
    av = need_av("reading video")
    keys = []
    with opened(path, storage) as container:
        (stream,) = chosen(container, (number,), path)
        prepare(stream, path)
        lasts = [d for d in packets.duration if d > 0]
        rate = 1 / (int(np.median(lasts)) * stream.time_base) if lasts and stream.time_base else stream.average_rate
        try:
            for packet in demuxed(container, [stream], path, damage):
                keys += [bool(frame.key_frame) for frame in stream.codec_context.decode(packet)]
            keys += [bool(frame.key_frame) for frame in stream.codec_context.decode(None)]
        except av.FFmpegError as error:
            damage(f"{path}: stream {number}, frame {len(keys)}: {told(error)}")
    counter.add(frames=len(keys))
    frames = np.arange(len(keys), dtype=np.int64)
    none = np.full(len(packets.pts), NO_TIME)
    base, key = 1 / (rate or Fraction(25)), np.array(keys, bool)
    return Track(number, base, none, none, frames, frames, np.zeros_like(frames), key, len(keys), True)
