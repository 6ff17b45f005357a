"""Plain comparisons out of conditions, with the same answer for nulls and NaN."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

import robodf as rd
from robodf import col, lit
from robodf.optimizer.simplify_predicates import simplify_predicates
from robodf.plan.base import lower_all

EPOCH = datetime(1970, 1, 1)


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (lambda: ~(lit(5) >= col("k")), 'col("k") > 5'),
        (lambda: lit(1) < col("x"), 'col("x") > 1'),
        (lambda: ~~(col("k") > 1), 'col("k") > 1'),
        (lambda: ~(col("x") > 0), 'col("x") <= 0'),
        (lambda: ~(col("x") == 0), 'col("x") != 0'),
        (lambda: ~col("k").is_null(), 'col("k").is_not_null()'),
        (lambda: col("k").is_between(1, 2), '(col("k") >= 1) & (col("k") <= 2)'),
        (lambda: col("k").is_between(1, 2, closed="none"), '(col("k") > 1) & (col("k") < 2)'),
        (lambda: col("x").is_between(0.0, 1.0, "right"), '(col("x") > 0.0) & (col("x") <= 1.0)'),
        (lambda: col("k").gt(1).and_(col("k").le(2)), '(col("k") > 1) & (col("k") <= 2)'),
        (lambda: (col("k") > 1) & lit(True), 'col("k") > 1'),
        (lambda: (col("k") > 1) & (col("k") > 1), 'col("k") > 1'),
    ],
)
def test_simplified(df, fires, condition, text: str) -> None:
    fires(df.filter(condition()), simplify_predicates, f"Filter {text}\n  InMemory 4 rows, 5 columns")


def test_true_goes(df, fires) -> None:
    fires(df.filter(lit(True) & lit(True)), simplify_predicates, "InMemory 4 rows, 5 columns")


@pytest.mark.parametrize(
    "condition",
    [
        lambda: col("k") > 1,
        lambda: (col("k") > 1) | (col("x") > 0),
        lambda: ~((col("k") > 1) | (col("x") > 0)),
        lambda: ~col("s").str.contains("a"),
        lambda: col("k").is_between(col("x"), 2) | (col("k") > 1),
        lambda: lit(1) > lit(2),
        lambda: lit(False),
        lambda: ~(col("k").is_in([1, None])),
        lambda: col("k").eq_missing(1),
    ],
)
def test_stays(df, condition) -> None:
    """What is left as it is, or changed, gives the same rows."""
    from robodf.optimizer import optimize
    from robodf.plan.base import lower_all

    frame = df.filter(condition())
    after = optimize(frame._plan, (simplify_predicates,))
    assert repr(lower_all(after).collect()) == repr(lower_all(frame._plan).collect())


@pytest.mark.parametrize("condition", [lambda: col("k") > 1, lambda: ~col("s").str.contains("a"), lambda: lit(False)])
def test_nothing_to_do(df, keeps, condition) -> None:
    keeps(df.filter(condition()), simplify_predicates)


def _times():
    units = pl.Series("t", [-1500, -500, 0, 999, 1000, 1500, 2000, 3000, None], pl.Int64)
    return rd.from_polars(pl.DataFrame([units.cast(pl.Datetime("ns")), units.alias("k")]))


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (lambda ns, at: col("t") + ns(5) >= at(7), 'col("t") >= lit(2, Datetime(time_unit=\'ns\', time_zone=None))'),
        (lambda ns, at: ns(5) + col("t") < at(7), 'col("t") < lit(2, Datetime(time_unit=\'ns\', time_zone=None))'),
        (lambda ns, at: col("t") - ns(5) == at(-6), 'col("t") == lit(-1, Datetime(time_unit=\'ns\', time_zone=None))'),
        (lambda ns, at: at(7) < col("t") - ns(5) - ns(1),
         'col("t") > lit(13, Datetime(time_unit=\'ns\', time_zone=None))'),
        (lambda ns, at: col("t") + ns(5) < EPOCH, 'col("t") < lit(-5, Datetime(time_unit=\'ns\', time_zone=None))'),
        (lambda ns, at: col("t") + ns(5) >= EPOCH, 'col("t") >= lit(-5, Datetime(time_unit=\'ns\', time_zone=None))'),
    ],
)  # fmt: skip
def test_a_shifted_time_is_compared_unshifted(fires, condition, text: str) -> None:
    ns, at = lambda n: lit(n, pl.Duration("ns")), lambda n: lit(n, pl.Datetime("ns"))
    fires(_times().filter(condition(ns, at)), simplify_predicates, f"Filter {text}\n  InMemory 9 rows, 2 columns")


@pytest.mark.parametrize(
    "condition",
    [
        lambda ns, at: col("t") + ns(5) != at(7),
        lambda ns, at: col("t") + ns(5) == EPOCH,  # microseconds: equal to a nanosecond, or to a thousand of them
        lambda ns, at: col("t") + ns(5) <= EPOCH,
        lambda ns, at: col("t") + ns(5) > EPOCH,
        lambda ns, at: col("t") + timedelta(microseconds=1) >= EPOCH,  # the sum has microseconds
        lambda ns, at: col("t") + ns(5) >= at(-(1 << 63)),  # what remains would not fit
        lambda ns, at: col("k") + 5 >= 7,
        lambda ns, at: col("t") + ns(5) >= lit(None, pl.Datetime("ns")),
        lambda ns, at: col("t") + lit(None, pl.Duration("ns")) >= at(7),
    ],
)
def test_a_shifted_time_stays(keeps, condition) -> None:
    ns, at = lambda n: lit(n, pl.Duration("ns")), lambda n: lit(n, pl.Datetime("ns"))
    keeps(_times().filter(condition(ns, at)), simplify_predicates)


@pytest.mark.parametrize("op", ["__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"])
def test_nanoseconds_are_compared_as_such(op: str) -> None:
    moment = datetime(1970, 1, 1, 0, 0, 1)
    units = [999_999_999, 1_000_000_000, 1_000_000_001, None]
    frame = rd.from_dict({"t": pl.Series(units, dtype=pl.Datetime("ns")), "x": [True] * 4})
    wanted = [u for u in units if u is not None and getattr(u, op)(1_000_000_000)]
    for where in (getattr(col("t"), op)(moment), getattr(col("t"), op)(moment) & (col("x") | col("x"))):
        chosen = frame.filter(where)
        assert chosen.collect()["t"].cast(pl.Int64).to_list() == wanted
        assert lower_all(chosen._plan).collect()["t"].cast(pl.Int64).to_list() == wanted
    if op != "__ne__":
        either = frame.filter(getattr(col("t"), op)(moment) | (col("t") != col("t")))
        assert either.collect()["t"].cast(pl.Int64).to_list() == wanted


def test_constants_of_polars_are_constants() -> None:
    frame = rd.from_dict({"t": pl.Series([0, 10**9], dtype=pl.Datetime("ns"))})
    for where in (
        pl.col("t") < pl.datetime(1970, 1, 1, 0, 0, 1),
        col("t") < rd.datetime(1970, 1, 1, 0, 0, 1),
        rd.datetime(1970, 1, 1, 0, 0, 1) > col("t"),
    ):
        text = str(frame.filter(where).explain("optimized"))
        assert 'Filter col("t") < datetime.datetime(1970, 1, 1, 0, 0, 1)\n' in text
        assert frame.filter(where).collect().height == 1
