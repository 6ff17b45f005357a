"""Sizes and key frames out of the first bytes of images and video."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.errors import SchemaError
from robodf.ros.payloads import payloads

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 640, 480, 8, 2, 0, 0, 0)
PNG += struct.pack(">I", zlib.crc32(PNG[12:]))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def sof(width: int, height: int, marker: int = 0xC0) -> bytes:
    return segment(marker, struct.pack(">BHHB", 8, height, width, 3) + bytes(9))


SOI, APP0 = b"\xff\xd8", segment(0xE0, b"JFIF\0" + bytes(9))
JPEG = SOI + APP0 + segment(0xDB, bytes(65)) + sof(1920, 1080)


def sizes(run, *data: bytes | None) -> list:
    df = rd.from_polars(pl.DataFrame({"data": pl.Series(data, dtype=pl.Binary)}))
    made = df.select(rd.ros.image_size("data"))
    assert made.schema == {"image_size": pl.Struct({"width": pl.UInt32, "height": pl.UInt32, "encoding": pl.String})}
    found = run(made)
    assert found.schema == made.schema
    return [None if f is None else tuple(f.values()) for f in found["image_size"].to_list()]


def test_png_and_jpeg(run) -> None:
    assert sizes(run, PNG, JPEG, None, b"", b"RIFF....WEBP") == [
        (640, 480, "png"),
        (1920, 1080, "jpeg"),
        None,
        None,
        None,
    ]
    assert sizes(run) == []


@pytest.mark.parametrize("marker", [m for m in range(0xC0, 0xD0) if m not in (0xC4, 0xC8, 0xCC)])
def test_each_kind_of_jpeg(run, marker: int) -> None:
    assert sizes(run, SOI + sof(3, 2, marker)) == [(3, 2, "jpeg")]


def test_what_may_stand_before_the_size_of_a_jpeg(run) -> None:
    tables = segment(0xC4, sof(9, 9)) + segment(0xC8, bytes(9)) + segment(0xCC, bytes(9))
    exif = segment(0xE1, b"Exif\0\0" + JPEG)  # a thumbnail, with a size of its own
    for before in (tables, exif, b"\xff" * 5, b"\xff\x01", b"\xff\xd0", segment(0xE2, bytes(65533)) * 20):
        assert sizes(run, SOI + before + sof(7, 5)) == [(7, 5, "jpeg")]


def test_jpegs_that_lie(run) -> None:
    lies = [
        SOI + sof(0, 5),
        SOI + sof(5, 0),
        SOI + segment(0xDA, bytes(8)) + sof(7, 5),
        SOI + b"\xff\xd9" + sof(7, 5),
        SOI + b"\xff\xe0\xff\xff" + sof(7, 5),
        SOI + b"\xff\xe0\x00\x00" * 10_000 + sof(7, 5),
        SOI + b"\xff" * 1_000_000,
        SOI + APP0 + b"\0" + sof(7, 5),
        b"\xff\xd8",
        b"\xff\xd8\xff",
    ]
    assert sizes(run, *lies) == [None] * len(lies)


def test_pngs_that_lie(run) -> None:
    of = lambda w, h: PNG[:16] + struct.pack(">II", w, h)  # noqa: E731
    assert sizes(run, of(0, 1), of(1, 0), of(2**31, 1), of(2**31 - 1, 1), b"\x89PNG\r\n\x1a\n" + bytes(30)) == [
        None, None, None, (2**31 - 1, 1, "png"), None,
    ]  # fmt: skip


def test_cut_and_changed_bytes_never_raise(run) -> None:
    rng = random.Random(3)
    for whole, size in ((PNG, (640, 480, "png")), (JPEG, (1920, 1080, "jpeg"))):
        cut = [whole[:i] for i in range(len(whole) + 1)]
        found = sizes(run, *cut)
        assert found[0] is None
        assert found[-1] == size
        assert set(found) == {None, size}
        assert found == sorted(found, key=lambda f: f is not None)
        changed = []
        for _ in range(500):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            changed.append(bytes(data))
        assert len(sizes(run, *changed, *(rng.randbytes(50) for _ in range(100)))) == 600


def test_real_images(run, real_data: Path) -> None:
    folder = real_data / "image"
    jpg, png = (folder / f"hf_test_image_{name}" for name in ("rgb.jpg", "rgba.png"))
    assert sizes(run, jpg.read_bytes(), png.read_bytes()) == [(640, 480, "jpeg"), (200, 200, "png")]
    df = rd.read_mcap(real_data / "mcap/rerun_rosbag2_2025_09_10.mcap", "/compressed_image")
    assert run(df.select(rd.ros.image_size("data")).unnest("image_size")).rows() == [(640, 480, "jpeg")]


def test_wrong_columns(run) -> None:
    df = rd.from_dict({"data": ["text"], "format": [1]})
    for made in (
        rd.ros.image_size("data"),
        rd.ros.is_keyframe(rd.lit(b"x"), "format"),
        rd.ros.is_keyframe("data", rd.lit("h264")),
    ):
        with pytest.raises((SchemaError, pl.exceptions.PolarsError), match="takes"):
            run(df.select(made))


@pytest.mark.parametrize("chunks", [1, 3])
def test_views_of_bytes_in_slices_and_chunks(chunks: int) -> None:
    rng = random.Random(11)
    values = [None if rng.random() < 0.2 else rng.randbytes(rng.choice([0, 1, 11, 12, 13, 14, 100])) for _ in range(90)]
    size = len(values) // chunks
    parts = [pl.Series(values[i * size : (i + 1) * size], dtype=pl.Binary) for i in range(chunks)]
    whole = pl.concat(parts, rechunk=False)
    for start, length in ((0, 90), (0, 0), (1, 1), (17, 60), (89, 1)):
        found = [None if view is None else bytes(view) for view in payloads(whole.slice(start, length))]
        assert found == values[start : start + length]
    assert list(payloads(whole.filter(pl.Series([False] * 90)))) == []
    assert [view and bytes(view) for view in payloads(whole.gather([5, 4, 5]))] == [values[i] for i in (5, 4, 5)]


# -- key frames -----------------------------------------------------------------------------------------------

START = b"\0\0\1"


def h264(*kinds: int, start: bytes = START) -> bytes:
    return b"".join(start + bytes([0x60 | kind]) + b"\x9a\x80\x11" for kind in kinds)


def h265(*kinds: int) -> bytes:
    return b"".join(START + bytes([kind << 1, 1]) + b"\x9a\x80\x11" for kind in kinds)


def keys(run, name: str | None, *data: bytes | None) -> list:
    frame = pl.DataFrame(
        {"data": pl.Series(data, dtype=pl.Binary), "format": pl.Series([name] * len(data), dtype=pl.String)}
    )
    found = run(rd.from_polars(frame).select(rd.ros.is_keyframe("data")))
    assert found.schema == {"is_keyframe": pl.Boolean}
    return found["is_keyframe"].to_list()


def test_h264(run) -> None:
    data = [
        h264(7, 8, 5),
        h264(1),
        h264(9, 6, 1),
        h264(5, start=b"\0" + START),
        h264(1, 5),
        h264(2),
        h264(7, 8),
        b"",
        None,
    ]
    wanted = [True, False, False, True, False, False, None, None, None]
    for name in ("h264", "H264", "avc"):
        assert keys(run, name, *data) == wanted


def test_h265(run) -> None:
    data = [
        h265(32, 33, 34, 19),
        h265(16),
        h265(21),
        h265(1),
        h265(35, 39, 0),
        h265(22),
        h265(32, 33),
        START,
        START + b"\x26",
    ]
    wanted = [True, True, True, False, False, False, None, None, True]
    for name in ("h265", "hevc"):
        assert keys(run, name, *data) == wanted


def test_other_formats_are_null(run) -> None:
    for name in ("av1", "vp9", "", None, "jpeg"):
        assert keys(run, name, h264(7, 5)) == [None]


@pytest.mark.parametrize("before", [0, 1, 4000, *range(4080, 4100), 5000])
def test_a_slice_behind_long_notes(run, before: int) -> None:
    note = START + b"\x06" + b"\x55" * before
    assert keys(run, "h264", note + h264(5), note + h264(1), note) == [True, False, None]


def test_bytes_that_never_come_to_a_picture(run) -> None:
    assert keys(run, "h264", START * 100_000, h264(6) * 100_000, bytes(1_000_000), b"\x65" * 10) == [None] * 4
    rng = random.Random(5)
    noise = [bytes(rng.choices([0, 0, 1, 0x65, 0x41, 6], k=rng.randrange(60))) for _ in range(1000)]
    assert len(keys(run, "h264", *noise)) == len(keys(run, "h265", *noise)) == 1000


def test_the_format_may_be_a_constant(run) -> None:
    df = rd.from_dict({"data": [h264(5), h264(1)]})
    found = run(df.with_columns(rd.ros.is_keyframe("data", rd.lit("h264"))).filter(rd.col("is_keyframe")))
    assert found["data"].to_list() == [h264(5)]


def lengths(message: bytes) -> dict[int, bytes]:
    """The fields of a protobuf message all of whose fields have lengths."""
    found, at = {}, 0
    while at < len(message):
        tag, length, shift, more = message[at], 0, 0, True
        assert tag & 7 == 2
        while more:
            at += 1
            length |= (message[at] & 127) << shift
            shift, more = shift + 7, message[at] > 127
        found[tag >> 3] = message[at + 1 : at + 1 + length]
        at += 1 + length
    return found


def test_real_video(run, real_data: Path) -> None:
    """An encoder was told to make each tenth picture a key frame."""
    from mcap.reader import make_reader

    with open(real_data / "generated/foxglove_compressed_video_h264.mcap", "rb") as file:
        messages = [lengths(message.data) for _, _, message in make_reader(file).iter_messages()]
    assert {m[4] for m in messages} == {b"h264"}
    assert keys(run, "h264", *(m[3] for m in messages)) == [i % 10 == 0 for i in range(60)]
