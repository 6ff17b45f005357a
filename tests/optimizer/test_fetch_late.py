"""Heavy columns are fetched for the rows that are left: where the rule fires, where it does not, and what is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.io.indexed_files import IndexedFiles
from robodf.io.source import Fetching
from robodf.optimizer import RULES, optimize
from robodf.optimizer.fetch_late import LEAST, MOST, cost, fetch_late, pays
from robodf.plan.base import lower_all, plans
from robodf.plan.gathering import PIECE
from robodf.plan.nodes.fetch import Fetch
from robodf.plan.nodes.join import Join
from robodf.plan.nodes.scan import Scan

RULE = sys.modules["robodf.optimizer.fetch_late"]

READ: list[tuple[str, int, str]] = []
"""(file, row, column) of the heavy values that were read."""


@dataclass(frozen=True)
class Records(IndexedFiles):
    """Files of ten rows; what is heavy tells where it comes from."""

    name = "records"
    schema = {"n": pl.Int64(), "group": pl.Int64(), "image": pl.Binary(), "cloud": pl.List(pl.Int64())}
    heavy = frozenset(["image", "cloud"])

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        assert self.heavy.isdisjoint(columns)
        return pl.DataFrame({"n": [7 * n % 10 for n in range(10)], "group": [n % 3 for n in range(10)]})

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        for row in rows.tolist():
            READ.extend((Path(path).name, row, name) for name in columns)
            made = {"image": [f"{Path(path).name} {row}".encode()], "cloud": [[row, row]]}
            yield pl.DataFrame({name: made[name] for name in columns})


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> rd.PipelineDataFrame:
    """Thirty rows of three files, which here are worth it."""
    READ.clear()
    monkeypatch.setattr(RULE, "LEAST", 1)
    names = []
    for k in range(3):
        names.append(str(tmp_path / f"{k}.bin"))
        Path(names[-1]).write_bytes(bytes(1000))
    return rd.from_source(Records.of(names))


def rows_read(column: str = "image") -> int:
    return len([None for _, _, name in READ if name == column])


def late(frame: rd.PipelineDataFrame) -> list[Fetch]:
    return [n for n in plans(optimize(frame._plan)) if isinstance(n, Fetch)]


LIGHT = "Scan records 0.bin and 2 more columns=[n, group] with locators"


def said(rows: int, saved: int, columns: str = "image, cloud") -> str:
    text = f"about {rows} row{'s' * (rows != 1)}, about {saved:,} of 3,000 bytes are not read"
    return f"Fetch [{columns}] of records 0.bin and 2 more: fetched late, for {text}"


# -- the plan ------------------------------------------------------------------------------------------------------


def test_top_rows_of_a_sort(heavy, fires) -> None:
    fires(heavy.sort("n").head(4), fetch_late, f"""
        {said(4, 2600)}
          Limit 4
            Sort col("n")
              {LIGHT}""")  # fmt: skip


def test_a_filter_that_the_source_does_not_take(heavy, fires) -> None:
    fires(heavy.filter(col("n") > col("n").mean()), fetch_late, f"""
        {said(10, 2000)}
          Filter col("n") > col("n").mean()
            {LIGHT}""")  # fmt: skip


@pytest.mark.parametrize(
    ("make", "label", "rows", "saved"),
    [
        (lambda f: f.dedup("n"), "Dedup on n, keep first: exact, each verified by value", 21, 900),
        (lambda f: f.unique("group", keep="last", maintain_order=True), "Unique on group, keep last, in order", 15, 1500),  # noqa: E501
        (lambda f: f.sample(n=3, seed=1), "Sample n=3 seed=1", 3, 2700),
        (lambda f: f.sample(fraction=0.5, seed=1), "Sample fraction=0.5 seed=1", 15, 1500),
        (lambda f: f.slice(5, 2), "Slice offset=5 length=2", 2, 2800),
    ],
)  # fmt: skip
def test_operators_that_leave_rows_out(heavy, fires, make, label, rows, saved) -> None:
    fires(make(heavy), fetch_late, f"""
        {said(rows, saved)}
          {label}
            {LIGHT}""")  # fmt: skip


@pytest.mark.parametrize("how", ["semi", "anti", "inner"])
def test_joins(heavy, fires, how) -> None:
    fires(heavy.join(rd.from_dict({"group": [2]}), on="group", how=how), fetch_late, f"""
        {said(15, 1500)}
          Join {how} on col("group") == col("group")
            {LIGHT}
            InMemory 1 rows, 1 columns""")  # fmt: skip


def test_the_right_side_of_a_join_with_rows_without_a_partner(heavy, fires) -> None:
    labels = rd.from_dict({"n": [3, 3, 77], "label": ["a", "b", "c"]})
    frame = labels.join(heavy, on="n", how="left")
    fires(frame, fetch_late, f"""
        {said(15, 1500)}
          Join left on col("n") == col("n")
            InMemory 3 rows, 2 columns
            {LIGHT}""")  # fmt: skip
    READ.clear()
    rows = frame.collect(engine="local")
    assert rows.filter(label="c")["image"].to_list() == [None]
    assert rows.height == 7
    assert sorted(READ) == sorted((f"{k}.bin", 9, c) for k in range(3) for c in ("image", "cloud"))


def test_renamed_columns_and_their_order(heavy, fires) -> None:
    frame = heavy.select("n", "image", g="group", points="cloud").sample(n=2, seed=4)
    fires(frame, fetch_late, """
        Select [n, image, g, points]
          Fetch [image, points=cloud] of records 0.bin and 2 more: fetched late, for about 2 rows, about 2,800 of 3,000 bytes are not read
            Sample n=2 seed=4
              Select [n, g=col("group"), __robodf_locator]
                Scan records 0.bin and 2 more columns=[n, group] with locators""")  # fmt: skip  # noqa: E501


def test_each_column_where_it_is_needed(heavy, fires) -> None:
    frame = heavy.sample(n=9, seed=1).filter(col("cloud").list.sum() > 5).sort("n").head(2)
    fires(frame, fetch_late, f"""
        Select [n, group, image, cloud]
          {said(2, 2801, "image")}
            Limit 2
              Sort col("n")
                Filter col("cloud").list.sum() > 5
                  Select [n, group, cloud, __robodf_locator]
                    {said(9, 2100, "cloud")}
                      Sample n=9 seed=1
                        {LIGHT}""")  # fmt: skip
    READ.clear()
    frame.collect(engine="local")
    assert (rows_read("image"), rows_read("cloud")) == (2, 9)


def test_two_sources_in_one_plan(heavy, fires) -> None:
    other = heavy.select("n", other="image").sample(n=3, seed=2)
    frame = heavy.select("n", "image").sample(n=3, seed=1).join(other, on="n", how="inner")
    after = optimize(frame._plan)
    assert not [n for n in plans(after) if isinstance(n, Fetch)]  # one scan: it has two parents
    files = next(n for n in plans(heavy._plan) if isinstance(n, Scan)).source.paths
    apart = rd.from_source(Records.of(list(files[:1]))).select("n", other="image").sample(n=3, seed=2)
    frame = heavy.select("n", "image").sample(n=3, seed=1).join(apart, on="n", how="full", coalesce=True)
    found = late(frame)
    assert len({n.locator for n in found}) == len(found) == 2
    READ.clear()
    rows = frame.collect(engine="local")
    assert rows.height == 6 - len(rows.filter(col("image").polars.is_not_null() & col("other").polars.is_not_null()))
    assert len(READ) == 6
    wanted = lower_all(frame._plan).collect()
    assert sorted(map(repr, rows.rows())) == sorted(map(repr, wanted.rows()))


def test_with_all_rules(heavy, fires) -> None:
    fires(heavy.sort("n", descending=True).filter(col("group") != 1).select("n", "image").head(3), RULES, """
        Fetch [image] of records 0.bin and 2 more: fetched late, for about 3 rows, about 1,800 of 2,100 bytes are not read
          Select [n, __robodf_locator]
            Limit 3
              Sort col("n") desc
                Scan records 0.bin and 2 more columns=[n] where=col("group") != 1 (exact) with locators""")  # fmt: skip  # noqa: E501


# -- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f.filter(col("n") > col("n").mean()),
        lambda f: f.join(rd.from_dict({"n": [3, 5]}), on="n", how="semi"),
        lambda f: f.dedup("n"),
        lambda f: f.dedup("group", keep=rd.best("n")),
        lambda f: f.sort("n", "group").head(5),
        lambda f: f.sample(n=4, seed=3),
        lambda f: f.sample(fraction=0.2, seed=3),
        lambda f: f.unique("group", keep="last", maintain_order=True),
        lambda f: f.sort("n").slice(3, 4),
        lambda f: f.tail(4),
        lambda f: f.join(rd.from_dict({"n": [3, 3, 3, 5]}), on="n"),  # rows are repeated, and read once
        lambda f: f.select("n", "image", "cloud").sort("n").unique("n", keep="first", maintain_order=True).limit(2),
    ],
)
def test_no_more_than_the_rows_of_the_answer(heavy, make) -> None:
    found = make(heavy).collect(engine="local")
    different = found.select("image").unique().height
    assert 0 < rows_read() == different <= found.height
    assert rows_read("cloud") == different
    wanted = lower_all(make(heavy)._plan).collect()
    assert sorted(map(repr, found.rows())) == sorted(map(repr, wanted.rows()))


def test_a_dedup_that_reads_light_columns_holds_them(heavy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["robodf.optimizer.choose_rows_first"], "FEW", 1)
    plan = optimize(heavy.dedup("n")._plan)
    assert [n.apart for n in plans(plan) if type(n).__name__ == "Dedup"] == [()]
    assert [type(n).__name__ for n in plans(plan)] == ["Fetch", "Dedup", "Scan"]


def test_a_dedup_of_light_columns_that_are_many_reads_them_twice(heavy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["robodf.optimizer.choose_rows_first"], "FEW", 0)
    frame = heavy.dedup("n", method="exact", keep=rd.best("group"))
    plan = optimize(frame._plan)
    assert [len(n.apart) for n in plans(plan) if type(n).__name__ == "Dedup"] == [1]
    found = frame.collect(engine="local")
    assert found.height == rows_read() == 10
    assert found.rows() == lower_all(frame._plan).collect().rows()


def test_a_dedup_of_what_was_fetched_holds_it_where_it_is_little(heavy, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = heavy.slice(5, 10).dedup("image")
    for few, twins in ((1001, 0), (900, 1)):
        monkeypatch.setattr(sys.modules["robodf.optimizer.choose_rows_first"], "FEW", few)
        plan = optimize(frame._plan)
        assert [len(n.apart) for n in plans(plan) if type(n).__name__ == "Dedup"] == [twins]
        assert frame.collect(engine="local").rows() == lower_all(frame._plan).collect().rows()


def test_filters_and_limits_go_below_a_fetch(heavy) -> None:
    once = rd.PipelineDataFrame(optimize(heavy.sample(n=9, seed=1)._plan))
    frame = once.filter(col("group") == 1).select("image").head(1)
    assert frame.collect(engine="local").height == rows_read() == 1
    assert rows_read("cloud") == 0
    assert "Known count" not in str(once.explain("optimized"))
    assert once.count_rows() == 9
    assert rows_read() == 1
    light = str(once.select("n").explain("optimized"))
    assert "Fetch" not in light
    assert "locator" not in light


# -- where it does not fire --------------------------------------------------------------------------------------------


def by_python(row: dict) -> bool:
    return len(str(row)) > 3


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f,
        lambda f: f.head(3),  # it is in the scan
        lambda f: f.filter(col("n") > 3),  # and so is this
        lambda f: f.select("n", "image").filter(col("image").bin.size() > 3),  # the filter reads it
        lambda f: f.select("image", "cloud").filter(by_python),
        lambda f: f.group_by("group").agg(x=col("image").first(), y=col("cloud").first()),
        lambda f: f.group_by("group").agg(x=col("n").sum()).sort("x").head(1),  # nothing heavy is needed
        lambda f: f.sort("n"),  # all rows are left
        lambda f: f.sample(fraction=0.9, seed=1),  # nearly all
        lambda f: f.join(rd.from_dict({"group": [2]}), on="group", how="left"),
        lambda f: f.unique(),  # on all columns
        lambda f: f.sample(n=3, seed=1).select("n").join(f, on="n"),  # the scan has two parents
        lambda f: rd.concat([f, f.sample(n=3, seed=1)]),
        lambda f: f.map_batches(lambda b: b, None, preserves_rows=False),
    ],
)
def test_stays(heavy, make) -> None:
    assert late(make(heavy)) == []


def test_not_for_little(heavy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULE, "LEAST", 3001)
    assert late(heavy.sample(n=3, seed=1)) == []
    monkeypatch.setattr(RULE, "LEAST", 3000)
    assert len(late(heavy.sample(n=3, seed=1))) == 1


def test_not_for_a_source_that_saves_nothing(heavy, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (None, Fetching(3000, 3000)):
        monkeypatch.setattr(Records, "fetching", lambda *_, answer=answer: answer)
        assert late(heavy.sample(n=3, seed=1)) == []


@pytest.mark.parametrize("how", ["semi", "inner"])
def test_a_guess_where_a_source_is_not_the_slower_if_it_is_wrong(heavy, fires, how, monkeypatch) -> None:
    """How many rows find a partner is unknown: half of them would not pay, and a join then keeps the order."""

    def answer(self: Records, columns: tuple[str, ...], share: float) -> Fetching:
        return Fetching(3000, int(3000 * min(1.0, 4 * share)), bounded=bounded)

    monkeypatch.setattr(Records, "fetching", answer)
    frame = heavy.join(rd.from_dict({"group": [2]}), on="group", how=how)
    bounded = False
    assert late(frame) == []
    bounded = True
    fires(frame, fetch_late, f"""
        {said(15, 0)}
          Join {how} on col("group") == col("group")
            {LIGHT}
            InMemory 1 rows, 1 columns""")  # fmt: skip
    assert [n.order for n in plans(optimize(frame._plan)) if isinstance(n, Join)] == ["left"]
    assert len(late(heavy.dedup("group"))) == 1
    assert late(heavy.sort("n")) == []  # all rows are left, in another order
    assert late(heavy.with_columns(m=rd.col("n") + 1)) == []


# -- the model -------------------------------------------------------------------------------------------------------


def test_what_pays() -> None:
    assert pays(Fetching(LEAST, int(MOST * LEAST)))
    assert not pays(Fetching(LEAST - 1, 0))
    assert not pays(Fetching(10 * LEAST, int(10 * MOST * LEAST) + 1))
    assert not pays(Fetching(10 * LEAST, 20 * LEAST))
    assert not pays(None)


def test_what_it_costs() -> None:
    size = 8 * PIECE

    def by_row(share: float) -> Fetching:
        return Fetching(size, int(size * share))

    def by_page(share: float) -> Fetching:  # half of the rows touch all pages
        return Fetching(size, int(size * min(1.0, 2 * share)))

    assert cost(by_row, 1.0, 0.25, True) == Fetching(size, size // 4)
    assert cost(by_row, 0.5, 0.25, True) == Fetching(size // 2, size // 8)
    assert cost(by_row, 1.0, 0.25, False) == Fetching(size, size // 4)
    # All pages eight times: in any order each piece finds its rows all over the files.
    assert cost(by_page, 1.0, 1.0, True) == Fetching(size, size)
    assert cost(by_page, 1.0, 1.0, False) == Fetching(size, 2 * size)
    assert cost(lambda share: None, 1.0, 1.0, True) is None
    assert cost(lambda share: Fetching(10, 5, "decoded"), 1.0, 0.5, True) == Fetching(10, 5, "decoded")
