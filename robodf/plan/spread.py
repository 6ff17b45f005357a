"""How the rows of an operator may lie in several partitions: what it asks of them, so that a planner can cut a plan.

A partition is a part of the rows, in their order; the partitions of a frame, one after the other, are its rows, unless
they were made by the values of keys. An operator that says nothing (`Plan.spread` is empty) needs all in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robodf.plan.expr import Call, Expr
from robodf.plan.rowwise import reads_one_row

if TYPE_CHECKING:
    from robodf.plan.base import Plan

AS_INPUT = "as input"
"""Each row of the answer has the columns of one row of the first input, and the rows have the order of that input."""

FIRST_SEEN = "first seen"
"""One row for each value of the keys, in the order in which the keys were first seen."""

Order = str | tuple[str, ...] | None
"""AS_INPUT, FIRST_SEEN, the columns that the answer is sorted by, or None for no order."""


@dataclass(frozen=True, eq=False)
class Rows:
    """It may run on each partition of its only input alone: an output row comes from one input row, in order."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows with equal keys must be in one partition, of all inputs. `keys` has one tuple of expressions an input.

    Of an operator in the order FIRST_SEEN, `first(column)` is the operator in no order that also gives the least value
    of a column of the input for each of its rows, under the same name.
    """

    keys: tuple[tuple[Expr, ...], ...]
    order: Order
    first: Callable[[str], Plan] | None = None


@dataclass(frozen=True, eq=False)
class Beside:
    """It may run on each partition of the input number `main`, where the other inputs are there whole."""

    main: int
    ordered: bool = True  # the answer has the order of that input


@dataclass(frozen=True, eq=False)
class Placed:
    """It may run on each partition if it is told where in the whole that lies.

    `at(first, total)` is the operator for the rows from number `first` on, of `total` rows in all.
    """

    at: Callable[[int, int], Plan]


@dataclass(frozen=True, eq=False)
class Batches:
    """It reads its only input in batches of so many rows: a partition must begin where a batch does."""

    size: int


@dataclass(frozen=True, eq=False)
class Ranges:
    """It orders the rows of its only input: partitions of ranges of the sort keys may be sorted alone."""


@dataclass(frozen=True, eq=False)
class Appended:
    """Its partitions are those of its inputs, one input after the other."""


Spread = Rows | Groups | Beside | Placed | Batches | Ranges | Appended


@dataclass(frozen=True, eq=False)
class Phases:
    """The operator in two steps: `partial` on each partition, `final` on what these gave, brought together."""

    partial: Callable[[Plan], Plan]
    final: Callable[[Plan], Plan]


@dataclass(frozen=True)
class Resources:
    """What a call of a user's function needs of the worker that it runs on."""

    num_cpus: float | None  # None: what any task gets
    num_gpus: float
    concurrency: int | None  # how many run at once, at most; None: as many as fit
    stateful: bool  # a class, which is costly to make and is called many times


def window_keys(exprs: tuple[Expr, ...]) -> tuple[Expr, ...] | None:
    """The keys such that rows with equal ones are all that the windows of `exprs` look at together; None without such.

    An expression that reads one row at a time asks for nothing; one that reads all rows (a sum without `over`) cannot
    be computed on a part of them.
    """
    asked: list[tuple[Expr, ...]] = []
    for e in exprs:
        if not _collect(e, asked):
            return None
    if not asked:
        return None
    common = tuple(key for key in asked[0] if all(any(key is other for other in keys) for keys in asked[1:]))
    return common or None


def _collect(e: Expr, asked: list[tuple[Expr, ...]]) -> bool:
    """Add the keys of the windows in `e`; False where something reads rows beyond them."""
    if e.rowwise:
        return True
    if not isinstance(e, Call):
        return False
    if e.fn == "over":
        options = dict(e.options)
        if options.get("mapping_strategy", "group_to_rows") != "group_to_rows":
            return False
        keys = [_unnamed(a) for a in _flat((e.args[1:], options.get("partition_by"))) if isinstance(a, Expr)]
        if not keys or not all(key.rowwise for key in keys):
            return False
        asked.append(tuple(keys))
        return True
    if not reads_one_row(e.fn, e.args, dict(e.options)):
        return False
    return all(_collect(a, asked) for a in _flat((e.args, tuple(v for _, v in e.options))) if isinstance(a, Expr))


def _unnamed(e: Expr) -> Expr:
    """Without a name of its own, which a key has where the optimizer put a renamed column in its place."""
    while isinstance(e, Call) and e.fn == "alias" and isinstance(e.args[0], Expr):
        e = e.args[0]
    return e


def _flat(value: object) -> list[object]:
    return [item for part in value for item in _flat(part)] if isinstance(value, (tuple, list)) else [value]
