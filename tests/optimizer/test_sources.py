"""What reaches a source: predicates by what it supports, and never twice."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

import robodf as rd
from robodf import col
from robodf.io.source import Request, Source, Support
from robodf.plan.nodes.scan import Scan

ASKED: list[Request] = []


@dataclass(frozen=True)
class Half(Source):
    """Numbers: `a` is pruned only, `b` is exact, `c` is of no use."""

    rows: int = 10

    @property
    def name(self) -> str:
        return "half"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {"a": pl.Int64(), "b": pl.Int64(), "c": pl.Int64()}

    def support(self, predicate) -> Support:
        if predicate.columns == {"a"}:
            return Support.INEXACT
        return Support.EXACT if predicate.columns == {"b"} else Support.NONE

    def scan(self, request: Request) -> pl.LazyFrame:
        ASKED.append(request)
        frame = pl.LazyFrame({name: list(range(self.rows)) for name in "abc"})
        for predicate in request.predicates:
            if predicate.columns == {"b"}:
                frame = frame.filter(predicate.polars)
        if request.limit is not None:
            frame = frame.head(request.limit)
        return frame.select(request.columns)

    def plan(self) -> Scan:
        return Scan(self)


def _asked(frame: rd.PipelineDataFrame) -> Request:
    ASKED.clear()
    frame.collect()
    (request,) = ASKED
    return request


def test_exact_leaves_nothing_and_inexact_leaves_the_filter() -> None:
    frame = rd.PipelineDataFrame(Half().plan()).filter(col("a") > 2, col("b") < 8, col("c") != 5)
    assert str(frame.explain("optimized")) == (
        'Filter (col("a") > 2) & (col("c") != 5)\n  Scan half where=col("a") > 2 (inexact) & col("b") < 8 (exact)'
    )
    assert [repr(p) for p in _asked(frame).predicates] == ['col("a") > 2', 'col("b") < 8']
    assert frame.collect()["a"].to_list() == [3, 4, 6, 7]


def test_the_same_predicate_twice_is_asked_once() -> None:
    frame = rd.PipelineDataFrame(Half().plan()).filter(col("b") < 8).sort("c").filter(col("b") < 8, col("b") > 1)
    assert [repr(p) for p in _asked(frame).predicates] == ['col("b") < 8', 'col("b") > 1']
    assert frame.collect().height == 6


def test_columns_and_limit() -> None:
    request = _asked(rd.PipelineDataFrame(Half().plan()).filter(col("b") < 8).select("c").head(3))
    assert (request.columns, request.limit) == (("c",), 3)
    request = _asked(rd.PipelineDataFrame(Half().plan()).filter(col("c") < 8).select("b").head(3))
    assert (request.columns, request.limit) == (("b", "c"), None)


def test_a_count_reads_one_column() -> None:
    ASKED.clear()
    assert len(rd.PipelineDataFrame(Half().plan()).filter(col("b") < 8)) == 8
    assert ASKED[-1].columns == ("a",)
