"""What a dedup is asked about all rows (a rank, clusters of vectors) is answered by all rows, wherever they lie."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import polars as pl
import pytest
from cutting import LIMITS, run_cut

import robodf as rd
from robodf import col
from robodf.optimizer import optimize
from robodf.plan.nodes import dedup as dedup_node
from robodf.plan.nodes.dedup import Dedup

# -- ranks that look at other rows ------------------------------------------------------------------------------------


@pytest.fixture
def rows() -> pl.DataFrame:
    rng = random.Random(5)
    return pl.DataFrame({
        "t": [f"put block {rng.randrange(12)} down" for _ in range(90)],
        "g": [rng.randrange(3) for _ in range(90)],
        "q": [rng.choice([None, *range(9)]) for _ in range(90)],
        "i": range(90),
    })  # fmt: skip


RANKS = {
    "far from the mean": rd.best((col("q") - col("q").mean()).abs(), descending=False),
    "order within": rd.best(col("q").rank().over("g"), "i"),
    "of polars": rd.best(pl.col("q").fill_null(pl.col("q").max())),
}


@pytest.mark.parametrize("name", RANKS)
@pytest.mark.parametrize("method", ["exact", "fuzzy"])
def test_a_rank_may_look_at_all_rows(rows, name, method, monkeypatch, tmp_path: Path) -> None:
    keep = RANKS[name]
    ranks = rows.select(pl.DataFrame(rows).lazy().select(e if isinstance(e, (str, pl.Expr)) else e.polars)
                        .collect().to_series().alias(f"r{k}") for k, e in enumerate(keep.exprs))  # fmt: skip
    beside = rd.from_polars(rows.hstack(ranks))
    same = rd.best(*ranks.columns, descending=list(keep.descending))
    rows.write_parquet(tmp_path / "x.parquet", row_group_size=17)
    for within in (None, "g"):
        asked = {"on": "t", "method": method, "within": within}
        wanted = beside.dedup(keep=same, **asked).drop(*ranks.columns).collect(engine="local")
        marked = beside.clusters(keep=same, **asked).drop(*ranks.columns).collect(engine="local")
        with monkeypatch.context() as patch:
            patch.setattr(dedup_node, "_STEP", 13)
            patch.setattr(sys.modules["robodf.optimizer.choose_rows_first"], "FEW", 0)
            for frame in (rd.from_polars(rows), rd.read_parquet(tmp_path / "x.parquet")):
                assert frame.dedup(keep=keep, **asked).collect(engine="local").equals(wanted)
                assert frame.clusters(keep=keep, **asked).collect(engine="local").equals(marked)
                for limits in LIMITS:
                    assert run_cut(frame.dedup(keep=keep, **asked)._plan, limits).equals(wanted)
            one = frame.dedup(keep=keep, **asked).filter(col("g") == 1)
            assert one.collect(engine="local").equals(wanted.filter(pl.col("g") == 1))


def test_a_filter_stays_above_a_rank_that_looks_at_other_rows() -> None:
    frame = rd.from_dict({"t": ["a", "a", "b"], "g": [1, 1, 2], "q": [0.0, 4.0, 8.0]})
    alone = frame.dedup("t", within="g", keep=rd.best(-col("q"))).filter(col("g") == 1)
    other = frame.dedup("t", within="g", keep=rd.best(col("q") - col("q").mean())).filter(col("g") == 1)
    assert isinstance(optimize(alone._plan), Dedup)
    assert not isinstance(optimize(other._plan), Dedup)
