"""The 22 queries of TPC-H as frames, over empty Parquet tables of its schema (prices are floats, keys are integers).

They are for plans, not for answers: what of a query goes to a GPU depends on its operators, types and sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import polars as pl
from sized import sized

import robodf as rd
from robodf import PipelineDataFrame as Frame
from robodf import col

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

ROWS = {"region": 5, "nation": 25, "supplier": 10_000, "customer": 150_000, "part": 200_000, "partsupp": 800_000,
        "orders": 1_500_000, "lineitem": 6_000_000}  # fmt: skip
"""Of scale factor 1. Regions and nations are the same at any."""

BYTES_A_ROW = {"region": 80, "nation": 90, "supplier": 80, "customer": 85, "part": 35, "partsupp": 55, "orders": 40,
               "lineitem": 35}  # fmt: skip
"""About, of a row in Parquet, compressed."""

Tables = Mapping[str, Frame]


def tables(folder: Path, scale: int) -> dict[str, Frame]:
    """The eight tables, without rows, as files in `folder`, which say that they are as large as at a scale factor."""
    found = {}
    for name, schema in SCHEMAS.items():
        rows = ROWS[name] * (1 if name in ("region", "nation") else scale)
        found[name] = sized(folder / f"{name}.parquet", schema, rows, rows * BYTES_A_ROW[name])
    return found


_REVENUE = col("l_extendedprice") * (1 - col("l_discount"))


def _q1(t: Tables) -> Frame:
    return (
        t["lineitem"]
        .filter(col("l_shipdate") <= date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            sum_qty=col("l_quantity").sum(),
            sum_base_price=col("l_extendedprice").sum(),
            sum_disc_price=_REVENUE.sum(),
            sum_charge=(_REVENUE * (1 + col("l_tax"))).sum(),
            avg_qty=col("l_quantity").mean(),
            avg_price=col("l_extendedprice").mean(),
            avg_disc=col("l_discount").mean(),
            count_order=rd.len(),
        )
        .sort("l_returnflag", "l_linestatus")
    )


def _suppliers_of(t: Tables, region: str) -> Frame:
    return (
        t["region"]
        .filter(col("r_name") == region)
        .join(t["nation"], left_on="r_regionkey", right_on="n_regionkey")
        .join(t["supplier"], left_on="n_nationkey", right_on="s_nationkey")
    )


def _q2(t: Tables) -> Frame:
    offers = (
        t["part"]
        .filter((col("p_size") == 15) & col("p_type").str.ends_with("BRASS"))
        .join(t["partsupp"], left_on="p_partkey", right_on="ps_partkey")
        .join(_suppliers_of(t, "EUROPE"), left_on="ps_suppkey", right_on="s_suppkey")
    )
    best = offers.group_by("p_partkey").agg(col("ps_supplycost").min())
    return (
        offers.join(best, on=["p_partkey", "ps_supplycost"])
        .select("s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment")
        .sort("s_acctbal", "n_name", "s_name", "p_partkey", descending=[True, False, False, False])
        .head(100)
    )


def _q3(t: Tables) -> Frame:
    return (
        t["customer"]
        .filter(col("c_mktsegment") == "BUILDING")
        .join(t["orders"].filter(col("o_orderdate") < date(1995, 3, 15)), left_on="c_custkey", right_on="o_custkey")
        .join(t["lineitem"].filter(col("l_shipdate") > date(1995, 3, 15)), left_on="o_orderkey", right_on="l_orderkey")
        .group_by("o_orderkey", "o_orderdate", "o_shippriority")
        .agg(revenue=_REVENUE.sum())
        .sort("revenue", "o_orderdate", descending=[True, False])
        .head(10)
    )


def _quarter(name: str, year: int, month: int) -> rd.Expr:
    return col(name).is_between(date(year, month, 1), date(year, month + 3, 1), closed="left")


def _q4(t: Tables) -> Frame:
    late = t["lineitem"].filter(col("l_commitdate") < col("l_receiptdate"))
    return (
        t["orders"]
        .filter(_quarter("o_orderdate", 1993, 7))
        .join(late, left_on="o_orderkey", right_on="l_orderkey", how="semi")
        .group_by("o_orderpriority")
        .agg(order_count=rd.len())
        .sort("o_orderpriority")
    )


def _year(name: str, year: int) -> rd.Expr:
    return col(name).is_between(date(year, 1, 1), date(year + 1, 1, 1), closed="left")


def _q5(t: Tables) -> Frame:
    return (
        _suppliers_of(t, "ASIA")
        .join(t["lineitem"], left_on="s_suppkey", right_on="l_suppkey")
        .join(t["orders"].filter(_year("o_orderdate", 1994)), left_on="l_orderkey", right_on="o_orderkey")
        .join(t["customer"], left_on=["o_custkey", "n_nationkey"], right_on=["c_custkey", "c_nationkey"])
        .group_by("n_name")
        .agg(revenue=_REVENUE.sum())
        .sort("revenue", descending=True)
    )


def _q6(t: Tables) -> Frame:
    return (
        t["lineitem"]
        .filter(_year("l_shipdate", 1994), col("l_discount").is_between(0.05, 0.07), col("l_quantity") < 24)
        .select(revenue=(col("l_extendedprice") * col("l_discount")).sum())
    )


def _q7(t: Tables) -> Frame:
    two = t["nation"].filter(col("n_name").is_in(["FRANCE", "GERMANY"]))
    sellers = two.select("n_nationkey", supp_nation="n_name").join(
        t["supplier"], left_on="n_nationkey", right_on="s_nationkey"
    )
    buyers = two.select("n_nationkey", cust_nation="n_name").join(
        t["customer"], left_on="n_nationkey", right_on="c_nationkey"
    )
    return (
        t["lineitem"]
        .filter(col("l_shipdate").is_between(date(1995, 1, 1), date(1996, 12, 31)))
        .join(sellers, left_on="l_suppkey", right_on="s_suppkey")
        .join(t["orders"], left_on="l_orderkey", right_on="o_orderkey")
        .join(buyers, left_on="o_custkey", right_on="c_custkey")
        .filter(col("supp_nation") != col("cust_nation"))
        .with_columns(l_year=col("l_shipdate").dt.year())
        .group_by("supp_nation", "cust_nation", "l_year")
        .agg(revenue=_REVENUE.sum())
        .sort("supp_nation", "cust_nation", "l_year")
    )


def _q8(t: Tables) -> Frame:
    buyers = (
        t["region"]
        .filter(col("r_name") == "AMERICA")
        .join(t["nation"], left_on="r_regionkey", right_on="n_regionkey")
        .join(t["customer"], left_on="n_nationkey", right_on="c_nationkey")
        .select("c_custkey")
    )
    sellers = (
        t["supplier"].join(t["nation"], left_on="s_nationkey", right_on="n_nationkey").select("s_suppkey", "n_name")
    )
    volume = rd.when(col("n_name") == "BRAZIL").then(_REVENUE).otherwise(0.0)
    return (
        t["part"]
        .filter(col("p_type") == "ECONOMY ANODIZED STEEL")
        .join(t["lineitem"], left_on="p_partkey", right_on="l_partkey")
        .join(
            t["orders"].filter(col("o_orderdate").is_between(date(1995, 1, 1), date(1996, 12, 31))),
            left_on="l_orderkey",
            right_on="o_orderkey",
        )
        .join(buyers, left_on="o_custkey", right_on="c_custkey")
        .join(sellers, left_on="l_suppkey", right_on="s_suppkey")
        .group_by(o_year=col("o_orderdate").dt.year())
        .agg(mkt_share=volume.sum() / _REVENUE.sum())
        .sort("o_year")
    )


def _q9(t: Tables) -> Frame:
    amount = _REVENUE - col("ps_supplycost") * col("l_quantity")
    return (
        t["part"]
        .filter(col("p_name").str.contains("green", literal=True))
        .join(t["lineitem"], left_on="p_partkey", right_on="l_partkey")
        .join(t["partsupp"], left_on=["p_partkey", "l_suppkey"], right_on=["ps_partkey", "ps_suppkey"])
        .join(t["supplier"], left_on="l_suppkey", right_on="s_suppkey")
        .join(t["nation"], left_on="s_nationkey", right_on="n_nationkey")
        .join(t["orders"], left_on="l_orderkey", right_on="o_orderkey")
        .group_by("n_name", o_year=col("o_orderdate").dt.year())
        .agg(sum_profit=amount.sum())
        .sort("n_name", "o_year", descending=[False, True])
    )


def _q10(t: Tables) -> Frame:
    return (
        t["customer"]
        .join(t["orders"].filter(_quarter("o_orderdate", 1993, 7)), left_on="c_custkey", right_on="o_custkey")
        .join(t["lineitem"].filter(col("l_returnflag") == "R"), left_on="o_orderkey", right_on="l_orderkey")
        .join(t["nation"], left_on="c_nationkey", right_on="n_nationkey")
        .group_by("c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment")
        .agg(revenue=_REVENUE.sum())
        .sort("revenue", descending=True)
        .head(20)
    )


def _q11(t: Tables) -> Frame:
    stock = (
        t["partsupp"]
        .join(t["supplier"], left_on="ps_suppkey", right_on="s_suppkey")
        .join(t["nation"].filter(col("n_name") == "GERMANY"), left_on="s_nationkey", right_on="n_nationkey")
        .with_columns(value=col("ps_supplycost") * col("ps_availqty"))
    )
    least = stock.select(least=col("value").sum() * 0.0001)
    return (
        stock.group_by("ps_partkey")
        .agg(col("value").sum())
        .join(least, how="cross")
        .filter(col("value") > col("least"))
        .select("ps_partkey", "value")
        .sort("value", descending=True)
    )


def _q12(t: Tables) -> Frame:
    high = col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    lines = t["lineitem"].filter(
        col("l_shipmode").is_in(["MAIL", "SHIP"]),
        col("l_commitdate") < col("l_receiptdate"),
        col("l_shipdate") < col("l_commitdate"),
        _year("l_receiptdate", 1994),
    )
    return (
        t["orders"]
        .join(lines, left_on="o_orderkey", right_on="l_orderkey")
        .group_by("l_shipmode")
        .agg(high_line_count=high.sum(), low_line_count=(~high).sum())
        .sort("l_shipmode")
    )


def _q13(t: Tables) -> Frame:
    orders = t["orders"].filter(~col("o_comment").str.contains("special.*requests"))
    return (
        t["customer"]
        .join(orders, left_on="c_custkey", right_on="o_custkey", how="left")
        .group_by("c_custkey")
        .agg(c_count=col("o_orderkey").count())
        .group_by("c_count")
        .agg(custdist=rd.len())
        .sort("custdist", "c_count", descending=True)
    )


def _q14(t: Tables) -> Frame:
    promo = rd.when(col("p_type").str.starts_with("PROMO")).then(_REVENUE).otherwise(0.0)
    return (
        t["lineitem"]
        .filter(col("l_shipdate").is_between(date(1995, 9, 1), date(1995, 10, 1), closed="left"))
        .join(t["part"], left_on="l_partkey", right_on="p_partkey")
        .select(promo_revenue=100.0 * promo.sum() / _REVENUE.sum())
    )


def _q15(t: Tables) -> Frame:
    revenue = (
        t["lineitem"].filter(_quarter("l_shipdate", 1996, 1)).group_by("l_suppkey").agg(total_revenue=_REVENUE.sum())
    )
    most = revenue.select(most=col("total_revenue").max())
    return (
        t["supplier"]
        .join(revenue, left_on="s_suppkey", right_on="l_suppkey")
        .join(most, left_on="total_revenue", right_on="most")
        .select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .sort("s_suppkey")
    )


def _q16(t: Tables) -> Frame:
    complained = t["supplier"].filter(col("s_comment").str.contains("Customer.*Complaints"))
    parts = t["part"].filter(
        col("p_brand") != "Brand#45",
        ~col("p_type").str.starts_with("MEDIUM POLISHED"),
        col("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9]),
    )
    return (
        t["partsupp"]
        .join(parts, left_on="ps_partkey", right_on="p_partkey")
        .join(complained, left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .group_by("p_brand", "p_type", "p_size")
        .agg(supplier_cnt=col("ps_suppkey").n_unique())
        .sort("supplier_cnt", "p_brand", "p_type", "p_size", descending=[True, False, False, False])
    )


def _q17(t: Tables) -> Frame:
    lines = (
        t["part"]
        .filter(col("p_brand") == "Brand#23", col("p_container") == "MED BOX")
        .join(t["lineitem"], left_on="p_partkey", right_on="l_partkey")
    )
    few = lines.group_by("p_partkey").agg(few=0.2 * col("l_quantity").mean())
    return (
        lines.join(few, on="p_partkey")
        .filter(col("l_quantity") < col("few"))
        .select(avg_yearly=col("l_extendedprice").sum() / 7.0)
    )


def _q18(t: Tables) -> Frame:
    large = t["lineitem"].group_by("l_orderkey").agg(sum_qty=col("l_quantity").sum()).filter(col("sum_qty") > 300)
    return (
        t["orders"]
        .join(large, left_on="o_orderkey", right_on="l_orderkey")
        .join(t["customer"], left_on="o_custkey", right_on="c_custkey")
        .select("c_name", "o_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "sum_qty")
        .sort("o_totalprice", "o_orderdate", descending=[True, False])
        .head(100)
    )


def _q19(t: Tables) -> Frame:
    def of(brand: str, containers: list[str], least: int, size: int) -> rd.Expr:
        return (
            (col("p_brand") == brand)
            & col("p_container").is_in(containers)
            & col("l_quantity").is_between(least, least + 10)
            & col("p_size").is_between(1, size)
        )

    return (
        t["lineitem"]
        .filter(col("l_shipmode").is_in(["AIR", "AIR REG"]), col("l_shipinstruct") == "DELIVER IN PERSON")
        .join(t["part"], left_on="l_partkey", right_on="p_partkey")
        .filter(
            of("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 1, 5)
            | of("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10, 10)
            | of("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 20, 15)
        )
        .select(revenue=_REVENUE.sum())
    )


def _q20(t: Tables) -> Frame:
    shipped = (
        t["lineitem"]
        .filter(_year("l_shipdate", 1994))
        .group_by("l_partkey", "l_suppkey")
        .agg(half=0.5 * col("l_quantity").sum())
    )
    offers = (
        t["partsupp"]
        .join(
            t["part"].filter(col("p_name").str.starts_with("forest")),
            left_on="ps_partkey",
            right_on="p_partkey",
            how="semi",
        )
        .join(shipped, left_on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .filter(col("ps_availqty") > col("half"))
    )
    return (
        t["supplier"]
        .join(t["nation"].filter(col("n_name") == "CANADA"), left_on="s_nationkey", right_on="n_nationkey")
        .join(offers, left_on="s_suppkey", right_on="ps_suppkey", how="semi")
        .select("s_name", "s_address")
        .sort("s_name")
    )


def _q21(t: Tables) -> Frame:
    many = t["lineitem"].group_by("l_orderkey").agg(suppliers=col("l_suppkey").n_unique()).filter(col("suppliers") > 1)
    late = t["lineitem"].filter(col("l_receiptdate") > col("l_commitdate"))
    alone = late.group_by("l_orderkey").agg(late=col("l_suppkey").n_unique()).filter(col("late") == 1)
    return (
        late.join(many, on="l_orderkey")
        .join(alone, on="l_orderkey")
        .join(t["orders"].filter(col("o_orderstatus") == "F"), left_on="l_orderkey", right_on="o_orderkey")
        .join(t["supplier"], left_on="l_suppkey", right_on="s_suppkey")
        .join(t["nation"].filter(col("n_name") == "SAUDI ARABIA"), left_on="s_nationkey", right_on="n_nationkey")
        .group_by("s_name")
        .agg(numwait=rd.len())
        .sort("numwait", "s_name", descending=[True, False])
        .head(100)
    )


def _q22(t: Tables) -> Frame:
    codes = ["13", "31", "23", "29", "30", "18", "17"]
    customers = t["customer"].with_columns(code=col("c_phone").str.slice(0, 2)).filter(col("code").is_in(codes))
    usual = customers.filter(col("c_acctbal") > 0.0).select(usual=col("c_acctbal").mean())
    return (
        customers.join(usual, how="cross")
        .filter(col("c_acctbal") > col("usual"))
        .join(t["orders"], left_on="c_custkey", right_on="o_custkey", how="anti")
        .group_by("code")
        .agg(numcust=rd.len(), totacctbal=col("c_acctbal").sum())
        .sort("code")
    )


QUERIES: dict[str, Callable[[Tables], Frame]] = {
    f"q{k}": query
    for k, query in enumerate(
        (_q1, _q2, _q3, _q4, _q5, _q6, _q7, _q8, _q9, _q10, _q11, _q12, _q13, _q14, _q15, _q16, _q17, _q18, _q19, _q20,
         _q21, _q22), 1
    )
}  # fmt: skip
