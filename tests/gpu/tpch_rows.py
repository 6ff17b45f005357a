"""Small tables of TPC-H's schema, made so that each of its 22 queries has an answer."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.tpch_data import SCHEMAS

SCALE = 0.01
"""By which query 11 takes its fraction."""

_REGIONS = ("AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST")
_NATIONS = {"ALGERIA": 0, "BRAZIL": 1, "CANADA": 1, "CHINA": 2, "FRANCE": 3, "GERMANY": 3, "INDIA": 2, "KENYA": 0,
            "SAUDI ARABIA": 4, "IRAN": 4}  # fmt: skip
_SUPPLIERS, _CUSTOMERS, _PARTS, _ORDERS = 40, 150, 200, 1500
_FIRST = date(1992, 1, 1)


def write(folder: Path) -> None:
    """The eight tables as Parquet files in `folder`."""
    rng = np.random.default_rng(5)
    for name, columns in _tables(rng).items():
        schema = SCHEMAS[name]
        rows = len(next(iter(columns.values())))
        rest = {c: [f"{c} {k}" for k in range(rows)] for c in schema if c not in columns}  # texts that nothing asks of
        pl.DataFrame({**columns, **rest}).select(list(schema)).cast(schema).write_parquet(folder / f"{name}.parquet")  # type: ignore[arg-type]


def _tables(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    def of(values: tuple, count: int) -> np.ndarray:
        return np.array(values)[rng.integers(0, len(values), count)]

    def money(least: float, most: float, count: int) -> np.ndarray:
        return rng.uniform(least, most, count).round(2)

    pairs = np.repeat(np.arange(_PARTS), 4), (np.repeat(np.arange(_PARTS), 4) + np.tile([0, 9, 17, 30], _PARTS)) % 40
    ordered = rng.integers(0, 2400, _ORDERS)  # days
    lines = rng.integers(1, 8, _ORDERS)
    lines[:20] = 7
    of_order = np.repeat(np.arange(_ORDERS), lines)
    n = len(of_order)
    quantity = np.where(of_order < 20, 48, rng.integers(1, 51, n))  # the first orders are large
    pair = rng.integers(0, len(pairs[0]), n)
    shipped = ordered[of_order] + rng.integers(1, 122, n)
    return {
        "region": {"r_regionkey": np.arange(5), "r_name": _REGIONS},
        "nation": {
            "n_nationkey": np.arange(len(_NATIONS)), "n_name": list(_NATIONS), "n_regionkey": list(_NATIONS.values()),
        },
        "supplier": {
            "s_suppkey": np.arange(_SUPPLIERS),
            "s_nationkey": np.arange(_SUPPLIERS) % len(_NATIONS),
            "s_acctbal": money(-999, 9999, _SUPPLIERS),
            "s_comment": of(("quick", "slow Customer some Complaints", "Customer praise"), _SUPPLIERS),
        },
        "customer": {
            "c_custkey": np.arange(_CUSTOMERS),
            "c_nationkey": np.arange(_CUSTOMERS) % len(_NATIONS),
            "c_phone": of(("13-555", "31-555", "11-555", "17-555"), _CUSTOMERS),
            "c_acctbal": money(-999, 9999, _CUSTOMERS),
            "c_mktsegment": of(("BUILDING", "MACHINERY"), _CUSTOMERS),
        },
        "part": {
            "p_partkey": np.arange(_PARTS),
            "p_name": of(("forest green", "forest blue", "dark green", "pale red"), _PARTS),
            "p_brand": of(("Brand#12", "Brand#23", "Brand#34", "Brand#45"), _PARTS),
            "p_type": of(("ECONOMY ANODIZED STEEL", "PROMO BRASS", "MEDIUM POLISHED TIN", "LARGE BRASS"), _PARTS),
            "p_size": of((1, 3, 15, 49), _PARTS),
            "p_container": of(("SM CASE", "MED BOX", "LG BOX"), _PARTS),
            "p_retailprice": money(900, 2000, _PARTS),
        },
        "partsupp": {
            "ps_partkey": pairs[0],
            "ps_suppkey": pairs[1],
            "ps_availqty": rng.integers(1, 9999, len(pairs[0])),
            "ps_supplycost": money(1, 1000, len(pairs[0])),
        },
        "orders": {
            "o_orderkey": np.arange(_ORDERS),
            "o_custkey": rng.integers(0, _CUSTOMERS * 2 // 3, _ORDERS),
            "o_orderstatus": of(("F", "O"), _ORDERS),
            "o_totalprice": money(1000, 400000, _ORDERS),
            "o_orderdate": _days(ordered),
            "o_orderpriority": of(("1-URGENT", "2-HIGH", "3-MEDIUM", "5-LOW"), _ORDERS),
            "o_shippriority": np.zeros(_ORDERS, np.int64),
            "o_comment": of(("some special kind requests", "requests of a special kind", "none"), _ORDERS),
        },
        "lineitem": {
            "l_orderkey": of_order,
            "l_partkey": pairs[0][pair],
            "l_suppkey": pairs[1][pair],
            "l_linenumber": np.arange(n),
            "l_quantity": quantity,
            "l_extendedprice": money(900, 90000, n),
            "l_discount": rng.integers(0, 11, n) / 100,
            "l_tax": rng.integers(0, 9, n) / 100,
            "l_returnflag": of(("R", "A", "N"), n),
            "l_linestatus": of(("F", "O"), n),
            "l_shipdate": _days(shipped),
            "l_commitdate": _days(ordered[of_order] + rng.integers(30, 91, n)),
            "l_receiptdate": _days(shipped + rng.integers(1, 31, n)),
            "l_shipinstruct": of(("DELIVER IN PERSON", "NONE"), n),
            "l_shipmode": of(("AIR", "MAIL", "SHIP"), n),
        },
    }  # fmt: skip


def _days(number: np.ndarray) -> pl.Series:
    return pl.Series(np.datetime64(_FIRST, "D") + number.astype("timedelta64[D]")).cast(pl.Date)
