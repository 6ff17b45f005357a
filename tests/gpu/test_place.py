"""A plan in, its fragments out: as text, inline; and both give the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest
from placing import PRETENDED, all_of_polars, forced, rows_of, text_of

import robodf as rd
from robodf import col
from robodf.compat import run
from robodf.gpu.devices import Device
from robodf.gpu.facts import Facts
from robodf.gpu.running import Ways
from robodf.optimizer import optimize
from robodf.physical.local import user_errors
from robodf.physical.on_device import Given, OnDevice
from robodf.physical.place import place
from robodf.plan.base import lower_all, plans

ANY = Facts(Device(0, "any", (9, 0), 80 << 30, None), None, 16)


@pytest.fixture
def a(tmp_path: Path) -> rd.PipelineDataFrame:
    path = tmp_path / "a.parquet"
    pl.DataFrame(
        {"k": [1, 2, 2, None], "x": [0.5, float("nan"), -1.0, None], "s": ["a", "b", "", None], "t": [4, 3, 2, 1]}
    ).write_parquet(path)
    return rd.read_parquet(str(path))


@pytest.fixture
def places() -> Callable[..., None]:
    """`places(frame, text)`: the placed plan is `text`, and gives the rows of the plan."""

    def check(frame: rd.PipelineDataFrame, text: str, ordered: bool = True) -> None:
        placed = forced(frame._plan, ANY)
        assert text_of(placed) == dedent(text).strip()
        wanted, found = run(lower_all(optimize(frame._plan))), rows_of(placed)
        assert found.schema == wanted.schema
        keep = list if ordered else sorted
        assert keep(map(repr, found.rows())) == keep(map(repr, wanted.rows()))

    return check


def same(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def test_all_of_a_query(a: rd.PipelineDataFrame, places: Callable[..., None]) -> None:
    places(
        a.filter(col("x") > 0).group_by("k").agg(col("x").sum()).sort("k"),
        """
        OnDevice, 3 operators
          | Sort col("k")
          |   GroupBy by [k] agg [x=col("x").sum()]
          |     Scan parquet a.parquet columns=[k, x] where=(col("x") > 0) | col("x").is_nan() (exact)
        """,
    )


def test_what_python_makes_is_handed_over(a: rd.PipelineDataFrame, places: Callable[..., None]) -> None:
    places(
        a.map_batches(same).filter(col("x") > 0).group_by("k").agg(n=rd.len()).sort("k"),
        """
        OnDevice, 3 operators
          | Sort col("k")
          |   GroupBy by [k] agg [n=len()]
          |     Filter (col("x") > 0) | col("x").is_nan()
          |       rows of input 1
          MapBatches of 1024 rows: same (on polars)
            Scan parquet a.parquet
        """,
    )


def test_what_lies_between_two_fragments(a: rd.PipelineDataFrame, places: Callable[..., None]) -> None:
    places(
        a.sort("t").map_batches(same).sort("k", "t"),
        """
        OnDevice, 1 operator
          | Sort col("k"), col("t")
          |   rows of input 1
          MapBatches of 1024 rows: same (on polars)
            OnDevice, 2 operators
              | Sort col("t")
              |   Scan parquet a.parquet
        """,
    )


def test_rows_in_memory_are_handed_over(a: rd.PipelineDataFrame, places: Callable[..., None]) -> None:
    b = rd.from_dict({"k": [1, 2], "y": ["p", "q"]})
    places(
        a.join(b, on="k", maintain_order="left"),
        """
        OnDevice, 2 operators
          | Join inner on col("k") == col("k")
          |   Scan parquet a.parquet
          |   rows of input 1
          InMemory 2 rows, 2 columns
        """,
    )


def test_a_part_used_twice_in_one_fragment_stays_there(a: rd.PipelineDataFrame, places: Callable[..., None]) -> None:
    good = a.sort("t").filter(col("x") > -2)
    places(
        good.join(good.group_by("k").agg(n=rd.len()), on="k", maintain_order="left").sort("t"),
        """
        OnDevice, 5 operators
          | Sort col("t")
          |   Join inner on col("k") == col("k")
          |     #1 Sort col("t")
          |       Scan parquet a.parquet where=(col("x") > -2) | col("x").is_nan() (exact)
          |     GroupBy by [k] agg [n=len()]
          |       (same as #1: Sort col("t"))
        """,
    )


def test_a_part_used_on_both_sides_is_a_fragment_of_its_own(
    a: rd.PipelineDataFrame, places: Callable[..., None]
) -> None:
    good = a.sort("t").filter(col("x") > -2)
    places(
        rd.concat([good.map_batches(same), good]).sort("t"),
        """
        OnDevice, 2 operators
          | Sort col("t")
          |   Concat of 2
          |     rows of input 1
          |     rows of input 2
          MapBatches of 1024 rows: same (on polars)
            #1 Shared
              OnDevice, 2 operators
                | Sort col("t")
                |   Scan parquet a.parquet where=(col("x") > -2) | col("x").is_nan() (exact)
          (same as #1: Shared)
        """,
    )


def test_a_scan_alone_does_not_go(a: rd.PipelineDataFrame, places: Callable[..., None]) -> None:
    places(a.filter(col("s") == "a"), "Scan parquet a.parquet where=col(\"s\") == 'a' (exact)")
    places(rd.from_dict({"k": [1]}), "InMemory 1 rows, 1 columns")


def test_reasons_are_said_of_each_operator_that_stays(a: rd.PipelineDataFrame) -> None:
    placed = forced(a.map_batches(same).sort("t")._plan, ANY)
    assert placed.stay == (
        ("MapBatches of 1024 rows: same (on polars)", "its rows are made by Python on the CPU"),
        ("Scan parquet a.parquet", "what uses its rows is on the CPU"),
    )
    assert "fragment 1: GPU, as all that can was asked for" in str(placed)


def test_an_operator_that_is_too_much_for_the_rest_stays(a: rd.PipelineDataFrame) -> None:
    def not_together(query: pl.LazyFrame) -> list[str]:
        text = query.explain(optimized=False)
        return ["not in one query"] if "SORT BY" in text and "AGGREGATE" in text else all_of_polars(query)

    frame = a.group_by("k").agg(n=rd.len()).sort("k").filter(col("n") > 0).select("k")
    placed = place(optimize(frame._plan), ANY, forced=True, ask=not_together, ways=PRETENDED)
    assert placed.stay == (('Sort col("k")', "it does not translate with what is below it: not in one query"),)
    assert [len(d.plan.schema) for d in placed.decisions if d.on_gpu] == [2, 1]
    assert rows_of(placed).equals(frame.collect(engine="local"))


def test_without_a_gpu_nothing_goes(a: rd.PipelineDataFrame) -> None:
    plan = optimize(a.sort("t")._plan)
    placed = place(plan, Facts(None, None, 16, "no driver"), forced=True, ask=all_of_polars)
    assert placed.plan is plan
    assert [d.why for d in placed.decisions] == ["there is no GPU: no driver"]


def _full(query: pl.LazyFrame) -> pl.DataFrame:
    raise MemoryError("std::bad_alloc: out_of_memory: CUDA error at: memory.cu:42\nmore lines")


def _too_many_rows(query: pl.LazyFrame) -> pl.DataFrame:
    raise OverflowError("Total number of concatenated rows exceeds the column size limit")


def _unknown(query: pl.LazyFrame) -> pl.DataFrame:
    raise NotImplementedError("quantile of this type")


def _refused(query: pl.LazyFrame) -> pl.DataFrame:
    raise pl.exceptions.ComputeError("'cuda' conversion failed: NotImplementedError: not that\nThe errors were: ...")


def _never(query: pl.LazyFrame) -> pl.DataFrame:
    raise AssertionError("this way was not to be tried")


@pytest.mark.parametrize(
    ("ways", "where", "failed"),
    [
        ((("GPU", run), ("CPU", _never)), "GPU", ()),
        (
            (("GPU", _full), ("GPU in pieces", run), ("CPU", _never)),
            "GPU in pieces",
            ("GPU: no memory left (std::bad_alloc: out_of_memory: CUDA error at: memory.cu:42)",),
        ),
        (
            (("GPU", _too_many_rows), ("GPU in pieces", _full), ("CPU", run)),
            "CPU",
            (
                "GPU: more rows than fit (Total number of concatenated rows exceeds the column size limit)",
                "GPU in pieces: no memory left (std::bad_alloc: out_of_memory: CUDA error at: memory.cu:42)",
            ),
        ),
        (
            (("GPU", _unknown), ("GPU in pieces", _never), ("CPU", run)),
            "CPU",
            ("GPU: cudf-polars cannot do it (quantile of this type)",),
        ),
        (
            (("GPU", _refused), ("GPU in pieces", _never), ("CPU", run)),
            "CPU",
            ("GPU: cudf-polars cannot do it ('cuda' conversion failed: NotImplementedError: not that)",),
        ),
    ],
)
def test_what_a_gpu_cannot_do_is_done_in_pieces_or_on_the_cpu(
    a: rd.PipelineDataFrame, ways: Ways, where: str, failed: tuple[str, ...]
) -> None:
    frame = a.filter(col("x") > 0).sort("t")
    placed = place(optimize(frame._plan), ANY, forced=True, ask=all_of_polars, ways=ways)
    assert rows_of(placed).equals(frame.collect(engine="local"))
    (node,) = [n for n in plans(placed.plan) if isinstance(n, OnDevice)]
    (ran,) = node.fragment.ran
    assert (ran.where, ran.failed, ran.rows) == (where, failed, 2)
    assert ran.seconds >= 0


def test_an_error_of_the_query_is_an_error_on_a_gpu(a: rd.PipelineDataFrame) -> None:
    def wrong(query: pl.LazyFrame) -> pl.DataFrame:
        raise pl.exceptions.InvalidOperationError("conversion from `str` to `i64` failed")

    plan = optimize(a.sort("t")._plan)
    placed = place(plan, ANY, forced=True, ask=all_of_polars, ways=(("GPU", wrong), ("CPU", _never)))
    with pytest.raises(pl.exceptions.InvalidOperationError, match="conversion from `str`"), user_errors():
        rows_of(placed)


def test_memory_that_ends_on_the_cpu_too_is_an_error(a: rd.PipelineDataFrame) -> None:
    placed = place(optimize(a.sort("t")._plan), ANY, forced=True, ask=all_of_polars, ways=(("CPU", _full),))
    with pytest.raises(MemoryError, match="out_of_memory"), user_errors():
        rows_of(placed)


def test_a_placed_plan_travels(a: rd.PipelineDataFrame) -> None:
    import pickle

    from robodf.plan.flat import FlatPlan

    frame = a.map_batches(same).filter(col("x") > 0).sort("t")
    placed = forced(frame._plan, ANY)
    again = pickle.loads(pickle.dumps(FlatPlan(placed.plan))).plan()
    assert run(lower_all(again)).equals(frame.collect(engine="local"))
    (top,) = [n for n in plans(again) if isinstance(n, OnDevice)]
    assert any(isinstance(n, Given) for n in plans(top.fragment.plan))
