# ruff: noqa: E501 - tables of cases
"""Polars' functions without a frame: recorded by name, and the same results."""

from __future__ import annotations

import ast
import inspect
import pickle
import typing
from datetime import date, datetime, time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from robodf.errors import OptionError
from robodf.plan import functions as rd
from robodf.plan.expr import Call, Col, Expr, Lit

DATA = pl.DataFrame(
    {
        "a": [3, 1, None, 2],
        "b": [1.5, 2.5, -1.0, None],
        "s": ["x", None, "z", ""],
        "p": [True, False, None, True],
        "q": [True, None, True, True],
        "d": [date(2024, 1, 1), date(2024, 1, 6), None, date(2024, 1, 8)],
        "e": [date(2024, 1, 9), date(2024, 1, 7), date(2024, 1, 2), date(2024, 1, 10)],
        "n": [1, 2, 3, 2],
    }
)

# Why a function of Polars that gives expressions is not here.
LEFT_OUT = {
    "fold": "calls Python on whole columns: map_batches of a frame does that",
    "reduce": "calls Python on whole columns",
    "cum_fold": "calls Python on whole columns",
    "cum_reduce": "calls Python on whole columns",
    "map_batches": "calls Python on whole columns",
    "map_groups": "calls Python on whole columns",
    "pipe_with_dtype": "calls Python with a type that is known to Polars only",
    "sql_expr": "SQL has a way of its own",
    "dtype_of": "gives a type, not a value",
    "self_dtype": "gives a type, not a value",
    "struct_with_fields": "gives a type, not a value",
    "groups": "only in Polars 1",
    "arctan2d": "only in Polars 1",
    "collect_all": "runs queries",
    "select": "makes a frame",
}

# One call for each function, made of `F`, which is robodf's functions in one run and Polars' in the other.
CALLS = """
F.all(); F.all('p'); F.all('p', ignore_nulls=False); F.all_horizontal('p', 'q'); F.any('p'); F.any_horizontal('p', F.col('q'))
F.approx_n_unique('a'); F.arange(0, 4); F.arctan2('a', 'b'); F.arg_sort_by('a', descending=True); F.arg_where(F.col('n') > 1)
F.business_day_count('d', 'e'); F.coalesce('a', 'b', 0); F.coalesce(F.col('a'), 7); F.col('a'); F.col('a', 'b'); F.col(['a', 'b'])
F.col('*'); F.col('^(a|b)$'); F.col(pl.Int64); F.col(pl.Int64, pl.String); F.col([pl.Int64]); F.col.a; F.concat_arr('a', 'n')
F.concat_list('a', 'n'); F.concat_list(['a', 'n']); F.concat_str('s', 'a', separator='-', ignore_nulls=True); F.concat_str(['s', F.lit('!')])
F.corr('a', 'b'); F.corr('a', 'b', method='spearman'); F.count('a'); F.count('a', 'b'); F.cov('a', 'b'); F.cum_count('a'); F.cum_sum('a')
F.cum_sum_horizontal('a', 'n'); F.date(2024, F.col('n'), 1); F.date(2024, 'n', 1); F.date_range(date(2024, 1, 1), date(2024, 1, 4))
F.date_ranges('d', 'e'); F.datetime(2024, 'n', 1, hour=3); F.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 4), '1d')
F.datetime_ranges('d', 'e', interval='12h'); F.duration(hours='n', days=F.col('a')); F.col('a').rolling_sum(2); F.exclude('a'); F.exclude('a', 'b')
F.first('a'); F.first(); F.format('{}-{}', 's', F.col('a')); F.from_epoch('n', time_unit='d'); F.head('a', 2); F.implode('a')
F.int_range(0, 4); F.int_range(F.len()); F.int_ranges(0, 'n'); F.last('a'); F.last(); F.len(); F.linear_space(0, 3, 4); F.linear_spaces('n', 9, 3)
F.list('a', 'n'); F.lit(1); F.lit('s'); F.lit(None); F.lit(1, dtype=pl.Int8); F.lit([1, 2]); F.lit(date(2024, 1, 1)); F.lit(pl.Series([1, 2, 3, 4]))
F.max('a'); F.max('a', 'b'); F.max('^(a|b)$'); F.max_horizontal('a', 'b'); F.mean('a'); F.mean_horizontal('a', 'b'); F.median('a')
F.min('a'); F.min_horizontal('a', F.lit(2)); F.n_unique('s'); F.nth(0); F.nth(0, 2); F.ones(4, dtype=pl.Int8); F.quantile('a', 0.5)
F.quantile('a', 0.5, 'linear'); F.repeat('v', 4); F.repeat(F.lit(None), 4, dtype=pl.Int8); F.rolling_corr('a', 'b', window_size=2)
F.rolling_cov('a', 'b', window_size=2); F.row_index(); F.row_index('i'); F.std('a'); F.std('a', ddof=0); F.struct('a', 'b'); F.struct(['a', F.col('b') + 1])
F.struct(x='a', y=F.lit(1)); F.sum('a'); F.sum('a', 'b'); F.sum_horizontal('a', 'n', ignore_nulls=False); F.tail('a', 2); F.time('n', 1)
F.time_range(time(0), time(3), '1h'); F.time_ranges(time(0), F.time('n')); F.var('a', 0); F.zeros(4)
F.when(F.col('a') > 1).then(1).otherwise(0); F.when(F.col('a') > 1).then('b'); F.when('p').then(F.lit('yes')).otherwise(F.lit('no'))
F.when(F.col('a') > 2).then(1).when(F.col('a') > 1).then(2).otherwise(F.col('n')); F.when(F.col('a') > 1, F.col('p')).then('s').otherwise('s')
F.when(n=2).then(1).otherwise(0); F.when(F.col('a') > 2).then(1).when(F.col('a') > 1).then(2); F.when('p').then(1).otherwise(None).sum()
F.when('p').then(F.col('a')).alias('z'); F.when('p').then('a') + 1; F.col('l').list.eval(F.element() * 2); F.col('r').struct.with_fields(F.field('x') + 1)
"""

CASES = [part.strip() for line in CALLS.strip().splitlines() for part in line.split("; ")]


@pytest.mark.parametrize("text", CASES)
def test_the_same_as_polars(text):
    mine, theirs = (eval(text, {"F": F, "pl": pl, "date": date, "datetime": datetime, "time": time}) for F in (rd, pl))
    assert isinstance(mine, Expr)
    data = DATA.with_columns(l=pl.concat_list("a", "n"), r=pl.struct(x="n"))
    assert_frame_equal(data.select(mine.polars), data.select(theirs))
    if "cum_sum_horizontal" not in text and "F.col('p')).then" not in text:  # Polars folds these with functions
        assert "Series" in text or mine.polars.meta.eq(theirs)
    if "Series" not in text:
        assert pickle.loads(pickle.dumps(mine)) is mine
    assert mine.columns == frozenset(theirs.meta.root_names())


def test_every_function_is_called_here():
    called = {text.removeprefix("F.").split("(")[0].split(".")[0] for text in CASES}
    called |= {name for name in rd.__all__ if any(f"F.{name}(" in text for text in CASES)}
    assert set(rd.__all__) <= called


def test_every_function_of_polars_that_gives_an_expression_is_here_or_has_a_reason():
    found = []
    for name in dir(pl):
        thing = getattr(pl, name)
        if name.startswith("_") or inspect.isclass(thing) or not callable(thing):
            continue
        gives = str(getattr(thing, "__annotations__", {}).get("return", "")) if inspect.isfunction(thing) else ""
        if "Expr" in gives or name in ("col", "when", "arg_where"):
            found.append(name)
    assert len(found) > 60
    missing = [name for name in found if name not in rd.__all__ and name not in LEFT_OUT]
    assert missing == [], "add them to __all__ of functions.py, or say in LEFT_OUT why not"
    assert not set(rd.__all__) & LEFT_OUT.keys()


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(rd.__file__).read_text())
    imported = next(
        {alias.name for alias in node.names}
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "polars"
    )
    assert imported == set(rd.__all__)
    assert len(rd.__all__) == len(imported)
    assert all(hasattr(rd, name) for name in rd.__all__)
    assert not typing.TYPE_CHECKING


@pytest.mark.parametrize("name", [name for name in rd.__all__ if name != "col"])
def test_documented_and_named(name):
    fn = getattr(rd, name)
    assert fn.__doc__
    assert fn.__name__ == name
    if name not in ("lit", "when"):
        assert inspect.signature(fn) == inspect.signature(getattr(pl, name))


def test_names_of_columns_are_columns():
    assert rd.col("a") is Col("a")
    assert rd.col.speed is Col("speed")
    assert rd.col("*") is Col("*")
    assert rd.col("a", "b") is rd.col(["a", "b"])
    assert rd.sum("a") is Col("a").sum()
    assert rd.sum("a").transparent
    assert rd.concat_str("a", "b", separator=" ").columns == {"a", "b"}
    assert rd.concat_str("a", "b", separator=" ").transparent
    assert rd.coalesce("a", 0).transparent
    assert not hasattr(rd.col, "__wrapped__")


def test_literals():
    assert rd.lit(1) is Lit(1)
    assert rd.lit(rd.col("a")) is Col("a")
    assert rd.lit(pl.col("a")) is Col("a")
    assert rd.lit(rd.col("a"), dtype=pl.Int8) is Col("a").cast(pl.Int8)
    with pytest.raises(TypeError):
        rd.lit(object())
    assert rd.lit(object(), allow_object=True).polars is not None


def test_when_records_one_call():
    chain = rd.when(rd.col("a") > 1).then("b").when(p=True).then(2)
    assert chain.otherwise(0) is Call("pl.when", (Col("a") > 1, Col("b"), Col("p") == True, Lit(2), Lit(0)))  # noqa: E712
    assert chain.rowwise
    assert chain.columns == {"a", "b", "p"}
    assert (
        repr(chain.otherwise("c"))
        == 'when(col("a") > 1).then(col("b")).when(col("p") == True).then(2).otherwise(col("c"))'
    )
    assert pickle.loads(pickle.dumps(chain)) is chain
    with pytest.raises(OptionError, match="condition"):
        rd.when()
    assert "then" in repr(rd.when("p"))


def test_values_at_once_are_refused():
    with pytest.raises(OptionError, match="eager"):
        rd.int_range(0, 3, eager=True)
    assert isinstance(rd.int_range(0, 3, eager=False), Expr)


def test_wrong_arguments_are_reported_where_they_are_written():
    with pytest.raises(TypeError):
        rd.col(1)
    with pytest.raises(TypeError):
        rd.len("a")
    with pytest.raises(pl.exceptions.ShapeError):
        rd.format("{} {}", "a")
