# ruff: noqa: E501, SIM300 - tables of cases
"""A user's Polars expressions in robodf's nodes: the same meaning, or kept whole."""

from __future__ import annotations

import io
import math
import pickle
import warnings
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from robodf.plan.expr import Call, Col, Lit, Native, conjuncts, freeze
from robodf.plan.importing import import_polars
from robodf.plan.node import walk

DATA = pl.DataFrame(
    {
        "a": [1, -2, None, 0, 2**62],
        "b": [0.5, float("nan"), None, -0.0, float("inf")],
        "s": ["x", "", None, "é", "^a.*$"],
        "p": [True, False, None, True, False],
        "q": [True, None, None, False, False],
        "t": pl.Series([0, 1, None, -1, 10**18]).cast(pl.Datetime("ns")),
        "r": [{"f": 1, "g": {"h": 2.0}}, {"f": None, "g": None}, None, {"f": 3, "g": {"h": None}}, {"f": 4, "g": {"h": 1.0}}],
        "u": pl.Series([1, 255, None, 0, 7], dtype=pl.UInt8),
    }
)  # fmt: skip

a, b, s, p, q, t, r, u = (pl.col(name) for name in DATA.columns)

UNDERSTOOD = [
    a, pl.lit(1) + a, a + 1, a - 1, a * 2, a / 3, a // 2, a % 2, 1 - a, 7 // a, b**2, b + a, -a, abs(a), -b, a.neg(), a.abs(),
    a == 1, a != 1, a < 1, a <= 1, a > 1, a >= 1, 1 < a, a.eq_missing(None), a.ne_missing(1), b == b, s == "x", s > "a",
    p & q, p | q, p ^ q, ~p, p.and_(q, q), p.not_(), p.xor(q), (a > 0) & (b < 1.0) & (s != ""), ((a > 0) | p) & ~q,
    a.is_null(), a.is_not_null(), b.is_nan(), b.is_not_nan(), b.is_finite(), b.is_infinite(),
    a.is_in([1, 2]), s.is_in(["x", "é"]), b.is_in([0.5, 1.0]), a.is_in([]), t.is_in([datetime(1970, 1, 1)]), ~s.is_in(["x"]),
    a.is_between(0, 5), a.is_between(0, 5, closed="left"), a.is_between(0, 5, closed="right"),
    a.is_between(0, b, closed="none"), t.is_between(datetime(1960, 1, 1), datetime(2020, 1, 1)),
    a.cast(pl.Float64), b.cast(pl.Int32, strict=False), u.cast(pl.Int8, wrap_numerical=True), a.cast(pl.String),
    t.cast(pl.Datetime("ms")), t.cast(pl.Date), a.cast(pl.Duration("us")), a.cast(pl.Decimal(38, 0)), a.cast(pl.Boolean),
    a.alias("z"), (a + 1).alias("é"), r.struct.field("f"), r.struct.field("g").struct.field("h") > 1, r.struct["f"],
    pl.when(a > 0).then(b).otherwise(0.0), pl.when(p).then(a), pl.when(p).then(1).when(q).then(2).otherwise(None),
    pl.lit(True) & p, pl.lit(None), pl.lit("text"), pl.lit(b"\x00\xff"), pl.lit(date(2024, 2, 29)), pl.lit(time(1, 2, 3, 4)),
    pl.lit(datetime(2024, 1, 1, 1, 1, 1, 7)), pl.lit(timedelta(days=-1, microseconds=1)), pl.lit(-(2**63)), pl.lit(2**100),
    pl.lit(datetime(2024, 1, 1, tzinfo=timezone.utc)), pl.lit(1, dtype=pl.Int8), pl.lit(200, dtype=pl.UInt8),
    pl.lit(1.5, dtype=pl.Float32), pl.lit(datetime(2024, 1, 1), dtype=pl.Datetime("ns")), u + pl.lit(1, dtype=pl.UInt8),
    pl.lit(timedelta(1), dtype=pl.Duration("ms")), t > datetime(2000, 1, 1), u + 1, u * 300 > 5, pl.lit(-0.0), pl.lit(1e308),
]  # fmt: skip

NOT_UNDERSTOOD = [
    a.sum(), a.sum() > 1, (a > 1) & (b > b.mean()), a.over("s"), a.shift(1), a.rank(), pl.col("a", "b"), pl.all(),
    pl.col("^a.*$"), pl.col(pl.Int64), pl.exclude("a"), pl.nth(0), s.str.contains("x"), t.dt.year(), a.is_in(b),
    a.is_in([1, None], nulls_equal=True), a.is_in(pl.Series([1, 2])), pl.lit(pl.Series([1, 2])), pl.lit([1, 2]),
    pl.lit(float("nan")), pl.lit(float("inf")), a.name.suffix("x"), a.cast(pl.List(pl.Int64)), pl.element(), pl.len(),
    a.map_batches(lambda x: x), a.sort(), pl.struct("a"), pl.concat_str("s", "a"), a.filter(p), a.first(), pl.row_index(),
    pl.lit(pl.Series([1], dtype=pl.Int64)).cast(pl.Datetime("ns")) > 1, a.fill_null(0), b.round(1), pl.lit({"x": 1}),
    s.cast(pl.Enum(["x"])), pl.int_range(3), pl.when(a.sum() > 0).then(a), (a > 1) & a.is_in(b.implode()),
]  # fmt: skip


@pytest.mark.parametrize("e", UNDERSTOOD, ids=str)
def test_understood_wholly_and_means_the_same(e):
    made = import_polars(e)
    assert not any(isinstance(n, Native) for n in walk(made))
    assert made.polars.meta.eq(e)
    assert made.columns == frozenset(e.meta.root_names())
    assert_frame_equal(DATA.select(made.polars), DATA.select(e), check_exact=True)
    assert pickle.loads(pickle.dumps(made)) is made


@pytest.mark.parametrize("e", NOT_UNDERSTOOD, ids=str)
def test_anything_else_is_kept_whole(e):
    made = import_polars(e)
    assert isinstance(made, Native)
    assert made.polars is e
    assert not made.rowwise


def test_the_same_nodes_as_those_of_robodf():
    assert import_polars(pl.col("a") > 1) is (Col("a") > 1)
    assert import_polars(pl.col("a").is_in([1, 2])) is Col("a").is_in([1, 2])
    assert import_polars(pl.col("a").is_null()) is Col("a").is_null()
    assert freeze(pl.col("a")) is Col("a")
    assert (Col("b") > pl.col("a")) is (Col("b") > Col("a"))


def test_conjunctions_can_be_taken_apart():
    parts = conjuncts(import_polars((a > 1) & (s == "x") & p.not_()))
    assert parts == [Col("a") > 1, Col("s") == "x", ~Col("p")]


def test_numbers_without_a_type_stay_so_and_typed_ones_keep_theirs():
    assert import_polars(pl.lit(1)) is Lit(1)
    assert import_polars(pl.lit(1, dtype=pl.Int8)) is Lit(1, pl.Int8())
    assert import_polars(pl.lit(True)) is Lit(True)
    assert import_polars(pl.lit(1.0)) is Lit(1.0)
    assert DATA.select(import_polars(u + 1).polars).schema["u"] == pl.UInt8
    assert math.copysign(1, import_polars(pl.lit(-0.0)).value) == -1


def test_nanoseconds_of_a_literal_are_not_lost():
    form = b'{"Literal":{"Scalar":{"Datetime":[1,"Nanoseconds",null]}}}'
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        literal = pl.Expr.deserialize(io.BytesIO(form), format="json")
    assert isinstance(import_polars(t > literal), Native)


def test_decimals():
    e = pl.lit(Decimal("1.20")) + a.cast(pl.Decimal(10, 2))
    made = import_polars(e)
    assert made.polars.meta.eq(e)


def test_a_larger_expression_is_not_read():
    huge = a.is_in(list(range(400_000)))
    assert isinstance(import_polars(huge), Native)
    deep = a > 0
    for _ in range(300):
        deep = deep & (a > 0)
    assert import_polars(deep).polars.meta.eq(deep)


def test_an_operand_of_a_recorded_call():
    e = Col("a").fill_null(pl.col("b") + 1)
    assert isinstance(e, Call)
    assert e.args[1] is Col("b") + 1
