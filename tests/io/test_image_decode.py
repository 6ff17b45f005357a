"""rd.decode, rd.encode_image and rd.pixels, against Pillow."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from samples_images import encoded, picture, samples

import robodf as rd
from robodf.errors import OptionError, SchemaError
from robodf.images import pillow
from robodf.images.layout import IMAGE, to_arrays, to_column


def arrays(frame: rd.PipelineDataFrame) -> list:
    found = frame.collect().to_series()
    assert found.dtype == IMAGE
    return list(to_arrays(found))


def decoded(*data: object, **options: object) -> list:
    return arrays(rd.from_dict({"data": list(data)}).select(rd.decode("data", **options)))  # type: ignore[arg-type]


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


MODES = {"L": "L", "1": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "LA": "RGBA"}


@pytest.mark.parametrize("name", samples())
def test_pixels_equal_those_of_pillow(name: str) -> None:
    data = samples()[name]
    (found,) = decoded(data)
    expected = opened(data)
    if expected.mode == "I;16":
        assert found.dtype == np.uint16
        assert np.array_equal(found, np.asarray(expected))
    else:
        assert np.array_equal(found, np.asarray(expected.convert(MODES[expected.mode])))


def test_modes_keep_what_they_say() -> None:
    rgb = Image.fromarray(picture())
    bits = rgb.convert("1")
    assert np.array_equal(decoded(encoded(bits))[0], np.asarray(bits).astype(np.uint8) * 255)
    grey_alpha = rgb.convert("LA")
    assert np.array_equal(decoded(encoded(grey_alpha))[0], np.asarray(grey_alpha.convert("RGBA")))
    holes = rgb.convert("P")
    (found,) = decoded(encoded(holes, transparency=3))
    assert found.shape == (30, 40, 4)
    assert np.array_equal(found[:, :, 3] == 0, np.asarray(holes) == 3)
    wide = np.arange(1200, dtype=np.int32).reshape(30, 40)
    assert np.array_equal(decoded(encoded(wide, "TIFF"))[0], wide)
    pgm = b"P5 2 1 65535 " + (300).to_bytes(2) + (65000).to_bytes(2)
    assert decoded(pgm)[0].tolist() == [[300, 65000]]
    big = encoded(Image.frombytes("I;16B", (2, 1), b"\1\2\3\4"), "TIFF")
    assert decoded(big)[0].tolist() == [[0x102, 0x304]]


def test_what_no_encoding_holds_is_null() -> None:
    floats = encoded(np.ones((3, 4), np.float32), "TIFF")
    beyond = encoded(np.full((3, 4), 70_000, np.int32), "TIFF")
    assert decoded(floats, beyond, encoded(np.full((3, 4), -1, np.int32), "TIFF")) == [None] * 3


def test_exif_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    (found,) = decoded(encoded(picture(), "JPEG", exif=exif))
    assert found.shape == (30, 40, 3)


def test_bad_bytes_are_null_and_the_others_stay() -> None:
    good = encoded(picture())
    bad = [b"", b"x", good[:60], encoded(picture(), "JPEG")[:-300], b"\xff\xd8\xff" + bytes(50), b"GIF89a", b"P4", None]
    found = decoded(good, *bad, good)
    assert np.array_equal(found[0], picture())
    assert found[1:-1] == [None] * len(bad)
    assert np.array_equal(found[-1], picture())
    assert decoded(None) == [None]
    assert arrays(rd.from_dict({"data": pl.Series([], dtype=pl.Binary)}).select(rd.decode("data"))) == []


def test_changed_bytes_do_no_harm() -> None:
    rng = np.random.default_rng(3)
    images = []
    for data in samples().values():
        good = np.frombuffer(data, np.uint8)
        for _ in range(30):
            changed = good.copy()
            changed[rng.integers(0, min(len(good), 400), 4)] = rng.integers(0, 256, 4)
            images.append(changed[: rng.integers(8, len(good) + 1)].tobytes())
    found = decoded(*images, size=(8, 8))
    assert len(found) == len(images)
    assert all(f is None or f.shape[:2] == (8, 8) for f in found)


def test_what_a_header_claims_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    png = bytearray(encoded(picture()))
    png[16:24] = (100_000).to_bytes(4) * 2
    assert decoded(bytes(png), b"P5 100000 100000 255 ") == [None, None]
    monkeypatch.setattr(pillow, "MOST_PIXELS", 30 * 40 - 1)
    assert decoded(encoded(picture())) == [None]


# -- size -----------------------------------------------------------------------------------------------------


def test_a_size_is_reached_by_the_filter_that_is_said() -> None:
    png = encoded(picture(0, 60, 80))
    (found,) = decoded(png, size=(20, 30))
    assert np.array_equal(found, np.asarray(opened(png).resize((30, 20), Image.Resampling.BILINEAR)))
    (found,) = decoded(png, size=(20, 30), filter="nearest")
    assert np.array_equal(found, np.asarray(opened(png).resize((30, 20), Image.Resampling.NEAREST)))
    (larger,) = decoded(png, size=(120, 100))
    assert larger.shape == (120, 100, 3)


def test_depth_and_labels_are_never_mixed() -> None:
    depth = np.where(np.arange(64).reshape(8, 8) % 2, 1000, 5000).astype(np.uint16)
    (found,) = decoded(encoded(depth), size=(3, 5))
    assert found.shape == (3, 5)
    assert set(np.unique(found)) <= {1000, 5000}


def test_a_jpeg_is_decoded_at_a_part_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = encoded(picture(0, 480, 640), "JPEG", quality=95)
    sizes = []
    resized = pillow.resized
    monkeypatch.setattr(pillow, "resized", lambda image, *rest: (sizes.append(image.size), resized(image, *rest))[1])
    (small,) = decoded(jpeg, size=(56, 70))
    assert sizes == [(80, 60)]
    (whole,) = decoded(jpeg, size=(56, 70), filter="nearest")
    assert sizes == [(80, 60), (640, 480)]
    expected = np.asarray(opened(jpeg).resize((70, 56), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(small.astype(int) - expected).mean() < 2
    assert whole.shape == (56, 70, 3)


@pytest.mark.parametrize("size", [(0, 4), (4,), 4, (4.0, 4), ("a", 1), (1 << 20, 1 << 20), (True, 4)])
def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(OptionError, match=r"decode: size is \(height, width\)"):
        rd.decode("data", size=size)  # type: ignore[arg-type]


def test_other_filters_are_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'nearest'"):
        rd.decode("data", filter="nearst")


# -- messages -------------------------------------------------------------------------------------------------


def test_messages_of_compressed_images() -> None:
    rows = [{"format": "png", "data": encoded(picture())}, None, {"format": "jpeg", "data": None}]
    found = decoded(*rows)
    assert np.array_equal(found[0], picture())
    assert found[1:] == [None, None]


def test_messages_of_raw_images() -> None:
    image = picture()
    message = {"height": 30, "width": 40, "encoding": "bgr8", "is_bigendian": 0, "step": 124}
    padded = np.zeros((30, 124), np.uint8)
    padded[:, :120] = image[:, :, ::-1].reshape(30, 120)
    row = {**message, "data": padded.tobytes()}
    found = decoded(row, {**row, "step": 1}, {**row, "encoding": "bayer_rggb8"}, None)
    assert np.array_equal(found[0], image)
    assert found[1:] == [None] * 3
    (small,) = decoded(row, size=(10, 10))
    assert np.array_equal(small, np.asarray(Image.fromarray(image).resize((10, 10), Image.Resampling.BILINEAR)))
    depth = {"height": 1, "width": 2, "encoding": "16UC1", "is_bigendian": 1, "step": 4, "data": b"\1\2\3\4"}
    assert decoded(depth)[0].tolist() == [[0x102, 0x304]]
    assert decoded({**depth, "encoding": "32FC1", "width": 1}) == [None]


def test_video_is_refused_with_advice() -> None:
    df = rd.from_dict({"data": [{"format": "h264", "data": b"\0\0\0\1\x65"}, None]})
    with pytest.raises(SchemaError, match=r"video \(h264\)"):
        df.select(rd.decode("data")).collect()


@pytest.mark.parametrize("values", [["text"], [1.5], [{"height": 1}]])
def test_other_types_are_an_error(values: list) -> None:
    with pytest.raises(SchemaError, match="decode takes"):
        rd.from_dict({"data": values}).select(rd.decode("data")).collect()


def test_the_expression_is_compared_pickled_and_pushed_down() -> None:
    made = rd.decode("data", size=(4, 5))
    assert pickle.loads(pickle.dumps(made)) is made
    assert rd.decode("data", size=(4, 6)) is not made
    df = rd.from_dict({"n": [1, 2], "data": [encoded(picture()), b""]}).with_columns(rd.decode("data"))
    assert df.filter(rd.col("image").is_not_null()).select("n").collect()["n"].to_list() == [1]
    plan = str(df.filter(rd.col("n") > 1).explain("optimized"))
    assert plan.index("decode") < plan.index("Filter")


def test_without_pillow_the_users_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for make in (rd.decode, rd.encode_image):
        with pytest.raises(ImportError, match=r"needs Pillow: pip install 'robodf\[images\]'"):
            make("data")


# -- encode and pixels ----------------------------------------------------------------------------------------


def images(*arrays: np.ndarray | None) -> rd.PipelineDataFrame:
    return rd.from_dict({"image": to_column(arrays)})


def test_png_keeps_all_and_jpeg_about_all() -> None:
    rgba = np.dstack([picture(), picture(1)[:, :, :1]])
    depth = np.arange(6, dtype=np.uint16).reshape(2, 3) * 9000
    df = images(picture(), picture()[:, :, 0], rgba, depth, None)
    back = arrays(df.select(rd.encode_image("image", "png")).select(rd.decode("data")))
    for found, expected in zip(back, to_arrays(df.collect()["image"])):
        assert found is expected is None or np.array_equal(found, expected)  # type: ignore[arg-type]
    jpeg = df.select(rd.encode_image("image", quality=95)).collect()["data"].to_list()
    assert jpeg[3:] == [None, None]
    assert opened(jpeg[2]).mode == "RGB"
    assert opened(jpeg[1]).mode == "L"
    assert np.abs(np.asarray(opened(jpeg[0])).astype(int) - picture()).mean() < 3
    small = df.select(rd.encode_image("image", quality=10)).collect()["data"].to_list()
    assert len(small[0]) < len(jpeg[0])


def test_wrong_options_of_encode_image() -> None:
    with pytest.raises(OptionError, match="did you mean 'jpeg'"):
        rd.encode_image("image", "jpg")
    with pytest.raises(OptionError, match="quality"):
        rd.encode_image("image", quality=0)
    with pytest.raises(SchemaError, match="encode_image takes decoded images"):
        rd.from_dict({"image": [b"x"]}).select(rd.encode_image("image")).collect()


def test_pixels_are_arrays_of_the_shape_or_null() -> None:
    df = images(picture(), picture(1), None, picture(0, 10, 10), picture()[:, :, 0])
    found = df.select(rd.pixels("image", (30, 40, 3))).collect()["pixels"]
    assert found.dtype == pl.Array(pl.UInt8, (30, 40, 3))
    assert found.is_null().to_list() == [False, False, True, True, True]
    assert np.array_equal(found[:2].to_numpy(), np.stack([picture(), picture(1)]))
    for shape in [(30, 40), (30, 40, 1)]:
        grey = df.select(rd.pixels("image", shape)).collect()["pixels"]
        assert grey.is_null().to_list() == [True] * 4 + [False]
        assert np.array_equal(grey[4:].to_numpy()[0].reshape(30, 40), picture()[:, :, 0])
    empty = df.filter(rd.lit(False)).select(rd.pixels("image", (30, 40, 3))).collect()
    assert empty.schema == {"pixels": pl.Array(pl.UInt8, (30, 40, 3))}
    depth = images(np.zeros((2, 3), np.uint16)).select(rd.pixels("image", (2, 3))).collect()
    assert depth["pixels"].to_list() == [None]


@pytest.mark.parametrize("shape", [(3,), (0, 4), (4, 4, 2), (1, 4, 4, 3), "abc", (1 << 20, 1 << 20)])
def test_shapes_that_are_none(shape: object) -> None:
    with pytest.raises(OptionError, match="pixels: shape"):
        rd.pixels("image", shape)  # type: ignore[arg-type]


def test_real_images(real_data: Path) -> None:
    paths = sorted((real_data / "image").glob("*"))
    assert paths
    for path in paths:
        data = path.read_bytes()
        (found,) = decoded(data)
        assert np.array_equal(found, np.asarray(opened(data).convert(MODES[opened(data).mode])))
