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

The fragment is Sort over GroupBy over the rows of the function, which only Python can compute. A function over cuDF
frames on top of a fragment is called there with its rows (`takes_device_rows`), which do not come back for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from robodf.gpu.cost import Cost, Load, Step, cost, usable
from robodf.gpu.facts import Facts
from robodf.gpu.nan_order import spelled_out
from robodf.gpu.running import Ways, ways_of
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
    """A plan with `OnDevice` nodes, what was decided of each fragment, and why the operators outside of them stay.

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
            lines.append("on the CPU, as it must be:")
            lines += [f"  {label}: {why}" for label, why in self.stay]
        return "\n".join(lines)


def place(plan: Plan, facts: Facts, *, forced: bool = False, ask: Ask = obstacles, ways: Ways | None = None,
          known: Mapping[int, float] | None = None) -> Placed:  # fmt: skip
    """The optimized plan with its fragments on the GPU.

    `forced`: all that translates goes there, else what the cost model says. `ask` says why a query cannot run on a
    GPU, `ways` how a fragment runs (None: on the GPU), `known` how many rows some leaves have (by id).
    """
    order = parents_first(plan)
    why = {id(n): _why_not(n, ask) for n in order}
    member = _that_translate(order, why, ask)
    rows = estimated_rows(plan, known)
    taken = _taken_there(order)
    decisions: list[Decision] = []
    done: dict[int, Plan] = {}
    stay: dict[int, str] = {}
    for n in reversed(order):
        if member.get(id(n)) == id(n):  # the top of a fragment
            made = _Fragment(n, member, order, stays=id(n) in taken)
            decision = _decide(made, facts, forced, rows)
            decisions.append(decision)
            if decision.on_gpu:
                fits = _fits(made, rows, facts)
                run = ways_of(facts.share, fits=fits, stays=made.stays) if ways is None else ways
                fragment = Fragment(made.plan, decision.cost, facts.share, run)
                done[id(n)] = OnDevice(tuple(done[id(part)] for part in made.given), fragment)
                continue
        below = done[id(n.inputs()[0])] if n.inputs() else None
        if isinstance(below, OnDevice) and below.fragment.call is None and taken.get(id(n.inputs()[0])) is n:
            call = n.with_inputs((Given(0, tuple(below.schema.items())),))
            done[id(n)] = OnDevice(below.parts, replace(below.fragment, call=call))
            continue
        done[id(n)] = n.with_inputs(tuple(done[id(i)] for i in n.inputs())) if n.inputs() else n
        if id(n) not in member and not n.at_hand:
            stay[id(n)] = "; ".join(why[id(n)] or ["what uses its rows is on the CPU"])
    told = tuple((n.label(), stay[id(n)]) for n in order if id(n) in stay and not _joins(n))
    return Placed(done[id(plan)], tuple(decisions), told)


def _taken_there(order: list[Plan]) -> dict[int, Plan]:
    """By id of a node, the one that uses its rows and can take them where they lie on a GPU."""
    parents: dict[int, list[Plan]] = {}
    for n in order:
        for child in n.inputs():
            parents.setdefault(id(child), []).append(n)
    return {child: above[0] for child, above in parents.items() if len(above) == 1 and above[0].takes_device_rows}


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


def _that_translate(order: list[Plan], why: dict[int, list[str]], ask: Ask) -> dict[int, int]:
    """The fragments, each asked as a whole. Where one does not translate, the operator that is too much stays out.

    (Polars' optimizer sees more of a whole: of a filter on a cross join it makes a join of another kind.)
    """
    while True:
        member = _fragments(order, why)
        tops = [n for n in order if member.get(id(n)) == id(n)]
        found = [out for n in tops if (out := _Fragment(n, member, order).too_much(ask)) is not None]
        if not found:
            return member
        for n, reasons in found:
            why[id(n)] = [f"it does not translate with what is below it: {'; '.join(reasons)}"]


class _Fragment:
    """The nodes below `top` that are in its fragment, as a plan of its own, and what is handed over to it.

    `stays`: what comes out is taken where it lies on the GPU, if it is there.
    """

    def __init__(self, top: Plan, member: dict[int, int], order: list[Plan], stays: bool = False):
        self.stays = stays
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
        self.plan, self.top, self._made = done[id(top)], top, done

    def too_much(self, ask: Ask) -> tuple[Plan, list[str]] | None:
        """The first operator that does not translate together with what is below it, and why; None where all does."""
        if not ask(lower_all(self.plan)):
            return None
        for n in reversed(self.operators):
            found = ask(lower_all(self._made[id(n)]))
            if found:
                return n, found
        raise RuntimeError(f"cudf-polars refuses a query that it did not refuse\n{tree(self.plan)}")


# -- what should go ------------------------------------------------------------------------------------------------


def _decide(made: _Fragment, facts: Facts, forced: bool, rows: dict[int, float]) -> Decision:
    if facts.device is None:
        return Decision(made.plan, False, f"there is no GPU: {facts.why}")
    expected = None
    if facts.rates is not None:
        expected = cost(_load(made, rows), facts.rates, facts.cpus, facts.started)
    if forced:
        why = "as all that can was asked for"
        return Decision(made.plan, True, why if expected is None else f"{why}; {expected}", expected)
    if expected is None:
        return Decision(
            made.plan, False, facts.why or f"no rates of {facts.device.name}: `robodf calibrate` measures them"
        )
    if not _fits(made, rows, facts):
        most = usable(facts.device.memory * facts.share) / 1e9
        why = (
            f"it may need {expected.peak / 1e9:,.1f} GB of the GPU's memory, more than the {most:,.1f} GB to plan with"
        )
        return Decision(made.plan, False, why, expected)
    if not expected.pays:
        return Decision(made.plan, False, f"the GPU would not win by the margin: {expected}", expected)
    return Decision(made.plan, True, str(expected), expected)


def _fits(made: _Fragment, rows: dict[int, float], facts: Facts) -> bool:
    return facts.device is None or _load(made, rows).peak <= usable(facts.device.memory * facts.share)


def _load(made: _Fragment, rows: dict[int, float]) -> Load:
    size = {id(n): rows[id(n)] * row_bytes(n.schema) for n in [*made.members, *made.given]}
    steps = []
    handed = sum(size[id(n)] for n in made.given)
    for n in made.scans:
        handed += _encoded(n)
        steps.append(Step(n.work, size[id(n)], size[id(n)], len(n.schema)))
    for n in made.operators:
        read = sum(size[id(i)] for i in n.inputs())
        steps.append(Step(n.work, read, size[id(n)], len(n.schema)))
    return Load(tuple(steps), handed, 0.0 if made.stays else size[id(made.top)])


def _encoded(n: Plan) -> float:
    """Bytes of files that a scan reads: of Parquet and the like the columns that are asked for alone."""
    if not isinstance(n, Scan):
        return 0.0
    part = row_bytes(n.schema) / row_bytes(n.source.schema)
    return encoded_bytes(tuple(n.source.splits(n.request))) * min(1.0, part)
