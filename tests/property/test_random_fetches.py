"""Random plans over sources with heavy columns, which are fetched late wherever that can be."""

from __future__ import annotations

import os
import sys
from collections import Counter

import heavy
import plans
import polars as pl
import pytest
from cutting import LIMITS, run_cut
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import robodf as rd
from robodf import col
from robodf.optimizer import optimize
from robodf.physical.cut import cut
from robodf.plan.base import plans as nodes_of
from robodf.plan.base import tree
from robodf.plan.nodes.fetch import Fetch
from robodf.plan.nodes.scan import Scan

SHARDS = 2
PLANS = int(os.environ.get("ROBODF_PROPERTY_PLANS", "2000")) // 20
SEED = int(os.environ.get("ROBODF_PROPERTY_SEED", "0"))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are fetched late wherever they can be, and every table has heavy ones."""
    rule = sys.modules["robodf.optimizer.fetch_late"]
    monkeypatch.setattr(rule, "pays", lambda found: found is not None)
    monkeypatch.setattr(plans, "base", heavy.heavy_base)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_fetches(shard: int, always: None) -> None:
    fetches: Counter[bool] = Counter()

    @seed(SHARDS * SEED + shard)
    @settings(
        max_examples=max(1, PLANS // SHARDS),
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        d = plans.Draw(lambda low, high: data.draw(st.integers(low, high)))
        limits = d.pick(LIMITS) if d.chance(40) else None
        state = plans.plan(d, {})
        optimized = optimize(state.frame._plan)
        fetches[any(isinstance(n, Fetch) for n in nodes_of(optimized))] += 1
        if limits is None:
            plans.check(state)
            return
        wanted = plans._attempt(lambda: state.lazy.collect(engine="in-memory"))
        schema = plans._attempt(state.lazy.collect_schema)
        if isinstance(wanted, BaseException) or schema != wanted.schema:
            return
        found = plans._attempt(lambda: run_cut(state.frame._plan, limits))
        wrong = plans._wrong(found, wanted, state.ordered)
        if wrong is not None and not plans._engine_is_wrong(state, wanted):
            said = "\n  ".join(state.steps)
            raise AssertionError(f"{wrong}\n  {said}\n{tree(cut(optimized, limits).plan)}") from plans._cause(found)

    plans.ENGINE.clear()
    check()
    assert len(plans.ENGINE) <= 1 + PLANS // SHARDS // 50, plans.ENGINE
    # A twentieth of them at least: a plan fetches only where it is sure that this reads less.
    assert fetches[True] * 20 >= sum(fetches.values()), f"too few plans fetch: {fetches}"


REDUCERS = {
    "filter": lambda f: f.filter(col("i") > 2),
    "semi-join": lambda f: f.join(rd.from_dict({"k": [1, 3]}), on="k", how="semi", maintain_order="left"),
    "anti-join": lambda f: f.join(rd.from_dict({"k": [1, 3]}), on="k", how="anti", maintain_order="left"),
    "dedup": lambda f: f.dedup("k"),
    "top": lambda f: f.sort("i", descending=True).head(3),
    "sample": lambda f: f.sample(n=3, seed=2),
    "share": lambda f: f.sample(fraction=0.4, seed=2),
    "unique": lambda f: f.unique("k", keep="first", maintain_order=True),
    "unique last": lambda f: f.unique("b", keep="last", maintain_order=True),
    "tail": lambda f: f.tail(2),
}


@pytest.mark.parametrize("limits", [None, *LIMITS], ids=["local", "shuffled", "some", "many"])
@pytest.mark.parametrize("reducer", REDUCERS)
def test_no_more_rows_are_read_than_are_left(reducer: str, limits: object, always: None) -> None:
    source = heavy.heavy_source("runs", frozenset(["x", "s", "p", "l"]), frozenset(["i"]))
    frame = REDUCERS[reducer](rd.PipelineDataFrame(Scan(source)))
    wanted = REDUCERS[reducer](rd.from_polars(plans.TABLES["runs"])).collect(engine="local")
    heavy.READ.clear()
    found = frame.collect(engine="local") if limits is None else run_cut(frame._plan, limits)  # type: ignore[arg-type]
    assert plans.difference(found, wanted, True) is None
    assert 0 < found.height < plans.TABLES["runs"].height
    read = Counter(column for _, _, column in heavy.READ)
    assert read == dict.fromkeys(["x", "s", "p", "l"], found.height)


@pytest.mark.parametrize("limits", LIMITS)
def test_locators_of_partitions_are_those_of_the_whole(limits: object, always: None) -> None:
    source = heavy.heavy_source("runs", frozenset(["s"]))
    marks = heavy.heavy_source("marks", frozenset(["y", "s"]))
    a, b = (rd.PipelineDataFrame(Scan(s)) for s in (source, marks))
    frame = (
        a.join(b, on="k", how="full", suffix=".b").filter(col("i").is_not_null() | col("y").is_null()).sort("i", "i.b")
    )
    wanted = plans.TABLES["runs"].join(plans.TABLES["marks"], on="k", how="full", suffix=".b")
    wanted = wanted.filter(pl.col("i").is_not_null() | pl.col("y").is_null()).sort("i", "i.b")
    found = run_cut(frame._plan, limits)  # type: ignore[arg-type]
    assert plans.difference(found, wanted, False) is None
