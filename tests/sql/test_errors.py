"""Errors underline the place, name close matches, and nothing unsupported is ignored."""

import contextlib
import random
import re

import polars as pl
import pytest

import robodf as rd
from robodf.errors import SQLError

robots = pl.DataFrame(
    {"robot": ["a", "b"], "speed": [1.0, 2.0], "s": [{"x": 1}] * 2, "l": [[1]] * 2, "t": [1, 2], "other": [1, 2]}
)
maps = rd.from_dict({"robot": ["a"], "z": [1]})
number_of_robots = 5  # no frame: never listed

# query, what is underlined, part of the message
WRONG = [
    ("select sped from robots", "sped", "did you mean 'speed'"),
    ("select sped from robots", "sped", "Columns: robot, speed, s, l, t, other"),
    ("select * from robts", "robts", "did you mean 'robots'"),
    ("select spead(robot) from robots", "spead(robot", "no function 'spead'"),
    ("select uper(robot) from robots", "uper(robot", "did you mean 'upper'"),
    ("select lower(speed) from robots", "speed", "lower takes text here, not Float64"),
    ("select lower(robot, 1) from robots", "lower(robot, 1", "takes 1 arguments, not 2"),
    ("select robot from robots where max(speed) > 1", "max(speed", "cannot stand in WHERE"),
    ("select robot, speed from robots group by robot", "speed", "neither in GROUP BY"),
    ("selec * from robots", "selec", "did you mean SELECT"),
    ("select * frm robots", "robots", "cannot stand here"),
    ("select * from robots where (speed > 1", "1", "cannot be read"),
    ("select 'x from robots", "'x from robots", "a quote is not closed"),
    ("select robot from robots, maps", "robot", "robots.robot, maps.robot"),
    ("select robots.zz from robots", "zz", "Columns of robots"),
    ("select rbots.speed from robots", "rbots", "did you mean 'robots'"),
    ("select speed > 'abc' from robots", "speed > 'abc'", "cannot be read as one"),
    ("select speed = robot from robots", "speed = robot", "cast one of them"),
    ("select speed + robot from robots", "speed + robot", "takes numbers"),
    ("select s.y from robots", "y", "Fields: x"),
    ("select robot.y from robots", "y", "only structs have fields"),
    ("select random()", "random", "pass its value as a constant"),
    ("select current_date", "current_date", "pass its value as a constant"),
    ("select rank() from robots", "rank", "OVER"),
    ("select row_number() over (order by t) r from robots where r = 1", "row_number() over (order by t", "QUALIFY"),
    ("select cast(speed as foo) from robots", "speed", "the type foo"),
    ("select date '2024-99-01'", "'2024-99-01'", "cannot be read as Date"),
    ("select robot from robots order by 3", "3", "no position"),
    ("select robot from robots group by 4", "4", "no position"),
    ("select robot like other from robots", "robot like other", "must be a text constant"),
    ("select regexp_matches(robot, '(') from robots", "regexp_matches(robot, '('", "no regular expression"),
    ("select * from read_mcp('x')", "read_mcp('x'", "did you mean 'read_mcap'"),
    ("select * from read_mcap('x.mcap', topc => '/imu')", "'/imu'", "did you mean 'topic'"),
    ("select time_bucket(interval '0 s', date '2024-01-01') from robots", None, "longer than nothing"),
    ("select time_bucket('1 s', date '2024-01-01') from robots", "'1 s'", "the width is an interval"),
    ("select time_bucket(interval '1 s', date '2024-01-01', 'noon') from robots", "'noon'", "the origin"),
    ("select distinct robot from robots order by speed", "speed", "with DISTINCT"),
    ("select interval '1 foo'", None, "is no interval"),
    ("select sum(sum(speed)) from robots", "sum(speed", "cannot stand in an aggregate"),
    ("select robot from robots where robot in (select robot, z from maps)", "robot, z from maps", "one column"),
    ("select * exclude (foo) from robots", "foo", "no column 'foo'"),
    ("select a.robot from robots a join maps a on true", "maps a", "two tables named 'a'"),
    ("select robot from robots union select robot, z from maps", "robot, z from maps", "1 and 2 columns"),
    ("select robot from robots union select z from maps", "z from maps", "cast one of them"),
    ("select * from robots join maps using (foo)", "foo", "no column 'foo'"),
    ("select sum(speed) over nope from robots", "nope", "no window 'nope'"),
    ("insert into x values (1)", "insert", "rd.sql runs queries"),
    ("create table x (a int)", "create", "rd.sql runs queries"),
    ("select 1; select 2", "; select 2", "one query"),
    ("select x from robots having speed > 1", "speed > 1", "use WHERE"),
    ("select '日本', sped from robots", "sped", "did you mean"),
    ("select *\nfrom robots\nwhere\tsped > 1", "sped", "line 3"),
    ("select from robots", None, "names no column"),
    ("select distinct on () robot from robots", None, "names no column"),
    ("select robot from robots where t in ()", None, "IN needs a value"),
    ("select sum(distinct) from robots", None, "DISTINCT goes with an argument"),
    ("select -robot from robots", "robot", "takes a number"),
    ("select greatest(t, s) from robots", None, "different types"),
    ("select coalesce(t, 'x') from robots", None, "cannot be read as one"),
    ("select case when t > 1 then t else robot end from robots", None, "different types"),
    ("select [t, robot] from robots", None, "different types"),
    ("select max(l) from robots", "max(l", "have no order"),
    ("select max(robot) over (order by t) from robots", "max(robot", "takes numbers and times"),
    ("select * from robots join maps using (robot, robot)", None, "twice"),
    # understood by the parser, not supported: an error, never ignored
    ("select * from robots tablesample 10%", "10", "not supported"),
    ("select * from robots limit 10%", "10", "not supported"),
    ("select * from robots limit speed", "speed", "whole numbers"),
    ("with recursive x as (select 1) select * from x", None, "RECURSIVE"),
    ("select grouping(robot) from robots group by rollup(robot)", "robot", "not supported"),
    ("select first(speed ignore nulls) from robots", "speed", "not supported"),
    ("select x -> x + 1 from robots", "x -> x + 1", "not supported"),
    ("select robot collate nocase from robots", None, "not supported"),
    ("select sum(speed) over (order by t rows between 1 following and 2 following) from robots", None, "frames are"),
    ("select list(speed) over (order by t) from robots", "list(speed", "with ORDER BY"),
    ("select * from robots positional join maps", None, "POSITIONAL JOIN"),
    ("select * from robots r left join maps m on r.robot < m.robot", "r.robot < m.robot", "LEFT JOIN"),
    ("select * from robots r left join maps m on true", None, "LEFT JOIN"),
    ("select (select z from maps where maps.robot = robots.robot) from robots", "robot", "write a join"),
    ("select robot from robots where exists (select 1 from maps where z > t)", "z > t", "compared by ="),
    ("select count(distinct robot, speed) from robots", None, "takes 1 arguments"),
    ("select columns('s.*') from robots", "columns('s.*'", "no function 'columns'"),
    ("select l[1:2] from robots", "l[1:2", "list_slice"),
    ("select robot from robots for update", None, "not supported"),
    ("select max(speed) within group (order by t) from robots", None, "not supported"),
]


@pytest.mark.parametrize(("query", "underlined", "message"), WRONG)
def test_the_place_is_underlined(query, underlined, message):
    with pytest.raises(SQLError) as caught:
        rd.sql(query)
    text = str(caught.value)
    assert message in text, text
    lines = text.splitlines()
    shown = next(i for i, line in enumerate(lines) if line.strip() and set(line.strip()) == {"^"})
    assert lines[shown - 1].strip() in query
    if underlined is not None and query.isascii() and "\t" not in query:
        start, count = lines[shown].index("^"), lines[shown].count("^")
        assert lines[shown - 1][start : start + count].startswith(underlined), text


def test_wide_characters_are_as_wide_as_their_carets():
    with pytest.raises(SQLError) as caught:
        rd.sql("select '日本', sped from robots")
    assert "\n  select '日本', sped from robots\n                 ^^^^\n" in str(caught.value)


def test_the_users_line_is_named():
    with pytest.raises(SQLError, match=r"test_errors.py:\d+: rd.sql\(\"select nope"):
        rd.sql("select nope from robots")


def test_only_frames_are_listed():
    with pytest.raises(SQLError) as caught:
        rd.sql("with mine as (select 1) select * from nope")
    assert "Tables: mine, robots, maps." in str(caught.value)


@pytest.mark.parametrize("query", ["", "   ", ";", "-- nothing"])
def test_an_empty_query(query):
    with pytest.raises(SQLError, match="empty"):
        rd.sql(query)


def test_not_a_text():
    with pytest.raises(SQLError, match="not int"):
        rd.sql(5)  # type: ignore[arg-type]


def test_a_query_that_is_nested_very_deeply():
    query = f"select {'(' * 3000}1{')' * 3000}"
    with pytest.raises(SQLError):
        rd.sql(query)


def test_many_conditions():
    query = "select count(*) from robots where " + " or ".join(f"t = {n}" for n in range(150))
    assert rd.sql(query).collect().item() == 2


def test_a_file_that_is_not_there():
    with pytest.raises(rd.errors.NoFilesError):
        rd.sql("select * from 'no/such/file.parquet'")


def test_broken_text_is_a_sql_error():
    with pytest.raises(SQLError, match="cannot be read"):
        rd.sql("select {: 7}.k")


def test_random_damage_gives_nothing_but_sql_errors():
    words = [re.findall(r"'[^']*'|\w+|\S", query) for query, _, _ in WRONG] + [
        "select robot , sum ( speed ) over ( partition by robot order by t ) from robots where t in ( 1 , 2 )".split(),
        "select distinct on ( robot ) * exclude ( s ) from robots join maps using ( robot ) order by t desc".split(),
        "with x as ( select l [ 1 ] as e from robots ) select e :: text , case when e > 1 then e end from x".split(),
        "select robot from robots where not exists ( select z from maps where z = t ) union select ''".split(),
    ]
    everything = [w for query in words for w in query]
    draw = random.Random(7)
    for _ in range(3000):
        query = list(draw.choice(words))
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(query) + 1)
            query[at : at + draw.randint(0, 1)] = draw.choice([[], [draw.choice(everything)]])
        with contextlib.suppress(SQLError, rd.errors.NoFilesError):
            rd.sql(" ".join(query))


def test_explain():
    made = rd.sql("explain select robot from robots where speed > 1")
    assert made.columns == ["plan"]
    assert (
        made.collect()["plan"].to_list()
        == str(rd.sql("select robot from robots where speed > 1").explain("all")).splitlines()
    )
    with pytest.raises(SQLError, match="^line 1 of the query:\n  explain select nope"):
        rd.sql("explain select nope from robots")
