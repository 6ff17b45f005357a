"""Files of other formats inside of archives: `zip://a.csv::b.zip`, `tar://a.csv::b.tar`."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
import zstandard
from samples_archives import FILES, samples, tarred, zipped
from samples_images import encoded, picture

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError, RobodfError
from robodf.io import tables
from robodf.io.archives import inside
from robodf.io.counting import read as counter
from robodf.io.files import filesystem, fingerprint, open_file
from robodf.io.logs import local_copy

TABLE = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})


def parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def contents() -> dict[str, bytes]:
    ipc = io.BytesIO()
    TABLE.write_ipc(ipc)
    return {
        "in/1.parquet": parquet(TABLE), "in/2.parquet": parquet(TABLE.with_columns(pl.col("a") + 10)),
        "in/t.csv": TABLE.write_csv().encode(), "in/t.tsv": TABLE.write_csv(separator="\t").encode(),
        "in/t.ndjson": TABLE.write_ndjson().encode(), "in/t.arrow": ipc.getvalue(), "in/t.txt": b"one\ntwo\n",
        "in/i.png": encoded(picture()),
    }  # fmt: skip


ARCHIVES = {
    "deflated.zip": lambda files: zipped(files), "stored.zip": lambda files: zipped(files, 0), "a.tar": tarred,
    "a.tar.gz": lambda files: gzip.compress(tarred(files)),
}  # fmt: skip


@pytest.fixture(params=ARCHIVES)
def inside_of(request: pytest.FixtureRequest, tmp_path: Path):
    """From a pattern to the chain that names members of an archive."""
    path = tmp_path / request.param
    path.write_bytes(ARCHIVES[request.param](contents()))
    kind = "zip" if path.suffix == ".zip" else "tar"
    return lambda pattern: f"{kind}://{pattern}::{path}"


def test_tables_inside_of_archives(inside_of) -> None:
    for name in ("1.parquet", "t.csv", "t.tsv", "t.ndjson", "t.arrow"):
        df = rd.read(inside_of(f"in/{name}"))
        assert df.collect().equals(TABLE), name
        assert df.filter(rd.col("a") > 1).select("b").collect()["b"].to_list() == ["y", None], name
        assert df.count_rows() == 3
    assert rd.read_parquet(inside_of("in/*.parquet")).collect()["a"].to_list() == [1, 2, 3, 11, 12, 13]
    assert rd.read_parquet(inside_of("in")).count_rows() == 6
    assert rd.read_csv([inside_of("in/t.csv"), inside_of("**/t.csv")]).count_rows() == 3
    assert rd.sql(f"SELECT sum(a) AS s FROM read_csv('{inside_of('in/t.csv')}')").collect()["s"].to_list() == [6]


def test_other_files_inside_of_archives(inside_of) -> None:
    assert rd.read(inside_of("in/t.txt")).collect()["text"].to_list() == ["one", "two"]
    (image,) = rd.read(inside_of("in/*.png")).select("width", "height", "data").collect().rows()
    assert image == (40, 30, encoded(picture()))


def test_logs_inside_of_archives(tmp_path: Path, real_data: Path) -> None:
    log = real_data / "mcap" / "pj_test_embedded_timestamp.mcap"
    bag = real_data / "bag" / "example.bag"
    files = {
        "x/a.mcap": log.read_bytes(), "y/a.mcap": log.read_bytes(), "x/a.bag": bag.read_bytes(),
        "z.mcap.zst": zstandard.compress(log.read_bytes()),
    }  # fmt: skip
    for name, make in ARCHIVES.items():
        path = tmp_path / name
        path.write_bytes(make(files))
        chain = f"{'zip' if name.endswith('.zip') else 'tar'}://%s::{path}"
        found = rd.read_log(chain % "x/a.mcap").collect()
        assert found.drop("recording").equals(rd.read_log(log).drop("recording").collect())
        assert set(found["recording"]) == {"a"}
        assert rd.read_log(chain % "x/a.bag").count_rows() == rd.read_log(bag).count_rows()
        both = rd.read_log([chain % "**/*.mcap"]).select("recording").unique().collect()["recording"]
        assert sorted(both) == ["x/a", "y/a"]
        packed = rd.read_log(chain % "z.mcap.zst").collect()
        assert packed.drop("recording").equals(found.drop("recording"))


def test_a_plain_member_is_a_part_of_its_archive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"n": range(200_000), "x": rng.random(200_000)})
    (tmp_path / "a.tar").write_bytes(tarred({"noise": rng.bytes(3 << 20), "t.parquet": parquet(table)}))
    before = counter.bytes
    with open_file(f"tar://t.parquet::{tmp_path / 'a.tar'}") as file:
        file.counter = counter
        assert file.read_at(0, 4) == file.read_at(file.size - 4, 4) == b"PAR1"
    assert counter.bytes - before < 100_000


def test_a_large_compressed_member_is_inflated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).integers(0, 9, 400_000).astype("u1").tobytes()
    (tmp_path / "a.zip").write_bytes(zipped({"a": data}))
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tarred({"a": data})))
    monkeypatch.setattr(inside, "_HELD", 1000)
    made: list[int] = []
    real = inside.Members._pieces
    monkeypatch.setattr(inside.Members, "_pieces", lambda self, row: (made.append(1), real(self, row))[1])
    for chain in (f"zip://a::{tmp_path}/a.zip", f"tar://a::{tmp_path}/a.tgz"):
        with open_file(chain) as file:
            assert b"".join(file.read_at(at, 40_000) for at in range(0, 400_000, 40_000)) == data
    assert len(made) == 2


def test_large_members_of_a_zip_are_copied_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "ALWAYS_ALLOWED", 1000)
    monkeypatch.setattr(inside, "_HELD", 1000)
    data = np.random.default_rng(0).integers(0, 9, 400_000).astype("u1").tobytes()
    whole = bytearray(zipped({"a": data, "zeros": bytes(500_000)}))
    path = tmp_path / "a.zip"
    path.write_bytes(whole)
    with open_file(f"zip://a::{path}") as file:
        assert file.read_at(0, 400_000) == data
    with open_file(f"zip://zeros::{path}") as file, pytest.raises(FileFormatError, match="which is not believed"):
        file.read_at(0, 10)
    whole[20_000] ^= 255
    path.write_bytes(whole)
    with open_file(f"zip://a::{path}") as file, pytest.raises(FileFormatError, match="'a' is damaged"):
        file.read_at(0, 10)


def test_an_archive_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    chain = f"zip://t.csv::{path}"
    path.write_bytes(zipped({"t.csv": b"a\n1\n"}))
    assert rd.read(chain).collect()["a"].to_list() == [1]
    before = fingerprint(chain)
    path.write_bytes(zipped({"t.csv": b"a\n2\n"}))
    os.utime(path, ns=(1, 1))
    assert fingerprint(chain) != before
    assert rd.read(chain).collect()["a"].to_list() == [2]


def test_archives_in_archives_and_on_other_file_systems(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/robodf-inside/outer.zip", zipped({"x/inner.tar": tarred({"t.csv": b"a\n7\n"})}))
    found = rd.read("tar://*.csv::zip://x/inner.tar::memory://robodf-inside/outer.zip")
    assert found.collect()["a"].to_list() == [7]
    members = rd.read_tar("zip://x/inner.tar::memory://robodf-inside/outer.zip")
    assert members.select("member", "data").collect().rows() == [("t.csv", b"a\n7\n")]


def test_tables_on_file_systems_that_polars_does_not_know() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/robodf-tables/t.parquet", parquet(TABLE))
    assert rd.read_parquet("memory://robodf-tables/*.parquet").collect().equals(TABLE)
    assert not tables._is_foreign("s3://bucket/a.parquet")
    assert tables._is_foreign("simplecache::s3://bucket/a.parquet")


# -- what is not there, damage, hostile archives --------------------------------------------------------------


def test_what_is_not_there_is_told(inside_of, tmp_path: Path) -> None:
    with pytest.raises(NoFilesError, match="no file .*none.csv"):
        rd.read_csv(inside_of("in/none.csv"))
    with pytest.raises(NoFilesError, match=r"matches .*\*\.csv"):
        rd.read_csv(inside_of("*.csv"))
    with pytest.raises(NoFilesError, match=r"no \.json file in .*it holds .*t\.csv"):
        rd.read_json(inside_of("in"))
    with pytest.raises(NoFilesError, match=r"no file .*none\.zip"):
        rd.read_csv(f"zip://a.csv::{tmp_path}/none.zip")
    with pytest.raises(OptionError, match="include_file_paths= is not known of files such as"):
        rd.read_csv(inside_of("in/t.csv"), include_file_paths="p")
    with pytest.raises(OptionError, match="hive_partitioning= is not known"):
        rd.read_parquet(inside_of("in/*.parquet"), hive_partitioning=True)


def test_damaged_archives(tmp_path: Path) -> None:
    for name, data in (("a.zip", b"PK nothing"), ("b.zip", zipped()[:-20]), ("a.tar", b"text"), ("b.tar", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match=name):
            rd.read_csv(f"{name[2:]}://x.csv::{tmp_path / name}")
    broken = bytearray(zipped({"t.csv": b"a\n1\n" * 50}, 0))
    broken[broken.index(b"a\n1")] ^= 1
    (tmp_path / "a.zip").write_bytes(broken)
    with pytest.raises(FileFormatError, match="checksum"):
        rd.read_text(f"zip://t.csv::{tmp_path / 'a.zip'}").collect()


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("t.csv", "w") as member:
        for _ in range(70):
            member.write(bytes(1 << 20))
    (tmp_path / "a.zip").write_bytes(out.getvalue())
    for read in (rd.read_csv, rd.read_text):
        with pytest.raises(FileFormatError, match="become 73400320, which is not believed"):
            read(f"zip://t.csv::{tmp_path / 'a.zip'}").collect()
    data = bytearray(zipped({"a.csv": b"a\n1\n", "b.csv": b"a\n2\n"}, 0))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(FileFormatError, match="share bytes"):
        rd.read_csv(f"zip://b.csv::{tmp_path / 'b.zip'}")


@pytest.mark.parametrize("name", ["../outside.csv", "/outside.csv", "a/../../outside.csv"])
def test_members_do_not_leave_the_folder_of_copies(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    for kind, make in (("zip", zipped), ("tar", tarred)):
        path = folder / f"a.{kind}"
        path.write_bytes(make({name: b"a\n1\n"}))
        before = sorted(os.walk(tmp_path)), os.path.exists("/outside.csv")
        assert rd.read_csv(f"{kind}://{name}::{path}").collect()["a"].to_list() == [1]
        assert (sorted(os.walk(tmp_path)), os.path.exists("/outside.csv")) == before
    for made in local_copy._made.values():
        assert Path(made).parent == Path(local_copy._temporary_folder())


def test_links_of_a_tar_do_not_leave_it(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("symbolic.csv", tarfile.SYMTYPE), ("hard.csv", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(tmp_path / "secret.csv")
            archive.addfile(info)
    with pytest.raises(NoFilesError):
        rd.read_csv(f"tar://symbolic.csv::{tmp_path / 'a.tar'}")
    with pytest.raises(FileFormatError, match="hard link to a member that does not precede it"):
        rd.read_csv(f"tar://hard.csv::{tmp_path / 'a.tar'}")


def test_members_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped())
    fs, _ = filesystem(f"zip://readme.txt::{tmp_path / 'a.zip'}", None)
    assert fs.open("readme.txt").read() == FILES["readme.txt"]
    with pytest.raises(OSError, match="are read, not written"):
        fs.open("new.txt", "wb")


def test_mutated_archives_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    refused = 0
    for name, good in samples().items():
        for k in range(15):
            data = bytearray(good)
            for at in rng.integers(0, len(data), 3):
                data[at] = rng.integers(0, 256)
            path = tmp_path / f"{k}-{name}"
            path.write_bytes(data)
            kind = "zip" if name.endswith(".zip") else "tar"
            try:
                rd.read_text(f"{kind}://**/*.txt::{path}", encoding="latin-1").collect()
            except RobodfError as error:
                refused += 1
                assert path.name in str(error)  # noqa: PT017
    assert refused > 40


def test_copies_go_when_the_process_ends(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"t.csv": b"a\n1\n"}))
    code = (
        f"import robodf as rd; rd.read_csv('zip://t.csv::{tmp_path}/a.zip').collect()\n"
        "from robodf.io.logs import local_copy; print(list(local_copy._made.values())[0])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    copy = Path(said.stdout.split()[-1])
    assert not copy.exists()
    assert not copy.parent.exists()
