"""Results that are kept: those that two parts of a query use, and those that the user asked to keep."""

from __future__ import annotations

from functools import cached_property

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.node import node


@node
class Shared(Plan):
    """A sub-plan with several parents: computed once in a run and held in memory."""

    input: Plan

    same_count = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].cache()

    @cached_property
    def schema(self) -> Schema:
        return self.input.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out,)

    def count(self) -> int | None:
        return self.input.count()

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


@node
class Cached(Plan):
    """What `df.cache()` gives: the first run keeps the rows for all later ones."""

    input: Plan
    kept: Kept

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        from robodf.io.stream import from_batches

        (source,) = inputs

        def rows():
            with self.kept.lock:
                if self.kept.rows is None:
                    self.kept.rows = source.collect(engine="streaming")
                found = self.kept.rows
            for start in range(0, max(found.height, 1), _STEP):
                yield found.slice(start, _STEP)

        return from_batches(rows, self.schema, "cache")

    @cached_property
    def schema(self) -> Schema:
        return self.input.schema

    def count(self) -> int | None:
        return self.input.count() if self.kept.rows is None else self.kept.rows.height

    def in_memory(self) -> str | None:
        return "all rows are kept for later queries"

    def label(self) -> str:
        return "Cached (rows are in memory)" if self.kept.rows is not None else "Cached (by the first run)"


_STEP = 1 << 17
