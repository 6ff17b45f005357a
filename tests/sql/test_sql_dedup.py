"""`FROM dedup(...)`, `clusters(...)`, `similar_pairs(...)` give what the methods of a frame give."""

from __future__ import annotations

import re

import polars as pl
import pytest

import robodf as rd
from robodf.errors import SQLError

TEXTS = [
    "Pick up the red block and put it into the bowl",
    "open the top drawer",
    "pick up the red block, and put it into the bowl.",
    None,
    "pick up the red block and put it into that bowl",
    "open the top drawer",
    "",
    "Open the top drawer!",
    "close the top drawer",
    None,
]
LOGS = pl.DataFrame(
    {
        "caption": TEXTS,
        "Robot": ["a", "a", "b", "b", "a", "b", "a", "b", "a", "b"],
        "episode": [0, 0, 0, 1, 1, 1, 2, 2, 2, 2],
        "quality": [0.5, 0.2, 0.9, None, 0.7, 0.4, 0.1, float("nan"), 0.3, 0.8],
        "meta": [{"task": t} for t in TEXTS],
    }
)
SEEN = pl.DataFrame({"caption": ["OPEN the top drawer", "fold the towel"], "Robot": ["b", "a"], "quality": [1.0, 1.0]})

FUZZY = {"method": "fuzzy"}
# arguments in SQL after the table, arguments of the method; each for dedup and clusters
CASES = [
    ("", {}),
    (", 'caption'", {"on": "caption"}),
    (", caption", {"on": "caption"}),
    (", CAPTION, 'ROBOT'", {"on": ["caption", "Robot"]}),
    (", ['caption', 'Robot']", {"on": ["caption", "Robot"]}),
    (", logs.caption, meta.task", {"on": ["caption", rd.col("meta").struct.field("task")]}),
    (", \"on\" => ['caption']", {"on": "caption"}),
    (", lower(caption)", {"on": rd.col("caption").str.to_lowercase()}),
    (", caption, keep => 'last'", {"on": "caption", "keep": "last"}),
    (", caption, keep => 'none', nulls => 'equal'", {"on": "caption", "keep": "none", "nulls": "equal"}),
    (", caption, keep => best(quality)", {"on": "caption", "keep": rd.best("quality")}),
    (", caption, KEEP => Best('quality' ASC)", {"on": "caption", "keep": rd.best("quality", descending=False)}),
    (", caption, keep => best(episode DESC, -quality ASC)",
     {"on": "caption", "keep": rd.best("episode", -rd.col("quality"), descending=[True, False])}),
    (", caption, within => robot", {"on": "caption", "within": "Robot"}),
    (", caption, within => ['Robot', 'episode']", {"on": "caption", "within": ["Robot", "episode"]}),
    (", caption, within => (robot, episode)", {"on": "caption", "within": ["Robot", "episode"]}),
    (", caption, within => []", {"on": "caption", "within": ()}),
    (", caption, within => null, threshold => null", {"on": "caption"}),
    (", caption, against => TABLE seen", {"on": "caption", "against": SEEN}),
    (", lower(caption), against => (select lower(caption) caption from seen)",
     {"on": rd.col("caption").str.to_lowercase(),
      "against": SEEN.select(pl.col("caption").str.to_lowercase())}),
    (", caption, method => 'fuzzy', threshold => 0.8", {"on": "caption", **FUZZY, "threshold": 0.8}),
    (", caption, method := 'fuzzy', threshold := 0.6, recall := 0.9",
     {"on": "caption", **FUZZY, "threshold": 0.6, "recall": 0.9}),
    (", caption, method => 'fuzzy', threshold => 1, keep => best(quality), within => 'Robot'",
     {"on": "caption", **FUZZY, "threshold": 1, "keep": rd.best("quality"), "within": "Robot"}),
    (", caption, method => 'fuzzy', shingle => words(1), threshold => 0.5, link => 'component'",
     {"on": "caption", **FUZZY, "shingle": rd.words(1), "threshold": 0.5, "link": "component"}),
    (", caption, method => 'fuzzy', shingle => 'Words( 2 )'", {"on": "caption", **FUZZY, "shingle": rd.words(2)}),
    (", caption, method => 'fuzzy', shingle => chars()", {"on": "caption", **FUZZY, "shingle": rd.chars()}),
    (", caption, method => 'fuzzy', normalize => null", {"on": "caption", **FUZZY, "normalize": None}),
    (", caption, method => 'fuzzy', against => seen, within => [robot]",
     {"on": "caption", **FUZZY, "against": SEEN, "within": "Robot"}),
]  # fmt: skip


def run(query: str, **tables) -> pl.DataFrame:
    return rd.sql(query, **{"logs": LOGS, "seen": SEEN, **tables}).collect()


@pytest.fixture(scope="module")
def logs() -> rd.PipelineDataFrame:
    return rd.from_polars(LOGS)


@pytest.mark.parametrize("function", ["dedup", "clusters"])
@pytest.mark.parametrize(("given", "same"), CASES, ids=[c for c, _ in CASES])
def test_the_same_as_the_method(logs, function: str, given: str, same) -> None:
    want = getattr(logs, function)(**same).collect()
    assert want.height > 0
    assert run(f"select * from {function}(TABLE logs{given})").equals(want)


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ("caption", {}),
        ("'caption', method => 'fuzzy', threshold => 0.5, shingle => words(1)",
         {"threshold": 0.5, "shingle": rd.words(1)}),
        ("caption, within => robot, against => TABLE seen", {"within": "Robot", "against": SEEN}),
    ],
)  # fmt: skip
def test_pairs(logs, given: str, same) -> None:
    want = logs.similar_pairs("caption", **same).collect()
    assert want.height > 0
    assert run(f"select * from similar_pairs(logs, {given})").equals(want)


def test_cases_differ(logs) -> None:
    """The cases above say something only where their options change the answer."""
    answers = {str(logs.clusters(**same).collect().select("cluster_id", "is_kept").rows()) for _, same in CASES}
    assert len(answers) >= 12


@pytest.mark.parametrize(
    "table",
    ["logs", "TABLE logs", "table LOGS", "(select * from logs)", "TABLE (select * from logs)", "TABLE(logs)",
     "TABLE 'FILE'", "read_parquet('FILE')", "TABLE read_parquet('FILE')", "dedup(TABLE logs, [caption, episode])",
     "named", 'TABLE "named"'],
)  # fmt: skip
def test_the_table(logs, table: str, tmp_path) -> None:
    path = tmp_path / "logs.parquet"
    LOGS.write_parquet(path)
    query = f"with named as (from logs) select * from dedup({table.replace('FILE', str(path))}, caption)"
    assert run(query).equals(logs.dedup(on="caption").collect())


def test_the_order_of_a_query_counts(logs) -> None:
    found = run("select quality from dedup((select * from logs order by episode desc, quality), caption)")
    ordered = logs.sort("episode", "quality", descending=[True, False], nulls_last=True)
    assert found.equals(ordered.dedup(on="caption").select("quality").collect())


def test_a_saved_index(logs, tmp_path) -> None:
    path = tmp_path / "seen.parquet"
    index = rd.DedupIndex.build(rd.from_polars(SEEN), on="caption", method="fuzzy")
    index.save(path)
    want = logs.dedup(on="caption", method="fuzzy", against=index).collect()
    assert want["caption"].to_list().count("open the top drawer") == 0
    query = f"select * from dedup(logs, caption, method => 'fuzzy', against => dedup_index('{path}'))"
    assert run(query).equals(want)
    with pytest.raises(SQLError, match=re.escape("no index")):
        run("select * from dedup(logs, caption, against => dedup_index('no/such.parquet'))")


def test_it_is_a_table_like_any_other(logs) -> None:
    query = """
        with good as (select * from logs where quality > 0.15),
             kept as (from dedup(TABLE good, caption, method => 'fuzzy'))
        select k.caption, count(*) n, max(dedup.episode) last
        from kept k join dedup(TABLE seen, caption) s on lower(s.caption) = k.caption
        join dedup(TABLE logs, [caption, episode]) on dedup.caption = k.caption
        group by all"""
    assert run(query).rows() == [("open the top drawer", 2, 1)]
    numbers = "select c.cluster_id, count(*) n from clusters(TABLE logs, caption) c group by 1 having n > 1"
    assert run(numbers).rows() == [(1, 2)]
    pairs = """
        with numbered as (select caption, row_number() over () - 1 as row from logs)
        select a.caption, b.caption, p.similarity from similar_pairs(TABLE numbered, caption, threshold => 1) p
        join numbered a on a.row = p.lo join numbered b on b.row = p.hi order by p.lo, p.hi"""
    rows = run(pairs).rows()
    assert len(rows) == 4
    assert rows[0] == (TEXTS[0], TEXTS[2], 1.0)


@pytest.mark.parametrize(
    ("given", "condition", "below"),
    [
        ("caption, method => 'fuzzy', within => robot", "robot = 'a'", True),
        ("caption, method => 'fuzzy', within => robot", "quality > 0.3", False),
        ("caption, method => 'fuzzy', within => robot", "caption like 'pick%'", False),
        ("caption", "caption like 'pick%'", True),
        ("caption", "robot = 'b'", False),
    ],
)
def test_where_goes_below_only_where_it_may(given: str, condition: str, below: bool) -> None:
    query = f"select * from dedup(TABLE logs, {given}) where {condition}"
    frame = rd.sql(query, logs=LOGS)
    plan = str(frame.explain("optimized"))
    assert (plan.index("Filter") > plan.index("Dedup")) == below, plan
    rows = rd.sql(f"select * from dedup(TABLE logs, {given})", logs=LOGS).collect()
    assert frame.collect().equals(run(f"select * from rows where {condition}", rows=rows))


# what is called, what is underlined, part of the message
WRONG = [
    ("dedup()", "dedup", "takes a table first"),
    ("dedup('caption')", "'caption'", "takes a table first: TABLE name"),
    ("dedup(keep => 'first')", "'first'", "takes a table first"),
    ("dedup(TABLE lgs, caption)", "lgs", "did you mean 'logs'"),
    ("dedup(TABLE logs AS x, caption)", "x", "ALIAS is not supported"),
    ("dedupe(TABLE logs, caption)", "dedupe(TABLE logs, caption", "did you mean 'dedup'"),
    ("dedup(TABLE logs, 'captoin')", "'captoin'", "did you mean 'caption'? Columns: caption, Robot"),
    ("dedup(TABLE logs, captoin)", "captoin", "did you mean 'caption'"),
    ("dedup(TABLE logs, caption, metod => 'fuzzy')", "'fuzzy'", "did you mean 'method'? Options of dedup: on, method"),
    ("similar_pairs(logs, caption, keep => 'last')", "'last'", "Options of similar_pairs: on, method, threshold"),
    ("similar_pairs(logs, caption, method => 'exact')", None, "use clusters"),
    ("clusters(clusters(logs), caption)", None, "a column 'cluster_id' already"),
    ("dedup(logs, caption, method => 'fuzy')", "'fuzy'", "did you mean 'fuzzy'"),
    ("dedup(logs, caption, method => fuzzy)", "fuzzy", "method is a number or a text in quotes"),
    ("dedup(logs, caption, method => 'fuzzy', threshold => 2)", "2", "above 0 and at most 1"),
    ("dedup(logs, caption, method => 'fuzzy', threshold => quality)", "quality", "threshold is a number"),
    ("dedup(logs, caption, threshold => 0.5)", None, "means nothing to method='exact'"),
    ("dedup(logs, caption, keep => 'best')", "'best'", "'none', or best(column)"),
    ("dedup(logs, caption, keep => best)", "best", "keep is 'first', 'last', 'none' or best(column)"),
    ("dedup(logs, caption, keep => best())", "best", "best takes a column"),
    ("dedup(logs, caption, keep => best(speed DESC))", "speed", "no column 'speed'"),
    ("dedup(logs, caption, keep => best(max(quality)))", "max(quality", "cannot stand in dedup"),
    ("dedup(logs, caption, keep => best(meta))", None, "give a number"),
    ("dedup(logs, caption, keep => worst(quality))", "worst(quality", "or best(column)"),
    ("dedup(logs, caption, keep => 'first', keep => 'last')", "'last'", "given twice"),
    ("dedup(logs, caption, within => 'run')", "'run'", "no column 'run'"),
    ("dedup(logs, caption, within => episode + 1)", "episode + 1", "within takes columns"),
    ("dedup(logs, caption, against => TABLE sen)", "sen", "did you mean 'seen'"),
    ("dedup(logs, caption, against => 'seen')", "'seen'", "against is TABLE name"),
    ("dedup(logs, episode, against => TABLE seen)", None, "no column 'episode'"),
    ("dedup(logs, caption, against => dedup_index())", "dedup_index", "takes the path"),
    ("dedup(logs, caption, method => 'fuzzy', shingle => words(0))", "words(0", "a whole number of 1 to 64"),
    ("dedup(logs, caption, method => 'fuzzy', shingle => 'word(5)')", "'word(5)'", "words(5) or chars(5)"),
    ("dedup(logs, caption, method => 'fuzzy', shingle => words(1, 2))", "words(1, 2", "words(5) or chars(5)"),
    ("dedup(logs, episode, method => 'fuzzy')", None, "compares a text"),
    ("dedup(logs, caption, robot, method => 'fuzzy')", None, "compares one column"),
    ("dedup(logs, method => 'exact', caption)", "caption", "columns stand before the options"),
    ("dedup(logs, caption, \"on\" => episode)", "episode", "the columns are given already"),
    ("dedup(logs, caption DESC)", "caption", "not supported here"),
    ("dedup(logs, row_number() over (order by quality))", None, "a window function cannot stand in dedup"),
    ("dedup(logs, (select max(quality) from logs))", None, "a subquery cannot stand here"),
    ("dedup(logs, [])", None, "names no column"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "place", "message"), WRONG, ids=[w[0] for w in WRONG])
def test_errors(call: str, place: str | None, message: str) -> None:
    query = f"select * from {call}"
    with pytest.raises(SQLError) as caught:
        rd.sql(query, logs=LOGS, seen=SEEN)
    said = str(caught.value)
    assert message in said
    assert "rd.best" not in said
    assert said.count("\n  at ") <= 1
    _, line, carets, *_ = said.split("\n")
    shown = line[carets.index("^") : carets.rindex("^") + 1]
    assert shown in query
    assert place is None or shown.rstrip(")") == place.rstrip(")")


def test_a_column_named_table_is_still_one() -> None:
    t = pl.DataFrame({"table": ["A", "b"]})
    query = 'select lower("table") x, coalesce(table, 1::text) y from t'
    assert rd.sql(query, t=t).collect().rows() == [("a", "A"), ("b", "b")]


def test_align_takes_such_tables() -> None:
    imu = pl.DataFrame({"recording": "a", "log_time": pl.Series([0, 1, 1], dtype=pl.Datetime("ns")), "x": [1, 2, 2]})
    query = "select * from align(TABLE imu, once => dedup(TABLE imu), clock => TABLE imu)"
    want = rd.align({"imu": imu, "once": imu.unique(maintain_order=True)}, imu).collect()
    assert rd.sql(query, imu=imu).collect().equals(want)
