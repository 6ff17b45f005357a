"""A source over the tables of random plans, some columns of which are heavy; what it reads of them is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from plans import TABLES, Draw, State

import robodf as rd
from robodf.io.indexed_files import IndexedFiles
from robodf.io.source import Support
from robodf.plan.expr import Expr
from robodf.plan.nodes.scan import Scan

READ: list[tuple[str, int, str]] = []
"""(file, row, column) of the heavy values that were read."""

ROWS = 3  # of a file


@dataclass(frozen=True)
class Heavy(IndexedFiles):
    """Three rows of a table are a file. Filters on `deaf` columns are left to others."""

    table: str = ""
    weighty: frozenset[str] = frozenset()
    deaf: frozenset[str] = frozenset()

    name = "heavy"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return dict(TABLES[self.table].schema)

    @property
    def heavy(self) -> frozenset[str]:
        return self.weighty

    def support(self, predicate: Expr) -> Support:
        return super().support(predicate) if predicate.columns.isdisjoint(self.deaf) else Support.NONE

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        assert self.weighty.isdisjoint(columns), f"{columns} were asked of an index"
        rows = self._rows(path)
        return rows.select(columns) if columns else rows.select(pl.int_range(pl.len()).alias("__row"))

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        assert len(rows), "no rows were asked for"
        assert (np.diff(rows) > 0).all(), "rows are not in file order"
        READ.extend((path, row, column) for row in rows.tolist() for column in columns)
        for row in rows.tolist():
            yield self._rows(path).select(columns)[row : row + 1]

    def _rows(self, path: str) -> pl.DataFrame:
        return TABLES[self.table].slice(int(path.split(":")[1]) * ROWS, ROWS)


def heavy_source(table: str, weighty: frozenset[str], deaf: frozenset[str] = frozenset()) -> Heavy:
    files = -(-TABLES[table].height // ROWS)
    names = tuple(f"{table}:{k}" for k in range(files))
    return Heavy(names, state=tuple((1 << 20, 0) for _ in names), table=table, weighty=weighty, deaf=deaf)


def heavy_base(d: Draw, parquet: dict[str, str], tables: str = "runs marks one none") -> State:
    """As `plans.base`, every table from such a source."""
    table = d.pick(tables.split())
    names = list(TABLES[table].columns)
    weighty = frozenset(d.some(names, 1, 4)) if d.chance(90) else frozenset()
    light = [name for name in names if name not in weighty]
    source = heavy_source(table, weighty, frozenset(d.some(light, 0, 5)))
    text = f"heavy {table} {sorted(weighty)} deaf={sorted(source.deaf)}"
    return State(rd.PipelineDataFrame(Scan(source)), TABLES[table].lazy(), True, [text])
