"""Expressions, ORDER BY, LIMIT, DISTINCT, set operations, CTEs and subqueries, each against DuckDB."""

# ruff: noqa: E501 - a query stands on a line

import datetime as dt

import polars as pl
import pytest

import robodf as rd

PROJECTIONS = """
select * from t
select a, a + 1, a * 2 as z, z + 1 from t where a > 1
select * exclude (a, l) from t
select * replace (a + 1 as a) from t
select * rename (a as k) from t
select x.* exclude (s) from t x
from t
from t select a
select 1, 'x', null, true
select 1 from t
select T.A, "B" from t
select a as b from t where b = 'x'
select a + 1 as z from t where z > 2
select s.u, s.v, t.s.u, s['v'], {'k': 7}.k, {'k': 2}['k'] from t
select l[1], l[-1], l[9], l[0], len(l), list_contains(l, 2), l[a] from t
select [1,2,3][2], [1,2][-1], 'abc'[2], list_contains([1,2], 2), list_value(4, 5)[2]
select unnest([1,2,3])
select a, unnest(l) from t
select a, unnest([a, a+1]) as e from t
select * from (values (1,'a'),(2,null)) v(x,y)
values (1,2),(3,4)
select * from (select a k, count(*) n from t group by a) where n > 1
with x as (select a, count(*) n from t group by a), y as (select * from x where n > 1) select * from y join t using (a)
with x(k) as (select a from t) select k from x where k > (with z as (select 1 as o) select o from z)
with t as (select 5 as a) select a from t
"""
CONDITIONS = """
select a in (1,2), a in (1,null), a not in (1,2), a not in (1,null), b in ('x'), a in (a, 7), a in (1.0, 2.5) from t
select a between 1 and 2, a not between 1 and 2, a between null and 3 from t
select a is null, a is not null, a is distinct from 2, a is not distinct from null, not (a > 1) from t
select a > 1 and b = 'x', a > 1 or b = 'x', not (a > 1 or b = 'x'), a > 1 and null, a > 1 or null, (a > 1) is true from t
select c > 0, c = c, c < 0, c <> 0, c >= 0, c in (0, 1.5), c = 'nan'::double from t
select a = '2', w > '2024-01-01', w::date = '2024-05-19', w between '2000-01-01' and '2024-05-19 12:00:00' from t
select * from t where a
select * from t where null
select * from t where not (a = 2)
select b like 'x%', b like '%y', b like '_', b like 'x_', b not like 'x', b like '%', b like '', b ilike 'X%' from t
select b glob 'x*', b glob '?', b glob '[x-z]*', regexp_matches(b, '^x|y$'), b ~ 'xy', b similar to 'x|y' from t
select case when a > 1 then 'big' when a = 1 then 'one' end, case a when 1 then 2 else 0 end from t
select coalesce(a, i, 0), nullif(a, 2), if(a > 1, 1, 0), ifnull(b, 'none'), greatest(a, i), least(a, i, 0), greatest(c, 0) from t
"""
NUMBERS = """
select a + i, a - i, a * i, a / 2, a / i, -a, i * 1000000, c / 2, a ^ 2, a ** 2, -2 ^ 2, abs(a), sign(a), sign(c) from t
select a // 2, a // -2, a % 2, a % (-2), i // 3, i % 3, mod(i, 3), c // 2, c % 2, 7 // 2, -7 // 2, -7 % 3 from t
select round(2.5::double), round(-2.5::double), round(2.347::double, 2), round(1234, -2), round(-1250, -2), round(5)
select floor(-1.5::double), ceil(1.2::double), trunc(-2.5::double), sqrt(4), cbrt(27), exp(0), ln(1), log(100), log2(8), log(2, 8)
select power(2, 3), pow(2, -1), 2 ^ 3, pi(), sin(0), cos(0), atan2(1, 1), degrees(pi()), isnan('nan'::double)
select a + null, a * null, null + null, a / null from t
select 9007199254740993 + 1, 1e3, .5, 1_000
"""
CASTS = """
select a::varchar, a::double, c::varchar, (a > 1)::int, (a > 1)::varchar, cast(b as varchar) from t
select try_cast(b as int), try_cast('zz' as int), try_cast('1.5' as int), try_cast('x' as date), try_cast('t' as bool) from t
select '12'::int, '1.5'::int, 't'::bool, 'no'::bool, ' 7 '::bigint, '1e3'::double, 2.5::double::int, 3.5::double::int, 1::bool
select '2024-05-15'::date, '2024-05-15 10:11:12.5'::timestamp, timestamp '2024-05-15 10:11:12.5'::varchar, w::date from t
select x::date, x::timestamp from (values ('2024-01-02'), (null)) v(x)
select x::int, x::double, try_cast(x as smallint) from (values ('1'), ('2.0'), (null)) v(x)
select x::timestamp from (values ('2024-01-02 03:04:05'), ('2024-01-02T03:04:05.25'), ('2024-01-02')) v(x)
select w::varchar from t
"""
TEXTS = """
select b || 'z', b || a, upper(b), lower('ÄB'), length(b), concat(b, '-', a), concat_ws(',', b, a, 'k'), 'a' || null from t
select substring('hello',2,3), substring('hello',0,2), substring('hello',-3,2), substring('abc',-5,3), substring('hello',2)
select substring(b, a, 2), substring('hello', a), substr(b, i) from t where a is not null and i is not null
select left('hello',-2), right('hello',2), right('hello',-2), left('hello',0), left('äöü',2)
select split_part('a,b,c',',',2), split_part('a,b',',',5), split_part('a,b,c',',',-1), split_part(b, 'x', 1) from t
select strpos('hello','l'), strpos('hello','z'), strpos('äöl','l'), instr(b, 'y'), strpos(b, null) from t
select lpad('abc',5,'x'), lpad('abc',2,'x'), rpad('abc',5,'x'), reverse('abc'), strlen('ä'), length('ä'), repeat('ab',2)
select trim('  a '), ltrim('xxa','x'), rtrim('axx','x'), replace('aXbX','X',''), starts_with('abc','a'), contains('abc','b')
select ends_with('abc','c'), prefix('abc','ab'), suffix('abc','bc'), regexp_replace('abab','a','x'), regexp_replace('abab','(a)','\\1\\1','g')
select regexp_extract('abc','b(c)',1), regexp_extract('abc','z'), regexp_extract(b,'x') from t
"""
TIMES = """
select year(w), month(w), day(w), hour(w), minute(w), second(w), quarter(w), week(w), dayofyear(w), isodow(w), dayofweek(w) from t
select epoch(w), epoch_ms(w), date_part('epoch', w), extract(ms from w), extract(us from w), extract(dow from w) from t
select date_trunc('day', w), date_trunc('hour', w), date_trunc('month', w), date_trunc('week', w), date_trunc('year', w) from t
select w + interval 1 day, w - interval '2 hours', w + interval '1 month', w - interval 1 year, w + interval '1 day 2 hours' from t
select w + interval (a) hour, w + to_seconds(30), w - w, w - timestamp '2024-01-01' from t
select date '2024-01-31' + interval 1 month, date '2024-05-15' - date '2024-05-10', date '2024-01-31' + 1, date '2024-01-01' - 1
select make_timestamp(2024,1,2,3,4,5.5), make_date(2024,2,3), strftime(w, '%Y/%m/%d') from t
select epoch(to_timestamp(1.5)), epoch(w::date) from t
select time_bucket(interval '20 ms', w), time_bucket(interval '7 seconds', w), time_bucket(interval '1 hour', w) from t
select time_bucket(interval '3 days', w), time_bucket(interval '1 week', w), time_bucket(interval '2 weeks', w) from t
select time_bucket(interval '1 week', w, interval '1 day'), time_bucket(interval '3 days', w, timestamp '2020-01-01 00:00:01') from t
select time_bucket(interval '3 days', timestamp '1999-05-06 07:08:09'), time_bucket(interval '5 days', timestamp '1950-01-01') from t
select time_bucket(interval '1 hour', w) bucket, count(*) from t group by bucket
"""
SETS = """
select a from t union select a from u
select a from t union all select a from u
select a from t intersect select a from u
select a from t except select a from u
select a from t except all select a from u
select a from t intersect all select a from u
select c from t intersect select c from t
select a, b from t union all by name select d, a from u
select a from t union select c from t
select i from t union all select a from u
(select a from t) union (select a from u) except (select 2)
select count(*) from (select distinct b from t)
"""
SUBQUERIES = """
select * exclude (s, l) from t where a in (select a from u)
select a from t where a not in (select a from u)
select a from t where a not in (select a from u where a is not null)
select a from t where a not in (select a from u where false)
select a, a in (select a from u), a in (select a from u where a is not null), a in (select a from u where false) from t
select a from t where a in (select a from u) or b = 'x'
select a from t where exists (select 1 from u where u.a = t.a)
select a from t where not exists (select 1 from u where u.a = t.a and u.d > 10)
select a, exists (select 1 from u where u.a = t.a) from t
select a from t where exists (select * from u where d > 35)
select a from t where not exists (select * from u where d > 135)
select a from t where a in (select a from u where u.b = t.b)
select a, (select max(d) from u) m, (select d from u where false) z from t
select a from t where a = (select min(a) from u)
select a from t where a > (select avg(a) from t)
select b, sum(a) from t group by b having sum(a) > (select min(a) from u)
select (select 1) + 1
"""


@pytest.mark.parametrize(
    "query",
    [
        q
        for text in (PROJECTIONS, CONDITIONS, NUMBERS, CASTS, TEXTS, TIMES, SETS, SUBQUERIES)
        for q in text.strip().split("\n")
    ],
)
def test_same_rows_as_duckdb(same, query):
    same(query)


ORDERED = """
select a, b from t order by a desc, b
select a, b from t order by a, b desc
select a, b from t order by b nulls first, a desc nulls last limit 2 offset 1
select a, b from t order by 2, 1 nulls first
select a, c from t order by c, a
select a, c from t order by c desc nulls first, a
select a as b, b as a from t order by b, a
select a + 1 from t order by a + 1
select a from t order by -a limit 3
select a, b from t order by all
select distinct b from t order by b
select distinct a, b from t order by b, a
select distinct on (b) b, a from t order by b, a
select distinct on (b) a from t order by b, a desc
select a from t union all select a from u order by a desc limit 3
(select a from t order by a limit 1) union all (select a from u order by a limit 1) order by a
select a from t order by (select 1), a
select a from t order by a limit 0
select a from t order by a offset 4
"""


@pytest.mark.parametrize("query", ORDERED.strip().split("\n"))
def test_same_order_as_duckdb(same, query):
    same(query, ordered=True)


NAMED = """
select a, a + 1, (a + 1) * 2, lower(b), -a, a > 1, a <> 1, a is null, a in (1, 2), a between 1 and 2, not a > 1 from t
select count(*), count(a), sum(a), count(distinct a), sum(a) filter (where a > 1), sum(a) + 1 from t
select sum(a) over (partition by b order by a desc), row_number() over (order by a), lag(a, 1) over (order by a) from t
select a || 'x', a / 2, a // 2, coalesce(a, 1), 'x', 1, true from t
select * from (select 1 a, 2 a)
"""


@pytest.mark.parametrize("query", NAMED.strip().split("\n"))
def test_names_of_columns_are_those_of_duckdb(same, query):
    same(query, names=True)


def test_types():
    t = pl.DataFrame({"i": pl.Series([1, 2], dtype=pl.Int8), "f": pl.Series([1.5, 2.5], dtype=pl.Float32)})  # noqa: F841
    made = rd.sql(
        "select count(*) n, sum(i) s, avg(i) m, sum(f) x, i + i z, i / 2 h, max(i) j from t group by i, f"
    ).schema
    wanted = {
        "n": pl.Int64,
        "s": pl.Int64,
        "m": pl.Float64,
        "x": pl.Float64,
        "z": pl.Int64,
        "h": pl.Float64,
        "j": pl.Int8,
    }
    assert dict(made) == wanted


def test_narrow_whole_numbers_do_not_wrap_around():
    t = pl.DataFrame({"i": pl.Series([100, -128], dtype=pl.Int8), "u": pl.Series([1, 255], dtype=pl.UInt8)})  # noqa: F841
    assert rd.sql("select i + i, i * 100, u - 2, -u, sum(i) over () from t").collect().rows() == [
        (200, 10_000, -1, -1, -28),
        (-256, -12_800, 253, -255, -28),
    ]


def test_several_rows_of_a_scalar_subquery_are_an_error_when_it_runs(same):
    t = pl.DataFrame({"a": [1, 2]})  # noqa: F841
    with pytest.raises(Exception, match="2 values"):
        rd.sql("select (select a from t) from t").collect()


def test_times_with_a_zone_are_compared_with_texts_as_utc():
    when = dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone.utc)
    log = pl.DataFrame({"t": [when]}, schema={"t": pl.Datetime("ns", "UTC")})  # noqa: F841
    assert rd.sql("select * from log where t >= '2024-01-01 12:00:00'").count_rows() == 1
    assert rd.sql("select * from log where t > timestamp '2024-01-01 12:00:00'").count_rows() == 0
    assert rd.sql("select * from log where t < '2024-01-01 12:00:00.000000001'").count_rows() == 1
