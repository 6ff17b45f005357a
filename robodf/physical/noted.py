"""What the tasks of a stage skipped, on its way into the journals of the driver's plan."""

from __future__ import annotations

from collections.abc import Sequence

from robodf.plan.base import Plan, plans
from robodf.plan.failures import Journal


def noting(plan: Plan) -> list[Plan]:
    """The operators that may skip something, in an order that does not depend on the process."""
    return [n for n in plans(plan) if n.journal is not None]


class Noted:
    """The problems of one stage, each passed on once all partitions before its own are done.

    A task counts the rows that a function is handed from 0. The journal is told numbers that go on from one partition
    to the next: those that one process would have counted, where the rows are in its order.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, list[tuple[Journal, Sequence[dict], int]]] = {}
        self._before: dict[int, int] = {}  # rows that were handed in earlier partitions, by the id of the journal

    def add(self, number: int, plan: Plan, problems: Sequence[Sequence[dict]], handed: Sequence[int]) -> None:
        """What the task of partition `number` met, for each of `noting(plan)`."""
        journals = [n.journal for n in noting(plan)]
        self._waiting[number] = [(j, p, rows) for j, p, rows in zip(journals, problems, handed) if j is not None]

    def pass_on(self) -> None:
        """Tell the journals; no partition before those that were added is to come."""
        for number in sorted(self._waiting):
            for journal, problems, handed in self._waiting.pop(number):
                first = self._before.get(id(journal), 0)
                for problem in problems:
                    journal.note({**problem, "offset": problem["offset"] + first} if first else problem)
                if handed:
                    self._before[id(journal)] = first + handed
