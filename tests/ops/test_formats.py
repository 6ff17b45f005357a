"""Frames out of other libraries, and back to them."""

from __future__ import annotations

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import robodf as rd
from robodf import col
from robodf.errors import OptionError, QueryError, SchemaError


def test_to_others(df) -> None:
    assert df.to_arrow().num_rows == 4
    assert df.to_pandas().shape == (4, 3)
    assert df.to_dict()["a"] == [1, 2, 3, None]
    assert df.to_polars().height == 4


def test_arrow_stream(df, empty) -> None:
    assert pa.table(df).column("a").to_pylist() == [1, 2, 3, None]
    assert pa.table(empty).schema.names == ["a", "b", "f"]
    assert pa.table(df.filter(col("a") > 9)).num_rows == 0
    assert pl.DataFrame(df).height == 4
    made = rd.from_dict({"a": list(range(200_000))})  # more than one batch
    assert pa.table(made).column("a").to_pylist() == list(range(200_000))


def test_duckdb(df) -> None:
    assert duckdb.sql("select sum(a) as s from df").fetchall() == [(6,)]


def test_from_others(run) -> None:
    wanted = [(1, "x"), (2, None)]
    data = {"a": [1, 2], "b": ["x", None]}
    for made in (
        rd.from_dict(data), rd.from_pandas(pd.DataFrame(data)), rd.from_arrow(pa.table(data)),
        rd.from_polars(pl.DataFrame(data)),
        rd.from_polars(pl.LazyFrame(data)), rd.from_records([{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        rd.from_records([(1, "x"), (2, None)], schema=["a", "b"]), rd.from_arrow(pa.table(data).to_reader()),
        rd.from_arrow(pa.table(data).to_batches()[0]),
    ):  # fmt: skip
        assert run(made).rows() == wanted


def test_what_is_no_frame() -> None:
    for wrong, error in (
        (lambda: rd.from_dict({"a": [1], "b": [1, 2]}), SchemaError), (lambda: rd.from_polars([1]), OptionError),
        (lambda: rd.from_records([]), QueryError), (lambda: rd.concat([]), QueryError),
        (lambda: rd.PipelineDataFrame({"a": [1]}), TypeError),
        (lambda: rd.from_records([(1, 2)], schema=["a"]), SchemaError),
    ):  # fmt: skip
        with pytest.raises(error):
            wrong()


@pytest.mark.parametrize("size", [1, 3, 1000, 100_000])
def test_batches_in_order_and_of_the_size(size: int) -> None:
    frame = rd.concat([rd.from_dict({"a": list(range(k, k + 500))}) for k in (0, 500)]).with_columns(b=col("a") * 2)
    batches = list(frame.iter_batches(size))
    assert [n for b in batches for n in b["a"]] == list(range(1000))
    assert all(b.height == size for b in batches[:-1])
    assert list(frame.filter(col("a") < 0).iter_batches(size)) == []


def test_reading_stops_where_the_loop_does() -> None:
    seen = []
    frame = rd.from_dict({"a": list(range(100_000))}).map_batches(lambda b: seen.append(1) or b, 10)
    for _ in frame.iter_batches(10):
        break
    assert len(seen) < 10_000
    seen.clear()
    assert frame.head(5).collect().height == 5
    assert len(seen) < 1000
