"""What users of pandas type without thinking."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import ColumnNotFoundError, QueryError, SchemaError


def test_sizes(df, empty) -> None:
    assert (len(df), df.shape, df.height, df.width) == (4, (4, 3), 4, 3)
    assert (len(empty), empty.shape, empty.empty, empty.is_empty()) == (0, (0, 3), True, True)
    assert not df.empty
    assert df.filter(col("a") > 5).empty


def test_rows(df) -> None:
    assert df[0] == {"a": 1, "b": "x", "f": 0.5}
    assert df[-1] == {"a": None, "b": None, "f": None}
    assert df[np.int64(0)]["a"] == 1
    with pytest.raises(IndexError, match="4 rows"):
        df[4]
    with pytest.raises(QueryError):
        df[True]
    with pytest.raises(QueryError):
        df[1.5]


@pytest.mark.parametrize(
    "cut",
    [slice(None), slice(1), slice(1, 3), slice(2, None), slice(-2, None), slice(-3, -1), slice(None, -1), slice(1, -1),
     slice(3, 1), slice(9, 12), slice(0, 0), slice(-9, -2), slice(-1, -3), slice(2, -3)],
)  # fmt: skip
def test_slices_are_those_of_lists(df, cut: slice) -> None:
    assert df[cut].collect()["a"].to_list() == [1, 2, 3, None][cut]


def test_slices_that_are_none(df) -> None:
    with pytest.raises(QueryError, match="step"):
        df[::2]


def test_columns_and_masks(df) -> None:
    assert df[["b", "a"]].columns == ["b", "a"]
    assert df[df["a"] > 1].collect()["a"].to_list() == [2, 3]
    assert df[df.a > 1].collect()["a"].to_list() == [2, 3]
    assert df[pl.col("a") > 1].collect()["a"].to_list() == [2, 3]
    assert df["a"].collect().to_list() == [1, 2, 3, None]
    assert (df.a * 2 + 1).to_list() == [3, 5, 7, None]
    assert list(df["b"]) == ["x", "y", "x", None]
    assert df["a"].sum().collect().to_list() == [6]
    assert len(df["a"]) == 4
    other = rd.from_dict({"a": [1]})
    with pytest.raises(QueryError, match="another frame"):
        df.filter(other["a"] > 0)
    with pytest.raises(QueryError, match="another frame"):
        df["a"] + other["a"]


def test_no_columns(df) -> None:
    with pytest.raises(QueryError):
        df[[]]
    with pytest.raises(QueryError):
        df.select()


def test_rows_one_by_one(df) -> None:
    assert [row["a"] for row in df] == [1, 2, 3, None]
    assert next(iter(df.iter_rows(named=False))) == (1, "x", 0.5)
    assert df.head(2).to_dicts() == [
        {"a": 1, "b": "x", "f": 0.5},
        {"a": 2, "b": "y", "f": pytest.approx(float("nan"), nan_ok=True)},
    ]


@pytest.mark.parametrize(
    ("value", "there"),
    [("a", True), ("x", True), ("zz", False), (3, True), (7, False), (0.5, True), (float("nan"), True), (0, True),
     (2**70, False), (-1, False), (True, False)],
)  # fmt: skip
def test_in(df, value, there: bool) -> None:
    assert (value in df) is there


def test_in_an_enum() -> None:
    frame = rd.from_polars(pl.DataFrame({"e": pl.Series(["p"], dtype=pl.Enum(["p", "q"]))}))
    assert "p" in frame
    assert "q" not in frame
    assert "zz" not in frame


def test_rows_below_each_other(df) -> None:
    assert len(df + df) == 8
    assert (df | df.head(1)).collect()["a"].to_list() == [1, 2, 3, None, 1]
    with pytest.raises(TypeError, match="with_columns"):
        df + 1
    with pytest.raises(SchemaError, match="diagonal"):
        df + df.select("a")


def test_truth_and_equality(df) -> None:
    with pytest.raises(TypeError, match=r"df\.empty"):
        bool(df)
    with pytest.raises(TypeError, match="equals"):
        df == df  # noqa: B015
    assert df.copy() is df
    assert df.clone() is df
    with pytest.raises(AttributeError, match="immutable"):
        df.a = 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("sort_values", "sort"),
        ("iloc", "slice"),
        ("fillna", "fill_null"),
        ("value_counts", "group_by"),
        ("apply", "map"),
    ],
)
def test_what_has_another_name_here(df, name: str, advice: str) -> None:
    with pytest.raises(AttributeError, match=advice):
        getattr(df, name)


def test_close_names(df) -> None:
    with pytest.raises(AttributeError, match="with_columns"):
        df.with_column  # noqa: B018
    with pytest.raises(AttributeError):
        df._private  # noqa: B018
    assert not hasattr(df, "__array__")


def test_describe(df, empty) -> None:
    summary = df.describe()
    assert summary["statistic"].to_list() == ["count", "null_count", "mean", "std", "min", "50%", "max"]
    assert summary["a"].to_list() == [3.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0]
    assert summary["b"].to_list() == ["3", "1", None, None, "x", None, "y"]
    assert empty.describe()["a"].to_list()[:3] == [0.0, 0.0, None]
    nested = rd.from_dict({"l": [[1]], "p": [{"u": 1}], "n": [None], "y": [True]}).describe()
    assert nested["l"].to_list()[:2] == ["1", "0"]
    assert nested["y"].to_list()[:3] == [1.0, 0.0, 1.0]


def test_wrong_columns_name_the_users_line(df) -> None:
    for make in (
        lambda: df.select("bb"), lambda: df.filter(col("bb") > 1), lambda: df.sort("bb"), lambda: df["bb"],
        lambda: df.group_by("bb"), lambda: df.drop("bb"), lambda: df.rename({"bb": "c"}),
        lambda: df.cast({"bb": pl.Int8}),
        lambda: df.dedup("bb"), lambda: df.explode("bb"), lambda: df.unnest("bb"), lambda: df.join(df, on="bb"),
        lambda: df.unpivot("bb"), lambda: df.fill_null({"bb": 1}), lambda: df.drop_nulls("bb"), lambda: df.filter(bb=1),
        lambda: df.with_columns(c=col("bb") + 1), lambda: df.map_batches(lambda b: b, reads="bb"),
        lambda: df.group_by("a").agg(col("bb").sum()), lambda: df.group_by("a").agg({"bb": "sum"}),
    ):  # fmt: skip
        with pytest.raises(ColumnNotFoundError) as caught:
            make()
        text = str(caught.value)
        assert "'bb'" in text, text
        assert "'b'" in text, text
        assert "test_habits.py:" in text, text
