"""robodf: a lazy, planned DataFrame that turns robot recordings into training data.

>>> import robodf as rd
>>> df = rd.from_dict({"quality": [0.4, 0.9], "caption": ["pick", "place"]})
>>> df.filter(lambda x: x["quality"] > 0.8).collect()["caption"].to_list()
['place']
"""

from typing import TYPE_CHECKING, Any

from polars import selectors

from robodf import errors, ros, text
from robodf.clouds.voxels import voxel_downsample
from robodf.config import config
from robodf.dedup.phash import phash
from robodf.dedup.shingles import Chars as chars
from robodf.dedup.shingles import Words as words
from robodf.frame.aligning import align
from robodf.frame.dedup_index import DedupIndex
from robodf.frame.deduping import best
from robodf.frame.embedding import embed
from robodf.frame.frame import PipelineDataFrame
from robodf.frame.joining import concat
from robodf.frame.making import from_arrow, from_dict, from_pandas, from_polars, from_ray, from_records
from robodf.images.decode import decode
from robodf.images.encode import encode_image, pixels
from robodf.io.archives.tar import read_tar
from robodf.io.archives.webdataset import read_webdataset
from robodf.io.archives.zip import read_zip
from robodf.io.binary_files import read_binary
from robodf.io.calibration import read_calibration
from robodf.io.clouds import (
    read_clouds,
    read_points,
)
from robodf.io.cosmos import read_cosmos
from robodf.io.delta import read_delta
from robodf.io.hdf5 import open_hdf5, read_hdf5
from robodf.io.iceberg import read_iceberg
from robodf.io.images import read_images
from robodf.io.lerobot import read_lerobot
from robodf.io.msgpack_files import read_msgpack
from robodf.io.pcap import (
    read_pcap,
    read_velodyne,
)
from robodf.io.protobuf_files import read_protobuf
from robodf.io.read import (
    from_source,
    open_log,
    read,
    read_csv,
    read_ipc,
    read_json,
    read_log,
    read_mcap,
    read_ndjson,
    read_parquet,
    read_rosbag,
    read_text,
)
from robodf.io.robots import forward_kinematics, read_sdf, read_urdf
from robodf.io.trajectory import read_trajectory
from robodf.io.video import cut_video, read_video
from robodf.io.yaml_files import read_yaml
from robodf.io.zarr import read_zarr
from robodf.plan.expr import Expr
from robodf.plan.functions import *  # noqa: F403 - the names are generated: see plan/functions.py
from robodf.plan.functions import __all__ as _functions
from robodf.sql import sql

if TYPE_CHECKING:
    from robodf import gpu

__version__ = "0.1.0"

__all__ = [
    "DedupIndex",
    "Expr",
    "PipelineDataFrame",
    "align",
    "best",
    "chars",
    "concat",
    "config",
    "cut_video",
    "decode",
    "embed",
    "encode_image",
    "errors",
    "from_arrow",
    "from_dict",
    "from_pandas",
    "from_polars",
    "from_ray",
    "from_records",
    "from_source",
    "gpu",
    "open_hdf5",
    "open_log",
    "phash",
    "pixels",
    "read",
    "read_cosmos",
    "read_clouds",
    "read_csv",
    "read_delta",
    "read_images",
    "read_hdf5",
    "read_iceberg",
    "read_ipc",
    "read_json",
    "read_lerobot",
    "read_log",
    "read_mcap",
    "read_ndjson",
    "read_parquet",
    "read_pcap",
    "read_points",
    "read_rosbag",
    "read_tar",
    "read_text",
    "read_video",
    "read_trajectory",
    "read_velodyne",
    "read_webdataset",
    "read_zip",
    "read_zarr",
    "ros",
    "selectors",
    "sql",
    "text",
    "forward_kinematics",
    "read_binary",
    "read_calibration",
    "read_msgpack",
    "read_protobuf",
    "read_sdf",
    "read_urdf",
    "read_yaml",
    "voxel_downsample",
    "words",
    *_functions,
]


def __getattr__(name: str) -> Any:
    """`rd.gpu`, which few programs use, is imported by the first one that names it."""
    if name == "gpu":
        import importlib

        return importlib.import_module("robodf.gpu")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
