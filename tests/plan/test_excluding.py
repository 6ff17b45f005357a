"""The judge of statistics: what it says that no row satisfies, none does."""

from datetime import date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robodf import col, lit
from robodf.frame.making import as_frame
from robodf.optimizer.simplify_predicates import simplify_predicates
from robodf.plan.excluding import Known, excludes, held
from robodf.plan.expr import conjuncts
from robodf.plan.nodes.filter import Filter

EPOCH = datetime(1970, 1, 1)
_INTS = st.integers(-3, 3) | st.sampled_from([2**62, -(2**62)])
_FLOATS = st.sampled_from([0.1, -0.1, 0.0, -0.0, 1.5, 16777217.0, 1e300, float("nan"), float("inf"), float("-inf")])
_TIMES = st.integers(-3, 3).map(lambda k: EPOCH + timedelta(microseconds=k)) | st.sampled_from(
    [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(2026, 1, 31, 1, 2, 3, 999)]
)
_TEXTS = st.sampled_from(["", "a", "ab", "b", "a" * 40, "a" * 40 + "b", "é", "\uffff", "\U0001f600", "\U0010ffff" * 20])
COLUMNS = {
    "i": (pl.Int64(), _INTS),
    "f": (pl.Float64(), _FLOATS),
    "g": (pl.Float32(), _FLOATS.filter(lambda x: not 1e38 < abs(x) < float("inf"))),
    "t": (pl.Datetime("us"), _TIMES),
    "m": (pl.Datetime("ms"), _TIMES),
    "z": (pl.Datetime("us", "UTC"), _TIMES.map(lambda t: t.replace(tzinfo=timezone.utc))),
    "d": (pl.Date(), _TIMES.map(datetime.date)),
    "s": (pl.String(), _TEXTS),
    "b": (pl.Boolean(), st.booleans()),
}
SCHEMA = {name: dtype for name, (dtype, _) in COLUMNS.items()}


def frames(rows=6):
    column = {name: st.lists(st.none() | values, min_size=1, max_size=rows) for name, (_, values) in COLUMNS.items()}

    def frame(drawn):
        height = min(map(len, drawn.values()))
        return pl.DataFrame([pl.Series(name, drawn[name][:height], SCHEMA[name]) for name in SCHEMA])

    return st.fixed_dictionaries(column).map(frame)


def comparisons():
    def of(name):
        values = COLUMNS[name][1]
        compared = st.tuples(st.sampled_from(["lt", "le", "gt", "ge", "eq", "ne"]), values).map(
            lambda told: getattr(col(name), told[0])(lit(told[1]))
        )
        listed = st.lists(values | st.none(), max_size=3).map(lambda told: col(name).is_in(told))
        found = compared | st.sampled_from([col(name).is_null(), col(name).is_not_null()])
        if name != "m":  # Polars 1.44 has no is_in of times in another unit
            found |= listed
        return found | _TEXTS.map(lambda told: col(name).str.starts_with(told)) if name == "s" else found

    return st.sampled_from(list(COLUMNS)).flatmap(of)


def predicates():
    return st.recursive(
        comparisons(),
        lambda inner: (
            st.tuples(inner, inner).map(lambda p: p[0] & p[1])
            | st.tuples(inner, inner).map(lambda p: p[0] | p[1])
            | inner.map(lambda p: ~p)
        ),
        max_leaves=4,
    )


def known(column: pl.Series) -> Known:
    some = column.drop_nulls()
    if column.dtype.is_float():
        some = some.drop_nans()
    low, high = (some.min(), some.max()) if len(some) else (None, None)
    if column.dtype.is_temporal():
        low, high = (some.to_physical().min(), some.to_physical().max()) if len(some) else (None, None)
    nan = bool(column.is_nan().any()) if column.dtype.is_float() else False
    return Known(low, high, column.null_count(), nan)


@given(frames(), predicates(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_what_is_excluded_is_satisfied_by_no_row(frame, predicate, partly):
    found = {name: known(frame[name]) for name in frame.columns}
    if partly:  # less is known
        found = {name: Known(told.low, told.high) for name, told in found.items()}
    simple = simplify_predicates(Filter(as_frame(frame)._plan, predicate))
    parts = conjuncts(simple.where) if isinstance(simple, Filter) else []
    for part in [predicate, *parts]:
        if excludes(part, SCHEMA, found.get, frame.height):
            assert frame.filter(part.polars).height == 0, (part, frame)


@pytest.mark.parametrize(
    ("predicate", "dtype", "told", "wanted"),
    [
        (col("x") < 10, pl.Int64(), Known(10, 40), True),
        (col("x") <= 10, pl.Int64(), Known(10, 40), False),
        (col("x") == 41, pl.Int64(), Known(10, 40), True),
        (col("x") != 10, pl.Int64(), Known(10, 10), True),
        (col("x").is_in([1, 50]), pl.Int64(), Known(10, 40), True),
        (col("x").is_in([1, 30]), pl.Int64(), Known(10, 40), False),
        (col("x").is_in([]), pl.Int64(), Known(10, 40), True),
        (col("x") > 5, pl.Float64(), Known(1.0, 2.0), False),  # there may be NaN, which is above
        (col("x") > 5, pl.Float64(), Known(1.0, 2.0, nan=False), True),
        (col("x") > 5.0, pl.Float64(), Known(1.0, 2.0, nan=False), True),
        (col("x") == 0.1, pl.Float32(), Known(float(np.float32(0.1)), float(np.float32(0.1))), False),
        (col("x") < float("nan"), pl.Float64(), Known(1.0, 2.0), False),
        (col("x") < 1, pl.Float64(), Known(float("nan"), float("nan")), False),
        (col("x") < 5, pl.Int64(), Known(40, 10), False),  # bounds that cannot be
        (col("x") < "5", pl.Int64(), Known(10, 40), False),
        (col("x") == 1, pl.Int64(), Known(nulls=3), True),
        (col("x").is_null(), pl.Int64(), Known(nulls=0), True),
        (col("x").is_not_null(), pl.Int64(), Known(nulls=3), True),
        (col("x").is_not_null(), pl.Int64(), Known(nulls=2), False),
        (col("x") < date(2026, 1, 1), pl.Date(), Known(held(date(2026, 1, 1), pl.Date()), 1 << 40), True),
        (col("x") > datetime(9999, 1, 1), pl.Datetime("us"), Known(0, 1 << 62), False),
        (col("x").str.starts_with("b"), pl.String(), Known("c", "d"), True),
        (col("x").str.starts_with("c"), pl.String(), Known("b", "cz"), False),
    ],
)  # fmt: skip
def test_what_is_judged(predicate, dtype, told, wanted):
    assert excludes(predicate, {"x": dtype}, {"x": told}.get, 3) is wanted
