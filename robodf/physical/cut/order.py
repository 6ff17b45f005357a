"""The order of rows over a shuffle: they are numbered before it, and sorted by that number where somebody looks."""

from __future__ import annotations

from dataclasses import replace

from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.exchange import TAG, ByRange, Gather, Tagged
from robodf.plan.base import Plan
from robodf.plan.expr import Col, base_names
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.sort import Sort


def tagged(cutter: Cutter, item: Item) -> Item:
    """The rows with their numbers, where they have an order and no numbers yet."""
    if item.place.tagged or not item.place.ordered:
        return item
    plan = Tagged(item.plan)
    return cutter.item(plan, item.place, item.rows)


def settled(cutter: Cutter, item: Item) -> Item:
    """The rows in partitions that are in order, without numbers."""
    if not item.place.tagged:
        return item
    back = in_order_of(cutter, item, (TAG,))
    names = tuple((name, Col(name)) for name in back.plan.schema if name != TAG)
    return cutter.item(Select(back.plan, names), replace(back.place, tagged=False), item.rows)


def ready(cutter: Cutter, n: Plan, item: Item) -> Item:
    """The rows as an operator takes them: in order, or where it does not look at their order, without their numbers."""
    if not (item.place.tagged and n.forgets_order):
        return settled(cutter, item)
    names = tuple((name, Col(name)) for name in item.plan.schema if name != TAG)
    return cutter.item(Select(item.plan, names), replace(item.place, tagged=False, ordered=False), item.rows)


def narrowed(cutter: Cutter, n: Plan, inputs: list[Item]) -> list[Item]:
    """The inputs without the columns that an operator does not read, such as those of a filter below."""
    found = []
    for item, names in zip(inputs, n.needs(frozenset(n.schema))):
        kept = [c for c in item.plan.schema if c in base_names(names) or (c == TAG and item.place.tagged)]
        if item.place.parts == 1 or len(kept) in (0, len(item.plan.schema)):
            found.append(item)
            continue
        plan = Select(item.plan, tuple((c, Col(c)) for c in kept))
        by = item.place.by
        place = item.place if by is None or set(by) <= set(kept) else replace(item.place, by=None, home=None)
        found.append(cutter.item(plan, place, item.rows))
    # A column that is replaced is not read, but its place among the others is that of the new one.
    given = n.with_inputs(tuple(i.plan for i in found)).schema
    return found if [c for c in given if c != TAG] == list(n.schema) else inputs


def in_order_of(cutter: Cutter, item: Item, columns: tuple[str, ...]) -> Item:
    """The rows sorted by columns, ascending and nulls first: in one place where they are few, else in ranges."""
    keys = tuple(map(Col, columns))
    no = (False,) * len(columns)
    plan, parts = item.plan, item.place.parts
    if parts > 1:
        parts = 1 if item.size <= cutter.limits.small_bytes else cutter.limits.partitions_for(item.size)
        sent = Gather(plan, None) if parts == 1 else ByRange(plan, keys, no, no, parts)
        plan = cutter.item(sent, Place(parts), item.rows).plan
    return cutter.item(Sort(plan, keys, no, no), Place(parts), item.rows)


def ascending(place: Place) -> bool:
    """Whether the partitions are by keys in their order: all keys of one come before those of the next."""
    if place.home is None or place.home[0] != "keys":
        return False
    keys = [key for part in place.home[1] for key in part]
    return keys == sorted(keys)
