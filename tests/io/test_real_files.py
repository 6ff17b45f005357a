"""Every file of other people's tools opens, with the rows that independent readers counted: as its README has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import robodf as rd
from robodf.errors import FileFormatError

COUNTS = {
    ("bag", "mcap", "db3", "generated"): r"(\d+) msgs",
    ("pcd", "las"): r"\bn=(\d+)",
    ("ply",): r"'vertex': \[(\d+)",
    ("video", "cosmos", "lerobot_v2_gr00t_pick"): r"(\d+) frames decoded",
    ("parquet", "jsonl", "lerobot_v2_gr00t_pick"): r"\b(\d+) rows",
    ("hdf5", "generated"): r"(\d+) steps",
    ("pcap",): r"\bn=(\d+)",
    ("webdataset",): r"(\d+) (?:\S+ )?members",
    ("protobuf",): r"(\d+) msgs",
    ("urdf",): r"(\d+)/\d+$",
    ("sdf",): r"(\d+) models",
}
"""By folders: what in the last column of the README is a number of rows."""

BROKEN = {
    "pcd/pypcd4_ascii_empty.pcd": "pypcd4_ascii_empty.pcd",
    "pcd/pypcd4_ascii_invalid_header.pcd": "pypcd4_ascii_invalid_header.pcd",
    "ply/pyntcloud_diamond_with_bool.ply": "bool",
    "parquet/pt_nation.dict-malformed.parquet": "pt_nation.dict-malformed.parquet: a file is damaged",
    "urdf/tutorial_08-macroed.urdf.xacro": "is xacro, not URDF",
}
"""What they must say."""

MADE_UP = {"generated/replay_buffer_isaac.zarr": 2163, "generated/dreamgen_split": 2}


def named(root: Path) -> dict[str, str]:
    """What the README says of each file."""
    rows = [line.strip("|").split("|") for line in (root / "README.md").read_text("utf-8").splitlines()]
    told = {cells[0].strip(): cells[-1].strip() for cells in rows if len(cells) == 5 and "/" in cells[0]}
    return {path: said for path, said in told.items() if "*" not in path}


def opened(root: Path, path: str) -> Any:
    """The frame that a user would make of a file."""
    file, folder = root / path, path.split("/")[0]
    readers: dict[str, Callable[..., Any]] = {
        "protobuf": lambda: rd.read_protobuf(
            file, message="osi3.SensorView", schema=root / "protobuf/osi_descriptor_set.pb", framing="uint32"
        ),
        "urdf": lambda: rd.read_urdf(file, table="links"),
        "sdf": lambda: rd.read_sdf(file, table="links").select("robot").unique(),
        "binary": lambda: rd.read_binary(file, dtype="u1"),
        "bag": lambda: rd.read(file, on_error="collect"),
    }
    readers |= dict.fromkeys(("mcap", "db3"), readers["bag"])
    if path.endswith((".osi",)) or folder in ("urdf", "sdf", "binary"):
        return readers[folder]()
    if folder == "protobuf":  # sets of definitions, which are messages as well
        return rd.read_protobuf(
            file, message="google.protobuf.FileDescriptorSet", framing="single", schema=definitions()
        )
    if path.endswith(("metadata.yaml", ".json")):
        return rd.read(file)
    if path.endswith(".h5"):
        return rd.read_hdf5(file, layout="datasets")
    if path.endswith("nasa_13013.mp4"):
        return rd.read_video(file, streams=0)
    return readers[folder]() if folder in readers else rd.read(file)


def definitions() -> bytes:
    from google.protobuf import descriptor_pb2

    made = descriptor_pb2.FileDescriptorSet()
    descriptor_pb2.DESCRIPTOR.CopyToProto(made.file.add())
    return made.SerializeToString()


def expected(path: str, said: str) -> int | None:
    for folders, pattern in COUNTS.items():
        found = re.search(pattern, said)
        if path.split("/")[0] in folders and found:
            return int(found[1])
    return MADE_UP.get(path)


def test_every_file_opens_with_its_count(real_data: Path) -> None:
    told = named(real_data)
    assert len(told) > 150
    counted = 0
    for path, said in told.items():
        if path in BROKEN:
            continue
        wanted = expected(path, said)
        found = opened(real_data, path).count_rows()
        assert found == wanted if wanted is not None else found > 0 or "0 msgs" in said, (path, said, found)
        counted += wanted is not None
    assert counted > 110


def test_what_is_broken_says_so(real_data: Path) -> None:
    for path, message in BROKEN.items():
        with pytest.raises(FileFormatError, match=re.escape(message)):
            opened(real_data, path).collect()


def test_no_file_is_left_out(real_data: Path) -> None:
    """Of folders that are data sets the README names the folder; the suite of MCAP has a test of its own."""
    told = named(real_data)
    files = {str(p.relative_to(real_data)) for p in real_data.rglob("*") if p.is_file()}
    left = {
        f for f in files - told.keys() - BROKEN.keys()
        if not f.startswith((*(f"{folder}/" for folder in MADE_UP), "mcap/conformance/"))
    }  # fmt: skip
    assert left <= {"README.md", "EXPECTED_messages.json", "pcd/pcl_bunny.pcd"}


@pytest.mark.parametrize("name", ["polars_foods1", "pt_alltypes_tiny_pages", "pt_datapage_v2.snappy", "pt_list_columns",
                                  "pt_nested_lists.snappy", "pt_null_list", "pdal_1.2-with-color_rowgroups",
                                  "pt_alltypes_plain"])  # fmt: skip
def test_tables_are_those_of_pyarrow(real_data: Path, name: str) -> None:
    import pyarrow.parquet as pq

    path = real_data / "parquet" / f"{name}.parquet"
    assert_frame_equal(rd.read(path).collect(), pl.DataFrame(pq.read_table(path)), check_dtypes=False)


def test_text_tables(real_data: Path) -> None:
    import gzip
    import json

    for path in sorted((real_data / "jsonl").iterdir()):
        lines = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).splitlines()
        found = rd.read(path).collect()
        whole = [json.loads(line) for line in lines if line.strip()]
        assert found.columns == list(dict.fromkeys(name for row in whole for name in row))
        for name, dtype in found.schema.items():
            if dtype.is_numeric() or dtype == pl.String:
                assert found[name].to_list() == [row.get(name) for row in whole], (path.name, name)
    assert rd.read(real_data / "csv/daft_mvp.csv").collect().equals(pl.read_csv(real_data / "csv/daft_mvp.csv"))
