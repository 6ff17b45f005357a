"""A user's Python function over rows and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl

from robodf.compat import run, run_in_batches
from robodf.io.stream import from_batches
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.expr import Expr
from robodf.plan.failures import RECORDING, TIME, Calls, OnError
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.spread import Batches, Resources, Rows, Spread
from robodf.plan.udf import Step


@node
class MapBatches(Plan):
    """User functions over batches of exactly `batch_size` rows (the last one shorter), one after the other.

    Several steps are functions that the optimizer fused: each gets the frame that the one before left. With `on_error`
    there is one step, and the rows or batches for which it raises are left out. `num_cpus` (of one call; None: as any
    task), `num_gpus` and `concurrency` (how many calls at once, at most) are for engines of several workers.
    """

    input: Plan
    steps: tuple[Step, ...]
    batch_size: int | None
    on_error: OnError | None = None
    num_cpus: float | None = None
    num_gpus: float = 0.0
    concurrency: int | None = None

    cuts = True
    computes = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        (source,) = inputs

        def batches() -> Iterator[pl.DataFrame]:
            for step in self.steps:
                step.ready()
            yield from self._called(batches_of(source, self.batch_size))

        return from_batches(batches, self.schema, f"map_batches {self._names}")

    @property
    def takes_device_rows(self) -> bool:
        # With `on_error` what is skipped is told by rows on the host.
        return self.on_error is None and self.steps[0].takes_from_device(self.input.schema)

    def over_rows(self, rows: Callable[[], Any]) -> Iterator[pl.DataFrame]:
        for step in self.steps:
            step.ready()
        given = rows()
        size = self.batch_size or max(given.height, 1)
        yield from self._called(given.slice(first, size) for first in range(0, max(given.height, 1), size))

    def _called(self, batches: Iterable[Any]) -> Iterator[pl.DataFrame]:
        """What the functions make of batches, each a frame or rows on a device."""
        wanted = list(self.schema)
        calls: list[tuple[Step, Callable, Calls]] = []
        for batch in batches:
            if not batch.height and self._by_row:  # no model is loaded for a partition without rows
                yield pl.DataFrame(schema=self.schema)
                continue
            calls = calls or [(step, step.start(), Calls(step.name, self.on_error)) for step in self.steps]
            left: pl.DataFrame | None = batch
            for step, function, call in calls:
                left = None if left is None else step.apply(function, left, call)
            yield pl.DataFrame(schema=self.schema) if left is None else left.select(wanted)

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
        if self.on_error is not None:  # what is skipped is told by its place in a recording
            out |= self.input.schema.keys() & {RECORDING, TIME}
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

    def spread(self) -> tuple[Spread, ...]:
        if self._by_row:
            return (Rows(),)
        return () if self.batch_size is None else (Batches(self.batch_size),)

    @property
    def _by_row(self) -> bool:
        return all(step.by_row for step in self.steps)

    def passes(self, column: str) -> str | None:
        return column if all(step.passes_by and column not in step.made for step in self.steps) else None

    @property
    def resources(self) -> Resources | None:
        stateful = any(isinstance(step.function, type) for step in self.steps)
        if not stateful and not self._asked:
            return None
        return Resources(self.num_cpus, self.num_gpus, self.concurrency, stateful)

    @property
    def device(self) -> str | None:
        """ "gpu" where a function of several was declared for it, as they run in one place."""
        declared = {step.device for step in self.steps}
        return "gpu" if "gpu" in declared else "cpu" if "cpu" in declared else None

    @property
    def journal(self) -> OnError | None:
        return self.on_error

    @property
    def handed(self) -> int:
        return 0 if self.on_error is None else self.on_error.rows

    def afresh(self) -> Plan:
        return self if self.on_error is None else self.replace(on_error=OnError(self.on_error.mode))

    def in_memory(self) -> str | None:
        return "batch_size=None hands the function all rows at once" if self.batch_size is None else None

    @property
    def _names(self) -> str:
        return " then ".join(step.name for step in self.steps)

    @property
    def _asked(self) -> list[str]:
        """The resources that were asked for, as text."""
        return [
            f"{name}={value:g}"
            for name, value in (("num_cpus", self.num_cpus), ("num_gpus", self.num_gpus or None),
                                ("concurrency", self.concurrency))
            if value is not None
        ]  # fmt: skip

    def label(self) -> str:
        whole = "all rows" if self.batch_size is None else f"{self.batch_size} rows"
        facts = [*self._asked, *([] if self.on_error is None else [f"on_error={self.on_error.mode}"])]
        said = f" ({', '.join(facts)})" if facts else ""
        return f"MapBatches of {whole}{said}: {'; then '.join(step.label() for step in self.steps)}"


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
