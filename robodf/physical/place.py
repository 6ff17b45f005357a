"""Which pieces of a plan run on a GPU: the largest ones that cudf-polars translates, where that is expected to pay.

    place(plan, facts, forced=False) -> Placed

Nothing lists the operators that a GPU can run. Each node is lowered over empty inputs and cudf-polars is asked whether
it translates that. Neighbours that do are one fragment, which is asked again as a whole: its rows cross to the device
once and back once. Leaves of a fragment are scans that cudf-polars reads itself; the rows of all else are computed on
the CPU and handed over.

Before::

    Sort col("t")                              OnDevice 3 operators: ...
      GroupBy by [k] agg [t=col("t").min()]      MapBatches of 1024 rows: score
        MapBatches of 1024 rows: score     ->      Scan parquet a.parquet
          Scan parquet a.parquet

The fragment is Sort over GroupBy over the rows of the function, which only Python can compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from robodf.gpu.cost import Cost, Load, Step, cost, fits
from robodf.gpu.facts import Facts
from robodf.gpu.nan_order import spelled_out
from robodf.gpu.running import LARGE_WAYS, WAYS, Ways
from robodf.gpu.translation import Ask, obstacles
from robodf.physical.on_device import Fragment, Given, OnDevice
from robodf.physical.sizes import encoded_bytes, estimated_rows, row_bytes
from robodf.plan.base import Plan, lower_all, parents_first, tree
from robodf.plan.nodes.scan import Scan

_PYTHON = "its rows are made by Python on the CPU"


@dataclass(frozen=True)
class Decision:
    """What was decided of a fragment, why, and what it is expected to cost where rates are known."""

    plan: Plan  # over `Given` leaves
    on_gpu: bool
    why: str
    cost: Cost | None = None


@dataclass(frozen=True)
class Placed:
    """A plan with `OnDevice` nodes, what was decided of each fragment, and why the other operators stay.

    `stay` has (operator, reason), in the order of the plan.
    """

    plan: Plan
    decisions: tuple[Decision, ...]
    stay: tuple[tuple[str, str], ...]

    @property
    def on_gpu(self) -> bool:
        """Whether anything runs on a GPU."""
        return any(d.on_gpu for d in self.decisions)

    def __str__(self) -> str:
        lines = []
        for k, d in enumerate(self.decisions, 1):
            lines.append(f"fragment {k}: {'GPU' if d.on_gpu else 'CPU'}, {d.why}")
            lines += [f"  {line}" for line in tree(d.plan).splitlines()]
        if self.stay:
            lines.append("on the CPU:")
            lines += [f"  {label}: {why}" for label, why in self.stay]
        return "\n".join(lines)


def place(plan: Plan, facts: Facts, *, forced: bool = False, ask: Ask = obstacles, ways: Ways = WAYS,
          known: Mapping[int, float] | None = None) -> Placed:  # fmt: skip
    """The optimized plan with its fragments on the GPU.

    `forced`: all that translates goes there, else what the cost model says. `ask` says why a query cannot run on a
    GPU, `ways` how a fragment runs, `known` how many rows some leaves have (by id).
    """
    order = parents_first(plan)
    why = {id(n): _why_not(n, ask) for n in order}
    member = _fragments(order, why)
    rows = estimated_rows(plan, known)
    decisions: list[Decision] = []
    done: dict[int, Plan] = {}
    stay: dict[int, str] = {}
    for n in reversed(order):
        if member.get(id(n)) == id(n):  # the top of a fragment
            made = _Fragment(n, member, order, done)
            decision = _decide(made, facts, forced, ask, rows)
            decisions.append(decision)
            if decision.on_gpu:
                large = ways is WAYS and not _is_small(made, rows, facts)
                fragment = Fragment(made.plan, decision.cost, facts.share, LARGE_WAYS if large else ways)
                done[id(n)] = OnDevice(made.parts, fragment)
                continue
            stay |= {id(m): decision.why for m in made.members if m.inputs()}
        done[id(n)] = n.with_inputs(tuple(done[id(i)] for i in n.inputs())) if n.inputs() else n
        if id(n) not in member and not n.at_hand:
            stay[id(n)] = "; ".join(why[id(n)] or ["what uses its rows is on the CPU"])
    told = tuple((n.label(), stay[id(n)]) for n in order if id(n) in stay and not _joins(n))
    return Placed(done[id(plan)], tuple(decisions), told)


# -- what may go ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2048)
def _asked(plan: Plan, ask: Ask) -> list[str]:
    """What is in the way of an operator over placeholders: the same each time, and nodes are interned."""
    return ask(lower_all(plan))


def _why_not(n: Plan, ask: Ask) -> list[str]:
    """Why an operator cannot run on a GPU, over empty frames of the types of its inputs; nothing where it can."""
    if n.at_hand or _joins(n):
        return []
    if n.cuts:
        return [_PYTHON]
    if not n.inputs():
        return ask(n.with_expressions(spelled_out).lower())
    alone = n.with_inputs(tuple(Given(k, tuple(i.schema.items())) for k, i in enumerate(n.inputs())))
    return _asked(alone.with_expressions(spelled_out), ask)


def _joins(n: Plan) -> bool:
    """Whether a node is nothing where all that use it are in one query."""
    return n.in_one_query() is not n


def _fragments(order: list[Plan], why: dict[int, list[str]]) -> dict[int, int]:
    """For each node (by id) of a fragment, the id of the top of it. Inside one all parents of a node are in it."""
    parents: dict[int, list[Plan]] = {id(n): [] for n in order}
    for n in order:
        for child in n.inputs():
            parents[id(child)].append(n)
    top: dict[int, int] = {}
    for n in order:
        if why[id(n)] or n.at_hand:
            continue
        above = {top.get(id(p)) for p in parents[id(n)]}
        if len(above) == 1 and None not in above:
            top[id(n)] = above.pop()  # type: ignore[assignment]
        elif n.inputs() and not _joins(n):
            top[id(n)] = id(n)
    return top


class _Fragment:
    """The nodes below `top` that are in its fragment, as a plan of its own, and what is handed over to it."""

    def __init__(self, top: Plan, member: dict[int, int], order: list[Plan], placed: dict[int, Plan]):
        self.members = [n for n in order if member.get(id(n)) == id(top)]
        self.operators = [n for n in self.members if n.inputs() and not _joins(n)]
        self.scans = [n for n in self.members if not n.inputs()]
        inside = set(map(id, self.members))
        self.given: list[Plan] = []
        done: dict[int, Plan] = {}
        for n in reversed(self.members):
            for child in n.inputs():
                if id(child) not in done and id(child) not in inside:
                    done[id(child)] = Given(len(self.given), tuple(child.schema.items()))
                    self.given.append(child)
            new = n.with_inputs(tuple(done[id(i)] for i in n.inputs())) if n.inputs() else n
            new = new.in_one_query()
            done[id(n)] = new if n.at_hand else new.with_expressions(spelled_out)
        self.plan = done[id(top)]
        self.parts = tuple(placed[id(n)] for n in self.given)
        self.top = top


# -- what should go ------------------------------------------------------------------------------------------------


def _decide(made: _Fragment, facts: Facts, forced: bool, ask: Ask, rows: dict[int, float]) -> Decision:
    found = ask(lower_all(made.plan))
    if found:
        return Decision(made.plan, False, f"each operator translates, together they do not: {'; '.join(found)}")
    if facts.device is None:
        return Decision(made.plan, False, f"there is no GPU: {facts.why}")
    expected = None
    if facts.rates is not None:
        expected = cost(_load(made, rows), facts.rates, facts.cpus, facts.started)
    if forced:
        why = 'engine="gpu" was asked for'
        return Decision(made.plan, True, why if expected is None else f"{why}; {expected}", expected)
    if expected is None:
        return Decision(made.plan, False, f"no rates are known for {facts.device.name}: run `robodf calibrate`")
    if not _is_small(made, rows, facts):
        needs = f"it may need {expected.peak / 1e9:,.1f} GB of the {facts.device.memory * facts.share / 1e9:,.1f} GB"
        return Decision(made.plan, False, f"{needs} of the GPU", expected)
    if not expected.pays:
        return Decision(made.plan, False, f"the GPU would not win by the margin: {expected}", expected)
    return Decision(made.plan, True, str(expected), expected)


def _is_small(made: _Fragment, rows: dict[int, float], facts: Facts) -> bool:
    return facts.device is None or fits(_load(made, rows), facts.device.memory * facts.share)


def _load(made: _Fragment, rows: dict[int, float]) -> Load:
    size = {id(n): rows[id(n)] * row_bytes(n.schema) for n in [*made.members, *made.given]}
    steps = []
    handed = sum(size[id(n)] for n in made.given)
    for n in made.scans:
        encoded = _encoded(n)
        handed += encoded
        steps.append(Step(n.work, encoded, len(n.schema)))
    for n in made.operators:
        read = sum(size[id(i)] for i in n.inputs())
        steps.append(Step(n.work, max(read, size[id(n)]), len(n.schema)))
    return Load(tuple(steps), handed, size[id(made.top)])


def _encoded(n: Plan) -> float:
    """Bytes of files that a scan reads: of Parquet and the like the columns that are asked for alone."""
    if not isinstance(n, Scan):
        return 0.0
    part = row_bytes(n.schema) / row_bytes(n.source.schema)
    return encoded_bytes(tuple(n.source.splits(n.request))) * min(1.0, part)
