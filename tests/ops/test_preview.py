"""df.preview, show and contact_sheet: what is drawn, how much of it, and what is decoded for it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image

import robodf as rd
from robodf.errors import ColumnNotFoundError, OptionError, SchemaError
from robodf.images.layout import to_column
from robodf.preview import pictures, table
from robodf.preview.pictures import from_above
from robodf.preview.table import as_html, sparkline


def encoded(height: int = 30, width: int = 40, shade: int = 0, form: str = "PNG") -> bytes:
    out = BytesIO()
    image = np.full((height, width, 3), shade, np.uint8)
    Image.fromarray(image).save(out, form)
    return out.getvalue()


def drawn(page: str) -> list[Image.Image]:
    return [Image.open(BytesIO(base64.b64decode(data))) for data in re.findall(r'base64,([^"]+)"', page)]


class Checked(HTMLParser):
    """Tags that are opened and closed, and what they load."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_preview_is_a_table_with_all_inside() -> None:
    df = rd.from_dict({
        "name": ["<script>alert(1)</script>", None], "n": [1, 2], "frame": [encoded(), None],
        "image": to_column([np.zeros((300, 200), np.uint16), np.zeros((2, 3, 4), np.uint8)]),
        "torque": [[0.0, 1.0, float("nan")], []], "labels": [["a"], ["b", "c"]],
    })  # fmt: skip
    preview = df.preview()
    page = preview._repr_html_()
    found = Checked(page)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert found.tags.count("tr") == 3
    assert found.tags.count("img") == 3
    assert found.tags.count("svg") == 1
    assert all(load.startswith("data:image/jpeg;base64,") for load in found.loads)
    assert [image.size for image in drawn(page)] == [(40, 30), (85, 128), (3, 2)]
    assert "2 values" in page
    assert preview.frame.equals(df.collect())
    assert str(preview).startswith("shape: (2, 6)")


def test_hostile_column_names_and_types_are_escaped() -> None:
    page = as_html(pl.DataFrame({'"><img src=x>': pl.Series(["<b>"], dtype=pl.Enum(["<b>", "<i>"]))}))
    assert Checked(page).loads == []
    assert "<b>" not in page
    assert "<i>" not in page


def test_a_lazy_frame_shows_its_plan_and_runs_nothing() -> None:
    df = rd.from_dict({"a": [1]}).map(lambda row: 1 / 0, schema={"a": pl.Int64})
    assert "not run" in df._repr_html_()


def test_only_the_first_rows_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = pictures._thumbnail
    monkeypatch.setattr(pictures, "_thumbnail", lambda data, side: (decoded.append(len(data)), real(data, side))[1])
    df = rd.from_dict({"n": range(50), **{name: [encoded(shade=k) for k in range(50)] for name in "abcd"}})
    page = df.preview(20)._repr_html_()
    assert len(decoded) == 8 * 3
    assert len(drawn(page)) == 8 * 3
    assert page.count(" bytes</td>") == 12 * 3 + 20
    assert page.count("<tr>") == 21


def test_the_query_runs_until_the_first_rows_are_there() -> None:
    seen: list[int] = []

    def double(batch: pl.DataFrame) -> pl.DataFrame:
        seen.append(batch.height)
        return batch

    df = rd.from_dict({"n": range(100_000)}).map_batches(double, batch_size=10, schema={"n": pl.Int64})
    assert df.preview(3).frame["n"].to_list() == [0, 1, 2]
    assert sum(seen) < 5_000


def test_no_more_bytes_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    noise = to_column([rng.integers(0, 256, (128, 128, 3)).astype(np.uint8) for _ in range(8)])
    frame = pl.DataFrame({"n": range(8), "image": noise})
    assert len(drawn(as_html(frame))) == 8
    monkeypatch.setattr(table, "BYTES", 40_000)
    page = as_html(frame)
    Checked(page)
    assert 0 < len(drawn(page)) < 8
    assert len(page.encode()) <= 40_000
    assert "pictures are left out beyond 40,000 bytes" in page
    long = pl.DataFrame({f"c{k}": ["x" * 10_000] * 500 for k in range(60)})
    page = as_html(long)
    Checked(page)
    assert len(page.encode()) <= 40_000
    assert "20 more columns" in page
    assert "more rows" in page


def test_messages_are_drawn_where_their_bytes_are() -> None:
    image = {"height": 2, "width": 3, "encoding": "bgr8", "is_bigendian": 0, "step": 9, "data": bytes([255, 0, 0] * 6)}
    columns = pl.DataFrame([image])
    whole = pl.DataFrame({"message": [image]})
    for frame in (columns, whole):
        (found,) = drawn(as_html(frame))
        assert found.size == (3, 2)
        assert np.asarray(found)[0, 0, 2] > 200  # blue
    depth = {**image, "encoding": "32FC1", "step": 12, "data": np.arange(6, dtype="<f4").tobytes()}
    (found,) = drawn(as_html(pl.DataFrame([depth])))
    assert np.asarray(found)[0, 0].max() < 20
    assert np.asarray(found)[1, 2].min() > 235
    broken = {**image, "data": b"x"}
    assert drawn(as_html(pl.DataFrame([broken]))) == []


def test_clouds_are_drawn_from_above() -> None:
    field = lambda name, at: {"name": name, "offset": at, "datatype": 7, "count": 1}  # noqa: E731
    points = np.array([[0, 0, 0], [10, 0, 1], [0, 10, 2]], "<f4")
    message = {
        "height": 1, "width": 3, "fields": [field(n, 4 * k) for k, n in enumerate("xyz")], "is_bigendian": False,
        "point_step": 12, "row_step": 36, "data": points.tobytes(),
    }  # fmt: skip
    as_list = [dict(zip("xyz", map(float, p))) for p in points]
    frames = [pl.DataFrame([message]), pl.DataFrame({"cloud": [message]}), pl.DataFrame({"cloud": [as_list]})]
    pages = [as_html(frame) for frame in frames]
    assert [image.size for image in drawn(pages[0])] == [(128, 128)]
    assert [re.findall(r"base64,[^\"]+", page) for page in pages[1:]] == [re.findall(r"base64,[^\"]+", pages[0])] * 2
    assert drawn(as_html(pl.DataFrame({"cloud": pl.Series([[], None], dtype=frames[2].schema["cloud"])}))) == []


def test_where_the_points_of_a_cloud_are() -> None:
    grid = np.mgrid[0:40, 0:40].reshape(2, -1)
    forward = pl.DataFrame({"x": grid[0] / 1.0, "y": np.zeros(1600), "z": np.zeros(1600)})
    made = from_above(forward, 64)
    assert made is not None
    rows, columns = np.nonzero(made.max(axis=2) > 40)
    assert set(columns) <= {31, 32, 33}  # straight ahead is a line up
    assert rows.max() - rows.min() > 50
    corner = pl.DataFrame({"x": [0.0] * 50 + [10.0] * 50, "y": [0.0] * 50 + [10.0] * 50, "z": [0.0] * 50 + [5.0] * 50})
    made = from_above(corner, 64)
    assert made is not None
    assert made[:32, :32].max() > 200  # ahead and to the left, where it is high, is up left and bright
    assert made[:32, 32:].max() < 40
    assert from_above(pl.DataFrame({"x": [None, float("nan")], "y": [1.0, 2.0]}), 64) is None


def test_lines_through_numbers() -> None:
    line = sparkline(pl.Series([0, 5, 10]))
    assert line is not None
    places = [tuple(map(float, p.split(","))) for p in re.findall(r"[\d.]+,[\d.]+", line)]
    assert places == [(1.0, 26.0), (70.0, 14.0), (139.0, 2.0)]
    assert "3 numbers, 0 to 10" in line
    long = sparkline(pl.Series(np.sin(np.arange(100_000) / 500)))
    assert long is not None
    assert len(long) < 3000
    for empty in ([], [None], [float("nan"), float("inf")]):
        assert sparkline(pl.Series(empty, dtype=pl.Float64)) is None
    assert sparkline(pl.Series([3, 3])) is not None
    array = pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float32, 2))
    assert as_html(pl.DataFrame({"a": array})).count("<polyline") == 1


def test_arrays_of_pixels_are_drawn() -> None:
    frame = pl.DataFrame({"pixels": np.full((2, 10, 12, 3), 200, np.uint8)})
    assert [image.size for image in drawn(as_html(frame))] == [(12, 10)] * 2


def test_without_pillow_the_rest_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    page = as_html(pl.DataFrame({"frame": [encoded()], "n": [[1, 2]]}))
    assert "pip install &#x27;robodf[images]&#x27;" in page
    assert "<polyline" in page
    with pytest.raises(ImportError, match="contact_sheet needs Pillow"):
        rd.from_dict({"frame": [encoded()]}).contact_sheet("frame")


def test_empty_frames_and_wrong_options() -> None:
    Checked(rd.from_dict({"a": [1]}).preview(0)._repr_html_())
    Checked(as_html(pl.DataFrame({"frame": pl.Series([], dtype=pl.Binary)})))
    for n in (-1, 1.5, "8"):
        with pytest.raises(OptionError, match="preview: n is"):
            rd.from_dict({"a": [1]}).preview(n)  # type: ignore[arg-type]


def test_show_prints_text_and_in_a_notebook_shows_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    df = rd.from_dict({"a": [1]})
    df.show()
    assert capsys.readouterr().out.startswith("shape: (1, 1)")
    shown: list = []
    notebook = SimpleNamespace(
        get_ipython=lambda: SimpleNamespace(kernel=1), display=SimpleNamespace(display=shown.append)
    )
    monkeypatch.setitem(table.sys.modules, "IPython", notebook)
    df.show()
    assert capsys.readouterr().out == ""
    assert "<table" in shown[0]._repr_html_()
    notebook.get_ipython = lambda: SimpleNamespace()  # IPython in a terminal
    df.show()
    assert capsys.readouterr().out.startswith("shape: (1, 1)")


# -- contact sheets -------------------------------------------------------------------------------------------


def test_a_contact_sheet_has_the_images_in_their_places(tmp_path: Path) -> None:
    shades = [40, 120, 200, 250]
    data = [encoded(20, 40, shade) for shade in shades]
    sheet = rd.from_dict({"frame": [*data[:2], b"broken", *data[2:]]}).contact_sheet("frame", columns=3, size=40)
    assert sheet.pixels.shape == (4 + 2 * 44, 4 + 3 * 44, 3)
    middles = [sheet.pixels[24 + 44 * row, 24 + 44 * column, 0] for row in range(2) for column in range(3)]
    assert middles == [40, 120, 64, 200, 250, 32]
    assert sheet.pixels[5, 24, 0] == 32  # above a picture that is wider than high
    assert "5 images, 136 x 92 pixels" in repr(sheet)
    (shown,) = drawn(sheet._repr_html_())
    assert shown.size == (136, 92)
    sheet.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as found:
        assert np.array_equal(np.asarray(found), sheet.pixels)
    sheet.save(tmp_path / "a.JPG")
    with Image.open(tmp_path / "a.JPG") as found:
        assert (found.format, found.size) == ("JPEG", (136, 92))
    with pytest.raises(OptionError, match=r"\.png, \.jpg or \.jpeg, not"):
        sheet.save(tmp_path / "a.gif")


def test_a_contact_sheet_decodes_the_first_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = pictures._thumbnail
    monkeypatch.setattr(pictures, "_thumbnail", lambda data, side: (decoded.append(side), real(data, side))[1])
    df = rd.from_dict({"frame": [encoded(shade=k) for k in range(100)]})
    assert df.contact_sheet("frame", rows=20, size=16).count == 20
    assert decoded == [16] * 20


def test_a_contact_sheet_is_not_larger_than_a_page_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    df = rd.from_dict({"frame": [encoded(shade=k) for k in range(4)]})
    for rows, size, columns in ((10_000, 1024, 6), (10_000, 256, 6), (100, 1024, 100)):
        with pytest.raises(OptionError, match="more than the 67,108,864 pixels of a sheet"):
            df.contact_sheet("frame", rows=rows, size=size, columns=columns)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    sheet = rd.from_polars(pl.DataFrame({"frame": to_column([noise] * 20)})).contact_sheet("frame")
    (whole,) = drawn(sheet._repr_html_())
    assert whole.size == (796, 532)
    monkeypatch.setattr(table, "BYTES", 60_000)
    page = sheet._repr_html_()
    assert len(page) <= 60_000
    assert drawn(page)[0].size[0] > 100


def test_contact_sheets_of_messages() -> None:
    image = {"height": 2, "width": 3, "encoding": "mono8", "step": 3, "data": bytes(6)}
    assert rd.from_polars(pl.DataFrame([image] * 10)).contact_sheet("data", size=8).count == 10


def test_what_has_no_contact_sheet() -> None:
    df = rd.from_dict({"frame": [b"no image"], "n": [1]})
    for column in ("frame", "n"):
        with pytest.raises(SchemaError, match="no image is in the first 1 rows"):
            df.contact_sheet(column)
    with pytest.raises(ColumnNotFoundError, match="did you mean 'frame'"):
        df.contact_sheet("frames")
    for option in ({"columns": 0}, {"size": 5000}, {"rows": 1.5}):
        with pytest.raises(OptionError, match="contact_sheet: "):
            df.contact_sheet("frame", **option)  # type: ignore[arg-type]
    empty = df.filter(rd.lit(False)).contact_sheet("frame")
    assert empty.count == 0


def test_real_recordings(real_data: Path) -> None:
    log = real_data / "mcap" / "rerun_rosbag2_2025_09_10.mcap"
    for topic, images, lines in (
        ("/image", 1, 0),
        ("/compressed_image", 1, 0),
        ("/point_cloud2", 1, 0),
        ("/laser_scan", 0, 2),
    ):
        page = rd.read_log(log, topic).preview()._repr_html_()
        found = Checked(page).tags
        assert (found.count("img"), found.count("svg")) == (images, lines), topic
        assert len(page) < 50_000
