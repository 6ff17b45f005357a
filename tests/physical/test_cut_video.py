"""Video in partitions: a recording of messages is one stream, a file is one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
from cut_plans import ROOMY, SMALL, optimized, run_cut, same_rows

import robodf as rd
from robodf.images.layout import to_column
from robodf.plan.nodes.video import DecodeVideo


def messages(shift: int) -> list[bytes]:
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt, encoder.framerate = 32, 32, "yuv420p", 10
    encoder.options = {"bf": "0", "g": "5", "sc_threshold": "0"}
    pictures = [np.full((32, 32, 3), 9 * k + shift, np.uint8) for k in range(12)]
    frames = [av.VideoFrame.from_ndarray(p, format="rgb24") for p in pictures]
    return [bytes(p) for f in [*frames, None] for p in encoder.encode(f)]


def test_messages_are_cut_by_recording() -> None:
    parts = {name: messages(k) for k, name in enumerate("abc")}
    parts["b"] = parts["b"][2:]  # what is before its next key frame is told
    rows = [
        {"recording": name, "log_time": k, "format": "h264", "data": data}
        for name, all in parts.items()
        for k, data in enumerate(all)
    ]
    table = pl.DataFrame(rows).sort("log_time", "recording")
    df = rd.from_polars(table).decode_video()
    assert isinstance(df._plan, DecodeVideo)
    for limits in (SMALL, ROOMY):
        same_rows(optimized(df), limits, ordered=True)
    late = df.filter(rd.col("log_time") > 6).select("recording", "frame")
    same_rows(optimized(late), SMALL, ordered=True)
    assert len(df.errors) == 3


def test_files_are_pieces(tmp_path: Path) -> None:
    for k in range(3):
        pictures = to_column([np.full((32, 32, 3), 9 * n + k, np.uint8) for n in range(10)])
        rd.from_dict({"frame": pictures}).to_video(tmp_path / f"{k}.mp4", fps=10, options={"g": 4})
    df = rd.read_video(tmp_path, frame_rate=5).filter(rd.col("frame_index") > 2)
    assert run_cut(optimized(df), SMALL).height == 9
    for limits in (SMALL, ROOMY):
        same_rows(optimized(df), limits, ordered=True)
