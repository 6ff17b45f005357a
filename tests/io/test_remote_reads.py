"""Files behind HTTP and S3: the same rows as of local ones, by few and large requests."""

from __future__ import annotations

import functools
import importlib.util
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pytest
import samples_archives
import samples_clouds
import samples_hdf5
import samples_images
import samples_pcap
import samples_trajectory
import samples_video
from polars.testing import assert_frame_equal
from test_robots import ARM
from test_sink_store import s3, server  # noqa: F401

import robodf as rd

pytestmark = pytest.mark.skipif(importlib.util.find_spec("aiohttp") is None, reason="fsspec reads HTTP by aiohttp")

TABLE = pl.DataFrame({"a": range(50), "b": [f"name {k}" for k in range(50)]})
SHARD = {f"{k:04}.{end}": bytes([k % 251]) * 20_000 for k in range(200) for end in ("bin", "cls2")}


@functools.cache
def files() -> dict[str, bytes]:
    def written(write: Callable[[io.BytesIO], object]) -> bytes:
        out = io.BytesIO()
        write(out)
        return out.getvalue()

    return {
        "t.parquet": written(TABLE.write_parquet), "t.csv": TABLE.write_csv().encode(), "t.txt": b"one\ntwo\n",
        "t.ndjson": TABLE.write_ndjson().encode(), "t.json": TABLE.write_json().encode(), "t.yaml": b"a: 1\nb: x\n",
        "a.urdf": ARM.encode(), "v.mp4": samples_video.samples()["h264.mp4"],
        "i.png": samples_images.samples()["rgb.png"],
        "c.pcd": samples_clouds.samples()["binary.pcd"], "c.laz": samples_clouds.samples()["a.laz"],
        "p.pcap": samples_pcap.samples()["us.pcap"], "a.tum": samples_trajectory.samples()["a.tum"],
        "z.zip": samples_archives.zipped(), "t.tar": samples_archives.tarred(),
        "t.tar.gz": samples_archives.PACKED["gz"](samples_archives.tarred()),
        "h.hdf5": samples_hdf5.samples()["demos.hdf5"], "shard.tar": samples_archives.tarred(SHARD),
        "members.zip": samples_archives.zipped(SHARD, zipfile.ZIP_STORED),
        "inside.zip": samples_archives.zipped({"in/t.csv": TABLE.write_csv().encode()}),
    }  # fmt: skip


class Server(ThreadingHTTPServer):
    """Serves `files()` with ranges, as stores do; `asked` has the bytes of each answer."""

    daemon_threads = True
    asked: list[tuple[str, int]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def answer(self, with_body: bool) -> None:
        data = files().get(self.path.lstrip("/"))
        if data is None:
            self.send_error(404)
            return
        ranged = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")) if with_body else None
        first, last = 0, len(data) - 1
        if ranged:
            first = int(ranged[1]) if ranged[1] else max(0, len(data) - int(ranged[2]))
            last = min(int(ranged[2]), last) if ranged[1] and ranged[2] else last
        body = data[first : last + 1]
        self.send_response(206 if ranged else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        if ranged:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if with_body:
            self.server.asked.append((self.path, len(body)))  # type: ignore[attr-defined]
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.asked = []
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    for name, data in files().items():
        (folder / name).write_bytes(data)
    return folder


def rows(df: rd.PipelineDataFrame) -> pl.DataFrame:
    names = [name for name in df.columns if name not in ("path", "recording")]
    return df.select(names).collect()


@pytest.mark.parametrize("name", files())
def test_files_behind_http_have_the_rows_of_local_ones(web: Server, here: Path, name: str) -> None:
    web.asked.clear()
    found = rows(rd.read(f"{web.url}/{name}"))
    assert_frame_equal(found, rows(rd.read(here / name)))
    asked, size = len(web.asked), len(files()[name])
    # The first bytes, an index or a footer, and what is wanted: in pieces of a MiB and more where it is large.
    assert asked <= 12 + 3 * size / (1 << 20), (asked, size)


@pytest.mark.parametrize("name", ["shard.tar", "members.zip"])
def test_members_that_lie_together_are_read_together(web: Server, here: Path, name: str) -> None:
    """400 members of 20 kB: one request each would be 400."""
    read = rd.read_zip if name.endswith("zip") else rd.read_tar
    df = read(f"{web.url}/{name}").select("member", "data")
    assert df.select("member").collect().height == 400
    web.asked.clear()
    assert_frame_equal(df.collect(), read(here / name).select("member", "data").collect())
    assert len([size for _, size in web.asked if size > 100]) <= 4
    web.asked.clear()
    some = df.filter(rd.col("member").is_in(["0000.bin", "0199.bin"])).collect()
    assert some["data"].bin.size().to_list() == [20_000] * 2
    large = [size for _, size in web.asked if size >= 20_000]
    assert sum(large) < 2_300_000  # the index, and not what lies between


def test_samples_of_a_shard_behind_http(web: Server, here: Path) -> None:
    df = rd.read_webdataset(f"{web.url}/shard.tar")
    web.asked.clear()
    assert_frame_equal(rows(df), rows(rd.read_webdataset(here / "shard.tar")))
    assert len(web.asked) <= 8


def test_an_archive_behind_http_as_a_folder(web: Server) -> None:
    df = rd.read(f"zip://in/t.csv::{web.url}/inside.zip")
    assert df.collect().equals(TABLE)
    assert rd.sql(f"SELECT count(*) AS n FROM read_zip('{web.url}/z.zip')").collect()["n"].item() == len(
        samples_archives.FILES
    )


def test_what_is_not_there(web: Server) -> None:
    with pytest.raises(rd.errors.NoFilesError, match="no file .*none.csv"):
        rd.read(f"{web.url}/none.csv")


def test_frames_of_a_video_behind_http_are_sought(web: Server, here: Path) -> None:
    df = rd.read_video(f"{web.url}/v.mp4").filter(rd.col("frame_index").is_in([3, 20])).select("frame_index", "frame")
    assert_frame_equal(df.collect(), rd.read_video(here / "v.mp4").filter(
        rd.col("frame_index").is_in([3, 20])).select("frame_index", "frame").collect())  # fmt: skip


def test_files_of_many_formats_in_s3(s3: Any, here: Path) -> None:  # noqa: F811
    bucket = s3.url.removeprefix("s3://").split("/")[0]
    s3.fs.pipe({f"{bucket}/in/{name}": data for name, data in files().items()})
    options = s3.options
    names = ("t.parquet", "t.csv", "v.mp4", "i.png", "c.pcd", "z.zip", "shard.tar", "h.hdf5", "p.pcap", "t.ndjson")
    for name in names:
        found = rows(rd.read(f"s3://{bucket}/in/{name}", storage_options=options))
        assert_frame_equal(found, rows(rd.read(here / name)))
    tables = rd.read_parquet(f"s3://{bucket}/in/*.parquet", storage_options=options)
    assert tables.filter(rd.col("a") > 47).count_rows() == 2


def test_requests_of_a_store_that_counts() -> None:
    """A file system of fsspec by which each request is seen: chosen images cost one each, and no listing more."""
    images = {f"/robodf-many/{k:03}.png": samples_images.encoded(np.full((40, 50, 3), k, np.uint8)) for k in range(40)}
    store: Any = fsspec.filesystem("memory")
    store.pipe(dict(images))
    asked: list[str] = []
    plain = type(store).cat_file

    def seen(self: Any, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        asked.append(path)
        return plain(self, path, start, end, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store), "cat_file", seen)
        df = rd.read_images("memory://robodf-many").filter(rd.col("path").str.ends_with("7.png"))
        found: Mapping[str, Any] = df.select("path", "image").collect().to_dict()
        assert [image["data"][0] for image in found["image"]] == [7, 17, 27, 37]
    assert {Path(p).name for p in asked} == {"007.png", "017.png", "027.png", "037.png"}
    assert len(asked) <= 4 * 3
    store.rm("/robodf-many", recursive=True)
