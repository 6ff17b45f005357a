"""Video messages of logs: each frame is decoded with those before it."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import pytest
from samples_video import SIZE, picture, samples

import robodf as rd
from robodf.errors import FileFormatError, QueryError, SchemaError
from robodf.images.layout import to_arrays
from robodf.io.counting import read
from robodf.plan.nodes.video import DecodeVideo

_X265 = "bframes=0:open-gop=0:keyint=8:scenecut=0:repeat-headers=1:log-level=none"
_VPX = {"g": "8", "lag-in-frames": "0", "auto-alt-ref": "0", "deadline": "realtime", "cpu-used": "8"}
_SVT = {"g": "8", "preset": "12", "svtav1-params": "pred-struct=1:lookahead=0:scd=0:enable-overlays=0"}
CODECS = {
    "h264": ("libx264", {"bf": "0", "g": "8", "sc_threshold": "0"}),
    "h265": ("libx265", {"x265-params": _X265}),
    "vp8": ("libvpx", _VPX),
    "vp9": ("libvpx-vp9", _VPX),
    "av1": ("libsvtav1", _SVT),
}
CODECS = {name: how for name, how in CODECS.items() if how[0] in av.codecs_available}
DECODERS = {"h265": "hevc", "av1": "libdav1d"}


def messages(format: str, count: int = 20, first: int = 0) -> list[bytes]:
    """One packet a frame, in Annex B."""
    codec, options = CODECS[format]
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = SIZE
    encoder.pix_fmt, encoder.framerate, encoder.options = "yuv420p", 10, dict(options)
    frames = [av.VideoFrame.from_ndarray(picture(first + k), format="rgb24") for k in range(count)]
    packets = [bytes(p) for frame in [*frames, None] for p in encoder.encode(frame)]
    assert len(packets) == count
    return packets


def pixels(format: str, data: list[bytes]) -> list[np.ndarray]:
    decoder: Any = av.CodecContext.create(DECODERS.get(format, format), "r")
    decoder.thread_count = 1
    found = [f for p in [*map(av.Packet, data), None] for f in decoder.decode(p)]
    return [f.to_ndarray(format="rgb24") for f in found]


def topic(*streams: tuple[str, str, list[bytes]]) -> pl.DataFrame:
    """Recordings, whose messages lie among each other."""
    rows = [
        {"recording": name, "log_time": 100 * k + n, "format": format, "data": d}
        for n, (name, format, data) in enumerate(streams)
        for k, d in enumerate(data)
    ]
    return pl.DataFrame(rows).sort("log_time")


def same(images: pl.Series, expected: list[np.ndarray]) -> bool:
    return all(a is not None and (a == e).all() for a, e in zip(to_arrays(images), expected, strict=True))


@pytest.mark.parametrize("format", CODECS)
def test_messages_are_decoded_in_a_row(format: str) -> None:
    data = messages(format)
    found = rd.from_polars(topic(("a", format, data))).decode_video().collect()
    assert same(found["frame"], pixels(format, data))


def test_recordings_are_streams_of_their_own() -> None:
    a, b = messages("h264"), messages("h265", first=5)
    rows = topic(("a", "h264", a), ("b", "h265", b))
    df = rd.from_polars(rows).decode_video()
    found = df.collect()
    assert found.drop("frame").equals(rows)
    assert same(found.filter(pl.col("recording") == "a")["frame"], pixels("h264", a))
    assert same(found.filter(pl.col("recording") == "b")["frame"], pixels("h265", b))


def test_filters_that_pass_and_those_that_do_not() -> None:
    data = messages("h264")
    df = rd.from_polars(topic(("a", "h264", data), ("b", "h264", data))).decode_video()
    late = df.filter((rd.col("recording") == "b") & (rd.col("log_time") > 1400))
    text = str(late.explain("optimized"))
    assert text.index("DecodeVideo") < text.index('where=col("log_time")') < text.rindex("recording")
    assert same(late.collect()["frame"], pixels("h264", data)[14:])
    assert isinstance(df._plan, DecodeVideo)
    assert df.count_rows() == 40
    assert "DecodeVideo" not in str(df.select("log_time").explain("optimized"))
    assert same(df.filter(rd.col("recording") == "a").head(5).collect()["frame"], pixels("h264", data)[:5])


@pytest.mark.parametrize("format", CODECS)
@pytest.mark.parametrize(
    ("wanted", "decoded"),
    [
        ([18], 3), ([3, 30], 4 + 7), ([16, 17, 39], 2 + 8), ([0, 8, 9], 1 + 2), ([5, 6, 7], 8), (range(40), 40),
        ([7, 8], 8 + 1), ([39], 8), ([], 0),
    ],
)  # fmt: skip
def test_decoding_begins_at_the_last_key_frame_before_what_is_wanted(format: str, wanted: list, decoded: int) -> None:
    data = messages(format, 40)
    df = rd.from_polars(topic(("a", format, data))).decode_video()
    some = df.filter(rd.col("log_time").is_in([100 * k for k in wanted]))
    assert "where=" in str(some.explain("optimized"))
    whole, before = pixels(format, data), read.frames
    found = some.collect()
    assert found["log_time"].to_list() == [100 * k for k in wanted]
    assert same(found["frame"], [whole[k] for k in wanted])
    assert read.frames - before == decoded
    assert df.errors.is_empty()


def test_rows_that_are_wanted_here_and_there_of_many_streams() -> None:
    """Batches, and streams that wait for each other, do not change what is chosen."""
    draw = random.Random(4)
    kinds = {"a": "h264", "b": "h265", "c": "h264"}
    data = {name: messages(kind, 150, first=k) for k, (name, kind) in enumerate(kinds.items())}
    df = rd.from_polars(topic(*((name, kinds[name], data[name]) for name in kinds))).decode_video()
    whole = df.collect()
    for name, kind in kinds.items():
        assert same(whole.filter(pl.col("recording") == name)["frame"], pixels(kind, data[name]))
    for share in (0.003, 0.05, 0.5):
        times = [t for t in whole["log_time"] if draw.random() < share]
        found = df.filter(rd.col("log_time").is_in(times) & (rd.col("data").bin.size() > 0)).collect()
        assert found.equals(whole.filter(pl.col("log_time").is_in(times)))
        found = df.filter(rd.col("frame").is_not_null(), rd.col("log_time").is_in(times)).head(3).collect()
        assert found.equals(whole.filter(pl.col("log_time").is_in(times)).head(3))
    assert df.filter(rd.col("log_time") < 0).collect().height == 0
    light = df.filter(rd.col("log_time") > 9_000).select("log_time")
    assert "DecodeVideo" not in str(light.explain("optimized"))
    assert len(light) == len(df.filter(rd.col("log_time") > 9_000)) == len(light.collect())


def test_open_groups_are_decoded_from_the_one_before() -> None:
    """After a start may come pictures that are shown before it and need what precedes it."""
    file = samples()["open_gop.mp4"]
    with av.open(io.BytesIO(file)) as container:
        stream = container.streams.video[0]
        to_units = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [p for packet in [*container.demux(stream), None] for p in to_units.filter(packet) if p.size]
    data = [bytes(p) for p in packets]
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    df = rd.from_polars(topic(("a", "h264", data))).decode_video(on_error="collect")
    whole = df.collect()
    assert whole["frame"].null_count() < len(data) / 2
    for k in range(len(data)):
        found = df.filter(rd.col("log_time") == 100 * k).collect()["frame"]
        if whole["frame"][k] is not None and found[0] is not None:
            assert found[0] == whole["frame"][k], k


@pytest.mark.parametrize("format", CODECS)
def test_nothing_is_shown_before_a_key_frame(format: str) -> None:
    data = messages(format)
    df = rd.from_polars(topic(("a", format, data[3:]))).decode_video()
    found = df.collect()["frame"]
    assert found.is_null().to_list() == [True] * 5 + [False] * 12
    assert same(found[5:], pixels(format, data)[8:])
    assert df.errors["error"].str.contains("no key frame before it").to_list() == [True] * 5


def test_damage_ends_with_the_group() -> None:
    data = messages("h264")
    data[3] = data[3][:6] + b"\xff" * 40
    rows = topic(("a", "h264", data))
    with pytest.raises(FileFormatError, match="row 3 at log_time 300"):
        rd.from_polars(rows).decode_video().collect()
    df = rd.from_polars(rows).decode_video(on_error="collect")
    found = df.collect()["frame"]
    assert found.is_null().to_list()[:3] == [False] * 3
    assert found[3:8].null_count() == 5
    assert same(found[8:], pixels("h264", messages("h264"))[8:])
    assert df.errors.height >= 5


def test_what_needs_a_damaged_message_is_told_though_that_is_not_wanted() -> None:
    data = messages("h264")
    whole = pixels("h264", data)
    for broken, said in ((data[10][:6] + b"\xff" * 40, "needs"), (None, "no bytes")):
        rows = topic(("a", "h264", [*data[:10], b"", *data[11:]])).with_columns(
            pl.when(pl.col("log_time") == 1000).then(pl.lit(broken, pl.Binary)).otherwise("data").alias("data")
        )
        with pytest.raises(FileFormatError, match="row 12 at log_time 1200"):
            rd.from_polars(rows).decode_video().filter(rd.col("log_time") == 1200).collect()
        df = rd.from_polars(rows).decode_video(on_error="collect")
        found = df.filter(rd.col("log_time").is_in([900, 1200, 1300, 1700])).collect()["frame"]
        assert found.is_null().to_list() == [False, True, True, False]
        assert same(found.drop_nulls(), [whole[9], whole[17]])
        assert said in df.errors["error"][0]
        sound = rd.from_polars(rows).decode_video().filter(rd.col("log_time") < 1000)
        assert same(sound.collect()["frame"], whole[:10])  # damage that no row needs is not looked at


def test_messages_without_bytes_and_of_unknown_formats() -> None:
    rows = topic(("a", "h264", messages("h264"))).with_columns(
        pl.when(pl.col("log_time") == 900).then(pl.lit("theora")).otherwise("format").alias("format"),
        pl.when(pl.col("log_time") == 1000).then(None).otherwise("data").alias("data"),
    )
    df = rd.from_polars(rows).decode_video(on_error="collect")
    found = df.collect()["frame"]
    assert found.is_null().arg_true().to_list()[:2] == [9, 10]
    assert found[9:16].null_count() == 7  # up to the next key frame, as what they need is not there
    assert "theora" in df.errors["error"][0]
    assert "no bytes" in df.errors["error"][1]


def test_rows_out_of_order_and_wrong_columns() -> None:
    rows = topic(("a", "h264", messages("h264")))
    with pytest.raises(QueryError, match="not in order of log_time: sort"):
        rd.from_polars(rows.reverse()).decode_video().collect()
    with pytest.raises(QueryError, match="payload"):
        rd.from_polars(rows).decode_video("payload")
    with pytest.raises(SchemaError, match="bytes"):
        rd.from_polars(rows).decode_video("log_time")
    with pytest.raises(QueryError, match="name="):
        rd.from_polars(rows).decode_video(name="data")


def test_a_real_log(real_data: Path) -> None:
    log = real_data / "generated" / "foxglove_compressed_video_h264.mcap"
    df = rd.read_log(log, "/camera/h264").decode_video(resolution=(60, 80))
    found = df.select("frame").collect()["frame"]
    assert found.null_count() == 0
    raw = rd.read_log(log, "/camera/h264").collect()["data"].to_list()
    whole = rd.read_log(log, "/camera/h264").decode_video().collect()["frame"]
    assert same(whole, pixels("h264", raw))
    assert found.struct.field("height").unique().to_list() == [60]
