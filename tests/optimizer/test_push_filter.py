"""Filters go down, and stop where they must."""

from __future__ import annotations

from textwrap import dedent

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.optimizer import optimize
from robodf.optimizer.push_filter import push_filter
from robodf.plan.base import lower_all, tree
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
        Dedup on k, keep first: exact, each verified by value
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


# -- rows that are alike --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "label"),
    [
        (lambda d: d.dedup("s", within="k"), "Dedup on s within k, keep first: exact, each verified by value"),
        (lambda d: d.dedup(["s", "k"], keep="last", nulls="equal"),
         "Dedup on s, k, keep last: exact, each verified by value, null equals null"),
        (lambda d: d.dedup("k", keep="none"), "Dedup on k, keep none: exact, each verified by value"),
        (lambda d: d.dedup("k", keep=rd.best("x")), "Dedup on k, keep best by x: exact, each verified by value"),
        (lambda d: d.dedup("s", method="fuzzy", within="k", link="component"),
         "Dedup on s within k, keep first: jaccard of chars(5) >= 0.8, 20 bands x 7 rows, recall >= 0.9909"),
        (lambda d: d.drop_duplicates("k"), "Unique on k, keep first, in order"),
    ],
)  # fmt: skip
def test_whole_groups_of_a_dedup_stay_or_go(df, fires, frame, label) -> None:
    fires(frame(df).filter(col("k") > 1), push_filter, f"""
        {label}
          Filter col("k") > 1
            {IN_MEMORY}""")  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.dedup("s", method="fuzzy").filter(col("s") == "a"),  # it may be like one that is no "a"
        lambda d: d.dedup("s", method="fuzzy", within="k").filter(col("s") == "a"),
        lambda d: d.dedup("s", within="k").filter(col("x") > 0),
        lambda d: d.dedup("s", keep=rd.best("k")).filter(col("k") > 1),  # the best of a kind may be another one then
        lambda d: d.dedup("k", within="x").filter(col("x") > 0),  # 0.0 and -0.0 are one group
        lambda d: d.dedup(col("k") % 2).filter(col("k") > 1),
        lambda d: d.dedup("k").filter(col("k") > col("k").mean()),
        lambda d: d.dedup("k").filter(rd.lit(True)),
        lambda d: d.clusters("k").filter(col("k") > 1),  # numbers of clusters are those of all rows
        lambda d: d.clusters("s", within="k").filter(col("k") > 1),
        lambda d: d.clusters("k").filter("is_kept"),
        lambda d: d.similar_pairs("s").filter(col("lo") > 0),
    ],
)
def test_rows_that_others_go_for_stay(df, keeps, frame) -> None:
    keeps(frame(df), push_filter)


def test_a_filter_goes_past_a_dedup_in_parts(df, fires) -> None:
    fires(df.dedup("s", within="k").filter((col("k") > 1) & (col("s") == "a") & (col("x") < 9)), push_filter, f"""
        Filter col("x") < 9
          Dedup on s within k, keep first: exact, each verified by value
            Filter col("s") == 'a'
              Filter col("k") > 1
                {IN_MEMORY}""")  # fmt: skip


@pytest.mark.parametrize("what", ["dedup", "clusters", "similar_pairs"])
@pytest.mark.parametrize(
    "first", [lambda d: d.head(1), lambda d: d.tail(1), lambda d: d.slice(1, 2), lambda d: d.sample(2, seed=1)]
)
def test_no_number_of_rows_goes_past_a_dedup(df, what, first) -> None:
    frame = first(getattr(df, what)("s", method="fuzzy"))
    after = optimize(frame._plan)
    above = tree(frame._plan).splitlines()
    assert [line.strip().split(" ")[0] for line in tree(after).splitlines()] == [
        line.strip().split(" ")[0] for line in above
    ]


def test_a_filter_past_a_dedup_gives_the_rows_of_before() -> None:
    rows = pl.DataFrame({"t": ["a", "b", "a", None, "", "b", "a"], "g": [1, 1, 1, 2, 2, 2, 2], "i": range(7)})
    for make in (
        lambda d: d.dedup("t", within="g").filter(col("g") == 2),
        lambda d: d.dedup("t", keep="last").filter(col("t") != "b"),
        lambda d: d.dedup(["t", "g"], keep="none").filter((col("g") == 2) & (col("t") == "b")),
        lambda d: d.dedup("t", against=rows.head(1)).filter(col("t").is_in(["a", "b"])),
    ):
        frame = make(rd.from_polars(rows))
        assert optimize(frame._plan, (push_filter,)) is not frame._plan
        pushed = frame.collect(engine="local")
        assert pushed.rows() == lower_all(frame._plan).collect(engine="streaming").rows()
        assert pushed.height
