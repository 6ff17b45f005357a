"""The local engine: settings, progress, errors of sources and users, explain and profile."""

from __future__ import annotations

import io
import sys
import time

import polars as pl
import pytest

import robodf as rd
from robodf.errors import OptionError, QueryError
from robodf.physical import progress as progress_module


def test_an_engine_that_is_not_there_is_an_error():
    df = rd.from_dict({"a": [1]})
    with pytest.raises(OptionError, match=r"engine='spark'.*This version has: auto, local"):
        df.collect(engine="spark")
    with pytest.raises(OptionError, match="did you mean 'local'"):
        rd.config(engine="locl")
    with pytest.raises(OptionError, match="did you mean 'engine'"):
        rd.config(engin="local")
    assert df.collect(engine="local").height == 1


@pytest.mark.parametrize("use", ["collect(engine='ray')", "to_ray()", "to_parquet('x', engine='ray')"])
def test_without_ray_it_says_what_to_install(monkeypatch, use):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install 'robodf\[ray\]'"):
        eval(f"rd.from_dict({{'a': [1]}}).{use}", {"rd": rd})


def test_config_holds_for_its_block_only():
    from robodf.config import settings

    before = settings()
    with rd.config(progress=False, threads=1):
        assert settings().progress is False
        assert settings().threads == 1
    assert settings() == before


def test_config_holds_for_the_process():
    from robodf.config import settings

    before = settings()
    try:
        rd.config(threads=3)
        assert settings().threads == 3
    finally:
        rd.config(threads=before.threads)


def slow(batch):
    time.sleep(0.05)
    return batch


@pytest.mark.parametrize("wanted", [True, False])
def test_a_bar_is_shown_only_on_long_work(monkeypatch, wanted):
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(progress_module, "_AFTER_SECONDS", 0.02)
    monkeypatch.setattr(progress_module, "_every", lambda: 0.01)
    with rd.config(progress=wanted):
        rd.from_dict({"a": [1] * 10}).map_batches(slow, 2).collect()
    assert ("collect" in err.getvalue()) is wanted


def test_short_work_prints_nothing(capfd):
    rd.from_dict({"a": [1]}).collect()
    assert capfd.readouterr() == ("", "")


def test_a_users_exception_arrives_as_it_was():
    class Odd(Exception):
        pass

    def fail(batch):
        raise Odd("row 7")

    for frame in (rd.from_dict({"a": [1]}).map_batches(fail), rd.from_dict({"a": [1]}).map_batches(fail).sort("a")):
        with pytest.raises(Odd, match="row 7"):
            frame.collect()
        with pytest.raises(Odd, match="row 7"):
            list(frame.iter_batches())
        with pytest.raises(Odd, match="row 7"):
            frame.count_rows()


def test_stopping_early_ends_the_source():
    seen = []

    def watch(batch):
        seen.append(batch.height)
        return batch

    batches = rd.from_dict({"a": list(range(100_000))}).map_batches(watch, 100).iter_batches(100)
    assert next(batches).height == 100
    batches.close()
    time.sleep(0.2)
    n = len(seen)
    time.sleep(0.2)
    assert len(seen) == n < 1000


def test_nested_user_functions_do_not_deadlock():
    df = rd.from_dict({"a": list(range(2000))})
    for k in range(6):
        df = df.map_batches(lambda b: b.with_columns(a=pl.col("a") + 1), 50 + k).filter(rd.col("a") > k)
    assert df.collect()["a"].to_list() == list(range(6, 2006))


def test_explain_names_what_is_held_in_memory():
    df = rd.from_dict({"a": [1, 2]})
    assert "memory stays bounded" in df.filter(rd.col("a") > 1).explain("physical")
    assert "a sort holds all rows" in df.sort("a").explain("physical")
    assert "one side of a join" in df.join(df, on="a").explain("physical")
    assert "batch_size=None" in df.map_batches(slow, None).explain("physical")


def test_explain_rules_shows_each_step():
    said = str(rd.from_dict({"a": [1, 2]}).sort("a").filter(rd.col("a") > 1).explain("rules"))
    assert "push_filter" in said
    assert said.index("before") < said.index("after")
    assert str(rd.from_dict({"a": [1]}).explain("rules")) == "no rule changed the plan"
    with pytest.raises(OptionError, match="did you mean 'optimized'"):
        rd.from_dict({"a": [1]}).explain("optimised")


def test_explain_as_mermaid_and_html():
    df = rd.from_dict({"a": [1, 2]})
    df = df.filter(rd.col("a") > 1).join(df, on="a")
    text = df.explain(format="mermaid")
    assert str(text).startswith("flowchart BT")
    assert str(text).count("-->") == 3
    assert "&lt;" in rd.from_dict({"<a>": [1]})._repr_html_()
    assert "<pre>" in df.explain()._repr_html_()
    assert df.explain().mermaid() == str(text)


def test_profile_measures_each_operator():
    df = rd.from_dict({"a": [3, 1, 2]}).sort("a").with_row_index()
    profile = df.profile()
    assert profile.rows.equals(df.collect())
    assert profile.stages.columns == ["stage", "rows", "bytes", "seconds"]
    assert profile.stages["rows"].to_list() == [3, 3, 3]
    assert "Sort" in repr(profile)


def test_repr_never_executes():
    def fail(batch):
        raise AssertionError("executed")

    df = rd.from_dict({"a": [1]}).map_batches(fail)
    assert "not run: 2 operators" in repr(df)
    assert "a: Int64" in repr(df)
    df._repr_html_()


def test_explain_names_what_polars_does_not_stream():
    df = rd.from_dict({"a": [1.0, 2.0], "b": [1, 2]})
    assert "Polars runs it in memory" in df.group_by("b").agg(pl.col("a").median()).explain("physical")
    assert "rank(...): Polars runs it in memory" in df.with_columns(pl.col("a").rank()).explain("physical")
    cut = df.with_columns(pl.col("a").rank()).map_batches(slow, 2)
    assert "2 Polars queries" in cut.explain("physical")
    assert "rank(...)" in cut.explain("physical")
    assert "in memory" not in df.with_columns(pl.col("a") + 1).explain("physical")


def test_too_many_nested_functions_are_refused_before_they_lock_up():
    df = rd.from_dict({"a": [1]})
    for k in range(140):
        df = df.map_batches(lambda b: b, 10 + k)
    with pytest.raises(QueryError, match="140 user functions.*at most 128"):
        df.collect()
    same = rd.from_dict({"a": [1]})
    for _ in range(140):
        same = same.map_batches(lambda b: b, 10, preserves_rows=True)
    assert same.collect().height == 1  # fused into one
