"""Frame-wide sums, and conditions of many parts."""

from __future__ import annotations

import functools
import operator
from datetime import datetime

import polars as pl
import pytest

import robodf as rd
from robodf.errors import ColumnNotFoundError, OptionError

DATA = pl.DataFrame(
    {
        "a": [1, 2, None],
        "x": [0.5, float("nan"), 1.5],
        "s": ["p", "q", "q"],
        "t": [datetime(2026, 1, 1), datetime(2026, 1, 3), None],
        "l": [[1], [], None],
        "b": [True, False, True],
    }
)


@pytest.mark.parametrize("name", ["sum", "mean", "median", "min", "max", "std", "var"])
def test_one_row_with_null_where_polars_has_no_such_value(engine, name):
    row = getattr(rd.from_polars(DATA), name)().collect(engine=engine)
    assert row.height == 1
    for column in DATA.columns:
        try:
            wanted = DATA.select(getattr(pl.col(column), name)()).item()
        except pl.exceptions.InvalidOperationError:
            wanted = None
        assert (
            row[column].to_list() == pytest.approx([wanted], nan_ok=True) if column == "x" else row[column][0] == wanted
        )


def test_null_count_and_n_unique(engine):
    df = rd.from_polars(DATA)
    assert df.null_count().collect(engine=engine).row(0) == (1, 0, 0, 1, 1, 0)
    assert df.n_unique().collect(engine=engine).row(0) == (3, 3, 2, 3, 3, 2)


@pytest.mark.parametrize("n", [3, 63, 65, 400])
def test_conditions_of_many_parts(engine, n):
    df = rd.from_dict({"a": list(range(500))})
    none = functools.reduce(operator.and_, [rd.col("a") != i for i in range(n)])
    some = functools.reduce(operator.or_, [rd.col("a") == i for i in range(n)])
    assert df.filter(none).collect(engine=engine)["a"].to_list() == list(range(n, 500))
    assert df.filter(some).collect(engine=engine)["a"].to_list() == list(range(n))
    assert df.filter(*(rd.col("a") != i for i in range(n))).count_rows() == 500 - n


def test_arithmetic_that_is_nested_too_deep_says_what_to_do():
    with pytest.raises(OptionError, match="more than 150 nested operators.*with_columns"):
        functools.reduce(operator.add, [rd.col("a")] * 300)


def test_a_condition_as_text_is_explained():
    with pytest.raises(ColumnNotFoundError, match="a text names a column; a condition is an expression"):
        rd.from_polars(DATA).filter("a > 1")
