"""The formats whose files are mutated: small valid data sets of each, and what reads them. A format is one line."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import pickle
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import polars as pl
import samples_archives
import samples_clouds
import samples_hdf5
import samples_images
import samples_lerobot
import samples_parquet
import samples_pcap
import samples_trajectory
import samples_video
import samples_zarr
import test_binary_files as binary
import test_protobuf_files as protobuf
import test_video_messages
from test_robots import ARM, WORLD
from test_yaml_files import KALIBR, OPENCV, ORB

import robodf as rd
from robodf.images.layout import to_column

DataSet = Mapping[str, bytes]
"""Files by their path below one folder; a data set of one file is read as that file."""


@dataclass(frozen=True)
class Kind:
    """`make` gives data sets by name, `readers` are tried beside `rd.read`; `never` are names that are not mutated."""

    make: Callable[[], Mapping[str, DataSet]]
    readers: tuple[Callable[..., Any], ...]
    never: tuple[str, ...] = ()

    @property
    def sets(self) -> Mapping[str, DataSet]:
        return _made(self.make)


@cache
def _made(make: Callable[[], Mapping[str, DataSet]]) -> Mapping[str, DataSet]:
    return make()


def files(*readers: Callable[..., Any], of: Callable[[], Mapping[str, bytes]], ending: str | tuple[str, ...] = "",
          as_named: str | None = None) -> Kind:  # fmt: skip
    """Data sets of one file each: of those that `of` gives, the ones with an ending, or all under another one."""

    def make() -> Mapping[str, DataSet]:
        if as_named is not None:
            return {f"{k}{as_named}": {f"{k}{as_named}": data} for k, data in enumerate(of().values())}
        return {name: {name: data} for name, data in of().items() if name.endswith(ending or "")}

    return Kind(make, readers)


def folders(*readers: Callable[..., Any], of: Callable[[], Mapping[str, bytes]], never: tuple[str, ...] = ()) -> Kind:
    """Data sets of many files: the first folder in the name of each says of which."""

    def make() -> Mapping[str, DataSet]:
        found: dict[str, dict[str, bytes]] = {}
        for name, data in of().items():
            folder, rest = name.split("/", 1)
            found.setdefault(folder, {})[rest] = data
        return found

    return Kind(make, readers, never)


def table() -> pl.DataFrame:
    """Columns of many types."""
    numbers = range(30)
    return pl.DataFrame(
        {
            "id": numbers, "x": [k / 7 for k in numbers], "name": [f"name {k % 5}" for k in numbers],
            "maybe": [None if k % 3 else k for k in numbers], "ok": [k % 2 == 0 for k in numbers],
        }
    )  # fmt: skip


def nested() -> pl.DataFrame:
    numbers = range(30)
    return table().with_columns(
        pl.Series("q", [[float(k)] * (k % 4) for k in numbers]),
        pl.Series("pose", [{"x": k, "frame": "map"} for k in numbers]),
        pl.Series("raw", [bytes([k]) * 200 for k in numbers]),
        pl.Series("vector", [[k, k] for k in numbers], dtype=pl.Array(pl.Float32, 2)),
        pl.from_epoch("id", "ms").alias("time"),
        pl.col("name").cast(pl.Categorical).alias("kind"),
        pl.col("x").cast(pl.Decimal(10, 3)).alias("price"),
    )


def written(*writers: Callable[[io.BytesIO], Any]) -> dict[str, bytes]:
    found = {}
    for k, write in enumerate(writers):
        out = io.BytesIO()
        write(out)
        found[str(k)] = out.getvalue()
    return found


def parquet_files() -> dict[str, bytes]:
    codecs: tuple[Any, ...] = ("uncompressed", "snappy", "gzip", "lz4", "zstd", "brotli")
    return written(
        *(partial(nested().write_parquet, compression=codec, row_group_size=11) for codec in codecs),
        partial(nested().write_parquet, data_page_size=200, statistics="full"),
    )


def ipc_files() -> dict[str, bytes]:
    codecs: tuple[Any, ...] = ("uncompressed", "lz4", "zstd")
    return written(*(partial(nested().write_ipc, compression=codec, record_batch_size=11) for codec in codecs))


def text_tables(end: str) -> dict[str, bytes]:
    rows = nested().select("id", "x", "name", "maybe", "q", "pose", "vector")
    if end == "csv":
        return {"a.csv": table().write_csv().encode(), "a.tsv": table().write_csv(separator="\t").encode()}
    return {f"a.{end}": (rows.write_json() if end == "json" else rows.write_ndjson()).encode()}


TEXT = {"a.txt": "Nimm\n\ndie Tässe.\r\n\r\nÖffne sie.\n".encode() * 5, "b.log": b"[1.5] started\n[2.5] stopped"}
YAML = {f"{k}.yaml": text.encode() for k, text in enumerate((KALIBR, OPENCV, ORB, "a: 1\nb: [x, {c: ~}]\n---\na: 2\n"))}


def msgpack_files() -> dict[str, bytes]:
    rows = [{"step": k, "q": [0.5, k], "name": "n" * k, "raw": b"ab", "t": msgpack.Timestamp(k, 7)} for k in range(20)]
    return {"a.msgpack": b"".join(map(msgpack.packb, rows)), "list.mpk": msgpack.packb(rows)}  # type: ignore[arg-type, dict-item]


def protobuf_files(framing: str) -> dict[str, bytes]:
    return {"a.pb": protobuf.framed(protobuf.messages(12), framing)}


def protobuf_reader(framing: str) -> Callable[..., Any]:
    return partial(rd.read_protobuf, message="robot.Step", schema=protobuf.schema(), framing=framing)


INI = {
    "a.ini": b"""[image]

width
640

height
480

[left]

camera matrix
500 0 320
0 500 240
0 0 1

distortion
0.1 -0.2 0 0 0
"""
}


def delta_tables() -> dict[str, dict[str, bytes]]:
    """A table of one version, and one of four with a checkpoint, partitions and a file that was removed.

    Names of its files and times are new in each process, so a case is nearly the same the next time.
    """
    from deltalake import DeltaTable, write_deltalake

    rows = nested().select("id", "x", "name", "maybe", "ok", "q", "raw").with_columns(day=pl.col("id") % 3)
    found = {}
    with tempfile.TemporaryDirectory() as place:
        one, four = Path(place, "one"), Path(place, "four")
        write_deltalake(one, rows)
        for k in range(3):
            write_deltalake(four, rows.with_columns(x=pl.col("x") + k), mode="append", partition_by=["day"])
        DeltaTable(four).create_checkpoint()
        write_deltalake(four, rows, mode="overwrite")
        for root in (one, four):
            files = [p for p in sorted(root.rglob("*")) if p.is_file()]
            found[root.name] = {str(p.relative_to(root)): p.read_bytes() for p in files}
    return found


def written_shards() -> dict[str, bytes]:
    """Shards as `to_webdataset` writes them."""
    images = to_column([np.full((8, 9, 3), 30 * k, np.uint8) for k in range(6)])
    columns = {"id": [f"k{k}" for k in range(6)], "png": images, "txt": list("abcdef"), "pose.json": [{"x": 1}] * 6}
    with tempfile.TemporaryDirectory() as place:
        made = rd.from_dict(columns).with_columns(**{"q.npy": rd.lit([0.5, 1.5])})
        made.to_webdataset(Path(place, "out"), key="id")
        return {p.name: p.read_bytes() for p in sorted(Path(place, "out").rglob("*.tar"))}


def nested_archives() -> dict[str, bytes]:
    """Tables in archives in archives."""
    table_file = table().write_csv().encode()
    inner = samples_archives.tarred({"t.csv": table_file, "u/t.csv": table_file})
    zipped = samples_archives.zipped({"t.csv": table_file, "u/t.csv": table_file})
    return {
        "a.zip": samples_archives.zipped({"in.tar": inner}), "a.tar": samples_archives.tarred({"in.zip": zipped}),
        "a.tgz": gzip.compress(samples_archives.tarred({"in.zip": zipped})),
    }  # fmt: skip


def in_archives(path: Path) -> Any:
    """The tables in the archive in an archive."""
    outer, inner = ("zip", "tar") if path.suffix == ".zip" else ("tar", "zip")
    return rd.read_csv(f"{inner}://**/t.csv::{outer}://in.{inner}::{path}")


def video_messages(format: str) -> dict[str, bytes]:
    return {f"a.{format}": b"".join(test_video_messages.messages(format, 24))}


def messages_of(path: Path, on_error: str = "raise") -> Any:
    """The frames of messages, each with as many bytes as it had before the file was damaged."""
    format = path.suffix.removeprefix(".")
    lengths = [len(m) for m in test_video_messages.messages(format, 24)]
    data, ends = path.read_bytes(), list(itertools.accumulate(lengths))
    rows = [data[end - length : end] for end, length in zip(ends, lengths)]
    topic = pl.DataFrame(test_video_messages.topic(("a", format, rows)))
    return rd.from_polars(topic).decode_video(on_error=on_error)


def decoded_images(path: Path) -> Any:
    return rd.read_images(path, on_error="collect").select("path", "width", rd.decode("data"), rd.phash("data"))


def cosmos_files() -> dict[str, bytes]:
    video = samples_lerobot.samples()[f"v2/videos/chunk-000/{samples_lerobot.CAMERA}/episode_000000.mp4"]
    edge = {"control_weight": 0.5, "input_control": "videos/b.mp4"}
    spec = {"prompt": "p", "input_video_path": "videos/a.mp4", "edge": edge}
    return {
        "train/videos/a.mp4": video, "train/videos/b.mp4": video, "train/metas/a.txt": b" a robot \n",
        "train/t5_xxl/a.pickle": pickle.dumps(pickle.Pickler), "train/control_input_edge/a.mp4": video,
        "train/s.json": json.dumps(spec).encode(), "train/metadata.csv": b"file_name,prompt\nvideos/b.mp4,x\n",
        "dreams/10_Pick_up_the_cup.mp4": video, "dreams/split/videos/0.mp4": video,
        "dreams/split/labels/0.txt": b"close it",
    }  # fmt: skip


FIELDS = [("x", "<f4"), ("t", "<M8[ns]"), ("name", "S4"), ("ok", "?")]
VIDEO_KINDS = {
    "video": (".mp4",), "video_mkv": (".mkv", ".webm"), "video_other": (".avi", ".ts", ".flv", ".h264", ".mpg"),
}  # fmt: skip
_FRAMES = (rd.read_lerobot, *(partial(rd.read_lerobot, table=table) for table in ("episodes", "tasks", "stats")))

KINDS: dict[str, Kind] = {
    "parquet": files(rd.read_parquet, of=parquet_files, as_named=".parquet"),
    "parquet_pages": files(rd.read_parquet, of=samples_parquet.samples, as_named=".parquet"),
    "csv": files(rd.read_csv, of=partial(text_tables, "csv")),
    "ndjson": files(rd.read_ndjson, of=partial(text_tables, "ndjson")),
    "json": files(rd.read_json, of=partial(text_tables, "json")),
    "ipc": files(rd.read_ipc, of=ipc_files, as_named=".arrow"),
    "text": files(*(partial(rd.read_text, mode=m, on_error="raise") for m in ("line", "paragraph")), of=lambda: TEXT),
    "documents": files(partial(rd.read_text, mode="document"), of=lambda: TEXT),
    "yaml": files(rd.read_yaml, of=lambda: YAML),
    "calibration": files(rd.read_calibration, of=lambda: YAML | INI),
    "msgpack": files(rd.read_msgpack, of=msgpack_files),
    "protobuf": files(protobuf_reader("varint"), of=partial(protobuf_files, "varint")),
    "protobuf_uint32": files(protobuf_reader("uint32"), of=partial(protobuf_files, "uint32")),
    "protobuf_single": files(protobuf_reader("single"), of=partial(protobuf_files, "single")),
    "binary": files(
        partial(rd.read_binary, dtype=binary.KIND), of=lambda: {"a.bin": binary.records(20).tobytes()}
    ),
    "urdf": files(*(partial(rd.read_urdf, table=t) for t in ("joints", "links")), of=lambda: {"a.urdf": ARM.encode()}),
    "sdf": files(*(partial(rd.read_sdf, table=t) for t in ("joints", "links")), of=lambda: {"a.sdf": WORLD.encode()}),
    "pcd": files(rd.read_points, rd.read_clouds, of=samples_clouds.samples, ending=".pcd"),
    "ply": files(rd.read_points, rd.read_clouds, of=samples_clouds.samples, ending=".ply"),
    "las": files(rd.read_points, rd.read_clouds, of=samples_clouds.samples, ending=(".las", ".laz")),
    "kitti": files(partial(rd.read_points, format="kitti"), of=samples_clouds.samples, ending=".bin"),
    "pcap": files(rd.read_pcap, of=samples_pcap.samples, ending=(".pcap", ".pcapng")),
    "velodyne": files(rd.read_velodyne, of=samples_pcap.samples, ending="velodyne.pcap"),
    "trajectory": files(rd.read_trajectory, of=samples_trajectory.samples),
    **{name: files(partial(rd.read_video, streams="all"), of=samples_video.samples, ending=ends)
       for name, ends in VIDEO_KINDS.items()},
    "lerobot": folders(*_FRAMES, of=samples_lerobot.samples),
    **{f"{name}_messages": files(messages_of, of=partial(video_messages, name)) for name in ("h264", "h265", "av1")},
    "images": files(rd.read_images, partial(rd.read_images, size=(8, 8)), decoded_images, of=samples_images.samples),
    "zip": files(rd.read_zip, of=samples_archives.samples, ending=".zip"),
    "tar": files(rd.read_tar, of=samples_archives.samples, ending=(".tar", ".gz", ".bz2", ".xz", ".zst")),
    "webdataset": files(rd.read_webdataset, of=samples_archives.samples, ending=(".tar", ".gz", ".zst")),
    "webdataset_written": files(rd.read_webdataset, of=written_shards),
    "archives": files(in_archives, of=nested_archives),
    "delta": Kind(delta_tables, (rd.read_delta,)),
    "hdf5": files(rd.read_hdf5, partial(rd.read_hdf5, layout="datasets"), of=samples_hdf5.samples),
    "zarr": Kind(samples_zarr.folders, (rd.read_zarr,)),
    "cosmos": folders(rd.read_cosmos, of=cosmos_files, never=(".pickle",)),
}  # fmt: skip
