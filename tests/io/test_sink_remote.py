"""Writing to an object store: a small S3 server on loopback, as Polars' own client speaks to it."""

from __future__ import annotations

import io
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from robodf.errors import OptionError
from robodf.io.sink import write


class Store(BaseHTTPRequestHandler):
    """Puts and multipart uploads; an upload that is not completed publishes nothing."""

    objects: dict[str, bytes]
    parts: dict[int, bytes]

    def _answer(self, body: bytes = b"", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        part = parse_qs(url.query).get("partNumber")
        if part:
            self.parts[int(part[0])] = body
        else:
            self.objects[url.path] = body
        self._answer()

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "uploads" in parse_qs(url.query, keep_blank_values=True):
            answer = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId>"
            self._answer((answer + "</InitiateMultipartUploadResult>").encode())
        else:
            self.objects[url.path] = b"".join(self.parts[n] for n in sorted(self.parts))
            answer = "<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"
            self._answer(answer.encode())

    def do_HEAD(self) -> None:
        body = self.objects.get(urlsplit(self.path).path)
        self.send_response(404 if body is None else 200)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()

    def do_DELETE(self) -> None:
        self._answer(status=204)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def store():
    class Own(Store):
        objects: dict[str, bytes] = {}
        parts: dict[int, bytes] = {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    options = {
        "aws_endpoint_url": f"http://127.0.0.1:{server.server_address[1]}",
        "aws_allow_http": "true",
        "aws_access_key_id": "id",
        "aws_secret_access_key": "secret",
        "aws_region": "us-east-1",
    }
    yield Own.objects, options
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("format", ["parquet", "csv", "ndjson", "ipc"])
def test_one_object(store, format):
    objects, options = store
    frame = pl.LazyFrame({"i": range(1000)})
    report = write(frame, f"s3://bucket/deep/x.{format}", format, mode="overwrite", storage_options=options)
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "ndjson": pl.read_ndjson, "ipc": pl.read_ipc}[format]
    assert list(objects) == [f"/bucket/deep/x.{format}"]
    assert read(io.BytesIO(objects[f"/bucket/deep/x.{format}"]))["i"].to_list() == list(range(1000))
    assert (report.rows, report.files) == (1000, (f"s3://bucket/deep/x.{format}",))


def test_a_failing_query_publishes_no_object(store):
    objects, options = store

    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        raise RuntimeError("the user's own")

    frame = pl.LazyFrame({"i": [1]}).map_batches(fail)
    with pytest.raises(RuntimeError, match="the user's own"):
        write(frame, "s3://bucket/x.parquet", "parquet", mode="overwrite", storage_options=options)
    assert objects == {}


def test_a_json_array_is_refused():
    with pytest.raises(OptionError, match="ndjson"):
        write(pl.LazyFrame({"i": [1]}), "s3://bucket/x.json", "json", mode="overwrite")


def test_a_look_without_its_package_says_what_to_do(monkeypatch):

    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    for name in ("s3", "s3a"):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, name, raising=False)
    with pytest.raises(OptionError, match="s3fs.*mode='overwrite'"):
        write(pl.LazyFrame({"i": [1]}), "s3://bucket/x.parquet", "parquet")
