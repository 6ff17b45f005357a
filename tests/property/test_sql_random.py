"""Random SQL over two small tables with nulls: rd.sql gives the rows that DuckDB gives."""

# ruff: noqa: E501 - a query stands on a line

from __future__ import annotations

import math
import os
import random
from collections import Counter
from datetime import datetime
from typing import Any

import duckdb
import polars as pl
import pytest

import robodf as rd

# Floats are multiples of 1/4, so that sums are exact in any order. No zero is divided by: DuckDB raises there.
T = pl.DataFrame(
    {
        "a": [1, 2, 2, None, -3, 5, 0, 1, None, 7],
        "b": [3, None, 1, 2, 2, -1, 4, 3, None, 0],
        "x": [0.5, float("nan"), None, -1.25, 0.0, 2.5, -0.0, 0.5, None, 4.0],
        "s": ["p", "q", None, "", "pq", "p", "Q", "é", None, "q"],
        "f": [True, None, False, True, True, False, None, True, None, False],
        "w": [datetime(2026, 1, 1, 9, 0, 0, 20_000), datetime(2026, 1, 1, 9, 0, 7), None, datetime(2026, 1, 1, 9, 0, 7),
              datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(2000, 1, 3), datetime(2026, 2, 28, 23, 59, 59),
              datetime(2026, 1, 1, 9, 0, 0, 39_999), None, datetime(1999, 12, 31, 12)],
    },
    schema_overrides={"w": pl.Datetime("us")},
)  # fmt: skip
U = pl.DataFrame(
    {
        "a": [2, 1, None, 5, 5, 8],
        "y": [10, None, 30, 40, 50, 2],
        "s": ["q", "p", "p", None, "pq", ""],
        "v": [datetime(2026, 1, 1, 9, 0, 7), None, datetime(2026, 1, 1), datetime(1970, 1, 1), datetime(2000, 1, 3),
              datetime(2000, 1, 2, 23, 59, 59, 999_999)],
    },
    schema_overrides={"v": pl.Datetime("us")},
)  # fmt: skip
TABLES = {"t": T, "u": U}
FIRST = int(os.environ.get("ROBODF_SQL_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("ROBODF_SQL_QUERIES", "300")))

WIDTHS = ["20 ms", "1 second", "7 seconds", "1 minute", "1 hour", "36 hours", "1 day", "3 days", "1 week"]


class Writer:
    """Writes queries. Expressions are of a type (int, float, text, bool) over the columns in scope."""

    def __init__(self, seed: int):
        self.r = random.Random(seed)

    def pick(self, *choices: Any) -> Any:
        return self.r.choice(choices)

    def int(self, scope: dict, depth: int = 2) -> str:
        if depth == 0 or self.r.random() < 0.3:
            return self.pick(*scope["int"], *scope["int"], str(self.r.randint(-3, 5)).replace("-", "0 - "))
        a, b = self.int(scope, depth - 1), self.int(scope, depth - 1)
        return self.pick(
            f"({a} + {b})", f"({a} - {b})", f"({a} * {self.r.randint(1, 3)})", f"({a} // {self.pick(2, 3, '(-2)')})",
            f"({a} % {self.pick(2, 3, '(-2)')})", f"coalesce({a}, {b})", f"abs({a})", f"nullif({a}, {b})",
            f"case when {self.bool(scope, depth - 1)} then {a} else {b} end", f"greatest({a}, {b})", f"least({a}, {b})",
            f"length({self.text(scope, depth - 1)})", f"cast({self.bool(scope, depth - 1)} as int)", f"(-({a}))",
        )  # fmt: skip

    def float(self, scope: dict, depth: int = 2) -> str:
        if depth == 0 or self.r.random() < 0.4:
            return self.pick(*(scope["float"] or [f"({self.pick(*scope['int'])} / 4)"]))
        a, b = self.float(scope, depth - 1), self.float(scope, depth - 1)
        return self.pick(
            f"({a} + {b})", f"({a} * 2)", f"({self.int(scope, depth - 1)} / {self.pick(2, 4)})", f"floor({a})", f"abs({a})",
            f"coalesce({a}, {b})", f"round({a})", f"(-({a}))", f"greatest({a}, {b})",
        )  # fmt: skip

    def text(self, scope: dict, depth: int = 2) -> str:
        if depth == 0 or self.r.random() < 0.4:
            return self.pick(*scope["text"], *scope["text"], "'p'", "''")
        a, b = self.text(scope, depth - 1), self.text(scope, depth - 1)
        return self.pick(
            f"({a} || {b})", f"upper({a})", f"concat({a}, {b})", f"coalesce({a}, {b})", f"substring({a}, 1, 1)",
            f"replace({a}, 'p', 'z')", f"cast({self.int(scope, depth - 1)} as varchar)", f"left({a}, 1)",
            f"case when {self.bool(scope, depth - 1)} then {a} end",
        )  # fmt: skip

    def bucket(self, scope: dict, depth: int = 1) -> str:
        origin = self.pick("", "", ", interval '10 ms'", ", timestamp '2020-01-01 00:00:01'", ", interval '1 day'")
        return f"time_bucket(interval '{self.pick(*WIDTHS)}', {self.time(scope, depth)}{origin})"

    def time(self, scope: dict, depth: int = 2) -> str:
        if depth == 0 or self.r.random() < 0.3:
            return self.pick(*scope["time"], *scope["time"], "timestamp '2026-01-01 09:00:07'")
        a, b = self.time(scope, depth - 1), self.time(scope, depth - 1)
        return self.pick(
            self.bucket(scope, depth - 1), self.bucket(scope, depth - 1), self.bucket(scope, depth - 1),
            f"coalesce({a}, {b})", f"({a} {self.pick('+', '-')} interval '{self.pick(*WIDTHS)}')",
            f"date_trunc('{self.pick('second', 'hour', 'day', 'week', 'month')}', {a})", f"greatest({a}, {b})",
            f"case when {self.bool(scope, depth - 1)} then {a} else {b} end", f"nullif({a}, {b})",
        )  # fmt: skip

    def bool(self, scope: dict, depth: int = 2) -> str:
        if depth == 0 or self.r.random() < 0.1:
            return self.pick(*scope["bool"], "true", "false", f"{self.pick(*scope['int'])} > 1")
        sign = self.pick("=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from")
        kind = self.pick(self.int, self.int, self.float, self.text, self.time)
        a, b = kind(scope, depth - 1), kind(scope, depth - 1)
        p, q = self.bool(scope, depth - 1), self.bool(scope, depth - 1)
        i = self.int(scope, depth - 1)
        return self.pick(
            f"({a} {sign} {b})", f"({a} {sign} {b})", f"({p} and {q})", f"({p} or {q})", f"(not {p})", f"({a} is null)",
            f"({a} is not null)", f"({i} in (1, 2, {self.pick('null', '5')}))", f"({i} not in (1, {self.pick('null', '2')}))",
            f"({i} between {self.r.randint(-2, 1)} and {self.int(scope, 0)})",
            f"({self.text(scope, 0)} like '{self.pick('p%', '%q', '_', '%', 'p_')}')",
        )  # fmt: skip

    def any(self, scope: dict) -> str:
        return self.pick(self.int, self.int, self.float, self.text, self.bool, self.time)(scope)

    def source(self) -> tuple[str, dict]:
        t = {"int": ["t.a", "t.b"], "float": ["t.x"], "text": ["t.s"], "bool": ["t.f"], "time": ["t.w"]}
        both = {"int": ["t.a", "t.b", "u.a", "u.y"], "float": ["t.x"], "text": ["t.s", "u.s"], "bool": ["t.f"],
                "time": ["t.w", "u.v"]}  # fmt: skip
        kind = self.pick("t", "t", "t", "join", "side", "semi", "sub", "comma")
        if kind == "t":
            return "t", t
        if kind == "join":
            extra = self.pick("", "", f" and {self.bool(both, 1)}")
            return f"t join u on t.{self.pick('a', 'b')} = u.a{extra}", both
        if kind == "side":
            extra = self.pick("", " and u.y > 20", " and t.b > 1")
            return f"t {self.pick('left', 'right', 'full')} join u on t.{self.pick('a = u.a', 's = u.s')}{extra}", both
        if kind == "semi":
            return f"t {self.pick('semi', 'anti')} join u on t.a = u.a{self.pick('', ' and u.y > 20')}", t
        if kind == "comma":
            return f"t, u where t.a = u.a and {self.bool(both, 1)}", both
        inner = f"(select a, b, x, s, f, w from t where {self.bool({k: [c[2:] for c in v] for k, v in t.items()})}) t"
        return inner, t

    def where(self, scope: dict) -> str:
        condition = self.bool(scope, 3)
        if self.r.random() < 0.25:
            condition = self.pick(
                f"t.a {self.pick('', 'not ')}in (select a from u{self.pick('', ' where a is not null', ' where y > 20')})",
                f"{self.pick('', 'not ')}exists (select 1 from u where u.a = t.a{self.pick('', ' and y > 20')})",
                f"t.a > (select {self.pick('min', 'avg', 'max')}(a) from u) or {condition}",
                f"t.a in (select a from u) or {condition}",
            )
        return condition

    def aggregate(self, scope: dict) -> str:
        i = self.int(scope, 1)
        made = self.pick(
            "count(*)", f"count({i})", f"sum({i})", f"avg({i})", f"min({i})", f"max({self.float(scope, 1)})",
            f"min({self.text(scope, 1)})", f"count(distinct {i})", f"sum(distinct {i})", f"bool_or({self.bool(scope, 1)})",
            f"sum({self.float(scope, 0)})", f"max({self.text(scope, 0)})", f"median({i})",
            f"min({self.time(scope, 1)})", f"max({self.bucket(scope)})", f"count(distinct {self.bucket(scope)})",
        )  # fmt: skip
        return made + (f" filter (where {self.bool(scope, 1)})" if self.r.random() < 0.2 else "")

    def window(self, scope: dict) -> str:
        by = self.pick(*scope["int"], *scope["text"], self.bucket(scope))
        i, part = self.int(scope, 1), self.pick("", f"partition by {by}")
        order = f"order by {self.pick(*scope['int'], *scope['time'])}{self.pick('', ' desc')}{self.pick('', ' nulls first')}"
        return self.pick(
            f"sum({i}) over ({part})", f"{self.pick('sum', 'count', 'min', 'max', 'avg')}({i}) over ({part} {order})",
            f"{self.pick('rank', 'dense_rank')}() over ({part} {order})", f"count(*) over ({part} {order})",
        )  # fmt: skip

    def query(self) -> str:
        source, scope = self.source()
        joiner = " and " if " where " in source and source.startswith("t, u") else " where "
        where = f"{joiner}{self.where(scope)}" if self.r.random() < 0.7 else ""
        shape = self.pick("plain", "plain", "group", "group", "total", "window", "distinct", "set")
        if shape == "group":
            plain = [*scope["int"], *scope["text"], *scope["bool"], *scope["time"]]
            keys = [self.pick(*plain, f"{self.int(scope, 1)} + 0", *[self.bucket(scope)] * 4) for _ in range(2)]
            keys = list(dict.fromkeys(keys))[: self.r.randint(1, 2)]
            aggregates = [self.aggregate(scope) for _ in range(self.r.randint(1, 3))]
            having = f" having {self.aggregate({**scope})} is not null" if self.r.random() < 0.3 else ""
            return f"select {', '.join([*keys, *aggregates])} from {source}{where} group by {', '.join(keys)}{having}"
        if shape == "total":
            return f"select {', '.join(self.aggregate(scope) for _ in range(2))} from {source}{where}"
        if shape == "window":
            return f"select {self.pick(*scope['int'])}, {self.window(scope)}, {self.window(scope)} from {source}{where}"
        columns = ", ".join(self.any(scope) for _ in range(self.r.randint(1, 4)))
        if shape == "distinct":
            return f"select distinct {columns} from {source}{where}"
        if shape == "set":
            word = self.pick("union", "union all", "intersect", "except", "except all", "intersect all")
            columns = f"{self.pick(*scope['int'])}, {self.pick(*scope['text'])}"
            return f"select {columns} from {source}{where} {word} select a, s from {self.pick('t', 'u')}"
        return f"select {columns} from {source}{where}"


@pytest.fixture(scope="module")
def duck():
    connection = duckdb.connect()
    for name, frame in TABLES.items():
        connection.register(name, frame.to_arrow())
    yield connection
    connection.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_random_queries(duck, seed):
    query = Writer(seed).query()
    want = duck.execute(query).fetchall()
    got = rd.sql(query, **TABLES).collect().rows()
    assert _counted(got) == _counted(want), query


def _counted(rows: list[tuple]) -> Counter:
    return Counter(tuple(map(_plain, row)) for row in rows)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str, datetime)):
        return value
    number = float(value)
    return "nan" if math.isnan(number) else float(f"{number:.9g}") + 0.0
