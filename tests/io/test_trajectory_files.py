"""Trajectory files: exact times, quaternions of matrices, and lines that are none."""

from __future__ import annotations

import math
import random
from pathlib import Path

import polars as pl
import pytest
import samples_trajectory as samples
from samples_clouds import mutated

import robodf as rd
from robodf.errors import FileFormatError, OptionError, RobodfError


def put(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_tum(tmp_path: Path) -> None:
    found = rd.read_trajectory(put(tmp_path, "groundtruth.txt", samples.TUM)).collect()
    assert found["time"].to_physical().to_list() == [1305031098665900000, 1305031098675899999]
    assert found["pose"].to_list() == [0, 1]
    assert found["position"].to_list()[0] == {"x": 1.3563, "y": 0.6305, "z": 1.6380}
    assert found["orientation"].to_list()[1] == {"x": 0.6129, "y": 0.5966, "z": -0.3316, "w": -0.3980}
    assert found.schema["time"] == pl.Datetime("ns")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0), ("1.", 1_000_000_000), ("1305031098.123456789", 1305031098123456789), ("-0.5", -500_000_000),
        ("1305031098.1234567899", 1305031098123456789), ("1.3e9", 1_300_000_000_000_000_000),
        ("1.305031098123456789e+09", 1305031098123456789), (".25", 250_000_000), ("-1.000000001", -1_000_000_001),
    ],
)  # fmt: skip
def test_times_are_exact(tmp_path: Path, text: str, ns: int) -> None:
    found = rd.read_trajectory(put(tmp_path, "a.txt", f"{text} 0 0 0 0 0 0 1\n")).collect()
    assert found["time"].to_physical().to_list() == [ns]


def test_kitti(tmp_path: Path) -> None:
    found = rd.read_trajectory(put(tmp_path, "00.txt", samples.KITTI)).collect()
    assert found["time"].to_list() == [None, None]
    assert found["position"].to_list()[1] == {"x": 2.5, "y": -3.0, "z": 4.0}
    half = math.sqrt(0.5)
    assert found["orientation"].to_list()[1] == pytest.approx({"x": 0.0, "y": 0.0, "z": half, "w": half})


def test_quaternions_turn_back_into_their_matrices(tmp_path: Path) -> None:
    rng = random.Random(2)
    given = [(0.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)]
    for _ in range(60):
        q = [rng.gauss(0, 1) for _ in range(4)]
        length = math.sqrt(sum(v * v for v in q)) * (1 if q[3] >= 0 else -1)
        given.append(tuple(v / length for v in q))  # type: ignore[arg-type]
    lines = []
    for x, y, z, w in given:
        rows = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )
        lines.append(" ".join(f"{v!r}" for row in rows for v in (*row, 0.0)))
    found = rd.read_trajectory(put(tmp_path, "a.kitti", "\n".join(lines))).collect()["orientation"].to_list()
    for q, made in zip(given, found):
        assert tuple(made[k] for k in "xyzw") == pytest.approx(q, abs=1e-12)


def test_euroc(tmp_path: Path) -> None:
    found = rd.read_trajectory(put(tmp_path, "data.csv", samples.EUROC)).collect()
    assert found["time"].to_physical().to_list() == [1403636580838555648, 1403636580843555648]
    assert found["orientation"].to_list()[0] == {"x": -0.153029, "y": -0.827383, "z": -0.082152, "w": 0.534108}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3", "3 words, where TUM has 8"),
        ("1 2 3 4 5 6 7 x", "'x' is no number"),
        ("1 2 3 4 5 6 7 1_0", "'1_0' is no number"),
        ("now 2 3 4 5 6 7 8", "'now' is no time in seconds"),
        ("nan 2 3 4 5 6 7 8", "'nan' is no time"),
        ("1e30 2 3 4 5 6 7 8", "is no time"),
        ("9999999999.5 2 3 4 5 6 7 8", "more than nanoseconds can count"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = put(tmp_path, "a.tum", samples.TUM + line + "\n")
    with pytest.raises(FileFormatError, match=f"a.tum: line 7: .*{message}"):
        rd.read_trajectory(path).collect()
    df = rd.read_trajectory(path, on_error="collect")
    assert df.collect().height == 2
    assert "line 7" in df.errors["error"][0]


def test_matrices_that_are_no_rotations(tmp_path: Path) -> None:
    for rows in (
        "1 0 0 0 0 1 0 0 0 0 -1 0",
        "2 0 0 0 0 2 0 0 0 0 2 0",
        "nan 0 0 0 0 1 0 0 0 0 1 0",
        "0 0 0 0 0 0 0 0 0 0 0 0",
    ):
        with pytest.raises(FileFormatError, match="line 1: .* no rotation"):
            rd.read_trajectory(put(tmp_path, "a.txt", rows)).collect()


def test_formats_are_found_or_said(tmp_path: Path) -> None:
    assert rd.read(put(tmp_path, "a.txt", samples.TUM)).columns == ["path", "pose", "time", "position", "orientation"]
    assert rd.read(put(tmp_path, "b.csv", samples.EUROC)).count_rows() == 2
    assert rd.read(put(tmp_path, "c.txt", "just text\n")).columns == ["path", "line", "text"]
    with pytest.raises(FileFormatError, match="3 words are neither the 8 of TUM nor the 12 of KITTI"):
        rd.read_trajectory(put(tmp_path, "d.txt", "1 2 3\n")).collect()
    with pytest.raises(OptionError, match="did you mean 'kitti'"):
        rd.read_trajectory(put(tmp_path, "d.txt", ""), format="kiti")
    assert rd.read_trajectory(put(tmp_path, "e.txt", "")).collect().height == 0
    with pytest.raises(FileFormatError, match="is no text"):
        rd.read_trajectory(put(tmp_path, "f.txt", b"\0\1\2")).collect()


def test_filters_count_rows(tmp_path: Path) -> None:
    df = rd.read_trajectory([put(tmp_path, "a.tum", samples.TUM), put(tmp_path, "b.kitti", samples.KITTI)])
    assert df.count_rows() == 4
    assert df.filter(rd.col("pose") == 1).select("time").collect()["time"].null_count() == 1


@pytest.mark.parametrize("name", list(samples.samples()))
def test_mutated_files_are_read_or_told(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    told = []
    for _ in range(40):
        path = put(tmp_path, name, mutated(samples.samples()[name], rng))
        try:
            rd.read_trajectory(path).collect()
        except RobodfError as error:
            told.append(path in str(error))
    assert told
    assert all(told)
