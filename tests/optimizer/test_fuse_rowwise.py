"""Projections and filters on each other become one, where nothing is computed twice and nothing means anything else."""

from __future__ import annotations

import polars as pl
import pytest

import robodf as rd
from robodf import col, lit
from robodf.optimizer.fuse_rowwise import fuse_rowwise

IN = "InMemory 4 rows, 5 columns"


def test_filters(df, fires) -> None:
    fires(df.filter(col("k") > 0).filter(col("x") < 5, col("k") > 0), fuse_rowwise, f"""
        Filter (col("k") > 0) & (col("x") < 5)
          {IN}""")  # fmt: skip


def test_projections(df, fires) -> None:
    frame = df.select(a=col("k"), b=col("s")).with_columns(ok=col("a") > 0).select("a", "ok")
    fires(frame, fuse_rowwise, f"""
        Select [a=col("k"), ok=col("k") > 0]
          {IN}""")  # fmt: skip


def test_a_window_over_what_was_computed(df, fires) -> None:
    fires(df.with_columns(a=col("k") + 1).select(n=col("a").sum().over("s")), fuse_rowwise, f"""
        Select [n=(col("k") + 1).alias('a').sum().over(col("s").alias('s'))]
          {IN}""".replace(".alias('s')", ""))  # fmt: skip


def test_fields_of_a_struct_keep_their_names(df, fires) -> None:
    fires(df.with_columns(z=col("k") + 1).select(p=rd.struct("z", "s")), fuse_rowwise, f"""
        Select [p=struct((col("k") + 1).alias('z'), col("s"))]
          {IN}""")  # fmt: skip


def test_overwriting(df, fires) -> None:
    fires(df.with_columns(k=col("k") * 2).with_columns(k=col("k") + 1), fuse_rowwise, f"""
        WithColumns [k=(col("k") * 2) + 1]
          {IN}""")  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.with_columns(a=col("k") + 1).select(b=col("a") * col("a")),  # used twice
        lambda d: d.with_columns(a=col("k") + 1).select(b=col("a") * 2, c=col("a") * 3),
        lambda d: d.with_columns(a=col("k") + 1).with_columns(b=col("a") * 2),  # once here, and once as itself
        lambda d: d.with_columns(a=col("k").sum()).select(b=col("a") * 2),  # the lower one reads other rows
        lambda d: d.with_columns(a=lit(1)).select("a"),  # one row for each row
        lambda d: d.with_columns(a=lit(1)).select("a", n=col("k").sum()),
        lambda d: d.with_columns(a=lit(1)).select(n=col("a").sum()),  # 4, not 1
        lambda d: d.with_columns(a=lit(1)).with_columns(n=col("a").cum_sum()),
        lambda d: d.with_columns(a=lit(1)).with_columns(n=col("a").shift()),
        lambda d: d.select("k").with_columns(k=lit(1)),  # it would be a constant alone
        lambda d: d.filter(col("k") > 1).filter(col("k") > col("k").mean()),
        lambda d: d.filter(col("k") > col("k").mean()).filter(col("k") > 1),
        lambda d: d.filter(col("s") != "a").filter(col("s").cast(pl.Int64, strict=True) > 1),
    ],
)
def test_stays(df, keeps, frame) -> None:
    keeps(frame(df), fuse_rowwise)


def test_constants_keep_their_type_and_their_number(df) -> None:
    small = rd.from_dict({"a": [100, 1]}, schema={"a": pl.Int8}).with_columns(b=100)
    frame = small.with_columns(c=col("a") + col("b")).select("c")
    assert (frame.collect().rows(), frame.schema) == ([(200,), (101,)], {"c": pl.Int32})
    assert df.map(lambda x: {"z": 1}).map(lambda x: {"z": 1}).collect().height == 4
    assert df.select("k").with_columns(k=lit(1)).collect().height == 4
    assert df.with_columns(a=lit(1)).select(n=col("a").sum()).collect().item() == 4
