"""Cloud files of other people's tools."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np
import pytest
from polars.testing import assert_frame_equal

import robodf as rd
from robodf.errors import FileFormatError
from robodf.io.counting import read as counter

POINTS = {
    "cloudini_lidar.pcd": 115385, "pcl_bunny.pcd": 397, "pcl_car6.pcd": 10031, "pcl_colored_cloud.pcd": 1000,
    "pcl_curve2d.pcd": 51, "pypcd4_ascii.pcd": 213, "pypcd4_ascii_multi_count.pcd": 8, "pypcd4_ascii_organized.pcd": 8,
    "pypcd4_ascii_with_empty_points.pcd": 0, "pypcd4_ascii_with_underscore.pcd": 213, "pypcd4_binary.pcd": 213,
    "pypcd4_binary_compressed.pcd": 213, "pypcd4_binary_compressed_organized.pcd": 8, "pcl_cube.ply": 24,
    "pyntcloud_diamond.ply": 6, "pyntcloud_diamond_ascii.ply": 6, "pyntcloud_diamond_ascii_vertex_index.ply": 6,
    "pyntcloud_sphere.ply": 2929, "rerun_example.ply": 36, "laspy_extrabytes.las": 1065, "laspy_simple.copc.laz": 1065,
    "laspy_simple.las": 1065, "laspy_simple.laz": 1065,
}  # fmt: skip
BROKEN = ("pypcd4_ascii_empty.pcd", "pypcd4_ascii_invalid_header.pcd", "pyntcloud_diamond_with_bool.ply")


def test_all_of_them_are_read(real_data: Path) -> None:
    paths = [p for folder in ("pcd", "ply", "las") for p in sorted((real_data / folder).iterdir())]
    assert {p.name for p in paths} == {*POINTS, *BROKEN}
    for path in paths:
        if path.name in BROKEN:
            with pytest.raises(FileFormatError, match=path.name):
                rd.read_points(path)
            continue
        assert rd.read_points(path).collect().height == rd.read_points(path).count_rows() == POINTS[path.name]
        assert rd.read_clouds(path).collect()["cloud"].list.len().to_list() == [POINTS[path.name]]


def test_the_same_cloud_in_several_encodings(real_data: Path) -> None:
    whole = [
        rd.read_points(real_data / "pcd" / f"pypcd4_{n}.pcd").collect()
        for n in ("ascii", "binary", "binary_compressed")
    ]
    assert_frame_equal(whole[1].drop("path"), whole[2].drop("path"))
    # In text the numbers have five digits.
    assert np.allclose(whole[0].select("x", "y", "z").to_numpy(), whole[1].select("x", "y", "z").to_numpy(), rtol=1e-4)


def test_las_files_are_as_laspy_reads_them(real_data: Path) -> None:
    for path in sorted((real_data / "las").iterdir()):
        whole, found = laspy.read(path), rd.read_points(path).collect()
        names = [d.name for d in whole.point_format.dimensions if d.name not in ("X", "Y", "Z")]
        assert found.columns == ["path", "point", "x", "y", "z", *names]
        for name in found.columns[2:]:
            assert found[name].to_list() == np.asarray(whole[name]).tolist(), (path, name)


def test_the_octree_leaves_out_what_is_far(real_data: Path) -> None:
    path = real_data / "las" / "laspy_simple.copc.laz"
    df = rd.read_points(path)
    whole = df.collect()
    for low, high in ((635_600, 635_800), (637_000, 637_500), (0, 1), (638_900, 700_000)):
        inside = (rd.col("x") >= low) & (rd.col("x") < high) & (rd.col("y") > 850_000)
        assert_frame_equal(df.filter(inside).collect(), whole.filter(inside.polars))
    before = counter.bytes
    df.filter((rd.col("x") < 635_800) & (rd.col("y") < 849_500)).select("x").collect()
    part = counter.bytes - before
    before = counter.bytes
    df.select("x").collect()
    assert part < (counter.bytes - before) * 0.7


def test_clouds_of_many_formats_together(real_data: Path) -> None:
    paths = [
        real_data / "pcd" / "pcl_bunny.pcd",
        real_data / "ply" / "rerun_example.ply",
        real_data / "las" / "laspy_simple.las",
    ]
    df = rd.read_points(paths)
    assert df.group_by("path").agg(rd.col("x").count(), rd.col("intensity").count()).sort(
        "path"
    ).collect().rows() == sorted([(str(paths[0]), 397, 0), (str(paths[1]), 36, 36), (str(paths[2]), 1065, 1065)])
