"""Files made by hand to do harm: to read or write outside of their folder, to run code, to fill memory or time."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import samples_clouds
import samples_hdf5
import samples_lerobot
import samples_pcap
import samples_video
import zstandard
from mutated_kinds import KINDS, DataSet, cosmos_files

SECRET = "open-sesame"
"""What the files around a data set hold: it must not come out of any frame."""

_CAMERA = samples_lerobot.CAMERA


def surroundings(folder: Path) -> None:
    """Files beside the folder `target` in which data sets lie: what they must not reach."""
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.json").write_text(json.dumps([{"a": SECRET}]))
    (folder / "secret.mp4").write_bytes(samples_video.samples()["h264.mp4"])
    rows = samples_lerobot.rows(0, 0, 5).with_columns(note=pl.lit(SECRET))
    rows.write_parquet(folder / "secret.parquet")


class Code:
    """Runs where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, (SECRET,)


def lerobot(change: Callable[[dict[str, Any]], Any], version: str = "v2") -> DataSet:
    """A data set with a changed info.json."""
    files = dict(KINDS["lerobot"].sets[version])
    info = json.loads(files["meta/info.json"])
    change(info)
    return {**files, "meta/info.json": json.dumps(info).encode()}


def without_videos(files: DataSet) -> DataSet:
    return {name: data for name, data in files.items() if not name.endswith(".mp4")}


def lerobot_images(name: str) -> DataSet:
    """Images of a data set that lie where a Parquet file says."""
    files = dict(lerobot(lambda info: info["features"].update(image={"dtype": "image", "shape": [4, 4, 3]})))
    out = io.BytesIO()
    image = pl.Series("image", [{"bytes": None, "path": name}] * 5)
    samples_lerobot.rows(0, 0, 5).with_columns(image).write_parquet(out)
    return {**files, "data/chunk-000/episode_000000.parquet": out.getvalue()}


def cosmos(**spec: Any) -> DataSet:
    files = {k.removeprefix("train/"): v for k, v in cosmos_files().items() if k.startswith("train/")}
    return {**files, "s.json": json.dumps({"prompt": "p", "input_video_path": "videos/a.mp4", **spec}).encode()}


def zipped(*names: str, link: bool = False, data: bytes = b"data", method: int = zipfile.ZIP_DEFLATED) -> DataSet:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o644) << 16
            archive.writestr(info, data, method)
    return {"a.zip": out.getvalue()}


def tarred(pack: Callable[[bytes], bytes] = bytes, end: str = "", size: int = 4, **fields: Any) -> DataSet:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in (fields.pop("name", "a.txt"), "z.txt"):
            info = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(info, field, value)
            info.size = size if info.isreg() else 0
            archive.addfile(info, io.BytesIO(bytes(size)))
    return {f"a.tar{end}": pack(out.getvalue())}


def hdf5(**what: Any) -> DataSet:
    """Files whose data lie in other files, or that hold what is pickled."""
    import h5py

    def write(file: h5py.File) -> None:
        file.create_dataset("data/demo_0/actions", data=np.zeros((5, 2), "f4"))
        if "link" in what:
            file["data/demo_0/obs"] = h5py.ExternalLink(what["link"], "/data/demo_0/actions")
        if "external" in what:
            file.create_dataset("data/demo_0/raw", (5, 2), "u1", external=[(what["external"], 0, 10)])
        if "virtual" in what:
            layout = h5py.VirtualLayout((5, 2), "f4")
            layout[:] = h5py.VirtualSource(what["virtual"], "/data/demo_0/actions", (5, 2))
            file.create_virtual_dataset("data/demo_0/seen", layout)
        if "opaque" in what:
            file.create_dataset("data/demo_0/object", data=np.array([pickle.dumps(Code())] * 5))

    return {"a.hdf5": samples_hdf5.made(write)}


def zarr(**changes: Any) -> DataSet:
    """An array of objects, with what unpickles them; or of a size that nothing has."""
    about = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "compressor": None, "fill_value": None,
        "order": "C", "filters": [{"id": "pickle", "protocol": 5}],
    } | changes  # fmt: skip
    data = pickle.dumps(np.array([Code()], object))
    group = json.dumps({"zarr_format": 2}).encode()
    return {".zgroup": group, "data/.zgroup": group, "data/a/.zarray": json.dumps(about).encode(), "data/a/0": data}


def link_array() -> DataSet:
    """A sharded array of Zarr 3 whose index points beyond its file."""
    about = {
        "zarr_format": 3, "node_type": "array", "shape": [4], "data_type": "uint8", "fill_value": 0, "attributes": {},
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/../"}},
        "codecs": [{"name": "sharding_indexed", "configuration": {
            "chunk_shape": [4], "codecs": [{"name": "bytes"}], "index_codecs": [{"name": "bytes"}]}}],
    }  # fmt: skip
    group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    return {"zarr.json": json.dumps(group).encode(), "a/zarr.json": json.dumps(about).encode(),
            "a/c/0": struct.pack("<2Q", 2**63, 2**63 - 1)}  # fmt: skip


def png(width: int, height: int) -> bytes:
    """A picture that says how large it is, and holds next to nothing."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


_ENTITY = '<?xml version="1.0"?><!DOCTYPE robot [<!ENTITY e SYSTEM "{}">]><robot name="r"><link name="&e;"/></robot>'
_LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 12))
_LAUGHS = f'<!DOCTYPE robot [<!ENTITY l0 "{"ha" * 50}">{_LAUGHS}]><robot name="&l11;"/>'
_QUADRATIC = f'<!DOCTYPE robot [<!ENTITY a "{"a" * 50_000}">]><robot name="r"><link name="{"&a;" * 50_000}"/></robot>'
_DTD = '<!DOCTYPE robot SYSTEM "../secret.txt"><robot name="r"><link name="l"/></robot>'
_INCLUDE = ('<robot name="r" xmlns:xi="http://www.w3.org/2001/XInclude"><link name="l"/>'
            '<xi:include href="../secret.txt" parse="text"/></robot>')  # fmt: skip
_ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12))
_MERGES = "m0: &m0 {a: 1}\n" + "".join(f"m{k}: &m{k} {{<<: [{', '.join([f'*m{k - 1}'] * 9)}]}}\n" for k in range(1, 12))
_PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
_PLY = "ply\nformat {} 1.0\nelement vertex {}\n{}end_header\n"
_BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress,
}  # fmt: skip


def las_of(points: int) -> bytes:
    data = bytearray(samples_clouds.las("1.4", 6))
    struct.pack_into("<Q", data, 247, points)
    return bytes(data)


def block(kind: int, size: int) -> bytes:
    return samples_pcap.pcapng([]) + struct.pack("<II", kind, size) + bytes(64)


HOSTILE: dict[str, tuple[str, Callable[[], DataSet]]] = {
    "an entity that is a file": ("urdf", lambda: {"a.urdf": _ENTITY.format("../secret.txt").encode()}),
    "an entity that is a file of the system": ("urdf", lambda: {"a.urdf": _ENTITY.format("file:///etc/passwd").encode()}),
    "an entity of the network": ("urdf", lambda: {"a.urdf": _ENTITY.format("http://127.0.0.1:9/x").encode()}),
    "a DTD that is a file": ("urdf", lambda: {"a.urdf": _DTD.encode()}),
    "a billion laughs": ("urdf", lambda: {"a.urdf": _LAUGHS.encode()}),
    "a long entity many times": ("urdf", lambda: {"a.urdf": _QUADRATIC.encode()}),
    "an XInclude": ("urdf", lambda: {"a.urdf": _INCLUDE.encode()}),
    "deep elements": ("urdf", lambda: {"a.urdf": b'<robot name="r">' + b"<a>" * 100_000}),
    "a billion laughs in a world": ("sdf", lambda: {"a.sdf": _LAUGHS.replace("robot", "sdf").encode()}),
    "an entity in a world": ("sdf", lambda: {"a.sdf": _ENTITY.format("../secret.txt").replace("robot", "sdf").encode()}),
    "models in models": ("sdf", lambda: {"a.sdf": b"<sdf>" + b'<model name="m">' * 50_000}),
    "aliases of aliases": ("yaml", lambda: {"a.yaml": _ALIASES.encode()}),
    "merges of merges": ("yaml", lambda: {"a.yaml": _MERGES.encode()}),
    "an alias of itself": ("yaml", lambda: {"a.yaml": b"a: &a [*a]"}),
    "deep lists": ("yaml", lambda: {"a.yaml": b"a: " + b"[" * 100_000}),
    "deep blocks": ("yaml", lambda: {"a.yaml": b"- " * 20_000 + b"1"}),
    "a tag of Python": ("yaml", lambda: {"a.yaml": b'a: !!python/object/apply:os.system ["touch ../touched"]\n'}),
    "a number of many digits": ("yaml", lambda: {"a.yaml": b"a: " + b"9" * 200_000}),
    "a number of base 60": ("yaml", lambda: {"a.yaml": b"a: 1" + b":59" * 50_000}),
    "aliases in a calibration": ("calibration", lambda: {"a.yaml": _ALIASES.encode()}),
    "a large matrix": ("calibration", lambda: {"a.yaml": b"camera_matrix: {rows: 100000, cols: 100000, data: [1]}"}),
    "deep JSON": ("json", lambda: {"a.json": b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]"}),
    "deep objects": ("json", lambda: {"a.json": b"[" + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]"}),
    "open lists": ("json", lambda: {"a.json": b"[" * 500_000}),
    "deep JSON on a line": ("ndjson", lambda: {"a.ndjson": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"}),
    "deep objects on a line": ("ndjson", lambda: {"a.ndjson": b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n"}),
    "many columns": ("csv", lambda: {"a.csv": b"a," * 20_000 + b"\n" + b"1," * 20_000}),
    "an open quote": ("csv", lambda: {"a.csv": b'a,b\n"' + b"x,\n" * 300_000}),
    "deep MessagePack": ("msgpack", lambda: {"a.msgpack": b"\x91" * 200_000 + b"\1"}),
    "maps in maps": ("msgpack", lambda: {"a.msgpack": b"\x81\xa1a" * 100_000 + b"\1"}),
    "an array of four billion": ("msgpack", lambda: {"a.msgpack": b"\xdd\xff\xff\xff\xff" + b"\1" * 100}),
    "a map of four billion": ("msgpack", lambda: {"a.msgpack": b"\xdf\xff\xff\xff\xff" + b"\xa1a\1" * 100}),
    "bytes of four billion": ("msgpack", lambda: {"a.msgpack": b"\xc6\xff\xff\xff\xff" + b"\1" * 100}),
    "many points without fields": ("ply", lambda: {"a.ply": _PLY.format("ascii", 10**12, "").encode()}),
    "many points of text": ("ply", lambda: {"a.ply": _PLY.format("ascii", 10**12, "property float x\n").encode()}),
    "many points of bytes": ("ply", lambda: {"a.ply": _PLY.format("binary_little_endian", 2**62, "property float x\n").encode()}),
    "many properties": ("ply", lambda: {"a.ply": _PLY.format("ascii", 1, "property float x\n" * 100_000).encode()}),
    "many points": ("pcd", lambda: {"a.pcd": samples_clouds.pcd("binary", WIDTH=str(2**40), POINTS=str(2**40))}),
    "a field of many numbers": ("pcd", lambda: {"a.pcd": samples_clouds.pcd("ascii", COUNT="1 1 1 1 1 1000000000")}),
    "compressed points of four billion bytes": ("pcd", lambda: {"a.pcd": samples_clouds.pcd("binary_compressed", WIDTH="119304647", POINTS="119304647")}),
    "more points than numbers": ("las", lambda: {"a.las": las_of(2**64 - 1)}),
    "blocks of no bytes": ("pcap", lambda: {"a.pcapng": block(6, 0)}),
    "blocks of four billion bytes": ("pcap", lambda: {"a.pcapng": block(6, 2**32 - 4)}),
    "packets of four billion bytes": ("pcap", lambda: {"a.pcap": samples_pcap.pcap([]) + struct.pack("<4I", 0, 0, 2**32 - 1, 2**32 - 1)}),
    "a playlist of a file": ("video", lambda: {"a.mp4": _PLAYLIST.format("../secret.mp4").encode()}),
    "a playlist of the network": ("video", lambda: {"a.mp4": _PLAYLIST.format("http://127.0.0.1:9/x.mp4").encode()}),
    "a list of parts": ("video", lambda: {"a.mp4": b"ffconcat version 1.0\nfile ../secret.mp4\n"}),
    "a picture of two billion": ("images", lambda: {"a.png": png(2**31 - 1, 2**31 - 1)}),
    "a picture of many pixels": ("images", lambda: {"a.png": png(60_000, 60_000)}),
    "PostScript": ("images", lambda: {"a.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(../touched) (w) file\n"}),
    "members beside the folder": ("zip", lambda: zipped("../touched", "/tmp/touched", "..\\touched", "C:\\touched")),
    "members that are links": ("zip", lambda: zipped("a", link=True, data=b"../secret.txt")),
    "members of one name": ("zip", lambda: zipped("a", "a", "A")),
    "zeros in a ZIP": ("zip", lambda: zipped("a.txt", data=bytes(1 << 28))),
    "zeros in a ZIP of bzip2": ("zip", lambda: zipped("a.txt", data=bytes(1 << 28), method=zipfile.ZIP_BZIP2)),
    "zeros in a ZIP of LZMA": ("zip", lambda: zipped("a.txt", data=bytes(1 << 28), method=zipfile.ZIP_LZMA)),
    **{f"zeros in a TAR of {end}": ("tar", lambda end=end: tarred(_BOMBS[end], f".{end}", 1 << 24)) for end in _BOMBS},
    "a member beside the folder": ("tar", lambda: tarred(name="../touched")),
    "a member of a full name": ("tar", lambda: tarred(name="/tmp/touched")),
    "a link": ("tar", lambda: tarred(type=tarfile.SYMTYPE, linkname="../secret.txt")),
    "a hard link": ("tar", lambda: tarred(type=tarfile.LNKTYPE, linkname="../secret.txt")),
    "a device": ("tar", lambda: tarred(type=tarfile.CHRTYPE, devmajor=1, devminor=5)),
    "a pipe": ("tar", lambda: tarred(type=tarfile.FIFOTYPE)),
    "a sample beside the folder": ("webdataset", lambda: tarred(name="../../etc/passwd.txt")),
    "a link in a shard": ("webdataset", lambda: tarred(type=tarfile.SYMTYPE, linkname="../secret.txt")),
    "a link to another HDF5": ("hdf5", lambda: hdf5(link="../secret.hdf5")),
    "data in another file": ("hdf5", lambda: hdf5(external="../secret.txt")),
    "data of the system": ("hdf5", lambda: hdf5(external="/etc/passwd")),
    "a virtual dataset": ("hdf5", lambda: hdf5(virtual="../secret.hdf5")),
    "what is pickled in HDF5": ("hdf5", lambda: hdf5(opaque=True)),
    "what is pickled": ("zarr", zarr),
    "what is pickled without a filter": ("zarr", lambda: zarr(filters=None)),
    "an array of many rows": ("zarr", lambda: zarr(dtype="<f8", filters=None, shape=[2**60], chunks=[1])),
    "a chunk of many numbers": ("zarr", lambda: zarr(dtype="<f8", filters=None, shape=[2**60], chunks=[2**60])),
    "a text of many letters": ("zarr", lambda: zarr(dtype="<U2000000000", filters=None)),
    "a shard that points beyond": ("zarr", link_array),
    "videos elsewhere": ("lerobot", lambda: without_videos(lerobot(lambda info: info.update(video_path="../secret.mp4")))),
    "data elsewhere": ("lerobot", lambda: lerobot(lambda info: info.update(data_path="../secret.parquet"))),
    "data of the system in a pattern": ("lerobot", lambda: lerobot(lambda info: info.update(data_path="/etc/passwd"))),
    "a pattern of a great width": ("lerobot", lambda: without_videos(lerobot(lambda info: info.update(video_path="{episode_index:999999999999}")))),
    "a pattern that looks inside": ("lerobot", lambda: without_videos(lerobot(lambda info: info.update(video_path="{episode_index.__class__.__mro__}")))),
    "a pattern of version 3": ("lerobot", lambda: without_videos(lerobot(lambda info: info.update(video_path="../secret.mp4"), "v3"))),
    "a camera of another folder": ("lerobot", lambda: lerobot(lambda info: info["features"].update({"../../../..": info["features"][_CAMERA]}))),
    "a feature of many numbers": ("lerobot", lambda: lerobot(lambda info: info["features"]["action"].update(shape=[10**12]))),
    "a feature of many dimensions": ("lerobot", lambda: lerobot(lambda info: info["features"]["action"].update(shape=[1] * 100_000))),
    "many episodes": ("lerobot", lambda: lerobot(lambda info: info.update(total_episodes=10**15, total_chunks=10**15))),
    "an image elsewhere": ("lerobot", lambda: lerobot_images("../secret.mp4")),
    "an image of the system": ("lerobot", lambda: lerobot_images("/etc/passwd")),
    "a prompt elsewhere": ("cosmos", lambda: cosmos(prompt=None, prompt_path="../secret.txt")),
    "a prompt of the system": ("cosmos", lambda: cosmos(prompt=None, prompt_path="/etc/passwd")),
    "a video elsewhere": ("cosmos", lambda: cosmos(input_video_path="../secret.mp4")),
    "a control elsewhere": ("cosmos", lambda: cosmos(edge={"input_control": "../../inside/secret.mp4"})),
    "a table of videos elsewhere": ("cosmos", lambda: {**cosmos(), "metadata.csv": b"file_name,prompt\n../secret.mp4,x\n"}),
    "deep JSON beside clips": ("cosmos", lambda: {**cosmos(), "s.json": b"[" * 200_000}),
}  # fmt: skip
