"""Heavy columns of the rows that are left, read from where the source has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from robodf.io.source import Source
from robodf.io.stream import from_batches
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import UNKNOWN, Bounds
from robodf.plan.expr import SEPARATOR, Col, Expr
from robodf.plan.gathering import Gathering
from robodf.plan.node import lazy, node
from robodf.plan.nodes.dedup import bounded
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import Select, limited
from robodf.plan.spread import Rows, Spread


class Expected(NamedTuple):
    """What the planner expects: rows; bytes of the columns in all rows and in these; what is done with such bytes."""

    rows: int
    all: int
    fetched: int
    done: str = "read"

    def __str__(self) -> str:
        rows = f"about {self.rows:,} row{'s' * (self.rows != 1)}"
        return f"for {rows}, about {self.all - self.fetched:,} of {self.all:,} bytes are not {self.done}"


@node
class Fetch(Plan):
    """The columns of the input but `locator`, and after them columns of `source` in the rows that it names.

    `columns` are (name in the output, name in the source). A locator of null gives nulls. With `keep` the locator
    stays, for another fetch above this one.
    """

    input: Plan
    source: Source
    locator: str
    columns: tuple[tuple[str, str], ...]
    keep: bool = False
    expected: Expected | None = None

    rowwise_cost = True  # as the scan that would have read them
    repeats = True
    keeps_rows = True
    same_count = True
    passes_paths = True
    computes = True
    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        (rows,) = inputs
        source, wanted = self.source, tuple(dict.fromkeys(ref for _, ref in self.columns))
        types = {ref: source.schema[ref] for ref in wanted}
        names = list(self.schema)

        def fetch(locators: np.ndarray) -> Iterator[pl.DataFrame]:
            renamed = [pl.col(ref).alias(name) for name, ref in self.columns]
            for frame in source.fetch(locators, wanted):
                yield frame.select(renamed)

        def batches() -> Iterator[pl.DataFrame]:
            gathering = Gathering(fetch, {name: types[ref] for name, ref in self.columns})
            for batch in bounded(rows):
                for frame in gathering.beside(batch, batch.get_column(self.locator)):
                    yield frame.select(names)

        return from_batches(batches, self.schema, self.label())

    @lazy
    def schema(self) -> Schema:
        kept = {name: dtype for name, dtype in self.input.schema.items() if self.keep or name != self.locator}
        return {**kept, **{name: self.source.schema[ref] for name, ref in self.columns}}

    @lazy
    def made(self) -> Names:
        return frozenset(name for name, _ in self.columns)

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (frozenset(p for p in out if p.split(SEPARATOR, 1)[0] not in self.made) | {self.locator},)

    def prune(self, out: Names) -> Plan:
        names = {path.split(SEPARATOR, 1)[0] for path in out}
        left = tuple((name, ref) for name, ref in self.columns if name in names)
        if left:
            return self if left == self.columns else self.replace(columns=left)
        kept = [name for name in self.input.schema if self.keep or name != self.locator]
        return Select(self.input, tuple((name, Col(name)) for name in kept)) if kept else self

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or predicate.columns & self.made:
            return None
        return self.replace(input=Filter(self.input, predicate))

    def push_limit(self, n: int) -> Plan | None:
        return limited(self, n)

    def count(self) -> int | None:
        return self.input.count()

    def range_of(self, column: str) -> Bounds:
        return UNKNOWN if column in self.made else self.input.range_of(column)

    def spread(self) -> tuple[Spread, ...]:
        return (Rows(),)

    def passes(self, column: str) -> str | None:
        return column if column not in self.made and (self.keep or column != self.locator) else None

    @property
    def journal(self) -> Source:
        return self.source

    def label(self) -> str:
        columns = [name if name == ref else f"{name}={ref}" for name, ref in self.columns]
        said = "" if self.expected is None else f", {self.expected}"
        return f"Fetch [{', '.join(columns)}] of {self.source.describe()}: fetched late{said}"
