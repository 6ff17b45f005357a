"""Video whose frames are messages, such as foxglove.CompressedVideo: each is decoded with those before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import QueryError, SchemaError
from robodf.io.video.entry_points import starts
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
        self._waiting: deque[tuple[int, pl.DataFrame]] = deque()
        self._rows = 0

    def batch(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Take the next rows; the rows whose frames are known come out, in order."""
        first = self._rows
        self._rows += rows.height
        self._waiting.append((first, rows))
        # Without the pixels: these are columns to tell of.
        described = rows.select(*self._by, *([self._order] if self._order else []), self._format)
        facts = described.iter_rows(named=True)
        for n, (fact, data) in enumerate(zip(facts, payloads(rows.get_column(self._data))), first):
            key = tuple(fact[c] for c in self._by)
            stream = self._streams.get(key)
            if stream is None:
                stream = self._streams[key] = _Stream()
            if self._order is not None:
                self._check_order(stream, fact[self._order], key)
            self._frames.update(stream.feed(n, data, fact, self._tell))
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
            first, rows = self._waiting[0]
            holding = [s for s in self._streams.values() if s.awaited and s.awaited[0] < first + rows.height]
            if holding and len(self._waiting) <= most:
                return
            for stream in holding:
                self._frames.update(stream.drain(self._tell))
            self._waiting.popleft()
            yield self._with_frames(first, rows)

    def _with_frames(self, first: int, rows: pl.DataFrame) -> pl.DataFrame:
        made = Images(("frame",), self._resolution, rows.height)
        parts = []
        for n in range(first, first + rows.height):
            frame = self._frames.pop(n, None)
            if frame is None:
                made.add_null(1)
            else:
                if made.is_full(frame):
                    parts.append(made.take())
                made.add(frame, {}, 1)
        parts.append(made.take())
        return rows.with_columns(pl.concat(parts).get_column("frame").alias(self._name))


class _Stream:
    """One decoder. `awaited` are the rows that it was given and has not answered."""

    def __init__(self) -> None:
        self.last: Any = None
        self.awaited: deque[int] = deque()
        self._facts: dict[int, dict[str, Any]] = {}
        self._codec: str | None = None
        self._context: Any = None
        self._starts: Any = None
        self._group: list[bytes] = []  # since the last message at which decoding can start
        self._rebuild = False

    def feed(self, n: int, data: memoryview | None, fact: dict[str, Any], tell: Tell) -> dict[int, VideoFrame]:
        found: dict[int, VideoFrame] = {}
        format = list(fact.values())[-1]
        codec = CODECS.get((format or "").lower())
        if codec is None or data is None or not len(data):
            why = "no bytes" if codec else f"the format {format!r} is no video that is decoded ({', '.join(CODECS)})"
            tell(n, fact, why, True)
            return found
        if codec != self._codec:
            found = self.drain(tell)
            self._open(codec)
        if self._starts is None or self._starts(data):
            self._group = []
        elif not self._group:
            tell(n, fact, "no key frame before it", False)
            return found
        if self._rebuild:
            self._again()
        self._group.append(bytes(data))
        self.awaited.append(n)
        self._facts[n] = fact
        found.update(self._ask(self._group[-1], n, tell))
        return found

    def drain(self, tell: Tell) -> dict[int, VideoFrame]:
        """What the decoder holds back; what comes later is decoded after the group is given to it again."""
        if self._context is None or not self.awaited:
            return {}
        found = self._ask(None, 0, tell)
        self._missing(None, tell)
        self._context.flush_buffers()
        self._rebuild = True
        return found

    def _open(self, codec: str) -> None:
        av = need_av("decode_video")
        self._codec, self._group, self._rebuild = codec, [], False
        context = av.CodecContext.create(codec, "r")
        context.thread_count = 1  # several hold frames back
        context.options = {"max_pixels": str(MOST_PIXELS)}
        self._context = context
        self._starts = starts(codec, b"")

    def _again(self) -> None:
        av = need_av("decode_video")
        self._rebuild = False
        for k, data in enumerate(self._group):
            packet = av.Packet(data)
            packet.pts = k - len(self._group)
            try:
                self._context.decode(packet)
            except av.FFmpegError:  # it was told when it was decoded before
                self._group = []
                return

    def _ask(self, data: bytes | None, n: int, tell: Tell) -> dict[int, VideoFrame]:
        av = need_av("decode_video")
        packet = None
        if data is not None:
            packet = av.Packet(data)
            packet.pts = n
        found: dict[int, VideoFrame] = {}
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            self._damaged(n, told(error), tell)
            return found
        for frame in frames:
            if frame.pts is None or frame.pts < 0:
                continue
            self._missing(frame.pts, tell)
            if self.awaited and self.awaited[0] == frame.pts:
                self.awaited.popleft()
                fact = self._facts.pop(frame.pts)
                if frame.is_corrupt:
                    tell(frame.pts, fact, "its data is damaged", True)
                    self._group = []
                elif self._group or data is None:
                    found[frame.pts] = frame
                else:
                    tell(frame.pts, fact, "a message that it needs is damaged", True)
        return found

    def _damaged(self, n: int, why: str, tell: Tell) -> None:
        """Nothing after it is right, until decoding starts anew."""
        while self.awaited:
            row = self.awaited.popleft()
            tell(row, self._facts.pop(row), why, True)
        self._group = []
        self._context.flush_buffers()

    def _missing(self, before: int | None, tell: Tell) -> None:
        """Rows that later ones overtook show nothing."""
        while self.awaited and (before is None or self.awaited[0] < before):
            row = self.awaited.popleft()
            tell(row, self._facts.pop(row), "it holds no frame", True)


def check(schema: dict[str, pl.DataType], data: str, format: str) -> None:
    """SchemaError for columns that hold no video."""
    if schema[data] != pl.Binary:
        raise SchemaError(f"decode_video takes bytes (Binary), not {data!r} of {schema[data]}")
    if not isinstance(schema[format], (pl.String, pl.Categorical, pl.Enum)):
        raise SchemaError(f"decode_video takes the format as text such as 'h264', not {format!r} of {schema[format]}")
