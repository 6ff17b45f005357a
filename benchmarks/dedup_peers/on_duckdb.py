"""DuckDB: DISTINCT ON, from a table of its own in memory to Arrow."""

from __future__ import annotations

from typing import Any

import duckdb  # pyright: ignore[reportMissingImports] - of the other interpreter
import polars as pl
import pyarrow as pa

PACKAGES = ("duckdb", "pyarrow")


def given(frame: pl.DataFrame, scratch: str) -> Any:
    rows = frame.to_arrow()  # found by its name
    connection = duckdb.connect(":memory:")
    connection.execute("CREATE TABLE t AS SELECT * FROM rows")
    del rows
    return connection


def exact(connection: Any, on: list[str], cores: int, keep: str = "any", **options: Any) -> pa.Table:
    keys = ", ".join(on)
    connection.execute(f"SET threads = {cores}")
    query = {
        "any": f"SELECT DISTINCT ON ({keys}) * FROM t",
        "first": f"SELECT DISTINCT ON ({keys}) * FROM t ORDER BY {keys}, id",
        "keys": f"SELECT DISTINCT {keys} FROM t",
    }[keep]
    return connection.execute(query).to_arrow_table()
