"""docs/formats.md: its table has all formats, its examples run, and the format of a package is read as our own are."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, OptionError
from robodf.io.counting import read
from robodf.io.formats import FORMATS, Format, extensions, formats
from robodf.sql import tables

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "formats.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FRAMES, HEIGHT, WIDTH = 40, 240, 320


def test_the_table_has_every_format_and_extras_that_there_are() -> None:
    rows = [line.split("|")[1:-1] for line in TEXT.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == {f.name for f in FORMATS}
    assert {len(row) for row in rows} == {5}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[4])} <= set(extras)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, with the package of the page and its entry point."""
    (module,) = [block for block in BLOCKS if block.startswith("# depth_files.py")]
    (toml,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    points: dict[str, str] = tomllib.loads(toml)["project"]["entry-points"]["robodf.sources"]
    site = tmp_path / "site"
    package = site / "depth_files-1.0.dist-info"
    package.mkdir(parents=True)
    (site / "depth_files.py").write_text(module, "utf-8")
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: depth-files\nVersion: 1.0\n", "utf-8")
    lines = [f"{name} = {value}\n" for name, value in points.items()]
    (package / "entry_points.txt").write_text("[robodf.sources]\n" + "".join(lines), "utf-8")
    monkeypatch.syspath_prepend(str(site))
    forget()
    yield site
    forget()
    sys.modules.pop("depth_files", None)


def forget() -> None:
    importlib.invalidate_caches()
    formats.cache_clear()
    extensions.cache_clear()


def test_examples_run(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(BLOCKS) == 4
    exec("\n".join(BLOCKS), {"__name__": "depth_files"})
    (shown,) = re.findall(r"^```text\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert shown in capsys.readouterr().out


@pytest.fixture
def files(installed: Path, tmp_path: Path) -> list[Path]:
    """Two recordings: frame k of file f has the time 10 f + k s, and pixels of that value."""
    made = []
    for f in range(2):
        data = b"DPTH" + HEIGHT.to_bytes(2, "little") + WIDTH.to_bytes(2, "little")
        for k in range(FRAMES):
            value = 100 * f + k
            data += (value * 1_000_000_000).to_bytes(8, "little") + value.to_bytes(2, "little") * HEIGHT * WIDTH
        made.append(tmp_path / f"{f}.depth")
        made[-1].write_bytes(data)
    return made


@pytest.fixture
def images(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The images that are read: the name of the file, and the number of the frame."""
    found: list[tuple[str, int]] = []
    source: Any = importlib.import_module("depth_files").DepthFiles
    read_rows = source.read_rows

    def noted(self: Any, path: str, rows: Any, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        found.extend((Path(path).name, row) for row in rows.tolist())
        return read_rows(self, path, rows, columns)

    monkeypatch.setattr(source, "read_rows", noted)
    return found


def values(column: pl.Series) -> list[int]:
    return [int.from_bytes(image["data"][-2:], "little") for image in column]


def test_the_format_of_a_package_is_read_by_its_content_and_its_name(files: list[Path], images: list) -> None:
    df = rd.read(files[0].parent / "*.depth")
    assert dict(df.schema) == {
        "path": pl.String(), "frame": pl.UInt32(), "time": pl.Datetime("ns"), "image": df.schema["image"],
    }  # fmt: skip
    assert df.count_rows() == 2 * FRAMES
    other = files[0].rename(files[0].with_suffix(".bin"))
    assert values(rd.read([other]).head(2).collect()["image"]) == [0, 1]
    assert images == [("0.bin", 0), ("0.bin", 1)]
    assert rd.read(files[1], format="depth").select("time").collect()["time"][0] == datetime(1970, 1, 1, 0, 1, 40)


def test_filters_and_limits_choose_before_images_are_read(files: list[Path], images: list) -> None:
    df = rd.read(files).filter(rd.col("time") >= datetime(1970, 1, 1, 0, 2, 17))
    assert "3 of 80 rows" in str(df.explain("physical"))
    before = read.bytes
    assert values(df.collect()["image"]) == [137, 138, 139]
    assert sorted(images) == [("1.depth", 37), ("1.depth", 38), ("1.depth", 39)]
    assert read.bytes - before < 20 * HEIGHT * WIDTH * 2
    images.clear()
    assert rd.read(files).filter(rd.col("frame") % 2 == 0).select("path", "time").collect().height == FRAMES
    assert images == []


def test_images_are_fetched_late(files: list[Path], images: list) -> None:
    df = rd.read(files).sort("time", descending=True).head(2)
    assert "fetched late" in str(df.explain("physical"))
    assert values(df.collect()["image"]) == [139, 138]
    assert sorted(images) == [("1.depth", 38), ("1.depth", 39)]


def test_sql_knows_the_format_of_a_package(files: list[Path], images: list) -> None:
    pattern = files[0].parent / "*.depth"
    found = rd.sql(f"SELECT frame, image FROM read_depth('{pattern}') WHERE frame = 5 ORDER BY time DESC").collect()
    assert values(found["image"]) == [105, 5]
    assert sorted(images) == [("0.depth", 5), ("1.depth", 5)]
    assert "read_depth" in tables._readers()
    counted = rd.sql(f"SELECT count(*) AS n FROM read_depth('{pattern}', on_error => 'collect')")
    assert counted.collect()["n"].to_list() == [80]


def test_a_file_that_is_cut_off_is_told_or_left_out(files: list[Path]) -> None:
    files[0].write_bytes(files[0].read_bytes()[:-1])
    with pytest.raises(FileFormatError, match=r"0\.depth: no depth recording, or cut off at byte"):
        rd.read(files).collect()
    df = rd.read(files, on_error="collect")
    assert values(df.collect()["image"]) == list(range(100, 100 + FRAMES))
    assert df.errors["file"].to_list() == [str(files[0])]


def test_an_entry_point_that_is_no_format_or_takes_a_name_is_an_error(installed: Path) -> None:
    module = installed / "depth_files.py"
    whole = module.read_text("utf-8")
    for ending, message in (("FORMAT = 3\n", "is no robodf.io.formats.Format"),
                            ('FORMAT = Format("video", "a:b")\n', "there is a format 'video' already")):  # fmt: skip
        module.write_text(whole + ending, "utf-8")
        sys.modules.pop("depth_files", None)
        forget()
        with pytest.raises(OptionError, match=message):
            formats()
    assert isinstance(FORMATS[0], Format)
