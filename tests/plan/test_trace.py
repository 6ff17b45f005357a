# ruff: noqa: E501, SIM300, UP031, C416, E711, E712 - tables of cases
"""Which functions become expressions, and that those give what Python gives."""

from __future__ import annotations

import functools
import math
import random
from datetime import date, datetime, time, timedelta, timezone

import numpy as np
import polars as pl
import pytest

from robodf.errors import ColumnNotFoundError
from robodf.plan.expr import Call, Col, Expr, conjuncts
from robodf.plan.trace import Traced, Untraced, trace

LIMIT = 3
THRESHOLD = np.float64(0.5)
NAMES = ["a"]
T0, T5 = datetime(2024, 1, 1), datetime(2024, 1, 1, 0, 0, 0, 5)
Z0, Z5 = datetime(2024, 1, 1, tzinfo=timezone.utc), datetime(2024, 1, 1, 5, tzinfo=timezone.utc)
M0, M3, H1, D1 = timedelta(0), timedelta(microseconds=3), timedelta(hours=1), timedelta(1)
E1, O1 = date(2024, 1, 1), time(1)


def frame(seed: int, nulls: bool = False, rows: int = 60) -> pl.DataFrame:
    r = random.Random(seed)
    floats = [0.0, -0.0, 0.5, 0.1, 1.0, 1e300, float("nan"), float("inf"), float("-inf"), 2.0**53]
    data = {
        "a": [r.choice([0, 1, 2, 3, -1, -7, 2**53 + 1, 10**15, r.randrange(-50, 50)]) for _ in range(rows)],
        "c": [r.randrange(1, 9) for _ in range(rows)],
        "b": [r.choice([*floats, r.random()]) for _ in range(rows)],
        "d": [r.choice([*floats, r.random()]) for _ in range(rows)],
        "g": [r.choice([0.25, -3.5, r.uniform(1, 9)]) for _ in range(rows)],
        "u": [r.choice([0, 1, 254, 255]) for _ in range(rows)],
        "i": [r.choice([-128, 127, 0, 1]) for _ in range(rows)],
        "w": [r.choice([0, 1, 2**63, 2**64 - 1]) for _ in range(rows)],
        "f": [r.choice([0.1, 0.5, 0.3, 1e30, float("nan")]) for _ in range(rows)],
        "s": [r.choice(["a", "", "ab", "é", "b", "\U0001f916", "\uffff"]) for _ in range(rows)],
        "k": [r.choice(["a", "", "ab", "é", "b", "\U0001f916", "\uffff"]) for _ in range(rows)],
        "p": [r.random() < 0.5 for _ in range(rows)],
        "q": [r.random() < 0.5 for _ in range(rows)],
        "y": [r.choice([b"", b"a", b"\xff"]) for _ in range(rows)],
        "t": [datetime(2024, 1, 1) + timedelta(microseconds=r.randrange(10)) for _ in range(rows)],
        "z": [datetime(2024, 1, 1, tzinfo=timezone.utc) + timedelta(hours=r.randrange(10)) for _ in range(rows)],
        "h": [datetime(2024, 1, 1) + timedelta(microseconds=r.randrange(10)) for _ in range(rows)],
        "m": [timedelta(microseconds=r.randrange(-5, 5)) for _ in range(rows)],
        "e": [date(2024, 1, r.randrange(1, 4)) for _ in range(rows)],
        "o": [time(r.randrange(3)) for _ in range(rows)],
        "r": [{"x": r.choice([1.5, -2.0, float("nan")]), "n": {"i": r.randrange(3)}} for _ in range(rows)],
        "l": [[r.randrange(9) for _ in range(3)] for _ in range(rows)],
        "v": [[r.random(), r.random()] for _ in range(rows)],
        "j": [r.choice(["low", "high", "mid"]) for _ in range(rows)],
    }
    if nulls:
        data = {name: [None if r.random() < 0.3 else v for v in values] for name, values in data.items()}
    narrow = {"u": pl.UInt8, "i": pl.Int8, "w": pl.UInt64, "f": pl.Float32, "v": pl.Array(pl.Float64, 2)}
    return pl.DataFrame(data, schema_overrides={**narrow, "j": pl.Enum(["low", "mid", "high"])}, strict=False)


SCHEMA = dict(frame(0).schema)
limit = 2.5

CONDITIONS = [
    lambda x: x["a"] > 1, lambda x: 1 < x["a"], lambda x: x["a"] >= LIMIT, lambda x: x["a"] <= limit, lambda x: x["a"] < -1,
    lambda x: x["b"] > 0.5, lambda x: x["b"] >= 0.5, lambda x: x["b"] < 0.5, lambda x: x["b"] <= 0.5, lambda x: x["b"] == 0.5,
    lambda x: x["b"] != 0.5, lambda x: x["b"] > x["d"], lambda x: x["b"] <= x["d"], lambda x: x["b"] < x["d"], lambda x: x["b"] >= x["d"],
    lambda x: x["b"] > 1, lambda x: 0.5 > x["b"], lambda x: x["b"] == 0, lambda x: x["b"] > THRESHOLD, lambda x: THRESHOLD > x["b"],
    lambda x: x["f"] > 0.1, lambda x: x["f"] == 0.1, lambda x: x["f"] < 0.5, lambda x: x["f"] >= 0.3, lambda x: x["f"] > x["b"],
    lambda x: x["f"] < 1e300, lambda x: x["f"] + 0.1 > 0.2, lambda x: x["a"] > 9007199254740992.0, lambda x: x["a"] == 1.0,
    lambda x: x["a"] < 0.5, lambda x: x["a"] == 0.5, lambda x: x["u"] + 1 > 255, lambda x: x["u"] - 1 < 0, lambda x: x["u"] * 2 == 510,
    lambda x: -x["u"] < 0, lambda x: -x["i"] == 128, lambda x: x["i"] + x["u"] > 127, lambda x: x["u"] > 300, lambda x: x["u"] > -1,
    lambda x: x["i"] < x["u"], lambda x: x["w"] > 2**63, lambda x: x["w"] == 2**64 - 1, lambda x: x["u"] < 0.5, lambda x: x["i"] & 3 == 3,
    lambda x: x["a"] + x["c"] > 2, lambda x: x["a"] - 1 == 0, lambda x: x["a"] * 2 >= 4, lambda x: x["a"] / x["c"] > 0.3,
    lambda x: x["a"] // x["c"] == -1, lambda x: x["a"] % x["c"] == 1, lambda x: x["a"] % 3 == 2, lambda x: 7 // x["c"] == 2,
    lambda x: (x["a"] & 1) == 1, lambda x: (x["a"] | 4) > 5, lambda x: (x["a"] ^ x["c"]) < 3, lambda x: ~x["a"] == -2,
    lambda x: x["g"] * x["g"] + x["b"] > 2.0, lambda x: x["g"] / 3 > x["a"] / 7, lambda x: x["b"] - x["d"] < 0.0, lambda x: 1 / x["g"] > 0.2,
    lambda x: x["s"] == "a", lambda x: x["s"] != "a", lambda x: x["s"] < x["k"], lambda x: x["s"] >= "é", lambda x: x["s"] + x["k"] == "ab",
    lambda x: "a" + x["s"] == "aa", lambda x: x["s"] == x["k"], lambda x: x["y"] == b"a", lambda x: x["y"] < b"b",
    lambda x: x["p"], lambda x: x["p"] & x["q"], lambda x: x["p"] | (x["a"] > 1), lambda x: x["p"] ^ x["q"], lambda x: x["p"] == True,
    lambda x: (x["a"] > 1) & (x["s"] == "a") & (x["b"] < 0.7), lambda x: x["p"] == x["q"], lambda x: x["p"] != False,
    lambda x: x["t"] > T5, lambda x: x["t"] == x["h"], lambda x: x["t"] - x["h"] > M0,
    lambda x: x["t"] + x["m"] < x["h"], lambda x: x["t"] - M3 > x["h"], lambda x: x["m"] < M0,
    lambda x: x["z"] >= Z5, lambda x: x["e"] > E1, lambda x: x["o"] == O1,
    lambda x: x["e"] - E1 > D1, lambda x: x["m"] + x["m"] != M0,
    lambda x: x["r"]["x"] > 1, lambda x: x["r"]["n"]["i"] == 2, lambda x: x["l"][0] > 4, lambda x: x["l"][-1] == 3, lambda x: x["v"][1] < 0.5,
    lambda x: x["j"] > "low", lambda x: x["j"] == "never", lambda x: x["j"] != "mid", lambda x, n=1: x["a"] > n,
]  # fmt: skip

ROWS = [
    lambda x: {**x, "ok": x["a"] > 0}, lambda x: x, lambda x: {"n": x["a"] + 1, "one": 1, "text": "t", "none": None, "yes": True},
    lambda x: {"b": x["b"] > 0.5, "s": x["s"] == "a", "z": x["b"] == 0.0}, lambda x: {"f": x["f"] * 2, "u": x["u"] + x["u"]},
    lambda x: {**x, "a": x["c"]}, lambda x: {"x": x["r"]["x"], "first": x["l"][0]}, lambda x: {"d": x["t"] - x["h"], "c": x["s"] + "!"},
    lambda x: {"c": (x["a"] % 999) / x["c"], "q": x["a"] // 4, "m": x["a"] % 4}, lambda x: {"when": T0, "v": x["v"]},
]  # fmt: skip


def same(left, right) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right and (isinstance(left, bool) == isinstance(right, bool))


@pytest.mark.parametrize("number", range(len(CONDITIONS)))
def test_conditions_give_what_python_gives(number):
    fn = CONDITIONS[number]
    traced = trace(fn, SCHEMA)
    assert isinstance(traced, Traced), traced
    assert traced.result.rowwise
    for seed in range(5):
        data = frame(seed)
        got = data.select(traced.result.polars.alias("got"))["got"].to_list()
        assert [bool(v) for v in got] == [bool(fn(row)) for row in data.iter_rows(named=True)]


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_rows_give_what_python_gives(number):
    fn = ROWS[number]
    traced = trace(fn, SCHEMA)
    assert isinstance(traced, Traced), traced
    data = frame(number)
    got = data.select([e.polars.alias(name) for name, e in traced.result.items()])
    if got.height == 1:
        got = data.with_columns(got)
    for mine, row in zip(got.iter_rows(named=True), data.iter_rows(named=True)):
        assert same(mine, fn(row))


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x["a"] == None, lambda x: x["a"] != None, lambda x: x["s"] == "a", lambda x: x["s"] != "a", lambda x: x["a"] != 1,
        lambda x: x["a"] == x["c"], lambda x: x["a"] != x["c"], lambda x: (x["s"] == "a") | (x["a"] == 1), lambda x: x["b"] == 0.5,
        lambda x: (x["a"] != 1) & (x["s"] == x["k"]), lambda x: x["u"] == 255, lambda x: None == x["t"], lambda x: (x["a"] == 1) == (x["s"] == "a"),
    ],
)  # fmt: skip
def test_equality_with_missing_values_is_that_of_python(fn):
    traced = trace(fn, SCHEMA)
    assert isinstance(traced, Traced), traced
    data = frame(9, nulls=True)
    expected = [row for row in data.iter_rows(named=True) if fn(row)]
    got = data.filter(traced.result.polars)
    assert len(expected) == got.height
    assert all(map(same, expected, got.iter_rows(named=True)))
    in_map = trace(lambda x: {"same": x["a"] == x["c"], "one": x["s"] == "a"}, SCHEMA)
    assert data.select([e.polars.alias(n) for n, e in in_map.result.items()]).null_count().row(0) == (0, 0)


def test_the_plain_forms_that_sources_understand():
    assert trace(lambda x: x["a"] > 1, SCHEMA) == Traced(Col("a") > 1)
    assert trace(lambda x: x["s"] == "a", SCHEMA) == Traced(Col("s") == "a")
    both = trace(lambda x: (x["s"] == "a") & (x["g"] > 0.8), SCHEMA).result
    assert conjuncts(both)[:2] == [Col("s") == "a", Col("g") > 0.8]
    assert conjuncts(both)[2] is Col("g").is_not_nan()
    assert trace(lambda x: x["f"] > 0.5, SCHEMA).result.args[0] is (Col("f") > 0.5)
    assert trace(lambda x: x["r"]["x"] > 1.0, SCHEMA).result.args[0].args[0] is Call("struct.field", (Col("r"), "x"))


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda x: x["s"].str.contains("a"), Col("s").str.contains("a")),
        (lambda x: x["s"].str.replace("a", "b") == "b", Col("s").str.replace("a", "b") == "b"),
        (lambda x: x["a"].is_in([1, 2]), Col("a").is_in([1, 2])),
        (lambda x: x["u"].is_between(1, LIMIT), Col("u").is_between(1, 3)),
        (lambda x: x["t"].dt.year() == 2024, Col("t").dt.year() == 2024),
        (lambda x: x["a"].is_null() & x["p"], Col("a").is_null() & Col("p")),
        (lambda x: x["b"].fill_null(x["d"]) > 1.0, Col("b").fill_null(Col("d")) > 1.0),
        (lambda x: x["a"].rank(descending=True) <= 3, Col("a").rank(descending=True) <= 3),
        (lambda x: x["s"].str.len_chars() ** 2 > 3, Col("s").str.len_chars() ** 2 > 3),
        (lambda x: ~x["s"].str.contains("a"), ~Col("s").str.contains("a")),
    ],
)
def test_methods_of_expressions_mean_expressions(fn, expected):
    assert trace(fn, SCHEMA) == Traced(expected)


def test_local_variables_and_statements():
    def wanted(x):
        double = x["a"] * 2
        total = double + x["c"]
        return total > LIMIT

    assert trace(wanted, SCHEMA) == Traced((Col("a") * 2 + Col("c")) > 3)


def make_closure(value):
    return lambda x: x["a"] > value


class Callable:
    def __call__(self, x):
        return x["a"] > 1

    def method(self, x):
        return x["a"] > 1


def generator(x):
    yield x["a"] > 1


def branches(x):
    if x["a"] > 1:
        return x["p"]
    return x["q"]


def loops(x):
    total = 0
    for v in x["l"]:
        total += v
    return total > 1


def catches(x):
    try:
        return x["a"] > 1
    except KeyError:
        return False


def changes(x):
    global LIMIT
    LIMIT = 5
    return x["a"] > 1


def empty_cell():
    fn = lambda x: x["a"] > later  # noqa: E731
    if fn is None:
        later = 1
    return fn


UNTRACED = [
    (lambda x: len(x["s"]) > 1, "len"), (lambda x: x["a"] > 1 and x["p"], "decides"), (lambda x: x["a"] if x["p"] else 1, "decides"),
    (lambda x: not x["p"], "decides"), (lambda x: 0 < x["a"] < 2, "decides"), (lambda x: x["a"] is None, "is"), (lambda x: x["a"] in (1, 2), "in"),
    (lambda x: "a" in x["s"], "in"), (lambda x: f"{x['a']}" == "1", "text"), (lambda x: "%s" % x["a"] == "1", "text"),
    (lambda x: {"t": "{}".format(x["a"])}, "text"), (lambda x: x["s"].upper() == "A", "upper"), (lambda x: x["s"].count("a") > 1, "count"),
    (lambda x: x["s"].replace("a", "b") == "b", "replace"), (lambda x: x["t"].year == 2024, "year"), (lambda x: x["s"][0] == "a", "String"),
    (lambda x: x["s"][1:] == "a", "slices"), (lambda x: [v for v in x["l"]] == [], ""), (lambda x: sum(x["l"]) > 1, "sum"),
    (lambda x: math.isnan(x["b"]), "math"), (lambda x: x["a"] > NAMES[0], "NAMES"), (lambda x: np.sin(x["b"]) > 0, "np"),
    (lambda x: random.random() > 0.5, "random"), (lambda x, *rest: x["a"] > 1, "args"), (lambda x, **rest: x["a"] > 1, "args"), (lambda: True, "argument"),
    (lambda x, y: x["a"] > 1, "argument"), (lambda x, *, k=1: x["a"] > k, "argument"), (lambda x, k=NAMES: x["a"] > 1, "default"),
    (len, "builtin"), (functools.partial(make_closure(1)), "partial"), (Callable(), "Callable"), (Callable().method, "method"), (Callable, "type"),
    (generator, "generator"), (branches, "decides"), (loops, ""), (catches, ""), (changes, "global"), (empty_cell(), "later"),
    (make_closure([1]), "value"), (make_closure(len), "value"), (make_closure(pl.col("a")), "value"),
    (lambda x: x["u"] ** 2 > 1, "**"), (lambda x: x["a"] ** 2 > 1, "**"), (lambda x: x["b"] // 0.1 > 1, "//"), (lambda x: x["b"] % 0.1 > 1, "%"),
    (lambda x: x["p"] + x["q"] > 1, "bool"), (lambda x: x["p"] & x["a"] > 1, ""), (lambda x: x["s"] * 2 == "aa", "*"), (lambda x: x["w"] - 1 > 0, "UInt64"),
    (lambda x: x["a"] == "1", "compares"), (lambda x: x["p"] == 1, "compares"), (lambda x: x["b"] == x["d"], "NaN"), (lambda x: x["a"] > x["b"], "floats"),
    (lambda x: x["a"] > 2**70, "64"), (lambda x: x["a"] + 2**63 > 1, "64"), (lambda x: x["r"] == x["r"], "compares"), (lambda x: x["l"] == [1], "list"),
    (lambda x: x["e"] + H1 > E1, "date"), (lambda x: x["z"] + x["m"] > x["z"], "UTC"), (lambda x: x["e"] > T0, "compares"),
    (lambda x: x["t"] > Z0, "compares"), (lambda x: x["a"], "Int64"), (lambda x: True, "condition"),
    (lambda x: (x["a"] > 1, 2), "neither"), (lambda x: {"p": {"q": x["a"]}}, "dict"), (lambda x: {1: x["a"]}, "named 1"), (lambda x: {x["s"]: 1}, ""),
    (lambda x: x.get("a") > 1, "get"), (lambda x: x.items(), "items"), (lambda x: x == {}, "row"), (lambda x: x[0] > 1, "int"), (lambda x: [*x], ""),
    (lambda x: {**x["r"]}, ""), (lambda x: (1, 2)[x["a"]] > 1, ""), (lambda x: {1: 2}[x["a"]] > 1, ""), (lambda x: x["a"].nonsense() > 1, "nonsense"),
    (lambda x: x["a"].str.contains("a"), ""), (lambda x: x["a"].__class__, "__class__"), (lambda x: 1 / 0 > x["a"], "ZeroDivisionError"),
    (lambda x: x["b"] > float("nan"), "float"), (lambda x: (lambda y: y)(x)["a"] > 1, "function"), (lambda x: __import__("os"), "__import__"),
    (lambda x: x["a"].str(), ""), (lambda x: x["s"].str.contains, "neither"), (lambda x: x["a"] > x, ""), (lambda x: x["b"] > 2**60, "53"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(UNTRACED)))
def test_all_other_functions_run_row_by_row_and_say_why(number):
    fn, word = UNTRACED[number]
    traced = trace(fn, SCHEMA)
    assert isinstance(traced, Untraced), traced
    assert word in traced.reason
    assert traced.reason
    assert "\n" not in traced.reason


def test_nothing_of_the_function_runs_when_it_is_refused():
    called = []

    def notes(x):
        called.append(x)
        return x["a"] > 1

    assert isinstance(trace(notes, SCHEMA), Untraced)
    assert called == []
    assert isinstance(trace(changes, SCHEMA), Untraced)
    assert LIMIT == 3


def test_a_column_that_is_not_there():
    with pytest.raises(ColumnNotFoundError, match=r"(?s)'aa'.*did you mean.*'a'"):
        trace(lambda x: x["aa"] > 1, SCHEMA)
    with pytest.raises(ColumnNotFoundError, match="'y'"):
        trace(lambda x: x["r"]["y"] > 1, SCHEMA)
    with pytest.raises(ColumnNotFoundError, match="Column"):
        trace(lambda x: x["A"] > 1, SCHEMA)


def test_results_are_expressions_over_plain_columns():
    result = trace(lambda x: {**x}, SCHEMA).result
    assert list(result) == list(SCHEMA)
    assert all(isinstance(e, Expr) and e is Col(name) for name, e in result.items())


def test_types_of_the_schema_decide():
    fn = lambda x: x["n"] + 1 > 255  # noqa: E731
    assert trace(fn, {"n": pl.Int64()}) == Traced((Col("n") + 1) > 255)
    assert isinstance(trace(fn, {"n": pl.UInt8()}).result.args[0].args[0], Call)
    assert isinstance(trace(fn, {"n": pl.UInt64()}), Untraced)
    assert isinstance(trace(fn, {"n": pl.Decimal(10, 2)}), Untraced)
    assert isinstance(trace(fn, {"n": pl.String()}), Untraced)
    assert isinstance(trace(fn, {"n": pl.Null()}), Untraced)
    assert isinstance(trace(fn, {"n": pl.Boolean()}), Untraced)
