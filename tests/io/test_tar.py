"""rd.read_tar against tarfile: rows, what is read, links, compression and damage."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from datetime import datetime
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
from samples_archives import FILES, PACKED, samples, tarred

import robodf as rd
from robodf.errors import FileFormatError, RobodfError
from robodf.io.archives import inflate
from robodf.io.archives.tar import TarFiles
from robodf.io.counting import read as counter


def written(folder: Path, data: bytes, name: str = "a.tar") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


TARS = [name for name in samples() if ".tar" in name]


@pytest.mark.parametrize("name", TARS)
def test_members_are_those_of_tarfile(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, samples()[name], name)
    found = rd.read_tar(path).collect()
    with tarfile.open(fileobj=io.BytesIO(samples()["pax.tar" if ".tar." in name else name])) as archive:
        infos = archive.getmembers()
        assert found["member"].to_list() == [i.name for i in infos]
        assert found["size"].to_list() == [i.size for i in infos]
        assert found["offset"].to_list() == [i.offset_data for i in infos]
        assert found["data"].to_list() == [archive.extractfile(i).read() for i in infos]  # type: ignore[union-attr]
    assert found["modified"].to_list() == [datetime(2023, 11, 14, 22, 13, 20)] * found.height


def test_archives_of_gnu_tar(tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None:
        pytest.skip("no tar is installed")
    folder = tmp_path / "in"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    os.link(folder / "readme.txt", folder / "same.txt")
    os.symlink("readme.txt", folder / "symbolic")
    expected = {f"./{name}": data for name, data in FILES.items()} | {"./same.txt": FILES["readme.txt"]}
    for form in ("v7", "ustar", "gnu", "oldgnu", "pax"):
        path = tmp_path / f"{form}.tar"
        more = ["--exclude=a*"] if form == "v7" else []
        subprocess.run([tar, f"--format={form}", "-cf", path, *more, "-C", folder, "."], check=True)
        found = rd.read_tar(path).select("member", "data").collect()
        wanted = {n: d for n, d in expected.items() if form != "v7" or not n.startswith("./a")}
        assert dict(found.rows()) == wanted
        assert found.height == len(wanted)


LINKS = [
    ("folder", tarfile.DIRTYPE, ""), ("a", tarfile.REGTYPE, ""), ("b", tarfile.REGTYPE, ""),
    ("same", tarfile.LNKTYPE, "a"), ("symbolic", tarfile.SYMTYPE, "a"), ("fifo", tarfile.FIFOTYPE, ""),
    ("lost", tarfile.LNKTYPE, "../../etc/passwd"),
]  # fmt: skip


def with_links() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, target in LINKS:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            data = name.encode() * 700 if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("packed", [None, *PACKED])
def test_hard_links_are_files_and_other_links_are_left_out(tmp_path: Path, packed: str | None) -> None:
    data = with_links() if packed is None else PACKED[packed](with_links())
    path = written(tmp_path, data, "a.tar" + (f".{packed}" if packed else ""))
    df = rd.read_tar(path).filter(rd.col("member") != "lost")
    assert df.select("member", "data").collect().rows() == [("a", b"a" * 700), ("b", b"b" * 700), ("same", b"a" * 700)]
    assert df.filter(rd.col("member") > "a").select("data").collect()["data"].to_list() == [b"b" * 700, b"a" * 700]
    with pytest.raises(FileFormatError, match="'lost' cannot be read: it is a sparse file, or a hard link"):
        rd.read_tar(path).collect()
    kept = rd.read_tar(path, on_error="collect")
    assert kept.filter(rd.col("member") == "lost").select("size", "data").collect().rows() == [(0, None)]
    assert "lost" in kept.errors["error"][0]


def test_sparse_files_are_told(tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None:
        pytest.skip("no tar is installed")
    with (tmp_path / "holes").open("wb") as file:
        for at in range(0, 40 << 20, 1 << 20):
            file.seek(at)
            file.write(b"x" * 4096)
    (tmp_path / "last").write_bytes(b"after it")
    for form in ("gnu", "posix"):
        path = tmp_path / f"{form}.tar"
        subprocess.run([tar, f"--format={form}", "-Scf", path, "-C", tmp_path, "holes", "last"], check=True)
        assert path.stat().st_size < 1 << 20
        df = rd.read_tar(path)
        assert df.select("member").collect()["member"].to_list() == ["holes", "last"]
        assert df.filter(rd.col("member") == "last").select("data").collect()["data"].to_list() == [b"after it"]
        with pytest.raises(FileFormatError, match="'holes' cannot be read: it is a sparse file"):
            df.collect()


def test_numbers_of_gnu_and_pax(tmp_path: Path) -> None:
    info = tarfile.TarInfo("old")
    info.mtime = -5
    later = tarfile.TarInfo("part")
    later.mtime = 12.25  # type: ignore[assignment]
    data = info.tobuf(tarfile.GNU_FORMAT) + later.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
    found = rd.read_tar(written(tmp_path, data)).select("modified").collect()["modified"]
    assert found.to_list() == [None, datetime(1970, 1, 1, 0, 0, 12, 250_000)]


# -- what is read ---------------------------------------------------------------------------------------------


def test_bodies_are_passed_over(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1 << 20)
    path = written(tmp_path, tarred({f"{k}.bin": noise for k in range(8)} | {"small.txt": b"few"}))
    df = rd.read_tar(path)
    before = counter.bytes
    assert df.select("member", "size").collect().height == 9
    assert df.filter(rd.col("size") < 100).select("data").collect()["data"].to_list() == [b"few"]
    assert df.filter(rd.col("size") < 100).count_rows() == 1
    assert counter.bytes - before < 100_000
    assert df.filter(rd.col("member") == "3.bin").select("data").collect()["data"].to_list() == [noise]
    assert counter.bytes - before < 1_200_000


def test_a_compressed_archive_is_read_up_to_the_last_wanted_row(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1 << 20)
    path = written(tmp_path, gzip.compress(tarred({f"{k}.bin": noise for k in range(8)})), "a.tgz")
    df = rd.read_tar(path)
    assert df.select("member").collect().height == 8
    before = counter.bytes
    assert df.filter(rd.col("member") == "1.bin").select("data").collect()["data"].to_list() == [noise]
    assert counter.bytes - before < 3 << 20


def test_remote_archives(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    for k in range(2):
        fs.pipe(f"/robodf-tars/{k}.tar", tarred({f"{k}.txt": str(k).encode()}))
    assert rd.read("memory://robodf-tars").select("member", "data").collect().rows() == [
        ("0.txt", b"0"),
        ("1.txt", b"1"),
    ]


# -- damage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [None, *PACKED])
def test_what_precedes_a_cut_is_kept_where_asked(tmp_path: Path, packed: str | None) -> None:
    rng = np.random.default_rng(2)
    files = {f"{k}": rng.bytes(5000) for k in range(20)}
    whole = tarred(files) if packed is None else PACKED[packed](tarred(files))
    path = written(tmp_path, whole[: len(whole) // 2], "a.tar" + (f".{packed}" if packed else ""))
    with pytest.raises(FileFormatError, match=r"a\.tar"):
        rd.read_tar(path).collect()
    df = rd.read_tar(path, on_error="collect")
    found = df.select("member", "data").collect()
    assert dict(found.rows()).items() <= files.items()
    if packed in (None, "gz"):  # the others decompress in larger blocks
        assert 5 < found.height < 12
    assert df.errors.height == 1
    with pytest.raises(FileFormatError):  # what was kept is not taken for the whole
        rd.read_tar(path).collect()


def test_an_archive_without_its_end(tmp_path: Path) -> None:
    whole = tarred({"a": b"x" * 512})
    at = whole.index(b"x" * 512) + 512
    assert rd.read_tar(written(tmp_path, whole[:at])).select("data").collect()["data"].to_list() == [b"x" * 512]
    with pytest.raises(FileFormatError, match=f"a header at offset {at} has 100 of 512 bytes"):
        rd.read_tar(written(tmp_path, whole[: at + 100])).collect()


def test_what_is_no_archive(tmp_path: Path) -> None:
    for data in (b"", b"text", bytes(range(256)) * 4, gzip.compress(b"text" * 300), b"\x1f\x8bxx"):
        with pytest.raises(FileFormatError, match=r"a\.tar"):
            rd.read_tar(written(tmp_path, data)).collect()


def test_a_bomb_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "ALWAYS_ALLOWED", 1 << 20)
    path = written(tmp_path, gzip.compress(tarred({"zeros": bytes(8 << 20)})), "a.tar.gz")
    with pytest.raises(FileFormatError, match="which is not believed"):
        rd.read_tar(path).collect()


def test_mutated_archives_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    read = refused = 0
    for name in TARS:
        good = samples()[name]
        for k in range(50):
            data = bytearray(good)
            for at in rng.integers(0, len(data), 4):
                data[at] = rng.integers(0, 256)
            path = written(
                tmp_path, bytes(data[: rng.integers(1, len(data) + 1)] if k % 5 == 0 else data), f"{k}-{name}"
            )
            try:
                found = rd.read_tar(path).collect()
            except RobodfError as error:
                refused += 1
                assert path.name in str(error)  # noqa: PT017
                continue
            read += 1
            assert found.height <= 8
    assert read > 20
    assert refused > 50


def test_hostile_headers(tmp_path: Path) -> None:
    def header(change: dict[int, bytes]) -> bytes:
        block = bytearray(tarfile.TarInfo("a").tobuf()[:512])
        for at, data in change.items():
            block[at : at + len(data)] = data
        block[148:156] = b"        "
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block) + bytes(1024)

    for change, said in [
        ({124: b"\xff" * 12}, "negative"), ({124: b"\x80" + b"\xff" * 11}, "too large"), ({124: b"0o17"}, "none"),
        ({124: b"1_0"}, "none"), ({156: b"x", 124: b"77777777777\0"}, "pax records of"),
        ({124: b"77777777777\0"}, "has 1024 of 8589934591 bytes"), ({156: b"x", 124: b"00000001000\0"}, None),
        ({156: b"L", 124: b"00000002001\0"}, "a name which is cut off"),
    ]:  # fmt: skip
        path = written(tmp_path, header(change))
        if said is None:
            assert rd.read_tar(path).collect().height == 0
            continue
        with pytest.raises(FileFormatError, match=said):
            rd.read_tar(path).collect()


def test_rows_are_found_again_by_their_locators(tmp_path: Path) -> None:
    source = TarFiles.of(
        [str(written(tmp_path, tarred(), "a.tar")), str(written(tmp_path, PACKED["xz"](tarred()), "b.tar"))]
    )
    some = np.array([1, 4, (1 << 40) + 2], np.uint64)
    names = list(FILES)
    assert pl.concat(source.fetch(some, ("data",)))["data"].to_list() == [FILES[names[k]] for k in (1, 4, 2)]


def test_real_archives(real_data: Path) -> None:
    for name in ("compressed.tar", "mpdata.tar", "sample.tgz"):
        path = real_data / "webdataset" / name
        found = rd.read_tar(path).select("member", "data").collect()
        with tarfile.open(path) as archive:
            expected = [(i.name, archive.extractfile(i).read()) for i in archive.getmembers() if i.isreg()]  # type: ignore[union-attr]
        assert found.rows() == expected
