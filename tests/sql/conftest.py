"""`same(query)`: the query run by rd.sql and by DuckDB on the same frames, and compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pytest

import robodf as rd

T = pl.DataFrame(
    {
        "a": [1, 2, 3, None, 2, -4],
        "b": ["x", "y", None, "xy", "y", ""],
        "c": [1.5, float("nan"), -2.5, None, 0.0, -0.0],
        "i": [1, -2, 3, 4, None, 7],
        "w": [datetime(2024, 2, 29, 10, 11, 12, 500_000), datetime(1969, 12, 31, 23, 59, 59), None,
              datetime(2024, 12, 31), datetime(2000, 1, 1, 0, 0, 1), datetime(2024, 5, 19, 12)],
        "s": [{"u": 1, "v": "p"}, {"u": 2, "v": None}, {"u": None, "v": "q"}, {"u": 1, "v": "p"}, {"u": 5, "v": ""},
              {"u": 6, "v": "r"}],
        "l": [[1, 2], [], None, [3], [4, None], [5, 6, 7]],
    },
    schema_overrides={"i": pl.Int32, "w": pl.Datetime("us")},
)  # fmt: skip
U = pl.DataFrame({"a": [2, 3, 5, None], "d": [10, 20, 30, 40], "b": ["y", "q", "x", None]})
TABLES = {"t": T, "u": U}


@pytest.fixture(scope="session")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    for name, frame in TABLES.items():
        connection.register(name, frame.to_arrow())
    yield connection
    connection.close()


@pytest.fixture
def same(duck: duckdb.DuckDBPyConnection) -> Callable[[str], pl.DataFrame]:
    """Rows are compared as a set unless the query has ORDER BY at its end; names are compared where both are plain."""

    def check(query: str, ordered: bool = False, names: bool = False) -> pl.DataFrame:
        expected = duck.execute(query).fetchall()
        made = rd.sql(query, **TABLES).collect()
        want, got = [list(map(_plain, rows)) for rows in (expected, made.rows())]
        if not ordered:
            want, got = sorted(want, key=repr), sorted(got, key=repr)
        assert got == want, query
        if names:
            assert made.columns == [d[0] for d in duck.description], query
        return made

    return check


def _plain(value: Any) -> Any:
    """The value with numbers as floats of nine digits and NaN equal to itself."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return tuple((k, _plain(v)) for k, v in value.items())
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        number = float(value)
        return "nan" if math.isnan(number) else float(f"{number:.9g}") + 0.0
    return value
