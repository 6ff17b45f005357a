# ruff: noqa: E501, SIM300, C416 - tables of cases
"""Nodes and expressions: interning, what probes get, names, texts."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import cloudpickle
import numpy as np
import polars as pl
import pytest

from robodf.errors import OptionError
from robodf.plan.expr import (
    Call,
    Col,
    Expr,
    Lit,
    Native,
    as_expr,
    base_names,
    conjunction,
    conjuncts,
    freeze,
    function,
    lit_or_expr,
    paths_of,
    substitute,
    thaw,
)
from robodf.plan.node import Node, Pairs, node, walk

a, b, s = Col("a"), Col("b"), Col("s")

NAN = float("nan")
APART = [
    1, True, 1.0, 0, False, 0.0, -0.0, NAN, float("inf"), None, "1", b"1", "", b"", Decimal("1"), Decimal("1.0"), Decimal("1.00"),
    datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=timezone.utc), datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), datetime(2024, 1, 1, fold=1), time(1), time(1, tzinfo=timezone.utc),
    (1,), (True,), (1.0,), ((1,),), ((True,),), (0.0,), (-0.0,), (1, 2), (2, 1), (), ("1",), (None,), Pairs(((1, 2),)), ((1, 2),),
    pl.Datetime, pl.Datetime("ns"), pl.Datetime("us", "UTC"), pl.Datetime("ns", "UTC"), pl.Enum(["a"]), pl.Enum(["b"]), pl.Enum(["a", "b"]),
    pl.Int64, pl.Int32, pl.List(pl.Int64), pl.List(pl.Int32), pl.List, pl.Struct({"a": pl.Int64}), pl.Struct({"b": pl.Int64}), pl.Decimal(10, 2),
    pl.Duration("ns"), pl.Duration("ms"), pl.Array(pl.Int64, 2), pl.Array(pl.Int64, 3), pl.Categorical, int, float, np.float64(1.0), np.int64(1),
]  # fmt: skip


def test_values_that_python_finds_equal_are_different_literals():
    made = [Lit(v) for v in APART]
    assert len({id(m) for m in made}) == len(APART)
    again = [Lit(copy.deepcopy(v)) for v in APART]
    assert all(m is n for m, n in zip(made, again))


@pytest.mark.parametrize(
    "make",
    [Lit, lambda v: Call("f", (a, v)), lambda v: Call("f", (a,), (("k", v),)), lambda v: Call("f", (a, (v, (v,))))],
)
def test_and_so_are_calls_with_them(make):
    made = [make(v) for v in (1, True, 1.0, 0, False, 0.0, -0.0, NAN, Decimal("1"), Decimal("1.0"))]
    assert len({id(m) for m in made}) == len(made)


def test_two_equal_nodes_are_one():
    assert Col("a") is a
    assert (a + 1) is (Col("a") + 1)
    assert (a + 1) is not (a + 1.0)
    assert (a > 1) is (1 < a)
    assert a.str.contains("x", literal=True) is Col("a").str.contains("x", literal=True)
    assert a.is_in([1, 2]) is a.is_in((1, 2))
    assert Lit(NAN) is Lit(float("nan"))
    assert Lit(1, pl.Int8) is Lit(1, pl.Int8())
    assert Lit(1, pl.Int8) is not Lit(1, pl.Int16)
    assert Lit([1]) is not Lit([1])  # no hash: only itself
    series = pl.Series([1])
    assert Lit(series) is Lit(series)


def test_kinds_of_nodes_with_the_same_fields_stay_apart():
    assert Col("a") is not Lit("a")

    @node
    class Other(Expr):
        ref: str

    assert Other("a") is not Col("a")


def test_nodes_are_forgotten():
    name = "a name that nobody else uses"
    key = id(Col(name))
    gc.collect()
    kept = Col(name)
    assert kept is Col(name)
    assert isinstance(key, int)


@pytest.mark.parametrize("module", [pickle, cloudpickle])
@pytest.mark.parametrize(
    "e",
    [
        a, a + 1, Lit(NAN), Lit(-0.0), Lit(True), Lit(datetime(2024, 1, 1, tzinfo=timezone.utc)), Lit(1, pl.Enum(["a", "b"])),
        a.cast(pl.Datetime("ns", "UTC")), Call("is_in", (a, (1, True, 1.0))), a.str.replace_many({"a": "b"}), function("concat_str", "a", "b", separator="-"),
        Call("pl.when", (a > 1, b, Lit(None))), a.over("s", order_by="b"), Lit((1, (True, (0.0, -0.0)))), Lit(Decimal("1.00")), a.cast(pl.Struct({"x": pl.Int8})),
    ],
    ids=str,
)  # fmt: skip
def test_pickled_nodes_come_back_as_themselves(module, e):
    assert module.loads(module.dumps(e)) is e
    assert copy.copy(e) is e
    assert copy.deepcopy(e) is e


def test_a_node_made_elsewhere_is_interned_on_arrival():
    data = pickle.dumps(Col("only in the pickle") + 1)
    gc.collect()
    one, two = pickle.loads(data), pickle.loads(data)
    assert one is two
    assert one is Col("only in the pickle") + 1


def test_fields_cannot_be_changed():
    with pytest.raises(AttributeError):
        a.ref = "b"
    with pytest.raises(AttributeError):
        del a.ref


def test_threads_intern_the_same_node():
    made: list[list[Node]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def work(mine: list[Node]) -> None:
        start.wait()
        for i in range(2000):
            mine.append((Col(f"thread{i % 50}") + i % 7) > Lit(i % 5))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for others in made[1:]:
        assert len(others) == 2000
        assert all(x is y for x, y in zip(made[0], others))


def test_map_and_children_go_by_place():
    twice = Call("f", (a, a, (b, (a,))), (("k", b),))
    assert twice.children() == (a, a, b, a, b)
    order = iter("vwxyz")
    new = Node.map(twice, lambda child: Col(next(order)))
    assert [c.ref for c in new.children()] == list("vwxyz")
    assert Node.map(twice, lambda child: child) is twice
    assert [n for n in walk(twice)] == [twice, a, b]
    assert Node.replace(twice, fn="g").fn == "g"


# -- probes and truth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "__array__",
        "_repr_html_",
        "__wrapped__",
        "_ipython_display_",
        "__len__",
        "__iter__",
        "__arrow_c_stream__",
        "_x",
        "__float__",
    ],
)
def test_probes_get_the_answer_no(name):
    for thing in (a, a.str, a.str.contains, a + 1):
        assert not hasattr(thing, name)


def test_an_expression_has_no_truth_value():
    for use in (
        lambda: bool(a > 1),
        lambda: (a > 1) and b,
        lambda: not a,
        lambda: 0 < a < 2,
        lambda: a in [b],
        lambda: 1 if a else 2,
    ):
        with pytest.raises(TypeError, match="& | ~"):
            use()
    with pytest.raises(TypeError):
        iter(a)
    assert {a: 1}[Col("a")] == 1


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: a.is_nul(), r"no method 'is_nul'; did you mean 'is_null'"),
        (lambda: a.str.contain("x"), r"str.*contain.*did you mean 'contains'"),
        (lambda: a.qqqqqq(), r"no method 'qqqqqq'\."),
        (lambda: a.sum.x, r"call it, sum\(\.\.\.\)"),
        (lambda: a.ref2, r"no method 'ref2'"),
    ],
)
def test_unknown_methods_say_what_is_close(use, message):
    with pytest.raises(AttributeError, match=message):
        use()


def test_a_namespace_is_not_called():
    with pytest.raises(TypeError, match="namespace"):
        a.str("x")


def test_wrong_arguments_are_reported_at_once():
    with pytest.raises(TypeError):
        a.str.contains()
    with pytest.raises(TypeError):
        a.sum(1, 2, 3)


def test_completion_and_documentation_are_those_of_polars():
    assert {"str", "is_null", "rank", "alias"} <= set(dir(a))
    assert "contains" in dir(a.str)
    assert a.str.contains.__doc__ == pl.col("a").str.contains.__doc__
    assert a.meta.output_name() == "a"


def test_names_that_nodes_use_too_are_those_of_polars_on_expressions():
    data = pl.DataFrame({"a": [1, 2]})
    assert data.select(a.replace(1, 9).polars)["a"].to_list() == [9, 2]
    assert data.select(a.replace({1: 9}).polars)["a"].to_list() == [9, 2]
    assert hasattr(a, "map") == hasattr(pl.Expr, "map")
    assert a.pipe(lambda e, n: e + n, 2) is a + 2
    names = {name for name in dir(Call) if not name.startswith("_")} & {
        n for n in dir(pl.Expr) if not n.startswith("_")
    }
    assert names <= {"replace", "map", "pipe", "meta"}


def test_numpy_scalars_leave_operators_to_the_expression():
    data = pl.DataFrame({"a": [1.0, 2.0]})
    for e in (np.float64(2) * a, np.int64(2) * a, np.float64(1) < a, a + np.float64(1)):
        assert isinstance(e, Expr)
        assert data.select(e.polars).height == 2


# -- operators ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    """c + 1; 1 + c; c - d; 3 - c; c * 2; c / d; 2 / c; c // 2; 7 // c; c % 2; 5 % c; c ** 2; 2 ** d; -c; +c; abs(c); ~p; p & q; p | q; p ^ q
    c == d; c != 1; c < d; c <= 1; c > d; c >= 2; 1 < c; 2 >= d; True & p; False | q; (c + 1) * 2 - d; ~(c > d) & p""".replace("\n", ";").split(";"),
)  # fmt: skip
def test_operators_are_those_of_polars(text):
    data = pl.DataFrame(
        {"c": [1, 2, None, 4], "d": [2, 2, 1, None], "p": [True, False, None, True], "q": [True, True, False, None]}
    )
    mine, theirs = (eval(text.strip(), {name: col(name) for name in data.columns}) for col in (Col, pl.col))
    assert mine.polars.meta.eq(theirs)
    assert data.select(mine.polars).equals(data.select(theirs))


def test_names_in_arguments_become_columns():
    assert a.over("s").columns == {"a", "s"}
    assert a.over("s").transparent
    assert a.sort_by("b", "s").transparent
    assert a.over(["s", "b"]).columns == {"a", "s", "b"}
    assert a.str.contains("s").columns == {"a"}
    assert a.fill_null("s").columns == {"a"}
    assert function("struct", "a", x="b").transparent
    assert a.is_in(["s", "b"]).columns == {"a"}


def test_foreign_things_as_operands():
    assert lit_or_expr("x") is Lit("x")
    assert as_expr("x") is Col("x")
    assert as_expr(3) is Lit(3)
    assert (a + pl.col("b")) is (a + b)
    assert isinstance((a + pl.col("b").sum()).args[1], Native)
    assert freeze({1: [2, {3}]}) == Pairs(((1, (2, (3,))),))
    assert thaw(freeze({1: [2, [3]]})) == {1: [2, [3]]}
    assert freeze(range(3)) == (0, 1, 2)


# -- questions ----------------------------------------------------------------------------------------------


def test_conjunctions():
    parts = [a > 1, b < 2, s == "x"]
    whole = conjunction(parts)
    assert whole is ((a > 1) & (b < 2) & (s == "x"))
    assert all(x is y for x, y in zip(conjuncts(whole), parts))
    assert len(conjuncts((a > 1) & ((b < 2) & (s == "x")))) == 3
    assert conjuncts((a > 1) | (b < 2)) == [(a > 1) | (b < 2)]
    assert conjunction([a]) is a
    with pytest.raises(OptionError):
        conjunction([])


def test_substitution():
    e = (a + b) * a
    assert substitute(e, {"a": b + 1}) is ((b + 1) + b) * (b + 1)
    assert substitute(e, {"x": b}) is e
    assert substitute(e, {"a": b, "b": a}) is (b + a) * b
    assert substitute(a.over("s"), {"s": b}).columns == {"a", "b"}
    assert substitute(Call("is_in", (a, (1, 2))), {"a": b}) is b.is_in([1, 2])
    deep = a
    for _ in range(60):
        deep = deep + deep
    assert substitute(deep, {"a": b}).children()[0] is not deep


def test_columns_and_paths():
    assert (a + b.sum()).columns == {"a", "b"}
    assert Lit(1).columns == frozenset()
    assert Native(pl.col("x") + pl.col("y")).columns == {"x", "y"}
    e = (Col("pose").struct.field("x") > 1) & (Col("pose").struct.field("o").struct.field("w") > a)
    assert paths_of(e) == {"pose\0x", "pose\0o\0w", "a"}
    assert base_names(paths_of(e)) == {"pose", "a"}
    assert paths_of(Native(pl.col("x").struct.field("y"))) == {"x"}


def test_rowwise_and_movable():
    assert ((a > 1) & s.str.contains("x")).rowwise
    assert not (a > a.mean()).rowwise
    assert not Native(pl.col("a") > 1).rowwise
    assert not Lit((1, 2)).rowwise
    assert a.is_in([1, 2]).movable
    assert not a.is_in(b).rowwise
    assert not a.cast(pl.Int8).movable
    assert a.cast(pl.Int8, strict=False).movable


@pytest.mark.parametrize(
    ("e", "text"),
    [
        (a, 'col("a")'),
        ((a + 1) * b, '(col("a") + 1) * col("b")'),
        ((a > 1) & (s == "x"), '(col("a") > 1) & (col("s") == \'x\')'),
        (~(a > 1), '~(col("a") > 1)'),
        (-a, '-col("a")'),
        (s.str.contains("x", literal=True), "col(\"s\").str.contains('x', literal=True)"),
        ((a + 1).is_in([1, 2]), '(col("a") + 1).is_in([1, 2])'),
        (s.replace({"a": "b"}), "col(\"s\").replace({'a': 'b'})"),
        (Lit(1, pl.Int8), "lit(1, Int8)"),
        (function("concat_str", "a", "s", separator="-"), 'concat_str(col("a"), col("s"), separator=\'-\')'),
        (Call("pl.when", (a > 1, b, Lit(None))), 'when(col("a") > 1).then(col("b")).otherwise(None)'),
        (Native(pl.col("a").sum()), 'polars[col("a").sum()]'),
    ],
)
def test_texts(e, text):
    assert repr(e) == text
