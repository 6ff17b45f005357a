"""Results that are kept: those that two parts of a query use, and those that the user asked to keep."""

from __future__ import annotations

import polars as pl

from robodf.compat import run
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.node import lazy, node


@node
class Shared(Plan):
    """A sub-plan with several parents: computed once in a run and held in memory."""

    input: Plan

    same_count = True
    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        # Not LazyFrame.cache(): with filters on its uses the planners of Polars 1.44 and 2.1 panic, and each cache
        # below another doubles the time that they take.
        return _kept_rows(inputs[0], Kept(), self.schema, "shared")

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out,)

    def in_one_query(self) -> Plan:
        return self.input

    def count(self) -> int | None:
        return self.input.count()

    def passes(self, column: str) -> str | None:
        return column

    def in_memory(self) -> str | None:
        return "it is kept for all who use it"


class Kept:
    """The rows of a cached frame: computed by the first query that needs them, then held."""

    def __init__(self) -> None:
        import threading

        self.rows: pl.DataFrame | None = None
        self.lock = threading.Lock()

    def __reduce__(self):
        return Kept, ()  # another process computes its own


def _kept_rows(source: pl.LazyFrame, kept: Kept, schema: Schema, name: str) -> pl.LazyFrame:
    """The rows of `source`, which are computed by the first who reads them and held in `kept`."""
    from robodf.io.stream import from_batches

    def rows():
        with kept.lock:
            if kept.rows is None:
                kept.rows = run(source)
            found = kept.rows
        for start in range(0, max(found.height, 1), _STEP):
            yield found.slice(start, _STEP)

    return from_batches(rows, schema, name)


@node
class Cached(Plan):
    """What `df.cache()` gives: the first run keeps the rows for all later ones."""

    input: Plan
    kept: Kept

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return _kept_rows(inputs[0], self.kept, self.schema, "cache")

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    def count(self) -> int | None:
        return self.input.count() if self.kept.rows is None else self.kept.rows.height

    def in_memory(self) -> str | None:
        return "all rows are kept for later queries"

    def label(self) -> str:
        return "Cached (rows are in memory)" if self.kept.rows is not None else "Cached (by the first run)"


_STEP = 1 << 17
