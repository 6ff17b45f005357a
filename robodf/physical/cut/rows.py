"""Operators that look at one row at a time, unions, and results that are kept: partitions stay what they are."""

from __future__ import annotations

from dataclasses import replace

from robodf.physical.cut.gather import whole
from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.cut.order import settled
from robodf.physical.cut.pieces import in_memory
from robodf.physical.exchange import TAG
from robodf.plan.base import Plan
from robodf.plan.expr import Col
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.scan import InMemory
from robodf.plan.nodes.shared import Cached, Shared
from robodf.plan.spread import Appended, Rows


def row_by_row(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """Row-wise work runs where its rows are: with the scan, or after the exchange, in the same task.

    ::

        Filter col("z") > 9.8          Filter col("z") > 9.8
          Scan x.parquet        ->       Pieces 4 of 4 splits
                                           Scan x.parquet
    """
    if not any(isinstance(way, Rows) for way in n.spread()):
        return None
    below = inputs[0]
    plan = with_tag(n, below)
    if plan is None:
        below = settled(cutter, below)
        plan = n.with_inputs((below.plan,))
    return cutter.item(plan, moved(n, below.place), n.estimate(below.rows))


def with_tag(n: Plan, *inputs: Item) -> Plan | None:
    """The operator over its inputs, letting the numbers of the rows of the first pass; None where it does not."""
    if not inputs[0].place.tagged:
        return n.with_inputs(tuple(i.plan for i in inputs))
    # "All columns" are those that there were before the numbers.
    plan = n.prune(frozenset(n.schema)).with_inputs(tuple(i.plan for i in inputs))
    if isinstance(plan, Select):
        plan = plan.replace(exprs=(*plan.exprs, (TAG, Col(TAG))))
    return plan if TAG in plan.schema and plan.passes(TAG) == TAG else None


def moved(n: Plan, place: Place) -> Place:
    """The place of the rows after an operator: the same partitions, by the columns that pass unchanged."""
    if place.by is None:
        return place
    names = [n.passes(name) for name in place.by]
    if any(name is None for name in names):
        return replace(place, by=None, home=None)
    return replace(place, by=tuple(name for name in names if name is not None))


def appended(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """The partitions of a union are those of its inputs."""
    if not any(isinstance(way, Appended) for way in n.spread()):
        return None
    inputs = [settled(cutter, i) for i in inputs]
    plan = n.with_inputs(tuple(i.plan for i in inputs))
    place = Place(sum(i.place.parts for i in inputs), ordered=all(i.place.ordered for i in inputs))
    return cutter.item(plan, place, sum(i.rows for i in inputs))


def kept(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """What several parts of the query use is computed once, in its partitions; what the user keeps, in one place."""
    if isinstance(n, Shared):
        below = settled(cutter, inputs[0])
        return cutter.item(n.with_inputs((below.plan,)), below.place, below.rows)
    if isinstance(n, Cached):
        if n.kept.rows is not None:
            return in_memory(cutter, InMemory(n.kept.rows), n.kept.rows)
        below = whole(cutter, inputs[0])
        return cutter.item(n.with_inputs((below.plan,)), Place(1), below.rows)
    return None
