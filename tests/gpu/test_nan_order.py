"""Comparisons of floats that mean on a GPU what they mean for Polars."""

from __future__ import annotations

import itertools
import operator

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.gpu.nan_order import spelled_out
from robodf.plan.expr import Expr

NAN = float("nan")
OPS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]

VALUES = {
    "a": pl.Series([1.0, -0.0, 0.0, NAN, None, 2.5], dtype=pl.Float64),
    "b": pl.Series([1.0, 0.0, NAN, None, 3.0], dtype=pl.Float32),
    "i": pl.Series([1, 0, None, 2], dtype=pl.Int64),
}
ROWS = pl.DataFrame(list(itertools.product(*VALUES.values())), schema=list(VALUES), orient="row").cast(
    {name: values.dtype for name, values in VALUES.items()}
)

SIDES = [col("a"), col("b"), col("i"), rd.lit(0.0), rd.lit(NAN), rd.lit(None, pl.Float64), rd.lit(1), col("a") * 2]


def _comparisons() -> list[Expr]:
    found = [op(a, b) for op in OPS for a, b in itertools.product(SIDES, SIDES) if a.columns or b.columns]
    found += [getattr(col("a"), name)(col("b")) for name in ("lt", "le", "gt", "ge", "eq", "ne")]
    both = [op(col("a"), 0.5) & ~op(col("b"), col("a")) | (col("i") > 0) for op in OPS]
    return [
        *found,
        *both,
        ~(col("a") < 0.5),
        ~(col("a") > 1),
        col("a").is_between(0.1, 0.5),
        rd.when(col("a") > 1).then(1).otherwise(2),
    ]


def test_spelling_out_changes_nothing_for_polars() -> None:
    schema = dict(ROWS.schema)
    for e in _comparisons():
        wanted = ROWS.select(e.polars.alias("is"))
        assert wanted.equals(ROWS.select(spelled_out(e, schema).polars.alias("is"))), repr(e)


def test_only_what_may_be_nan_is_spelled_out() -> None:
    schema = dict(ROWS.schema)
    for e in (col("a") < 0.5, col("a") == 1.0, col("i") > 0.5, col("i") >= col("i"), col("a").is_null()):
        assert spelled_out(e, schema) is e
    assert repr(spelled_out(col("a") > 0.5, schema)) == '(col("a") > 0.5) | col("a").is_nan()'


def test_columns_that_are_not_there_are_left_alone() -> None:
    e = col("elsewhere") > 0.5
    assert spelled_out(e, dict(ROWS.schema)) is e


@pytest.mark.gpu_plan
def test_all_that_is_spelled_out_may_go_to_a_gpu() -> None:
    from robodf.gpu.translation import obstacles

    empty, schema = ROWS.clear().lazy(), dict(ROWS.schema)
    refused = [e for e in _comparisons() if obstacles(empty.select(spelled_out(e, schema).polars.alias("is")))]
    # Polars turns ~(b < a) into b >= a, which is another thing where one is NaN and the other is a number.
    assert [repr(e) for e in refused] == [
        f'((col("a") {op} 0.5) & ~(col("b") {op} col("a"))) | (col("i") > 0)' for op in ("<", "<=", ">", ">=")
    ]


@pytest.mark.gpu_plan
def test_what_is_not_spelled_out_stays_on_the_cpu() -> None:
    from robodf.gpu.nan_order import SAID
    from robodf.gpu.translation import obstacles

    empty = ROWS.clear().lazy()
    for e in (pl.col("a") > 0.5, pl.col("a") == pl.col("b"), ~(pl.col("a") <= 1), pl.col("a").eq_missing(pl.col("b"))):
        assert obstacles(empty.filter(e)) == [SAID]
        assert obstacles(empty.select(pl.when(e).then(1).otherwise(2))) == [SAID]
    for e in (pl.col("a") < 0.5, pl.col("a").is_between(0.1, 0.5), pl.col("i") > 0.5, pl.col("a") == 2.0):
        assert obstacles(empty.filter(e)) == []
