"""Plans on their way to another process: as lists, because pickle recurses into nested objects and plans are deep."""

from __future__ import annotations

from typing import Any

from robodf.plan.base import Plan, parents_first


class _Slot:
    """Stands for the plan with this number in the list."""

    __slots__ = ("number",)

    def __init__(self, number: int):
        self.number = number

    def __reduce__(self):
        return _Slot, (self.number,)


class FlatPlan:
    """A plan as the list of its nodes, inputs first: what is pickled in its place.

    >>> import pickle
    >>> from robodf import col, from_dict
    >>> plan = from_dict({"a": [1]}).filter(col("a") > 0)._plan.input
    >>> pickle.loads(pickle.dumps(FlatPlan(plan))).plan()
    InMemory 1 rows, 1 columns
    """

    def __init__(self, plan: Plan):
        numbers: dict[int, int] = {}
        self.nodes: list[tuple[type[Plan], tuple]] = []
        for n in reversed(parents_first(plan)):
            numbers[id(n)] = len(self.nodes)
            self.nodes.append((type(n), tuple(_out(v, numbers) for v in n.field_values())))

    def plan(self) -> Plan:
        """The plan again, its nodes interned here."""
        made: list[Plan] = []
        for kind, values in self.nodes:
            made.append(kind(*(_in(v, made) for v in values)))
        return made[-1]


def _out(value: Any, numbers: dict[int, int]) -> Any:
    if isinstance(value, Plan):
        return _Slot(numbers[id(value)])
    if isinstance(value, tuple) and value and isinstance(value[0], Plan):
        return tuple(_Slot(numbers[id(v)]) for v in value)
    return value


def _in(value: Any, made: list[Plan]) -> Any:
    if isinstance(value, _Slot):
        return made[value.number]
    if isinstance(value, tuple) and value and isinstance(value[0], _Slot):
        return tuple(made[v.number] for v in value)
    return value
