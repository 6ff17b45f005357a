"""Video: messages of a log into images, and images into files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robodf.errors import OptionError, QueryError, column_not_found
from robodf.frame.base import FrameBase
from robodf.plan.resolve import column_names

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.sink import WriteReport


class Videos(FrameBase):
    """Methods for topics of video, and for columns of images."""

    def decode_video(self, data: str = "data", *, format: str = "format", by: Any = "recording",
                     order: str | None = "log_time", name: str = "frame", resolution: tuple[int, int] | None = None,
                     on_error: str = "raise") -> PipelineDataFrame:  # fmt: skip
        """The frames of a topic of video messages (foxglove.CompressedVideo) as images, in a new column.

        Each message is decoded after those before it, so this takes all rows of a stream: filter on times and the like
        after it. Then decoding begins at the last key frame before each row that is left, and what no such row needs is
        not decoded (nor is it told where that is damaged). A filter on `by` goes before it by itself. Rows stay as they
        are and in their order.

        Parameters
        ----------
        data, format
            The columns of the bytes of one frame, and of its codec: h264, h265, vp8, vp9 or av1.
        by
            The columns whose values tell streams apart; None: all rows are one.
        order
            The column that never falls within a stream (QueryError where it does: sort by it first); None: not looked
            at.
        name
            Of the new column, Struct(height, width, encoding "rgb8", step, data) as `rd.read_video` gives. It is null
            before the first message at which decoding can start, which `df.errors` tells.
        resolution
            (height, width) that frames are scaled to.
        on_error
            "raise": FileFormatError for a message that cannot be decoded. "skip" and "collect": null, as all after it
            up to the next key frame; `df.errors` tells.

        For images that are messages of their own (JPEG, PNG) use `rd.decode`. Needs `pip install 'robodf[video]'`.

        >>> import av, numpy as np, robodf as rd
        >>> encoder = av.CodecContext.create("mpeg4", "w")
        >>> df = rd.from_dict({"recording": ["a"], "log_time": [1], "format": ["h264"], "data": [b"no key frame"]})
        >>> df.decode_video().collect()["frame"].to_list()
        [None]
        """
        from robodf.frame.calling import on_error_of
        from robodf.images.video_messages import check
        from robodf.io.video import _resolution
        from robodf.io.video.opening import need_av
        from robodf.plan.failures import OnError
        from robodf.plan.nodes.video import DecodeVideo

        need_av("decode_video")
        schema = self._plan.schema
        for column in (data, format, *([order] if order else [])):
            if column not in schema:
                raise column_not_found(column, schema, "decode_video")
        check(schema, data, format)
        if name in schema:
            raise QueryError(f"decode_video: there is a column {name!r} already; give name=")
        keys = () if by is None else column_names([by], schema, "decode_video")
        on_error_of(on_error)
        return self._then(
            DecodeVideo(self._plan, data, format, keys, order, name, _resolution(resolution), OnError(on_error))
        )

    def to_video(self, path: str | os.PathLike, column: str = "frame", *, fps: float | None = None,
                 time: str | None = None, by: str | None = None, codec: str = "h264", pixel_format: str | None = None,
                 options: Mapping[str, Any] | None = None, container: str = "mp4", mode: str = "error",
                 engine: str | None = None) -> WriteReport:  # fmt: skip
        """Encode a column of images as video, in the order of the rows. Executes the query.

        Parameters
        ----------
        path
            A local file whose name says the container (.mp4, .mov, .mkv, .webm, .avi), or with `by` a directory. What
            was there stays whole until all is written; `mode` says what happens where it exists: error or overwrite.
        fps, time
            The rate, or the column of the times at which frames are shown (Datetime, Duration, or integers of ns;
            kept to the microsecond). Times rise; the video begins at the first.
        by
            A column: one file for each of its values, which is its name (percent-escaped), in the format `container`.
            Rows of one value are together.
        codec
            h264, h265, av1, vp9, mpeg4, mjpeg, or ffv1, which loses nothing but what `pixel_format` does.
        pixel_format
            yuv420p by default, which halves the resolution of colours; ffv1 with "bgr0" keeps rgb8 exactly.
        options
            Of the encoder, as FFmpeg names them: {"crf": 23, "g": 30, "preset": "fast"}.

        Raises
        ------
        OptionError, SchemaError
            Before anything runs, for arguments and columns that do not fit.
        QueryError
            For a row without an image, of another size than those before it, or whose time does not rise.

        >>> import numpy as np, os, robodf as rd, tempfile
        >>> from robodf.images.layout import to_column
        >>> images = to_column([np.full((32, 48, 3), k, np.uint8) for k in range(10)])
        >>> name = os.path.join(tempfile.mkdtemp(), "a.mkv")
        >>> rd.from_dict({"frame": images}).to_video(name, fps=10, codec="ffv1", pixel_format="bgr0").rows
        10
        >>> found = rd.read_video(name).collect()
        >>> found["frame"].struct.field("data")[3] == bytes([3]) * 32 * 48 * 3
        True
        """
        from robodf.io.video.write import video_sink
        from robodf.physical.engine import prepared
        from robodf.physical.local import user_errors
        from robodf.physical.progress import progress
        from robodf.plan.expr import Col
        from robodf.plan.nodes.project import Select

        if not isinstance(column, str):
            raise OptionError(f"to_video: column is the name of a column of images, not {column!r}")
        sink = video_sink(self._plan.schema, path, column=column, fps=fps, time=time, by=by, codec=codec,
                          pixel_format=pixel_format, options=options or {}, mode=mode, container=container)  # fmt: skip
        query = prepared(Select(self._plan, tuple((name, Col(name)) for name in sink.columns)), engine)
        with user_errors(self._plan), progress("write video"):
            return sink.write(query)
