"""Video whose frames are messages, such as foxglove.CompressedVideo: each is decoded with those before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from robodf.errors import QueryError, SchemaError
from robodf.io.counting import read as counter
from robodf.io.video.entry_points import closed, starts
from robodf.io.video.images import Images
from robodf.io.video.opening import MOST_PIXELS, need_av, told
from robodf.ros.payloads import payloads

if TYPE_CHECKING:
    from av import VideoFrame

CODECS = {
    "h264": "h264", "avc": "h264", "h265": "hevc", "hevc": "hevc", "vp8": "vp8", "vp9": "vp9", "av1": "libdav1d",
}  # fmt: skip
BATCH = 64
"""Rows that are decoded at once."""

_HELD = 8  # batches that wait for frames which a decoder holds back

Tell = Callable[[int, dict[str, Any], str, bool], None]
"""Is told of a row without a frame: its number, its columns, why, and whether that is damage."""


class Decoding:
    """All streams of a query, one for each value of the columns `by`, and the rows that wait for their frames."""

    def __init__(self, data: str, format: str, by: tuple[str, ...], order: str | None, name: str,
                 resolution: tuple[int, int] | None, tell: Tell):  # fmt: skip
        self._data, self._format, self._by, self._order, self._name = data, format, by, order, name
        self._resolution, self._tell = resolution, tell
        self._streams: dict[tuple, _Stream] = {}
        self._frames: dict[int, VideoFrame] = {}
        self._waiting: deque[tuple[list[int], pl.DataFrame]] = deque()
        self._rows = 0

    def batch(self, rows: pl.DataFrame, wanted: pl.Series | None = None) -> Iterator[pl.DataFrame]:
        """Take the next rows; those wanted (None: all) whose frames are known come out, in order."""
        numbers = range(self._rows, self._rows + rows.height)
        self._rows += rows.height
        asked = [True] * rows.height if wanted is None else wanted.to_list()
        if any(asked):
            kept = rows if wanted is None else rows.filter(wanted)
            self._waiting.append(([n for n, yes in zip(numbers, asked) if yes], kept))
        # Without the pixels: these are columns to tell of.
        described = rows.select(*self._by, *([self._order] if self._order else []), self._format)
        facts = described.iter_rows(named=True)
        for n, fact, data, yes in zip(numbers, facts, payloads(rows.get_column(self._data)), asked):
            key = tuple(fact[c] for c in self._by)
            stream = self._streams.get(key)
            if stream is None:
                stream = self._streams[key] = _Stream(self._tell)
            if self._order is not None:
                self._check_order(stream, fact[self._order], key)
            self._frames.update(stream.feed(n, data, fact, yes))
        yield from self._known(_HELD)

    def end(self) -> Iterator[pl.DataFrame]:
        """The rows that are left."""
        yield from self._known(0)

    def _check_order(self, stream: _Stream, at: Any, key: tuple) -> None:
        if at is not None and stream.last is not None and at < stream.last:
            raise QueryError(
                f"decode_video: rows of {key} are not in order of {self._order}: sort by it first, "
                "as a frame needs those before it"
            )
        stream.last = stream.last if at is None else at

    def _known(self, most: int) -> Iterator[pl.DataFrame]:
        while self._waiting:
            numbers, rows = self._waiting[0]
            holding = [s for s in self._streams.values() if s.awaited and s.awaited[0] <= numbers[-1]]
            if holding and len(self._waiting) <= most:
                return
            for stream in holding:
                self._frames.update(stream.drain())
            self._waiting.popleft()
            yield self._with_frames(numbers, rows)

    def _with_frames(self, numbers: list[int], rows: pl.DataFrame) -> pl.DataFrame:
        made = Images(("frame",), self._resolution, rows.height)
        parts = []
        for n in numbers:
            frame = self._frames.pop(n, None)
            if frame is None:
                made.add_null(1)
            else:
                if made.is_full(frame):
                    parts.append(made.take())
                made.add(frame, {}, 1)
        parts.append(made.take())
        return rows.with_columns(pl.concat(parts).get_column("frame").alias(self._name))


class _Message(NamedTuple):
    """The number of its row, its bytes, what is told of it, and why there is nothing to decode."""

    row: int
    data: bytes
    fact: dict[str, Any]
    why: str | None = None


class _Stream:
    """One decoder. `awaited` are the rows that are wanted, and that it was given and has not answered.

    Messages wait in `_group` until one of them is wanted: they are those since the last at which decoding can start, so
    that of groups in which no row is wanted nothing is decoded.
    """

    def __init__(self, tell: Tell) -> None:
        self.last: Any = None
        self.awaited: deque[int] = deque()
        self._tell = tell
        self._facts: dict[int, dict[str, Any]] = {}
        self._codec: str | None = None
        self._context: Any = None
        self._starts: Any = None
        self._closed: Any = None
        self._group: list[_Message] = []
        self._start = 0  # the place in the group of the last message at which decoding can start
        self._given = 0  # how many of the group the decoder has, from its first on
        self._gap = False  # whether it lacks messages before the group
        self._bad: int | None = None  # the row of the last damage
        self._began = 0  # the row of the first start after that

    def feed(self, row: int, data: memoryview | None, fact: dict[str, Any], wanted: bool) -> dict[int, VideoFrame]:
        """Take the next message, and decode up to it if it is wanted."""
        found: dict[int, VideoFrame] = {}
        format = list(fact.values())[-1]
        codec = CODECS.get((format or "").lower())
        why = None
        if codec is None:
            why = f"the format {format!r} is no video that is decoded ({', '.join(CODECS)})"
        elif data is None or not len(data):
            why = "no bytes"
        elif codec != self._codec:
            found = self.drain()
            self._open(codec)
        if data is not None and why is None and self._starts(data):
            self._begin(row, self._closed(data))
        elif not self._group:
            if wanted:
                self._tell(row, fact, why or "no key frame before it", why is not None)
            return found
        self._group.append(_Message(row, b"" if data is None else bytes(data), fact, why))
        if wanted:
            found.update(self._decode())
        return found

    def _begin(self, row: int, closed: bool) -> None:
        """Forget what no later message needs. Where pictures that follow a start may be shown before it, and need what
        is before it, that is all up to the start before."""
        gone = len(self._group) if closed else self._start
        if self._given < gone:
            self._gap, self._given = True, 0
        else:
            self._given -= gone
        if not self._group and self._bad is not None and self._began <= self._bad:
            self._began = row
        self._group = self._group[gone:]
        self._start = len(self._group)

    def _decode(self) -> dict[int, VideoFrame]:
        """Decode the group up to its last message, which is wanted."""
        found: dict[int, VideoFrame] = {}
        if self._gap:
            found = self.drain()
            self._context.flush_buffers()
            self._gap = False
        self.awaited.append(self._group[-1].row)
        self._facts[self._group[-1].row] = self._group[-1].fact
        for message in self._group[self._given :]:
            if not self.awaited:  # what is wanted was told of
                break
            self._given += 1
            if message.why is not None:
                self._damaged(message.row, message.why)
            else:
                found.update(self._ask(message))
        if not self._group:
            self._given = 0
        return found

    def drain(self) -> dict[int, VideoFrame]:
        """What the decoder holds back; what comes later is decoded after the group is given to it again."""
        if self._context is None or not self.awaited:
            return {}
        found = self._ask(None)
        self._missing(None)
        self._context.flush_buffers()
        self._given = 0
        return found

    def _open(self, codec: str) -> None:
        av = need_av("decode_video")
        self._codec = codec
        self._forget()
        context = av.CodecContext.create(codec, "r")
        context.thread_count = 1  # several hold frames back
        context.options = {"max_pixels": str(MOST_PIXELS)}
        self._context = context
        self._starts, self._closed = starts(codec, b""), closed(codec)
        self._gap = False

    def _forget(self) -> None:
        self._group, self._start, self._given = [], 0, 0

    def _ask(self, message: _Message | None) -> dict[int, VideoFrame]:
        av = need_av("decode_video")
        packet = None
        if message is not None:
            packet = av.Packet(message.data)
            packet.pts = message.row
            counter.add(frames=1)
        found: dict[int, VideoFrame] = {}
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            self._damaged(self.awaited[0] if message is None else message.row, told(error))
            return found
        for frame in frames:
            if frame.pts is None:
                continue
            self._missing(frame.pts)
            if frame.is_corrupt:
                self._bad = frame.pts
                if self._group and frame.pts < self._group[0].row:  # held back: decoding has started anew since
                    self._began = self._group[0].row
                else:
                    self._forget()
            if not self.awaited or self.awaited[0] != frame.pts:
                continue
            self.awaited.popleft()
            fact = self._facts.pop(frame.pts)
            if frame.is_corrupt:
                self._tell(frame.pts, fact, "its data is damaged", True)
            elif self._spoiled(frame.pts):
                self._tell(frame.pts, fact, "a message that it needs is damaged", True)
            else:
                found[frame.pts] = frame
        return found

    def _spoiled(self, row: int) -> bool:
        """Whether damage lies before a row, and no start between them: a decoder gives what looks right to it."""
        return self._bad is not None and self._bad <= row and not self._bad < self._began <= row

    def _damaged(self, row: int, why: str) -> None:
        """Nothing after it is right, until decoding starts anew."""
        while self.awaited:
            waiting = self.awaited.popleft()
            needed = why if waiting == row else f"a message that it needs, in row {row}, cannot be decoded: {why}"
            self._tell(waiting, self._facts.pop(waiting), needed, True)
        self._bad = row
        self._forget()
        self._context.flush_buffers()

    def _missing(self, before: int | None) -> None:
        """Rows that later ones overtook show nothing."""
        while self.awaited and (before is None or self.awaited[0] < before):
            row = self.awaited.popleft()
            self._tell(row, self._facts.pop(row), "it holds no frame", True)


def check(schema: dict[str, pl.DataType], data: str, format: str) -> None:
    """SchemaError for columns that hold no video."""
    if schema[data] != pl.Binary:
        raise SchemaError(f"decode_video takes bytes (Binary), not {data!r} of {schema[data]}")
    if not isinstance(schema[format], (pl.String, pl.Categorical, pl.Enum)):
        raise SchemaError(f"decode_video takes the format as text such as 'h264', not {format!r} of {schema[format]}")
