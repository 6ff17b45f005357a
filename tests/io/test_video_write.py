"""Images to video files, and parts of video files without decoding them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from samples_video import decoded, picture, samples

import robodf as rd
from robodf.errors import FileFormatError, OptionError, QueryError, SchemaError
from robodf.images.layout import to_arrays, to_column
from robodf.io.counting import read


def images(count: int = 12) -> rd.PipelineDataFrame:
    frames = to_column([picture(k) for k in range(count)])
    return rd.from_polars(pl.DataFrame({"frame": frames, "t": [k * k * 10_000_000 for k in range(count)],
                                        "episode": [f"e/{k // 5}" for k in range(count)]}))  # fmt: skip


def test_without_loss_the_images_come_back(tmp_path: Path) -> None:
    report = images().to_video(tmp_path / "a.mkv", fps=10, codec="ffv1", pixel_format="bgr0")
    assert (report.rows, report.files) == (12, (str(tmp_path / "a.mkv"),))
    found = rd.read_video(tmp_path / "a.mkv").collect()
    assert all((a == picture(k)).all() for k, a in enumerate(to_arrays(found["frame"])))
    assert found["frame_time"].cast(int).to_list() == [k * 100_000_000 for k in range(12)]
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize(
    ("codec", "name"), [("h264", "a.mp4"), ("h265", "a.mkv"), ("av1", "a.mp4"), ("vp9", "a.webm"), ("mpeg4", "a.avi")]
)
def test_codecs(tmp_path: Path, codec: str, name: str) -> None:
    images().to_video(tmp_path / name, fps=30, codec=codec)
    found = rd.read_video(tmp_path / name).collect()
    assert found.height == 12
    for k, a in enumerate(to_arrays(found["frame"])):
        assert a is not None
        assert np.abs(a.astype(int) - picture(k)).mean() < 20


def test_times_come_from_a_column(tmp_path: Path) -> None:
    df = images()
    for k, time in enumerate((rd.col("t"), rd.col("t").cast(pl.Duration("ns")), rd.col("t").cast(pl.Datetime("ns")))):
        df.with_columns(at=time).to_video(tmp_path / f"{k}.mp4", time="at")
        found = rd.read_video(tmp_path / f"{k}.mp4").collect()["frame_time"].cast(int).to_list()
        assert found == [n * n * 10_000_000 for n in range(12)]
    with pytest.raises(QueryError, match="row 1 is not later"):
        df.with_columns(at=rd.col("t") * 0).to_video(tmp_path / "no.mp4", time="at")
    assert not (tmp_path / "no.mp4").exists()


def test_one_file_for_each_value(tmp_path: Path) -> None:
    report = images().to_video(
        tmp_path / "all", fps=10, by="episode", codec="ffv1", container="mkv", pixel_format="bgr0"
    )
    assert [Path(f).name for f in report.files] == ["e%2F0.mkv", "e%2F1.mkv", "e%2F2.mkv"]
    assert [rd.read_video(f).count_rows() for f in report.files] == [5, 5, 2]
    with pytest.raises(FileExistsError):
        images().to_video(tmp_path / "all", fps=10, by="episode")
    images().head(3).to_video(tmp_path / "all", fps=10, by="episode", mode="overwrite")
    assert [p.name for p in (tmp_path / "all").iterdir()] == ["e%2F0.mp4"]
    mixed = images().with_columns(episode=rd.col("t") // 10_000_000 % 2)
    with pytest.raises(QueryError, match="again, whose file is done"):
        mixed.to_video(tmp_path / "mixed", fps=10, by="episode")
    assert not (tmp_path / "mixed").exists()


def test_what_is_there_stays_until_all_is_written(tmp_path: Path) -> None:
    name = tmp_path / "a.mp4"
    images().to_video(name, fps=10)
    before = name.read_bytes()
    with pytest.raises(FileExistsError):
        images().to_video(name, fps=10)
    broken = rd.concat([images(), images().with_columns(frame=rd.lit(None, dtype=images().schema["frame"]))])
    with pytest.raises(QueryError, match="row 12 has no image"):
        broken.to_video(name, fps=10, mode="overwrite")
    assert name.read_bytes() == before
    rd.read_video(name).head(4).to_video(name, fps=5, mode="overwrite")  # from the file itself
    assert rd.read_video(name).count_rows() == 4
    with pytest.raises(QueryError, match="no rows"):
        images().head(0).to_video(tmp_path / "none.mp4", fps=10)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, OptionError, "pass fps="),
        ({"fps": 1, "time": "t"}, OptionError, "pass fps="),
        ({"fps": -1}, OptionError, "positive"),
        ({"fps": 1, "codec": "h263"}, OptionError, "no codec"),
        ({"fps": 1, "mode": "append"}, OptionError, "mode"),
        ({"fps": 1, "column": "t"}, SchemaError, "not an image"),
        ({"fps": 1, "column": "picture"}, QueryError, "picture"),
        ({"time": "episode"}, SchemaError, "Datetime"),
        ({"fps": 1, "by": "episode", "container": "txt"}, OptionError, "ends in one of"),
    ],
)
def test_arguments_of_to_video(tmp_path: Path, options: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        images().to_video(tmp_path / "a.mp4", **options)
    assert not list(tmp_path.iterdir())


def test_sizes_that_do_not_fit(tmp_path: Path) -> None:
    odd = rd.from_dict({"frame": to_column([np.zeros((3, 5, 3), np.uint8)])})
    with pytest.raises(QueryError, match="are even"):
        odd.to_video(tmp_path / "a.mp4", fps=1)
    odd.to_video(tmp_path / "a.mp4", fps=1, pixel_format="yuv444p")
    two = rd.from_dict({"frame": to_column([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)])})
    with pytest.raises(QueryError, match="row 1 is 4 x 6 pixels"):
        two.to_video(tmp_path / "b.mp4", fps=1)
    grey = rd.from_dict({"frame": to_column([np.full((4, 4), 9 * k, np.uint8) for k in range(3)])})
    grey.to_video(tmp_path / "c.mkv", fps=1, codec="ffv1", pixel_format="gray")
    found = rd.read_video(tmp_path / "c.mkv").collect()["frame"]
    assert [int(a[0, 0, 0]) for a in to_arrays(found) if a is not None] == [0, 9, 18]


# -- cuts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "out"), [("h264.mp4", "b.mp4"), ("hevc.mp4", "b.mkv"), ("av1.mkv", "b.mp4"), ("vp9.webm", "b.webm")]
)
def test_a_cut_has_the_pixels_of_the_original(tmp_path: Path, name: str, out: str) -> None:
    source = tmp_path / name
    source.write_bytes(samples()[name])
    expected = decoded(samples()[name])
    keys = [k for k, (_, key, _) in enumerate(expected) if key]
    first = next(k for k in keys if k > 0)
    before = read.frames
    if name == "hevc.mp4":  # groups that are not closed begin nowhere but at the start
        with pytest.raises(OptionError, match="the nearest are 0 s"):
            rd.cut_video(source, tmp_path / out, start=first / 10)
        report = rd.cut_video(source, tmp_path / out, end=0.9)
        expected, first = expected[: report.rows], 0
    else:
        report = rd.cut_video(source, tmp_path / out, start=first / 10)
    assert read.frames == before
    assert report.rows == len(expected) - first
    found = rd.read_video(tmp_path / out).collect()
    assert all((a == e[2]).all() for a, e in zip(to_arrays(found["frame"]), expected[first:], strict=True))
    assert found["frame_time"].cast(int).to_list() == [k * 100_000_000 for k in range(report.rows)]


def test_a_cut_elsewhere_says_where(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(samples()["h264.mp4"])
    with pytest.raises(OptionError, match=r"start=1.1 .* the nearest are 0.9 and 1.8 s"):
        rd.cut_video(source, tmp_path / "b.mp4", start=1.1)
    with pytest.raises(OptionError, match="no frame"):
        rd.cut_video(source, tmp_path / "b.mp4", start=2, end=2)
    with pytest.raises(OptionError, match="ends in one of"):
        rd.cut_video(source, tmp_path / "b.txt")
    assert rd.cut_video(source, tmp_path / "b.mp4", start=0.9, end=1.8).rows == 9
    with pytest.raises(FileExistsError):
        rd.cut_video(source, tmp_path / "b.mp4")
    source.write_bytes(samples()["h264.mp4"][:2000])
    with pytest.raises(FileFormatError, match="a.mp4"):
        rd.cut_video(source, tmp_path / "c.mp4")
