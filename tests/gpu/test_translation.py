"""What cudf-polars is asked, and where robodf does not take its yes. No GPU is needed."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

from robodf.gpu.translation import available, obstacles

pytestmark = pytest.mark.gpu_plan

col = pl.col
TYPES = {
    "k": pl.Int64,
    "x": pl.Float64,
    "s": pl.String,
    "b": pl.Boolean,
    "t": pl.Datetime("ns"),
    "l": pl.List(pl.Int64),
}


@pytest.fixture
def rows() -> pl.LazyFrame:
    return pl.LazyFrame(schema=TYPES)


def test_most_of_relational_algebra_translates(rows: pl.LazyFrame) -> None:
    for query in (
        rows.filter(col("k") > 1, col("s").str.contains("a")),
        rows.select(col("x") * 2, y=col("k") // 3),
        rows.group_by("k").agg(col("x").sum(), col("b").sum(), n=pl.len()),
        rows.group_by("k", maintain_order=True).agg(col("s").n_unique()),
        rows.sort("x", "s", descending=[True, False], nulls_last=True, maintain_order=True),
        rows.join(rows, on="k", maintain_order="left"),
        rows.join(rows, on="k", how="semi"),
        rows.unique("s", keep="first", maintain_order=True),
        rows.with_columns(y=col("k").sum().over("s")),
        pl.concat([rows, rows]),
        rows.select(pl.len()),
    ):
        assert obstacles(query) == [], query.explain()


def test_what_does_not_translate_says_why(rows: pl.LazyFrame) -> None:
    assert obstacles(rows.group_by_dynamic("t", every="1s").agg(col("x").mean())) == ["group_by_dynamic"]
    (found,) = obstacles(rows.select(col("l").list.max()))
    assert "ListFunction" in found
    assert obstacles(rows.select(col("s").cast(pl.Categorical)))
    assert obstacles(rows.select(col("x").map_batches(lambda values: values)))
    (found,) = obstacles(rows.sort("t").join_asof(rows.sort("t"), on="t"))
    assert found.startswith("cudf-polars does not understand it (")


DIFFERENT = {
    "explode": (lambda q: q.explode("l", empty_as_null=False), "explode gives a null row for an empty list on the GPU"),
    "order of a semi join": (
        lambda q: q.join(q, on="k", how="semi", maintain_order="left"),
        "a semi join does not keep the order of the rows on the GPU",
    ),
    "order of an anti join": (
        lambda q: q.join(q, on="k", how="anti", maintain_order="left_right"),
        "an anti join does not keep the order of the rows on the GPU",
    ),
    "order of a cross join": (
        lambda q: q.join(q, how="cross", maintain_order="right"),
        "a cross join has the order of its left side on the GPU",
    ),
    "narrow integers": (
        lambda q: q.select(col("k").cast(pl.Int8)),
        "a cast from Int64 to Int8 wraps on the GPU where a number does not fit",
    ),
    "negative numbers": (
        lambda q: q.select(col("k").cast(pl.UInt64)),
        "a cast from Int64 to UInt64 wraps on the GPU where a number does not fit",
    ),
    "integers of floats": (
        lambda q: q.select(col("x").cast(pl.Int64)),
        "a cast from Float64 to Int64 does not look for what does not fit on the GPU",
    ),
    "floats as text": (
        lambda q: q.select(col("x").cast(pl.String)),
        "floats are written as text in another way on the GPU",
    ),
    "floats of text": (
        lambda q: q.select(col("s").cast(pl.Float64)),
        "floats read from text may differ in their last digit on the GPU",
    ),
    "letters": (
        lambda q: q.select(col("s").str.to_lowercase()),
        "upper and lower case of some letters beyond ASCII differ on the GPU",
    ),
    "least float of a group": (
        lambda q: q.group_by("k").agg(col("x").min()),
        "min of floats within groups does not pass over NaN on the GPU",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_would_give_other_rows_stays(name: str, rows: pl.LazyFrame) -> None:
    query, why = DIFFERENT[name]
    assert obstacles(query(rows)) == [why]


def test_what_is_near_to_it_goes(rows: pl.LazyFrame) -> None:
    for query in (
        rows.join(rows, how="cross", maintain_order="left"),
        rows.select(col("k").cast(pl.Float64), y=col("b").cast(pl.Int8)),
        rows.group_by("s").agg(col("k").min()),
        rows.select(col("x").min()),
    ):
        assert obstacles(query) == [], query.explain()


def test_files(tmp_path: Path) -> None:
    frame = pl.DataFrame({"k": [1, 2], "s": ["a", "b"]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")
    frame.with_columns(x=0.1).write_csv(tmp_path / "x.csv")
    frame.write_ipc(tmp_path / "a.arrow")
    assert obstacles(pl.scan_parquet(tmp_path / "a.parquet").filter(col("k") > 1)) == []
    assert obstacles(pl.scan_csv(tmp_path / "a.csv").filter(col("k") > 1)) == []
    (found,) = obstacles(pl.scan_csv(tmp_path / "x.csv"))
    assert found == "floats read from csv may differ in their last digit on the GPU"
    assert obstacles(pl.scan_ipc(tmp_path / "a.arrow"))
    assert obstacles(pl.scan_parquet(tmp_path / "gone.parquet"))


def test_rows_of_python_are_the_cpus(rows: pl.LazyFrame) -> None:
    """cudf-polars takes them, but would call Python on the CPU and move what it gives."""
    from robodf.io.stream import from_batches

    schema = {"k": pl.Int64()}
    made = from_batches(lambda: iter([pl.DataFrame(schema=schema)]), schema, "made")
    assert obstacles(made.filter(col("k") > 1)) == ["its rows come from Python"]


def test_a_temporary_column_of_polars_is_looked_into(rows: pl.LazyFrame) -> None:
    """Polars computes x.is_nan() once for both, in a column of its own: the comparisons are no less safe for it."""
    nan = col("x").is_nan()
    assert obstacles(rows.select(((col("x") > 1) | nan).alias("a"), ((col("x") > 2) | nan).alias("b"))) == []


def test_asking_makes_no_use_of_a_gpu() -> None:
    assert available() is None
    assert "cupy" not in sys.modules
