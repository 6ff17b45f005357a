"""The base of the plan nodes: what the planner may ask of any operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import polars as pl

from robodf.plan.bounds import UNKNOWN, Bounds
from robodf.plan.expr import Expr, base_names
from robodf.plan.failures import Journal
from robodf.plan.node import Node, lazy
from robodf.plan.spread import Phases, Resources, Spread

Names = frozenset[str]
Schema = dict[str, pl.DataType]


class Plan(Node):
    """One operator and its inputs: what it does to Polars frames, and the facts that rules ask for.

    A subclass gives `lower`; everything else has a default that is right and makes nothing faster.
    """

    rowwise_cost = False  # True: cheap enough to run twice rather than to keep the result in memory
    passes_paths = False  # True: `needs` understands paths into structs (`Expr.paths`), not only column names
    same_count = False  # True: it has exactly as many rows as its only input
    cuts = False  # True: its inputs run as Polars queries of their own, whose rows it is handed in batches
    forgets_order = False  # True: the same rows in another order give the same answer
    keeps_rows = False  # True: row i of the output comes from row i of the input alone, none added or dropped

    at_hand = False  # True: its rows are in memory already
    computes = False  # True: it makes columns by work that is worth doing for fewer rows
    repeats = False  # True: cheap, and of the same input it gives the same rows in the same order each time

    def inputs(self) -> tuple[Plan, ...]:
        return self._inputs

    @lazy
    def read_again(self) -> bool:
        """Whether it may be run twice: that gives the same rows in the same order, and costs little but reading."""
        return self.repeats and all(i.read_again for i in self.inputs())

    @lazy
    def _inputs(self) -> tuple[Plan, ...]:
        # A field is a plan or a tuple of plans: other tuples (expressions, often hundreds) need not be looked through.
        found: list[Plan] = []
        for value in self.field_values():
            found.extend((value,) if isinstance(value, Plan) else value if _are_plans(value) else ())
        return tuple(found)

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        """The meaning of the operator, and how every engine runs it."""
        raise NotImplementedError

    @lazy
    def schema(self) -> Schema:
        """Output columns and types, asked of Polars over empty inputs."""
        return dict(self.lower(*(empty(i.schema) for i in self.inputs())).collect_schema())

    def needs(self, out: Names) -> tuple[Names, ...]:
        """Which columns of each input are needed to give the columns `out`."""
        return tuple(frozenset(i.schema) for i in self.inputs())

    def prune(self, out: Names) -> Plan:
        """The node without the work for columns that are not in `out`; it may still give more than `out`."""
        return self

    def with_inputs(self, inputs: tuple[Plan, ...]) -> Plan:
        """The node over other inputs, given by position."""
        rest = iter(inputs)
        values = [
            next(rest) if isinstance(v, Plan) else tuple(next(rest) for _ in v) if _are_plans(v) else v
            for v in self.field_values()
        ]
        return self._with_schema_of(type(self)(*values))

    def replace(self, **changes: Any) -> Self:
        new = super().replace(**changes)
        return self._with_schema_of(new) if all(isinstance(v, Plan) for v in changes.values()) else new

    def _with_schema_of(self, new: Self) -> Self:
        """`new`, the same node over other inputs, with the schema of this one where those have theirs unchanged."""
        # It follows from the fields and the schemas of the inputs: asking Polars again would say the same.
        if "schema" in vars(self) and "schema" not in vars(new):
            if all(same_schema(a.schema, b.schema) for a, b in zip(self.inputs(), new.inputs())):
                vars(new)["schema"] = self.schema
        return new

    def push(self, predicate: Expr) -> Plan | None:
        """The node with a movable `predicate` on its output applied inside or below it, or None."""
        return None

    def push_all(self, predicates: list[Expr]) -> tuple[Plan, list[Expr]]:
        """The node with those predicates pushed that it lets pass, and the rest."""
        plan: Plan = self
        rest = []
        for predicate in predicates:
            new = plan.push(predicate)
            if new is None:
                rest.append(predicate)
            else:
                plan = new
        return plan, rest

    def push_limit(self, n: int) -> Plan | None:
        """A node whose first `n` rows are those of this one, and that makes less work; None where there is none."""
        return None

    def count(self) -> int | None:
        """The exact number of rows where it is known without reading data, else None."""
        return None

    def range_of(self, column: str) -> Bounds:
        """Between which values a column of times or integers lies, by predicates and metadata alone."""
        return UNKNOWN

    def spread(self) -> tuple[Spread, ...]:
        """The ways in which its rows may lie in several partitions, the best first; none: all must be in one place."""
        return ()

    def phases(self) -> Phases | None:
        """The operator as a step on each partition and one on what they gave, where that moves fewer rows."""
        return None

    def passes(self, column: str) -> str | None:
        """The name under which a column of the first input passes with its values unchanged; None where none does."""
        return None

    def taken_apart(self, wide: bool) -> Plan | None:
        """The same by operators that run in partitions, where this one needs its rows in one; None without such.

        `wide`: its rows have so many bytes that they are better not moved.
        """
        return None

    @property
    def resources(self) -> Resources | None:
        """What it asks of the workers that it runs on; None: nothing of its own."""
        return None

    @property
    def device(self) -> str | None:
        """The device that its own functions were declared for, "gpu" or "cpu"; None: none was."""
        return None

    @property
    def takes_device_rows(self) -> bool:
        """Whether its only input may be handed to it where it lies on a GPU, by `over_rows`."""
        return False

    def over_rows(self, rows: Callable[[], Any]) -> Iterator[pl.DataFrame]:
        """What it gives of `rows()`, all of its input as a frame or on a GPU; asked where `takes_device_rows`."""
        raise NotImplementedError

    @property
    def journal(self) -> Journal | None:
        """Where it keeps what it skips, the same for all parts of one operator; None: it skips nothing."""
        return None

    @property
    def handed(self) -> int:
        """How many rows it has been handed, where its journal names rows by their number."""
        return 0

    def afresh(self) -> Plan:
        """The same with a journal of its own, where that can be: a task tells what it skipped, not what others did."""
        return self

    def carries(self, k: int, column: str) -> str | None:
        """As `passes`, of the input number `k`; where a row has none of its rows beside it, the value is null."""
        return self.passes(column) if k == 0 else None

    def in_order_of(self, k: int) -> Plan | None:
        """The same with its rows in the order of an input, where it promises none and that costs nothing; or None."""
        return None

    def estimate(self, *rows: float) -> float:
        """About how many rows it gives, of inputs of about so many."""
        return sum(rows)

    def survivors(self, k: int, *rows: float) -> float:
        """About what share of the rows of the input number `k` comes out, once or more often."""
        return min(1.0, self.estimate(*rows) / rows[k]) if rows[k] else 1.0

    @property
    def work(self) -> str:
        """The kind of work that it does, one of `plan.work.KINDS`."""
        return "row"

    @property
    def reads(self) -> Schema:
        """The columns that its expressions may name; none of a name that has two types in its inputs."""
        found: Schema = {}
        for below in self.inputs():
            found |= {name: dtype for name, dtype in below.schema.items() if name not in found}
        return {name: dtype for name, dtype in found.items()
                if all(i.schema.get(name, dtype) == dtype for i in self.inputs())}  # fmt: skip

    def with_expressions(self, change: Callable[[Expr, Schema], Expr]) -> Plan:
        """The node with each of its expressions changed, given the columns that it may name; the meaning must stay."""
        old = self.field_values()
        new = tuple(_changed(value, change, self.reads) for value in old)
        return self if all(a is b for a, b in zip(old, new)) else type(self)(*new)

    def in_one_query(self) -> Plan:
        """The same where all that use it run in one Polars query with it."""
        return self

    def in_memory(self) -> str | None:
        """Why Polars' streaming engine cannot bound the memory of this operator; None where it can."""
        return None

    def label(self) -> str:
        """One line for `explain()`."""
        return type(self).__name__

    def __repr__(self) -> str:
        return tree(self)


def _changed(value: Any, change: Callable[[Expr, Schema], Expr], schema: Schema) -> Any:
    if isinstance(value, Expr):
        return change(value, schema)
    if isinstance(value, tuple) and not _are_plans(value):
        new = [_changed(v, change, schema) for v in value]
        return value if all(a is b for a, b in zip(value, new)) else type(value)(new)
    return value


def _are_plans(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and isinstance(value[0], Plan)


def same_schema(a: Schema, b: Schema) -> bool:
    """True of the same columns in the same order."""
    return a is b or list(a.items()) == list(b.items())


def empty(schema: Schema) -> pl.LazyFrame:
    """A frame of no rows."""
    return pl.LazyFrame(schema=schema)


def lower_all(plan: Plan) -> pl.LazyFrame:
    """The whole plan as one Polars query; a node with two parents is lowered once."""
    done: dict[int, pl.LazyFrame] = {}
    for n in reversed(parents_first(plan)):
        done[id(n)] = n.lower(*(done[id(i)] for i in n.inputs()))
    return done[id(plan)]


def parents_first(root: Plan) -> list[Plan]:
    """Every plan node below and including `root`, each once and after all of its parents."""
    waiting = parent_counts(root)
    order, ready = [], [root]
    while ready:
        n = ready.pop()
        order.append(n)
        for child in n.inputs():
            waiting[id(child)] -= 1
            if waiting[id(child)] == 0:
                ready.append(child)
    return order


def wanted_columns(root: Plan) -> dict[int, Names]:
    """Which columns of each node (by id), down to paths into structs, the nodes above it read; all of the root."""
    wanted: dict[int, Names] = {id(root): frozenset(root.schema)}
    for n in parents_first(root):
        out = wanted.get(id(n), frozenset())
        if not n.passes_paths:
            out = wanted[id(n)] = base_names(out)
        for child, names in zip(n.inputs(), n.needs(out)):
            wanted[id(child)] = wanted.get(id(child), frozenset()) | names
    return wanted


def parent_counts(root: Plan) -> dict[int, int]:
    """How many places each node below `root` is the input of."""
    counts: dict[int, int] = {}
    for n in plans(root):
        for child in n.inputs():
            counts[id(child)] = counts.get(id(child), 0) + 1
    return counts


def plans(root: Plan) -> Iterator[Plan]:
    """Every plan node below and including `root`, each once, parents before children."""
    seen = {id(root)}
    stack = [root]
    while stack:
        top = stack.pop()
        yield top
        for child in reversed(top.inputs()):
            if id(child) not in seen:
                seen.add(id(child))
                stack.append(child)


def tree(plan: Plan, note: Any = lambda plan: "") -> str:
    """The plan as indented text, a shared node printed once and then named."""
    lines: list[str] = []
    seen: dict[int, int] = {}
    parents = parent_counts(plan)
    stack = [(plan, 0)]
    while stack:  # no recursion: plans are deep
        p, depth = stack.pop()
        if id(p) in seen:
            lines.append(f"{'  ' * depth}(same as #{seen[id(p)]}: {p.label()})")
            continue
        mark = ""
        if parents.get(id(p), 0) > 1:
            seen[id(p)] = len(seen) + 1
            mark = f"#{seen[id(p)]} "
        indent = "  " * depth
        lines += [indent + mark + p.label(), *(f"{indent}  {line}" for line in note(p).splitlines())]
        stack += [(child, depth + 1) for child in reversed(p.inputs())]
    return "\n".join(lines)
