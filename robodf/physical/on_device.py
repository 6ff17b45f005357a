"""The node that only a placed plan has: a piece of a plan that runs on a GPU as one query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from robodf.compat import run
from robodf.gpu.cost import Cost
from robodf.gpu.device_rows import DeviceRows
from robodf.gpu.running import Ran, Ways, collected, ways_of
from robodf.io.stream import from_batches
from robodf.plan.base import Names, Plan, Schema, parents_first
from robodf.plan.flat import FlatPlan
from robodf.plan.node import lazy, node
from robodf.plan.spread import Resources

_STEP = 1 << 17  # rows of a frame that come back


@node
class Given(Plan):
    """Stands in a fragment for the rows of the input number `number`, which are handed over when it runs."""

    number: int
    columns: tuple[tuple[str, pl.DataType], ...]

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return pl.LazyFrame(schema=self.schema)

    @lazy
    def schema(self) -> Schema:
        return dict(self.columns)

    def label(self) -> str:
        return f"rows of input {self.number + 1}"


@dataclass(frozen=True, eq=False)
class Fragment:
    """A plan over `Given` leaves and scans, what it is expected to cost, and how it is run.

    `ways` are tried in turn (`gpu/running.py`). `ran` is told by each run, of whoever holds this object. `call`, over
    a `Given` leaf, is an operator that takes the rows where they lie, so that they do not come back for it.
    """

    plan: Plan
    expected: Cost | None = None
    share: float = 1.0  # of a GPU, on a cluster
    ways: Ways = field(default_factory=ways_of)
    ran: list[Ran] = field(default_factory=list)
    call: Plan | None = None

    @property
    def top(self) -> Plan:
        """The operator whose rows come out."""
        return self.plan if self.call is None else self.call

    def query(self, frames: list[pl.LazyFrame]) -> pl.LazyFrame:
        """The fragment over rows for its `Given` leaves."""
        done: dict[int, pl.LazyFrame] = {}
        for n in reversed(parents_first(self.plan)):
            rows = frames[n.number] if isinstance(n, Given) else n.lower(*(done[id(i)] for i in n.inputs()))
            done[id(n)] = rows
        return done[id(self.plan)]

    def __reduce__(self) -> tuple[Any, ...]:
        call = None if self.call is None else FlatPlan(self.call)
        return _travelled, (FlatPlan(self.plan), self.expected, self.share, self.ways, call)


def _travelled(plan: FlatPlan, expected: Cost | None, share: float, ways: Ways, call: FlatPlan | None) -> Fragment:
    return Fragment(plan.plan(), expected, share, ways, call=None if call is None else call.plan())


@node
class OnDevice(Plan):
    """What its fragment means, over the rows of `parts`. These run on the CPU first, each as a query of its own."""

    parts: tuple[Plan, ...]
    fragment: Fragment

    cuts = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        fragment = self.fragment

        def given() -> pl.DataFrame | DeviceRows:
            query = fragment.query([run(rows).lazy() for rows in inputs])
            rows, ran = collected(query, fragment.ways)
            fragment.ran.append(ran)
            return rows

        def batches() -> Iterator[pl.DataFrame]:
            if fragment.call is not None:
                yield from fragment.call.over_rows(given)
                return
            rows = given()
            assert isinstance(rows, pl.DataFrame)  # ways that leave rows there are of fragments with a call
            for start in range(0, max(rows.height, 1), _STEP):
                yield rows.slice(start, _STEP)

        return from_batches(batches, self.schema, "a GPU")

    @lazy
    def schema(self) -> Schema:
        return self.fragment.top.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return tuple(frozenset(part.schema) for part in self.parts)

    @property
    def resources(self) -> Resources:
        share = self.fragment.share
        call = None if self.fragment.call is None else self.fragment.call.resources
        if call is None:
            return Resources(None, share, None, False)
        return Resources(call.num_cpus, max(share, call.num_gpus), call.concurrency, call.stateful)

    def in_memory(self) -> str | None:
        return "its rows are in the memory of the GPU, and come back whole"

    def label(self) -> str:
        operators = sum(not isinstance(n, Given) for n in parents_first(self.fragment.plan))
        expected = "" if self.fragment.expected is None else f": {self.fragment.expected}"
        call = "" if self.fragment.call is None else f", then there {self.fragment.call.label()}"
        return f"OnDevice, {operators} operator{'s' * (operators != 1)}{expected}{call}"
