"""rd.read_zip against zipfile: rows, what is read, damage and bombs."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from datetime import datetime
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
import zstandard
from samples_archives import FILES, samples, zipped

import robodf as rd
from robodf.errors import FileFormatError, RobodfError
from robodf.io.archives import zip as zips
from robodf.io.counting import read as counter


def written(folder: Path, data: bytes, name: str = "a.zip") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("method", ["stored", "deflated", "bzip2", "lzma"])
def test_members_are_those_of_zipfile(tmp_path: Path, method: str) -> None:
    path = written(tmp_path, samples()[f"{method}.zip"])
    found = rd.read_zip(path).collect()
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        assert found["member"].to_list() == [i.filename for i in infos]
        assert found["size"].to_list() == [i.file_size for i in infos]
        assert found["compressed_size"].to_list() == [i.compress_size for i in infos]
        assert found["offset"].to_list() == [i.header_offset for i in infos]
        assert found["data"].to_list() == [archive.read(i) for i in infos] == list(FILES.values())
    assert found["modified"].to_list() == [datetime(2024, 3, 4, 5, 6, 8)] * len(FILES)
    assert set(found["path"]) == {str(path)}


def test_zstd_members(tmp_path: Path) -> None:
    data = bytearray(zipped({"a": zstandard.compress(b"some text " * 9)}, 0))
    size, crc = 90, zlib.crc32(b"some text " * 9)
    start = data.index(b"PK\1\2")
    data[start + 10 : start + 12] = struct.pack("<H", 93)
    data[start + 16 : start + 20] = struct.pack("<I", crc)
    data[start + 24 : start + 28] = struct.pack("<I", size)
    found = rd.read_zip(written(tmp_path, bytes(data))).collect()
    assert found["data"].to_list() == [b"some text " * 9]


def test_zip64_streamed_members_folders_and_a_prefix(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.mkdir("folder")
        with archive.open("folder/big", "w", force_zip64=True) as member:
            member.write(b"as if it were large")
        archive.writestr("same", b"first")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("same", b"second")
    path = written(tmp_path, b"#!/bin/sh\n" + out.getvalue())
    found = rd.read_zip(path).select("member", "data").collect()
    assert found.rows() == [("folder/big", b"as if it were large"), ("same", b"first"), ("same", b"second")]


def test_a_time_that_is_none_is_null(tmp_path: Path) -> None:
    data = bytearray(zipped({"a": b"x"}))
    start = data.index(b"PK\1\2")
    data[start + 12 : start + 16] = bytes(4)
    assert rd.read_zip(written(tmp_path, bytes(data))).select("modified").collect()["modified"].to_list() == [None]


# -- what is read ---------------------------------------------------------------------------------------------


def test_bytes_are_read_of_chosen_members_only(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1 << 20)
    path = written(tmp_path, zipped({f"{k}.bin": noise for k in range(8)} | {"small.txt": b"few"}))
    df = rd.read_zip(path)
    before = counter.bytes
    assert df.select("member", "size").collect().height == 9
    assert df.filter(rd.col("size") < 100).count_rows() == 1
    assert df.filter(rd.col("member") == "small.txt").select("data").collect()["data"].to_list() == [b"few"]
    assert counter.bytes - before < 500_000
    before = counter.bytes
    assert df.filter(rd.col("member") == "3.bin").select("data").collect()["data"].to_list() == [noise]
    assert counter.bytes - before < 1_600_000
    assert "1 of 9 rows, data of these rows only" in str(df.filter(rd.col("size") < 100).explain())


def test_archives_are_parts_and_remote(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    for k in range(2):
        fs.pipe(f"/robodf-zips/{k}.zip", zipped({f"{k}.txt": str(k).encode()}))
    found = rd.read("memory://robodf-zips").select("member", "data").collect()
    assert found.rows() == [("0.txt", b"0"), ("1.txt", b"1")]


# -- damage ---------------------------------------------------------------------------------------------------


def collected(path: Path) -> pl.DataFrame:
    return rd.read_zip(path).collect()


def test_changed_bytes_of_a_member_are_noticed(tmp_path: Path) -> None:
    data = bytearray(samples()["stored.zip"])
    at = data.index(b"hello")
    data[at] ^= 1
    path = written(tmp_path, bytes(data))
    with pytest.raises(FileFormatError, match=r"a\.zip: the member 'readme.txt' at offset 0 differs from its checksum"):
        collected(path)
    df = rd.read_zip(path, on_error="collect")
    assert df.collect()["data"].to_list() == [None, *list(FILES.values())[1:]]
    assert "checksum" in df.errors["error"][0]


def test_a_size_that_is_not_that_of_the_bytes(tmp_path: Path) -> None:
    good = zipped({"a": bytes(1000)})
    for said in (999, 1001, 0):
        data = bytearray(good)
        start = data.index(b"PK\1\2")
        data[start + 24 : start + 28] = struct.pack("<I", said)
        with pytest.raises(FileFormatError, match=f"does not become the {said} bytes"):
            collected(written(tmp_path, bytes(data)))


def test_bombs_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as member:
        for _ in range(70):
            member.write(bytes(1 << 20))
    path = written(tmp_path, out.getvalue())
    with pytest.raises(FileFormatError, match="become 73400320, which is not believed"):
        collected(path)
    assert rd.read_zip(path).select("size").collect()["size"].to_list() == [70 << 20]
    data = bytearray(out.getvalue())
    start = data.index(b"PK\1\2")
    data[start + 24 : start + 28] = struct.pack("<I", 0xFFFFFFF0)
    with pytest.raises(FileFormatError, match="the most that a row may have"):
        collected(written(tmp_path, bytes(data)))


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"a": b"x" * 50, "b": b"y" * 50}, 0))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second + 42 : second + 46] = struct.pack("<I", 10)
    with pytest.raises(FileFormatError, match="'a' and 'b' share bytes at offset 10"):
        collected(written(tmp_path, bytes(data)))


def test_encrypted_members_and_other_methods(tmp_path: Path) -> None:
    data = bytearray(zipped({"a": b"x", "b": b"y"}))
    start = data.index(b"PK\1\2")
    data[start + 8] |= 1
    path = written(tmp_path, bytes(data))
    with pytest.raises(FileFormatError, match="'a' at offset 0 is encrypted"):
        collected(path)
    assert rd.read_zip(path).filter(rd.col("member") == "b").collect()["data"].to_list() == [b"y"]
    data[start + 8] ^= 1
    data[start + 10 : start + 12] = struct.pack("<H", 9)
    with pytest.raises(FileFormatError, match="method 9, which is not read"):
        collected(written(tmp_path, bytes(data)))


def test_what_is_no_archive(tmp_path: Path) -> None:
    for data in (b"", b"no archive", zipped()[:-30]):
        path = written(tmp_path, data)
        with pytest.raises(FileFormatError, match=r"a\.zip: not a ZIP archive"):
            collected(path)
        df = rd.read_zip(path, on_error="skip")
        assert df.collect().height == 0
        assert df.errors.height == 1


def test_mutated_archives_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    read = refused = 0
    for name, good in samples().items():
        if not name.endswith(".zip"):
            continue
        for k in range(60):
            data = bytearray(good)
            places = rng.integers(0, len(data), 3) if k % 2 else len(data) - 1 - rng.integers(0, 700, 3)
            for at in places:
                data[at] = rng.integers(0, 256)
            path = written(
                tmp_path, bytes(data[: rng.integers(1, len(data) + 1)] if k % 5 == 0 else data), f"{k}-{name}"
            )
            try:
                found = collected(path)
            except RobodfError as error:
                refused += 1
                assert path.name in str(error)  # noqa: PT017
                continue
            read += 1
            # A changed name cannot be told, all else has a checksum.
            assert set(found["data"]) <= set(FILES.values())
    assert read > 20
    assert refused > 50


def test_reading_in_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robodf.io.archives.members.FRAME", 1000)
    source = zips.ZipFiles.of([str(written(tmp_path, zipped()))])
    frames = list(source.fetch(np.arange(6, dtype=np.uint64), ("data",)))
    assert pl.concat(frames)["data"].to_list() == list(FILES.values())
    parts = list(source.read_rows(source.paths[0], np.arange(6), ("data",)))
    assert [p.height for p in parts] == [2, 4]


def test_a_member_without_a_name_is_a_row(tmp_path: Path) -> None:
    path = written(tmp_path, zipped({"": b"one", "b/": b"", "c": b"two"}, 0))
    found = rd.read_zip(path).collect()
    assert found["member"].to_list() == ["", "c"]
    assert found["data"].to_list() == [b"one", b"two"]
