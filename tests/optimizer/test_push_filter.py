"""Filters go down, and stop where they must."""

from __future__ import annotations

from textwrap import dedent

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.optimizer import optimize
from robodf.optimizer.push_filter import push_filter
from robodf.plan.base import tree
from robodf.plan.nodes.filter import Filter

IN_MEMORY = "InMemory 4 rows, 5 columns"


def test_below_sort(df, fires) -> None:
    fires(df.sort("k").filter(col("s") == "a"), push_filter, f"""
        Sort col("k")
          Filter col("s") == 'a'
            {IN_MEMORY}""")  # fmt: skip


def test_parts_go_alone(df, fires) -> None:
    frame = df.with_columns(r=col("k").rank()).sort("k").filter((col("s") == "a") & (col("r") > 1))
    fires(frame, push_filter, f"""
        Sort col("k")
          Filter col("r") > 1
            Filter col("s") == 'a'
              WithColumns [r=col("k").rank()]
                {IN_MEMORY}""")  # fmt: skip


def test_through_a_projection_with_its_names_replaced(df, fires) -> None:
    fires(df.select("s", n=col("k") + 1).filter(col("n") > 2), push_filter, f"""
        Select [s, n=col("k") + 1]
          Filter (col("k") + 1) > 2
            {IN_MEMORY}""")  # fmt: skip


def test_a_constant_keeps_its_type(fires) -> None:
    small = rd.from_dict({"a": [100, 1]}, schema={"a": pl.Int8}).with_columns(b=100)
    fires(small.filter(col("a") + col("b") > 150), push_filter, """
        WithColumns [b=100]
          Filter (col("a") + lit(100, Int32)) > 150
            InMemory 2 rows, 1 columns""")  # fmt: skip


def test_into_unnest(df, fires) -> None:
    fires(df.unnest("p").filter(col("u") > 1), push_filter, f"""
        Unnest p
          Filter col("p").struct.field('u') > 1
            {IN_MEMORY}""")  # fmt: skip


def test_to_both_sides_of_an_inner_join_on_its_key(df, other, fires) -> None:
    fires(df.join(other, on="k").filter(col("k") > 1), push_filter, f"""
        Join inner on col("k") == col("k")
          Filter col("k") > 1
            {IN_MEMORY}
          Filter col("k") > 1
            InMemory 4 rows, 3 columns""")  # fmt: skip


def test_to_the_right_of_an_inner_join_under_its_own_name(df, other, fires) -> None:
    fires(df.join(other, on="k").filter(col("x_right") > 0.5), push_filter, f"""
        Join inner on col("k") == col("k")
          {IN_MEMORY}
          Filter col("x") > 0.5
            InMemory 4 rows, 3 columns""")  # fmt: skip


def test_float_keys_go_to_one_side_alone(df, other) -> None:
    # 0.0 and -0.0 join, and a predicate can tell them apart. (Polars' own pushdown does not know: it loses a row.)
    frame = df.join(other, on="x").filter(1 / col("x") > 0)
    assert (
        tree(optimize(frame._plan, (push_filter,)))
        == dedent(f"""
        Join inner on col("x") == col("x")
          Filter (1 / col("x")) > 0
            {IN_MEMORY}
          InMemory 4 rows, 3 columns""").strip()
    )
    assert sorted(frame.collect()["y"].to_list()) == [10, 40]


def test_not_to_the_side_that_gets_nulls(df, other, keeps) -> None:
    keeps(df.join(other, on="k", how="left").filter(col("y") > 15), push_filter)
    keeps(df.join(other, on="k", how="left").filter(col("y").is_null()), push_filter)
    keeps(df.join(other, on="k", how="right").filter(col("s") == "a"), push_filter)
    for how in ("full",):
        keeps(df.join(other, on="k", how=how, coalesce=True).filter(col("k") > 1), push_filter)
        keeps(df.join(other, on="k", how=how).filter(col("y") > 15), push_filter)


def test_below_a_join_by_the_side_that_keeps_its_rows(df, other, fires) -> None:
    fires(df.join(other, on="k", how="right").filter(col("y") > 15), push_filter, f"""
        Join right on col("k") == col("k")
          {IN_MEMORY}
          Filter col("y") > 15
            InMemory 4 rows, 3 columns""")  # fmt: skip


def test_anti_join(df, other, fires) -> None:
    fires(df.join(other, on="k", how="anti").filter(col("k") > 1), push_filter, f"""
        Join anti on col("k") == col("k")
          Filter col("k") > 1
            {IN_MEMORY}
          Filter col("k") > 1
            InMemory 4 rows, 3 columns""")  # fmt: skip


def test_group_keys(df, fires, keeps) -> None:
    grouped = df.group_by(key="k").agg(n=rd.len())
    fires(grouped.filter(col("key") > 1), push_filter, f"""
        GroupBy by [key=col("k")] agg [n=len()]
          Filter col("k") > 1
            {IN_MEMORY}""".replace('key=col("k")', "k"))  # fmt: skip
    keeps(grouped.filter(col("n") > 1), push_filter)
    keeps(df.group_by("x").agg(n=rd.len()).filter(1 / col("x") > 0), push_filter)  # 0.0 and -0.0 are one group


def test_dedup(df, fires, keeps) -> None:
    fires(df.dedup("k").filter(col("k") > 1), push_filter, f"""
        Unique on k, keep first, in order
          Filter col("k") > 1
            {IN_MEMORY}""")  # fmt: skip
    keeps(df.dedup("k").filter(col("s") == "b"), push_filter)  # the first of a kind may be another one then
    keeps(df.dedup("x").filter(col("x") > 0), push_filter)


def test_unions(df, fires, keeps) -> None:
    fires(rd.concat([df, df.sort("k")]).filter(col("k") > 1), push_filter, f"""
        Concat of 2
          #1 Filter col("k") > 1
            {IN_MEMORY}
          Sort col("k")
            (same as #1: Filter col("k") > 1)""")  # fmt: skip
    keeps(rd.concat([df.select("k"), df.select("s")], how="diagonal").filter(col("k") > 1), push_filter)
    mixed = rd.concat([rd.from_dict({"a": [1]}), rd.from_dict({"a": [1.5]})], how="vertical_relaxed")
    keeps(mixed.filter(col("a") > 1), push_filter)


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.sort(col("k") - col("k").mean()).filter(col("k") > 1),  # the key reads all rows
        lambda d: d.with_columns(n=col("k").sum().over("s")).filter(col("n") > 1),  # on what a window gave
        lambda d: d.with_columns(n=col("k").sum().over("s")).filter(col("k") > 1),  # past a window
        lambda d: d.with_columns(n=col("k").shift()).filter(col("k") > 1),
        lambda d: d.head(2).filter(col("k") > 1),
        lambda d: d.with_row_index().filter(col("k") > 1),
        lambda d: d.sample(2).filter(col("k") > 1),
        lambda d: d.sort("k").filter(col("k") > col("k").mean()),  # it reads other rows itself
        lambda d: d.sort("k").filter(col("k").is_in(col("k").implode())),  # membership in a column
        lambda d: d.sort("k").filter(col("s").cast(pl.Int64) > 1),  # it may raise on rows that it would not see
        lambda d: d.explode("l").filter(col("l") > 1),
        lambda d: d.unpivot(["k"], index="s").filter(col("value") > 1),
        lambda d: d.group_by("k").agg(n=col("x").first()).filter(col("n") > 1),
        lambda d: d.map_batches(lambda b: b).filter(col("k") > 1),  # nothing is promised
        lambda d: d.map_batches(lambda b: b, reads=["k"], schema={"k": pl.Int64}).filter(col("k") > 1),
        lambda d: d.map_batches(lambda b: b, preserves_rows=True).filter(col("k") > 1),  # all columns may be new
        lambda d: d.map_batches(
            lambda b: b * 2, reads=["k"], schema={"k": pl.Int64}, preserves_rows=True
        ).filter(col("k") > 1),  # it makes what the filter reads
        lambda d: d.cache().filter(col("k") > 1),
        lambda d: d.with_columns(n=col("s").str.replace_all("(a+)+b", "")).filter(col("n") == "a"),  # costly, twice
    ],
)  # fmt: skip
def test_stays(df, keeps, frame) -> None:
    keeps(frame(df), push_filter)


def test_past_a_function_that_promises(df, fires) -> None:
    def double(batch):
        return batch.select(n=col("k").polars * 2)

    frame = df.map_batches(double, reads=["k"], schema={"n": pl.Int64}, preserves_rows=True)
    after = optimize(frame.filter(col("s") == "a")._plan, (push_filter,))
    assert not isinstance(after, Filter)
    fires(frame.filter(col("s") == "a").select("n", "s"), push_filter, f"""
        Select [n, s]
          MapBatches of 1024 rows: {double.__qualname__.replace("<locals>.", "")} (on polars, reads k, preserves rows)
            Filter col("s") == 'a'
              {IN_MEMORY}""")  # fmt: skip


def test_a_window_in_a_filter_holds_back_all_of_it(df, keeps) -> None:
    keeps(df.sort("k").filter((col("k") > col("k").mean()) & (col("s") == "a")), push_filter)
    keeps(df.sort("k").filter(col("k") > col("k").mean()).filter(col("s") == "a"), push_filter)
