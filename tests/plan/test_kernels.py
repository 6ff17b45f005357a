"""Functions that Polars lacks: nodes like any other, and as careful as they say."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import QueryError
from robodf.optimizer import optimize
from robodf.plan import kernels
from robodf.plan.base import tree
from robodf.plan.expr import Call, Expr
from robodf.plan.kernels import Kernel, call, register

ROOT = Path(__file__).parents[2]


def _plus(a: pl.Series, *others: pl.Series, n: int = 0) -> pl.Series:
    return sum((o.cast(pl.Int64) for o in others), a.cast(pl.Int64)) + n


def _root(values: pl.Series) -> pl.Series:
    if (values < 0).any():
        raise ValueError("no root of a negative number")
    return values.cast(pl.Float64).sqrt()


def _integer(**_: Any) -> pl.DataType:
    return pl.Int64()


def _kept(values: pl.Series, **_: Any) -> pl.Series:
    return values


@pytest.fixture(scope="module", autouse=True)
def _registered():
    before = dict(kernels._KERNELS)
    register("test.plus", Kernel(_plus, _integer, total=True))
    register("test.root", Kernel(_root, lambda: pl.Float64()))
    register("test.wrong_type", Kernel(lambda a: a.cast(pl.String), _integer, total=True))
    register("test.wrong_type_and_careful", Kernel(lambda a: a.cast(pl.String), _integer))
    register("test.too_short", Kernel(lambda a: a.head(1), _integer, total=True))
    register("test.options", Kernel(_kept, _integer, total=True))
    yield
    kernels._KERNELS.clear()
    kernels._KERNELS.update(before)


@pytest.fixture
def df() -> rd.PipelineDataFrame:
    return rd.from_dict({"a": [1, 2, 3, None], "b": [10, 20, 30, 40]})


def rows(frame: rd.PipelineDataFrame) -> list:
    return frame.collect().rows()


# -- as a node ------------------------------------------------------------------------------------------------


def test_equal_calls_are_one_node() -> None:
    assert call("test.plus", "a", n=1) is call("test.plus", col("a"), n=1)
    assert call("test.options", "a", n=1, m=2) is call("test.options", "a", m=2, n=1)
    assert call("test.options", "a", n=[1, 2]) is call("test.options", "a", n=(1, 2))
    apart = [{"n": 1}, {"n": 2}, {"n": True}, {"n": 1.0}, {"m": 1}, {}, {"n": {"x": pl.Int8}}, {"n": {"x": pl.Int16}}]
    made = [call("test.options", "a", **options) for options in apart]  # held: nodes live as long as they are used
    assert len(set(map(id, made))) == len(apart)
    assert call("test.plus", "a", "b") is not call("test.plus", "b", "a")


def test_text() -> None:
    assert repr(call("test.plus", "a", col("b") + 1, n=2)) == 'test.plus(col("a"), col("b") + 1, n=2)'
    text = 'ros.points_foxglove(col("point_stride"), col("fields"), col("data"), drop_nan=True, '
    text += "wanted={'x': Float32})"
    assert repr(rd.ros.points(["x"], drop_nan=True, layout="foxglove")) == f"{text}.alias('points')"


def test_options_arrive_as_they_were_given() -> None:
    seen = []
    given = {
        "t": {"x": pl.Float32(), "y": pl.Array(pl.Int8, 2)},
        "s": "text",
        "l": [1, [2]],
        "none": None,
        "flag": True,
    }
    kernels._KERNELS["test.seen"] = Kernel(lambda a, **options: seen.append(options) or a, _integer, total=True)
    pl.DataFrame({"a": [1]}).select(call("test.seen", "a", **given).polars)
    assert seen[-1] == given
    assert list(seen[-1]["t"]) == ["x", "y"]


def test_columns_that_it_reads() -> None:
    made = call("test.plus", col("a") * 2, "b")
    assert made.columns == {"a", "b"}
    assert made.transparent
    assert made.rowwise
    assert (made + 1).columns == {"a", "b"}
    assert not call("test.plus", col("a").sum(), "b").rowwise
    assert not call("test.plus", pl.col("a").cum_sum()).rowwise


def test_methods_go_on_from_it(df) -> None:
    made = call("test.plus", "a", "b")
    assert isinstance(made + 1, Expr)
    assert rows(df.select(((made + 1) * 2).alias("x"))) == [(24,), (46,), (68,), (None,)]
    assert rows(df.select(made.fill_null(0).max().over("b").alias("x"))) == [(11,), (22,), (33,), (0,)]
    assert made.sort_by("b") is made.sort_by(col("b"))
    assert rows(df.group_by("b").agg(made.sum()).sort("b").head(1)) == [(10, 11)]


@pytest.mark.parametrize("module", [pickle, cloudpickle])
def test_pickled_it_is_the_same_node(module) -> None:
    made = call("test.plus", col("a") + 1, "b", n=3) > 5
    assert made.polars is not None  # the function in it is not pickled
    assert pickle.loads(module.dumps(made)) is made


@pytest.mark.parametrize("module", [pickle, cloudpickle])
def test_a_process_that_imports_robodf_alone_can_run_it(module) -> None:
    data = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes([0, 0, 0, 3, 0, 0, 0, 2]), None]
    frame = rd.from_dict({"data": data}, schema={"data": pl.Binary}).select(rd.ros.image_size("data"))
    code = "import sys, pickle, robodf; print(pickle.loads(sys.stdin.buffer.read()).collect().rows())"
    done = subprocess.run(
        [sys.executable, "-c", code], input=module.dumps(frame), capture_output=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.stderr == b""
    assert done.stdout.decode().strip() == "[({'width': 3, 'height': 2, 'encoding': 'png'},), (None,)]"


# -- its values -----------------------------------------------------------------------------------------------


def test_arguments_of_one_name(df) -> None:
    assert rows(df.select(call("test.plus", "a", col("a") * 2, col("a")))) == [(4,), (8,), (12,), (None,)]
    assert df.select(call("test.plus", col("a").alias("_1"), col("b").alias("_0"))).columns == ["_1"]


def test_a_constant_among_the_arguments(df) -> None:
    assert rows(df.select(call("test.plus", "a", 5))) == [(6,), (7,), (8,), (None,)]
    assert rows(df.with_columns(c=call("test.plus", 1, 5)).select("c")) == [(6,)] * 4


def test_odd_frames() -> None:
    made = call("test.plus", "a", "b")
    for values in ([], [None], [None, None]):
        frame = rd.from_dict({"a": values, "b": values}, schema={"a": pl.Int64, "b": pl.Int64})
        assert frame.select(made).schema == {"a": pl.Int64}
        assert rows(frame.select(made)) == [(None,)] * len(values)
    many = rd.from_dict({"a": list(range(100_000))})
    assert many.select(call("test.plus", "a", "a")).collect()["a"].to_list() == list(range(0, 200_000, 2))


@pytest.mark.parametrize("name", ["test.wrong_type", "test.wrong_type_and_careful", "test.too_short"])
def test_a_kernel_that_gives_another_type_or_length_is_an_error(df, name: str) -> None:
    with pytest.raises((TypeError, pl.exceptions.PolarsError), match=rf"robodf\.{name} gave \d rows of \w+, not \d"):
        rows(df.select(call(name, "b")))


# -- names ----------------------------------------------------------------------------------------------------


def test_a_name_has_one_kernel() -> None:
    mine = kernels._KERNELS["test.plus"]
    register("test.plus", mine)  # the same again, as by an import that is repeated
    with pytest.raises(ValueError, match=r"two kernels are named 'test\.plus'"):
        register("test.plus", Kernel(_root, _integer))
    assert kernels._KERNELS["test.plus"] is mine


def test_a_name_without_a_kernel(df) -> None:
    with pytest.raises(QueryError, match=r"no function 'test\.plsu'; did you mean 'test\.plus'"):
        call("test.plsu", "a")
    elsewhere = Call("robodf.of_another_version", (col("a"),))
    with pytest.raises(QueryError, match="no function 'of_another_version'"):
        df.select(elsewhere)
    with pytest.raises(QueryError, match="no function"):
        df.filter(elsewhere > 1)
    with pytest.raises(ValueError, match="needs a column"):
        call("test.plus")


# -- in a query -----------------------------------------------------------------------------------------------


def test_flags() -> None:
    total, careful = call("test.plus", "a", "b") > 1, call("test.root", "a") > 1
    assert (total.rowwise, total.movable) == (True, True)
    assert (careful.rowwise, careful.movable) == (True, False)
    assert not (total & careful).movable
    assert not call("test.plus", col("a").cast(pl.Int8)).movable  # an argument may raise


def test_a_filter_on_a_total_kernel_goes_down(df) -> None:
    made = df.with_columns(c=col("b") * 2).sort("a").filter(call("test.plus", "a", "c") > 30)
    text = tree(optimize(made._plan))
    assert text.index("Sort") < text.index("WithColumns") < text.index("Filter")
    assert """test.plus(col("a"), (col("b") * 2).alias('c')) > 30""" in text
    assert rows(made) == [(2, 20, 40), (3, 30, 60)]


def test_its_columns_alone_are_read(df) -> None:
    made = df.with_columns(c=1).select(call("test.plus", "a"))
    assert "WithColumns" not in tree(optimize(made._plan))
    assert rows(made) == [(1,), (2,), (3,), (None,)]


def test_a_kernel_that_may_raise_stays_behind_the_filter_that_guards_it() -> None:
    frame = rd.from_dict({"a": [4, -1, 9, 16], "k": [1, 2, 3, 4]})
    guard, root = col("a") > 0, call("test.root", "a") > 2
    one = rd.from_dict({"k": [1, 3]})
    guarded: dict[str, tuple[rd.PipelineDataFrame, list]] = {
        "a filter": (frame.filter(guard).filter(root), [9, 16]),
        "a filter below a sort": (frame.filter(guard).sort("a").filter(root), [9, 16]),
        "a filter below unique": (frame.filter(guard).unique("a").filter(root), [9, 16]),
        "a join": (frame.join(one, on="k").filter(root), [9]),
        "a slice": (frame.sort("a").slice(1, 3).filter(root), [9, 16]),
        "a column": (frame.filter(guard).with_columns(r=call("test.root", "a")).filter(col("r") > 2), [9, 16]),
    }  # fmt: skip
    for what, (made, wanted) in guarded.items():
        assert sorted(made.collect()["a"].to_list()) == wanted, what
