"""`rd.read` finds the format of files that have no extension: by their content."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest
import samples_archives
import samples_clouds
import samples_hdf5
import samples_images
import samples_pcap
import samples_trajectory
import samples_video
from test_robots import ARM, WORLD
from test_yaml_files import KALIBR, OPENCV

import robodf as rd
from robodf.errors import FileFormatError
from robodf.io.formats import FORMATS, format_of
from robodf.io.read import _format_of

TABLE = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "ü"]})
LINES = TABLE.write_ndjson().encode()


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def only(files: Mapping[str, bytes], *endings: str) -> Mapping[str, bytes]:
    return {name: data for name, data in files.items() if name.endswith(endings)}


def files() -> dict[str, Mapping[str, bytes]]:
    """Of each format files that are recognised; a recording of a log is made by to_mcap elsewhere."""
    clouds, archives = samples_clouds.samples(), samples_archives.samples()
    return {
        "parquet": {"1": written(TABLE.write_parquet)},
        "ipc": {"1": written(TABLE.write_ipc)},
        "json": {
            "array": TABLE.write_json().encode(), "pretty": json.dumps(TABLE.to_dicts(), indent=2).encode(),
            "object": json.dumps({"a": 1, "b": "x"}, indent=1).encode(),
            "with a mark": "\ufeff".encode() + TABLE.write_json().encode(),
        },
        "ndjson": {
            "lines": LINES, "one line": b'{"a": 1}', "a long line": b'{"a": "' + b"x" * 10_000 + b'"}\n' + LINES,
        },
        "yaml": {"opencv": OPENCV.encode(), "kalibr": KALIBR.encode(), "directive": b"%YAML 1.2\n---\na: 1\n"},
        "urdf": {"plain": ARM.encode(), "declared": b'<?xml version="1.0"?>\n<!-- by hand -->\n' + ARM.encode()},
        "sdf": {"world": WORLD.encode()},
        "video": samples_video.samples(),
        "points": only(clouds, ".pcd", ".ply", ".las", ".laz"),
        "pcap": samples_pcap.samples(),
        "trajectory": only(samples_trajectory.samples(), ".tum", ".csv"),
        "images": samples_images.samples(),
        "zip": {**only(archives, ".zip"), "empty": samples_archives.zipped({})},
        "tar": only(archives, ".tar", *(f".{end}" for end in samples_archives.PACKED)),
        "hdf5": samples_hdf5.samples(),
    }  # fmt: skip


BY_NAME = {
    "csv", "text", "msgpack",  # by their extension
    "calibration", "binary", "protobuf", "mcap", "clouds", "velodyne", "webdataset",  # by format=, or their reader
}  # fmt: skip


@pytest.mark.parametrize("format", files())
def test_a_file_without_an_extension_is_known_by_its_content(tmp_path: Path, format: str) -> None:
    for k, (name, data) in enumerate(files()[format].items()):
        (tmp_path / str(k)).write_bytes(data)
        assert _format_of(str(tmp_path / str(k)), None) == format, name


def test_every_other_format_is_of_a_folder_or_known_by_its_name() -> None:
    folders = {f.name for f in FORMATS if f.folder is not None}
    assert {f.name for f in FORMATS} == {*files(), *folders, *BY_NAME, "log"}
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
    (said,) = re.findall(r"What nothing in a\s+file tells.*?\n\n", page, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", said)) == BY_NAME


def test_rows_of_files_without_an_extension(tmp_path: Path) -> None:
    for data in (TABLE.write_json().encode(), LINES):
        (tmp_path / "rows").write_bytes(data)
        assert rd.read(tmp_path / "rows").collect().equals(TABLE)
    (tmp_path / "archive").write_bytes(samples_archives.PACKED["bz2"](samples_archives.tarred()))
    assert rd.read(tmp_path / "archive").count_rows() == len(samples_archives.FILES)
    (tmp_path / "frames").write_bytes(samples_video.samples()["h264.ts"])
    assert rd.read(tmp_path / "frames").count_rows() == 30
    (tmp_path / "log").mkdir()
    rd.from_dict({"log_time": [1, 2], "x": [0.5, 1.5]}).with_columns(
        log_time=rd.col("log_time").cast(pl.Datetime("ns"))
    ).to_mcap(tmp_path / "log" / "a.mcap", topic="/x", encoding="json")
    (tmp_path / "log" / "a.mcap").rename(tmp_path / "log" / "a")
    assert rd.read(tmp_path / "log" / "a").count_rows() == 2


@pytest.mark.parametrize(
    ("data", "name", "format"),
    [
        (LINES, "a.txt", "text"),  # the name counts where the content is text
        (b'[{"a": 1}]', "a.yaml", "yaml"),
        (ARM.encode(), "a.world", "sdf"),
        (samples_video.samples()["h264.mp4"], "a.csv", "video"),
        (samples_archives.zipped(), "a.tar", "zip"),
        (b"GPS,time\n" + b"G,1\n" * 500, "a.csv", "csv"),
        (b"[1, 2, 3]", "a", None), (b'{"a', "a", None), (b"{a: 1}", "a", None), (b"<html><robot/></html>", "a", None),
        (b"", "a", None), (b"\0\0\0\x20ftypheic", "a", None), (b"\0\0\1\0\1\0\x10\x10", "a", None),
        (b"\0\0\1\0\0free", "a", None), (b"PK", "a", None), (b"G" * 300, "a", None),
    ],
)  # fmt: skip
def test_content_and_name(data: bytes, name: str, format: str | None) -> None:
    assert format_of(name, data[:4096], len(data)) == format


@pytest.mark.parametrize(
    "data",
    [b"\x1f\x8b broken", b"BZh9", samples_archives.PACKED["gz"](b"a,b\n1,2\n" * 99)],
    ids=["broken", "bzip2", "gzip"],  # the bytes of the last hold the time of day
)
def test_what_is_compressed_and_no_archive(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(FileFormatError, match="not a format that its content or extension tells"):
        rd.read(tmp_path / "a")
