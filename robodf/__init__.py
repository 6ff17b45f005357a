"""robodf: a lazy, planned DataFrame that turns robot recordings into training data.

>>> import robodf as rd
>>> df = rd.from_dict({"quality": [0.4, 0.9], "caption": ["pick", "place"]})
>>> df.filter(lambda x: x["quality"] > 0.8).collect()["caption"].to_list()
['place']
"""

from polars import selectors

from robodf import errors, ros, text
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
from robodf.io.hdf5 import open_hdf5, read_hdf5
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
from robodf.io.zarr import read_zarr
from robodf.plan.expr import Expr
from robodf.plan.functions import *  # noqa: F403 - the names are generated: see plan/functions.py
from robodf.plan.functions import __all__ as _functions
from robodf.sql import sql

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
    "embed",
    "errors",
    "from_arrow",
    "from_dict",
    "from_pandas",
    "from_polars",
    "from_ray",
    "from_records",
    "from_source",
    "open_hdf5",
    "open_log",
    "phash",
    "read",
    "read_csv",
    "read_hdf5",
    "read_ipc",
    "read_json",
    "read_log",
    "read_mcap",
    "read_ndjson",
    "read_parquet",
    "read_rosbag",
    "read_text",
    "read_zarr",
    "ros",
    "selectors",
    "sql",
    "text",
    "words",
    *_functions,
]
