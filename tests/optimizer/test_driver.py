"""The driver: to the end, guarded, traced, and without recursion."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import RuleError
from robodf.optimizer import RULES, Applied, optimize
from robodf.plan.base import lower_all, plans, tree
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.rows import Slice
from robodf.plan.nodes.scan import InMemory


def test_a_rule_that_loses_a_column_is_stopped(df) -> None:
    def loses(plan):
        return Select(plan.input, plan.exprs[:1]) if isinstance(plan, Select) and len(plan.exprs) > 1 else None

    with pytest.raises(RuleError, match="loses changed the schema"):
        optimize(df.select("k", "x")._plan, (loses,))


def test_a_rule_that_changes_the_order_of_columns_is_stopped(df) -> None:
    def turns(plan):
        new = plan.replace(exprs=tuple(sorted(plan.exprs))) if isinstance(plan, Select) else plan
        return None if new is plan else new

    with pytest.raises(RuleError, match="turns changed the schema"):
        optimize(df.select("x", "k")._plan, (turns,))


def test_a_rule_that_goes_round_is_stopped(df) -> None:
    def flips(plan):
        return plan.replace(length=3 - plan.length) if isinstance(plan, Slice) else None

    with pytest.raises(RuleError, match="in circles"):
        optimize(df.head(1)._plan, (flips,))


def test_rules_that_set_each_other_off_are_stopped(df) -> None:
    def odd(plan):
        return plan.replace(length=plan.length + 1) if isinstance(plan, Slice) and plan.length % 2 else None

    def even(plan):
        return plan.replace(length=plan.length + 1) if isinstance(plan, Slice) and plan.length % 2 == 0 else None

    with pytest.raises(RuleError, match="do not come to an end"):
        optimize(df.sort("k").head(1)._plan, (odd, even))


def test_many_steps_of_one_rule(df) -> None:
    def grows(plan):
        return plan.replace(length=plan.length + 1) if isinstance(plan, Slice) and plan.length < 5000 else None

    after = optimize(df.head(1)._plan, (grows,))
    assert isinstance(after, Slice)


def test_the_trace_tells_each_step(df) -> None:
    steps: list[Applied] = []
    frame = df.sort("k").filter(col("k") > 1).select("k")
    after = optimize(frame._plan, trace=steps)
    assert steps[0].before is frame._plan
    assert steps[-1].after is after
    assert all(a.after is b.before for a, b in pairwise(steps))
    assert {s.rule for s in steps} <= {rule.__name__ for rule in RULES}
    assert "push_filter" in str(frame.explain("rules"))


def test_nothing_to_do_gives_the_same_plan(df) -> None:
    assert optimize(df._plan) is df._plan
    once = optimize(df.sort("k").filter(col("k") > 1).select("k")._plan)
    assert optimize(once) is once


def _count_nodes(plan) -> int:
    return sum(1 for _ in plans(plan))


@pytest.mark.parametrize("make", [lambda f: f.join(f, on="k", how="semi"), lambda f: rd.concat([f, f]).dedup()])
def test_a_diamond_of_60_levels_is_not_2_to_the_60(make) -> None:
    frame = rd.from_dict({"k": [1, 2]})
    for _ in range(60):
        frame = make(frame.filter(col("k") > 0))
    after = optimize(frame._plan)
    assert _count_nodes(after) < 400
    assert len(tree(after)) < 400_000
    assert isinstance(lower_all(after), pl.LazyFrame)  # Polars' own planner takes twice as long for each level


@pytest.mark.parametrize("make", [lambda f: f.join(f, on="k", how="semi"), lambda f: rd.concat([f, f]).dedup()])
def test_a_diamond_of_8_levels_runs(make) -> None:
    frame = rd.from_dict({"k": [1, 2]})
    for _ in range(8):
        frame = make(frame.filter(col("k") > 0))
    assert sorted(frame.collect()["k"].to_list()) == [1, 2]


def test_a_diamond_of_projections(df) -> None:
    """Cheap sub-plans are not kept, and must still be planned once each."""
    frame = rd.from_dict({"k": [1, 2]})
    for _ in range(60):
        frame = rd.concat([frame.filter(col("k") > 0), frame.filter(col("k") < 0)]).with_columns(col("k") + 1)
    assert _count_nodes(optimize(frame._plan)) < 2000
    assert frame.columns == ["k"]


CHAINS = {
    "with_columns": lambda f, i: f.with_columns((col("a") + 1).alias(f"c{i % 7}")),
    "filter": lambda f, i: f.filter(col("a") >= -i),
    "sort and filter": lambda f, i: (
        f.sort("a").filter(col("a") > -i) if i % 2 else f.with_row_index(f"r{i}").drop(f"r{i}")
    ),
    "slice": lambda f, i: f.head(5000 - i),
    "map_batches": lambda f, i: f.map_batches(lambda b: b, i % 3 + 1, preserves_rows=True),
    "dedup": lambda f, i: f.dedup("a").with_columns(a=col("a").sum() + col("a")) if i % 2 else f.dedup(),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", CHAINS)
def test_2000_operators_one_after_the_other(kind: str) -> None:
    frame = rd.from_dict({"a": [1, 2, 3]})
    for i in range(500 if kind == "filter" else 2000):  # filters are looked at in pairs
        frame = CHAINS[kind](frame, i)
    assert "not run" in repr(frame)
    assert len(str(frame.explain("logical"))) > 2000
    after = optimize(frame._plan)
    assert list(after.schema) == frame.columns
    assert isinstance(lower_all(after), pl.LazyFrame)


def test_nodes_of_the_file() -> None:
    """The names that this file builds plans of: a rule sees them as any other node."""
    plan = Filter(InMemory(pl.DataFrame({"a": [1, 2]})), col("a") > 1)
    assert lower_all(optimize(plan)).collect().rows() == [(2,)]
