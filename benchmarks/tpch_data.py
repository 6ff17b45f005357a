"""The tables of TPC-H, made by tpchgen-cli and kept in benchmarks/data/ as Parquet: a file a table.

    pip install tpchgen-cli        # Apache-2.0, https://github.com/datafusion-contrib/tpcgen-rs

Prices become floats and keys 64-bit integers: what is compared is engines, and not their decimals.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

import robodf as rd
from benchmarks.measure import DATA, version
from benchmarks.tpch_queries import Tables

_I, _F, _S, _D = pl.Int64(), pl.Float64(), pl.String(), pl.Date()

SCHEMAS: dict[str, dict[str, pl.DataType]] = {
    "region": {"r_regionkey": _I, "r_name": _S, "r_comment": _S},
    "nation": {"n_nationkey": _I, "n_name": _S, "n_regionkey": _I, "n_comment": _S},
    "supplier": {"s_suppkey": _I, "s_name": _S, "s_address": _S, "s_nationkey": _I, "s_phone": _S, "s_acctbal": _F,
                 "s_comment": _S},
    "customer": {"c_custkey": _I, "c_name": _S, "c_address": _S, "c_nationkey": _I, "c_phone": _S, "c_acctbal": _F,
                 "c_mktsegment": _S, "c_comment": _S},
    "part": {"p_partkey": _I, "p_name": _S, "p_mfgr": _S, "p_brand": _S, "p_type": _S, "p_size": _I, "p_container": _S,
             "p_retailprice": _F, "p_comment": _S},
    "partsupp": {"ps_partkey": _I, "ps_suppkey": _I, "ps_availqty": _I, "ps_supplycost": _F, "ps_comment": _S},
    "orders": {"o_orderkey": _I, "o_custkey": _I, "o_orderstatus": _S, "o_totalprice": _F, "o_orderdate": _D,
               "o_orderpriority": _S, "o_clerk": _S, "o_shippriority": _I, "o_comment": _S},
    "lineitem": {"l_orderkey": _I, "l_partkey": _I, "l_suppkey": _I, "l_linenumber": _I, "l_quantity": _F,
                 "l_extendedprice": _F, "l_discount": _F, "l_tax": _F, "l_returnflag": _S, "l_linestatus": _S,
                 "l_shipdate": _D, "l_commitdate": _D, "l_receiptdate": _D, "l_shipinstruct": _S, "l_shipmode": _S,
                 "l_comment": _S},
}  # fmt: skip

_ROW_GROUP = 1 << 20


def tables(scale: float) -> Path:
    """A folder with the eight tables at a scale factor (1 is 6 million lines), made if it is not there."""
    folder = DATA / f"tpch-{scale:g}"
    mark = folder / "complete.json"
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        raw = folder / "raw"
        raw.mkdir(parents=True)
        _generate(scale, raw)
        for name, schema in SCHEMAS.items():
            rows = pl.scan_parquet(raw / f"{name}.parquet")
            rows.cast(schema).select(list(schema)).sink_parquet(folder / f"{name}.parquet", row_group_size=_ROW_GROUP)  # type: ignore[arg-type]
        shutil.rmtree(raw)
        mark.write_text(json.dumps({"scale": scale, "tpchgen-cli": version("tpchgen-cli")}), encoding="utf-8")
    return folder


def _generate(scale: float, folder: Path) -> None:
    tool = shutil.which("tpchgen-cli", path=str(Path(sys.executable).parent)) or shutil.which("tpchgen-cli")
    if tool is None:
        raise SystemExit("the tables of TPC-H are made by tpchgen-cli: pip install tpchgen-cli")
    subprocess.run([tool, "parquet", "--scale-factor", f"{scale:g}", "--output-dir", str(folder)], check=True)


def opened(folder: Path, library: Any, scale: float) -> Tables:
    """The tables as frames of a library, robodf or polars."""
    read = rd.read_parquet if library is rd else pl.scan_parquet
    return Tables({name: read(str(folder / f"{name}.parquet")) for name in SCHEMAS}, library, scale)


def size_of(folder: Path) -> int:
    """Bytes of the files."""
    return sum(file.stat().st_size for file in folder.glob("*.parquet"))
