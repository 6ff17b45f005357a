"""A user's Python function over rows and batches."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from robodf.compat import run, run_in_batches
from robodf.io.stream import from_batches
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.expr import Expr
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.udf import Step


@node
class MapBatches(Plan):
    """User functions over batches of exactly `batch_size` rows (the last one shorter), one after the other.

    Several steps are functions that the optimizer fused: each gets the frame that the one before left.
    """

    input: Plan
    steps: tuple[Step, ...]
    batch_size: int | None

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        (source,) = inputs
        wanted = list(self.schema)

        def batches() -> Iterator[pl.DataFrame]:
            functions = [step.start() for step in self.steps]
            for batch in batches_of(source, self.batch_size):
                for step, function in zip(self.steps, functions):
                    batch = step.apply(function, batch)
                yield batch.select(wanted)

        return from_batches(batches, self.schema, f"map_batches {self._names}")

    @lazy
    def schema(self) -> Schema:
        schema = self.input.schema
        for step in self.steps:
            schema = step.schema_after(schema)
        return schema

    @property
    def keeps_rows(self) -> bool:  # type: ignore[override]
        return all(step.preserves_rows for step in self.steps)

    def needs(self, out: Names) -> tuple[Names, ...]:
        for step in reversed(self.steps):
            if step.reads is None:
                return (frozenset(self.input.schema),)
            passing = out - step.made if step.passes_by else frozenset()
            out = frozenset(step.reads) | passing
        return (out,)

    def push(self, predicate: Expr) -> Plan | None:
        if any(not step.passes_by or predicate.columns & step.made for step in self.steps):
            return None
        return self.replace(input=Filter(self.input, predicate))

    def push_limit(self, n: int) -> Plan | None:
        from robodf.plan.nodes.project import limited

        return limited(self, n) if self.keeps_rows else None

    def count(self) -> int | None:
        return self.input.count() if self.keeps_rows else None

    def in_memory(self) -> str | None:
        return "batch_size=None hands the function all rows at once" if self.batch_size is None else None

    @property
    def _names(self) -> str:
        return " then ".join(step.name for step in self.steps)

    def label(self) -> str:
        whole = "all rows" if self.batch_size is None else f"{self.batch_size} rows"
        return f"MapBatches of {whole}: {'; then '.join(step.label() for step in self.steps)}"


def batches_of(frame: pl.LazyFrame, size: int | None) -> Iterator[pl.DataFrame]:
    """The rows of a query in order, in frames of exactly `size` rows and a rest; one of no rows if there are none."""
    if size is None:
        yield run(frame)
        return
    any_rows = False
    for batch in run_in_batches(frame, size):
        if batch.height:
            any_rows = True
            yield batch
    if not any_rows:
        yield pl.DataFrame(schema=frame.collect_schema())
