"""What a dedup is asked about all rows (a rank, clusters of vectors) is answered by all rows, wherever they lie."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cutting import LIMITS, run_cut

import robodf as rd
from robodf import col
from robodf.dedup import semantic
from robodf.errors import FileFormatError
from robodf.io.source import Request, Source
from robodf.io.stream import from_batches
from robodf.optimizer import optimize
from robodf.plan.base import plans
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


# -- vectors in groups ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded() -> pl.DataFrame:
    draw = np.random.default_rng(3)
    centers = draw.normal(size=(250, 16))
    vectors = centers[draw.integers(0, 250, 1500)] + draw.normal(scale=0.16, size=(1500, 16))
    groups = draw.choice(["a", "b", "c"], 1500, p=[0.6, 0.3, 0.1])
    return pl.DataFrame({"v": vectors.tolist(), "g": groups, "i": range(1500)})


@pytest.mark.parametrize("most", [4e4, 2e6])
def test_how_a_group_is_searched_depends_on_its_own_rows(embedded, most, monkeypatch) -> None:
    """With clusters in groups large enough for them, in one place and where each group lies in another one."""
    monkeypatch.setattr(semantic, "EXACT", most)
    asked = {"on": "v", "method": "semantic", "within": "g", "recall": 0.8}
    frame = rd.from_polars(embedded)
    dedup = frame.dedup(**asked)
    held = dedup.collect(engine="local")
    assert "index clusters" in str(dedup.explain())
    exact = frame.dedup(**asked | {"recall": 1.0})
    best = exact.collect(engine="local")
    assert "index exact" in str(exact.explain())
    assert best.height < held.height < embedded.height
    for limits in LIMITS[:2]:
        assert run_cut(dedup._plan, limits).equals(held)
    pairs = frame.similar_pairs(**asked).collect(engine="local")
    apart = []
    for group in ("a", "b", "c"):
        some = embedded.filter(pl.col("g") == group)
        own = rd.from_polars(some).similar_pairs(**asked).collect(engine="local")
        apart.append(own.with_columns(pl.col("lo", "hi").replace_strict(range(some.height), some["i"])))
    assert pl.concat(apart).sort("lo", "hi").equals(pairs)


# -- rows that are read again -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shrinking(Source):
    """Rows of which there is one less each time they are read, as of a file that somebody writes anew."""

    number: int  # equal sources are one
    read: list[int] = field(default_factory=list, compare=False)
    name = "shrinking"  # type: ignore[assignment]
    schema = {"t": pl.String(), "w": pl.Int64()}  # type: ignore[assignment]

    def scan(self, request: Request) -> pl.LazyFrame:
        def batches() -> Iterator[pl.DataFrame]:
            self.read.append(1)
            rows = pl.DataFrame({"t": ["a", "b", "a", "b", "c", "a"], "w": range(6)}).head(7 - len(self.read))
            yield rows.select(request.columns)

        return from_batches(batches, {n: self.schema[n] for n in request.columns}, self.name)

    def describe(self) -> str:
        return self.name


def test_another_number_of_rows_the_second_time_is_an_error() -> None:
    """Rows are known by their numbers: those of others would go."""
    for number, (ask, said) in enumerate(
        (
            (lambda df: df.dedup("t", keep="last"), "5 rows are left of those read first"),
            (lambda df: df.clusters("t"), "5 rows are left of those read first"),
            (lambda df: df.dedup("w"), "6 rows were read first, and then 5"),
        )
    ):
        frame = ask(rd.from_source(Shrinking(number)))
        assert any(n.apart for n in plans(optimize(frame._plan)) if isinstance(n, Dedup))
        with pytest.raises(FileFormatError, match=said):
            frame.collect(engine="local")
