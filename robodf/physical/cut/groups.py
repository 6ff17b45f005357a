"""Operators on groups: where rows with equal keys lie together already, and where they must be brought together."""

from __future__ import annotations

from dataclasses import replace

from robodf.physical.blocks import hashable
from robodf.physical.cut.gather import gather
from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.cut.order import ascending, in_order_of, narrowed, ready, tagged
from robodf.physical.cut.rows import moved, with_tag
from robodf.physical.exchange import TAG, ByHash
from robodf.plan.base import Plan
from robodf.plan.expr import Col
from robodf.plan.spread import AS_INPUT, FIRST_SEEN, Groups
from robodf.plan.types import type_of


def together(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """No exchange where the partitions are by (some of) the keys: a recording is in one partition, so are its groups.

    ::

        GroupBy by [recording]            GroupBy by [recording]
          Scan mcap 40 files      ->        Pieces 12 of 40 recordings
                                              Scan mcap 40 files
    """
    for way in n.spread():
        if isinstance(way, Groups) and _lie_together(way, inputs):
            first = inputs[0]
            inputs = [first if k == 0 and way.order == AS_INPUT else ready(cutter, n, i) for k, i in enumerate(inputs)]
            plan = with_tag(n, *inputs)
            if plan is None or not _lie_together(way, inputs):  # to put rows back in order has moved them
                return None
            place = moved(n, inputs[0].place)
            item = cutter.item(plan, replace(place, ordered=place.ordered and way.order is not None),
                               n.estimate(*(i.rows for i in inputs)))  # fmt: skip
            return _sorted(cutter, n, way, item, first)
    return None


def _sorted(cutter: Cutter, n: Plan, way: Groups, item: Item, first: Item) -> Item:
    """The answer in the order of its columns, where that is promised and somebody looks."""
    if not isinstance(way.order, tuple) or id(n) not in cutter.wanted_order:
        return item
    if item.place.by == way.order[:1] and ascending(first.place):
        return item  # the partitions are in the order of the first key
    return in_order_of(cutter, item, way.order)


def _lie_together(way: Groups, inputs: list[Item]) -> bool:
    first = inputs[0].place
    if first.by is None or (
        len(inputs) > 1 and any(i.place.home is None or i.place.home != first.home for i in inputs)
    ):
        return False
    for place_by in zip(*(i.place.by or () for i in inputs)):
        # The same key of all inputs must be what their partitions are by.
        if not any(
            all(keys[k] is Col(name) for keys, name in zip(way.keys, place_by)) for k in range(len(way.keys[0]))
        ):
            return False
    return all(len(i.place.by or ()) == len(first.by) for i in inputs)


def shuffle(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """Rows with equal keys go to one partition; an aggregate that can be taken apart goes there half done.

    ::

        GroupBy by [k] agg [x=col("x").sum()]      GroupBy by [k] agg [x=col("p").sum()]
          Scan x.parquet                     ->      Shuffle by hash of [col("k")] to 8 partitions
                                                       GroupBy by [k] agg [p=col("x").sum()]
                                                         Pieces 40 of 40 splits
                                                           Scan x.parquet
    """
    for way in n.spread():
        if isinstance(way, Groups) and _shufflable(way, inputs):
            if n.phases() is None:
                inputs = narrowed(cutter, n, inputs)
                if cutter.limits.partitions_for(sum(i.size for i in inputs)) == 1:
                    return gather(cutter, n, inputs)  # one partition, and no numbers to put rows in order again
            return _shuffled(cutter, n, inputs, way)
    return None


def _shufflable(way: Groups, inputs: list[Item]) -> bool:
    types = [[type_of(key, i.plan.schema) for key in keys] for keys, i in zip(way.keys, inputs)]
    return all(hashable(t) for row in types for t in row) and all(row == types[0] for row in types)


def _shuffled(cutter: Cutter, n: Plan, inputs: list[Item], way: Groups) -> Item:
    keep_order = way.order in (AS_INPUT, FIRST_SEEN) and id(n) in cutter.wanted_order and inputs[0].place.ordered
    below = [i if k == 0 and keep_order else ready(cutter, n, i) for k, i in enumerate(inputs)]
    if keep_order:
        n = n.prune(frozenset(n.schema))  # "all columns" are those that there were before the numbers
        below[0] = tagged(cutter, below[0])
        if way.order == FIRST_SEEN:
            numbered = n.with_inputs(tuple(i.plan for i in below))
            first = next(w.first for w in numbered.spread() if isinstance(w, Groups))
            assert first is not None
            n = first(TAG)
    rows = n.estimate(*(i.rows for i in below))
    parts = cutter.limits.partitions_for(sum(i.size for i in below))
    plan, by = _exchanged(cutter, n, below, way, parts)
    names = [n.passes(name) if name is not None else None for name in by]
    types = tuple(str(type_of(key, inputs[0].plan.schema)) for key in way.keys[0])
    place = Place(parts, ordered=keep_order, tagged=keep_order)
    if all(name is not None for name in names):
        place = replace(place, by=tuple(names), home=("hash", parts, types))  # type: ignore[arg-type]
    item = cutter.item(plan, place, rows)
    return _sorted(cutter, n, way, item, below[0])


def _exchanged(cutter: Cutter, n: Plan, below: list[Item], way: Groups, parts: int) -> tuple[Plan, list[str | None]]:
    """The operator over shuffled inputs, and the columns of the first input that the shuffle was by."""
    plain = [key.ref if isinstance(key, Col) else None for key in way.keys[0]]
    found = n.with_inputs(tuple(i.plan for i in below)).phases() if len(below) == 1 else None
    if found is not None:
        part = cutter.item(found.partial(below[0].plan), below[0].place, below[0].rows)
        last = found.final(part.plan)
        keys = next(w.keys[0] for w in last.spread() if isinstance(w, Groups))
        sent = cutter.item(ByHash(part.plan, keys, parts), Place(parts), part.rows)
        return found.final(sent.plan), plain
    sent = [
        cutter.item(ByHash(i.plan, keys, parts), Place(parts, tagged=i.place.tagged or TAG in i.plan.schema), i.rows)
        for i, keys in zip(below, way.keys)
    ]
    if way.order != AS_INPUT:
        return n.with_inputs(tuple(i.plan for i in sent)), plain
    made = with_tag(n, *sent)
    if made is None:
        raise RuntimeError(f"{n.label()} says that its rows are those of its input, but loses a column of them")
    return made, plain
