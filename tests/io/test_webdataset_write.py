"""Samples of WebDataset that are written: what is read back, by robodf and by tarfile."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError
from robodf.images.layout import to_column


def frame():
    return rd.from_dict({
        "id": ["run/0001", "run/0002", "é"],
        "txt": ["a cup", None, "ß"],
        "cls": [1, 2, -3],
        "bin": [b"\0\1", b"", None],
        "pose.json": [{"x": 1.5, "names": ["é"]}, None, {"x": None, "names": []}],
        "action.npy": [[1.0, 2.0], [3.0], []],
    })  # fmt: skip


def test_values_come_back(tmp_path):
    report = frame().to_webdataset(tmp_path / "t", key="id")
    assert report.rows == 3
    assert [Path(file).name for file in report.files] == ["shard-000000.tar"]
    found = rd.read_webdataset(tmp_path / "t").collect()
    assert found["key"].to_list() == ["run/0001", "run/0002", "é"]
    assert found["txt"].to_list() == ["a cup", None, "ß"]
    assert found["cls"].to_list() == ["1", "2", "-3"]
    assert found["bin"].to_list() == [b"\0\1", b"", None]
    assert [v and json.loads(v) for v in found["pose.json"]] == [{"x": 1.5, "names": ["é"]}, None,
                                                                  {"x": None, "names": []}]  # fmt: skip
    arrays = [np.load(io.BytesIO(v)) for v in found["action.npy"]]
    assert [a.tolist() for a in arrays] == [[1.0, 2.0], [3.0], []]
    assert {a.dtype for a in arrays} == {np.dtype("f8")}
    with tarfile.open(tmp_path / "t" / "shard-000000.tar") as archive:
        members = archive.getmembers()
    names = [m.name for m in members if m.name.startswith("run/0001.")]
    assert names == [f"run/0001.{e}" for e in ("action.npy", "bin", "cls", "pose.json", "txt")]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "")}


def test_images_are_encoded(tmp_path):
    pytest.importorskip("PIL")
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    images = pl.DataFrame({"k": [0, 1], "png": to_column([pixels, None]), "cls": [0, 1]})
    rd.from_polars(images).to_webdataset(tmp_path / "t", key="k")
    found = rd.read_webdataset(tmp_path / "t").select("key", image=rd.decode("png")).collect()
    assert found["key"].to_list() == ["0", "1"]
    assert found["image"][0]["data"] == pixels.tobytes()
    assert found["image"][1] is None


def test_shards_end_by_rows_and_by_bytes(tmp_path):
    df = rd.from_dict({"k": range(25), "bin": [bytes(100_000)] * 25})
    by_rows = df.to_webdataset(tmp_path / "rows", key="k", rows_per_shard=10, name="train")
    assert [Path(file).name for file in by_rows.files] == [f"train-00000{n}.tar" for n in range(3)]
    by_size = df.to_webdataset(tmp_path / "size", key="k", shard_mb=1)
    assert all(Path(file).stat().st_size <= (1 << 20) + 10_240 for file in by_size.files)
    assert len(by_size.files) == 3
    for folder in ("rows", "size"):
        assert rd.read_webdataset(tmp_path / folder).collect()["key"].to_list() == [str(k) for k in range(25)]


def test_equal_rows_give_equal_bytes(tmp_path):
    digests = set()
    for name in ("a", "b"):
        (file,) = frame().to_webdataset(tmp_path / name, key="id").files
        digests.add(hashlib.sha256(Path(file).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("key", ["a.b", "../a", "/a", "a/", "a//b", "a/../b", "", ".", "a\\b", None])
def test_keys_that_make_no_sample(tmp_path, key):
    df = rd.from_dict({"k": ["fine", key], "txt": ["x", "y"]})
    with pytest.raises(QueryError, match="row 1 has the key"):
        df.to_webdataset(tmp_path / "t", key="k")
    assert not (tmp_path / "t").exists()
    assert not list(tmp_path.iterdir())


def test_a_key_twice(tmp_path):
    df = rd.from_dict({"k": ["a", "b", "a"], "txt": ["x", "y", "z"]})
    with pytest.raises(QueryError, match="row 2 has the key 'a'"):
        df.to_webdataset(tmp_path / "t", key="k")
    df.to_webdataset(tmp_path / "t", key="k", rows_per_shard=2)
    assert rd.read_webdataset(tmp_path / "t").count_rows() == 3


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("score", [1.5], "score.json"),
        ("cls", [1.5], "no extension for it"),
        ("TXT", ["a"], "no extension: these are lower case"),
        ("path", ["a"], "not key or path"),
        ("a/txt", ["a"], "is no extension"),
        ("x.npy", [["a"]], "no extension for it"),
    ],
)
def test_columns_that_do_not_fit(tmp_path, column, values, message):
    with pytest.raises(SchemaError, match=message):
        rd.from_dict({"k": ["a"], column: values}).to_webdataset(tmp_path / "t", key="k")


@pytest.mark.parametrize(
    ("column", "values"),
    [("x.json", [float("nan")]), ("x.npy", [[1, None]]), ("txt", pl.Series([None], dtype=pl.String))],
)
def test_values_that_make_no_member(tmp_path, column, values):
    df = rd.from_polars(
        pl.DataFrame({"k": ["a"], column: values}, schema_overrides={"txt": pl.String} if column == "txt" else None)
    )
    with pytest.raises(QueryError, match="row 0"):
        df.to_webdataset(tmp_path / "t", key="k")
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_unless_it_is_overwritten(tmp_path):
    target = tmp_path / "t"
    frame().to_webdataset(target, key="id")
    with pytest.raises(FileExistsError):
        frame().to_webdataset(target, key="id")
    frame().head(1).to_webdataset(target, key="id", mode="overwrite")
    assert rd.read_webdataset(target).count_rows() == 1
    bad = rd.from_dict({"k": ["a.b"], "txt": ["x"]})
    with pytest.raises(QueryError):
        bad.to_webdataset(target, key="k", mode="overwrite")
    assert rd.read_webdataset(target).collect()["key"].to_list() == ["run/0001"]
    (target / "notes.md").touch()
    with pytest.raises(OptionError, match="notes.md"):
        frame().to_webdataset(target, key="id", mode="overwrite")


def test_arguments(tmp_path):
    df = frame()
    with pytest.raises(ColumnNotFoundError):
        df.to_webdataset(tmp_path / "t", key="idd")
    for wrong in ({"rows_per_shard": 0}, {"shard_mb": 0}, {"mode": "append"}, {"name": "a/b"}, {"quality": 0}):
        with pytest.raises(OptionError):
            df.to_webdataset(tmp_path / "t", key="id", **wrong)
    with pytest.raises(OptionError, match="object stores"):
        df.to_webdataset("s3://bucket/t", key="id")
    report = df.filter(rd.col("cls") > 9).to_webdataset(tmp_path / "empty", key="id")
    assert (report.rows, len(report.files)) == (0, 1)
    assert rd.read_webdataset(tmp_path / "empty", columns=["txt"]).count_rows() == 0
