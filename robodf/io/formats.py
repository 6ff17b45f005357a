"""The formats that `rd.read` knows: how each is recognised, and what reads it.

A format is one line of `FORMATS`. Packages add theirs by an entry point of the group "robodf.sources" that names a
`Format`; they are asked after our own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from robodf.errors import OptionError
from robodf.io.files import own_path
from robodf.io.logs.containers import LOG_FILES, LOG_MAGIC

HEAD = 4096
"""Bytes from the start of a file that a format is recognised by."""


@dataclass(frozen=True)
class Format:
    """`name`, and the reader "module:function", which takes paths and keyword options.

    A file is of the first format with one of its `magic` bytes (offset, bytes) at the start, or whose `sniff`
    ("module:function") says so of the first bytes and the size of a file; else its extension tells. Where neither does,
    `unnamed` is asked as `sniff` is: for text, which may be of several formats. `folder` ("module:function") says of a
    directory whether it is one data set of this format, such as a folder of LeRobot.
    """

    name: str
    reader: str
    extensions: tuple[str, ...] = ()
    magic: tuple[tuple[int, bytes], ...] = ()
    sniff: str | None = None
    unnamed: str | None = None
    folder: str | None = None

    def read(self, *args: Any, **options: Any) -> Any:
        """What the reader makes of the paths."""
        return function(self.reader)(*args, **options)


_READ, _TEXT = "robodf.io.read:", "robodf.io.unnamed_text:"
_CLOUDS, _CLOUD_MAGIC = (".pcd", ".ply", ".las", ".laz"), ((0, b"ply\n"), (0, b"ply\r"), (0, b"LASF"))
_CAPTURES = (".pcap", ".pcapng", ".cap")
TAR_FILES = tuple(".tar .tar.gz .tgz .tar.bz2 .tbz2 .tar.xz .txz .tar.zst .tar.zstd .tzst".split())
IMAGE_FILES = tuple(".jpg .jpeg .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .jp2".split())

_VIDEO = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".mpeg", ".flv", ".h264", ".h265",
    ".hevc", ".obu", ".ivf", ".y4m",
)  # fmt: skip

_MATROSKA = ((0, b"\x1a\x45\xdf\xa3"),)
_LINES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")

FORMATS: tuple[Format, ...] = (
    Format("parquet", _READ + "read_parquet", (".parquet", ".pq"), ((0, b"PAR1"),)),
    Format("csv", _READ + "read_csv", (".csv", ".tsv", ".csv.gz")),
    Format(
        "ndjson", _READ + "read_ndjson", (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz"), unnamed=_TEXT + "is_ndjson"
    ),
    Format("json", _READ + "read_json", (".json",), unnamed=_TEXT + "is_json"),
    Format("ipc", _READ + "read_ipc", (".arrow", ".ipc", ".feather"), ((0, b"ARROW1"),)),
    Format("text", _READ + "read_text", (".txt", ".log")),
    Format("log", _READ + "read_log", tuple(LOG_FILES), tuple((0, magic) for magic, _ in LOG_MAGIC)),
    Format("yaml", "robodf.io.yaml_files:read_yaml", (".yaml", ".yml"), unnamed=_TEXT + "is_yaml"),
    Format("calibration", "robodf.io.calibration:read_calibration", (".ini",)),  # its YAML by name only
    Format("msgpack", "robodf.io.msgpack_files:read_msgpack", (".msgpack", ".mpk")),
    Format("binary", "robodf.io.binary_files:read_binary"),  # by name only: nothing tells its fields
    Format("protobuf", "robodf.io.protobuf_files:read_protobuf"),  # by name only: its schema lies elsewhere
    Format("urdf", "robodf.io.robots:read_urdf", (".urdf",), unnamed=_TEXT + "is_urdf"),
    Format("sdf", "robodf.io.robots:read_sdf", (".sdf", ".world"), unnamed=_TEXT + "is_sdf"),
    Format("mcap", _READ + "read_mcap", (".mcap",)),  # of logs these alone
    Format("cosmos", "robodf.io.cosmos:read_cosmos", folder="robodf.io.cosmos:is_cosmos"),
    Format("lerobot", "robodf.io.lerobot:read_lerobot", folder="robodf.io.lerobot.tree:is_lerobot"),
    Format(
        "video", "robodf.io.video:read_video", _VIDEO, ((0, b"\x1a\x45\xdf\xa3"),), "robodf.io.video.sniff:is_video"
    ),
    Format("points", "robodf.io.clouds:read_points", _CLOUDS, _CLOUD_MAGIC, "robodf.io.clouds.pcd:sniff"),
    Format("clouds", "robodf.io.clouds:read_clouds", _CLOUDS),  # one row a file
    Format("pcap", "robodf.io.pcap:read_pcap", _CAPTURES, sniff="robodf.io.pcap:sniff"),
    Format("velodyne", "robodf.io.pcap:read_velodyne", _CAPTURES),  # scans of the packets
    Format("trajectory", "robodf.io.trajectory:read_trajectory", (".tum", ".kitti"), (), "robodf.io.trajectory:sniff"),
    Format("images", "robodf.io.images:read_images", IMAGE_FILES, sniff="robodf.images.pillow:is_image"),
    Format("zip", "robodf.io.archives.zip:read_zip", (".zip",), ((0, b"PK\3\4"), (0, b"PK\5\6"))),
    Format("tar", "robodf.io.archives.tar:read_tar", TAR_FILES, ((257, b"ustar"),)),
    Format("webdataset", "robodf.io.archives.webdataset:read_webdataset", TAR_FILES),  # by name: it is a TAR archive
    Format("hdf5", "robodf.io.hdf5:read_hdf5", (".hdf5", ".h5", ".hdf", ".he5"), ((0, b"\x89HDF\r\n\x1a\n"),)),
    Format("delta", "robodf.io.delta:read_delta", folder="robodf.io.delta:is_delta"),
    # After Delta: a Delta table may have metadata of Iceberg beside its log, which is what counts.
    Format("iceberg", "robodf.io.iceberg:read_iceberg", folder="robodf.io.iceberg:is_iceberg"),
    Format("zarr", "robodf.io.zarr:read_zarr", folder="robodf.io.zarr:is_zarr"),
)


@cache
def formats() -> dict[str, Format]:
    """All formats by name, those of installed packages too.

    OptionError where an entry point names something else, or a name that is taken.
    """
    from importlib.metadata import entry_points

    found = {format.name: format for format in FORMATS}
    for point in entry_points(group="robodf.sources"):
        format = point.load()
        if not isinstance(format, Format):
            raise OptionError(f"the entry point {point.name!r} of {point.value} is no robodf.io.formats.Format")
        if format.name in found:
            raise OptionError(f"the entry point {point.name!r}: there is a format {format.name!r} already")
        found[format.name] = format
    return found


@cache
def extensions() -> dict[str, str]:
    """The format that each extension stands for: the first that names it."""
    found: dict[str, str] = {}
    for format in formats().values():
        for extension in format.extensions:
            found.setdefault(extension, format.name)
    return found


def format_of(path: str, head: bytes, size: int) -> str | None:
    """The name of the format of a file, by its first `HEAD` bytes, then by its name; None where nothing tells."""
    for format in formats().values():
        if any(head[at : at + len(magic)] == magic for at, magic in format.magic):
            return format.name
    for format in formats().values():
        if format.sniff is not None and function(format.sniff)(head, size):
            return format.name
    lower = own_path(path).lower()
    ends = [e for e in extensions() if lower.endswith(e)]
    if ends:
        return extensions()[max(ends, key=len)]
    for format in formats().values():
        if format.unnamed is not None and function(format.unnamed)(head, size):
            return format.name
    return None


def folder_format(path: str) -> str | None:
    """The format of which a directory is one data set, or None."""
    for format in formats().values():
        if format.folder is not None and function(format.folder)(path):
            return format.name
    return None


def function(name: str) -> Callable[..., Any]:
    """The function that "module:function" of a format names."""
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)
