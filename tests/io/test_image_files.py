"""rd.read_images: what a row says, and what is read for it."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
from PIL import Image
from samples_images import encoded, picture, samples

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError
from robodf.images import pillow
from robodf.images.layout import to_arrays
from robodf.io import images
from robodf.io.counting import read as counter
from robodf.io.images import image_files
from robodf.io.source import LOCATOR, Request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in samples().items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were opened, for headers and whole."""
    found: list[str] = []
    for name in ("open_object", "open_file"):
        real = getattr(images, name)
        note = lambda path, *rest, real=real: (found.append(Path(path).name), real(path, *rest))[1]  # noqa: E731
        monkeypatch.setattr(images, name, note)
    return found


def test_each_file_is_a_row_with_what_its_header_says(folder: Path) -> None:
    found = rd.read_images(folder).drop("data", "image").collect()
    assert found["path"].to_list() == sorted(found["path"].to_list())
    assert found.height == len(samples())
    for path, width, height, mode, kind, size in found.iter_rows():
        with Image.open(path) as image:
            expected = {"JPEG2000": "jpeg2000", "PPM": "ppm"}.get(image.format or "", (image.format or "").lower())
            assert (width, height, mode, kind) == (*image.size, image.mode, expected), path
        assert size == Path(path).stat().st_size


def test_pixels_and_bytes_are_those_of_the_files(folder: Path) -> None:
    found = rd.read_images(folder).select("path", "data", "image").collect()
    for path, data, image in zip(found["path"], found["data"], to_arrays(found["image"])):
        assert data == Path(path).read_bytes()
        assert np.array_equal(image, pillow.decode(data))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["lossy", "lossless", "alpha", "moving", "lossless alpha"])
def test_headers_of_webp(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(picture(0, 37, 53)).convert("RGBA" if "alpha" in mode else "RGB")
    if "alpha" in mode:
        image.putalpha(7)
    more = {"save_all": True, "append_images": [image.rotate(90)]} if mode == "moving" else {}
    (tmp_path / "a.webp").write_bytes(encoded(image, "WEBP", lossless="lossless" in mode, **more))
    found = rd.read_images(tmp_path).select("width", "height", "mode").collect()
    with Image.open(tmp_path / "a.webp") as expected:
        assert found.rows() == [(*expected.size, expected.mode)]


# -- what is read ---------------------------------------------------------------------------------------------


def test_listed_columns_open_no_file(folder: Path, opened: list[str]) -> None:
    df = rd.read_images(folder)
    assert df.count_rows() == len(samples())
    large = df.filter(rd.col("file_size") > 3600).select("path").collect()["path"].to_list()
    assert [Path(p).name for p in large] == sorted(n for n, data in samples().items() if len(data) > 3600)
    assert df.filter(rd.col("path").str.ends_with(".gif")).count_rows() == 3
    assert "3 of 22 rows, no file is opened" in str(
        df.filter(rd.col("path").str.ends_with(".gif")).select("path").explain()
    )
    assert opened == []


def test_headers_are_read_of_files_that_the_name_leaves(folder: Path, opened: list[str]) -> None:
    df = rd.read_images(folder).filter((rd.col("width") == 40) & rd.col("path").str.contains("grey"))
    assert df.select("height").collect().height == 7
    assert sorted(set(opened)) == sorted(n for n in samples() if n.startswith("grey"))


def test_headers_take_few_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 700, 3)).astype(np.uint8)
    for form, end in (("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp"), ("WEBP", "webp"), ("TIFF", "tif")):
        (tmp_path / f"a.{end}").write_bytes(encoded(noise, form))
    before = counter.bytes
    assert rd.read_images(tmp_path).select("width").collect()["width"].to_list() == [700] * 5
    assert counter.bytes - before < 60_000


def test_pixels_are_decoded_of_chosen_rows_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = images.decode
    monkeypatch.setattr(images, "decode", lambda data, *rest: (decoded.append(len(data)), real(data, *rest))[1])
    df = rd.read_images(folder)
    assert df.filter(rd.col("mode") == "CMYK").select("image").collect().height == 1
    assert len(decoded) == 1
    assert df.head(2).select("image").collect().height == 2
    assert len(decoded) == 3
    assert df.select("data").collect().height == len(samples())
    assert len(decoded) == 3


def test_a_size_is_reached_by_draft(tmp_path: Path) -> None:
    jpeg = encoded(picture(0, 480, 640), "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    found = rd.read_images(tmp_path, (56, 70)).select("width", "image").collect()
    assert found["width"].to_list() == [640]
    (image,) = to_arrays(found["image"])
    with Image.open(BytesIO(jpeg)) as expected:
        expected.draft(None, (70, 56))
        assert expected.size == (80, 60)
        assert np.array_equal(image, np.asarray(expected.resize((70, 56), Image.Resampling.BILINEAR)))  # type: ignore[arg-type]


def test_many_files_are_listed_in_blocks(tmp_path: Path, opened: list[str]) -> None:
    for k in range(300):
        (tmp_path / f"{k}.pgm").write_bytes(b"P5 %d 1 255 " % (k + 1) + bytes(k + 1))
    df = rd.read_images(tmp_path)
    assert df.select("width").collect()["width"].to_list() == list(range(1, 301))
    opened.clear()
    assert df.filter(rd.col("width") > 10).head(3).select("width", "image").collect()["width"].to_list() == [11, 12, 13]
    assert len(opened) == 64 + 3
    assert df.filter(rd.col("width") % 100 == 0).select("image").collect().height == 3


def test_frames_of_heavy_columns_are_not_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_FRAME", 10_000)
    for k in range(12):
        (tmp_path / f"{k}.png").write_bytes(encoded(picture(k)))
    source = image_files([str(tmp_path / f"{k}.png") for k in range(12)], None, "bilinear", "raise", None)
    frames = list(source.fetch(np.arange(12, dtype=np.uint64), ("image",)))
    assert [f.height for f in frames] == [2] * 6


# -- rows found again, parts ----------------------------------------------------------------------------------


def test_rows_are_found_again_by_their_locators(folder: Path) -> None:
    files = [str(folder / name) for name in sorted(samples())]
    source = image_files(files, None, "bilinear", "raise", None)
    found = source.scan(Request(("path",), locator=True)).collect()
    some = found[LOCATOR].to_numpy()[[1, 4, 9]]
    expected = [Path(files[k]).read_bytes() for k in (1, 4, 9)]
    assert pl.concat(source.fetch(some, ("data",)))["data"].to_list() == expected


def test_parts_keep_the_numbers_of_their_files(folder: Path) -> None:
    source = image_files([str(folder / name) for name in sorted(samples())], (5, 6), "nearest", "raise", None)
    splits = list(source.splits(Request(("path",))))
    part = pickle.loads(pickle.dumps(source.part((splits[5], splits[2]))))
    found = part.scan(Request(("path", "image"), locator=True)).collect()
    assert found["path"].to_list() == [source.paths[5], source.paths[2]]
    assert found[LOCATOR].to_list() == [5, 2]
    assert {a.shape[:2] for a in to_arrays(found["image"]) if a is not None} == {(5, 6)}
    (again,) = part.fetch(np.array([2, 5], np.uint64), ("data",))
    assert again["data"].to_list() == [Path(source.paths[k]).read_bytes() for k in (2, 5)]


# -- damage ---------------------------------------------------------------------------------------------------


def test_files_that_are_no_images(folder: Path) -> None:
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    (folder / "cut.png").write_bytes(samples()["rgb.png"][:200])
    (folder / "empty.gif").touch()
    (folder / "text.bmp").write_text("BM is not enough")
    df = rd.read_images(folder)
    assert df.select("path").collect().height == len(samples()) + 4
    with pytest.raises(FileFormatError, match="bad.jpg: its header cannot be read"):
        df.select("width").collect()
    with pytest.raises(FileFormatError, match="cut.png: its image cannot be decoded"):
        df.filter(rd.col("path").str.contains("cut")).select("image").collect()

    kept = rd.read_images(folder, on_error="collect")
    found = kept.select("path", "width", "image").collect()
    assert found.height == len(samples()) + 4
    names = [Path(p).name for p in found.filter(pl.col("width").is_null())["path"]]
    assert names == ["bad.jpg", "empty.gif", "text.bmp"]
    names = [Path(p).name for p in found.filter(pl.col("image").is_null())["path"]]
    assert names == ["bad.jpg", "cut.png", "empty.gif", "text.bmp"]
    assert kept.errors.height == 7


def test_changed_files_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    names = []
    for name, data in samples().items():
        for k in range(12):
            changed = np.frombuffer(data, np.uint8).copy()
            changed[rng.integers(0, min(len(data), 400), 4)] = rng.integers(0, 256, 4)
            names.append(tmp_path / f"{k}-{name}")
            names[-1].write_bytes(changed[: rng.integers(1, len(data) + 1)].tobytes())
    df = rd.read_images(names, (8, 8), on_error="collect")
    assert df.collect().height == len(names)
    assert df.errors.height > len(names) / 2
    raised = 0
    for name in names[::7]:
        try:
            rd.read_images(name).collect()
        except FileFormatError as error:
            raised += 1
            assert str(name) in str(error)  # noqa: PT017
    assert raised > 10


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_BYTES", 10)
    (tmp_path / "a.pgm").write_bytes(b"P5 1 1 255 1")
    with pytest.raises(FileFormatError, match="12 bytes, where 10 are the most"):
        rd.read_images(tmp_path).select("data").collect()
    assert rd.read_images(tmp_path, on_error="skip").select("data").collect()["data"].to_list() == [None]


def test_wrong_options(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(NoFilesError, match=r"no \.jpg"):
        rd.read_images(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(OptionError, match="size is"):
        rd.read_images(tmp_path, 224)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="on_error"):
        rd.read_images(tmp_path, on_error="ignore")
    with pytest.raises(OptionError, match="filter is one of"):
        rd.read_images(tmp_path, filter="cubic")


# -- other ways to them ---------------------------------------------------------------------------------------


def test_images_are_recognised_by_their_content(tmp_path: Path) -> None:
    for k, (name, data) in enumerate(samples().items()):
        (tmp_path / f"{k}-{name.split('.')[1]}").write_bytes(data)
    assert rd.read([str(p) for p in tmp_path.iterdir()]).select("width").collect()["width"].to_list() == [40] * len(
        samples()
    )
    text = tmp_path / "BM.csv"
    text.write_text("BMW,P5\n1,2\n")
    assert rd.read(text).columns == ["BMW", "P5"]


def test_images_by_sql(folder: Path) -> None:
    found = rd.sql(f"SELECT count(*) AS n FROM read_images('{folder}/*.gif') WHERE width = 40").collect()
    assert found["n"].to_list() == [3]


def test_remote_files(folder: Path) -> None:
    fs = fsspec.filesystem("memory")
    for name in ("rgb.png", "rgb.jpg"):
        fs.pipe(f"/robodf-images/{name}", samples()[name])
    found = rd.read_images("memory://robodf-images/*").collect()
    assert found["width"].to_list() == [40, 40]
    assert found["data"].to_list() == [samples()["rgb.jpg"], samples()["rgb.png"]]


def test_real_images(real_data: Path) -> None:
    found = rd.read_images(real_data / "image").collect()
    assert found.height == 2
    for path, image in zip(found["path"], to_arrays(found["image"])):
        with Image.open(path) as expected:
            assert np.array_equal(image, np.asarray(expected))  # type: ignore[arg-type]
