"""FROM and joins against DuckDB."""

import datetime as dt

import polars as pl
import pytest

import robodf as rd

JOINS = """
select * from t join u on t.a = u.a
select * from t inner join u using (a)
select * from t left join u using (a)
select * from t right join u using (a)
select * from t full join u using (a)
select * from t left join u using (a, b)
select a, t.a, u.a from t full join u using (a)
select t.a, u.d from t left join u on t.a = u.a and u.d > 10
select t.a, u.d from t left join u on t.a = u.a and t.i > 0
select t.a, u.d from t right join u on t.a = u.a and u.d > 10
select t.a, u.d from t right join u on t.a = u.a and t.i > 0
select t.a, u.d from t full join u on t.a = u.a and t.i > 0 and u.d > 10
select t.a, u.d from t join u on t.a = u.a and t.i < u.d and t.b <> u.b
select t.a, u.d from t join u on t.a < u.a
select t.a, u.d from t join u on t.a + 1 = u.a
select t.a, u.d from t join u on t.c = u.a
select t.a, u.d from t left join u on u.a = t.i
select * from t natural join u
select * from t natural left join u
select t.a, d from t, u where t.a = u.a
select t.a, d from t cross join u
select * from t semi join u on t.a = u.a
select * from t semi join u on t.a = u.a and u.d > 10
select * from t anti join u on t.a = u.a
select * from t anti join u on t.a = u.a and t.i > 0
select * from t semi join u using (a)
select * from t anti join u using (a, b)
select x.a, y.a from t x join t y on x.a = y.a and x.i < y.i
select x.a, y.d, z.d from t x join u y on x.a = y.a join u z on y.b = z.b
select x.a, count(*) from t x join u y using (a) join u z using (a) group by x.a
select * from (t join u using (a))
select j.a, j.d from (t join u using (a)) j
select t.* exclude (a, s, l), u.* from t join u using (a)
select t.a, x from t, unnest(t.l) as e(x)
select t.a, x from t cross join unnest([t.a, 7]) as e(x)
select x from unnest([3, 4]) as e(x)
select k.n from (select a, count(*) n from t group by a) k join u on k.a = u.a
select t.a, r.d from t asof join (select a k, d from u where a is not null) r on t.i >= r.k
select t.a, r.d from t asof left join (select a k, d from u where a is not null) r on t.i > r.k
select t.a, r.d from t asof left join (select a k, d from u) r on t.i > r.k
select t.a, r.d from t asof left join (select a k, b, d from u) r on t.b = r.b and t.i >= r.k
select t.a, r.d from t asof join (select a k, b, d from u where a is not null) r on t.b = r.b and t.i <= r.k
"""


@pytest.mark.parametrize("query", JOINS.strip().split("\n"))
def test_same_rows_as_duckdb(same, query):
    same(query)


def test_names_that_both_sides_have():
    t, u = pl.DataFrame({"a": [1], "b": [2]}), pl.DataFrame({"a": [1], "b": [3]})  # noqa: F841
    assert rd.sql("select * from t join u on t.a = u.a").columns == ["a", "b", "a_1", "b_1"]
    assert rd.sql("select * from t join u using (a)").columns == ["a", "b", "b_1"]


def test_tables_are_those_of_the_caller_and_of_keywords():
    frame = pl.DataFrame({"a": [1]})  # noqa: F841
    made = rd.sql("select * from frame")
    assert made.collect().rows() == [(1,)]
    assert rd.sql("select * from FRAME", frame=pl.DataFrame({"a": [2]})).collect().rows() == [(2,)]
    assert rd.sql("select * from made join MODULE_FRAME using (a)").collect().rows() == [(1, 7)]

    def inside():
        return rd.sql("select * from frame")  # the frame of another function is none of its variables

    with pytest.raises(rd.errors.SQLError, match="no table 'frame'"):
        inside()


MODULE_FRAME = rd.from_dict({"a": [1], "z": [7]})


def test_frames_of_pandas_and_arrow():
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    p, q = pandas.DataFrame({"a": [1, 2]}), pyarrow.table({"a": [2], "b": ["x"]})  # noqa: F841
    lazy = pl.LazyFrame({"a": [2]})  # noqa: F841
    assert rd.sql("select p.a, b from p join q using (a) join lazy using (a)").collect().rows() == [(2, "x")]


def test_a_table_that_is_used_twice_is_one_node():
    t = pl.DataFrame({"a": [1, 2]})  # noqa: F841
    assert str(rd.sql("select * from t x join t y using (a)").explain("logical")).count("(same as #1: InMemory") == 1


def test_files(tmp_path):
    path = tmp_path / "robots.parquet"
    rd.from_dict({"robot": ["a", "b", "c"], "speed": [1.0, 2.0, 3.0], "note": ["x", "y", "z"]}).to_parquet(path)
    made = rd.sql(f"select robot from '{path}' where speed > 1.5 and robot <> 'c'")
    assert made.collect().rows() == [("b",)]
    plan = str(made.explain("optimized"))
    assert plan.startswith(("Scan", "Select [robot]\n  Scan")), plan
    assert "columns=[robot]" in plan
    assert 'col("speed") > 1.5 (exact)' in plan
    assert "Filter" not in plan
    for call in (f"read_parquet('{path}')", f"read_parquet(['{path}'])", f"read('{path}', format => 'parquet')"):
        assert rd.sql(f"select count(*) n from {call} where robot in ('a', 'b')").collect().rows() == [(2,)]


def test_pushdown_through_joins_and_groups(tmp_path):
    path = tmp_path / "x.parquet"
    rd.from_dict({"k": [1, 2, 3], "v": [1.0, 2.0, 3.0], "s": [{"x": 1, "y": 2}] * 3}).to_parquet(path)
    small = pl.DataFrame({"k": [1, 2], "name": ["a", "b"]})  # noqa: F841
    plan = str(
        rd.sql(f"select name, f.s.x from '{path}' f join small using (k) where v >= 2 and name = 'b'").explain(
            "optimized"
        )
    )
    assert 'where=col("v") >= 2 (exact)' in plan
    assert "columns=[k, s]" in plan
    plan = str(rd.sql(f"select k, max(v) from '{path}' group by k having k = 2").explain("optimized"))
    assert 'where=col("k") == 2 (exact)' in plan


def test_asof_within_a_tolerance():
    day = dt.datetime(2024, 1, 1)
    ms = lambda *at: pl.Series([day + dt.timedelta(milliseconds=t) for t in at], dtype=pl.Datetime("ns"))  # noqa: E731
    a = pl.DataFrame({"t": ms(0, 10, 20, 30, 40, 51), "x": range(6), "k": [0, 10, 20, 30, 40, 51]})  # noqa: F841
    b = pl.DataFrame({"t": ms(5, 31), "y": [1, 2], "k": [5, 31]})  # noqa: F841
    for within in (
        "a.t - b.t <= interval '20 ms'",
        "a.t <= b.t + interval '20 ms'",
        "a.t <= interval '20 ms' + b.t",
        "b.t >= a.t - interval '20 ms'",
        "a.t - b.t <= interval '1 s' and a.t - b.t <= interval '20 ms'",
    ):
        query = f"select x, y from a asof left join b on a.t >= b.t and {within} order by x"
        assert rd.sql(query).collect()["y"].to_list() == [None, 1, 1, None, 2, 2]
    forward = "select x, y from a asof join b on a.t <= b.t and b.t - a.t <= interval '20 ms' order by x"
    assert rd.sql(forward).collect().rows() == [(0, 1), (2, 2), (3, 2)]
    numbers = "select x, y from a asof left join b on a.k >= b.k and a.k - b.k <= 9 order by x"
    assert rd.sql(numbers).collect()["y"].to_list() == [None, 1, None, None, 2, None]


@pytest.mark.parametrize("within", ["b.t - a.t <= 1", "a.t - b.t < 1", "a.t - b.x <= 1", "a.t * b.t <= 1"])
def test_asof_with_another_condition(within):
    a, b = pl.DataFrame({"t": [1], "x": [2]}), pl.DataFrame({"t": [1], "x": [3]})  # noqa: F841
    with pytest.raises(rd.errors.SQLError, match=r"ASOF JOIN takes .* a tolerance"):
        rd.sql(f"select * from a asof join b on a.t >= b.t and {within}")


def test_logs(real_data):
    files = sorted(real_data.rglob("*.mcap"))
    if not files:
        pytest.skip("no .mcap file among the real recordings")
    path = files[0]
    topic = rd.read_mcap(path).head(1).collect()["topic"][0]
    want = rd.read_mcap(path).filter(rd.col("topic") == topic).count_rows()
    assert rd.sql(f"select count(*) n from read_mcap('{path}') where topic = '{topic}'").collect().item() == want
    start = rd.read_mcap(path).select("log_time").collect()["log_time"].min()
    made = rd.sql(
        f"select log_time from mcap('{path}', topic => '{topic}') where log_time > '{start + dt.timedelta(seconds=1)}'"
    )
    assert "log_time" in str(made.explain("optimized"))
