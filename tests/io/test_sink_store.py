"""Writing one data set from many processes to an object store: a manifest is what publishes it."""

from __future__ import annotations

import datetime as dt
import importlib.util
import io
import json
import os
import threading
import uuid

import fsspec
import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError, SchemaError
from robodf.io import sink_store
from robodf.io.files import list_files
from robodf.io.manifest import MANIFEST, decode
from robodf.io.sink import FORMATS
from robodf.io.sink_shared import shared_write, write_part

READ = {
    "parquet": pl.read_parquet, "csv": pl.read_csv, "ndjson": pl.read_ndjson, "json": pl.read_json, "ipc": pl.read_ipc,
}  # fmt: skip


def frames(*starts: int) -> list[pl.DataFrame]:
    """A partition of ten rows for each start."""
    return [pl.DataFrame({"i": range(s, s + 10), "k": ["a", "b c"] * 5}) for s in starts]


class Place:
    """A folder of a store, and what is in it."""

    def __init__(self, url: str, fs, options: dict | None = None):
        self.url, self.fs, self.options = url, fs, options

    def names(self) -> list[str]:
        self.fs.invalidate_cache()
        root = self.fs._strip_protocol(self.url).rstrip("/") + "/"
        return sorted(n.removeprefix(root) for n in self.fs.find(root))

    def manifest(self):
        return decode(self.fs.cat_file(f"{self.url}{MANIFEST}"), "x")

    def put(self, name: str, data: bytes = b"x") -> None:
        self.fs.pipe_file(f"{self.url}{name}", data)

    def rows(self, format: str = "parquet") -> list[int]:
        """The rows of what readers find, in order; nothing else that is a part is there."""
        extensions = FORMATS[format].extensions
        found = list_files(self.url, extensions, self.options)
        left = [n for n in self.names() if n != MANIFEST]
        assert sorted(f.path for f in self.manifest().files) == left
        each = [READ[format](io.BytesIO(self.fs.cat_file(f))) for f in found]
        assert [e.height for e in each] == [f.rows for f in self.manifest().files]
        return [i for e in each if e.width for i in e["i"].to_list()]

    def begin(self, format: str = "parquet", **options):
        return shared_write(frames(0)[0].schema, self.url, format, storage_options=self.options, **options)

    def write(self, *starts: int, format: str = "parquet", **options):
        with self.begin(format, **options) as job:
            return job.commit([write_part(job.part, f, n) for n, f in enumerate(frames(*starts))])


def memory():
    fs = fsspec.filesystem("memory")
    url = f"memory://{uuid.uuid4().hex}/set/"
    yield Place(url, fs)
    if fs.exists(url):
        fs.rm(url, recursive=True)


@pytest.fixture(scope="session")
def server():
    """A real S3 server on loopback."""
    missing = [n for n in ("moto", "flask", "s3fs") if importlib.util.find_spec(n) is None]
    if missing:
        pytest.skip(f"an S3 server on loopback needs {', '.join(missing)}, which is not installed")
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(server):
    options = {
        "aws_endpoint_url": server,
        "aws_allow_http": "true",
        "aws_access_key_id": "id",
        "aws_secret_access_key": "secret",
        "aws_region": "us-east-1",
    }
    fs = fsspec.filesystem("s3", key="id", secret="secret", endpoint_url=server)
    bucket = uuid.uuid4().hex
    fs.call_s3("create_bucket", Bucket=bucket)
    return Place(f"s3://{bucket}/deep/set/", fs, options)


@pytest.fixture(params=["memory", "s3"])
def place(request):
    if request.param == "s3":
        yield request.getfixturevalue("s3")
    else:
        yield from memory()


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_committed_is_what_readers_find(place, format):
    with place.begin(format) as job:
        parts = frames(0, 10, 20)
        written = [write_part(job.part, f, n) for n, f in reversed([*enumerate(parts)])]
        again = write_part(job.part, parts[1], 1)
        write_part(job.part, parts[0], 5)
        assert len(place.names()) == 5
        assert MANIFEST not in place.names()
        report = job.commit([again, written[0], written[2]])
    assert place.rows(format) == list(range(30))
    assert report.rows == 30
    assert [f.removeprefix(place.url) for f in report.files] == [f.path for f in place.manifest().files]
    assert report.bytes == sum(place.fs.size(f) for f in report.files)


def test_modes(place):
    place.write(0, 10)
    with pytest.raises(FileExistsError, match="append"):
        place.begin()
    place.write(20, mode="append")
    assert place.rows() == list(range(30))
    place.write(50, mode="overwrite")
    assert place.rows() == list(range(50, 60))
    place.put("notes.txt")
    with pytest.raises(OptionError, match=r"notes\.txt.*not a data file"):
        place.begin(mode="overwrite")
    place.fs.rm_file(f"{place.url}notes.txt")
    for change, error, match in [
        ({"format": "csv"}, OptionError, "own format"),
        ({"partition_by": "k"}, SchemaError, "not partitioned"),
    ]:
        with pytest.raises(error, match=match):
            place.begin(mode="append", **change)
    with pytest.raises(SchemaError, match="columns differ"):
        shared_write(pl.Schema({"i": pl.Int8, "k": pl.String}), place.url, "parquet", mode="append",
                     storage_options=place.options)  # fmt: skip
    assert place.rows() == list(range(50, 60))


def test_a_folder_of_other_files(place):
    place.put("x.parquet")
    with pytest.raises(FileExistsError):
        place.begin()
    with pytest.raises(OptionError, match="no _robodf_manifest"):
        place.begin(mode="append")
    place.write(0, mode="overwrite")
    assert place.rows() == list(range(10))


def test_no_rows(place):
    with place.begin() as job:
        report = job.commit([write_part(job.part, f.clear(), n) for n, f in enumerate(frames(0, 1))])
    assert (report.rows, len(report.files)) == (0, 1)
    assert place.rows() == []
    with place.begin(mode="append") as job:
        assert job.commit([write_part(job.part, frames(0)[0].clear(), 0)]).files == ()
    assert len(place.names()) == 2


def test_folders_and_rows_per_file(place):
    place.write(0, 10, partition_by="k", rows_per_file=2)
    found = place.manifest()
    assert found.partition_by == ("k",)
    each = [(folder, rows) for folder in ("k=a", "k=b%20c") for rows in (2, 2, 1)]
    assert [(f.path.split("/")[0], f.rows) for f in found.files] == each * 2
    assert sorted(place.rows()) == list(range(20))
    place.write(20, partition_by="k", mode="append")
    assert sorted(place.rows()) == list(range(30))


def test_a_failing_partition_and_an_abort_leave_nothing(place):
    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        raise RuntimeError("the user's own")

    for key in (None, "key"):
        job = place.begin(resume_key=key)
        write_part(job.part, frames(0)[0], 0)
        with pytest.raises(RuntimeError, match="user's own"):
            write_part(job.part, frames(0)[0].lazy().map_batches(fail), 1)
        job.abort()
        assert place.names() == []
    with place.begin() as job:
        written = write_part(job.part, frames(0)[0], 0)
        place.put(written.files[0].path, b"short")
        with pytest.raises(OSError, match="no longer as partition 0"):
            job.commit([written])
    assert place.names() == []


def test_a_put_that_fails_half_way_is_taken_back(place, monkeypatch):
    puts = []
    fs = sink_store.filesystem(place.url, place.options)[0]  # fsspec gives the same one again
    original = fs.put_file

    def full(*args, **kwargs):
        puts.append(args)
        if len(puts) == 2:
            raise OSError("the store is full")
        return original(*args, **kwargs)

    with place.begin(rows_per_file=3) as job:
        with monkeypatch.context() as patch:
            patch.setattr(fs, "put_file", full)
            with pytest.raises(OSError, match="full"):
                write_part(job.part, frames(0)[0], 0)
        assert place.names() == []


def test_resuming(place):
    one = place.begin(resume_key="r")
    parts = frames(0, 10, 20)
    first = {n: write_part(one.part, parts[n], n) for n in (2, 0)}
    one.close()
    lost = write_part(one.part, parts[1], 1)
    place.fs.rm_file(f"{place.url}{lost.files[0].path}")
    two = place.begin(resume_key="r")
    assert two.done() == first
    assert place.begin(resume_key="other").done() == {}
    two.commit([*first.values(), write_part(two.part, parts[1], 1)])
    with place.begin(resume_key="other", mode="append") as other:
        other.abort()
    assert place.rows() == list(range(30))
    three = place.begin(resume_key="r", mode="append")  # the job has ended: its key is free
    assert three.done() == {}
    three.commit([write_part(three.part, parts[0], 0)])
    assert place.rows() == [*range(30), *range(10)]


@pytest.mark.parametrize("place", ["memory"], indirect=True)
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_driver_that_dies_while_it_commits(place, mode, monkeypatch):
    """Each call that changes the store in a commit, in turn, is the last that is done."""
    after = list(range(5)) if mode == "append" else []
    for step in range(30):
        for name in place.names():
            place.fs.rm_file(f"{place.url}{name}")
        place.write(90)
        job = place.begin(mode=mode, resume_key="r")
        written = [write_part(job.part, f, n) for n, f in enumerate(frames(0, 10))]
        write_part(job.part, frames(0)[0], 0)
        left = [step]

        def dying(call, left=left):
            def run(*args, **kwargs):
                if left[0] == 0:
                    raise KeyboardInterrupt
                left[0] -= 1
                return call(*args, **kwargs)

            return run

        died = False
        with monkeypatch.context() as patch:
            for call in ("pipe_file", "rm_file"):
                patch.setattr(job._fs, call, dying(getattr(job._fs, call)))
            try:
                job.commit(written)
            except KeyboardInterrupt:
                died = True
        old, new = list(range(90, 100)), list(range(20))
        listed = list_files(place.url, (".parquet",), place.options)
        now = [i for f in listed for i in pl.read_parquet(io.BytesIO(place.fs.cat_file(f)))["i"].to_list()]
        after = old + new if mode == "append" else new
        assert now in (old, after)
        if not died:
            break
        left_over = [n for n in place.names() if "/run" in n]
        with place.begin(mode=mode, resume_key="r") as again:
            done = again.done()
            if left_over:  # without it, the job has ended, and this is another
                report = again.commit(
                    [done.get(n) or write_part(again.part, f, n) for n, f in enumerate(frames(0, 10))]
                )
                assert report.rows == 20
        assert place.rows() == after
    assert step > 3


def test_what_others_left_is_removed_after_a_week(place, monkeypatch):
    job = place.begin()
    write_part(job.part, frames(0)[0], 0)  # and the driver dies
    place.write(10)
    assert len(place.names()) == 3
    later = dt.datetime.now().timestamp() + 8 * 24 * 3600
    monkeypatch.setattr(sink_store.time, "time", lambda: later)
    place.write(20, mode="append")
    assert place.rows() == list(range(10, 30))


def test_a_folder_that_others_begin_while_it_is_listed(s3, monkeypatch):
    found, calls = type(s3.fs).find, []

    def find(fs, path, **options):
        calls.append(path)
        return {path: {"name": path, "type": "directory", "size": 0}} if len(calls) == 1 else found(fs, path, **options)

    monkeypatch.setattr(type(s3.fs), "find", find)
    s3.write(0, mode="error")
    assert len(calls) > 1
    assert s3.rows() == list(range(10))


@pytest.mark.parametrize("mode", ["append", "error"])
def test_commits_at_once(s3, mode):
    barrier, won, lost = threading.Barrier(5, timeout=60), [], []

    def commit(n: int) -> None:
        with s3.begin(mode=mode) as job:
            written = [write_part(job.part, f, k) for k, f in enumerate(frames(10 * n))]
            barrier.wait()
            try:
                won.append(job.commit(written))
            except FileExistsError:
                lost.append(n)

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == ((5, 0) if mode == "append" else (1, 4))
    found = s3.rows()
    assert len(found) == 10 * len(won)
    if mode == "append":
        assert sorted(found) == list(range(50))


def test_readers_of_tables_follow_the_manifest(s3):
    s3.write(0, 10)
    stray = s3.begin(mode="append")
    write_part(stray.part, frames(90)[0], 0)
    for read in (rd.read_parquet, rd.read):
        frame = read(s3.url, storage_options=s3.options)
        assert frame.collect()["i"].to_list() == list(range(20))
    with pytest.raises(NoFilesError, match=r"\.csv"):
        rd.read_csv(s3.url, storage_options=s3.options)
    s3.put(MANIFEST, json.dumps({"version": 1}).encode())
    with pytest.raises(FileFormatError, match=MANIFEST):
        rd.read_parquet(s3.url, storage_options=s3.options)


def test_readers_of_folders_give_the_keys(s3):
    s3.write(0, partition_by="k")
    back = rd.read_parquet(s3.url, storage_options=s3.options).sort("i").collect()
    assert back["k"].to_list() == ["a", "b c"] * 5


def test_a_local_copy_reads_alike(place, tmp_path):
    place.write(10, 0, mode="overwrite")
    for name in place.names():
        os.makedirs((tmp_path / name).parent, exist_ok=True)
        (tmp_path / name).write_bytes(place.fs.cat_file(f"{place.url}{name}"))
    (tmp_path / "other.parquet").write_bytes(b"no data set")
    assert rd.read_parquet(tmp_path).collect()["i"].to_list() == [*range(10, 20), *range(10)]


def test_a_store_without_its_package_says_so(monkeypatch):
    with pytest.raises(OptionError, match="cannot write 'nosuch://x/'"):
        shared_write(pl.Schema({"i": pl.Int64}), "nosuch://x/", "parquet")
