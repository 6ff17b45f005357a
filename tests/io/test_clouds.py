"""Cloud files: what is read, what is skipped, and what is told of broken ones."""

from __future__ import annotations

import pickle
import random
import struct
from pathlib import Path

import laspy
import numpy as np
import polars as pl
import pytest
import samples_clouds as samples
from polars.testing import assert_frame_equal

import robodf as rd
from robodf.errors import FileFormatError, OptionError, RobodfError, SchemaError
from robodf.io.counting import read as counter
from robodf.io.source import LOCATOR, Request


def put(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def expected(points: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {name: points[name].astype(points[name].dtype.newbyteorder("=")) for name in points.dtype.names or ()}
    )


# -- PCD ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_pcd_gives_its_fields_with_their_types(tmp_path: Path, data: str) -> None:
    df = rd.read_points(put(tmp_path, "a.pcd", samples.pcd(data)))
    found = df.collect()
    assert found["point"].to_list() == list(range(samples.POINTS))
    assert_frame_equal(found.drop("path", "point"), expected(samples.table()))
    assert found.schema["normal"] == pl.Array(pl.Float32, 3)
    assert_frame_equal(df.select("label", "z").collect(), found.select("label", "z"))
    assert df.count_rows() == samples.POINTS


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_pcd_integers_are_exact(tmp_path: Path, data: str) -> None:
    points = np.array([(2**63 - 1, 2**64 - 1, -128), (-(2**63), 0, 127)], [("a", "<i8"), ("b", "<u8"), ("c", "i1")])
    df = rd.read_points(put(tmp_path, "a.pcd", samples.pcd(data, points)))
    assert_frame_equal(df.select("a", "b", "c").collect(), expected(points))


def test_pcd_of_old_versions(tmp_path: Path) -> None:
    old = b"# made before there was more\nCOLUMNS x y z\nWIDTH 2\nDATA ascii\n1 2 3\n4 5 6\n"
    df = rd.read_clouds(put(tmp_path, "a.pcd", old))
    assert df.select("points", "width", "height", "viewpoint").collect().rows() == [(2, 2, 1, None)]
    assert df.collect()["cloud"].to_list() == [[{"x": 1, "y": 2, "z": 3}, {"x": 4, "y": 5, "z": 6}]]
    crlf = samples.pcd("ascii").replace(b"\n", b"\r\n")
    assert rd.read_points(put(tmp_path, "b.pcd", crlf)).collect().height == samples.POINTS
    no_end = samples.pcd("ascii").rstrip(b"\n")
    assert rd.read_points(put(tmp_path, "c.pcd", no_end)).collect().height == samples.POINTS


def test_pcd_padding_is_left_out_and_names_are_told_apart(tmp_path: Path) -> None:
    points = np.array([(1, 9, 2, 9, 3, 4)], [(name, "<f4") for name in "abcdef"])
    df = rd.read_points(put(tmp_path, "a.pcd", samples.pcd("binary", points, FIELDS="x _ x _ path point")))
    assert df.columns == ["path", "point", "x", "x_2", "path_", "point_"]
    assert df.select("x", "x_2", "path_", "point_").collect().rows() == [(1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("lines", "points"),
    [({"POINTS": "7"}, 40), ({"WIDTH": "7"}, 40), ({"WIDTH": "4", "HEIGHT": "10"}, 40), ({"POINTS": ""}, 40)],
)
@pytest.mark.parametrize("data", ["binary", "binary_compressed"])
def test_pcd_counts_that_differ_are_settled_by_the_data(tmp_path: Path, data: str, lines: dict, points: int) -> None:
    df = rd.read_clouds(put(tmp_path, "a.pcd", samples.pcd(data, **lines)))
    row = df.select("points", "width", "height", rd.col("cloud").list.len().alias("n")).collect().row(0, named=True)
    assert row["points"] == row["n"] == points
    assert row["width"] is None or row["width"] * row["height"] == points


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"DATA ascii", b"DATA bits"), "bits is none of ascii"),
        ((b"TYPE F", b"TYPE Q"), "TYPE Q and SIZE 4"),
        ((b"SIZE 4 4", b"SIZE 4"), "SIZE has 5 words for 6 fields"),
        ((b"FIELDS", b"FELDS"), "no line of a PCD file"),
        ((b"WIDTH 40", b"WIDTH x"), "WIDTH is a number"),
        ((b"POINTS 40", b"POINTS 41"), "has 40 points, not the 41"),
        ((b"POINTS 40", b"POINTS 39"), "one more than the 39 points"),
        ((b"POINTS 40", b"POINTS 40000000000"), "need"),
        ((b"VIEWPOINT 0", b"VIEWPOINT"), "seven numbers"),
        ((b"\n", b"\n\xff\xfe\n"), "no line of a PCD file"),
    ],
)
def test_a_broken_pcd_says_where(tmp_path: Path, change: tuple[bytes, bytes], message: str) -> None:
    times = 3 if change[0] == b"\n" else 1
    name = put(tmp_path, "a.pcd", samples.pcd("ascii").replace(*change, times))
    with pytest.raises(FileFormatError, match=message) as error:
        rd.read_points(name).collect()
    assert name in str(error.value)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    data = samples.pcd("ascii").decode().splitlines()
    words = data[20].split()
    for wrong, message in (("x" + data[20][1:], "is no Float"), (" ".join(words[:-1]), "has 7 numbers, not 8")):
        name = put(tmp_path, "a.pcd", "\n".join([*data[:20], wrong, *data[21:]]).encode())
        with pytest.raises(FileFormatError, match=f"line 21.*{message}"):
            rd.read_points(name).collect()
    words[3] = "300"
    name = put(tmp_path, "a.pcd", "\n".join([*data[:20], " ".join(words), *data[21:]]).encode())
    with pytest.raises(FileFormatError, match="'300' is no UInt8"):
        rd.read_points(name).collect()


def test_compressed_sizes_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    data = samples.pcd("binary_compressed", WIDTH="1000000000", POINTS="1000000000")
    at = data.index(b"binary_compressed\n") + 18
    for small, large, message in (
        (None, 29_000_000_000 & 0xFFFFFFFF, "cannot stand for"),
        (10**9, None, "compressed bytes"),
    ):
        changed = bytearray(data)
        if small is not None:
            changed[at : at + 4] = small.to_bytes(4, "little")
        if large is not None:
            changed[at + 4 : at + 8] = large.to_bytes(4, "little")
        with pytest.raises(FileFormatError, match=message):
            rd.read_points(put(tmp_path, "a.pcd", bytes(changed)))


# -- PLY ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("data", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_gives_its_vertices(tmp_path: Path, data: str, before: bool) -> None:
    df = rd.read_points(put(tmp_path, "a.ply", samples.ply(data, before=before)))
    table = samples.table()
    assert_frame_equal(df.collect().drop("path", "point"), expected(table[["x", "y", "z", "ring", "label"]]))
    assert df.select("ring").head(3).collect()["ring"].to_list() == [0, 1, 2]


def test_ply_with_line_ends_of_other_systems(tmp_path: Path) -> None:
    for end in (b"\r\n", b"\r"):
        data = samples.ply("ascii").replace(b"\n", end)
        assert rd.read_points(put(tmp_path, "a.ply", data)).collect().height == samples.POINTS
        head, body = samples.ply("binary_little_endian").split(b"end_header\n")
        assert rd.read_points(put(tmp_path, "b.ply", head.replace(b"\n", end) + b"end_header" + end + body)).collect()[
            "x"
        ].to_list() == pytest.approx(samples.table()["x"].tolist())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"property float y", b"property list uchar float y"), "list property 'y'"),
        ((b"property float y", b"property bool y"), "line 7 of the header has the type 'bool'"),
        ((b"element vertex 40", b"element vertex 4000000000"), "truncated or damaged"),
        ((b"element vertex", b"element corner"), "no element vertex"),
        ((b"format ", b"frmat "), "no line of a PLY file"),
        ((b"end_header", b"no_end"), "end_header"),
        ((b"ply", b"pla"), "does not begin with"),
    ],
)
@pytest.mark.parametrize("data", ["ascii", "binary_big_endian"])
def test_a_broken_ply_says_what(tmp_path: Path, data: str, change: tuple[bytes, bytes], message: str) -> None:
    name = put(tmp_path, "a.ply", samples.ply(data).replace(*change, 1))
    with pytest.raises(FileFormatError, match=message):
        rd.read_points(name, format="ply").collect()


# -- LAS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version_format", [("1.2", 0), ("1.2", 3), ("1.3", 5), ("1.4", 6), ("1.4", 8), ("1.4", 10)])
@pytest.mark.parametrize("compress", [False, True])
def test_las_is_as_laspy_reads_it(tmp_path: Path, version_format: tuple[str, int], compress: bool) -> None:
    name = put(tmp_path, "a.laz" if compress else "a.las", samples.las(*version_format, compress, 300, extra=True))
    whole = laspy.read(name)
    found = rd.read_points(name).collect()
    for axis in "xyz":
        assert found[axis].to_list() == np.asarray(whole[axis]).tolist()
    for dim in whole.point_format.dimensions:
        if dim.name not in ("X", "Y", "Z"):
            assert found[dim.name].to_list() == np.asarray(whole[dim.name]).tolist(), dim.name
            assert found.width == 2 + len(list(whole.point_format.dimensions))


def test_layers_that_are_not_asked_for_are_not_needed(tmp_path: Path) -> None:
    name = put(tmp_path, "a.laz", samples.las("1.4", 7, True, 300, extra=True))
    whole = laspy.read(name)
    for column in rd.read_points(name).columns[2:]:
        found = rd.read_points(name).select(column).collect()[column]
        assert found.to_list() == np.asarray(whole[column]).tolist(), column


def test_files_outside_of_the_bounds_are_not_read(tmp_path: Path) -> None:
    near, far = (put(tmp_path, f"{k}.las", samples.las(offset=1000.0 * k)) for k in range(2))
    df = rd.read_points([near, far]).filter(rd.col("x") > 1050).select("path", "x")
    before = counter.bytes
    found = df.collect()
    assert counter.bytes - before < 3000  # of 2 * 1600 bytes, with both headers read
    assert set(found["path"]) == {far}
    assert found["x"].to_list() == rd.read_points(far).filter(rd.col("x") > 1050).collect()["x"].to_list()
    assert "1 of 2 files by path and bounds" in str(df.explain("physical"))
    clouds = rd.read_clouds([near, far]).filter(rd.col("min_x") > 1000).select("path", "points")
    assert clouds.collect().rows() == [(far, samples.POINTS)]


def test_bounds_that_are_none_exclude_nothing(tmp_path: Path) -> None:
    data = bytearray(samples.las())
    data[179:227] = bytes(48)  # as writers leave them that never come back
    df = rd.read_points(put(tmp_path, "a.las", bytes(data)))
    assert df.filter(rd.col("x") > 100).count_rows() == samples.POINTS
    assert rd.read_clouds(df.collect()["path"][0]).collect()["min_x"].to_list() == [None]


# -- all of them ----------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> dict[str, str]:
    return {name: put(tmp_path, name, data) for name, data in samples.samples().items()}


def test_rows_and_clouds_have_the_same_points(many: dict[str, str]) -> None:
    for name, path in many.items():
        given = {"format": "kitti"} if name.endswith(".bin") else {}
        rows = rd.read_points(path, **given).collect().drop("path", "point")
        (cloud,) = rd.read_clouds(path, **given).collect()["cloud"]
        assert_frame_equal(cloud.struct.unnest(), rows)


def test_files_with_different_fields_are_united_by_name(tmp_path: Path) -> None:
    a = put(tmp_path, "a.pcd", samples.pcd("binary", np.array([(1, 7)], [("x", "<f4"), ("ring", "u1")])))
    b = put(tmp_path, "b.pcd", samples.pcd("ascii", np.array([(2.5, 300)], [("x", "<f8"), ("tag", "<u2")])))
    df = rd.read_points([a, b])
    assert df.schema == {"path": pl.String, "point": pl.UInt32, "x": pl.Float64, "ring": pl.UInt8, "tag": pl.UInt16}
    assert df.select("x", "ring", "tag").collect().rows() == [(1.0, 7, None), (2.5, None, 300)]
    assert rd.read_clouds([a, b]).collect()["cloud"].to_list() == [
        [{"x": 1.0, "ring": 7, "tag": None}],
        [{"x": 2.5, "ring": None, "tag": 300}],
    ]
    c = put(tmp_path, "c.pcd", samples.pcd("binary", np.array([((1, 2),)], [("ring", "<u2", 2)])))
    with pytest.raises(SchemaError, match="'ring' is UInt8 in .*a.pcd, and Array"):
        rd.read_points([a, c])
    assert rd.read_points([a, b], ["x"]).columns == ["path", "point", "x"]


def test_max_points_are_spread_over_each_file(many: dict[str, str]) -> None:
    for name in ("ascii.pcd", "binary.pcd", "binary_compressed.pcd", "ascii.ply", "lists_before.ply", "a.las", "a.laz"):
        whole = rd.read_points(many[name]).collect()
        few = rd.read_points(many[name], max_points=7)
        wanted = [k * whole.height // 7 for k in range(7)]
        assert_frame_equal(few.collect(), whole[wanted])
        assert few.count_rows() == 7
        assert rd.read_clouds(many[name], max_points=7).collect()["points"].to_list() == [7]
        assert_frame_equal(rd.read_points(many[name], max_points=10**6).collect(), whole)


def test_filters_limits_and_numbers(many: dict[str, str]) -> None:
    paths = [path for name, path in many.items() if not name.endswith(".bin")]
    df = rd.read_points(paths, ["x", "y"])
    whole = df.collect()
    for predicate in (rd.col("x") > 0, rd.col("point") % 7 == 3, (rd.col("y") < 0) | (rd.col("path") == paths[2])):
        assert_frame_equal(df.filter(predicate).collect(), whole.filter(predicate.polars))
        assert_frame_equal(df.filter(predicate).head(9).collect(), whole.filter(predicate.polars).head(9))
    assert df.filter(rd.col("path") == paths[1]).count_rows() == samples.POINTS
    source = df._plan.source
    for split in source.splits(Request(("x",))):
        part = pickle.loads(pickle.dumps(source.part((split,))))
        found = part.scan(Request(("path", "point"), locator=True)).collect()
        assert found["path"].unique().to_list() == [split.path]
        assert (found[LOCATOR] // 2**40).unique().to_list() == [split.part]


def test_a_limit_reads_the_front_of_a_file(tmp_path: Path) -> None:
    points = np.zeros(2_000_000, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("i", "<f4")])
    name = put(tmp_path, "a.pcd", samples.pcd("binary", points))
    before = counter.bytes
    assert rd.read_points(name).head(5).collect().height == 5
    assert counter.bytes - before < 18_000_000  # a block of 16 MiB, and the header
    before = counter.bytes
    assert rd.read_clouds(name).select("points").collect().rows() == [(2_000_000,)]
    assert rd.read_points(name).count_rows() == 2_000_000
    assert counter.bytes - before < 20_000


def test_the_cloud_is_read_for_the_rows_that_are_left(many: dict[str, str]) -> None:
    df = rd.read_clouds([many["a.las"], many["binary.pcd"], many["ascii.ply"]])
    assert df.filter(rd.col("format") == "ply").collect()["cloud"].list.len().to_list() == [samples.POINTS]
    assert "1 of 3 rows, cloud of these rows only" in str(df.filter(rd.col("format") == "ply").explain("physical"))


def test_read_finds_the_format(many: dict[str, str], tmp_path: Path) -> None:
    for name in ("ascii.pcd", "old.pcd", "ascii.ply", "a.las", "a.laz"):
        renamed = put(tmp_path, "renamed", Path(many[name]).read_bytes())
        assert rd.read(renamed).columns[:2] == ["path", "point"]
        assert rd.read(many[name], format="clouds").columns[:2] == ["path", "format"]
    assert rd.sql(f"SELECT count(*) AS n FROM read_points('{many['a.laz']}')").collect().item() == 200


def test_wrong_options_are_told(many: dict[str, str]) -> None:
    path = many["binary.pcd"]
    with pytest.raises(OptionError, match="no file has the field 'rnig'; did you mean 'ring'"):
        rd.read_points(path, ["rnig"])
    with pytest.raises(OptionError, match="write \\['x'\\]"):
        rd.read_points(path, "x")
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(OptionError, match="max_points"):
            rd.read_points(path, max_points=wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="Formats: pcd, ply, las, kitti"):
        rd.read_clouds(path, format="pdc")


def test_broken_files_are_skipped_and_told(tmp_path: Path) -> None:
    good = put(tmp_path, "a.pcd", samples.pcd("binary"))
    empty = put(tmp_path, "b.pcd", b"")
    rows = samples.pcd("ascii").splitlines(keepends=True)
    late = put(tmp_path, "c.pcd", b"".join([*rows[:30], b"broken\n", *rows[31:]]))
    with pytest.raises(FileFormatError, match="b.pcd: is empty"):
        rd.read_points([good, empty])
    df = rd.read_points([good, empty, late], on_error="collect")
    assert df.collect().height == samples.POINTS
    assert set(df.errors["file"]) == {empty, late}
    clouds = rd.read_clouds([good, empty, late], on_error="skip")
    assert clouds.collect()["cloud"].is_null().to_list() == [False, True]


@pytest.mark.parametrize("name", list(samples.samples()))
def test_mutated_files_are_read_or_told(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    data = samples.samples()[name]
    told = []
    for _ in range(40):
        path = put(tmp_path, name, samples.mutated(data, rng))
        try:
            rd.read_points(path, format="kitti" if name.endswith(".bin") else None).collect()
        except RobodfError as error:
            told.append(path in str(error))
    assert told
    assert all(told)


@pytest.mark.parametrize("kind", [6, 7, 8])
def test_layers_that_are_larger_than_their_chunk_are_refused(tmp_path: Path, kind: int) -> None:
    data = bytearray(samples.las("1.4", kind, compress=True, count=200, extra=True))
    path = put(tmp_path, "a.laz", bytes(data))
    whole = rd.read_points(path).collect()
    assert whole.height == 200
    (points,) = struct.unpack_from("<I", data, 96)
    (size,) = struct.unpack_from("<H", data, 105)
    at = points + 8 + size + 4  # after the offset of the table, the first point and the number of points
    for value in (2**32 - 1, 2**20):
        struct.pack_into("<I", data, at + 4, value)
        with pytest.raises(FileFormatError, match="its layers"):
            rd.read_points(put(tmp_path, "b.laz", bytes(data))).collect()
