"""Rows that are kept in files, and writes that go on where they stopped: the same on every engine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import OptionError
from robodf.plan.nodes.checkpoint import Checkpoint


def _frame(folder: Path, files: int = 6) -> rd.PipelineDataFrame:
    for k in range(files):
        rows = pl.DataFrame({"k": [f"g{n % 3}" for n in range(40)], "x": [k * 40 + n for n in range(40)]})
        rows.write_parquet(folder / f"{k}.parquet")
    return rd.read_parquet(str(folder))


def test_rows_are_computed_once_and_are_the_same(run, told, tmp_path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    frame = _frame(data)
    slow = frame.map_batches(lambda b: told(b.height) or b, 40).sort("x", descending=True).with_row_index()
    kept = slow.checkpoint(tmp_path / "kept")
    assert isinstance(kept._plan, Checkpoint)
    wanted = frame.sort("x", descending=True).with_row_index().collect(engine="local")
    assert "computed by the first run" in kept.explain("optimized")
    assert told.values == []
    assert run(kept).equals(wanted)
    calls = len(told.values)
    assert calls >= 6
    assert run(kept.filter(col("x") > 200)).equals(wanted.filter(pl.col("x") > 200))
    assert run(kept.group_by("k").agg(col("x").sum()).sort("k"))["x"].sum() == wanted["x"].sum()
    assert kept.count_rows() == wanted.height
    assert "240 rows are there" in kept.explain("optimized")
    assert len(told.values) == calls
    # A query built again is the same query; another one is not, and neither is that over a file that changed.
    assert run(slow.checkpoint(tmp_path / "kept")).equals(wanted)
    assert len(told.values) == calls
    assert run(slow.filter(col("x") < 10).checkpoint(tmp_path / "kept")).height == 10
    assert len(told.values) > calls
    os.utime(data / "0.parquet", ns=(1, 1))
    calls = len(told.values)
    again = rd.read_parquet(str(data)).map_batches(lambda b: told(b.height) or b, 40).checkpoint(tmp_path / "kept")
    assert run(again).height == 240
    assert len(told.values) > calls


@pytest.mark.parametrize("rows", [0, 1])
def test_little(run, tmp_path, rows: int) -> None:
    frame = rd.from_polars(pl.DataFrame({"a": list(range(rows))}, schema={"a": pl.Int8})).checkpoint(tmp_path / "k")
    for _ in range(2):
        assert run(frame).schema == {"a": pl.Int8}
        assert run(frame).height == rows


def test_what_has_no_key(df, tmp_path) -> None:
    lock = threading.Lock()
    with pytest.raises(OptionError, match="lock"):
        df.map_batches(lambda b: b if lock.locked() else b.head(9)).checkpoint(tmp_path)


QUERIES = {
    "group_by": lambda f: f.group_by("k").agg(col("x").sum(), n=rd.len()),
    "sort": lambda f: f.sort("x", descending=True),
    "join": lambda f: f.join(f.group_by("k").agg(m=col("x").max()), on="k", maintain_order="left"),
    "unique": lambda f: f.unique("k", keep="last", maintain_order=True),
    "window": lambda f: f.with_columns(m=col("x").mean().over("k")).with_row_index(),
    "batches": lambda f: f.map_batches(
        lambda b: b.with_columns(n=pl.lit(b.height)), 7, schema={"k": str, "x": int, "n": pl.Int32}
    ),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_write_goes_on_where_it_was_stopped(engine, told, tmp_path, name: str) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    frame = _frame(data)
    wanted = QUERIES[name](frame).collect(engine="local")
    stop = tmp_path / "stop"
    stop.write_text("")

    def read(batch: pl.DataFrame) -> pl.DataFrame:
        told("read")
        return batch

    def last(batch: pl.DataFrame) -> pl.DataFrame:
        if stop.exists() and len(told.path.read_text()) > 3:
            raise KeyError("it dies here")
        return batch

    whole = frame.map_batches(read, 40)
    query = QUERIES[name](whole).map_batches(last, preserves_rows=True)
    with rd.config(partitions=3, partition_bytes=64, small_bytes=0):
        with pytest.raises(KeyError, match="dies here"):
            query.to_parquet(out, resume=True, engine=engine)
        assert not out.exists()
        before = len(told.values)
        stop.unlink()
        query = QUERIES[name](frame.map_batches(read, 40)).map_batches(last, preserves_rows=True)
        assert query.to_parquet(out, resume=True, engine=engine).rows == wanted.height
    assert len(told.values) == before, "rows were read again that had been kept"
    found = rd.read_parquet(str(out)).collect(engine="local")
    order = [] if name in ("sort", "unique", "window", "batches", "join") else found.columns
    assert found.sort(order).equals(wanted.sort(order)) if order else found.equals(wanted), found
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out", "told.jsonl"]
