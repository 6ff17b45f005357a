"""GROUP BY, aggregates and window functions against DuckDB."""

# ruff: noqa: E501 - a query stands on a line

import polars as pl
import pytest

import robodf as rd

GROUPS = """
select b, count(*), sum(a), avg(c), count(a), min(a), max(c), min(c), count(distinct a), sum(i) from t group by b
select b, count(*) n from t group by all having n > 1
select b, a, count(*) from t group by all
select sum(a), count(*), count(a), avg(a), min(b), list(a), string_agg(b, ','), bool_and(a > 0), median(a) from t where false
select b, sum(a) from t where false group by b
select b, sum(a) + count(*) from t group by b having sum(a) > 2
select a + 1 as k, count(*) from t group by k
select a + 1, count(*) from t group by 1
select (a + 1) * 2, count(*) from t group by a + 1
select upper(b), max(a) from t group by upper(b)
select s.u, count(*) from t group by s.u
select t.b, T.B from t group by b
select b from t group by b
select count(*) from t
select count(*), 5 from t where a > 100
select 5 from t having count(*) > 2
select sum(1), count(1), sum(1) filter (where a > 1), count(null) from t
select sum(distinct a), count(distinct b), avg(distinct a) from t
select b, count(distinct a), sum(distinct a) filter (where a > 1) from t group by b
select max(a) - min(a), round(avg(a), 1), coalesce(sum(a), 0) from t
select median(a), median(c), stddev(a), stddev_pop(a), var_pop(a), variance(a), quantile_cont(a, 0.3) from t where not isnan(c)
select first(a), any_value(a), last(a), arg_max(b, a), arg_min(b, a), max_by(a, i) from t
select bool_and(a > 0), bool_or(a > 2), bool_and(null), string_agg(b, '-'), list(a) from t
select sum(a) filter (where a > 1), count(*) filter (where b = 'x'), list(a) filter (where a > 1) from t
select string_agg(b, ',' order by a, i), list(a order by i desc nulls last), string_agg(distinct b, '') filter (where b = 'y') from t
select b, list(a order by i), max(c), min(c), count(*) filter (where a > 1), arg_max(a, i) from t group by b
select mode(b) from t where b = 'y'
select max(w), min(w), max(b), min(b), count(w), max(a > 1) from t
select avg(sum) from (select b, sum(a) as sum from t group by b)
select b, max(a) from t group by b having max(a) = (select max(a) from t)
select case when sum(a) > 2 then 'much' else 'little' end, b is null from t group by b
select sum(a * i), sum(a) * sum(i), sum(a) / count(*) from t
select b as x, count(*) as n from t group by x having n >= 1 and x > ''
select max(c) from t
select 1 from t group by a having sum(i) > 1
select unnest(list(a)) from t
select b, count(*) from t group by 'x', b
"""
WINDOWS = """
select a, row_number() over (order by a, b, i) from t
select a, rank() over (order by a), dense_rank() over (order by a desc) from t
select a, rank() over (order by b desc, a), rank() over (partition by b order by a nulls first), rank() over () from t
select a, b, sum(a) over (partition by b), sum(a) over (partition by b order by a), avg(a) over (order by a) from t
select a, b, count(*) over (order by a), count(a) over (order by b), min(a) over (partition by b order by a desc) from t
select a, max(a) over (order by a), max(c) over (order by i), min(c) over (order by i), sum(c) over (partition by b) from t
select a, lag(a) over (order by a, i), lead(a, 1, 0) over (order by a, i), lag(b, 2) over (order by i) from t
select a, first_value(a) over (order by a, i), last_value(a) over (order by a), first_value(b) over (partition by a order by i) from t
select a, last_value(a) over (order by i rows between unbounded preceding and unbounded following) from t
select a, i, sum(a) over (order by i rows between 1 preceding and current row), sum(a) over (order by i rows unbounded preceding) from t
select avg(a) over w, min(a) over w, count(a) over w, max(a) over w from t window w as (order by i rows between 2 preceding and current row)
select a, sum(a) over (order by a range between unbounded preceding and current row) from t
select b, a from t qualify row_number() over (partition by b order by a, i) = 1
select b, a, rank() over (order by a) as r from t qualify r <= 2
select b, sum(a), rank() over (order by sum(a)), sum(sum(a)) over () from t group by b
select sum(a) over (), count(*) over (), count(distinct a) over (), list(a) over (partition by b order by i rows between unbounded preceding and unbounded following) from t
select a, sum(a) filter (where a > 1) over (partition by b), sum(a) filter (where a > 1) over (order by a) from t
select a - lag(a) over (order by i) from t
select sum(1) over (order by i), row_number() over (partition by 1 order by i), avg(i) over (partition by a, b) from t
select a, rank() over (order by a desc nulls first, i desc) from t
select a, sum(i) over (order by a desc) from t
"""


@pytest.mark.parametrize("query", [q for text in (GROUPS, WINDOWS) for q in text.strip().split("\n")])
def test_same_rows_as_duckdb(same, query):
    same(query)


ORDERED = """
select b, count(*) n from t group by b order by n desc, b
select b from t group by b order by sum(a) desc, b
select a from t group by a order by count(*), a
select b, sum(a) from t group by b order by 2 nulls first, 1
select b, row_number() over (order by i) as r from t order by r desc
select a from t order by row_number() over (order by i desc)
select distinct b, count(*) from t group by b order by count(*), b
"""


@pytest.mark.parametrize("query", ORDERED.strip().split("\n"))
def test_same_order_as_duckdb(same, query):
    same(query, ordered=True)


def test_max_of_floats_is_nan_where_there_is_one():
    t = pl.DataFrame({"k": [1, 1, 2], "x": [float("nan"), 1.0, 2.0]})  # noqa: F841
    made = rd.sql("select k, max(x) m, min(x) n from t group by k order by k").collect()
    assert made["m"].is_nan().to_list() == [True, False]
    assert made["n"].to_list() == [1.0, 2.0]


def test_moving_average_of_a_signal():
    log = rd.from_dict({"t": [3, 1, 2, 4], "v": [3.0, 1.0, 2.0, 10.0]})  # noqa: F841
    made = rd.sql("select t, avg(v) over (order by t rows between 1 preceding and current row) m from log order by t")
    assert made.collect()["m"].to_list() == [1.0, 1.5, 2.5, 6.5]
