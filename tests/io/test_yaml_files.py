"""YAML and calibrations of cameras as rows."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, RobodfError
from robodf.io.yaml_text import documents, typed

KALIBR = """%YAML:1.0
---
cam0:
  T_cam_imu:
    - [0.0, -1.0, 0.0, 0.1]
    - [1.0, 0.0, 0.0, 0.2]
    - [0.0, 0.0, 1.0, 0.3]
    - [0.0, 0.0, 0.0, 1.0]
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 0.0002, 1.8e-05]
  distortion_model: radtan
  intrinsics: [458.6, 457.3, 367.2, 248.4]
  resolution: [752, 480]
  rostopic: /cam0/image_raw
cam1:
  camera_model: omni
  distortion_coeffs: []
  intrinsics: [0.9, 458.0, 457.0, 379.0, 255.0]
  resolution: [752, 480]
"""
OPENCV = """%YAML:1.0
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data:[ 500., 0., 320., 0., 500., 240., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 2
   dt: d
   data: [ 1.e-2, -.5 ]
image_width: 640
"""
ORB = """Camera.type: "PinHole"
Camera.fx: 435.2
Camera.fy: 435.3
Camera.cx: 367
Camera.cy: 252
Camera.k1: 0.5
Camera.width: 752
"""
BOMB = "c0: &c0 [1, 1]\n" + "".join(f"c{k}: &c{k} [{', '.join([f'*c{k - 1}'] * 9)}]\n" for k in range(1, 9))


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_documents_are_rows_with_typed_columns(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: a\ngain: 1\nlist: [1, 2]\n---\nname: b\ngain: 0.5\nextra: {x: yes, n: ~}\n")
    write(tmp_path, "b.yaml", "name: c\npath: /dev/x\nmixed: [1, a]\n")
    df = rd.read(tmp_path)
    found = df.collect()
    assert found.schema["gain"] == pl.Float64()
    assert found.schema["extra"] == pl.Struct({"x": pl.String(), "n": pl.Null()})
    assert found.select("document", "name", "gain", "list", "yaml.path", "mixed").rows() == [
        (0, "a", 1.0, [1, 2], None, None),
        (1, "b", 0.5, None, None, None),
        (0, "c", None, None, "/dev/x", ["1", "a"]),
    ]
    assert df.filter(rd.col("document") == 1).collect()["name"].to_list() == ["b"]
    assert rd.sql(f"SELECT name FROM read_yaml('{tmp_path}') WHERE gain < 1").collect().rows() == [("b",)]


def test_a_later_file_that_does_not_fit_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("robodf.io.yaml_files._SAMPLE", 1)
    write(tmp_path, "a.yaml", "x: 1")
    write(tmp_path, "b.yaml", "x: one")
    write(tmp_path, "c.yaml", "y: 1")
    with pytest.raises(FileFormatError, match=r"b\.yaml: row 0: x: 'one' does not fit the type Int64"):
        rd.read_yaml(tmp_path).collect()
    df = rd.read_yaml(tmp_path, on_error="collect")
    assert df.collect()["x"].to_list() == [1]
    assert [Path(f).name for f in df.errors["file"]] == ["b.yaml", "c.yaml"]


def test_scalars_are_those_of_the_core_schema() -> None:
    given = [
        "0",
        "-12",
        "0x1f",
        "0o17",
        "1.",
        ".5",
        "-1e3",
        "true",
        "~",
        "",
        "yes",
        "1_000",
        "12:30",
        "inf",
        ".inf",
        "1e400",
    ]
    expected = [
        0,
        -12,
        31,
        15,
        1.0,
        0.5,
        -1000.0,
        True,
        None,
        None,
        "yes",
        "1_000",
        "12:30",
        "inf",
        float("inf"),
        float("inf"),
    ]
    assert [typed(text) for text in given] == expected
    assert list(documents("a: '12'\nb: \"true\"", "x")) == [{"a": "12", "b": "true"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [" * 100, "nested more than"),
        (BOMB, "more than 100000 values"),
        ("a: &a [*a]", "holds itself"),
        ("a: *b", "anchor"),
        ("a: [", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_hostile_texts_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        rd.read_yaml(write(tmp_path, "a.yaml", text))


def test_tags_make_no_objects(tmp_path: Path) -> None:
    name = write(tmp_path, "a.yaml", "a: !!python/object/apply:os.system [echo]\nb: !x 3")
    assert rd.read_yaml(name).select("a", "b").collect().rows() == [(["echo"], 3)]


def test_calibrations_of_every_kind(tmp_path: Path) -> None:
    write(tmp_path, "camchain.yaml", KALIBR)
    write(tmp_path, "opencv.yaml", OPENCV)
    write(tmp_path, "orb.yaml", ORB)
    found = rd.read_calibration(tmp_path).collect()
    assert found["camera"].to_list() == ["cam0", "cam1", None, "Camera"]
    assert found["width"].to_list() == [752, 752, 640, 752]
    assert found["camera_model"].to_list() == ["pinhole", "omni", None, "PinHole"]
    assert found["k"].to_list() == [
        [458.6, 0, 367.2, 0, 457.3, 248.4, 0, 0, 1], None, [500, 0, 320, 0, 500, 240, 0, 0, 1],
        [435.2, 0, 367, 0, 435.3, 252, 0, 0, 1],
    ]  # fmt: skip
    assert found["d"].to_list() == [[-0.28, 0.07, 0.0002, 1.8e-05], [], [0.01, -0.5], [0.5]]
    assert found["t_cam_imu"][0].to_list()[:4] == [0.0, -1.0, 0.0, 0.1]
    assert found["topic"].to_list() == ["/cam0/image_raw", None, None, None]


def test_calibrations_of_other_tools(real_data: Path) -> None:
    folder = real_data / "calib"
    found = rd.read_calibration([folder / "ros_calib5.ini", folder / "ros_camera_info_test_calibration.yaml"]).collect()
    assert found["camera"].to_list() == ["mono_left", "08144361026320a0"]
    assert found["k"].arr.get(0).to_list() == [369.344588, 1168.68]
    assert found["p"].arr.get(10).to_list() == [1.0, 1.0]
    lasers = rd.read_yaml(folder / "velodyne_32db.yaml").collect()
    assert len(lasers["lasers"][0]) == 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1", "no calibration"),
        ("[1]", "no calibration"),
        ("camera_matrix: {data: [1, 2]}", "camera_matrix has 2 numbers, not 9"),
        ("camera_matrix: {rows: 2, cols: 2, data: [1,2,3,4,5,6,7,8,9]}", "says 2 x 2"),
        ("camera_matrix: {data: [a,2,3,4,5,6,7,8,9]}", "'a' is no number"),
        ("camera_matrix: {data: [1,2,3,4,5,6,7,8,9]}\nimage_width: -1", "no size in pixels"),
        ("cam0: {intrinsics: [1, 2]}", "a pinhole has fu, fv, pu, pv"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        rd.read_calibration(write(tmp_path, "a.yaml", text)).collect()


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    draw = random.Random(5)
    outcomes = set()
    for text in (KALIBR, OPENCV, ORB):
        for read in (rd.read_yaml, rd.read_calibration):
            for _ in range(30):
                data = bytearray(text.encode())
                for _ in range(draw.choice((1, 4))):
                    data[draw.randrange(len(data))] = draw.randrange(256)
                (tmp_path / "a.yaml").write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
                try:
                    read(tmp_path / "a.yaml").collect()
                    outcomes.add("read")
                except RobodfError:
                    outcomes.add("refused")
    assert outcomes == {"read", "refused"}
