"""rd.read_webdataset: samples as rows, against webdataset's own way to cut names."""

from __future__ import annotations

import gzip
import pickle
import re
import tarfile
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from samples_archives import SAMPLES, tarred

import robodf as rd
from robodf.errors import FileFormatError, OptionError, RobodfError
from robodf.io.archives.webdataset import WebDatasetShards, _cut
from robodf.io.counting import read as counter
from robodf.io.source import Request


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    names = []
    for k, data in enumerate((tarred(SAMPLES), gzip.compress(tarred({"s/000.cls": b"9", "t.jpg": b"t"})))):
        names.append(tmp_path / f"shard-{k}.tar{'.gz' if k else ''}")
        names[-1].write_bytes(data)
    return names


def test_a_sample_is_a_row(shards: list[Path]) -> None:
    df = rd.read_webdataset(shards)
    assert df.schema == {
        "path": pl.String, "key": pl.String, "jpg": pl.Binary, "cls": pl.String, "seg.png": pl.Binary,
    }  # fmt: skip
    assert df.drop("path").collect().rows() == [
        ("s/000", b"\xff\xd8\xff 0", "3", b"png 0"),
        ("s/001", b"\xff\xd8\xff 1", "5", None),
        ("s/002", b"\xff\xd8\xff 2", "ü", b"png 2"),
        ("s/000", None, "9", None),
        ("t", b"t", None, None),
    ]
    assert df.collect()["path"].to_list() == [str(shards[0])] * 3 + [str(shards[1])] * 2


def test_columns_and_texts_can_be_named(shards: list[Path]) -> None:
    df = rd.read_webdataset(shards, ["cls", "json"], text=[])
    assert df.schema == {"path": pl.String, "key": pl.String, "cls": pl.Binary, "json": pl.Binary}
    assert df.select("cls", "json").collect().rows()[:2] == [(b"3", None), (b"5", None)]
    assert df.filter(rd.col("key") == "t").select("cls").collect().rows() == [(None,)]


def test_only_wanted_files_are_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1 << 20)
    name = tmp_path / "a.tar"
    name.write_bytes(tarred({f"{k}.{end}": data for k in range(6) for end, data in (("bin", noise), ("cls", b"1"))}))
    df = rd.read_webdataset(name)
    before = counter.bytes
    assert df.select("cls").collect().height == 6
    assert df.filter(rd.col("key") == "4").count_rows() == 1
    assert counter.bytes - before < 200_000
    assert df.filter(rd.col("key") == "4").select("bin").collect()["bin"].to_list() == [noise]
    assert counter.bytes - before < 1_400_000


def test_names_are_cut_as_webdataset_does() -> None:
    # webdataset 1.0.2, tariterators.base_plus_ext
    theirs = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
    for name in (
        "a.jpg",
        "b/a.seg.png",
        "./a.b",
        "a.b/c.d",
        "x/y/z",
        ".hidden",
        "a/.hidden",
        "a.",
        "a.b.c/d.e.F",
        "é.x",
    ):
        found = theirs.match(name)
        expected = (found[1], found[2].lower()) if found and found[2] else None
        assert _cut(name) == expected, name
    assert _cut("__meta__") is _cut("a/__meta.x__") is None


def test_an_extension_that_comes_later_is_told(tmp_path: Path) -> None:
    for k, files in enumerate(({"a.jpg": b"1"}, {"b.jpg": b"2", "b.depth": b"3"})):
        (tmp_path / f"{k}.tar").write_bytes(tarred(files))
    with pytest.raises(FileFormatError, match=r"'b.depth' have extensions.*Pass columns=.*\['jpg', 'depth'\]"):
        rd.read_webdataset(tmp_path).collect()
    df = rd.read_webdataset(tmp_path, on_error="collect")
    assert df.select("key", "jpg").collect().rows() == [("a", b"1"), ("b", b"2")]
    assert "depth" in df.errors["error"][0]
    assert rd.read_webdataset(tmp_path, ["jpg"]).count_rows() == 2
    both = rd.read_webdataset(tmp_path, ["jpg", "depth"])
    assert both.select("jpg", "depth").collect().rows() == [(b"1", None), (b"2", b"3")]


def test_damage(tmp_path: Path) -> None:
    name = tmp_path / "a.tar"
    name.write_bytes(tarred({"a.txt": b"\xff\xfe", "b.txt": b"fine"}))
    with pytest.raises(FileFormatError, match=r"'a.txt' is no text of UTF-8 .*at byte 0"):
        rd.read_webdataset(name).collect()
    df = rd.read_webdataset(name, on_error="skip")
    assert df.select("txt").collect()["txt"].to_list() == [None, "fine"]
    assert rd.read_webdataset(name, text=()).select("txt").collect()["txt"].to_list() == [b"\xff\xfe", b"fine"]

    name.write_bytes(tarred({"a.jpg": b"1", "a.JPG": b"2"}))
    with pytest.raises(FileFormatError, match="two files of one extension, the second of them 'a.JPG'"):
        rd.read_webdataset(name).collect()
    assert rd.read_webdataset(name, on_error="skip").select("jpg").collect()["jpg"].to_list() == [b"1"]

    name.write_bytes(tarred({"nothing": b"1"}))
    with pytest.raises(FileFormatError, match="no sample of WebDataset among its 1 files, such as 'nothing'"):
        rd.read_webdataset(name)
    name.write_bytes(b"x" * 600)
    with pytest.raises(FileFormatError, match="not a TAR archive"):
        rd.read_webdataset(name)
    (tmp_path / "b.tar").write_bytes(tarred(SAMPLES))
    df = rd.read_webdataset(tmp_path, on_error="skip")
    assert df.collect().height == 3
    assert df.errors["file"].to_list() == [str(name)]
    (tmp_path / "b.tar").unlink()
    with pytest.raises(FileFormatError, match="no shard of .* can be read"):
        rd.read_webdataset(tmp_path, on_error="skip")


def test_wrong_options(shards: list[Path]) -> None:
    for columns in ("jpg", [1], ["a", "a"], [""]):
        with pytest.raises(OptionError, match="columns is a list of extensions"):
            rd.read_webdataset(shards, columns)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="no dot in front and are lower case: '.jpg'"):
        rd.read_webdataset(shards, [".jpg"])
    with pytest.raises(OptionError, match=r"'key' would hide the column.*columns=\['a'\]"):
        rd.read_webdataset(shards, ["a", "key"])


def test_parts_read_alone(shards: list[Path]) -> None:
    df = rd.read_webdataset(shards)
    source = WebDatasetShards.of([str(p) for p in shards], extensions=("jpg", "cls", "seg.png"), texts=("cls",))
    splits = list(source.splits(Request(("key", "cls"))))
    part = pickle.loads(pickle.dumps(source.part((splits[1],))))
    assert rd.from_source(part).select("key", "cls").collect().equals(df.select("key", "cls").collect()[3:])


def test_mutated_shards_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    good = tarred(SAMPLES)
    read = refused = 0
    for k in range(80):
        data = bytearray(good)
        for at in rng.integers(0, 9000, 3):
            data[at] = rng.integers(0, 256)
        name = tmp_path / f"{k}.tar"
        name.write_bytes(data)
        try:
            found = rd.read_webdataset(name).collect()
        except RobodfError as error:
            refused += 1
            assert name.name in str(error)  # noqa: PT017
            continue
        read += 1
        assert found.height <= 8
    assert min(read, refused) > 10


def test_real_shards(real_data: Path) -> None:
    for name in ("sample.tgz", "mpdata.tar", "compressed.tar"):
        path = real_data / "webdataset" / name
        found = rd.read_webdataset(path, text=()).drop("path").collect()
        with tarfile.open(path) as archive:
            members = [i for i in archive.getmembers() if i.isreg()]
            cut = [(*i.name.split("/")[-1].split(".", 1), i) for i in members]
            expected = [
                {"key": key} | {end: archive.extractfile(i).read() for _, end, i in files}  # type: ignore[union-attr]
                for key, files in groupby(cut, lambda part: part[0])
            ]
        found = found.with_columns(pl.col("key").str.split("/").list.last())
        assert [{k: v for k, v in row.items() if v is not None} for row in found.to_dicts()] == expected
