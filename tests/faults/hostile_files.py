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

from robodf.compat import POLARS

SECRET = "open-sesame"
"""What the files around a data set hold: it must not come out of any frame."""


def surroundings(folder: Path) -> None:
    """Files beside the folder `target` in which data sets lie: what they must not reach."""
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.json").write_text(json.dumps([{"a": SECRET}]))
    (folder / "secret.mp4").write_bytes(samples_video.video("mp4", "libx264", frames=5))
    rows = samples_lerobot.rows(0, 0, 5).with_columns(note=pl.lit(SECRET))
    rows.write_parquet(folder / "secret.parquet")


class Code:
    """Runs where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, (SECRET,)


def one(kind: str, ending: str, make: Callable[[], bytes | str]) -> tuple[str, Callable[[], DataSet]]:
    """A data set of one file."""

    def files() -> DataSet:
        data = make()
        return {f"a{ending}": data.encode() if isinstance(data, str) else data}

    return kind, files


def lerobot(version: str = "v2", videos: bool = True, feature: tuple[str, list[int]] | None = None,
            **changes: Any) -> DataSet:  # fmt: skip
    """A data set with a changed info.json: other values, or another shape of a feature."""
    files = KINDS["lerobot"].sets[version]
    info = json.loads(files["meta/info.json"]) | changes
    if feature is not None:
        name, shape = feature
        info["features"][name] = {"dtype": "float32"} | info["features"].get(name, {}) | {"shape": shape}
    kept = {name: data for name, data in files.items() if videos or not name.endswith(".mp4")}
    return {**kept, "meta/info.json": json.dumps(info).encode()}


def lerobot_images(name: str) -> DataSet:
    """Images of a data set that lie where a Parquet file says."""
    files = dict(lerobot(feature=("image", [4, 4, 3])))
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
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


_ENTITY = '<?xml version="1.0"?><!DOCTYPE robot [<!ENTITY e SYSTEM "{}">]><robot name="r"><link name="&e;"/></robot>'
_LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 12))
_LAUGHS = f'<!DOCTYPE robot [<!ENTITY l0 "{"ha" * 50}">{_LAUGHS}]><robot name="&l11;"/>'
_QUADRATIC = f'<!DOCTYPE robot [<!ENTITY a "{"a" * 50_000}">]><robot name="r"><link name="{"&a;" * 50_000}"/></robot>'
_DTD = '<!DOCTYPE robot SYSTEM "../secret.txt"><robot name="r"><link name="l"/></robot>'
_INCLUDE = ('<robot name="r" xmlns:xi="http://www.w3.org/2001/XInclude"><link name="l"/>'
            '<xi:include href="../secret.txt" parse="text"/></robot>')  # fmt: skip
_ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12))
_MERGES = "m0: &m0 {a: 1}\n" + "".join(f"m{k}: &m{k} {{<<: [{', '.join([f'*m{k - 1}'] * 9)}]}}\n" for k in range(1, 12))
_POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(../touched) (w) file\n"
_CLIPS = b"file_name,prompt\n../secret.mp4,x\n"
_PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
_X = "property float x\n"
_PLY = "ply\nformat {} 1.0\nelement vertex {}\n{}end_header\n"
_BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress,
}  # fmt: skip


def las_of(points: int) -> bytes:
    data = bytearray(samples_clouds.las("1.4", 6))
    struct.pack_into("<Q", data, 247, points)
    return bytes(data)


def packed_points() -> bytes:
    return samples_clouds.pcd("binary_compressed", WIDTH="119304647", POINTS="119304647")


def large_packet() -> bytes:
    return samples_pcap.pcap([]) + struct.pack("<4I", 0, 0, 2**32 - 1, 2**32 - 1)


def block(kind: int, size: int) -> bytes:
    return samples_pcap.pcapng([]) + struct.pack("<II", kind, size) + bytes(64)


HOSTILE: dict[str, tuple[str, Callable[[], DataSet]]] = {
    "an entity that is a file": one("urdf", ".urdf", lambda: _ENTITY.format("../secret.txt")),
    "an entity that is a file of the system": one("urdf", ".urdf", lambda: _ENTITY.format("file:///etc/passwd")),
    "an entity of the network": one("urdf", ".urdf", lambda: _ENTITY.format("http://127.0.0.1:9/x")),
    "a DTD that is a file": one("urdf", ".urdf", lambda: _DTD),
    "a billion laughs": one("urdf", ".urdf", lambda: _LAUGHS),
    "a long entity many times": one("urdf", ".urdf", lambda: _QUADRATIC),
    "an XInclude": one("urdf", ".urdf", lambda: _INCLUDE),
    "deep elements": one("urdf", ".urdf", lambda: b'<robot name="r">' + b"<a>" * 100_000),
    "a billion laughs in a world": one("sdf", ".sdf", lambda: _LAUGHS.replace("robot", "sdf")),
    "an entity in a world": one("sdf", ".sdf", lambda: _ENTITY.format("../secret.txt").replace("robot", "sdf")),
    "models in models": one("sdf", ".sdf", lambda: b"<sdf>" + b'<model name="m">' * 50_000),
    "aliases of aliases": one("yaml", ".yaml", lambda: _ALIASES),
    "merges of merges": one("yaml", ".yaml", lambda: _MERGES),
    "an alias of itself": one("yaml", ".yaml", lambda: b"a: &a [*a]"),
    "deep lists": one("yaml", ".yaml", lambda: b"a: " + b"[" * 500),
    "deep blocks": one("yaml", ".yaml", lambda: b"- " * 20_000 + b"1"),
    "a tag of Python": one("yaml", ".yaml", lambda: b'a: !!python/object/apply:os.system ["touch ../touched"]\n'),
    "a number of many digits": one("yaml", ".yaml", lambda: b"a: " + b"9" * 50_000),
    "a number of base 60": one("yaml", ".yaml", lambda: b"a: 1" + b":59" * 20_000),
    "aliases in a calibration": one("calibration", ".yaml", lambda: _ALIASES),
    "a large matrix": one("calibration", ".yaml", lambda: b"camera_matrix: {rows: 100000, cols: 100000, data: [1]}"),
    "deep JSON": one("json", ".json", lambda: b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]"),
    "deep objects": one("json", ".json", lambda: b"[" + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]"),
    "open lists": one("json", ".json", lambda: b"[" * 500_000),
    "many columns": one("csv", ".csv", lambda: b"a," * 5_000 + b"\n" + b"1," * 5_000),
    "an open quote": one("csv", ".csv", lambda: b'a,b\n"' + b"x,\n" * 300_000),
    "deep MessagePack": one("msgpack", ".msgpack", lambda: b"\x91" * 200_000 + b"\1"),
    "maps in maps": one("msgpack", ".msgpack", lambda: b"\x81\xa1a" * 100_000 + b"\1"),
    "an array of four billion": one("msgpack", ".msgpack", lambda: b"\xdd\xff\xff\xff\xff" + b"\1" * 100),
    "a map of four billion": one("msgpack", ".msgpack", lambda: b"\xdf\xff\xff\xff\xff" + b"\xa1a\1" * 100),
    "bytes of four billion": one("msgpack", ".msgpack", lambda: b"\xc6\xff\xff\xff\xff" + b"\1" * 100),
    "many points without fields": one("ply", ".ply", lambda: _PLY.format("ascii", 10**12, "")),
    "many points of text": one("ply", ".ply", lambda: _PLY.format("ascii", 10**12, _X)),
    "many points of bytes": one("ply", ".ply", lambda: _PLY.format("binary_little_endian", 10**17, _X)),
    "many properties": one("ply", ".ply", lambda: _PLY.format("ascii", 1, _X * 100_000)),
    "many points": one("pcd", ".pcd", lambda: samples_clouds.pcd("binary", WIDTH=str(2**40), POINTS=str(2**40))),
    "a field of many numbers": one("pcd", ".pcd", lambda: samples_clouds.pcd("ascii", COUNT="1 1 1 1 1 1000000000")),
    "compressed points of four billion bytes": one("pcd", ".pcd", packed_points),
    "more points than numbers": one("las", ".las", lambda: las_of(2**64 - 1)),
    "blocks of no bytes": one("pcap", ".pcapng", lambda: block(6, 0)),
    "blocks of four billion bytes": one("pcap", ".pcapng", lambda: block(6, 2**32 - 4)),
    "packets of four billion bytes": one("pcap", ".pcap", large_packet),
    "a playlist of a file": one("video", ".mp4", lambda: _PLAYLIST.format("../secret.mp4")),
    "a playlist of the network": one("video", ".mp4", lambda: _PLAYLIST.format("http://127.0.0.1:9/x.mp4")),
    "a list of parts": one("video", ".mp4", lambda: b"ffconcat version 1.0\nfile ../secret.mp4\n"),
    "a picture of two billion": one("images", ".png", lambda: png(2**31 - 1, 2**31 - 1)),
    "a picture of many pixels": one("images", ".png", lambda: png(60_000, 60_000)),
    "PostScript": one("images", ".png", lambda: _POSTSCRIPT),
    "members beside the folder": ("zip", lambda: zipped("../touched", "/tmp/touched", "..\\touched", "C:\\touched")),
    "members that are links": ("zip", lambda: zipped("a", link=True, data=b"../secret.txt")),
    "members of one name": ("zip", lambda: zipped("a", "a", "A")),
    "zeros in a ZIP": ("zip", lambda: zipped("a.txt", data=bytes((1 << 26) + 1))),
    "zeros in a ZIP of bzip2": ("zip", lambda: zipped("a.txt", data=bytes(1 << 20), method=zipfile.ZIP_BZIP2)),
    "zeros in a ZIP of LZMA": ("zip", lambda: zipped("a.txt", data=bytes(1 << 20), method=zipfile.ZIP_LZMA)),
    **{f"zeros in a TAR of {end}": ("tar", lambda end=end: tarred(_BOMBS[end], f".{end}", 1 << 21)) for end in _BOMBS},
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
    "videos elsewhere": ("lerobot", lambda: lerobot(videos=False, video_path="../secret.mp4")),
    "data elsewhere": ("lerobot", lambda: lerobot(data_path="../secret.parquet")),
    "data of the system in a pattern": ("lerobot", lambda: lerobot(data_path="/etc/passwd")),
    "a pattern of a great width": ("lerobot", lambda: lerobot(videos=False, video_path="{episode_index:999999999999}")),
    "a pattern that looks inside": ("lerobot", lambda: lerobot(videos=False, video_path="{episode_index.__class__}")),
    "a pattern of version 3": ("lerobot", lambda: lerobot("v3", videos=False, video_path="../secret.mp4")),
    "a camera of another folder": ("lerobot", lambda: lerobot(feature=("../../../..", [16, 32, 3]))),
    "a feature of many numbers": ("lerobot", lambda: lerobot(feature=("action", [10**12]))),
    "a feature of many dimensions": ("lerobot", lambda: lerobot(feature=("action", [1] * 100_000))),
    "many episodes": ("lerobot", lambda: lerobot(total_episodes=10**15, total_chunks=10**15)),
    "an image elsewhere": ("lerobot", lambda: lerobot_images("../secret.mp4")),
    "an image of the system": ("lerobot", lambda: lerobot_images("/etc/passwd")),
    "a prompt elsewhere": ("cosmos", lambda: cosmos(prompt=None, prompt_path="../secret.txt")),
    "a prompt of the system": ("cosmos", lambda: cosmos(prompt=None, prompt_path="/etc/passwd")),
    "a video elsewhere": ("cosmos", lambda: cosmos(input_video_path="../secret.mp4")),
    "a control elsewhere": ("cosmos", lambda: cosmos(edge={"input_control": "../../inside/secret.mp4"})),
    "a table of videos elsewhere": ("cosmos", lambda: {**cosmos(), "metadata.csv": _CLIPS}),
    "deep JSON beside clips": ("cosmos", lambda: {**cosmos(), "s.json": b"[" * 200_000}),
}  # fmt: skip

if POLARS >= (2, 0):  # a line that is nested some thousands deep ends the process of 1.44, which reads it by itself
    HOSTILE |= {
        "deep JSON on a line": one("ndjson", ".ndjson", lambda: b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"),
        "deep objects on a line": one("ndjson", ".ndjson", lambda: b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n"),
    }
