"""User functions over batches and rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import OptionError, SchemaError


class Boom(Exception):
    """The user's own error."""


def _boom(batch):
    raise Boom("in the user's code")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, None])
def test_batches_have_exactly_the_size(run, told, size) -> None:
    def watch(batch: pl.DataFrame) -> pl.DataFrame:
        told(batch["a"].to_list())
        return batch

    # In pieces of other sizes, which the batches must not show.
    parts = rd.concat([rd.from_dict({"a": list(range(k * 5, k * 5 + 5))}) for k in range(4)])
    assert run(parts.filter(col("a") != 3).map_batches(watch, size))["a"].to_list() == [n for n in range(20) if n != 3]
    width = size or 19
    seen = sorted(told.values)  # batches of several partitions are seen in any order
    assert [len(rows) for rows in seen] == [width] * (19 // width) + ([19 % width] if 19 % width else [])
    assert [n for rows in seen for n in rows] == [n for n in range(20) if n != 3]


def test_no_rows_call_it_once_with_none(run, told, empty) -> None:
    run(empty.map_batches(lambda b: told(b.height) or b, 2))
    assert told.values == [0]
    told.path.unlink()
    by_row = empty.map_batches(lambda b: told(b.height) or b, 2, preserves_rows=True)  # its answer is known
    assert run(by_row).schema == empty.schema
    assert told.values == []


def test_a_class_is_made_once_a_run(run, told, engine, df) -> None:
    class Model:
        def __init__(self) -> None:
            told("made")
            self.calls = 0

        def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
            self.calls += 1
            return batch.select(n=pl.lit(self.calls).repeat_by(1).list.first() + pl.col("a").fill_null(0) * 0)

    frame = df.map_batches(Model, 1, schema={"n": pl.Int64})
    assert told.values == []
    calls = run(frame)["n"].to_list()
    if engine == "local":
        assert calls == [1, 2, 3, 4]
        assert len(told.values) == 1
        run(frame)
        assert len(told.values) == 2
    else:  # each worker that has batches makes its own
        assert len(calls) == 4
        assert 1 <= len(told.values) <= 3


@pytest.mark.parametrize("batch_format", ["polars", "arrow", "pandas", "numpy"])
def test_formats(run, told, df, batch_format: str) -> None:
    def same(batch):
        told(type(batch).__module__)
        return batch

    frame = df.select("a", "b").drop_nulls().map_batches(same, batch_format=batch_format)
    assert run(frame).rows() == [(1, "x"), (2, "y"), (3, "x")]
    module = {"polars": "polars", "arrow": "pyarrow", "pandas": "pandas", "numpy": "builtins"}[batch_format]
    assert told.values
    assert all(module in kind for kind in told.values)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda b: None, "NoneType"),
        (lambda b: [1, 2], "list"),
        (lambda b: b.select("a"), "missing"),
        (lambda b: b.with_columns(a=pl.lit("text")), "declared"),
        (lambda b: {"a": ["x"], "b": ["y"], "f": [1.0]}, "declared"),
    ],
)
def test_wrong_answers(run, df, answer, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        run(df.map_batches(answer))


def test_more_or_fewer_rows_than_promised(run, df) -> None:
    with pytest.raises(SchemaError, match="preserves_rows"):
        run(df.map_batches(lambda b: b.head(1), preserves_rows=True))


@pytest.mark.parametrize(
    "frame",
    [
        lambda d: d.map_batches(_boom),
        lambda d: d.map_batches(_boom).filter(col("a") > 1).group_by("b").len(),
        lambda d: d.map_batches(_boom).map_batches(lambda b: b, 3),  # a source that reads a source
        lambda d: d.map_batches(_boom).sort("a").map_batches(lambda b: b, 3).sort("a").map_batches(lambda b: b, None),
        lambda d: d.map_batches(_boom).cache(),
        lambda d: d.join(d.map_batches(_boom), on="a"),
        lambda d: d.map(_boom, schema={"a": pl.Int64}),
        lambda d: d.filter(lambda row: _boom(row)),
        lambda d: d.flat_map(_boom, schema={"a": pl.Int64}),
    ],
)
def test_the_users_error_is_what_is_raised(run, df, frame) -> None:
    with pytest.raises(Boom, match="in the user's code"):
        run(frame(df))
    with pytest.raises(Boom, match="in the user's code"):
        list(frame(df).iter_batches(2))
    with pytest.raises(Boom, match="in the user's code"):
        len(frame(df).filter(col("a") > 0)) if "a" in frame(df).columns else run(frame(df))


def test_reads_and_what_passes_by(run, df) -> None:
    def double(batch: dict) -> dict:
        assert list(batch) == ["a"]
        return {"n": np.nan_to_num(batch["a"]) * 2}

    frame = df.map_batches(double, 2, batch_format="numpy", reads="a", schema={"n": pl.Float64}, preserves_rows=True)
    assert frame.columns == ["a", "b", "f", "n"]
    assert run(frame.filter(col("b") == "x"))["n"].to_list() == [2.0, 6.0]
    assert run(frame.select("b")).columns == ["b"]


def test_options(df) -> None:
    for wrong in (
        lambda: df.map_batches(3), lambda: df.map_batches(_boom, 0), lambda: df.map_batches(_boom, True),
        lambda: df.map_batches(_boom, batch_format="tensor"), lambda: df.map_batches(_boom, schema={}),
        lambda: df.map_batches(_boom, reads=[]), lambda: df.iter_batches(0),
    ):  # fmt: skip
        with pytest.raises(OptionError):
            wrong()


def test_many_functions_on_each_other_do_not_lock(run, df) -> None:
    frame = df
    for size in (1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3):
        frame = frame.map_batches(lambda b: b.with_columns(pl.col("a") + 1), size)
    assert run(frame)["a"].to_list() == [13, 14, 15, None]
    assert run(frame.join(frame, on="a", maintain_order="left_right"))["a"].to_list() == [13, 14, 15]


def test_map_and_flat_map(run, df) -> None:
    assert run(df.map(lambda x: {"n": len(x["b"] or "")}, schema={"n": pl.Int32}))["n"].to_list() == [1, 1, 1, 0]
    words = df.flat_map(lambda x: [{"w": x["b"]}] * (x["a"] or 0), schema={"w": str})
    assert run(words)["w"].to_list() == ["x", "y", "y", "x", "x", "x"]
    with pytest.raises(SchemaError, match="dict"):
        run(df.map(lambda x: len(x), schema={"n": pl.Int64}))
    with pytest.raises(SchemaError, match="declared"):
        run(df.map(lambda x: {"m": len(x)}, schema={"n": pl.Int64}))


def test_cache_computes_once(run, told, df) -> None:
    kept = df.map_batches(lambda b: told(1) or b, None).cache()
    assert told.values == []
    for _ in range(3):
        run(kept.filter(col("a") > 1))
    assert len(kept) == 4
    assert run(rd.concat([kept, kept])).height == 8
    assert told.values == [1]
